"""Texts that are fitted to a figure when it is drawn: titles that break into lines, and a row of tokens.

This file imports matplotlib at once, so plots import it only when they draw.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, MaxNLocator
from matplotlib.transforms import Bbox, ScaledTranslation

from .. import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase


class Title(Text):
    """A title that is broken into lines where it would leave the figure or run into the axes beside it."""

    _even = True  # whether lines are made as long as each other
    _lines = 1  # the fewest lines that hold the text

    def _get_wrap_line_width(self) -> float:
        """The width at which lines break: at most that of the figure, and less so that all lines are as long."""
        most: float = super()._get_wrap_line_width()  # type: ignore[misc]  # the stubs leave it out
        ax = cast("Axes | None", self.axes)
        if ax is not None and _beside(ax):  # of what the layout gives the axes: those with a fixed aspect use a part
            most = min(most, 1.05 * ax.get_position(original=True).width * float(ax.figure.bbox.width))
        longest = max(map(self._get_rendered_text_width, self.get_text().split("\n")))  # type: ignore[attr-defined]
        self._lines = math.ceil(longest / most) if 0 < most < longest else 1
        return min(most, 1.15 * longest / self._lines) if self._lines > 1 and self._even else most

    def _get_wrapped_text(self) -> str:
        """The text in lines; none starts with a sign that belongs to what is before it, or ends with an arrow."""
        text = self.get_text()
        self._text = _SIGN.sub("\N{NO-BREAK SPACE}\\1", text).replace("→ ", "→\N{NO-BREAK SPACE}")
        try:
            wrapped: str = super()._get_wrapped_text()  # type: ignore[misc]
            if "\n" not in text and wrapped.count("\n") >= self._lines > 1:  # long words: then not of equal length
                self._even = False
                wrapped = super()._get_wrapped_text()  # type: ignore[misc]
        finally:
            self._text, self._even = text, True
        return wrapped


_SIGN = re.compile(" ([%=−≥≤→])")


def _beside(ax: Axes) -> bool:
    """Whether there are other axes to the left or the right; colour bars do not count."""
    others = [other for other in ax.figure.axes if other is not ax and other.get_visible()]
    place = ax.bbox
    return any(
        other.bbox.y0 < place.y1 and other.bbox.y1 > place.y0
        for other in others
        if other.get_label() != "<colorbar>" and (other.bbox.x0 >= place.x1 or other.bbox.x1 <= place.x0)
    )


def wrap_title(ax: Axes) -> None:
    """Let the title of the axes break into lines."""
    ax.title.__class__ = Title  # the axes own this text, and go on to place it
    ax.title.set_wrap(True)


class Steps(MaxNLocator):
    """Ticks at whole numbers from 0 to the last step, and not in the margin beside it."""

    def __init__(self, steps: int) -> None:
        super().__init__("auto", integer=True, steps=[1, 2, 5, 10])
        self.count = steps

    def __call__(self) -> list[float]:
        return [float(t) for t in super().__call__() if 0 <= t < self.count and t == round(t)]


class ShortTicks(LogFormatter):
    """The ticks of a log axis as short numbers: 0.6, and not 6e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


class TokenRow(Artist):
    """A row of tokens under the axes, one at each step, with the name of the row before it.

    Tokens never overlap: if there is not room for all, those are shown that have room, from the left,
    and none if these would be few: less than an eighth, or nine tenths where each is a single character, because
    a text cannot be read without some of its letters.

    Parameters
    ----------
    ax : matplotlib Axes
    tokens : sequence of str
        One per step; an empty one is not drawn.
    name : str
    size : float
        Of the font, in points.
    drop : float
        The distance from the axes, in points.
    pads : (float, float)
        The distances of the numbers of the steps from the axes and of the axis' label from these, in points, where the
        row is shown. Whether it is depends on the width of the axes, which is known when they are laid out.
    """

    def __init__(
        self, ax: Axes, tokens: Sequence[str], *, name: str, size: float, drop: float, pads: tuple[float, float]
    ) -> None:
        super().__init__()
        self.pads = {True: pads, False: (float(rcParams["xtick.major.pad"]), float(rcParams["axes.labelpad"]))}
        self.room: bool | None = None
        self.set_gid("tokens")
        self.set_clip_on(False)
        below = ScaledTranslation(0, -drop / 72, ax.figure.dpi_scale_trans)
        look: dict[str, Any] = {"va": "top", "fontsize": size}
        look |= {"transform": ax.get_xaxis_transform() + below}
        self.texts = [
            Text(step, 0, token, ha="center", family="monospace", **look)
            for step, token in enumerate(tokens)
            if token
        ]
        left = ScaledTranslation(-0.5 * size / 72, 0, ax.figure.dpi_scale_trans)
        look["transform"] = ax.transAxes + below + left
        self.name = Text(0, 0, name, ha="right", color=style.GREY, **look)
        for text in self.get_children():
            text.set_figure(ax.figure)
            text.axes = ax

    def get_children(self) -> list[Artist]:
        return [*self.texts, self.name]

    def shown(self, renderer: RendererBase | None = None) -> list[Text]:
        """The tokens that have room, and the name if there are any."""
        fitting = list(self._fitting(renderer))
        inside = sum(self._is_inside(text) for text in self.texts)
        least = 0.9 if all(len(text.get_text()) == 1 for text in self.texts) else 0.125
        return [*fitting, self.name] if len(fitting) >= least * inside > 0 else []

    def make_room(self, shown: list[Text]) -> None:
        """Move the numbers of the steps below the row, or back to the axes if it is not shown."""
        ax, room = cast("Axes", self.axes), bool(shown)
        if room != self.room:
            self.room = room
            pad, gap = self.pads[room]
            ax.tick_params(axis="x", pad=pad)
            ax.xaxis.labelpad = gap

    def _fitting(self, renderer: RendererBase | None) -> Iterator[Text]:
        end = self.name.get_window_extent(renderer).x1
        for text in filter(self._is_inside, self.texts):
            box = text.get_window_extent(renderer)
            gap = 0.15 * box.height
            if box.x0 >= end:
                end = box.x1 + gap
                yield text

    def _is_inside(self, text: Text) -> bool:
        low, high = sorted(self.axes.get_xlim())  # type: ignore[union-attr]
        return bool(low <= text.get_position()[0] <= high)

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        boxes = [text.get_window_extent(renderer) for text in self.shown(renderer)]
        return Bbox.union(boxes) if boxes else Bbox.null()

    def get_tightbbox(self, renderer: RendererBase | None = None) -> Bbox | None:
        self.make_room(self.shown(renderer))
        return self.get_window_extent(renderer) if self.room else None

    def draw(self, renderer: RendererBase) -> None:
        if self.get_visible():
            shown = self.shown(renderer)
            self.make_room(shown)
            for text in shown:
                text.draw(renderer)
        self.stale = False
