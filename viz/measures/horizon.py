"""Horizon: how far back a change of the state still has a noticeable effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._tapes import Direction, HasTape
from ._decay import norms_by_lag

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats
    from rnncore.recurrent.tape import Tape

__all__ = ["horizon"]


def horizon(tape: Tape | HasTape | ArrayLike, eps: float = 0.01, direction: Direction = "forward") -> Floats:
    """The largest lag k with ‖∂s_T/∂s_{T-k}‖ ≥ eps·‖∂s_T/∂s_{T-1}‖.

    There is no standard definition of a horizon; this one is rnncore's. Norms are compared with that at
    lag 1, as for the half-life, because in an LSTM the first step back differs from all others.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or the result of `jacobian_norms`.
    eps : float
        The smallest share of the norm at lag 1 that counts as an effect.
    direction : {"forward", "reverse"}
        As in `jacobian_norms`.

    Returns
    -------
    ndarray (B,), float64
        In steps. A row that ends before its norm has fallen below the threshold for good gives its last
        recorded lag, ``length − 1``. This is a lower bound: the true horizon is as long or longer, and reports
        and pictures write "≥" before it. 0 if the norm at lag 1 is 0; NaN for rows of fewer than two steps.

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
