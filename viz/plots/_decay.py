"""What a curve of Jacobian norms against lag shows, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..measures._decay import last_lag
from ..measures.centroid import centroid
from ..measures.decay_rate import decay_range
from ..measures.half_life import half_life
from ..measures.horizon import horizon
from ._words import number, pace_between, share

if TYPE_CHECKING:
    from rnncore._typing import Floats

WIDEST = 3.0  # the largest ratio of rates, over rows and parts of the curves, that still is one rate of decay
LEVEL = 1.05  # norms that differ by no larger a factor than this are level


class Fate(NamedTuple):
    """What becomes of a gradient on its way back, over all rows.

    Attributes
    ----------
    sentence : str
        As a title.
    short : str
        As the end of a legend's entry.
    exponential : bool
        Whether the curves have one rate of decay.
    """

    sentence: str
    short: str
    exponential: bool = False


def fate(norms: Floats) -> Fate:
    """What (T, B) norms show: the rate of decay if all parts of all rows agree on one, or else what is left at the end.

    >>> fate(0.5 ** np.arange(30.0)[:, None]).sentence
    'The gradient halves every 1 step'
    >>> fate(np.exp(-0.3 * np.minimum(np.arange(40.0), 9))[:, None]).sentence
    'At most 6.7 % of the gradient is left 39 steps back'
    >>> fate(np.r_[1, 5.0, 9, 9.5, 6, 3, 2.0, 1.5, 1.2][:, None]).sentence
    'The gradient grows up to 9.5-fold (lag 3); at most 120 % at lag 8'
    """
    rows = norms[1:, ~np.isnan(norms[1])] if len(norms) > 1 else norms[:0]
    if not rows.size:
        return Fate("There is no earlier step that a gradient could reach", "no earlier step")
    if (rows[0] == 0).all():
        return _of_the_gradient("is exactly 0 one step back")
    infinite = np.isinf(rows).any(1)
    if infinite.any():
        return _of_the_gradient(f"is too large for float64 from lag {infinite.argmax() + 1} on")
    zero = (rows == 0).any(0)
    gone = ""
    if zero.all():
        gone = f"is exactly 0 from lag {(rows == 0).argmax(0).max() + 1} on"
    elif zero.any():
        gone = f"is exactly 0 in the end in {zero.sum()} of {len(zero)} rows"
    low, high = decay_range(np.concatenate([np.ones((1, rows.shape[1])), rows]))
    slowest, fastest = float(low.min()), float(high.max())  # NaN if a row is too short for a rate
    with np.errstate(invalid="ignore"):
        level = not gone and len(rows) > 1 and float((np.nanmax(rows, 0) / np.nanmin(rows, 0)).max()) < LEVEL
    if level:
        return _of_the_gradient("neither fades nor grows", exponential=not np.isnan(slowest))
    pace = pace_between(slowest, fastest)
    if pace and max(slowest / fastest, fastest / slowest) <= WIDEST:
        return _of_the_gradient(f"{pace} and {gone}" if gone else pace, exponential=True)
    if gone:
        return _of_the_gradient(gone)
    last = int(last_lag(norms)[~np.isnan(norms[1])].min())
    least, most = float(rows[last - 1].min()), float(rows[last - 1].max())
    steps = f"{last} step{'' if last == 1 else 's'} back"
    short = f"{share(least, most)} at lag {last}"
    with np.errstate(invalid="ignore"):
        highest = np.nanmax(rows[:last], axis=1)
    peak = int(highest.argmax())
    if highest[peak] > LEVEL * max(1.0, most):  # the end alone would hide it
        top = f"up to {share(float(highest[peak]))} (lag {peak + 1})"
        return Fate(f"The gradient grows {top}; at most {short}", f"{top}, {short}")
    if least < 1 < most and rows.shape[1] > 1:
        return Fate(f"At most {number(least)} to {number(most)} times the gradient is left {steps}", short)
    if most > 1:
        return Fate(f"The gradient grows at most {share(least, most)} over {steps.removesuffix(' back')}", short)
    return Fate(f"At most {share(least, most)} of the gradient is left {steps}", short)


def _of_the_gradient(does: str, *, exponential: bool = False) -> Fate:
    return Fate(f"The gradient {does}", does, exponential)


class Reading(NamedTuple):
    """The median over rows of a number of steps, and whether the true median may be larger."""

    steps: float
    more: bool


def readings(norms: Floats, eps: float = 0.01) -> dict[str, Reading]:
    """Half-life, centroid and horizon of (T, B) norms; where the recording ends too early, a lower bound of them."""
    last, reach = last_lag(norms), horizon(norms, eps)
    with np.errstate(invalid="ignore"):
        lives = half_life(norms)
        found = {
            "half-life": (np.where(np.isinf(lives), last + 1, lives), np.isinf(lives)),
            "centroid": (centroid(norms), horizon(norms) == last),
            "horizon": (reach, reach == last),
        }
    return {name: _median(*of_rows) for name, of_rows in found.items()}


def _median(values: Floats, more: Floats) -> Reading:
    known = ~np.isnan(values)
    if not known.any():
        return Reading(np.nan, False)
    values, more = values[known], more[known]
    upper = np.sort(values)[len(values) // 2]  # a larger value for a row up to here could raise the median
    return Reading(float(np.median(values)), bool(more[values <= upper].any()))
