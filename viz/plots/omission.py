"""Picture of how much the final state changes when each step is omitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, as_numbers
from ._claims import counted, largest, named_step, of_row
from ._draw import axes, pick_row, time_axis
from ._words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_omission"]

KIND = "omission"
ROUNDING = 1e-12  # a change below this is the rounding of the cosine


def plot_omission(
    change: ArrayLike,
    ax: Axes | None = None,
    *,
    row: int = 0,
    tokens: Sequence[object] | None = None,
    **bar_kw: Any,
) -> Axes:
    """1 − cos(s(S), s(S∖i)) as bars over the steps, or tokens.

    Parameters
    ----------
    change : ndarray (T, B)
        The result of `viz.omission`.
    ax : matplotlib Axes, optional
    row : int
        Row of the batch.
    tokens : sequence of str, optional
        One per step, for the axis.
    **bar_kw
        For the bars, as in ``ax.bar``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> change = np.array([[0.1], [0.7], [0.2]])
    >>> viz.plot_omission(change, Figure().subplots()).get_title()
    'Leaving out step 1 changes the final state most: 1 − cos = 0.7'
    """
    as_numbers(change, array("T", "B"), name="change", source="viz.omission")
    rows = np.asarray(change).shape[1] if np.ndim(change) > 1 else 1
    change = pick_row(change, row)[:, 0]
    ax = axes(ax, KIND, overlays=False)
    look: dict[str, Any] = {"color": style.LINES[0], "width": 0.85} | bar_kw
    ax.bar(np.arange(len(change)), change, **look)
    ax.set_xlim(-1, len(change))
    time_axis(ax, len(change), tokens=tokens, of=of_row(row, rows))
    ax.set_ylabel("1 − cos(s$_T$, s$_T$ without)")
    ax.set_title(_sentence(change, tokens))
    return ax


def _sentence(change: Floats, tokens: Sequence[object] | None) -> str:
    top = largest(change)
    if not top.size:
        return "The final state is 0, or not finite, so that it has no direction"
    if change[top[0]] < ROUNDING:
        return "Leaving out any one step leaves the direction of the final state as it is"
    other = f" or {counted(len(top) - 1, 'other step')}" if len(top) > 1 else ""
    which = f"{named_step(int(top[0]), tokens)}{other}"
    return f"Leaving out {which} changes the final state most: 1 − cos = {number(change[top[0]])}"
