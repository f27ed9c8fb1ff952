"""Decay rate: the slope of the logarithm of the Jacobian norm against lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._tapes import Direction, HasTape
from ._decay import norms_by_lag

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats
    from rnncore.recurrent.tape import Tape

__all__ = ["Decay", "decay_fit", "decay_rate"]


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
        Lags whose norm is 0 or not finite are left out; NaN where fewer than two lags remain.

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
