"""The figures of a report, drawn by `rnncore.viz`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore.command.all_cells.training import LATER, TRAINED, TrainedCell
from rnncore.command.options import as_png
from rnncore.viz.plots._words import between, number, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnncore._typing import Array, Floats

# One figure per measure with all cells together, and for each cell one of its states and one of its gates, if any.
NAMES = (
    "jacobian_norms", "gradient_flow", "loss",
    *(f"states_{cell.replace('-', '_')}" for cell in TRAINED),
    *(f"gates_{cell.replace('-', '_')}" for cell, described in TRAINED.items() if described.gates),
)  # fmt: skip


def draw_all(trained: list[TrainedCell]) -> dict[str, tuple[bytes, str]]:
    """Draw every figure.

    Returns
    -------
    dict of str to (bytes, str)
        The content and the caption of every PNG file by its name, in the order of the page.
    """
    from rnncore import viz

    with viz.style.context("page"):
        figures = [
            ("jacobian_norms", *draw_jacobian_norms(trained)),
            ("gradient_flow", *draw_gradient_flow(trained)),
            ("loss", *draw_loss(trained)),
        ]
        for one in trained:
            name = one.cell.replace("-", "_")
            if TRAINED[one.cell].gates:
                figures.append((f"gates_{name}", *draw_gates(one)))
            figures.append((f"states_{name}", *draw_states(one)))
    return {f"{name}.png": (as_png(figure, dpi=120), caption) for name, figure, caption in figures}


def draw_jacobian_norms(trained: list[TrainedCell]) -> tuple[Figure, str]:
    """All cells on one axes: the norm of the Jacobian product against lag."""
    from rnncore import viz
    from rnncore.viz.plots._legend import legend

    figure, ax = _axes(5.2, width=10)
    for one in trained:
        viz.plot_jacobian_norms(one.jacobian_norms, ax, label=one.label, fit=False)
    later = min(LATER, len(trained[0].jacobian_norms) - 1)
    ax.axvline(later, color=viz.style.GREY, linewidth=1, linestyle="--", zorder=1, gid="guide")
    curves = [line for line in ax.lines if line.get_gid() == "jacobian_norms"]
    for one, line in zip(trained, curves, strict=True):
        line.set_label(f"{one.label}: {number(one.remaining[1])}")
    _show_decades(ax)
    legend(ax, title=f"median at lag {later}")
    ax.set_title(norms_title(trained))
    return figure, (
        f"What is left of a gradient k steps back, at most: the norm ‖∂s(T)/∂s(T−k)‖ of the whole state, which is 1 at "
        f"lag 0. Median and range over {trained[0].jacobian_norms.shape[1]} stretches of held-out text, in float64; "
        f"title and legend give it at lag {later} (dashed), the title with its range."
    )


def norms_title(trained: list[TrainedCell]) -> str:
    """The range of the norm at lag `LATER` for the cells that have the largest, and for the one that has the smallest.

    Cells whose range overlaps that of the cell with the largest median are named together with it.
    """
    later = min(LATER, len(trained[0].jacobian_norms) - 1)
    back = f"{later} step{'' if later == 1 else 's'} back"
    if len(trained) < 2:
        only = trained[0]
        return f"{back} a gradient is multiplied by at most {number(only.remaining[1])} ({only.label})"
    ordered = sorted(trained, key=lambda one: one.remaining[1])
    least, most = ordered[0], [one for one in ordered if one.remaining[2] >= ordered[-1].remaining[0]]
    if least in most:
        return f"What is left of a gradient {back} differs between texts more than between cells"
    largest = between(min(one.remaining[0] for one in most), max(one.remaining[2] for one in most))
    names = " or ".join(one.label for one in reversed(most))
    smallest = between(least.remaining[0], least.remaining[2])
    return f"{back} a gradient is multiplied by at most {largest} ({names}), {smallest} ({least.label})"


def draw_gradient_flow(trained: list[TrainedCell]) -> tuple[Figure, str]:
    """All cells on one axes: the gradient of the last step's loss with respect to the state of every step."""
    from rnncore import viz

    figure, ax = _axes(6)
    flows: dict[str, Array] = {}
    for one in trained:
        parts = viz.gradient_flow(one.record.tape)
        flows |= {f"{one.label} {name.removeprefix('l0.')}": size for name, size in parts.items()}
    viz.plot_gradient_flow(flows, ax)
    _show_decades(ax)
    ax.set_title(flow_title(trained, flows))
    return figure, (
        "‖∂L/∂h‖ at every step, and ‖∂L/∂c‖ of cells that have c, for the loss of the last step alone: "
        "median and range over the same stretches of text, in float64."
    )


