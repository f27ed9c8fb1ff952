"""Picture of the Jacobian norm against lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._tapes import Direction, HasTape
from ..measures._decay import norms_by_lag
from ..measures.decay_rate import decay_fit
from ._draw import axes, drawn, lag_axis, legend, magnitude_line, pick_row, say
from ._words import pace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike
    from rnncore.recurrent.tape import Tape

__all__ = ["plot_jacobian_norms"]

KIND = "jacobian_norms"
SLOPES = (0.5, 0.8, 0.9, 0.95, 0.99)


def plot_jacobian_norms(
    tape: Tape | HasTape | ArrayLike,
    ax: Axes | None = None,
    *,
    label: str | None = None,
    row: int | None = None,
    guides: bool = True,
    fit: bool = True,
    direction: Direction = "forward",
    **line_kw: Any,
) -> Axes:
    """‖∂s_T/∂s_{T-k}‖₂ against lag k, on a log axis.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or the result of `viz.jacobian_norms`.
    ax : matplotlib Axes, optional
        By default pyplot's current axes.
    label : str, optional
        For the legend, followed by the rate of decay. Call the function again to overlay another run.
    row : int, optional
        One row of the batch; by default the median over rows, with their range as a band.
    guides : bool
        Draw grey lines of slope γᵏ for comparison.
    fit : bool
        Draw the fitted decay (`viz.decay_fit`) as a dashed line.
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
    >>> ax = viz.plot_jacobian_norms(0.5 ** (np.arange(30.0) / 3.1), Figure().subplots())
    >>> ax.get_title()
    'The gradient halves every 3.1 steps'
    """
    norms = pick_row(norms_by_lag(tape, direction), row)
    ax = axes(ax, KIND)
    lag = np.arange(len(norms))
    rates, levels = decay_fit(norms)
    known = rates[~np.isnan(rates)]
    rate, level = (
        (np.median(known), np.median(levels[~np.isnan(levels)])) if known.size else (np.nan,) * 2
    )
    said = pace(float(rate))
    found = magnitude_line(ax, KIND, lag, norms, label and f"{label}: {said}", **line_kw)
    if fit and np.isfinite(rate) and abs(rate) * len(lag) < 700:
        ax.plot(
            lag[1:], np.exp(level + rate * lag[1:]), color=found.get_color(), linestyle=(0, (4, 2)),
            linewidth=1, alpha=0.8, gid="fit",
        )  # fmt: skip
    lag_axis(ax)
    ax.set_ylabel("‖∂s$_T$ / ∂s$_{T-k}$‖$_2$")
    ax.margins(x=0.02)
    if guides:
        _guides(ax, len(lag))
    say(ax, KIND, f"The gradient {said}", "How much of the gradient remains k steps back")
    legend(ax)
    return ax


def _guides(ax: Axes, steps: int) -> None:
    """Draw γᵏ within the range of the lines, each labelled where it leaves the picture."""
    for old in drawn(ax, "guide"):
        old.remove()
    for text in [t for t in ax.texts if t.get_gid() == "guide"]:
        text.remove()
    heights = np.concatenate([np.asarray(a.get_ydata(), float) for a in drawn(ax, KIND)])
    heights = heights[np.isfinite(heights)]
    if not heights.size or steps < 3:
        return
    steps = max(np.size(line.get_xdata()) for line in drawn(ax, KIND))
    low, high = heights.min() / 2, heights.max() * 2
    if drawn(ax, "floor"):
        low = min(low, style.FLOOR / 100)
    lag = np.arange(steps)
    ended: list[tuple[float, float]] = []
    for gamma in SLOPES:
        end = min(steps - 1, np.log(low) / np.log(gamma)) if low < 1 else steps - 1
        height = gamma**end
        close = any(
            abs(end - e) < steps / 12 and abs(np.log(height / h)) < 0.08 * np.log(high / low)
            for e, h in ended
        )
        if close or gamma**steps > 0.7 or end < steps / 25:
            continue
        ended.append((end, height))
        some = lag[lag <= end]
        ax.plot(
            some, gamma**some, color=style.GREY, linewidth=0.8, linestyle=":", zorder=1, gid="guide"
        )
        ax.annotate(
            f"{gamma}ᵏ", (end, height), xytext=(2, 0), textcoords="offset points", color=style.GREY,
            fontsize="x-small", va="bottom", gid="guide", annotation_clip=True,
        )  # fmt: skip
    ax.set_ylim(low, high)
