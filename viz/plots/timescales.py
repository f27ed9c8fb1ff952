"""Picture of the units' time scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, by_name, held_tape, measured, not_negative
from .._tapes import HasTape, Recorded, is_tape
from ..measures.timescales import timescales
from ._draw import axes, drawn, line
from ._legend import legend
from ._words import count_of, number, of_run

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

    τ follows from the values of a gate. Where it is longer than the recording, which is then drawn as a line, no
    unit was seen to keep its value for so long, and the title gives the length as a lower bound.

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
    'By their gates alone, half of the units keep their values for 8 steps or more'
    """
    from ._artists import ShortTicks

    data = held_tape(tape)
    scales: Mapping[str, Array] = measured(data, timescales, by_name(not_negative(array("H")), "layer"))
    steps = int(np.max(data.lengths, initial=0)) if is_tape(data) else None
    if not scales:
        raise ValueError('tape: got no gate that keeps, expected one in a layer; a Recorder keeps all with names="*"')
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
    ax.yaxis.set_minor_formatter(ShortTicks(minor_thresholds=(1.5, 0.5)))
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of units, slowest first")
    ax.set_ylabel("τ   (steps)")
    if not drawn(ax, "one"):
        ax.axhline(1, color=style.GREY, linewidth=1, linestyle="--", zorder=1, gid="one")
    if steps and not drawn(ax, "recorded") and any((np.asarray(tau) > steps).any() for tau in scales.values()):
        ax.axhline(steps, color=style.GREY, linewidth=1, linestyle=":", zorder=1, gid="recorded")
        ax.annotate(
            f"{count_of(steps)} recorded", (0.99, steps), xycoords=("axes fraction", "data"), xytext=(0, 2),
            textcoords="offset points", color=style.GREY, fontsize="small", ha="right", va="bottom", gid="recorded",
        )  # fmt: skip
    alone = len(drawn(ax, KIND)) == len(scales)
    ax.set_title(_sentence(scales, steps) if alone else "How long units keep their values, by their gates alone")
    legend(ax)
    return ax


def _sentence(scales: Mapping[str, Array], steps: int | None) -> str:
    """The median of every layer, at most the number of steps that were recorded."""
    told = {}
    for name, tau in scales.items():
        known = np.asarray(tau, np.float64)[~np.isnan(tau)]
        if known.size:
            middle = float(np.median(known))
            censored = steps is not None and middle > steps
            told[name] = ("≥ " + number(float(steps or 0)) if censored else number(middle), censored)
    if not told:
        return "There is no step from which τ could be computed"
    if len(told) == 1:
        ((value, censored),) = told.values()
        steps_word = "step" if value == "1" else "steps"
        for_long = f"{value} {steps_word}" + (", as long as was recorded" if censored else " or more")
    else:
        for_long = ", ".join(f"{value} ({name})" for name, (value, _) in told.items()) + " steps or more"
    return f"By their gates alone, half of the units keep their values for {for_long}"
