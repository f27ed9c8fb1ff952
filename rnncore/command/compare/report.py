"""The results of `rnncore compare`: a table, a figure, a JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore.command.options import as_png, write_folder
from rnncore.viz import style
from rnncore.viz.plots._legend import legend

from .baselines import Units
from .measure import BASELINES, Split, is_behind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .measure import Failure, Result
    from .series import Data

# The files, and the entries of the first.
FILES = ("compare.json", "compare.png")
KEYS = ("data", "settings", "loss", "verdict", "models", "not_fitted", "files")
COLUMNS = 5  # whose errors are printed

# Okabe & Ito's colours, each with a marker, so that they can also be distinguished without colour.
STYLES = {
    "Persistence": ("#7F7F7F", "."), "Seasonal persistence": ("#B0B0B0", "*"),
    "AutoRegressive, order 1": ("#56B4E9", "v"), "AutoRegressive, BIC": ("#CC79A7", "D"),
    "Markov, order 1": ("#56B4E9", "v"), "Markov": ("#CC79A7", "D"),
    "HiddenMarkov": ("#E69F00", "P"), "SwitchingAutoRegressive": ("#000000", "X"),
}
# Styles of the nets, which take them in turn, beginning with the one that has the fewest weights.
NETS = (("#D55E00", "s"), ("#009E73", "^"), ("#0072B2", "o"))


def table(results: Sequence[Result], data: Data, failures: Iterable[Failure] = ()) -> str:
    """The results as aligned text in the order of fitting, followed by what they say, warnings and failures."""
    several = data.real and len(data.columns) > 1
    heads, rows = ["model"], [[label(r)] for r in results]

    def add(head: str, cells: Iterable[str]) -> None:
        heads.append(head)
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)

    if not data.real:
        add("bits/symbol", (f"{r.loss:.3f}" for r in results))
    elif not several:
        add("RMS error", (f"{r.loss:.4g}" for r in results))
    if data.real:
        add("scaled error", (f"{r.scaled:.3f}" for r in results))
        add("nats/step", (f"{r.log_loss:.3f}" for r in results))
    add("parameters", (f"{r.parameters:,}" for r in results))
    add("fit s", (f"{r.seconds:.1f}" for r in results))
    add("memory, steps", map(memory, results))
    lines = _aligned(heads, rows)
    if several:
        shown = data.columns[:COLUMNS]
        cells = [[label(r), *(f"{error:.4g}" for error in r.errors[:COLUMNS])] for r in results]
        lines += ["", *_aligned(["RMS error of", *(f"{name:.16}" for name in shown)], cells)]
        if len(data.columns) > COLUMNS:
            lines.append(f"{FILES[0]} has the errors of the other {len(data.columns) - COLUMNS:,} columns.")
    notes = verdict(results, data)
    notes += [f"{label(r)}: {note}" for r in results for note in r.notes]
    notes += [f"{failure.name} cannot be fitted: {failure.reason}" for failure in failures]
    return "\n".join([*lines, *notes])


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, its first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                       for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
             for row in [heads, *rows]]
    return [lines[0], "─" * len(lines[0]), *lines[1:]]


def verdict(results: Sequence[Result], data: Data) -> list[str]:
    """Sentences on what the models gain over persistence; none for a text."""
    baselines = [r for r in results if r.name in BASELINES]
    models = [r for r in results if r.name not in BASELINES]
    if not data.real or not baselines or not models:
        return []
    simple, best = min(baselines, key=lambda r: r.loss), min(models, key=lambda r: r.loss)
    if not best.loss < simple.loss:
        told = f"No model predicts better than {_baseline(simple)}"
        if best.loss > simple.loss:
            told += f", whose error is {_share(simple, best)} of that of the best, {label(best)}"
        return [told + "."]
    doubt = "" if is_behind(simple, best) else ", a difference within its error"
    sentences = [f"{label(best)} predicts best: its error is {_share(best, simple)} of that of "
                 f"{_baseline(simple)}{doubt}."]
    worse = [f"{label(r).replace(', ', ' of ')} ({r.loss / simple.loss:.3g} times)"
             for r in models if r.loss > simple.loss]
    if worse:
        sentences.append(f"Worse than {_baseline(simple)}, as multiples of its error: {', '.join(worse)}.")
    return sentences


def _baseline(result: Result) -> str:
    period: int = getattr(result.model, "period", 1)
    return "persistence (the last value)" if period == 1 else f"seasonal persistence (the value {period} steps before)"


def _share(result: Result, other: Result) -> str:
    return f"{100 * result.loss / other.loss:.3g} %" if other.loss > 0 else "100 %"


def label(result: Result) -> str:
    """The model's name with its order or size."""
    model: Any = result.model
    match result.name:
        case "Seasonal persistence":
            return f"Seasonal persistence, {model.period} steps"
        case "Markov":
            return f"Markov, order {model.order}"
        case "AutoRegressive, BIC":
            return f"AutoRegressive, order {model.order_} (BIC)"
        case "HiddenMarkov":
            return f"HiddenMarkov, {model.n_states} states"
        case "SwitchingAutoRegressive":
            return f"Switching AR, {model.n_states} regimes, order {model.order}"
    return f"{result.name}, {model.hidden_size} units" if hasattr(model, "hidden_size") else result.name


