"""Decay rate: the slope of the logarithm of the Jacobian norm against lag."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._tapes import Direction, HasTape
from ._decay import norms_by_lag

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats
    from rnncore.recurrent.tape import Tape

__all__ = ["Decay", "decay_fit", "decay_range", "decay_rate"]

PARTS, LEAST = 4, 3  # into how many parts decay_range divides the lags, and the fewest lags of a part


class Decay(NamedTuple):
    """The fitted line ln‖∂s_T/∂s_{T-k}‖ ≈ level + rate·k.

    Attributes
    ----------
    rate : ndarray (B,)
        In nats per step.
    level : ndarray (B,)
        In nats.
    """

    rate: Floats
    level: Floats


def decay_rate(tape: Tape | HasTape | ArrayLike, direction: Direction = "forward") -> Floats:
    """Least-squares slope of ln‖∂s_T/∂s_{T-k}‖ over lags k ≥ 1, in nats per step.

    Negative where the gradient vanishes (it halves every ln 2/−rate steps), positive where it
    explodes. For long sequences it tends to the largest Lyapunov exponent.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or the result of `jacobian_norms`.
    direction : {"forward", "reverse"}
        As in `jacobian_norms`.

    Returns
    -------
    ndarray (B,), float64
        Lags whose norm is 0 or not finite are left out; NaN where fewer than two lags remain. It is the slope of
        the curve only where the curve is a straight line on a log axis; `decay_range` shows whether it is.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import viz
    >>> np.exp(viz.decay_rate(0.7 ** np.arange(10.0)[:, None])).round(9).tolist()
    [0.7]
    """
    return decay_fit(tape, direction).rate


def decay_fit(tape: Tape | HasTape | ArrayLike, direction: Direction = "forward") -> Decay:
    """The fitted line whose slope is `decay_rate`; the arguments are the same.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import viz
    >>> fit = viz.decay_fit(np.exp(2 - 0.5 * np.arange(10.0))[:, None])
    >>> fit.rate.round(9).tolist(), fit.level.round(9).tolist()
    ([-0.5], [2.0])
    """
    norms = norms_by_lag(tape, direction)
    rate, level = np.full((2, norms.shape[1]), np.nan)
    for b, row in enumerate(norms.T):
        lag = np.flatnonzero(np.isfinite(row) & (row > 0))
        lag = lag[lag >= 1]
        if lag.size >= 2:
            x, y = lag - lag.mean(), np.log(row[lag])
            rate[b] = x @ y / (x @ x)
            level[b] = y.mean() - rate[b] * lag.mean()
    return Decay(rate, level)


def decay_range(tape: Tape | HasTape | ArrayLike, direction: Direction = "forward") -> tuple[Floats, Floats]:
    """The smallest and the largest of the slopes of the curve's parts, to see whether it has one slope at all.

    The lags k ≥ 1 are divided into up to four parts of equal length, and a line is fitted to each as by
    `decay_fit`. For an exponential decay all parts have the slope `decay_rate`. If they differ, for example
    because the norm falls at first and then stays level, that slope describes no part of the curve.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or the result of `jacobian_norms`.
    direction : {"forward", "reverse"}
        As in `jacobian_norms`.

    Returns
    -------
    low, high : ndarray (B,), float64
        In nats per step, over the lags before the first norm that is 0 or not finite. NaN where these are
        fewer than six, of which two parts cannot be made.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import viz
    >>> low, high = viz.decay_range(np.exp(-0.5 * np.minimum(np.arange(41.0), 20)))
    >>> low.round(9).tolist(), high.round(9).tolist()
    ([-0.5], [0.0])
    """
    norms = norms_by_lag(tape, direction)
    low, high = np.full((2, norms.shape[1]), np.nan)
    for b, row in enumerate(norms.T):
        known = np.isfinite(row[1:]) & (row[1:] > 0)
        log = np.log(row[1:][: len(known) if known.all() else int(known.argmin())])
        parts = min(PARTS, len(log) // LEAST)
        if parts >= 2:
            ends = np.linspace(0, len(log) - 1, parts + 1).round().astype(int)  # neighbours share a lag
            slopes = [_slope(log[first : last + 1]) for first, last in itertools.pairwise(ends)]
            low[b], high[b] = min(slopes), max(slopes)
    return low, high


def _slope(log: Floats) -> float:
    """The least-squares slope of equally spaced values."""
    x = np.arange(len(log)) - (len(log) - 1) / 2
    return float(x @ (log - log.mean()) / (x @ x))
