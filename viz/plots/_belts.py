"""How each cell is drawn: boxes, belts and arrows on a 10 × 6 sheet."""

from __future__ import annotations

import numpy as np

from .. import style
from ._draw import cmap
from ._words import number

INK = "#333333"
WIDTH, HEIGHT = 1.3, 1.25  # of a box


class Belt:
    """A sheet with the pieces cells are made of. `values`: name -> (units,)."""

    def __init__(self, ax, values) -> None:
        self.ax, self.values = ax, values
        self.ends: dict[str, tuple[float, float]] = {}
        ax.set_xlim(-0.2, 11.2)
        ax.set_ylim(-0.1, 6.1)
        ax.grid(False)

    def box(self, x, y, name, text=None, *, signed=False):
        """A name, the mean over units, and a strip of all of them."""
        from matplotlib.patches import Rectangle

        values = self.values[name]
        limit = max(1.0, np.abs(values).max(initial=0)) if signed else 1.0
        scale = (values + limit) / (2 * limit) if signed else values
        colours = cmap(style.SIGNED if signed else style.GATES)(np.clip(scale, 0, 1))
        colours[~np.isfinite(values)] = (1, 0, 1, 1)
        left, foot = x - WIDTH / 2, y - HEIGHT / 2
        place = (left, left + WIDTH, foot, foot + 0.26 * HEIGHT)
        strip = self.ax.imshow(
            colours[None, :, :], extent=place, aspect="auto", interpolation="nearest", zorder=3
        )
        strip.set_gid(name)
        frame = Rectangle((left, foot), WIDTH, HEIGHT, facecolor="white", edgecolor=INK, zorder=2)
        self.ax.add_patch(frame)
        center = {"ha": "center", "va": "center", "zorder": 4}
        self.ax.text(x, foot + 0.8 * HEIGHT, text or name, fontsize="small", color=INK, **center)
        mean = f"{values.mean():.2f}".replace("-0.00", "0.00").replace("-", "−")
        self.ax.text(x, foot + 0.45 * HEIGHT, mean, fontweight="bold", gid=name, **center)

    def belt(self, y, left: str, right: str):
        """A broad band from the state before to the state after."""
        arrow = {"arrowstyle": "-|>,head_width=0.6,head_length=0.7", "linewidth": 9}
        arrow |= {"color": "#D9E3EC", "shrinkA": 0, "shrinkB": 0}
        self.ax.annotate("", (9.75, y), (0.7, y), zorder=0, arrowprops=arrow)
        self.ends_with(left, right, y, y)

    def ends_with(self, left, right, y_left, y_right):
        """The boxes of the state before and after."""
        self.box(0.55, y_left, left, f"{left[0]}$_{{t-1}}$", signed=True)
        self.box(10.4, y_right, right, f"{right}$_t$", signed=True)
        self.ends[right] = (10.4, y_right)

    def node(self, x, y, sign):
        look = {"color": "white", "markeredgecolor": INK, "markeredgewidth": 1.3}
        self.ax.plot([x], [y], marker="o", markersize=19, zorder=3, **look)
        self.ax.text(
            x, y - 0.02, sign, ha="center", va="center_baseline", fontsize="large", zorder=4
        )

    def arrow(self, *points):
        """A line through the points with a head at the last."""
        self.path(*points[:-1])
        arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
        self.ax.annotate("", points[-1], points[-2], zorder=1, arrowprops=arrow)

    def path(self, *points):
        self.ax.plot(*zip(*points, strict=True), color=INK, linewidth=1.2, zorder=1)

    def note(self, x, y, text, **options):
        self.ax.text(x, y, text, **{"ha": "center", "va": "center", "color": INK} | options)

    def gradient(self, part, size, *, norm):
        """What comes back at the state after the step."""
        x, y = self.ends[part]
        text = f"‖∂L/∂{part}‖" if norm else f"∂L/∂{part}"
        self.ax.text(
            x + WIDTH / 2, y - 0.92, f"← {text} = {number(float(size))}", ha="right", va="center",
            color=style.LINES[1], fontweight="bold", gid=f"gradient {part}",
        )  # fmt: skip


