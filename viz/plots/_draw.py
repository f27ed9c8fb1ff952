"""What plots share: which axes to use, the next colour, lines over rows, the axes of time and lag, and zeros."""

from __future__ import annotations

import fnmatch
import itertools
import textwrap
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from rnncore._typing import ArrayLike, Floats

from .. import style
from .._door import described
from .._tapes import Direction, Recorded
from ._words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_KINDS: WeakKeyDictionary[Axes, str] = WeakKeyDictionary()
"""Which kind of plot the axes hold that our plots have drawn on."""


def axes(ax: Axes | None, kind: str, *, overlays: bool = True) -> Axes:
    """The axes to draw a plot of this kind on.

    `ax` itself; or else pyplot's current axes if they are empty, or if they hold a plot of the same kind
    that this one `overlays`; or else those of a new figure. A plot that cannot overlay, such as a map,
    takes the place of one of its kind on the caller's own `ax`.
    """
    if ax is None:
        ax = _current_axes(kind if overlays else None)
    _check_axes(ax)
    if not overlays and _KINDS.get(ax) == kind:
        _clear(ax)
    _KINDS[ax] = kind
    from ._artists import wrap_title

    wrap_title(ax)
    return ax


def _check_axes(ax: object) -> None:
    """Raise a TypeError unless this is one matplotlib Axes."""
    from matplotlib.axes import Axes

    if isinstance(ax, Axes):
        return
    way = ""
    if isinstance(ax, (np.ndarray, list, tuple)) and len(ax) and all(isinstance(one, Axes) for one in np.ravel(ax)):
        first = "ax[0, 0]" if np.ndim(ax) > 1 else "ax[0]"
        raise TypeError(f"ax: got {np.size(ax)} Axes, expected one of them, such as {first}")
    if hasattr(ax, "subplots"):
        way = "; make one with figure.subplots()"
    raise TypeError(f"ax: got {described(ax)}, expected a matplotlib Axes{way}")


def _current_axes(kind: str | None) -> Axes:
    import matplotlib.pyplot as plt

    if plt.get_fignums():
        figure = plt.gcf()
        if not figure.axes:
            return figure.add_subplot()
        ax = figure.gca()
        empty = not ax.has_data() and not ax.texts
        if empty or (kind is not None and _KINDS.get(ax) == kind):
            return ax
    return plt.figure(layout="constrained").add_subplot()


def _clear(ax: Axes) -> None:
    """Empty the axes, and remove the colour bars of what was on them."""
    for mappable in [*ax.images, *ax.collections]:
        if mappable.colorbar is not None:
            mappable.colorbar.remove()
    ax.clear()
    ax.set_axis_on()


def some_names(names: str | Iterable[str] | None, among: Collection[str], argument: str = "names") -> list[str]:
    """The names to draw: all, or those that were chosen by names or patterns, as a Recorder chooses them."""
    if names is None:
        return list(among)
    given = [names] if isinstance(names, str) else list(names)
    found = [[one] if one in among else [name for name in among if fnmatch.fnmatchcase(name, str(one))]
             for one in given]
    if not found or not all(found):
        raise ValueError(f"{argument}: got {given}, expected some of {', '.join(among)}, or patterns of them")
    return list(dict.fromkeys(itertools.chain.from_iterable(found)))


def columns(a: ArrayLike) -> Floats:
    """(steps, rows), where a one-dimensional array is a batch of one row."""
    found: Floats = np.asarray(a, np.float64)
    return found[:, None] if found.ndim == 1 else found


def pick_row(a: ArrayLike, row: int | None) -> Floats:
    """(steps, rows): the row of a batch to draw, or all rows."""
    a = columns(a)
    if row is None:
        return a
    check_row(row, a.shape[1], ", or None for all")
    return a[:, row][:, None]


def check_row(row: int, rows: int, otherwise: str = "") -> None:
    """Raise a ValueError unless a batch has this row."""
    if not -rows <= row < rows:
        raise ValueError(f"row: got {row}, expected one of {rows} rows{otherwise}")


def row_length(tape: Recorded, row: int) -> int:
    """The number of steps of a row of the batch, of which a picture needs at least one."""
    check_row(row, tape.B)
    length = int(tape.lengths[row])
    if not length:
        raise ValueError(f"row: got {row}, a row of no steps, expected one that has some")
    return length


def drawn(ax: Axes, kind: str) -> list[Line2D]:
    """The lines of one kind that are on the axes already, since runs overlay."""
    return [line for line in ax.lines if line.get_gid() == kind]


