"""Horizon: how far back a change of the state can still be felt."""

from __future__ import annotations

import numpy as np

from ._decay import norms_by_lag

__all__ = ["horizon"]


def horizon(tape, eps: float = 0.01, direction: str = "forward") -> np.ndarray:
    """The largest lag k with ‖∂s_T/∂s_{T-k}‖ ≥ eps·‖∂s_T/∂s_{T-1}‖.

    There is no standard definition; this one is ours. Lag 1 is the reference, as for the
    half-life, since the first step back differs from all others in an LSTM.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or what `jacobian_norms` returned.
    eps : float
        The share of lag 1 that counts as remembered.
    direction : {"forward", "reverse"}

    Returns
    -------
    ndarray (B,), float64
        Steps. At the last lag there is (``length − 1``) the true horizon may be longer. NaN for
        rows under two steps.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import viz
    >>> viz.horizon(0.5 ** np.arange(10.0)[:, None], eps=0.1).tolist()
    [4.0]
    """
    if not eps > 0:
        raise ValueError(f"eps: got {eps}, expected a share above 0, such as 0.01")
    norms = norms_by_lag(tape, direction)
    out = np.full(norms.shape[1], np.nan)
    for b, row in enumerate(norms.T):
        if len(row) > 1 and not np.isnan(row[1]):
            felt = np.flatnonzero((row[1:] >= eps * row[1]) & (row[1:] > 0))
            out[b] = felt[-1] + 1 if felt.size else 0
    return out
