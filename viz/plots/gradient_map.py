"""Picture of the gradient of every unit at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import style
from .._door import as_tape
from .._tapes import HasTape, Recorded, check_backward, state_gradients
from ._claims import not_finite, of_row, percent
from ._draw import axes, row_length, some_names
from ._maps import Band, Order, bands, cmap, colour_bars, units_of
from ._words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Floats

__all__ = ["plot_gradient_map"]

KIND = "gradient_map"


def plot_gradient_map(
    tape: Recorded | HasTape,
    ax: Axes | None = None,
    *,
    names: str | Sequence[str] | None = None,
    row: int = 0,
    order: Order = "auto",
    tokens: Sequence[object] | None = None,
    decades: float = 4,
) -> Axes:
    """∂L/∂h_t and ∂L/∂c_t: units × time, signed, logarithmic on both sides of 0.

    Parameters
    ----------
    tape : Tape or Frame
        After `backward` with one cotangent.
    ax : matplotlib Axes, optional
    names : str or sequence of str, optional
        Any of ``tape.names("*")``, or patterns such as "l0.*"; by default all h and c.
    row : int
        Row of the batch.
    order : "auto", None or sequence of int
        As in `viz.plot_states`.
    tokens : sequence of str, optional
        One per step, for the axis.
    decades : float
        Decades shown below the largest size; within the smallest the scale is linear through 0.

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
    >>> ax = viz.plot_gradient_map(tape, Figure().subplots())
    >>> [image.get_gid() for image in ax.images]
    ['l0.h', 'l0.c']
    """
    tape = as_tape(tape)
    from matplotlib.colors import SymLogNorm

    check_backward(tape)
    names = list(state_gradients(tape)) if names is None else some_names(names, tape.names("*"))
    length = row_length(tape, row)
    values = {n: np.asarray(tape.grad[n][:length, row], np.float64) for n in names}
    ax = axes(ax, KIND, overlays=False)
    largest = max(np.abs(v[np.isfinite(v)]).max(initial=0) for v in values.values()) or 1.0
    norm = SymLogNorm(largest * 10.0**-decades, vmin=-largest, vmax=largest, base=10)
    parts: list[Band] = []
    for name, value in values.items():
        units = units_of(tape, name, order)
        parts.append((name, value[:, units], cmap(style.SIGNED), norm))
    images = bands(ax, parts, tokens=tokens, gradient=True, of=of_row(row, tape.B))
    colour_bars(ax, images[:1], ["∂L / ∂state"])
    size = np.max([np.abs(value).max(1) for value in values.values()], axis=0)
    ax.set_title(_sentence(size, decades))
    return ax


def _sentence(size: Floats, decades: float) -> str:
    """Where the largest gradient of a step is far below the largest of all."""
    where = not_finite(size)
    if where:
        return f"The gradient is not finite {where}"
    if not size.any():
        return "No gradient reaches any step"
    if len(size) == 1:
        return f"The largest gradient is {number(size[0])}"
    small = np.flatnonzero(size < size.max() * 10.0**-decades)
    if not small.size:
        least = size.min() / size.max()
        return f"At every step some unit has at least {percent(least)} of the largest gradient"
    n, much = len(small), f"more than {decades:g} decades smaller than the largest"
    if small[-1] == n - 1:
        return f"Before step {n} the gradient is {much}"
    if small[0] == len(size) - n:
        return f"From step {small[0]} on the gradient is {much}"
    return f"At {n} of {len(size)} steps the gradient is {much}"
