"""Diagram of a cell with its values at one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import style
from .._door import as_whole_tape
from .._tapes import HasTape, gradient, layers, previous, refuse_projected
from ._claims import counted, of_row, percent, quoted
from ._draw import axes, row_length
from ._sheet import Sheet, draw_cell
from ._words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Floats
    from rnncore.recurrent.descriptions import Description
    from rnncore.recurrent.tape import Tape

__all__ = ["plot_cell"]

KIND = "cell"


def plot_cell(
    tape: Tape | HasTape,
    ax: Axes | None = None,
    *,
    step: int | None = None,
    layer: str = "l0",
    row: int = 0,
    unit: int | None = None,
    token: object = None,
) -> Axes:
    """What a cell computed at one step: its states, and the gates that act on them.

    Parameters
    ----------
    tape : Tape
    ax : matplotlib Axes, optional
        Its frame and ticks are removed.
    step : int, optional
        In input time, negative from the end; by default the last step of the row.
    layer : str
        "l0", "l1", "l0.reverse", …
    row : int
        Row of the batch.
    unit : int, optional
        Show the values of one unit. By default every box shows the mean over units and a strip of all.
    token : str, optional
        The input of the step, for the title.

    Returns
    -------
    matplotlib Axes
        After `backward` it also shows the gradients, which run right to left.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> ax = viz.plot_cell(tape, Figure().subplots(), step=3, unit=0)
    >>> sorted(image.get_gid() for image in ax.images)
    ['c', 'c0', 'f', 'g', 'h', 'h0', 'i', 'o']
    """
    tape = as_whole_tape(tape)
    refuse_projected(tape, "the drawing has no projection (viz.plot_gates and viz.plot_states show its values)")
    parts = layers(tape)
    if layer not in parts:
        raise ValueError(f"layer: got {layer!r}, expected one of {list(parts)}")
    length = row_length(tape, row)
    step = length - 1 if step is None else step
    if not -length <= step < length:
        raise ValueError(f"step: got {step}, expected one of {length} steps of row {row}")
    step = step % length
    values = {
        part: np.asarray(tape[f"{layer}.{part}"][step, row], np.float64) for part in parts[layer]
    }
    for state in tape.cell.states:
        before = previous(tape, layer, state)[step, row]
        values[f"{state}0"] = np.asarray(before, np.float64)
    if unit is not None:
        if not 0 <= unit < tape.layer.hidden_size:
            raise ValueError(f"unit: got {unit}, expected 0 … {tape.layer.hidden_size - 1}")
        values = {k: v[unit : unit + 1] for k, v in values.items()}
    ax = axes(ax, KIND, overlays=False)
    sheet = Sheet(ax, tape.cell, values)
    draw_cell(sheet)
    _gradients(sheet, tape, layer, step, row, unit)
    said = "" if token is None else f" reading {quoted(token)}"
    units = len(values["h"])
    who = f"unit {unit}" if unit is not None else counted(units, "unit")
    ax.set_title(f"{layer} at step {step}{of_row(row, tape.B)}{said}: {_sentence(tape.cell, values, who)}")
    if units > 1:
        low = ax.get_ylim()[0]
        told = f"number: mean of {units} units; strip: all of them"
        shades = "dark 0 … yellow 1 in gates; blue < 0 < red" if tape.cell.gates else "blue < 0 < red"
        sheet.note(11.05, low + 0.08, f"{told}\n{shades}", ha="right", va="bottom", small=True, color=style.GREY)
    ax.set_axis_off()
    return ax


def _gradients(
    sheet: Sheet, tape: Tape, layer: str, step: int, row: int, unit: int | None
) -> None:
    """‖∂L/∂h_t‖ and ‖∂L/∂c_t‖ at the right end, if `backward` was called."""
    for part in tape.cell.states:
        grad = gradient(tape, f"{layer}.{part}")
        if grad is not None and grad.ndim == 3:
            grad = np.asarray(grad[step, row], np.float64)
            size = np.linalg.norm(grad) if unit is None else grad[unit]
            sheet.gradient(part, float(size), norm=unit is None)


def _sentence(cell: Description, values: dict[str, Floats], who: str) -> str:
    several = who.endswith(" units")
    kept = cell.kept(values)
    if not all(np.isfinite(value).all() for value in values.values()):
        return f"some values of {who} are not finite"
    if kept is None:
        return f"{who} overwrite their old values" if several else f"{who} overwrites its old value"
    keep = kept.mean()
    if not cell.keeps_share:
        return f"{who} {'multiply their old values' if several else 'multiplies its old value'} by {number(keep)}"
    new = values[cell.enters].mean() if cell.enters else 1 - keep
    verbs = ("on average keep", "let in") if several else ("keeps", "lets in")
    return f"{who} {verbs[0]} {percent(keep)} of the old and {verbs[1]} {percent(new)} of the new"
