"""Half-life: the first lag at which half of the gradient is gone."""

from __future__ import annotations

import numpy as np

from ._decay import norms_by_lag

__all__ = ["half_life"]


def half_life(tape, direction: str = "forward") -> np.ndarray:
    """The first lag k whose ‖∂s_T/∂s_{T-k}‖ is under half of lag 1's.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or what `jacobian_norms` returned.
    direction : {"forward", "reverse"}

    Returns
    -------
    ndarray (B,), float64
        Steps; inf where no lag of the record is under half, NaN for rows under two steps.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import viz
    >>> viz.half_life(0.7 ** np.arange(10.0)[:, None]).tolist()
    [3.0]
    """
    norms = norms_by_lag(tape, direction)
    out = np.full(norms.shape[1], np.nan)
    for b, row in enumerate(norms.T):
        if len(row) > 1 and not np.isnan(row[1]):
            under = np.flatnonzero((row[1:] < row[1] / 2) | (row[1:] == 0))
            out[b] = under[0] + 1 if under.size else np.inf
    return out
