"""What `rnncore compare` shows: a table, a figure, a JSON file."""

from __future__ import annotations

from itertools import cycle

import numpy as np

from rnncore.command.options import as_png, write_folder

# What is written, and the entries of the first.
FILES = ("compare.json", "compare.png")
KEYS = ("data", "settings", "loss", "models", "not_fitted", "files")

# Okabe & Ito's colours and a marker each: told apart without colour, too.
STYLES = {
    "AutoRegressive, order 1": ("#56B4E9", "v"), "AutoRegressive, BIC": ("#CC79A7", "D"),
    "Markov, order 1": ("#56B4E9", "v"), "Markov": ("#CC79A7", "D"),
    "HiddenMarkov": ("#E69F00", "P"), "SwitchingAutoRegressive": ("#000000", "X"),
}
# Of the nets, from the one with the fewest weights on; those that have no look of their own here take these in turn.
NETS = (("#D55E00", "s"), ("#009E73", "^"), ("#0072B2", "o"))


def table(results, data, failures=()):
    """The rows as text, aligned, in the order of fitting; what went wrong below."""
    loss = "RMS error" if data.real else "bits/symbol"
    heads = ["model", loss, *(["nats/step"] if data.real else []), "parameters", "fit s",
             "memory, steps"]
    rows = [[label(r), f"{r.loss:.4g}" if data.real else f"{r.loss:.3f}",
             *([f"{r.log_loss:.3f}"] if data.real else []), f"{r.parameters:,}",
             f"{r.seconds:.1f}", str(r.memory)] for r in results]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                       for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
             for row in [heads, *rows]]
    notes = [f"{label(r)}: {note}" for r in results for note in r.notes]
    notes += [f"{failure.name} cannot be fitted: {failure.reason}" for failure in failures]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:], *notes])


def label(result):
    """The model's name with what was chosen for it."""
    model, name = result.model, result.name
    told = {
        "Markov": lambda: f"Markov, order {model.order}",
        "AutoRegressive, BIC": lambda: f"AutoRegressive, order {model.order_} (BIC)",
        "HiddenMarkov": lambda: f"HiddenMarkov, {model.n_states} states",
        "SwitchingAutoRegressive":
            lambda: f"Switching AR, {model.n_states} regimes, order {model.order}",
    }
    if name in told:
        return told[name]()
    return f"{name}, {model.hidden_size} units" if hasattr(model, "hidden_size") else name


def as_json(results, data, settings, failures=()):
    """Everything that was measured, as JSON values; ``model`` makes the model by hand."""
    return {
        "data": {"name": data.name, "sha256": data.sha256, "steps": len(data.values),
                 "columns": list(data.columns), "notes": list(data.notes)},
        "settings": settings,
        "loss": "root mean squared error" if data.real else "bits per symbol",
        "models": [{"name": label(r), "model": repr(r.model), "loss": r.loss,
                    "nats_per_step": r.log_loss, "parameters": r.parameters, "seconds": r.seconds,
                    "memory_steps": r.memory, "notes": r.notes, "context_kept": r.lags,
                    "context_loss": r.curve}
                   for r in results],
        "not_fitted": [{"name": f.name, "reason": f.reason} for f in failures],
    }


def figure(results, data):
    """Loss against the length of context kept, a line a model; a matplotlib Figure."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = drawn.add_subplot()
    draw(axes, results, data)
    return drawn


def draw(axes, results, data):
    """The figure's one panel, on given axes."""
    nets = [result.name for result in results if result.name not in STYLES]
    looks = STYLES | dict(zip(nets, cycle(NETS), strict=False))
    for result in results:
        colour, marker = looks[result.name]
        axes.plot(result.lags, result.curve, color=colour, marker=marker, markersize=4,
                  linewidth=1.4, label=label(result))
    axes.set_xscale("symlog", linthresh=2, base=2)
    lags = results[0].lags
    ticks = [0, *[2**k for k in range(int(np.log2(max(lags[-1], 1))) + 1)]]
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.set_xlim(-0.15, lags[-1] * 1.1)
    axes.set_xlabel("context kept (steps before the one predicted)")
    axes.set_ylabel("held-out RMS error" if data.real else "held-out bits per symbol")
    best = min(results, key=lambda r: r.loss)
    axes.set_title(f"{label(best)} predicts best; it needs {best.memory} "
                   f"step{'' if best.memory == 1 else 's'} of context for 95 % of its gain",
                   fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False)


def write(folder, results, data, settings, failures=()):
    """Write ``compare.json`` and ``compare.png`` into `folder`; returns their paths."""
    values = as_json(results, data, settings, failures)
    return write_folder(folder, FILES[0], values, {FILES[1]: as_png(figure(results, data), dpi=130)})