def flow_title(trained: list[TrainedCell], flows: dict[str, Array]) -> str:
    """The title: the largest and the smallest share of ‖∂L/∂h‖ that reaches the first step, each with its range."""
    shares: dict[str, Floats] = {}
    for one in trained:
        size = flows[f"{one.label} h"]
        rows = size[-1] > 0
        if rows.any():
            shares[one.label] = size[0, rows] / size[-1, rows]
    if not shares:
        return "The last step's loss has no gradient"
    ordered = sorted(shares, key=lambda label: float(np.median(shares[label])))
    ends = dict.fromkeys((ordered[-1], ordered[0]))  # one of them if there is only one
    told = ", ".join(f"{share(shares[label].min(), shares[label].max())} with {label}" for label in ends)
    return f"‖∂L/∂h‖ at the first step, relative to the last: {told}"


def draw_loss(trained: list[TrainedCell]) -> tuple[Figure, str]:
    """All cells on one axes: bits per character during training, averaged over 1/30 of the run."""
    from rnncore import viz

    figure, ax = _axes(4.5)
    for one, color in zip(trained, viz.style.LINES, strict=False):
        width = max(1, len(one.losses) // 30)
        bits = np.convolve(one.losses, np.full(width, 1 / width), "valid") / np.log(2)
        ax.plot(np.arange(len(bits)) + width, bits, color=color, label=one.label)
    ordered = sorted(trained, key=lambda one: np.inf if np.isnan(one.bits) else one.bits)
    ax.set_title(f"Bits on held-out text: {', '.join(f'{one.label} {one.bits_text}' for one in ordered)}")
    guess = np.log2(trained[0].model.head.out_features)  # a uniform guess; early spikes are higher
    ax.set_ylim(top=min(ax.get_ylim()[1], guess + 0.5))
    ax.set_xlabel("update")
    ax.set_ylabel("bits per character, training")
    ax.legend()
    return figure, "Training loss, as a running mean over a thirtieth of the run."


def draw_states(one: TrainedCell) -> tuple[Figure, str]:
    """Every unit over time, for the first stretch of text."""
    from rnncore import viz

    figure, ax = _axes(3.5 * len(TRAINED[one.cell].states))
    viz.plot_states(one.record.tape, ax, tokens=_drawable(one.text))
    ax.set_title(f"{one.label}: {_lower(ax.get_title())}")
    return figure, f"{one.label}: the states of all units, one line per unit, while it reads a text."


def draw_gates(one: TrainedCell) -> tuple[Figure, str]:
    """Every gate, every unit over time, for the first stretch of text."""
    from rnncore import viz

    figure, ax = _axes(10)
    viz.plot_gates(one.record.tape, ax, tokens=_drawable(one.text))
    ax.set_title(f"{one.label}: {_lower(ax.get_title())}")
    return figure, f"{one.label}: all gates, one line per unit, while it reads a text."


def _axes(height: float, width: float = 12) -> tuple[Figure, Axes]:
    """A new figure outside pyplot, and its axes, whose title breaks into lines."""
    from matplotlib.figure import Figure

    from rnncore.viz.plots._artists import wrap_title

    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.add_subplot()
    wrap_title(ax)
    return figure, ax


def _drawable(text: str) -> str:
    """`text` with a box for every character that the figures' font does not have."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("monospace"))
    return "".join(
        character if character in "\n\t" or font.get_char_index(ord(character)) else "▯"
        for character in text
    )


def _show_decades(ax: Axes) -> None:
    """End the y axis just below the smallest float32, so that slowly decaying curves remain distinguishable."""
    from rnncore import viz

    ax.set_ylim(bottom=max(ax.get_ylim()[0], viz.style.FLOOR / 100))


def _lower(sentence: str) -> str:
    """A sentence to follow a colon: its first letter is made lower case."""
    return sentence[:1].lower() + sentence[1:]
