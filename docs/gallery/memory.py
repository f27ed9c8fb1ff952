"""Figures and numbers of docs/memory.md: which networks remember, how long, before and after training.

Measured are Jacobian norms ‖∂s_T/∂s_{T−k}‖ of the whole state, in float64, on the input of the adding problem.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from rnncore.viz.plots._decay import readings
from rnncore.viz.plots._figure import text_scale

import rnncore as rc
from rnncore import viz
from rnncore.tasks import Adding, learn

STEPS, HIDDEN, ROWS = 100, 64, 4
FLOOR = 1e-20  # the smallest norm that is drawn
LEARNT = 0.05  # largest mean squared error that counts as learnt; 1/6 without memory
HOLD = math.log(STEPS - 1)  # the forget bias for which the gate has a time constant of STEPS steps


def layer(cell, **options):
    return cell(2, HIDDEN, dtype="float64", seed=0, **options)


def sigmoid():
    return rc.init.orthogonal(layer(rc.RNN, nonlinearity="sigmoid"), seed=0)


def tanh():
    return rc.init.orthogonal(layer(rc.RNN), seed=0)


def relu(gain):
    return rc.init.orthogonal(layer(rc.RNN, nonlinearity="relu"), gain, seed=0)


def identity_relu():
    return rc.init.identity(layer(rc.RNN, nonlinearity="relu"))


def lstm(bias):
    return rc.init.forget_bias(layer(rc.LSTM), bias)


def gru(bias):
    return rc.init.forget_bias(layer(rc.GRU), bias)


def chrono(cell):
    return rc.init.chrono(layer(cell), STEPS, seed=0)


AT_THE_START = {
    "memory_rnn": (
        "Gradients vanish with a sigmoid and explode with a ReLU, unless W = I",
        {
            "sigmoid, W orthogonal": sigmoid,
            "tanh, W orthogonal": tanh,
            "ReLU, W orthogonal × 1.5": lambda: relu(1.5),
            "ReLU, W = identity": identity_relu,
        },
    ),
    "memory_lstm": (
        "LSTM: the forget bias decides how long it remembers",
        {
            "bias 0": lambda: lstm(0.0),
            "bias 1": lambda: lstm(1.0),
            "bias 2": lambda: lstm(2.0),
            f"bias ln(T−1) = {HOLD:.1f}": lambda: lstm(HOLD),
            "chrono": lambda: chrono(rc.LSTM),
        },
    ),
    "memory_gru": (
        "GRU: the update bias decides how long it remembers",
        {
            "bias 0": lambda: gru(0.0),
            "bias 1": lambda: gru(1.0),
            "bias 2": lambda: gru(2.0),
            f"bias ln(T−1) = {HOLD:.1f}": lambda: gru(HOLD),
            "chrono": lambda: chrono(rc.GRU),
        },
    ),
}


def at_the_start():
    """{picture: (title, {label: norms (T, B)})}."""
    x = Adding(STEPS, seed=0).batch(ROWS).x
    return {
        name: (title, {label: viz.jacobian_norms(make().record(x)) for label, make in nets.items()})
        for name, (title, nets) in AT_THE_START.items()
    }


# ---------------------------------------------------------------- before and after training


@dataclass
class Trained:
    """One network on the adding problem."""

    cell: str
    start: object = None
    before: np.ndarray = None  # norms (T, B)
    after: np.ndarray = None
    curve: object = field(default=None)


NETWORKS = {
    "RNN sigmoid": Trained("rnn-sigmoid"),
    "RNN tanh, orthogonal": Trained("rnn-tanh", lambda m: rc.init.orthogonal(m, seed=0)),
    "RNN ReLU, identity": Trained("rnn-relu", rc.init.identity),
    "GRU, bias 1": Trained("gru"),
    "LSTM, bias 1": Trained("lstm"),
    "LSTM, chrono": Trained("lstm", lambda m: rc.init.chrono(m, STEPS, seed=0)),
}


def train(updates=1500, progress=False):
    """Train all networks with the same budget, and measure their memory before and after."""
    task = Adding(STEPS, seed=0)
    x = task.batch(ROWS, 10**6).x
    for name, run in NETWORKS.items():
        network = task.network(run.cell, HIDDEN, seed=0)
        if run.start:
            run.start(network)
        run.before = memory(network, x)
        run.curve = learn(
            task, network, updates=updates, lr=2e-3, every=max(1, updates // 30), tested=256
        )
        run.after = memory(network, x)
        if progress:
            print(f"  {name:24} {run.curve.losses[-1]:.4f}", flush=True)
    return NETWORKS


def memory(network, x):
    return viz.jacobian_norms(network.astype("float64").layer.record(x))


# ---------------------------------------------------------------- pictures


def draw_start(title, runs):
    import matplotlib.pyplot as plt

    with viz.style.context():
        figure, ax = plt.subplots()
        lowest = min(float(np.nanmin(norms)) for norms in runs.values())
        for label, norms in runs.items():
            viz.plot_jacobian_norms(cut(norms, FLOOR), ax, label=label, fit=False, guides=False)
        if lowest < FLOOR:
            lag = np.arange(0, math.log(FLOOR, 0.25))
            ax.plot(lag, 0.25**lag, ":", color=viz.style.GREY, linewidth=1, zorder=1)
            ax.annotate("4⁻ᵏ, the sigmoid's bound", (8, 0.25**8), color=viz.style.GREY,
                        xytext=(8, 0), textcoords="offset points", fontsize="small")  # fmt: skip
            ax.set_ylim(bottom=FLOOR)
            ax.legend(loc="lower right", bbox_to_anchor=(1, 0.03))
        ax.set_title(title)
    return figure


def cut(norms, floor):
    """The norms, with NaN in place of those below the lowest value that is drawn."""
    return np.where((norms > 0) & (norms < floor), np.nan, norms)


def draw_training(runs):
    import matplotlib.pyplot as plt

    with viz.style.context():
        scale = text_scale()
        figure, axes = plt.subplots(2, 3, figsize=(11 * scale, 6.4 * scale), sharex=True, sharey=True)
        for ax, (name, run) in zip(axes.flat, runs.items(), strict=True):
            options = {"fit": False, "guides": False}
            before = {"color": viz.style.GREY, "linestyle": "--", "marker": ""}
            viz.plot_jacobian_norms(cut(run.before, 1e-12), ax, **before, **options)
            after = {"color": viz.style.LINES[0], "marker": "o"}
            viz.plot_jacobian_norms(cut(run.after, 1e-12), ax, **after, **options)
            learnt = run.curve.losses[-1] < LEARNT
            ax.set_title(f"{name}\n{'learnt' if learnt else 'not learnt'}, error {run.curve.losses[-1]:.3f}")
            ax.set(xlabel="", ylabel="", ylim=(1e-12, 1e4))
        for ax in axes[-1]:
            ax.set_xlabel("lag k")
        for ax in axes[:, 0]:
            ax.set_ylabel("‖∂s$_T$ / ∂s$_{T-k}$‖$_2$")
        handles = [axes[0, 0].lines[0], axes[0, 0].lines[-1]]
        figure.legend(handles, ["before training", "after training"], loc="outside lower center", ncols=2)
        figure.suptitle("Memory against lag on the adding problem, before and after training", wrap=True)
    return figure


def draw_curves(runs):
    import matplotlib.pyplot as plt

    with viz.style.context():
        figure, ax = plt.subplots()
        for k, (name, run) in enumerate(runs.items()):
            ax.plot(
                run.curve.updates, run.curve.losses, label=name, color=viz.style.LINES[k],
                marker=viz.style.MARKERS[k], markevery=(k, 6),
            )  # fmt: skip
        ax.axhline(1 / 6, color=viz.style.GREY, linestyle="--")
        ax.annotate("always answering 1: 1/6", (ax.get_xlim()[1], 1 / 6), ha="right", va="top",
                    color=viz.style.GREY, xytext=(0, -6), textcoords="offset points")  # fmt: skip
        ax.set(yscale="log", xlabel="updates", ylabel="mean squared error on fresh sequences")
        ax.set_title(_title(runs), wrap=True)
        ax.legend(loc="lower left")
    return figure


def _title(runs):
    learnt = [name for name, run in runs.items() if run.curve.losses[-1] < LEARNT]
    return f"Adding problem, T = {STEPS}: {len(learnt)} of {len(runs)} networks learn it within the budget"


def pictures(updates=1500):
    """(name, figure) for each figure of docs/memory.md."""
    for name, (title, runs) in at_the_start().items():
        yield name, draw_start(title, runs)
    runs = train(updates, progress=True)
    yield "memory_training", draw_training(runs)
    yield "memory_curves", draw_curves(runs)


def table(runs=NETWORKS):
    """The table below the figure memory_training, as Markdown."""
    lines = [
        "| network | half-life before | horizon before | half-life after | horizon after | error |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        cells = [name]
        for norms in (run.before, run.after):
            found = readings(norms)
            for name in ("half-life", "horizon"):
                steps, more = found[name]
                cells.append(f"{'≥ ' if more else ''}{steps:.0f}")
        lines.append(f"| {' | '.join(cells)} | {run.curve.losses[-1]:.4f} |")
    return "\n".join(lines)
