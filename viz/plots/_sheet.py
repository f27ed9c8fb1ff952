"""The parts of a picture of a cell: boxes, belts and arrows on a 10 × 6 sheet.

The description of each cell defines how it is drawn (`rnncore.recurrent.descriptions`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from ._maps import cmap
from ._words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Floats
    from rnncore.recurrent.descriptions import Description

INK = "#333333"
WIDTH = 1.3  # of a box
CURVES = {"sigmoid": "σ", "hardsigmoid": "hard σ"}


class Sheet:
    """A sheet, with the parts that descriptions draw cells from.

    Parameters
    ----------
    ax : matplotlib Axes
    cell : Description
    values : dict of str to ndarray (units,)
        Gates and states by name; "h0" and "c0" are the previous states.
    """

    HEIGHT = 1.25  # of a box

    def __init__(self, ax: Axes, cell: Description, values: dict[str, Floats]) -> None:
        self.ax, self.cell, self.values = ax, cell, values
        self.ends: dict[str, tuple[float, float]] = {}
        self.nodes: list[tuple[float, float]] = []
        ax.set_xlim(-0.2, 11.2)
        ax.set_ylim(-0.1, 6.1)
        ax.grid(False)
        self._measure()

    def _measure(self) -> None:
        """The size of words and of circles, in points, at which they fit the boxes and the distances between them."""
        from matplotlib import rcParams

        place, dot = self.ax.get_window_extent(), 72 / self.ax.figure.dpi
        low, high = self.ax.get_ylim()
        wide, high = dot * float(place.width) / 11.4, dot * float(place.height) / (high - low)  # of one unit
        self.size = min(float(rcParams["font.size"]), 0.27 * wide, 0.36 * high)
        self.radius = min(0.28 * wide, 0.28 * high, 0.95 * self.size)

    def box(
        self, x: float, y: float, name: str, text: str | None = None, *, signed: bool = False
    ) -> None:
        """A box with a name, the mean over units, and a strip coloured by the value of each unit."""
        from matplotlib.patches import Rectangle

        values = self.values[name]
        same = [v for n, v in self.values.items() if n.removesuffix("0") == name.removesuffix("0")]
        limit = max([1.0, *(np.abs(v[np.isfinite(v)]).max(initial=0) for v in same)]) if signed else 1.0
        scale = (values + limit) / (2 * limit) if signed else values
        colours = cmap(style.SIGNED if signed else style.GATES)(np.clip(scale, 0, 1))
        colours[~np.isfinite(values)] = (1, 0, 1, 1)
        left, foot = x - WIDTH / 2, y - self.HEIGHT / 2
        place = (left, left + WIDTH, foot, foot + 0.26 * self.HEIGHT)
        strip = self.ax.imshow(
            colours[None, :, :], extent=place, aspect="auto", interpolation="nearest", zorder=3
        )
        strip.set_gid(name)
        frame = Rectangle((left, foot), WIDTH, self.HEIGHT, facecolor="white", edgecolor=INK, zorder=2)
        self.ax.add_patch(frame)
        center: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
        self.ax.text(x, foot + 0.8 * self.HEIGHT, text or name, fontsize=0.85 * self.size, color=INK, **center)
        mean = f"{values.mean():.2f}".replace("-0.00", "0.00").replace("-", "−").replace("nan", "?").replace("inf", "∞")
        self.ax.text(x, foot + 0.45 * self.HEIGHT, mean, fontsize=self.size, fontweight="bold", gid=name, **center)

    def belt(self, y: float, left: str, right: str) -> None:
        """A broad arrow from the state before the step to the state after it."""
        arrow: dict[str, Any] = {"arrowstyle": "-|>,head_width=0.6,head_length=0.7", "linewidth": 0.85 * self.size}
        arrow |= {"color": "#D9E3EC", "shrinkA": 0, "shrinkB": 0}
        self.ax.annotate("", (9.75, y), (0.7, y), zorder=0, arrowprops=arrow)
        self.ends_with(left, right, y, y)

    def ends_with(self, left: str, right: str, y_left: float, y_right: float) -> None:
        """The boxes of the states before and after the step."""
        self.before(0.55, y_left, left)
        self.after(10.4, y_right, right)

    def before(self, x: float, y: float, name: str) -> None:
        """The box of a state before the step: "h0"."""
        self.box(x, y, name, f"{name.removesuffix('0')}$_{{t-1}}$", signed=True)

    def after(self, x: float, y: float, name: str) -> None:
        """The box of a state after the step, at which its gradient is written."""
        self.box(x, y, name, f"{name}$_t$", signed=True)
        self.ends[name] = (x, y)

    def gate(self, x: float, y: float, name: str) -> None:
        """The box of a gate, with the name of its nonlinearity."""
        curve = self.cell.gate(name).curve
        text = f"{name}  {CURVES.get(curve, curve)}" if curve else name
        self.box(x, y, name, text, signed=not self.cell.is_share(name))

    def inputs(self, right: float, start: float = 1.2) -> None:
        """The line through which h and x reach all gates."""
        self.path((start, 1.2), (right, 1.2))
        self.path((1.6, 0.55), (1.6, 1.2))
        self.note(1.6, 0.3, "x$_t$", fontweight="bold")
        self.note(right + 0.2, 1.2, "[h$_{t-1}$, x$_t$] · W + b", ha="left", small=True)

    def limits(self, low: float, high: float) -> None:
        """Set which part of the sheet is shown, from bottom to top."""
        self.ax.set_ylim(low, high)
        self._measure()

    def node(self, x: float, y: float, sign: str) -> None:
        """A circle with the sign of an operation."""
        look: dict[str, Any] = {"color": "white", "markeredgecolor": INK, "markeredgewidth": 1.3}
        self.ax.plot([x], [y], marker="o", markersize=2 * self.radius, zorder=3, **look)
        self.ax.text(x, y, sign, ha="center", va="center_baseline", fontsize=1.5 * self.radius, zorder=4)
        self.nodes.append((x, y))

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through the points, with an arrowhead at the last; an end near a circle is moved to its edge."""
        self.path(*points[:-1])
        *_, before, end = map(self._snapped, points)
        arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.2, "shrinkA": 0}
        arrow["shrinkB"] = self.radius if end in self.nodes else 0
        self.ax.annotate("", end, before, zorder=1, arrowprops=arrow)

    def path(self, *points: tuple[float, float]) -> None:
        """A line through the points."""
        x, y = zip(*map(self._snapped, points), strict=True)
        self.ax.plot(x, y, color=INK, linewidth=1.2, zorder=1)

    def _snapped(self, point: tuple[float, float]) -> tuple[float, float]:
        """The centre of the circle that a point is near, or the point."""
        near = [node for node in self.nodes if np.hypot(node[0] - point[0], node[1] - point[1]) < 0.4]
        return near[0] if near else point

    def framed(self, x: float, y: float, text: str) -> None:
        """The name of a nonlinearity, in a frame."""
        look = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": INK}
        self.note(x, y, text, fontweight="bold", bbox=look)

    def note(self, x: float, y: float, text: str, *, small: bool = False, **options: Any) -> None:
        """Some text."""
        look: dict[str, Any] = {"ha": "center", "va": "center", "color": INK}
        look["fontsize"] = (0.85 if small else 1) * self.size
        self.ax.text(x, y, text, **look | options)

    def gradient(self, part: str, size: float, *, norm: bool) -> None:
        """The gradient of the loss for a state after the step, written below its box."""
        x, y = self.ends[part]
        text = f"‖∂L/∂{part}‖" if norm else f"∂L/∂{part}"
        self.ax.text(
            x + WIDTH / 2, y - 0.92, f"← {text} = {number(float(size))}", ha="right", va="center",
            color=style.LINES[1], fontweight="bold", fontsize=self.size, gid=f"gradient {part}",
        )  # fmt: skip


def draw_cell(sheet: Sheet) -> None:
    """Draw one step of the cell as its description does, or by default its gates in a row between its states."""
    cell = sheet.cell
    if cell.draw is not None:
        cell.draw(sheet)
        return
    y = 6.5
    for state in reversed(cell.states):
        y -= 1.4
        sheet.belt(y, f"{state}0", state)
    places = np.linspace(2.4, 7.6, len(cell.gates))
    for x, gate in zip(places, cell.slots, strict=True):
        sheet.gate(x, 2.2, gate)
        sheet.arrow((x, 1.2), (x, 2.2 - sheet.HEIGHT / 2))
        sheet.arrow((x, 2.2 + sheet.HEIGHT / 2), (x, y - 0.15))
    sheet.inputs(max(places, default=1.6))
