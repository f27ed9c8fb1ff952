"""Picture of the coefficients of an autoregression against lag."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_number, as_size
from rnncore.models.interface.base import check_fitted
from rnncore.models.windows.autoregressive import AutoRegressive

from .. import style
from .._door import array, described
from ..measures.coefficients import Coefficients
from ._draw import axes, drawn, line, some_names
from ._legend import legend
from ._words import number, of_run, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from rnncore._typing import Array, ArrayLike, Bools, Floats

__all__ = ["plot_coefficients"]

KIND = "coefficients"
NUMBERS = array("order", "F", "F")


def plot_coefficients(
    model: AutoRegressive | Coefficients | ArrayLike,
    ax: Axes | None = None,
    *,
    target: int | str = 0,
    sources: str | Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """The coefficients of an autoregression against lag, with intervals if their standard errors are given.

    Parameters
    ----------
    model : AutoRegressive, Coefficients, or ndarray (order, F, F)
        `viz.coefficients` computes the standard errors, from which the intervals come; a fitted model and
        an array have none.
    ax : matplotlib Axes, optional
    target : int or str
        The feature whose prediction is shown: its number, or one of `names`.
    sources : str or sequence of str, optional
        The features, by their `names` or patterns of them, whose coefficients are shown; all by default.
    names : sequence of str, optional
        Names of the features; by default "0", "1", ….
    level : float
        Of each interval on its own, under a normal distribution.
    label : str, optional
        For the legend. Call the function again to overlay another model.
    **line_kw
        For the dots, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> found = viz.Coefficients(np.reshape([0.8, -0.3, 0.02], (3, 1, 1)), np.full((3, 1, 1), 0.05))
    >>> viz.plot_coefficients(found, Figure().subplots()).get_title()
    'Lags 1 and 2 of 3 differ from 0 (95 % intervals)'
    """
    from matplotlib.ticker import MaxNLocator

    value, error = _numbers(model)
    level = as_number(level, "level", above=0, below=1)
    order, width = value.shape[:2]
    names = [str(i) for i in range(width)] if names is None else list(names)
    if len(names) != width:
        raise ValueError(f"names: got {len(names)}, expected {width}, one per feature")
    if isinstance(target, str):
        if target not in names:
            raise ValueError(f"target: got {target!r}, expected one of {', '.join(names)}, or its number; names= gives "
                             "the features other names")
        target = names.index(target)
    target = as_size(target, "target", least=0)
    if target >= width:
        raise ValueError(f"target: got {target}, expected one of {width} features")
    shown = [names.index(name) for name in some_names(sources, names, "sources")]
    ax = axes(ax, KIND)
    lag = np.arange(1, order + 1)
    half = None if error is None else NormalDist().inv_cdf(0.5 + level / 2) * error[:, target]
    for j in shown:
        place = lag + 0.12 * len(drawn(ax, KIND))
        said = f"of {names[j]}" if width > 1 else None
        found = line(
            ax, KIND, place, value[:, target, j], of_run(label, said) if said else label,
            **{"linestyle": "none", "markevery": 1, "zorder": 3} | line_kw,
        )  # fmt: skip
        colour = found.get_color()
        ax.vlines(place, 0, value[:, target, j], color=colour, linewidth=1, zorder=2)
        if half is not None:
            low, high = value[:, target, j] - half[:, j], value[:, target, j] + half[:, j]
            bars = ax.vlines(place, low, high, color=colour, linewidth=4.5, alpha=0.35, zorder=1)
            bars.set_gid("interval")
    if not drawn(ax, "zero"):
        ax.axhline(0, color=style.GREY, linewidth=1, zorder=1, gid="zero")
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    ax.set_xlabel("lag k   (steps back)")
    ax.set_ylabel("coefficient" if width == 1 else plain(f"coefficient in the prediction of {names[target]}"))
    clear = None if half is None else np.abs(value[:, target, shown]) > half[:, shown]
    if len(drawn(ax, KIND)) > len(shown):
        ax.set_title("Coefficients against lag" + ("" if clear is None else f", with {_percent(level)} intervals"))
    elif clear is None:
        ax.set_title(plain(_largest(value[:, target, shown], [names[j] for j in shown] if width > 1 else None)))
    else:
        ax.set_title(_clear(clear, level))
    legend(ax)
    return ax


def _numbers(model: AutoRegressive | Coefficients | ArrayLike) -> tuple[Floats, Floats | None]:
    """Values (order, F, F), and the standard errors if there are any."""
    value: Array | None = None
    error: Array | None = None
    if isinstance(model, Coefficients):
        value, error = map(np.asarray, model)
    elif isinstance(model, AutoRegressive):
        check_fitted(model, "coef_")
        value = model.coef_
    elif NUMBERS.fits(model):
        value = np.asarray(model)
    if value is None or not NUMBERS.fits(value) or value.shape[1] != value.shape[2] or (
            error is not None and error.shape != value.shape):
        raise TypeError(
            f"model: got {described(model)}, expected a fitted rnncore.models.AutoRegressive, {NUMBERS.words}, or "
            "Coefficients, as from viz.coefficients"
        )
    if not len(value):
        raise ValueError("model: got one of order 0, which has no coefficients, expected order 1 or more")
    return value.astype(np.float64), None if error is None else error.astype(np.float64)


def _largest(value: Floats, names: list[str] | None) -> str:
    lag, j = np.unravel_index(np.argmax(np.abs(value)), value.shape)
    which = "" if names is None else f" of {names[j]}"
    return f"The largest coefficient is {number(float(value[lag, j]))},{which} at lag {lag + 1}"


def _clear(clear: Bools, level: float) -> str:
    """Which intervals do not hold 0; and how many would not by chance, if that is a number to reckon with."""
    lags, several = np.flatnonzero(clear.any(1)) + 1, clear.shape[1] > 1
    by_chance = (1 - level) * clear.size
    note = f"{_percent(level)} intervals" + (f"; about {number(by_chance)} would by chance" if by_chance >= 0.5 else "")
    if not lags.size:
        return f"No coefficient differs from 0 ({_percent(level)} intervals)"
    if several or lags.size > 4:
        return f"{int(clear.sum())} of {clear.size} coefficients differ from 0 ({note})"
    if len(clear) == 1:
        return f"Lag 1 differs from 0 ({note})"
    said = [str(k) for k in lags]
    which = " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
    verb = "s" if len(said) > 1 else ""
    return f"Lag{verb} {which} of {len(clear)} differ{'' if verb else 's'} from 0 ({note})"


def _percent(level: float) -> str:
    return f"{100 * level:g} %"
