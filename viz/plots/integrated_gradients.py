"""Picture of how much each step's input contributed to a readout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import as_numbers, fields
from ..measures.integrated_gradients import Attribution
from ._draw import axes, time_axis, visible
from ._words import number, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Floats

__all__ = ["plot_integrated_gradients"]

KIND = "integrated_gradients"


def plot_integrated_gradients(
    attribution: Attribution,
    ax: Axes | None = None,
    *,
    row: int = 0,
    tokens: Sequence[object] | None = None,
    **bar_kw: Any,
) -> Axes:
    """Integrated gradients as bars, one per step, and the residual of F(x) − F(x′).

    Parameters
    ----------
    attribution : Attribution
        The result of `viz.integrated_gradients`.
    ax : matplotlib Axes, optional
    row : int
        Row of the batch.
    tokens : sequence of str, optional
        One per step, for the axis.
    **bar_kw
        For the bars, as in ``ax.bar``.

    Returns
    -------
    matplotlib Axes
        Bars that raise F have one colour, those that lower it the other colour and hatching; the last
        bar, apart and outlined, is the residual.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> parts = viz.Attribution(np.array([[[1.0]], [[-2.0]]]), np.array([0.0]))
    >>> viz.plot_integrated_gradients(parts, Figure().subplots(), tokens="ab").get_title()
    "F changes by −1, most through 'b' at step 1; unexplained: 0"
    """
    as_numbers(attribution, fields(Attribution), name="attribution", source="viz.integrated_gradients")
    ax = axes(ax, KIND, overlays=False)
    value: Floats = np.asarray(attribution.value)[:, row].sum(-1)
    residual = float(np.asarray(attribution.residual)[row])
    steps = len(value)
    colors = np.where(value >= 0, style.LINES[0], style.LINES[1])
    look: dict[str, Any] = {"color": colors, "width": 0.85} | bar_kw
    bars = ax.bar(np.arange(steps), value, **look)
    for bar, v in zip(bars, value, strict=True):
        if v < 0 and steps <= 120:
            bar.set_hatch("////")
            bar.set_edgecolor("white")
    gap = max(1, steps // 25)
    frame: dict[str, Any] = {"facecolor": "none", "edgecolor": style.GREY, "linewidth": 1.5}
    ax.bar(steps - 1 + 1.5 * gap, residual, max(0.85, steps / 60), label="residual", **frame)
    ax.axhline(0, color=style.GREY, linewidth=1)
    time_axis(ax, steps, tokens=tokens)
    ticks = [t for t in ax.get_xticks() if 0 <= t < steps]
    labels = [
        plain(visible(tokens[int(t)])) if tokens is not None and steps <= 80 else f"{t:g}" for t in ticks
    ]
    ax.set_xticks([*ticks, steps - 1 + 1.5 * gap], [*labels, "resi-\ndual"])
    ax.set_xlim(-1, steps + 2 * gap)
    ax.set_ylabel("contribution to F(x) − F(x′)")
    top = int(np.argmax(np.abs(value))) if steps else 0
    total = value.sum() + residual
    what = f"{visible(tokens[top])!r} at step {top}" if tokens is not None else f"step {top}"
    ax.set_title(
        f"F changes by {number(total)}, most through {plain(what)}; "
        f"unexplained: {number(abs(residual))}"
    )  # fmt: skip
    return ax
