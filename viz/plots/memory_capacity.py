"""Picture of how much of the past input a state holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._door import array, as_numbers
from ._draw import axes, line, say
from ._legend import legend
from ._words import with_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_memory_capacity"]

KIND = "memory_capacity"
CHANCE = 10.8  # steps·r² of independent numbers is χ² with one degree of freedom: above this once in a thousand


def plot_memory_capacity(
    curve: ArrayLike,
    ax: Axes | None = None,
    *,
    steps: int | None = None,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """r²(u_{t−k}) against lag k; the area under it is the memory capacity.

    Parameters
    ----------
    curve : ndarray (lags,)
        The result of `viz.memory_curve`.
    ax : matplotlib Axes, optional
    steps : int, optional
        The `steps` with which the curve was measured. An input that is not remembered has an r² of about 1/steps
        by chance. With this number the title gives the capacity without that part and with twice its
        standard error, and "≥" if the last lag is still remembered. Without it the title is only the sum.
    label : str, optional
        For the legend, followed by the capacity. Call the function again to overlay another run.
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
    >>> curve = np.array([1.0, 0.5, 0.0])
    >>> viz.plot_memory_capacity(curve, Figure().subplots()).get_title()
    'r² of the lags 0 to 2 adds up to 1.5'
    >>> viz.plot_memory_capacity(curve, Figure().subplots(), steps=4000).get_title()
    'The state holds 1.500 ± 0.022 steps of its input'
    """
    from matplotlib.ticker import MaxNLocator

    as_numbers(curve, array("lags"), name="curve", source="viz.memory_curve")
    ax = axes(ax, KIND)
    curve = np.asarray(curve, np.float64)
    capacity, more, error = _capacity(curve, steps)
    told = ("≥ " if more else "") + with_error(capacity, error)
    lag = np.arange(len(curve))
    found = line(ax, KIND, lag, curve, label and f"{label}: {told}", **line_kw)
    ax.fill_between(lag, 0, curve, color=found.get_color(), alpha=0.12, linewidth=0)
    ax.set_ylim(0, 1.04)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    ax.set_xlabel("lag k   (steps back)")
    ax.set_ylabel("r² of the best linear\nreadout of u$_{t-k}$")
    sentence = f"r² of the lags 0 to {len(curve) - 1} adds up to {told}"
    if steps:
        sentence = f"The state holds {told} steps of its input"
    say(ax, KIND, sentence, "How much of the past input the state holds")
    legend(ax)
    return ax


def _capacity(curve: Floats, steps: int | None) -> tuple[float, bool, float]:
    """The sum of r² without what it is by chance, whether lags beyond the last would add to it, and twice its error."""
    total = float(curve.sum())
    if not steps:
        return total, False, np.nan
    variance = 4 * curve * (1 - curve) ** 2 / steps + 2 / steps**2
    by_chance = float((1 - curve).sum()) / steps
    return max(total - by_chance, 0.0), bool(curve[-1] > CHANCE / steps), 2 * float(np.sqrt(variance.sum()))
