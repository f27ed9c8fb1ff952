"""Picture of the gates' saturation: one dot per unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import by_name, fields, measured
from .._tapes import HasTape, Recorded
from ..measures.saturation import Saturation, saturation
from ._draw import axes, drawn, line_colour, some_names
from ._legend import legend
from ._words import of_run, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["plot_saturation"]

KIND = "saturation"
MOST = 6  # gates in the title


def plot_saturation(
    tape: Recorded | HasTape | Mapping[str, Saturation],
    ax: Axes | None = None,
    *,
    names: str | Sequence[str] | None = None,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """The share of steps at which a gate is closed, against that at which it is fully open; one dot per unit.

    Parameters
    ----------
    tape : Tape, Frame, or dict of str to Saturation
        A tape, or the result of `viz.saturation`.
    ax : matplotlib Axes, optional
    names : str or sequence of str, optional
        Which gates, such as "l0.f", or patterns such as ``"*.f"``; all by default.
    label : str, optional
        Put in front of the gates' names in the legend.
    **line_kw
        For the dots, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.GRU(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> viz.plot_saturation(tape, Figure().subplots()).get_title()
    'No unit is at one end of a gate on over 90 % of the steps'
    """
    from matplotlib import rcParams

    shares: Mapping[str, Saturation] = measured(tape, saturation, by_name(fields(Saturation)))
    if not shares:
        raise ValueError(
            "tape: got no gates between 0 and 1, expected an LSTM or a GRU; a Recorder keeps their gates with "
            'names="*"'
        )
    names = some_names(names, shares)
    ax = axes(ax, KIND)
    for name in names:
        low, high = shares[name]
        index = len(drawn(ax, KIND))
        look: dict[str, Any] = {
            "marker": style.MARKERS[(index + index // 7) % 7],
            "color": line_colour(index),
            "alpha": 0.75,
        }
        look |= {"linestyle": "none", "markersize": 1.2 * rcParams["lines.markersize"]}
        look |= {"markeredgecolor": "white", "markeredgewidth": 0.5}
        said = plain(of_run(label, name))
        ax.plot(low, high, label=said, gid=KIND, clip_on=False, zorder=3, **look | line_kw)
    if not drawn(ax, "all"):
        ax.plot([0, 1], [1, 0], color=style.GREY, linewidth=1, linestyle="--", gid="all", zorder=1)
        # above the line, where no dot can be
        note: dict[str, Any] = {"color": style.GREY, "fontsize": "small", "ha": "center", "va": "bottom"}
        ax.text(0.5, 0.5, "never in between", rotation=-45, rotation_mode="anchor", **note)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    ax.set_xlabel("share of steps closed (< 0.1)")
    ax.set_ylabel("share of steps\nfully open (> 0.9)")
    ax.set_title(_sentence(drawn(ax, KIND)))
    legend(ax, loc="upper right")  # where no dot can be
    return ax


def _sentence(gates: Sequence[Line2D]) -> str:
    """How many units have each of the gates that are drawn at one end."""
    ends = {str(gate.get_label()): np.maximum(gate.get_xdata(), gate.get_ydata()) > 0.9 for gate in gates}
    counts = {name: int(at_end.sum()) for name, at_end in ends.items()}
    if not any(counts.values()):
        return "No unit is at one end of a gate on over 90 % of the steps"
    sizes = {len(at_end) for at_end in ends.values()}
    of_units = f" of {sizes.pop()}" if len(sizes) == 1 else ""
    if len(counts) > MOST:
        counts = dict(sorted(counts.items(), key=lambda item: -item[1])[:MOST])
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    more = f" (the {MOST} with the most)" if len(ends) > MOST else ""
    return f"Units{of_units} at one end on over 90 % of the steps: {told}{more}"
