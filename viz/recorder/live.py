"""Series drawn while a network trains: lines of block characters in a terminal, or a matplotlib window."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

import numpy as np

from ..plots._words import plain
from .frame import NamedSeries

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from rnncore._typing import ArrayLike

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WORDS = {
    "loss": "loss",
    "gradient_norm": "‖gradient‖",
    "lyapunov": "λ₁ (nats/step)",
    "horizon": "horizon (steps)",
    "saturation": "saturated",
}


class LivePlot(Protocol):
    """Anything that can draw the series of a recorder; if it has a method `close`, that is called at the end."""

    def draw(self, recorder: NamedSeries, /) -> object: ...


def make_live(live: Literal["terminal", "window"] | LivePlot | None) -> LivePlot | None:
    """The object that draws: `live` itself, or a new one for "terminal" or "window"."""
    if live is None or (not isinstance(live, str) and hasattr(live, "draw")):
        return live
    if live == "terminal":
        return TerminalPlot()
    if live == "window":
        import matplotlib.pyplot as plt

        if plt.get_backend().lower() in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template"):
            raise ValueError(
                f"live: got 'window', but matplotlib's backend {plt.get_backend()} has none; "
                "expected 'terminal', or a backend with windows (MPLBACKEND=QtAgg)"
            )
        return WindowPlot()
    raise ValueError(f"live: got {live!r}, expected 'terminal', 'window' or an object with draw()")


def sparkline(values: ArrayLike, width: int = 40) -> str:
    """Values as a line of block characters, low to high; NaN and infinity as ×.

    Examples
    --------
    >>> sparkline([0, 1, 2, 3, float("nan"), 8])
    '▁▂▃▄×█'
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) > width:  # the mean of equal parts
        values = np.array([part.mean() for part in np.array_split(values, width)])
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    scaled = np.zeros(len(values), int)
    scaled[finite] = 1 + np.round(7 * (values[finite] - low) / (high - low or 1.0)).astype(int)
    return "".join(_BLOCKS[k] if ok else "×" for k, ok in zip(scaled, finite, strict=True))


class TerminalPlot:
    """One line per series; in a terminal the lines are overwritten at each drawing.

    Parameters
    ----------
    stream : file, optional
        stderr by default. A stream that is not a terminal gets the lines once, at the end.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self._lines = 0
        self._last: list[str] | None = None

    def draw(self, recorder: NamedSeries) -> None:
        """Write the lines, or keep them for the end."""
        self._last = text = self.text(recorder)
        if self.stream.isatty():
            up = f"\x1b[{self._lines}F" if self._lines else ""
            self.stream.write(up + "".join(f"\x1b[2K{line}\n" for line in text))
            self.stream.flush()
            self._lines = len(text)

    def text(self, recorder: NamedSeries) -> list[str]:
        """The lines, top to bottom."""
        lines = []
        for name in recorder.series_names:
            updates, values = recorder.series(name)
            lines.append(
                f"{_WORDS.get(name, name):>16} {values[-1]:>10.4g} {sparkline(values):<40} "
                f"update {updates[-1]}"
            )
        return lines

    def close(self) -> None:
        """Write the last lines to a stream that is not a terminal."""
        if self._last and not self.stream.isatty():
            self.stream.write("\n".join(self._last) + "\n")


class WindowPlot:
    """One panel per series in a matplotlib window, updated while training runs.

    Parameters
    ----------
    figure : matplotlib.figure.Figure, optional
        The figure to draw into; a new window by default.
    """

    def __init__(self, figure: Figure | None = None) -> None:
        self.figure = figure
        self._lines: dict[str, Line2D] = {}

    def draw(self, recorder: NamedSeries) -> None:
        """Bring the lines up to date."""
        names = recorder.series_names
        figure = self._opened(len(names))
        if list(self._lines) != names:
            self._lay_out(names)
        for name, line in self._lines.items():
            line.set_data(*recorder.series(name))
            assert line.axes is not None
            line.axes.relim()
            line.axes.autoscale_view()
        figure.canvas.draw_idle()
        figure.canvas.flush_events()

    def _opened(self, panels: int) -> Figure:
        """The figure, in a new window where there is none yet."""
        if self.figure is None:
            import matplotlib.pyplot as plt

            self.figure = plt.figure("rnncore recorder", figsize=(6, 1.5 * max(panels, 2)))
            self.figure.show()
        return self.figure

    def _lay_out(self, names: Sequence[str]) -> None:
        figure = self._opened(len(names))
        figure.clear()
        axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for name, ax in zip(names, axes, strict=True):
            (self._lines[name],) = ax.plot([], [], color="#0072B2", marker=".", markersize=3)
            ax.set_ylabel(_WORDS.get(name) or plain(name), fontsize=8)
            ax.tick_params(labelsize=8)
        axes[-1].set_xlabel("update")

    def close(self) -> None:
        """Leave the window open; the user closes it."""
