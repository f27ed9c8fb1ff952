"""Picture of the gradient's size at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._door import array, by_name, held_tape, measured
from .._tapes import HasTape, Recorded, is_tape, valid_steps
from ..measures.gradient_flow import gradient_flow
from ._draw import axes, legend, magnitude_line, over_rows, pick_row, some_names, time_axis
from ._words import number, of_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Array, Floats

__all__ = ["plot_gradient_flow"]

KIND = "gradient_flow"


def plot_gradient_flow(
    tape: Recorded | HasTape | Mapping[str, Array],
    ax: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
    row: int | None = None,
    tokens: Sequence[object] | None = None,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """‖∂L/∂h_t‖ and ‖∂L/∂c_t‖ at every step, on a log axis.

    Parameters
    ----------
    tape : Tape, Frame, or dict of str to ndarray (T, B)
        A tape after `backward`, or the result of `viz.gradient_flow`.
    ax : matplotlib Axes, optional
    names : sequence of str, optional
        Which states; all by default.
    row : int, optional
        One row of the batch; by default the median over rows, with their range as a band.
    tokens : sequence of str, optional
        One per step, for the axis.
    label : str, optional
        Put in front of the names in the legend.
    **line_kw
        For the lines, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> grads = tape.backward(np.ones((6, 1, 4)))
    >>> ax = viz.plot_gradient_flow(tape, Figure().subplots())
    >>> ax.get_xlabel()
    'step   time →   ← gradient'
    """
    data = held_tape(tape)
    flow: Mapping[str, Array] = measured(data, gradient_flow, by_name(array("T", "B")))
    if is_tape(data):  # past a row's end there is no gradient, rather than a gradient of 0
        valid = valid_steps(data)
        flow = {name: np.where(valid, size, np.nan) for name, size in flow.items()}
    names = some_names(names, flow)
    ax = axes(ax, KIND)
    for name in names:
        size = pick_row(flow[name], row)
        magnitude_line(ax, KIND, np.arange(len(size)), size, of_run(label, name), **line_kw)
    time_axis(ax, len(size), tokens=tokens, gradient=True)
    ax.set_ylabel("‖∂L / ∂state‖")
    ax.set_title(_sentence(over_rows(pick_row(flow[names[0]], row))[0]))
    legend(ax)
    return ax


def _sentence(size: Floats) -> str:
    met = np.flatnonzero(size > 0)
    if not met.size:
        return "No gradient reaches any step"
    if size[0] == 0:
        return f"The gradient is exactly 0 before step {met[0]}"
    ratio = size[met[0]] / size[met[-1]]
    if 0.5 <= ratio <= 2:
        return "The gradient is about as large at the first step as at the last"
    if ratio > 1:
        return f"The gradient grows {number(ratio)}-fold from the last step to the first"
    return f"The gradient at the first step is {_share(ratio)} of that at the last"


def _share(ratio: float) -> str:
    return f"{100 * ratio:.0f} %" if ratio >= 0.01 else number(ratio)
