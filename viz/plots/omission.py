"""Picture of how much the final state changes when each step is omitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, as_numbers
from ._draw import axes, pick_row, time_axis, visible
from ._words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike

__all__ = ["plot_omission"]

KIND = "omission"


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
    'Leaving out step 1 changes the final state most'
    """
    as_numbers(change, array("T", "B"), name="change", source="viz.omission")
    change = pick_row(change, row)[:, 0]
    ax = axes(ax, KIND, overlays=False)
    look: dict[str, Any] = {"color": style.LINES[0], "width": 0.85} | bar_kw
    ax.bar(np.arange(len(change)), change, **look)
    time_axis(ax, len(change), tokens=tokens)
    ax.set_xlim(-1, len(change))
    ax.set_ylabel("1 − cos(s, s without the step)")
    if np.isfinite(change).any():
        top = int(np.nanargmax(change))
        what = f"{visible(tokens[top])!r}, step {top}," if tokens is not None else f"step {top}"
        ax.set_title(f"Leaving out {plain(what)} changes the final state most")
    return ax
