"""Picture of a number during training: λ₁, horizon, saturation, loss, …"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rnncore._checks import did_you_mean

from .. import style
from .._door import array, as_numbers, described, pair
from ._draw import axes, drawn, line, say
from ._legend import legend
from ._words import number, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_series"]

KIND = "series"
FORM = pair(array("N"), array("N"), "(updates, values)")
# name -> (what it is in words, the value that divides two regimes)
KNOWN: dict[str, tuple[str, float | None]] = {
    "lyapunov": ("λ₁   (nats per step)", 0.0),
    "horizon": ("horizon   (steps, at most those recorded)", None),
    "saturation": ("share of saturated gate values", None),
    "gradient_norm": ("norm of the gradient", None),
    "loss": ("loss", None),
}


class HasSeries(Protocol):
    """A `Recorder`, a `Run`, or anything else with this method."""

    def series(self, name: str, /) -> tuple[ArrayLike, ArrayLike]: ...


def plot_series(
    run: HasSeries | tuple[ArrayLike, ArrayLike],
    ax: Axes | None = None,
    *,
    name: str = "lyapunov",
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """One of a recorder's numbers, against the update at which it was taken.

    Parameters
    ----------
    run : Recorder, Run, or pair
        Anything with a method ``series(name)``, or (updates, values).
    ax : matplotlib Axes, optional
    name : str
        Such as "lyapunov", "horizon", "saturation", "gradient_norm" or "loss".
    label : str, optional
        For the legend. Call the function again to overlay another run.
    **line_kw
        For the line, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> ax = viz.plot_series((np.array([0, 100]), np.array([-0.5, -0.1])), Figure().subplots())
    >>> ax.get_title()
    'λ₁ is −0.5 at update 0 and −0.1 at update 100'
    """
    if isinstance(run, (tuple, list)):
        updates, numbers = as_numbers(run, FORM, name="run", source="Recorder.series")
    elif hasattr(run, "series"):
        updates, numbers = run.series(name)
    else:
        raise TypeError(f"run: got {described(run)}, expected a Recorder, a Run or {FORM.words}")
    values = np.asarray(numbers, np.float64)
    if not values.size:
        known: list[str] = getattr(run, "series_names", [])
        listed = f": {', '.join(known)}" if known else ""
        raise ValueError(f"name: got {name!r}, for which the run has no values, expected one of its series{listed}"
                         + did_you_mean(name, known))
    ax = axes(ax, f"{KIND} {name}")
    words, divide = KNOWN.get(name, (plain(name), None))
    line(ax, KIND, updates, values, label, **line_kw)
    if divide is not None and not drawn(ax, "divide"):
        ax.axhline(divide, color=style.GREY, linewidth=1, linestyle="--", zorder=1, gid="divide")
    if name == "gradient_norm" and (values > 0).any():
        ax.set_yscale("log")
    ax.set_xlabel("update")
    ax.set_ylabel(words)
    short = words.split("   ")[0]
    say(ax, KIND, _capital(_sentence(short, np.asarray(updates), values)), _capital(f"{short} during training"))
    legend(ax)
    return ax


def _sentence(name: str, updates: Floats, values: Floats) -> str:
    """The first and the last value, the range if others are beyond them, and how many are not finite."""
    finite = np.isfinite(values)
    if not finite.any():
        return f"{name} has no finite value"
    at, known = updates[finite], values[finite]
    missing = f"; {(~finite).sum()} of {len(values)} are not finite" if not finite.all() else ""
    low, high = number(known.min()), number(known.max())
    if low == high:
        return f"{name} is {low} at {'the one update' if len(known) == 1 else f'all {len(known)} updates'}{missing}"
    first, last = number(known[0]), number(known[-1])
    beyond = {low, high} - {first, last}
    told = f" (from {low} to {high})" if beyond else ""
    return f"{name} is {first} at update {at[0]} and {last} at update {at[-1]}{told}{missing}"


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:] if sentence[0].isascii() else sentence