def lstm(b: Belt, _) -> None:
    b.belt(5.2, "c0", "c")
    low, foot = 2.5, 2.5 - HEIGHT / 2
    gates = ((2.4, "f", "f  σ"), (4.1, "i", "i  σ"), (5.9, "g", "g  tanh"), (7.6, "o", "o  σ"))
    for x, name, text in gates:
        b.box(x, low, name, text, signed=name == "g")
        b.arrow((x, 1.2), (x, foot))
    head = low + HEIGHT / 2
    b.node(2.4, 5.2, "×")
    b.arrow((2.4, head), (2.4, 4.92))
    b.node(5.0, 3.95, "×")
    b.arrow((4.1, head), (4.1, 3.95), (4.72, 3.95))
    b.arrow((5.9, head), (5.9, 3.95), (5.28, 3.95))
    b.node(5.0, 5.2, "+")
    b.arrow((5.0, 4.23), (5.0, 4.92))
    b.node(8.95, low, "×")
    b.arrow((8.25, low), (8.67, low))
    b.arrow((8.95, 5.05), (8.95, 2.78))
    b.note(8.85, 3.75, "tanh", ha="right", fontsize="small")
    b.box(0.55, 1.2, "h0", "h$_{t-1}$", signed=True)
    b.box(10.4, low, "h", "h$_t$", signed=True)
    b.ends["h"] = (10.4, low)
    b.arrow((9.23, low), (9.75, low))
    _inputs(b, 7.6)


def gru(b: Belt, _) -> None:
    b.belt(5.2, "h0", "h")
    low, foot, head = 2.5, 2.5 - HEIGHT / 2, 2.5 + HEIGHT / 2
    for x, name, text in ((2.4, "r", "r  σ"), (4.9, "n", "n  tanh"), (7.4, "z", "z  σ")):
        b.box(x, low, name, text, signed=name == "n")
        b.arrow((x, 1.2), (x, foot))
    b.arrow((3.05, low), (4.25, low))
    b.note(3.65, low + 0.25, "resets", fontsize="small")
    b.node(7.4, 5.2, "×")
    b.arrow((7.4, head), (7.4, 4.92))
    b.note(7.52, 4.35, "z", ha="left", fontsize="small")
    b.node(6.1, 3.75, "×")
    b.arrow((4.9, head), (4.9, 3.75), (5.82, 3.75))
    b.arrow((7.4, 3.75), (6.38, 3.75))
    b.note(6.85, 3.95, "1 − z", fontsize="small")
    b.node(8.7, 5.2, "+")
    b.path((6.1, 4.03), (6.1, 4.55), (7.25, 4.55))
    b.arrow((7.55, 4.55), (8.7, 4.55), (8.7, 4.92))
    b.path((0.55, 5.2 - HEIGHT / 2), (0.55, 1.2))
    _inputs(b, 7.4, start=0.55)


def rnn(b: Belt, nonlinearity) -> None:
    b.ax.set_ylim(0.2, 4.3)
    y = 3.0
    b.ends_with("h0", "h", y, y)
    b.node(4.2, y, "+")
    b.arrow((1.2, y), (3.92, y))
    b.note(2.55, y + 0.25, "· W$_{hh}$")
    b.arrow((4.2, 0.9), (4.2, y - 0.28))
    b.note(4.35, 1.8, "· W$_{ih}$ + b", ha="left")
    b.note(4.2, 0.6, "x$_t$", fontweight="bold")
    b.arrow((4.48, y), (9.75, y))
    frame = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": INK}
    b.note(7.0, y, nonlinearity, fontweight="bold", bbox=frame)


def _inputs(b: Belt, right, start=1.2) -> None:
    """The line on which h and x reach all gates."""
    b.path((start, 1.2), (right, 1.2))
    b.path((1.6, 0.55), (1.6, 1.2))
    b.note(1.6, 0.3, "x$_t$", fontweight="bold")
    b.note(right + 0.2, 1.2, "[h$_{t-1}$, x$_t$] · W + b", ha="left", fontsize="small")


BELTS = {"LSTM": lstm, "GRU": gru, "RNN": rnn}
