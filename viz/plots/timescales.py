"""Picture of the units' time scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, by_name, measured
from .._tapes import HasTape, Recorded
from ..measures.timescales import timescales
from ._draw import axes, drawn, legend, line
from ._words import count_of, of_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Array

__all__ = ["plot_timescales"]

KIND = "timescales"


def plot_timescales(
    tape: Recorded | HasTape | Mapping[str, Array],
    ax: Axes | None = None,
    *,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """τ of every unit, sorted, on a log axis.

    Parameters
    ----------
    tape : Tape, Frame, or dict of str to ndarray (H,)
        A tape of an LSTM or GRU, or the result of `viz.timescales`.
    ax : matplotlib Axes, optional
    label : str, optional
        Put in front of the layers' names in the legend. Call the function again to overlay another run.
    **line_kw
        For the lines, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> viz.plot_timescales({"l0": np.array([2.0, 8.0, 30.0])}, Figure().subplots()).get_title()
    'Half of the units keep their values for 8 steps or more'
    """
    from matplotlib.ticker import LogFormatter

    scales: Mapping[str, Array] = measured(tape, timescales, by_name(array("H")))
    ax = axes(ax, KIND)
    for name, tau in scales.items():
        tau = np.sort(np.asarray(tau))[::-1]
        share = (np.arange(len(tau)) + 0.5) / len(tau)
        finite = np.isfinite(tau) & (tau > 0)
        line(ax, KIND, share[finite], tau[finite], of_run(label, name), **line_kw)
        never = share[np.isposinf(tau)]
        if never.size:
            look: dict[str, Any] = {"marker": "^", "linestyle": "none", "color": drawn(ax, KIND)[-1].get_color()}
            look |= {"transform": ax.get_xaxis_transform(), "clip_on": False}
            ax.plot(never, np.full(len(never), 0.985), label="never forgets", gid="never", **look)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of units, slowest first")
    ax.set_ylabel("τ   (steps)")
    if not drawn(ax, "one"):
        ax.axhline(1, color=style.GREY, linewidth=1, linestyle="--", zorder=1, gid="one")
    pooled = np.concatenate([np.asarray(t) for t in scales.values()])
    if len(drawn(ax, KIND)) == len(scales):
        ax.set_title(
            f"Half of the units keep their values for {count_of(float(np.median(pooled)))} or more"
        )
    else:
        ax.set_title("How long units keep their values")
    legend(ax)
    return ax
