"""The pictures of a report: `rnncore.viz` draws them, this says which."""

from __future__ import annotations

import numpy as np

from rnncore.command.all_cells.training import LATER, TRAINED, TrainedCell, share
from rnncore.command.options import as_png

# The pictures: of all cells together, one a measure, and of each its states and, if it has, gates.
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
        By the name of its file a figure's PNG and its caption, in the order of the page.
    """
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


def draw_jacobian_norms(trained: list[TrainedCell]):
    """All cells on one axes: the norm of the Jacobian product against lag."""
    from rnncore import viz

    figure, ax = _axes(6)
    for one in trained:
        viz.plot_jacobian_norms(one.jacobian_norms, ax, label=one.label, fit=False)
    _show_decades(ax)
    ax.legend(loc="lower left", bbox_to_anchor=(0.01, 0.1))
    left = ", ".join(f"{one.label} {one.left_text}" for one in trained)
    ax.set_title(f"Left of the gradient at lag {LATER}: {left}")
    return figure, (
        "How much a state can change the state k steps later: ‖∂s(T)/∂s(T−k)‖ of the whole "
        f"state, median and range over {trained[0].jacobian_norms.shape[1]} stretches of held-out "
        "text, in float64. The title's shares are of lag 1's median."
    )


def draw_gradient_flow(trained: list[TrainedCell]):
    """All cells on one axes: the gradient of the last step's loss at every step before it."""
    from rnncore import viz

    figure, ax = _axes(6)
    flows: dict[str, np.ndarray] = {}
    for one in trained:
        parts = viz.gradient_flow(one.record.tape)
        flows |= {f"{one.label} {name.removeprefix('l0.')}": size for name, size in parts.items()}
    viz.plot_gradient_flow(flows, ax)
    _show_decades(ax)
    ax.set_title(what_the_first_step_feels(trained, flows))
    return figure, (
        "‖∂L/∂h‖ at every step, and ‖∂L/∂c‖ of a cell that has c, for the loss of the last step alone, "
        "median and range over the same stretches of text, in float64."
    )


def what_the_first_step_feels(trained: list[TrainedCell], flows: dict[str, np.ndarray]) -> str:
    """The title: the share of the gradient that reaches the first step, where most and least."""
    medians = {one.label: np.median(flows[f"{one.label} h"], axis=1) for one in trained}
    shares = {label: size[0] / size[-1] for label, size in medians.items() if size[-1] > 0}
    if not shares:
        return "The last step's loss has no gradient"
    ordered = sorted(shares, key=lambda label: shares[label])
    least, most = ordered[0], ordered[-1]
    return (
        f"Of what the last step feels of its loss, the first feels {share(shares[most])} "
        f"with {most} and {share(shares[least])} with {least}"
    )


def draw_loss(trained: list[TrainedCell]):
    """All cells on one axes: bits per character while training, averaged over 1/30 of the run."""
    from rnncore import viz

    figure, ax = _axes(4.5)
    for one, color in zip(trained, viz.style.LINES, strict=False):
        width = max(1, len(one.losses) // 30)
        bits = np.convolve(one.losses, np.full(width, 1 / width), "valid") / np.log(2)
        ax.plot(np.arange(len(bits)) + width, bits, color=color, label=one.label)
    best = min(trained, key=lambda one: np.inf if np.isnan(one.bits) else one.bits)
    ax.set_title(f"With the same budget {best.label} does best: {best.bits_text} bits on new text")
    guess = np.log2(trained[0].model.head.out_features)  # among all characters; early spikes are worse
    ax.set_ylim(top=min(ax.get_ylim()[1], guess + 0.5))
    ax.set_xlabel("update")
    ax.set_ylabel("bits per character, training")
    ax.legend()
    return figure, "Training loss, a running mean over a thirtieth of the run."


def draw_states(one: TrainedCell):
    """Every unit over time, for the first stretch of text."""
    from rnncore import viz

    figure, ax = _axes(3.5 * len(TRAINED[one.cell].states))
    viz.plot_states(one.record.tape, ax, tokens=_drawable(one.text))
    ax.set_title(f"{one.label}: {_lower(ax.get_title())}")
    return figure, f"{one.label}: the states, one line a unit, while it reads."


def draw_gates(one: TrainedCell):
    """Every gate by its name, every unit over time, for the first stretch of text."""
    from rnncore import viz

    figure, ax = _axes(10)
    viz.plot_gates(one.record.tape, ax, tokens=_drawable(one.text))
    ax.set_title(f"{one.label}: {_lower(ax.get_title())}")
    return figure, f"{one.label}: all gates, one line a unit, while it reads."


def _axes(height: float):
    """A figure of its own, which no pyplot state knows of."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, height), layout="constrained")
    return figure, figure.add_subplot()


def _drawable(text: str) -> str:
    """`text` with a box for every character that the pictures' font has no sign for."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("monospace"))
    return "".join(
        character if character in "\n\t" or font.get_char_index(ord(character)) else "▯"
        for character in text
    )


def _show_decades(ax) -> None:
    """Down to just under the end of float32, where those that last can still be told apart."""
    from rnncore import viz

    ax.set_ylim(bottom=max(ax.get_ylim()[0], viz.style.FLOOR / 100))


def _lower(sentence: str) -> str:
    """To go on after a colon; names such as ``l0.f`` stay as they are."""
    return sentence[:1].lower() + sentence[1:]
