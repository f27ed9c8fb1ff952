"""Picture of the gradient's size at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._door import array, by_name, held_tape, measured, not_negative
from .._tapes import HasTape, Recorded, is_tape, valid_steps
from ..measures.gradient_flow import gradient_flow
from ._claims import compared, larger_of, not_finite, of_row, spread
from ._draw import axes, drawn, magnitude_line, pick_row, some_names, time_axis
from ._legend import legend
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
    flow: Mapping[str, Array] = measured(data, gradient_flow, by_name(not_negative(array("T", "B")), "state"))
    if is_tape(data):  # past a row's end there is no gradient, rather than a gradient of 0
        valid = valid_steps(data)
        flow = {name: np.where(valid, size, np.nan) for name, size in flow.items()}
    names = some_names(names, flow)
    sizes = {name: pick_row(flow[name], row) for name in names}
    ax = axes(ax, KIND)
    for name, size in sizes.items():
        magnitude_line(ax, KIND, np.arange(len(size)), size, of_run(label, name), **line_kw)
    rows = flow[names[0]].shape[1] if np.ndim(flow[names[0]]) > 1 else 1
    of = of_row(row, rows) if row is not None else ""
    time_axis(ax, len(size), tokens=tokens, gradient=True, of=of)
    ax.set_ylabel("‖∂L / ∂state‖" + (f"\n{rows} rows: median, range" if row is None and rows > 1 else ""))
    if len(drawn(ax, KIND)) <= len(names):
        ax.set_title(_sentence(sizes, np.dtype(data.dtype) if is_tape(data) else None))
    else:
        ax.set_title("How large the gradient is at every step")
    legend(ax)
    return ax


def _sentence(sizes: Mapping[str, Floats], dtype: np.dtype[Any] | None) -> str:
    """What all lines together show: the largest state at every step, in every row.

    Below the smallest normal number of `dtype` the gradients have lost their digits, and further below they are 0.
    """
    floor = 0.0 if dtype is None else float(np.finfo(dtype).tiny)
    rows = [_of_row(list(sizes.values()), b) for b in range(next(iter(sizes.values())).shape[1])]
    rows = [size for size in rows if size.size]
    broken = [where for size in rows if (where := not_finite(size))]
    if broken:
        where = broken[0] if len(set(broken)) == 1 else f"at some steps of {len(broken)} of {len(rows)} rows"
        return f"The gradient is not finite {where}"
    met = [(np.flatnonzero(size), size) for size in rows if size.any()]
    if not met:
        return "No gradient reaches any step"
    about = larger_of(list(sizes))
    about = f" ({about})" if about else ""
    starts, last = np.array([steps[0] for steps, _ in met]), np.array([steps[-1] for steps, _ in met])
    if len(met) < len(rows):
        return f"No gradient reaches any step of {len(rows) - len(met)} of {len(rows)} rows"
    if starts.all():
        faded = all(_fades_to(floor, size[steps[0] :]) for steps, size in met)
        does = f"too small for {dtype}" if faded else "exactly 0"
        return f"The gradient is {does} before step {spread(starts, number)}"
    if starts.any():
        return f"The gradient is exactly 0 at the first step of {(starts > 0).sum()} of {len(met)} rows"
    above = np.array([np.flatnonzero(size >= floor)[:1].sum() for _, size in met])
    if above.all():
        return f"The gradient is below the smallest normal {dtype} before step {spread(above, number)}"
    if not last.any():
        only = all(len(size) == 1 for size in rows)
        if only:
            return f"The gradient at the only step is {spread([size[0] for size in rows], number)}{about}"
        return "The gradient reaches the first step alone"
    at_end = all(steps[-1] == len(size) - 1 for steps, size in met)
    there = "the last" if at_end else "the last that has one" if len(set(last)) > 1 else f"step {last[0]}"
    ratios = [size[0] / size[steps[-1]] for steps, size in met]
    return compared(ratios, "the first step", there) + about


def _fades_to(floor: float, size: Floats) -> bool:
    """Whether the next step back, if it shrinks as the last one did, is below the smallest normal number."""
    return len(size) > 1 and size[0] < size[1] and bool(size[0] * (size[0] / size[1]) < floor)


def _of_row(sizes: list[Floats], row: int) -> Floats:
    """The largest state at every step of a row, up to the last step that it has."""
    size = np.stack([size[:, row] for size in sizes])
    known = np.flatnonzero(~np.isnan(size).all(0))
    kept: Floats = size.max(0)[: known[-1] + 1] if known.size else np.empty(0)  # NaN if one of them is
    return kept
