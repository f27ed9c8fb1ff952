"""Picture of the slopes σ′, tanh′ and ReLU′, and of the pre-activations at which a network really was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import style
from .._door import by_name, fields, measured
from .._tapes import HasTape, Recorded
from ..measures.slopes import Slopes, slopes
from ._draw import axes, some_names
from ._legend import legend
from ._words import number, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from rnncore._typing import Array, Floats

__all__ = ["plot_slopes"]

KIND = "slopes"
BINS = 120


class Curve(NamedTuple):
    """A nonlinearity φ: the name of φ′, its largest value, and φ′(a)."""

    name: str
    most: float
    slope: Callable[[Floats], Array]


CURVES = {
    "sigmoid": Curve("σ′", 0.25, lambda a: 0.25 / np.cosh(a / 2) ** 2),
    "tanh": Curve("tanh′", 1.0, lambda a: 1 / np.cosh(a) ** 2),
    "relu": Curve("ReLU′", 1.0, lambda a: (a > 0) * 1.0),
}


def plot_slopes(
    tape: Recorded | HasTape | Mapping[str, Slopes],
    ax: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Axes:
    """The slope of each nonlinearity against the pre-activation, and below how often a network was where.

    A gradient that passes a gate is multiplied by that slope. Below the curves is the distribution of the
    pre-activations of every gate, over all steps, rows and units, with the median and the range of the middle
    90 %; the open mark on the curve is at the median of the slopes, below which are half of them. Values beyond the
    ends of the axis are counted at the ends.

    Parameters
    ----------
    tape : Tape, Frame, or dict of str to Slopes
        A tape, or the result of `viz.slopes`.
    ax : matplotlib Axes, optional
    names : sequence of str, optional
        Which gates; all by default.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.RNN(2, 4, nonlinearity="sigmoid", seed=0).record(np.ones((6, 1, 2)))
    >>> viz.plot_slopes(tape, Figure().subplots()).get_title()
    'Half of the slopes of l0.h are below 0.21; σ′ is at most 0.25'
    """
    found: Mapping[str, Slopes] = measured(tape, slopes, by_name(fields(Slopes)))
    if not found:
        raise ValueError(
            "tape: got no gate with a nonlinearity, expected some; a Recorder keeps all gates with names=\"*\""
        )
    chosen = some_names(names, found)
    for name in chosen:
        if found[name].curve not in CURVES or np.isnan(found[name].slope).all():
            raise ValueError(f"tape: got no slope of {name}, expected at least one step of a σ, tanh or ReLU")
    ax = axes(ax, KIND, overlays=False)
    edge = _edge([found[name] for name in chosen])
    used = [c for c in CURVES if c in {found[name].curve for name in chosen}]
    top = max(CURVES[c].most for c in used)
    a = np.linspace(-edge, edge, 801)
    for k, c in enumerate(used):
        most = CURVES[c].most
        ax.plot(a, CURVES[c].slope(a), color=style.GREY, linestyle=("-", "--", ":")[k], gid=c, zorder=2,
                label=f"{CURVES[c].name}, at most {most:g}")  # fmt: skip
    lane = 0.2 * top
    for k, name in enumerate(chosen):
        _lane(ax, found[name], edge, -(k + 1) * lane * 1.12, lane, k, len(chosen))
    feet = [-(k + 1) * lane * 1.12 for k in range(len(chosen))]
    ticks = [top * share for share in (0, 0.5, 1)] if top < 1 else [0, 0.25, 0.5, 1]
    ax.set_yticks([*ticks, *(foot + 0.3 * lane for foot in feet)], [*(f"{t:g}" for t in ticks), *map(plain, chosen)])
    ax.axhline(0, color="#4D4D4D", linewidth=0.8, zorder=1)
    ax.set_xlim(-edge, edge)
    ax.set_ylim(feet[-1] - 0.06 * top, 1.06 * top)
    ax.set_xlabel("pre-activation a")
    ax.set_ylabel("slope φ′(a)", y=(-feet[-1] + 0.5 * top) / (top - feet[-1]))
    ax.grid(False, axis="y")
    ax.set_title(plain(_sentence(found, chosen)))
    legend(ax)
    return ax


def _edge(found: Sequence[Slopes]) -> float:
    """Where the axis of pre-activations ends: nearly all values are within, and the curves can be seen."""
    sizes = np.concatenate([np.abs(each.preactivation[np.isfinite(each.preactivation)]) for each in found])
    far = float(np.quantile(sizes, 0.995)) if sizes.size else 0.0
    return float(np.clip(np.ceil(far), 4, 12))


def _lane(ax: Axes, found: Slopes, edge: float, foot: float, height: float, index: int, of: int) -> None:
    """The distribution of one gate's pre-activations, on a line of its own."""
    from matplotlib import rcParams

    colour, marker = style.LINES[index % 7], style.MARKERS[(index + index // 7) % 7]
    a = found.preactivation[~np.isnan(found.slope)]
    unknown = np.isnan(a)  # where a ReLU gave 0
    known = np.clip(a[~unknown], -edge, edge)
    counts, edges = np.histogram(known, BINS, (-edge, edge))
    share = counts / max(len(a), 1)
    if unknown.any():
        share[edges[:-1] < 0] += unknown.mean() / np.count_nonzero(edges[:-1] < 0)
    scale = 0.9 * height / max(share.max(), 1e-12)
    ax.stairs(foot + scale * share, edges, baseline=foot, fill=True, color=colour, alpha=0.45, gid="density", zorder=2)
    if unknown.any():
        text = f"{100 * unknown.mean():.0f} % are ≤ 0: slope 0"
        ax.text(-0.5 * edge, foot + 0.3 * height, text, ha="center", va="bottom", fontsize="small", gid="zeros")
    if len(known) and not unknown.any():
        low, middle, high = np.quantile(known, (0.05, 0.5, 0.95), method="inverted_cdf")
        look: dict[str, Any] = {"color": colour, "linewidth": 1.5 * rcParams["lines.linewidth"], "zorder": 4}
        ax.plot([low, high], [foot, foot], gid="range", solid_capstyle="butt", **look)
        mark: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "none", "zorder": 5}
        mark |= {"markersize": 1.6 * rcParams["lines.markersize"], "markeredgecolor": "white"}
        ax.plot([middle], [foot], gid="median", **mark)
        half = float(np.nanmedian(found.slope))
        # open and of different sizes, so that one is seen behind another
        mark |= {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 2}
        mark["markersize"] *= 1 + 2 * (of - 1 - index) / of
        ax.plot([_where(found.curve, half, edge, middle)], [half], gid="median slope", **mark)


def _where(curve: str, slope: float, edge: float, side: float) -> float:
    """The pre-activation at which a curve has this slope, on the given side of 0."""
    a = np.linspace(edge, 0, 2001)
    return float(np.copysign(np.interp(slope, CURVES[curve].slope(a), a), side))


def _sentence(found: Mapping[str, Slopes], names: Sequence[str]) -> str:
    """The gate with the most slopes of exactly 0, or else the one with the smallest median slope for its curve."""
    values = {name: found[name].slope[~np.isnan(found[name].slope)] for name in names}
    zeros = {name: float(np.mean(v == 0)) for name, v in values.items()}
    worst = max(zeros, key=zeros.__getitem__)
    if zeros[worst] == 1:
        return f"All slopes of {worst} are exactly 0"
    if zeros[worst] >= 0.01:
        return f"{100 * zeros[worst]:.0f} % of the slopes of {worst} are exactly 0"
    most = {name: CURVES[found[name].curve].most for name in names}
    half = {name: float(np.median(v)) for name, v in values.items()}
    worst = min(half, key=lambda name: half[name] / most[name])
    curve = CURVES[found[worst].curve].name
    if half[worst] == most[worst]:
        return f"At least half of the slopes of {worst} are {most[worst]:g}, the most there can be"
    told = number(half[worst])
    if told == number(most[worst]):  # a little below, which two digits do not show
        told = f"{half[worst]:.3f}" if half[worst] < most[worst] - 5e-4 else f"{most[worst]:g}"
    return f"Half of the slopes of {worst} are below {told}; {curve} is at most {most[worst]:g}"
