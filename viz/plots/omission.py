"""Picture of what leaving out each step changes."""

from __future__ import annotations

import numpy as np

from .. import style
from ._draw import axes, pick_row, time_axis, visible
from ._words import plain

__all__ = ["plot_omission"]


def plot_omission(change, ax=None, *, row: int = 0, tokens=None, **bar_kw):
    """1 − cos(s(S), s(S∖i)) as bars on the steps, or tokens.

    Parameters
    ----------
    change : ndarray (T, B)
        What `viz.omission` returned.
    ax : matplotlib Axes, optional
    row : int
        Of the batch.
    tokens : sequence of str, optional
        One a step, for the axis.
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
    ax = axes(ax)
    change = pick_row(change, row)[:, 0]
    ax.bar(np.arange(len(change)), change, **{"color": style.LINES[0], "width": 0.85} | bar_kw)
    time_axis(ax, len(change), tokens=tokens)
    ax.set_xlim(-1, len(change))
    ax.set_ylabel("1 − cos(s, s without the step)")
    if np.isfinite(change).any():
        top = int(np.nanargmax(change))
        what = f"{visible(tokens[top])!r}, step {top}," if tokens is not None else f"step {top}"
        ax.set_title(f"Leaving out {plain(what)} changes the final state most")
    return ax
