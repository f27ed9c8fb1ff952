"""Picture of how much each step's input contributed to a readout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import as_numbers, fields
from ..measures.integrated_gradients import Attribution
from ._claims import and_others, largest, named_step, of_row
from ._draw import axes, check_row, time_axis
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
    readout: str = "F",
    baseline: str = "x′",
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
    readout, baseline : str
        What F is and what x′ is, in words for the title, such as "log P(next)" and "0".
    **bar_kw
        For the bars, as in ``ax.bar``.

    Returns
    -------
    matplotlib Axes
        Bars that raise F have one colour, those that lower it the other colour and hatching; the last
        bar, apart and outlined, is the residual, the part that the quadrature does not explain.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> parts = viz.Attribution(np.array([[[1.0]], [[-2.0]]]), np.array([0.0]))
    >>> viz.plot_integrated_gradients(parts, Figure().subplots(), tokens="ab", baseline="0").get_title()
    "F falls by 1 from x′ = 0 to x; largest part: 'b' at step 1 (−2); unexplained: 0"
    """
    as_numbers(attribution, fields(Attribution), name="attribution", source="viz.integrated_gradients")
    check_row(row, np.shape(attribution.value)[1])
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
    place = steps - 1 + 1.5 * gap
    frame: dict[str, Any] = {"facecolor": "none", "edgecolor": style.GREY, "linewidth": 1.5}
    ax.bar(place, residual, max(0.85, steps / 60), label="residual", **frame)
    ax.axhline(0, color=style.GREY, linewidth=1)
    ax.set_xlim(-1, steps + 2 * gap)
    time_axis(ax, steps, tokens=tokens, of=of_row(row, np.shape(attribution.value)[1]))
    ticks = [t for t in ax.get_xticks() if 0 <= t < steps and place - t > steps / 12]
    ax.set_xticks([*ticks, place], [*(f"{t:g}" for t in ticks), "unex-\nplained"])
    ax.set_ylabel("part of F(x) − F(x′)")
    ax.set_title(_sentence(value, residual, tokens, plain(readout), plain(baseline)))
    return ax


def _sentence(value: Floats, residual: float, tokens: Sequence[object] | None, readout: str, baseline: str) -> str:
    total = value.sum() + residual
    who = readout if readout == "F" else f"F = {readout}"
    at = baseline if baseline == "x′" else f"x′ = {baseline}"
    if not np.isfinite(total):
        return f"{who} or its gradient is not finite"
    verb = f"{'rises' if total > 0 else 'falls'} by {number(abs(total))}" if total else "does not change"
    top = largest(np.abs(value))
    part = ""
    if top.size and value[top[0]] != 0:
        part = f"; largest part: {named_step(int(top[0]), tokens)} ({_signed(value[top[0]])}){and_others(top)}"
    return f"{who} {verb} from {at} to x{part}; unexplained: {_signed(residual)}"


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value)
