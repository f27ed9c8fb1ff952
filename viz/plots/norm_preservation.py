"""Picture of how well each step keeps the gradient's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, measured
from ..measures.omega import norm_preservation
from ._draw import axes, columns, drawn, line, pick_row, say, time_axis
from ._legend import legend
from ._words import between, number, of_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Array, Floats
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
    'Every step multiplies the norm of the gradient by 0.8'
    """
    ratio = columns(measured(tape, norm_preservation, array("T", "B")))
    rows = ratio.shape[1]
    ratio = pick_row(ratio, row)
    ax = axes(ax, KIND)
    line(ax, KIND, np.arange(len(ratio)), ratio, label, **line_kw)
    if not drawn(ax, "ideal"):
        ax.axhline(1, color=style.GREY, linewidth=1, linestyle="--", gid="ideal", zorder=1)
    ax.set_ylim(bottom=0, top=max(1.25, ax.get_ylim()[1]))
    words = ["‖δ$_{t+1}$ J$_{t+1}$‖ / ‖δ$_{t+1}$‖", "(1 keeps the norm)", of_rows(rows, row)]
    ax.set_ylabel("\n".join(filter(None, words)))
    time_axis(ax, len(ratio), tokens=tokens, gradient=True)
    say(ax, KIND, _sentence(ratio[~np.isnan(ratio)]), "How each step changes the size of the gradient")
    legend(ax)
    return ax


def _sentence(ratio: Floats) -> str:
    """What the steps of all rows that are drawn do."""
    if not ratio.size:
        return "No gradient arrives"
    least, low, middle, high, most = np.quantile(ratio, (0, 0.25, 0.5, 0.75, 1))
    if most - least < 0.005:
        kept = abs(middle - 1) < 0.005
        does = "keeps the norm of the gradient" if kept else f"multiplies the norm of the gradient by {number(middle)}"
        return f"Every step {does}"
    return f"Half of the steps multiply the norm of the gradient by {between(low, high)}, all by {between(least, most)}"
