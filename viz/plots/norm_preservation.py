"""Picture of how well each step keeps the gradient's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, measured
from ..measures.omega import norm_preservation
from ._draw import axes, drawn, legend, line, over_rows, pick_row, say, time_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Array
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

__all__ = ["plot_norm_preservation"]

KIND = "norm_preservation"


def plot_norm_preservation(
    tape: Tape | HasTape | Array,
    ax: Axes | None = None,
    *,
    label: str | None = None,
    row: int | None = None,
    tokens: Sequence[object] | None = None,
    **line_kw: Any,
) -> Axes:
    """‖δ_{t+1}·J_{t+1}‖/‖δ_{t+1}‖ of every step: 1 is ideal. Ω sums the squared distance from 1.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape after `backward`, or the result of `viz.norm_preservation`.
    ax : matplotlib Axes, optional
    label : str, optional
        For the legend. Call the function again to overlay another run.
    row : int, optional
        One row of the batch; by default the median over rows, with their range as a band.
    tokens : sequence of str, optional
        One per step, for the axis.
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
    >>> viz.plot_norm_preservation(np.full((20, 1), 0.8), Figure().subplots()).get_title()
    'A typical step shrinks the gradient by 20 %'
    """
    ratio = pick_row(measured(tape, norm_preservation, array("T", "B")), row)
    ax = axes(ax, KIND)
    line(ax, KIND, np.arange(len(ratio)), ratio, label, **line_kw)
    if not drawn(ax, "ideal"):
        ax.axhline(1, color=style.GREY, linewidth=1, linestyle="--", gid="ideal", zorder=1)
        ax.annotate(
            "1: the step keeps the norm",
            (0.01, 1),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            color=style.GREY,
            fontsize="small",
        )
    ax.set_ylim(bottom=0, top=max(1.25, ax.get_ylim()[1]))
    ax.set_ylabel("‖δ$_{t+1}$ J$_{t+1}$‖ / ‖δ$_{t+1}$‖")
    time_axis(ax, len(ratio), tokens=tokens, gradient=True)
    middle = over_rows(ratio)[0]
    typical = float(np.median(middle[~np.isnan(middle)])) if (~np.isnan(middle)).any() else np.nan
    say(ax, KIND, _sentence(typical), "How each step changes the size of the gradient")
    legend(ax)
    return ax


def _sentence(ratio: float) -> str:
    if np.isnan(ratio):
        return "No gradient arrives"
    change = 100 * abs(ratio - 1)
    if change < 0.5:
        return "A typical step keeps the gradient's size"
    return f"A typical step {'shrinks' if ratio < 1 else 'enlarges'} the gradient by {change:.0f} %"
