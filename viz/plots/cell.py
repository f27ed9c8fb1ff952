"""The cell as a conveyor belt, with its live values at one step."""

from __future__ import annotations

import numpy as np

from .._tapes import gradient, layers, previous
from ._draw import axes, row_length, visible
from ._sheet import Sheet, draw_cell
from ._words import plain

__all__ = ["plot_cell"]


def plot_cell(
    tape,
    ax=None,
    *,
    step: int | None = None,
    layer: str = "l0",
    row: int = 0,
    unit: int | None = None,
    token=None,
):
    """What one cell did at one step: the state on its belt, the gates that act on it.

    Parameters
    ----------
    tape : Tape
    ax : matplotlib Axes, optional
        Its frame and ticks are taken off.
    step : int, optional
        By input time, counted from the end where negative; by default the row's last one.
    layer : str
        "l0", "l1", "l0.reverse", …
    row : int
        Of the batch.
    unit : int, optional
        One unit's values. By default every box has a strip of all units and their mean.
    token : str, optional
        What the step's input was.

    Returns
    -------
    matplotlib Axes
        After `backward` the gradients are on it too: they run right to left.

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
    ax = axes(ax)
    parts = layers(tape)
    if layer not in parts:
        raise ValueError(f"layer: got {layer!r}, expected one of {list(parts)}")
    length = row_length(tape, row)
    if not length:
        raise ValueError(f"row: got {row}, which has no steps, expected one that has")
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
    sheet = Sheet(ax, tape.cell, values)
    draw_cell(sheet)
    _gradients(sheet, tape, layer, step, row, unit)
    said = "" if token is None else f" reading {plain(repr(visible(token)))}"
    who = f"unit {unit}" if unit is not None else f"{len(values['h'])} units"
    ax.set_title(f"{layer} at step {step}{said}: {_sentence(tape.cell, values, who)}")
    ax.set_axis_off()
    return ax


def _gradients(sheet, tape, layer, step, row, unit):
    """‖∂L/∂h_t‖ and ‖∂L/∂c_t‖ at the right end, if there are any yet."""
    for part in tape.cell.states:
        grad = gradient(tape, f"{layer}.{part}")
        if grad is not None and grad.ndim == 3:
            grad = np.asarray(grad[step, row], np.float64)
            size = np.linalg.norm(grad) if unit is None else grad[unit]
            sheet.gradient(part, size, norm=unit is None)


def _sentence(cell, values, who) -> str:
    if not cell.gated:
        return (
            f"{who} overwrite all they held" if "units" in who else f"{who} overwrites what it held"
        )
    keep = cell.kept(values).mean()
    new = values[cell.enters].mean() if cell.enters else 1 - keep
    verbs = ("keep", "let in") if "units" in who else ("keeps", "lets in")
    return f"{who} {verbs[0]} {100 * keep:.0f} % and {verbs[1]} {100 * new:.0f} % of what is new"