def as_json(
    results: Sequence[Result], data: Data, settings: Mapping[str, Any], failures: Iterable[Failure] = ()
) -> dict[str, Any]:
    """All results as JSON values; the entry ``model`` is Python code that makes the unfitted model.

    Models of real values are fitted to ``(values - shift) / scale``, with the entries of ``scaling``.
    """
    units = Units.of(data.values, Split.of(data.values).train_end) if isinstance(data.values, np.ndarray) else None
    return {
        "data": {"name": data.name, "sha256": data.sha256, "steps": len(data.values),
                 "columns": list(data.columns), "index": data.index, "left_out": dict(data.left_out),
                 "notes": list(data.notes), "scaling": None if units is None else {
                     "shift": units.shift.tolist(), "scale": units.scale.tolist(), "naive": units.naive.tolist()}},
        "settings": settings,
        "loss": _loss(data),
        "verdict": verdict(results, data),
        "models": [{"name": label(r), "model": repr(r.model), "loss": r.loss,
                    "nats_per_step": r.log_loss, "parameters": r.parameters, "seconds": r.seconds,
                    "scaled_error": r.scaled if data.real else None,
                    "errors": dict(zip(data.columns, r.errors, strict=False)),
                    "memory_steps": r.memory, "notes": r.notes, "context_kept": r.lags,
                    "context_loss": r.curve}
                   for r in results],
        "not_fitted": [{"name": f.name, "reason": f.reason} for f in failures],
    }


def _loss(data: Data) -> str:
    if not data.real:
        return "bits per symbol"
    return "root mean squared error" if len(data.columns) == 1 else "scaled error"


def figure(results: Sequence[Result], data: Data) -> Figure:
    """Loss against the length of context, one line per model."""
    from matplotlib.figure import Figure

    with style.context("page"):
        drawn = Figure(figsize=(8.5, 5.2), layout="constrained")
        axes = drawn.add_subplot()
        draw(axes, results, data)
    return drawn


def draw(axes: Axes, results: Sequence[Result], data: Data) -> None:
    """The same on given axes."""
    from rnncore.viz.plots._artists import wrap_title

    wrap_title(axes)
    nets = [result.name for result in results if result.name not in STYLES]
    looks = STYLES | dict(zip(nets, cycle(NETS), strict=False))
    for result in results:
        colour, marker = looks[result.name]
        axes.plot(result.lags, result.curve, color=colour, marker=marker, markersize=4,
                  label=label(result))
    axes.set_xscale("symlog", linthresh=2, base=2)
    lags = results[0].lags
    ticks = [0, *[2**k for k in range(int(np.log2(max(lags[-1], 1))) + 1)]]
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.set_xlim(-0.15, lags[-1] * 1.1)
    axes.set_xlabel("context: steps before the predicted one")
    several = data.real and len(data.columns) > 1
    axes.set_ylabel("held-out RMS error, in that of persistence" if several else
                    "held-out RMS error" if data.real else "held-out bits per symbol")
    axes.set_title(sentence(results))
    legend(axes)


def sentence(results: Sequence[Result]) -> str:
    """The model with the lowest loss, those that the held-out steps cannot tell from it, and the context it needs."""
    best = min(results, key=lambda r: r.loss)
    level = [label(r).replace(",", "") for r in results if r is not best and not is_behind(r, best)]
    told = f"{label(best)}: the lowest loss"
    if level:
        names = " and ".join(level) if len(level) < 3 else f"{len(level)} others"
        told += f", but {names} within its error"
    if best.memory == 0:
        return f"{told}; context does not lower it"
    steps = f"{memory(best)} step{' of context gives' if memory(best) == '1' else 's of context give'}"
    return f"{told}; {steps} 95 % of its gain from {best.lags[-1]}"


def memory(result: Result) -> str:
    """The model's memory in steps, with "≥" if it needs all of the context that was tried."""
    return f"≥ {result.memory}" if result.memory and result.memory == result.lags[-1] else str(result.memory)


def write(
    folder: Path,
    results: Sequence[Result],
    data: Data,
    settings: Mapping[str, Any],
    failures: Iterable[Failure] = (),
) -> list[Path]:
    """Write ``compare.json`` and ``compare.png`` into `folder`; returns their paths."""
    values = as_json(results, data, settings, failures)
    return write_folder(folder, FILES[0], values, {FILES[1]: as_png(figure(results, data), dpi=130)})
