"""Picture of a Markov chain as a graph: states as circles, probabilities as arrows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_number

from ._chains import colour_of, ink_on, long_run, sentence, transitions
from ._draw import axes, note_below
from ._words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Circle

    from rnncore._typing import Floats

    from ._chains import Chain, Transitions

__all__ = ["plot_transition_graph"]

KIND = "transition_graph"
MOST_NODES = 8
FEW = 4  # states, up to which every arrow has its number
BEND = 0.18  # of an arrow, relative to its length
PLACES = (0.36, 0.42, 0.3, 0.48, 0.24, 0.54, 0.6, 0.66)  # of its number, where it starts at 0 and ends at 1


def plot_transition_graph(
    model: Chain,
    ax: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
    least: float | None = None,
) -> Axes:
    """States as circles, with arrows as thick as the transitions are probable.

    In a circle is the share of steps that the chain spends there in the long run, unless that depends on where
    it starts.

    Parameters
    ----------
    model : Markov of order 1, HiddenMarkov, SwitchingAutoRegressive, or ndarray (n, n)
        With at most 8 states or symbols; `viz.plot_transition_matrix` draws more.
    ax : matplotlib Axes, optional
        Its frame and ticks are removed.
    names : sequence of str, optional
        Of the states, or of the symbols of a model of integers; by default "0", "1", ….
    least : float, optional
        Transitions that are less probable are left out, apart from the most probable one to another state; by
        default 0.01 for up to four states, and 0.1 for more, where arrows have a number only from 0.2 on. A number
        is left out if there is no room for it on its arrow.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> ax = viz.plot_transition_graph([[0.9, 0.1], [0.5, 0.5]], Figure().subplots(), names=["dry", "wet"])
    >>> [text.get_text() for text in ax.texts if text.get_gid() == "0,1"]
    ['0.10']
    """
    from matplotlib.patches import Circle

    found = transitions(model, names)
    n = len(found.table)
    least = (0.01 if n <= FEW else 0.1) if least is None else as_number(least, "least", least=0, below=1)
    if found.order != 1:
        raise ValueError(
            f"model: got a Markov chain of order {found.order}, expected order 1; viz.plot_transition_matrix draws "
            "the contexts of other orders as rows"
        )
    if n > MOST_NODES:
        raise ValueError(
            f"model: got {n} {found.word}s, expected at most {MOST_NODES} for a graph that can be read; "
            "viz.plot_transition_matrix draws more"
        )
    ax = axes(ax, KIND, overlays=False)
    turn = np.arange(n, dtype=np.float64)
    angle: Floats = np.asarray(np.pi / 2 - 2 * np.pi * turn / n if n > 2 else np.pi * (1 - turn), np.float64)
    places = np.stack([np.cos(angle), np.sin(angle)], 1) * (n > 1)
    radius = 0.3 if n <= FEW else 0.24 if n <= 6 else 0.2
    circles = [
        Circle((x, y), radius, facecolor=colour_of(k), edgecolor="white", linewidth=1.5, zorder=4)
        for k, (x, y) in enumerate(places.tolist())
    ]
    low, high = places.min(0) - 2.35 * radius, places.max(0) + 2.35 * radius
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    ax.set_aspect("equal")
    ax.set_axis_off()
    share = long_run(found.table)
    for k, circle in enumerate(circles):
        ax.add_patch(circle)
        _name(ax, circle, found.before[k], None if share is None else float(share[k]), colour_of(k))
    left_out = _arrows(ax, found, circles, angle, least)
    unsaid = _numbers(ax, found, circles, angle, {patch.get_gid() for patch in ax.patches})
    notes = ["%: share of steps in the long run"] * (share is not None)
    which = ["from 0.2 on"] * (n > FEW) + ["where there is room"] * (unsaid > 0)
    if which:
        notes.append(f"numbers {', '.join(which)}")
    if left_out:
        notes.append(f"{left_out} arrow{'s' * (left_out > 1)} below {least:g} not drawn")
    note_below(ax, "; ".join(notes))
    ax.set_title(plain(sentence(found)))
    return ax


def _name(ax: Axes, circle: Circle, name: str, share: float | None, colour: str) -> None:
    """The name of a state in its circle, and the share of steps below."""
    x, y = circle.center
    ink: dict[str, Any] = {"ha": "center", "color": ink_on(colour), "zorder": 5}
    bold: dict[str, Any] = {"fontweight": "bold", "fontsize": _name_size(ax, circle, name), "gid": "name"} | ink
    if bold["fontsize"] > _size(ax, circle, len(name)):  # wider than the circle, so that it needs a ground of its own
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colour, "linewidth": 1.2}
        bold |= {"color": "black", "bbox": box}
    if share is None:
        ax.text(x, y, plain(name), va="center", **bold)
        return
    ax.text(x, y + 0.1 * circle.radius, plain(name), va="bottom", **bold)
    ax.text(x, y - 0.02, f"{100 * share:.0f} %", va="top", fontsize=0.85 * _size(ax, circle, 4), gid="share", **ink)


def _points(ax: Axes) -> float:
    """The length of one unit of the axes, in points."""
    box, (left, right), (low, high) = ax.get_window_extent(), ax.get_xlim(), ax.get_ylim()
    return min(float(box.width) / (right - left), float(box.height) / (high - low)) * 72 / ax.figure.dpi


def _size(ax: Axes, circle: Circle, letters: int) -> float:
    """The size of a text of so many letters that fits into a circle, in points; at most that of other texts."""
    from matplotlib import rcParams

    across = 1.7 * circle.radius * _points(ax)
    return float(min(rcParams["font.size"], across / (0.7 * max(letters, 2)), across / 2.4))


def _name_size(ax: Axes, circle: Circle, name: str) -> float:
    """The size of the name of a state, which is legible even if the name is wider than its circle."""
    return max(_size(ax, circle, len(name)), 0.85 * _size(ax, circle, 2))


def _arrows(ax: Axes, found: Transitions, circles: list[Circle], angle: Floats, least: float) -> int:
    """Draw the arrows; returns the number of those that are possible but left out."""
    from matplotlib.patches import FancyArrowPatch

    left_out = 0
    for i, row in enumerate(found.table.tolist()):
        way_out = max((p for j, p in enumerate(row) if j != i), default=0.0)
        for j, p in enumerate(row):
            if (p < least and not (j != i and p == way_out)) or p == 0:
                left_out += p > 0
                continue
            look: dict[str, Any] = {
                "arrowstyle": "-|>,head_length=0.5,head_width=0.28", "mutation_scale": 11 + 11 * p,
                "linewidth": 0.8 + 5.5 * p, "color": colour_of(i), "zorder": 2, "gid": f"{i},{j}",
                "joinstyle": "miter", "capstyle": "butt",
            }  # fmt: skip
            if i == j:
                start, end, _ = _loop(circles[i], float(angle[i]))
                arrow = FancyArrowPatch(start, end, connectionstyle="arc3,rad=1.7", shrinkA=0, shrinkB=1, **look)
            else:
                arrow = FancyArrowPatch(
                    circles[i].center, circles[j].center, connectionstyle=f"arc3,rad={BEND}", patchA=circles[i],
                    patchB=circles[j], shrinkA=1, shrinkB=2, **look,
                )  # fmt: skip
            ax.add_patch(arrow)
    return left_out


def _numbers(ax: Axes, found: Transitions, circles: list[Circle], angle: Floats, arrows: set[str | None]) -> int:
    """Write the probabilities on the arrows, the largest first; returns how many found no place there."""
    size = 0.85 * _size(ax, circles[0], 3)
    half = np.array([1.5, 0.85]) * size / _points(ax)  # of the width and the height of a number with its box
    taken = []
    for circle, name in zip(circles, found.before, strict=True):
        wide = 0.36 * len(name) * _name_size(ax, circle, name) / _points(ax)
        taken.append((np.array(circle.center), np.array([max(0.9 * circle.radius, wide), 0.9 * circle.radius])))
    least = 0.2 if len(circles) > FEW else 0.0
    unsaid = 0
    for p, i, j in sorted(((p, i, j) for (i, j), p in np.ndenumerate(found.table)), key=lambda each: -each[0]):
        if p < least or f"{i},{j}" not in arrows:
            continue
        a, b = np.array(circles[i].center), np.array(circles[j].center)
        on = [_loop(circles[i], float(angle[i]))[2]] if i == j else [_on_the_way(a, b, t) for t in PLACES]
        free = (place for place in map(np.array, on) if not any((abs(place - c) < half + r).all() for c, r in taken))
        where = next(free, None)
        if where is None:
            unsaid += 1
            continue
        taken.append((where, half))
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colour_of(i), "linewidth": 0.8}
        x, y = where.tolist()
        ax.text(x, y, f"{p:.2f}", ha="center", va="center", fontsize=size, bbox=box, zorder=3, gid=f"{i},{j}")
    return unsaid


def _on_the_way(a: Floats, b: Floats, t: float) -> tuple[float, float]:
    """The point of an arrow from a to b, a quadratic Bézier curve, at t of 0 … 1."""
    dx, dy = b - a
    bend = (a + b) / 2 + BEND * np.array([dy, -dx])
    x, y = (1 - t) ** 2 * a + 2 * t * (1 - t) * bend + t**2 * b
    return float(x), float(y)


def _loop(circle: Circle, angle: float) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Start and end of an arrow from a state to itself, outside the ring, and the place of its number."""
    centre = np.array(circle.center)

    def at(turn: float, distance: float) -> tuple[float, float]:
        x, y = centre + distance * circle.radius * np.array([np.cos(angle + turn), np.sin(angle + turn)])
        return float(x), float(y)

    return at(-0.5, 1.02), at(0.5, 1.05), at(0, 2.0)
