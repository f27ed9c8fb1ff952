"""Picture of a forecast with its interval, after the series that it continues."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rnncore._checks import as_size

from .. import style
from .._door import array, described
from ._draw import axes, drawn, line
from ._legend import legend
from ._words import count_of, number, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_forecast"]

KIND = "forecast"
SERIES = array("T", "F")


class HasBand(Protocol):
    """The `Forecast` of a model, or anything else with these three arrays (steps, F)."""

    @property
    def mean(self) -> Floats: ...
    @property
    def lower(self) -> Floats: ...
    @property
    def upper(self) -> Floats: ...


def plot_forecast(
    forecast: HasBand,
    ax: Axes | None = None,
    *,
    context: ArrayLike | None = None,
    actual: ArrayLike | None = None,
    feature: int = 0,
    name: str | None = None,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """A forecast with its interval, the series before it, and what then came, if it is known.

    Steps are counted from the last step of the context, which is 0.

    Parameters
    ----------
    forecast : Forecast
        The result of ``forecast`` of a model, such as `rnncore.models.AutoRegressive`.
    ax : matplotlib Axes, optional
    context : ndarray (T, F) or (T,), optional
        The last steps of the series before the forecast. A value between two that are missing is a dot.
    actual : ndarray (n, F) or (n,), optional
        What came after the context; compared over the steps that both have.
    feature : int
        Which one of F to show.
    name : str, optional
        What the values are, for the axis.
    label : str, optional
        For the legend. Call the function again to overlay the forecast of another model.
    **line_kw
        For the line of the mean, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> x = np.sin(0.3 * np.arange(300)) + 0.2 * np.random.default_rng(0).normal(size=300)
    >>> ahead = rc.models.AutoRegressive(8).fit([x[:280]]).forecast(x[:280], 20)
    >>> viz.plot_forecast(ahead, Figure().subplots(), context=x[240:280], actual=x[280:]).get_title()
    '19 of 20 values lie in the 95 % interval'
    """
    from matplotlib import rcParams

    mean, low, high = _band(forecast, feature)
    width = 1 if np.ndim(forecast.mean) < 2 else np.shape(forecast.mean)[1]
    before, after = (_series(values, what, feature, width)
                     for values, what in ((context, "context"), (actual, "actual")))
    steps = len(mean)
    ax = axes(ax, KIND)
    thin = 0.7 * rcParams["lines.linewidth"]
    if before is not None and not drawn(ax, "context"):
        ax.plot(np.arange(1 - len(before), 1), before, color="black", linewidth=thin, gid="context", zorder=2,
                **_dots(before))
    if after is not None and not drawn(ax, "actual"):
        look: dict[str, Any] = {"color": "black", "linewidth": thin, "linestyle": (0, (2, 1.5)), "zorder": 4}
        look |= _dots(after)
        ax.plot(np.arange(1, len(after) + 1), after, label="observed", gid="actual", **look)
    if not drawn(ax, "now"):
        ax.axvline(0, color=style.GREY, linewidth=1, linestyle="--", zorder=1, gid="now")
    level = _level(forecast, feature)
    band = f"{level} interval" if level else "interval"
    inside = None if after is None else _inside(after, low, high)
    told = f": {inside[0]} of {inside[1]} inside" if inside and label else ""
    ahead = np.arange(1, steps + 1)
    found = line(ax, KIND, ahead, mean, (label or f"forecast, {band}") + told, **{"zorder": 3} | line_kw)
    area = (ahead, low, high) if steps > 1 else (np.array([0.6, 1.4]), low.repeat(2), high.repeat(2))
    ax.fill_between(*area, color=found.get_color(), alpha=0.2, linewidth=0, gid="band", zorder=1)
    ax.set_xlabel("steps ahead")
    several = "value" if width == 1 else f"feature {feature}"
    ax.set_ylabel(several if name is None else plain(name))
    if len(drawn(ax, KIND)) > 1:
        ax.set_title(f"Forecasts with their {band}s")
    elif inside:
        ax.set_title(f"{inside[0]} of {inside[1]} values lie in the {band}")
    else:
        ax.set_title(_sentence((high - low) / 2, band))
    legend(ax)
    return ax


def _band(forecast: HasBand, feature: int) -> tuple[Floats, Floats, Floats]:
    """Mean and ends of the interval of one feature, (steps,) each."""
    if not all(hasattr(forecast, part) for part in ("mean", "lower", "upper")) or callable(forecast.mean):
        raise TypeError(
            f"forecast: got {described(forecast)}, expected a Forecast with mean, lower and upper, as from "
            "model.forecast(context, steps)"
        )
    parts = [_series(getattr(forecast, part), f"forecast.{part}", feature) for part in ("mean", "lower", "upper")]
    mean, low, high = (part for part in parts if part is not None)
    if not len(mean) or not len(mean) == len(low) == len(high):
        raise ValueError(
            f"forecast: got {len(mean)}, {len(low)} and {len(high)} steps of mean, lower and upper, expected at "
            "least one step of each"
        )
    return mean, low, high


def _dots(values: Floats) -> dict[str, Any]:
    """Dots for the values that have none beside them, so that a line would not show them."""
    gone = np.concatenate([[True], np.isnan(values), [True]])
    alone = np.flatnonzero(~gone[1:-1] & gone[:-2] & gone[2:])
    return {"marker": ".", "markevery": alone.tolist()} if alone.size else {}


def _series(values: ArrayLike | None, name: str, feature: int, width: int | None = None) -> Floats | None:
    """(T,): one feature of a series, which has `width` of them."""
    if values is None:
        return None
    found = np.asarray(values)
    found = found[:, None] if found.ndim == 1 else found
    if not SERIES.fits(found):
        raise ValueError(f"{name}: got {described(values)}, expected {SERIES.words}, or (T,) for one feature")
    if width is not None and found.shape[1] != width:
        raise ValueError(f"{name}: got {found.shape[1]} features, expected {width}, as the forecast")
    if as_size(feature, "feature", least=0) >= found.shape[1]:
        raise ValueError(f"feature: got {feature}, expected one of {found.shape[1]} features of {name}")
    return found[:, feature].astype(np.float64)


def _level(forecast: HasBand, feature: int) -> str | None:
    """The level of the interval, "95 %", from the sampled paths, or from its width if that is normal; or None."""
    paths = getattr(forecast, "paths", None)
    if paths is not None:  # sampled continuations, of which the interval holds a share
        inside = (forecast.lower <= paths) & (paths <= forecast.upper)
        return f"{100 * float(np.mean(inside[..., feature])):.0f} %"
    covariance = getattr(forecast, "covariance", None)
    if covariance is None or np.ndim(covariance) != 3:
        return None
    deviation = np.sqrt(np.asarray(covariance)[:, feature, feature])
    _, low, high = _band(forecast, feature)
    if not (deviation > 0).all():
        return None
    half = (high - low) / (2 * deviation)
    if np.ptp(half) > 1e-3 * half[0]:
        return None
    return f"{100 * (2 * NormalDist().cdf(float(np.median(half))) - 1):.3g} %"


def _inside(actual: Floats, low: Floats, high: Floats) -> tuple[int, int] | None:
    """How many of the values that came lie in the interval, of how many that are known."""
    n = min(len(actual), len(low))
    known = ~np.isnan(actual[:n])
    if not known.any():
        return None
    return int(((low[:n] <= actual[:n]) & (actual[:n] <= high[:n]))[known].sum()), int(known.sum())


def _sentence(half: Floats, band: str) -> str:
    first, last = number(float(half[0])), number(float(half[-1]))
    if len(half) == 1 or first == last:
        return f"The {band} is ±{first} " + ("one step ahead" if len(half) == 1 else f"over {count_of(len(half))}")
    verb = "widens" if half[-1] > half[0] else "narrows"
    return f"The {band} {verb} from ±{first} to ±{last} within {count_of(len(half))}"
