"""Decay rate: the slope of the logarithm of the Jacobian norm against lag."""

from __future__ import annotations

import numpy as np

from ._decay import norms_by_lag

__all__ = ["decay_rate"]


def decay_rate(tape, direction: str = "forward") -> np.ndarray:
    """Least-squares slope of ln‖∂s_T/∂s_{T-k}‖ over lags k ≥ 1, in nats per step.

    Negative where the gradient vanishes (it halves every ln 2/−rate steps), positive where it
    explodes. Along a long sequence it goes to the largest Lyapunov exponent.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or what `jacobian_norms` returned.
    direction : {"forward", "reverse"}

    Returns
    -------
    ndarray (B,), float64
        Lags whose norm is 0 or not finite are left out; NaN where fewer than two are left.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import viz
    >>> np.exp(viz.decay_rate(0.7 ** np.arange(10.0)[:, None])).round(9).tolist()
    [0.7]
    """
    norms = norms_by_lag(tape, direction)
    rate = np.full(norms.shape[1], np.nan)
    for b, row in enumerate(norms.T):
        lag = np.flatnonzero(np.isfinite(row) & (row > 0))
        lag = lag[lag >= 1]
        if lag.size >= 2:
            x = lag - lag.mean()
            rate[b] = x @ np.log(row[lag]) / (x @ x)
    return rate
