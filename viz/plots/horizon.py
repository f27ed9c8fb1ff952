"""Picture of the decay curve with half-life, centroid and horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._tapes import Direction, HasTape
from ..measures._decay import norms_by_lag
from ..measures.centroid import centroid
from ..measures.half_life import half_life
from ..measures.horizon import horizon
from ._draw import axes, lag_axis, legend, magnitude_line, pick_row
from ._words import count_of, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike
    from rnncore.recurrent.tape import Tape

__all__ = ["plot_horizon"]

KIND = "horizon"


def plot_horizon(
    tape: Tape | HasTape | ArrayLike,
    ax: Axes | None = None,
    *,
    eps: float = 0.01,
    row: int = 0,
    label: str | None = None,
    direction: Direction = "forward",
    **line_kw: Any,
) -> Axes:
    """The Jacobian norm against lag, with half-life, centroid and horizon marked on it.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or the result of `viz.jacobian_norms`.
    ax : matplotlib Axes, optional
    eps : float
        As in `viz.horizon`.
    row : int
        Row of the batch.
    label : str, optional
        For the legend.
    direction : {"forward", "reverse"}
        As in `viz.jacobian_norms`.
    **line_kw
        For the line, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> viz.plot_horizon(0.8 ** np.arange(60.0), Figure().subplots()).get_title()
    '1 % of the gradient remains 21 steps back'
    """
    norms = pick_row(norms_by_lag(tape, direction), row)
    ax = axes(ax, KIND)
    found = magnitude_line(ax, KIND, np.arange(len(norms)), norms, label, **line_kw)
    color = found.get_color()
    readings = {
        "half-life": half_life(norms)[0],
        "centroid": centroid(norms)[0],
        f"horizon ({eps:.2g})": horizon(norms, eps)[0],
    }
    for (name, lag), mark in zip(readings.items(), ("v", "D", "s"), strict=True):
        if not np.isfinite(lag):
            continue
        height = np.interp(lag, np.arange(len(norms)), norms[:, 0])
        look: dict[str, Any] = {"linestyle": "none", "marker": mark, "markersize": 11, "markeredgewidth": 2}
        look |= {"color": color, "markerfacecolor": "white", "zorder": 4, "gid": name}
        ax.plot([lag], [height], label=f"{name}: {count_of(lag)}", **look)
    lag1 = norms[1, 0] if len(norms) > 1 else np.nan
    if lag1 > 0:
        ax.axhline(eps * lag1, color=style.GREY, linewidth=1, linestyle="--", zorder=1, gid="eps")
    lag_axis(ax)
    ax.set_ylabel("‖∂s$_T$ / ∂s$_{T-k}$‖$_2$")
    far = readings[f"horizon ({eps:.2g})"]
    last = np.flatnonzero(~np.isnan(norms[:, 0]))[-1] if (~np.isnan(norms)).any() else 0
    at_end = " or more" if far == last else ""
    ax.set_title(f"{100 * eps:.2g} % of the gradient remains {number(far)}{at_end} steps back")
    legend(ax)
    return ax
