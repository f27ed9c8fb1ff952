"""Picture of how much of the past input a state holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._door import array, as_numbers
from ._draw import axes, legend, line, say
from ._words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike

__all__ = ["plot_memory_capacity"]

KIND = "memory_capacity"


def plot_memory_capacity(
    curve: ArrayLike, ax: Axes | None = None, *, label: str | None = None, **line_kw: Any
) -> Axes:
    """r²(u_{t−k}) against lag k; the area under it is the memory capacity.

    Parameters
    ----------
    curve : ndarray (lags,)
        The result of `viz.memory_curve`.
    ax : matplotlib Axes, optional
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
    >>> viz.plot_memory_capacity(np.array([1.0, 0.5, 0.0]), Figure().subplots()).get_title()
    'The state holds 1.5 steps of its input'
    """
    as_numbers(curve, array("lags"), name="curve", source="viz.memory_curve")
    ax = axes(ax, KIND)
    curve = np.asarray(curve, np.float64)
    capacity = number(float(curve.sum()))
    lag = np.arange(len(curve))
    found = line(ax, KIND, lag, curve, label and f"{label}: {capacity}", **line_kw)
    ax.fill_between(lag, 0, curve, color=found.get_color(), alpha=0.12, linewidth=0)
    ax.set_ylim(0, 1.04)
    ax.set_xlim(left=0)
    ax.set_xlabel("lag k   (steps back)")
    ax.set_ylabel("r² of the best linear readout of u$_{t-k}$")
    say(
        ax,
        KIND,
        f"The state holds {capacity} steps of its input",
        "How much of the past input the state holds",
    )
    legend(ax)
    return ax
