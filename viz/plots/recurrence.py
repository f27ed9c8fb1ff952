"""The network unrolled with its inputs, x → h → y, and the weights that all steps share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import as_whole_tape
from .._layers import time_major
from .._tapes import HasTape, is_reverse, is_tape, layer_input, layer_number, layers, previous
from ._draw import axes, note_below, row_length, visible
from ._maps import cmap, signed_norm
from ._words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from rnncore._typing import Array, Floats
    from rnncore.recurrent.tape import Tape

__all__ = ["plot_recurrence"]

KIND = "recurrence"
INK = "#333333"
INTO, OVER, OUT = style.LINES[0], style.LINES[1], style.LINES[3]  # of the weights W_ih, W_hh, W_hy
SAME = "arrows of one name are the same weights at every step"
SAME_IN_ROW = "arrows of one colour into one row are the same weights at every step"
JOINED = "; a dot: the states of both directions, side by side"
STRIPS = "a cell of a strip for each unit, blue < 0 < red, each row with its own limits"
WIDTH, HEIGHT = 0.5, 0.36  # of a box, where columns and rows are 1 apart
ASIDE = 0.32  # by how much the reverse direction stands to the right, so that arrows pass between the boxes


def plot_recurrence(
    tape: Tape | HasTape,
    ax: Axes | None = None,
    *,
    row: int = 0,
    first: int | None = None,
    last: int | None = None,
    tokens: Sequence[object] | None = None,
) -> Axes:
    """The unrolled network with the values of its inputs, states and outputs; equal arrows are equal weights.

    Each box has a strip with one cell for each unit, coloured around 0. `viz.plot_unrolled` shows how the
    gradient flows back through more steps.

    Parameters
    ----------
    tape : Tape, or the record of a model
        The record of a `rnncore.nn.SequenceModel` also has the outputs y, and then so has the picture.
    ax : matplotlib Axes, optional
        Its frame and ticks are removed.
    row : int
        Row of the batch.
    first, last : int, optional
        Steps to show, `last` included; by default the last 5 of the row, or the last 3 of more than one layer.
    tokens : sequence of str, optional
        One per step of the whole tape, shown below the inputs.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.RNN(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> viz.plot_recurrence(tape, Figure().subplots()).get_title()
    'The same 32 weights of the layer act at each of the 6 steps'
    """
    predicted = None if is_tape(tape) else getattr(tape, "output", None)
    tape = as_whole_tape(tape)
    weights = sum(a.size for a in tape.layer.state_dict().values())
    length = row_length(tape, row)
    last = length - 1 if last is None else last
    most = 5 if len(layers(tape)) == 1 else 3
    first = max(0, last - most + 1) if first is None else first
    if not 0 <= first <= last < length:
        raise ValueError(f"first, last: got {first}, {last}, expected 0 <= first <= last < {length}")
    if tokens is not None and len(tokens) < last + 1:
        raise ValueError(f"tokens: got {len(tokens)}, expected one per step, {tape.T}")
    y = None
    if predicted is not None and np.ndim(predicted) >= 2:
        found = time_major(tape, predicted)
        y = found[:, row] if found.ndim == 3 and len(found) == tape.T else None
    ax = axes(ax, KIND, overlays=False)
    sheet = _Unrolled(ax, tape, row, first, last)
    sheet.draw(y, tokens)
    steps = f"each of the {length} steps" if length > 1 else "the one step"
    ax.set_title(f"The same {weights:,} weights of the layer act at {steps}")
    return ax


class _Unrolled:
    """The picture: a column for every step, a row for the inputs, for every layer, and for the outputs."""

    def __init__(self, ax: Axes, tape: Tape, row: int, first: int, last: int) -> None:
        self.ax, self.tape, self.row, self.first, self.last = ax, tape, row, first, last
        self.lanes = list(layers(tape))
        self.columns = range(last - first + 1)

    def draw(self, y: Array | None, tokens: Sequence[object] | None) -> None:
        """Draw boxes, arrows and names."""
        from matplotlib import rcParams

        top = len(self.lanes) + 1
        below, above = -0.62 if tokens is not None else -0.45, top + 0.35 if y is not None else top - 0.45
        self.ax.set_xlim(-1.0, len(self.columns) + ASIDE * self.tape.layer.bidirectional)
        self.ax.set_ylim(below, above)
        points = 72 * float(self.ax.get_window_extent().height) / self.ax.figure.dpi / (above - below)
        self.size = min(float(rcParams["font.size"]), 0.48 * HEIGHT * points)  # of the names in boxes
        self.small = min(0.83 * float(rcParams["font.size"]), 1.3 * self.size)  # of those beside arrows
        span = slice(self.first, self.last + 1)
        x = layer_input(self.tape, "l0")[span, self.row]
        norm = signed_norm(x)
        for k in self.columns:
            self._box(k, 0, x[k], norm, self._name("x", k), f"x {k}")
            if tokens is not None:
                self.ax.text(
                    k, -0.3, plain(visible(tokens[self.first + k])), ha="center", va="top", fontfamily="monospace",
                    fontsize=min(float(rcParams["font.size"]), 1.4 * self.size), gid="token",
                )  # fmt: skip
        for level, lane in enumerate(self.lanes, 1):
            self._lane(level, lane, span)
        if y is not None:
            norm = signed_norm(y[span])
            for k in self.columns:
                self._box(k, top, np.asarray(y[span][k]), norm, self._name("y", k), f"y {k}")
        for k in self.columns:
            self._upwards(k, top if y is not None else None)
        self.ax.grid(False)
        self.ax.set_axis_off()
        joined = self.tape.layer.bidirectional and (y is not None or self.tape.layer.num_layers > 1)
        note_below(self.ax, (SAME if len(self.lanes) == 1 else SAME_IN_ROW) + JOINED * joined, STRIPS)

    def _name(self, letter: str, k: int) -> str:
        """x with its step as an index."""
        return f"{letter}$_{{{self.first + k}}}$"

    def _aside(self, lane: str) -> float:
        """Where a row begins: the reverse direction stands to the right."""
        return ASIDE if is_reverse(lane) else 0.0

    def _lane(self, level: int, lane: str, span: slice) -> None:
        """The states of one layer in one direction, and the arrows between them."""
        h = np.asarray(self.tape[f"{lane}.h"])[span, self.row]
        before = previous(self.tape, lane)[span, self.row]
        norm = signed_norm(h, before)
        back, aside, columns = is_reverse(lane), self._aside(lane), len(self.columns)
        for k in self.columns:
            self._box(k + aside, level, h[k], norm, self._name("h", k), f"{lane}.h {k}")
        for a in range(-1, columns):
            left = a + WIDTH / 2 if a >= 0 else a + 0.35
            right = a + 1 - WIDTH / 2 if a + 1 < columns else a + 0.65
            start, end = ((right, left) if back else (left, right))
            self._arrow((start + aside, level), (end + aside, level), OVER, f"{lane} over")
        if len(self.lanes) > 1:
            self.ax.text(-0.72, level, lane, ha="right", va="center", color=INK, fontsize=self.small, gid="lane")
        named = range(-1, columns - 1) if len(self.lanes) == 1 else range(columns > 1)
        for a in named:
            place = a + 0.5 if a >= 0 else a + 0.55
            place += 0.7 * aside  # before the line that goes up from the other direction
            self._label(place, level + 0.06, "W$_{hh}$", OVER, "over", ha="center", va="bottom")

    def _upwards(self, k: int, top: int | None) -> None:
        """The arrows of one step: from the input through the layers to the output."""
        for level, lane in enumerate(self.lanes, 1):
            number = layer_number(lane)
            start = self._top_of(k, number - 1) if number else (k, HEIGHT / 2)
            aside = self._aside(lane)
            # past the box of the other direction, which stands to the left
            begins = (start[0] + 0.23 * (not number), start[1]) if aside else start
            end = (k + aside + 0.08 * bool(aside), level - HEIGHT / 2)
            self._arrow(begins, end, INTO, f"{lane} into")
            if len(self.lanes) == 1 or k == 0:
                middle = 0.5 * (begins[1] + end[1]) if not aside else end[1] - 0.2
                left = self.tape.layer.bidirectional and not aside  # the arrow to the reverse direction is on the right
                at = end[0] - 0.05 if left else end[0] + 0.05
                self._label(at, middle, "W$_{ih}$", INTO, "into", ha="right" if left else "left", va="center")
        if top is not None:
            start, end = self._top_of(k, layer_number(self.lanes[-1])), (k, top - HEIGHT / 2)
            self._arrow(start, end, OUT, "out")
            if len(self.lanes) == 1 or k == 0:
                self._label(k + 0.05, (start[1] + end[1]) / 2, "W$_{hy}$", OUT, "out", ha="left", va="center")

    def _top_of(self, k: int, number: int) -> tuple[float, float]:
        """Where arrows from a layer begin: above its box, or at a dot where its two directions are joined."""
        levels = [level for level, lane in enumerate(self.lanes, 1) if layer_number(lane) == number]
        top = levels[-1] + HEIGHT / 2
        if len(levels) == 1:
            return (float(k), top)
        dot = (k + 0.2, top + 0.14)
        if not any(line.get_gid() == f"l{number} joined {k}" for line in self.ax.lines):
            look: dict[str, Any] = {"color": INK, "linewidth": 1.2, "zorder": 1, "gid": f"l{number} joined {k}"}
            left = k - 0.14  # past the box of the reverse direction
            self.ax.plot([left, left, dot[0]], [levels[0] + HEIGHT / 2, dot[1], dot[1]], **look)
            self.ax.plot([k + ASIDE, k + ASIDE, dot[0]], [top, dot[1], dot[1]], **look)
            self.ax.plot(*dot, marker="o", markersize=5, **look)
        return dot

    def _label(self, x: float, y: float, name: str, colour: str, gid: str, **place: str) -> None:
        """The name of weights, beside an arrow."""
        self.ax.text(x, y, name, color=colour, fontsize=self.small, gid=gid, **place)  # type: ignore[arg-type]

    def _arrow(self, start: tuple[float, float], end: tuple[float, float], colour: str, gid: str) -> None:
        from matplotlib import rcParams
        from matplotlib.patches import FancyArrowPatch

        style_of: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 13, "shrinkA": 0, "shrinkB": 0, "zorder": 1}
        width = rcParams["lines.linewidth"]
        arrow = FancyArrowPatch(start, end, color=colour, linewidth=width, gid=gid, **style_of)
        self.ax.add_patch(arrow)

    def _box(self, x: float, y: float, values: Array, norm: Normalize, name: str, gid: str) -> None:
        """A box with a name, and below it a strip with the value of every unit."""
        from matplotlib.patches import Rectangle

        left, foot = x - WIDTH / 2, y - HEIGHT / 2
        strip: Floats = np.asarray(values, np.float64)[None]
        image = self.ax.imshow(
            np.ma.masked_invalid(strip), extent=(left, left + WIDTH, foot, foot + 0.4 * HEIGHT),
            cmap=cmap(style.SIGNED), norm=norm, aspect="auto", interpolation="nearest", zorder=3,
        )  # fmt: skip
        image.set_gid(gid)
        self.ax.add_patch(Rectangle((left, foot), WIDTH, HEIGHT, facecolor="white", edgecolor="none", zorder=2))
        self.ax.add_patch(Rectangle((left, foot), WIDTH, HEIGHT, facecolor="none", edgecolor=INK, zorder=4))
        look: dict[str, Any] = {"fontweight": "bold", "fontsize": self.size, "zorder": 4}
        self.ax.text(x, foot + 0.7 * HEIGHT, name, ha="center", va="center", **look)
