"""Series drawn while a network trains: lines of blocks in a terminal, or a window of matplotlib."""

import sys

import numpy as np

from ..plots._words import plain

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WORDS = {
    "loss": "loss",
    "gradient_norm": "‖gradient‖",
    "lyapunov": "λ₁ (nats/step)",
    "horizon": "horizon (steps)",
    "saturation": "saturated",
}


def make_live(live):
    """None, "terminal", "window" or an object that has `draw(recorder)` -> that object."""
    if live is None or hasattr(live, "draw"):
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


def sparkline(values, width=40):
    """Values as a line of blocks, low to high; NaN and infinity as ×.

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
    """One line a series, written over the lines before where the stream is a terminal.

    Parameters
    ----------
    stream : optional
        stderr by default. A stream that is no terminal gets the lines only at the end.
    """

    def __init__(self, stream=None):
        self.stream = sys.stderr if stream is None else stream
        self._lines = 0
        self._last = None

    def draw(self, recorder):
        self._last = text = self.text(recorder)
        if self.stream.isatty():
            up = f"\x1b[{self._lines}F" if self._lines else ""
            self.stream.write(up + "".join(f"\x1b[2K{line}\n" for line in text))
            self.stream.flush()
            self._lines = len(text)

    def text(self, recorder):
        """The lines, top to bottom."""
        lines = []
        for name in recorder.series_names:
            updates, values = recorder.series(name)
            lines.append(
                f"{_WORDS.get(name, name):>16} {values[-1]:>10.4g} {sparkline(values):<40} "
                f"update {updates[-1]}"
            )
        return lines

    def close(self):
        if self._last and not self.stream.isatty():
            self.stream.write("\n".join(self._last) + "\n")


class WindowPlot:
    """One panel a series in a window of matplotlib, kept up to date.

    Parameters
    ----------
    figure : matplotlib.figure.Figure, optional
        Drawn into; a new window by default.
    """

    def __init__(self, figure=None):
        self.figure = figure
        self._lines = {}

    def draw(self, recorder):
        names = recorder.series_names
        if self.figure is None:
            import matplotlib.pyplot as plt

            self.figure = plt.figure("rnncore recorder", figsize=(6, 1.5 * max(len(names), 2)))
            self.figure.show()
        if list(self._lines) != names:
            self._lay_out(names)
        for name, line in self._lines.items():
            line.set_data(*recorder.series(name))
            line.axes.relim()
            line.axes.autoscale_view()
        self.figure.canvas.draw_idle()
        self.figure.canvas.flush_events()

    def _lay_out(self, names):
        self.figure.clear()
        axes = self.figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for name, ax in zip(names, axes, strict=True):
            (self._lines[name],) = ax.plot([], [], color="#0072B2", marker=".", markersize=3)
            ax.set_ylabel(_WORDS.get(name) or plain(name), fontsize=8)
            ax.tick_params(labelsize=8)
        axes[-1].set_xlabel("update")

    def close(self):
        """The window stays; closing it is the user's."""
