"""Picture of the loss against the context that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, as_numbers, pair
from ._draw import axes, drawn, line, say
from ._legend import legend
from ._words import count_of, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_context_cut"]

KIND = "context_cut"
SMALL, LARGE = 0.05, 0.2  # shares of the gain: not worth mentioning; too large to be called the rest
FORM = pair(array("N"), array("N", "B"), "(contexts, change)")


def plot_context_cut(
    cut: tuple[ArrayLike, ArrayLike],
    ax: Axes | None = None,
    *,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """How much higher the loss is when only the last k inputs are kept.

    Parameters
    ----------
    cut : (contexts, change)
        The result of `viz.context_cut`.
    ax : matplotlib Axes, optional
    label : str, optional
        For the legend. Call the function again to overlay another run.
    **line_kw
        For the line, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes
        With the mean over the rows, and twice its standard error as a band.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> cut = np.array([1, 2, 4]), np.array([[3.0], [0.5], [0.0]])
    >>> viz.plot_context_cut(cut, Figure().subplots()).get_title()
    'More than 2 of 4 steps of context are used in this row'
    """
    as_numbers(cut, FORM, name="cut", source="viz.context_cut")
    ax = axes(ax, KIND)
    contexts, change = np.asarray(cut[0]), np.asarray(cut[1], np.float64)
    mean: Floats = change.mean(1)
    found = line(ax, KIND, contexts, mean, label, **{"markevery": 1} | line_kw)
    rows = change.shape[1]
    error: Floats = 2 * change.std(1, ddof=1) / rows**0.5 if rows > 1 else np.zeros(len(mean))
    if rows > 1:
        ax.fill_between(
            contexts, mean - error, mean + error, color=found.get_color(), alpha=0.15, linewidth=0
        )
    if not drawn(ax, "zero"):
        ax.axhline(0, color=style.GREY, linewidth=1, linestyle="--", zorder=1, gid="zero")
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("inputs kept   (steps of context)")
    ax.set_ylabel("extra loss" + (f"\n(mean ± 2 s.e. of {rows} rows)" if rows > 1 else ""))
    told = _sentence(contexts, mean, error) + ("" if rows > 1 else " in this row")
    say(ax, KIND, told, "How much worse the prediction is with less context")
    legend(ax)
    return ax


def _sentence(contexts: Floats, mean: Floats, error: Floats) -> str:
    """Which context is used, as far as the mean over rows differs from 0 by more than twice its standard error."""
    order = np.argsort(contexts)
    contexts, mean, error = contexts[order], mean[order], error[order]
    if not mean.any() and not error.any():
        return "Cutting the context changes nothing"
    worse = np.flatnonzero(mean > error)
    if not worse.size:
        lower = (mean < -error).any()
        return "The loss is lower with less context" if lower else "No effect of a shorter context is beyond its error"
    worst = int(np.argmax(mean - error))
    bound = (mean + error) / (mean - error)[worst]  # at most this share of the gain comes from further back
    late = int(np.flatnonzero((mean > error) & (bound > SMALL))[-1])
    if late + 2 >= len(contexts):  # the last entry is the full context
        return f"More than {contexts[late]} of {count_of(contexts[-1])} of context are used"
    most = float(bound[late + 1 :].max())
    if most > LARGE:
        used = count_of(contexts[late]) + f" of context {'is' if contexts[late] == 1 else 'are'} used"
        return f"More than {used}; how many, is within the error"
    if most <= 0:
        return f"Context beyond {count_of(contexts[late + 1])} changes nothing"
    return f"Context beyond {count_of(contexts[late + 1])} gives at most {share(most)} of the gain"
