"""How a cell is drawn, as data: the parts that its description draws, for the page to draw with its values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..plots._sheet import Sheet, draw_cell

if TYPE_CHECKING:
    from rnncore.recurrent.descriptions import Description

# Where the height of a part stands; those of a line follow each other.
HEIGHTS = {"belt": (1,), "box": (2,), "node": (2,), "note": (2,), "framed": (2,)}
SUBSCRIPTS = str.maketrans("t-1hi", "ₜ₋₁ₕᵢ")


class Outline(Sheet):
    """A sheet that keeps the parts instead of drawing them.

    Attributes
    ----------
    parts : list
        Each is a list that begins with the kind: ["belt", y], ["box", x, y, name, text], ["node", x, y, sign], ["arrow"
        or "path", x, y, x, y, …, whether it ends at a node], ["note", x, y, text, alignment], ["framed", x, y, text].
        Coordinates are those of a `Sheet`: x from −0.2 to 11.2, and y upwards.
    low, high : float
        Which y are shown.
    """

    def __init__(self, cell: Description) -> None:
        self.cell = cell
        self.nodes: list[tuple[float, float]] = []
        self.parts: list[list[Any]] = []
        self.low, self.high = -0.1, 6.1

    def box(self, x: float, y: float, name: str, text: str | None = None, *, signed: bool = False) -> None:
        """A gate or a state."""
        self.parts.append(["box", x, y, name, plain(text or name)])

    def belt(self, y: float, left: str, right: str) -> None:
        """The arrow of a state, and the state at both of its ends."""
        self.parts.append(["belt", y])
        self.ends_with(left, right, y, y)

    def after(self, x: float, y: float, name: str) -> None:
        """A state after the step."""
        self.box(x, y, name, f"{name}$_t$", signed=True)

    def limits(self, low: float, high: float) -> None:
        """Set which part of the sheet is shown."""
        self.low, self.high = low, high

    def lift(self, above: float, by: float) -> None:
        """Move all that is above a height, so that there is room below it for gradients."""
        for part in self.parts:
            for place in HEIGHTS.get(part[0], range(2, len(part) - 1, 2)):
                if part[place] > above:
                    part[place] += by
        self.high += by

    def node(self, x: float, y: float, sign: str) -> None:
        """A circle with the sign of an operation."""
        self.nodes.append((x, y))
        self.parts.append(["node", x, y, sign])

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line with an arrowhead."""
        self._line("arrow", points)

    def path(self, *points: tuple[float, float]) -> None:
        """A line."""
        self._line("path", points)

    def _line(self, kind: str, points: tuple[tuple[float, float], ...]) -> None:
        snapped = [self._snapped(point) for point in points]
        self.parts.append([kind, *(value for point in snapped for value in point), snapped[-1] in self.nodes])

    def framed(self, x: float, y: float, text: str) -> None:
        """The name of a nonlinearity, in a frame."""
        self.parts.append(["framed", x, y, plain(text)])

    def note(self, x: float, y: float, text: str, **options: Any) -> None:
        """Some text."""
        self.parts.append(["note", x, y, plain(text), options.get("ha", "center")])


def diagram(cell: Description) -> dict[str, Any]:
    """The parts of a cell's drawing, and the limits of y."""
    sheet = Outline(cell)
    draw_cell(sheet)
    if cell.draw is None:
        sheet.lift(1.3, 0.4)  # the gates
        if len(cell.states) > 1:
            sheet.lift(4.8, 0.6)  # the upper belt
    return {"parts": sheet.parts, "low": sheet.low, "high": sheet.high}


def plain(text: str) -> str:
    """Text with the subscripts of matplotlib as characters: "c$_{t-1}$" becomes "cₜ₋₁"."""
    return re.sub(r"\$_\{?([t\-1hi]+)\}?\$", lambda found: found[1].translate(SUBSCRIPTS), text)
