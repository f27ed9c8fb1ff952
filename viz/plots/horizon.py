"""Picture of the decay curve with half-life, centroid and horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._tapes import Direction, HasTape
from ..measures._decay import NORMS, norms_by_lag
from ._decay import readings
from ._draw import NORM, axes, lag_axis, magnitude_line, pick_row, say
from ._legend import legend
from ._words import count_of, of_rows, of_run, plain

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

    Half-life and horizon compare with the norm at lag 1, not with the gradient at the last step.

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
    '1 % of the norm at lag 1 remains 21 steps back'
    """
    norms = norms_by_lag(tape, direction, form=NORMS)
    rows = norms.shape[1]
    norms = pick_row(norms, row)
    ax = axes(ax, KIND)
    found = magnitude_line(ax, KIND, np.arange(len(norms)), norms, label, **line_kw)
    color = found.get_color()
    read = readings(norms, eps)
    for (name, (lag, more)), mark in zip(read.items(), ("v", "D", "s"), strict=True):
        name += {"half-life": " (50 % of lag 1)", "horizon": f" ({100 * eps:.2g} % of lag 1)"}.get(name, "")
        if not np.isfinite(lag):
            continue
        # a half-life that is not reached lies beyond the last lag
        height = np.interp(lag, np.arange(len(norms)), norms[:, 0], right=np.nan)
        size = 2.2 * found.get_markersize()
        look: dict[str, Any] = {"linestyle": "none", "marker": mark, "markersize": size, "markeredgewidth": size / 5}
        look |= {"color": color, "markerfacecolor": "white", "zorder": 4, "gid": name}
        ax.plot([lag] if np.isfinite(height) else [], [height] if np.isfinite(height) else [],
                label=plain(of_run(label, f"{name}: {count_of(lag, more=more)}")), **look)  # fmt: skip
    lag1 = norms[1, 0] if len(norms) > 1 else np.nan
    if lag1 > 0:
        look = {"color": color if label else style.GREY, "linewidth": 1, "linestyle": "--", "zorder": 1}
        ax.axhline(eps * lag1, gid="eps", **look)
        far = read["horizon"]
        right = not far.more and far.steps < len(norms) / 2  # the mark of the horizon is on this line, to the left
        ax.annotate(
            f"{100 * eps:.2g} % of the norm at lag 1", (0.99 if right else 0.01, eps * lag1), gid="eps", va="bottom",
            xycoords=("axes fraction", "data"), xytext=(0, 2), textcoords="offset points", color=look["color"],
            fontsize="small", ha="right" if right else "left",
        )  # fmt: skip
    lag_axis(ax, direction)
    ax.set_ylabel("\n".join(filter(None, [NORM[direction], of_rows(rows, row)])))
    say(ax, KIND, _sentence(eps, *read["horizon"]), f"How far back {100 * eps:.2g} % of the norm at lag 1 remains")
    legend(ax)
    return ax


def _sentence(eps: float, far: float, more: bool) -> str:
    if np.isnan(far):
        return "There is no earlier step that a gradient could reach"
    if far == 0:
        return "The gradient is exactly 0 one step back"
    return f"{100 * eps:.2g} % of the norm at lag 1 remains {count_of(far, more=more)} back"
