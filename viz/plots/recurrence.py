"""The network unrolled with its inputs, x → h → y, and the weights that all steps share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import as_whole_tape
from .._layers import time_major
from .._tapes import HasTape, is_reverse, is_tape, layer_input, layer_number, layers, previous
from ._draw import axes, cmap, row_length, signed_norm, visible
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
NOTE = (
    "arrows of one name are the same weights at every step\n"
    "a cell of a strip for each unit, blue < 0 < red, each row with its own limits"
)
WIDTH, HEIGHT = 0.5, 0.36  # of a box, where columns and rows are 1 apart


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
        Steps to show, `last` included; by default the last 5 of the row.
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
    first = max(0, last - 4) if first is None else first
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
        span = slice(self.first, self.last + 1)
        x = layer_input(self.tape, "l0")[span, self.row]
        norm = signed_norm(x)
        for k in self.columns:
            self._box(k, 0, x[k], norm, self._name("x", k), f"x {k}")
            if tokens is not None:
                self.ax.text(k, -0.3, plain(visible(tokens[self.first + k])), ha="center", va="top",
                             fontfamily="monospace", gid="token")  # fmt: skip
        for level, lane in enumerate(self.lanes, 1):
            self._lane(level, lane, span)
        top = len(self.lanes) + 1
        if y is not None:
            norm = signed_norm(y[span])
            for k in self.columns:
                self._box(k, top, np.asarray(y[span][k]), norm, self._name("y", k), f"y {k}")
        for k in self.columns:
            self._upwards(k, top if y is not None else None)
        above = top + 0.35 if y is not None else top - 0.45
        self.ax.set_xlim(-1.0, len(self.columns))
        self.ax.set_ylim(-0.62 if tokens is not None else -0.45, above)
        self.ax.grid(False)
        self.ax.set_axis_off()
        self.ax.text(
            0.5, 0.0, NOTE, ha="center", va="top", color=style.GREY,
            transform=self.ax.transAxes, fontsize="small", gid="note",
        )  # fmt: skip

    def _name(self, letter: str, k: int) -> str:
        """x with its step as an index."""
        return f"{letter}$_{{{self.first + k}}}$"

    def _weight(self, kind: str, lane: str) -> str:
        """W_ih, with its layer if there are several."""
        return f"W$_{{{kind}}}$" + (f" {lane.replace('.reverse', ' rev')}" if len(self.lanes) > 1 else "")

    def _lane(self, level: int, lane: str, span: slice) -> None:
        """The states of one layer in one direction, and the arrows between them."""
        h = np.asarray(self.tape[f"{lane}.h"])[span, self.row]
        before = previous(self.tape, lane)[span, self.row]
        norm = signed_norm(h, before)
        back = is_reverse(lane)
        for k in self.columns:
            self._box(k, level, h[k], norm, self._name("h", k), f"{lane}.h {k}")
        name = self._weight("hh", lane)
        ends = [(k, k + 1) for k in range(-1, len(self.columns))]
        for a, b in ends:
            start, end = (b, a) if back else (a, b)
            inside = min(a, b) >= 0 and max(a, b) < len(self.columns)
            sign = -1 if back else 1
            self._arrow(
                (start + sign * WIDTH / 2 if 0 <= start < len(self.columns) else start + sign * 0.35, level),
                (end - sign * WIDTH / 2 if 0 <= end < len(self.columns) else end - sign * 0.35, level),
                OVER, f"{lane} over",
            )  # fmt: skip
            if inside or a == -1:
                place = a + 0.5 if inside else a + 0.55
                size = "small" if len(self.lanes) == 1 else "x-small"
                self.ax.text(place, level + 0.06, name, ha="center", va="bottom", color=OVER, fontsize=size, gid="over")

    def _upwards(self, k: int, top: int | None) -> None:
        """The arrows of one step: from the input through the layers to the output."""
        for level, lane in enumerate(self.lanes, 1):
            number = layer_number(lane)
            below = [i for i, other in enumerate(self.lanes, 1) if layer_number(other) == number - 1] or [0]
            for source in below if number else [0]:
                self._up(k, source, level, INTO, self._weight("ih", lane), f"{lane} into")
        if top is not None:
            highest = layer_number(self.lanes[-1])
            for level, lane in enumerate(self.lanes, 1):
                if layer_number(lane) == highest:
                    self._up(k, level, top, OUT, "W$_{hy}$", "out")

    def _up(self, k: int, low: int, high: int, colour: str, name: str, gid: str) -> None:
        """An arrow upwards, around a row that lies between."""
        bend = 0.0 if high == low + 1 else 0.32
        start, end = (k, low + HEIGHT / 2), (k, high - HEIGHT / 2)
        self._arrow(start, end, colour, gid, bend=bend)
        if not bend:
            self.ax.text(
                k + 0.05, (start[1] + end[1]) / 2, name, ha="left", va="center", color=colour, fontsize="small",
                gid=gid.split()[-1],
            )  # fmt: skip

    def _arrow(
        self, start: tuple[float, float], end: tuple[float, float], colour: str, gid: str, bend: float = 0.0
    ) -> None:
        from matplotlib import rcParams
        from matplotlib.patches import FancyArrowPatch

        style_of: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 13, "shrinkA": 0, "shrinkB": 0, "zorder": 1}
        if bend:
            style_of["connectionstyle"] = f"arc3,rad={bend}"
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
        self.ax.text(x, foot + 0.68 * HEIGHT, name, ha="center", va="center", fontweight="bold", zorder=4)
