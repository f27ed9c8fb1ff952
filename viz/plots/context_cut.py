"""Picture of the loss against the context that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, as_numbers, pair
from ._draw import axes, drawn, legend, line, say
from ._words import count_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_context_cut"]

KIND = "context_cut"
FORM = pair(array("N"), array("N", "B"), "(contexts, change)")


def plot_context_cut(
    cut: tuple[ArrayLike, ArrayLike],
    ax: Axes | None = None,
    *,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """How much worse the loss is when only the last k inputs are kept.

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
    'All 4 steps of context are used'
    """
    as_numbers(cut, FORM, name="cut", source="viz.context_cut")
    ax = axes(ax, KIND)
    contexts, change = np.asarray(cut[0]), np.asarray(cut[1], np.float64)
    mean: Floats = change.mean(1)
    found = line(ax, KIND, contexts, mean, label, **{"markevery": 1} | line_kw)
    if change.shape[1] > 1:
        error = 2 * change.std(1, ddof=1) / change.shape[1] ** 0.5
        ax.fill_between(
            contexts, mean - error, mean + error, color=found.get_color(), alpha=0.15, linewidth=0
        )
    if not drawn(ax, "zero"):
        ax.axhline(0, color=style.GREY, linewidth=1, linestyle="--", zorder=1, gid="zero")
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("inputs kept   (steps of context)")
    ax.set_ylabel("loss − loss with the full context")
    say(ax, KIND, _sentence(contexts, mean), "How much worse the prediction is with less context")
    legend(ax)
    return ax


def _sentence(contexts: Floats, mean: Floats) -> str:
    worst = np.abs(mean).max(initial=0)
    late = np.flatnonzero(np.abs(mean) > 0.05 * worst)
    if worst == 0 or not late.size:
        return "Cutting the context changes nothing"
    if late[-1] + 2 >= len(contexts):           # the last entry is the full context
        return f"All {count_of(contexts[-1])} of context are used"
    return f"Context beyond {count_of(contexts[late[-1] + 1])} hardly helps"
