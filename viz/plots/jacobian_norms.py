"""Picture of the Jacobian norm against lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._tapes import Direction, HasTape
from ..measures._decay import NORMS, norms_by_lag
from ..measures.decay_rate import decay_fit
from ._decay import fate
from ._draw import NORM, axes, drawn, lag_axis, magnitude_line, pick_row, say
from ._legend import legend
from ._words import of_rows

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
        For the legend, followed by the rate of decay, or by what is left at the last lag if the curves have no
        single rate (see `viz.decay_range`). Call the function again to overlay another run.
    row : int, optional
        One row of the batch; by default the median over rows, with their range as a band.
    guides : bool
        Draw grey lines of slope γᵏ for comparison.
    fit : bool
        Draw the fitted decay (`viz.decay_fit`) as a dashed line, if there is a single rate.
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
    norms = norms_by_lag(tape, direction, form=NORMS)
    rows = norms.shape[1]
    norms = pick_row(norms, row)
    ax = axes(ax, KIND)
    lag = np.arange(len(norms))
    found_out = fate(norms)
    label = label and f"{label}: {found_out.short}"
    found = magnitude_line(ax, KIND, lag, norms, label, **line_kw)
    if fit and found_out.exponential:
        rates, levels = (fitted[~np.isnan(fitted)] for fitted in decay_fit(norms))
        with np.errstate(over="ignore", under="ignore"):
            fitted = np.exp(np.median(levels) + np.median(rates) * lag[1:])
        ax.plot(
            lag[1:], fitted, color=found.get_color(), linestyle=(0, (4, 2)), linewidth=1, alpha=0.8, gid="fit"
        )
    lag_axis(ax, direction)
    ax.set_ylabel("\n".join(filter(None, [NORM[direction], of_rows(rows, row)])))
    ax.margins(x=0.02)
    if guides:
        _guides(ax, len(lag))
    say(ax, KIND, found_out.sentence, "How much of the gradient remains k steps back")
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
        down = np.log(low) / np.log(gamma) if low < 1 else np.inf  # where it leaves the picture at the bottom
        end = min(steps - 1, down)
        height = gamma**end
        close = any(
            abs(end - e) < steps / 8 and abs(np.log(height / h)) < 0.1 * np.log(high / low) for e, h in ended
        )
        if close or gamma**steps > 0.7 or end < steps / 12:
            continue
        ended.append((end, height))
        some = lag[lag <= end]
        ax.plot(some, gamma**some, color=style.GREY, linewidth=0.8, linestyle=":", zorder=1, gid="guide")
        if down > steps - 1:  # it leaves at the right: the label is below its end
            place: dict[str, Any] = {"xytext": (-2, -2), "ha": "right", "va": "top"}
        else:  # at the bottom: the label is to the right of it
            place = {"xytext": (1, 2), "ha": "left", "va": "bottom"}
        ax.annotate(
            f"{gamma}ᵏ", (end, height), textcoords="offset points", color=style.GREY, fontsize="x-small",
            gid="guide", zorder=1.5, **place,
        )  # fmt: skip
    ax.set_ylim(low, high)