def line_colour(index: int) -> Any:
    """The colour of the line with this number: the colours of `style.LINES`, then lighter and darker ones."""
    from matplotlib.colors import to_rgb

    colour = style.LINES[index % len(style.LINES)]
    level = index // len(style.LINES) % 3
    if not level:
        return colour
    to, part = ((1.0, 0.45) if level == 1 else (0.25 if colour == "#000000" else 0.0, 0.45))
    return tuple((1 - part) * x + part * to for x in to_rgb(colour))


def next_look(ax: Axes, kind: str, steps: int, line_kw: dict[str, Any]) -> dict[str, Any]:
    """Colour and marker of the next line of a kind; the caller's keywords take precedence."""
    index = len(drawn(ax, kind))
    look: dict[str, Any] = {
        "color": line_colour(index),
        # after the last colour the pairing shifts, so that no pair repeats
        "marker": style.MARKERS[(index + index // len(style.LINES)) % len(style.MARKERS)],
        # about a dozen markers, at different steps for overlaid lines
        "markevery": (index * max(1, steps // 40) % max(1, steps), max(1, steps // 12)),
        "linestyle": ("-", (0, (5, 1.5)), (0, (1.5, 1)))[index // len(style.LINES) % 3],
        "gid": kind,
    }
    aliases = {"c": "color", "ls": "linestyle", "lw": "linewidth", "ms": "markersize"}
    return look | {aliases.get(key, key): value for key, value in line_kw.items()}


def line(
    ax: Axes, kind: str, x: ArrayLike, y: ArrayLike, label: str | None = None, **line_kw: Any
) -> Line2D:
    """Draw one line; for several rows of a batch, their median with the range as a band."""
    y = columns(y)
    x = np.asarray(x)
    look = next_look(ax, kind, len(y), line_kw)
    with np.errstate(invalid="ignore"):
        middle, low, high = over_rows(y)
    (found,) = ax.plot(x, middle, label=None if label is None else plain(label), **look)
    if y.shape[1] > 1:
        ax.fill_between(x, low, high, color=found.get_color(), alpha=0.15, linewidth=0)
    return found


def over_rows(y: Floats) -> tuple[Floats, Floats, Floats]:
    """Median, minimum and maximum over the rows that have a number."""
    middle, low, high = (np.full(len(y), np.nan) for _ in range(3))
    some = ~np.isnan(y).all(1)
    if some.any():
        middle[some] = np.nanmedian(y[some], 1)
        low[some], high[some] = np.nanmin(y[some], 1), np.nanmax(y[some], 1)
    return middle, low, high


def magnitude_line(
    ax: Axes, kind: str, x: ArrayLike, y: ArrayLike, label: str | None = None, **line_kw: Any
) -> Line2D:
    """Draw a line on a log axis. Exact zeros have no place there: they are marked at its lower end."""
    y, x = columns(y), np.asarray(x)
    found = line(ax, kind, x, np.where(y > 0, y, np.nan), label, **line_kw)
    ax.set_yscale("log")
    zero = (y == 0).any(1)
    if zero.any():
        labelled = "exactly 0" if not drawn(ax, "zeros") else None
        ax.plot(
            x[zero],
            np.full(zero.sum(), 0.015),
            transform=ax.get_xaxis_transform(),
            linestyle="none",
            marker="x",
            markersize=5,
            color=found.get_color(),
            label=labelled,
            gid="zeros",
            clip_on=False,
        )
    mark_floor(ax)
    return found


def mark_floor(ax: Axes) -> None:
    """Mark float32's smallest normal number, if the values come near it."""
    low = ax.dataLim.ymin if np.isfinite(ax.dataLim.ymin) else 1.0
    if 0 < low < 1e-30 and not drawn(ax, "floor"):
        ax.axhline(style.FLOOR, color=style.GREY, linestyle=(0, (6, 3)), linewidth=1, gid="floor")
        ends = [y[np.isfinite(y)][[0, -1]] for y in _heights(ax) if np.isfinite(y).any()]
        falls = all(first >= last for first, last in ends)  # then the left end is free for the text
        ax.annotate(
            "smallest normal float32",
            (0.01 if falls else 0.99, style.FLOOR),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="left" if falls else "right",
            va="bottom",
            color=style.GREY,
            fontsize="small",
        )


def _heights(ax: Axes) -> list[Floats]:
    heights = [np.asarray(a.get_ydata(), float) for a in ax.lines]
    return [y for y in heights if len(y) > 2]


def time_axis(
    ax: Axes, steps: int, *, tokens: Iterable[object] | None = None, gradient: bool = False, of: str = ""
) -> None:
    """Label the axis of time, which runs left to right; the gradient, where shown, runs right to left.

    The ticks are the numbers of the steps; tokens are drawn in a row of their own above them, so that those
    that are numbers are not taken for positions. `of` says whose steps they are, such as " of row 2".
    """
    ax.set_xlabel(f"step{of}   time →" + ("   ← gradient" if gradient else ""))
    if steps <= 1 and not ax.images:
        ax.set_xlim(-0.5, 0.5)
    from ._artists import Steps

    before = ax.xaxis.get_major_locator()  # of a run that this one is drawn over
    ax.xaxis.set_major_locator(Steps(max(steps, before.count if isinstance(before, Steps) else 0)))
    for row in [artist for artist in ax.artists if artist.get_gid() == "tokens"]:
        row.remove()
    if tokens is not None:
        shown = [visible(token) for token in tokens]
        if len(shown) != steps:
            raise ValueError(f"tokens: got {len(shown)}, expected {steps}, one per step")
        _token_row(ax, shown)


def _token_row(ax: Axes, shown: list[str]) -> None:
    """Draw the tokens under the axes, and move the numbers of the steps below them."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    from ._artists import TokenRow

    largest = FontProperties(size=rcParams["xtick.labelsize"]).get_size_in_points()
    low, high = ax.get_xlim()
    points = 72 * float(ax.get_window_extent().width) / ax.figure.dpi / max(high - low, 1.0)  # from step to step
    steps = [t for t, token in enumerate(shown) if token and low <= t <= high]
    wide = [(len(shown[s]) + len(shown[t])) / 2 + 0.3 for s, t in itertools.pairwise(steps)]
    room = [points * (t - s) for s, t in itertools.pairwise(steps)]
    fits = min((r / (0.6 * w) for r, w in zip(room, wide, strict=True)), default=largest)
    size = min(largest, fits) if fits >= 0.6 * largest else 0.85 * largest
    figure = ax.get_figure(root=True)
    tight = figure is None or figure.get_layout_engine() is None  # then nothing makes room under the axes
    drop = (0.3 if tight else 0.6) * largest  # past half a label of the other axis
    pad = drop + (0.95 * size if tight else rcParams["xtick.major.pad"] + 1.1 * size)
    gap = 1 if tight else rcParams["axes.labelpad"]
    row = TokenRow(ax, [plain(token) for token in shown], name="input", size=size, drop=drop, pads=(pad, gap))
    ax.add_artist(row)
    row.make_room(row.shown())
    ax.grid(False, axis="x")


NORM = {"forward": "‖∂s$_T$ / ∂s$_{T-k}$‖$_2$", "reverse": "‖∂s$_0$ / ∂s$_k$‖$_2$"}
"""The norm against lag, by direction: the reverse direction ends at step 0."""


def lag_axis(ax: Axes, direction: Direction = "forward") -> None:
    """Label the axis of lags, which run left to right; time runs right to left, except for the reverse direction."""
    if direction == "reverse":
        ax.set_xlabel("lag k   (steps from the first on; time →; reverse direction)")
    else:
        ax.set_xlabel("lag k   (steps back from the end; ← time)")


def visible(token: object) -> str:
    """A token with what cannot be seen shown as marks: line ends, tabs, and spaces at its ends."""
    text = str(token)
    inner = text.strip(" ")
    start = len(text) - len(text.lstrip(" "))
    text = "␣" * start + inner + "␣" * (len(text) - start - len(inner))
    return "".join(_MARKS.get(one, one if one.isprintable() else "▯") for one in text)


_MARKS = {"\n": "↵", "\r": "␍", "\t": "⇥"}


def say(ax: Axes, kind: str, sentence: str, several: str) -> None:
    """Set the title: what one run shows, or what is compared once several are drawn."""
    ax.set_title(sentence if len(drawn(ax, kind)) <= 1 else several)


def note_below(ax: Axes, *said: str) -> None:
    """Write below axes without ticks what the signs of a picture mean, in lines that are not wider than the axes."""
    from matplotlib.font_manager import FontProperties

    size = FontProperties(size="small").get_size_in_points()
    width = 72 * float(ax.get_window_extent().width) / ax.figure.dpi
    lines = [line for each in said for line in textwrap.wrap(each, max(30, int(width / (0.55 * size))))]
    look: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": "small", "color": style.GREY, "gid": "note"}
    ax.text(0.5, -0.01, "\n".join(lines), transform=ax.transAxes, **look)
