"""Half-life: the first lag at which less than half of the gradient remains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._tapes import Direction, HasTape
from ._decay import norms_by_lag

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats
    from rnncore.recurrent.tape import Tape

__all__ = ["half_life"]


def half_life(tape: Tape | HasTape | ArrayLike, direction: Direction = "forward") -> Floats:
    """The first lag k at which ‖∂s_T/∂s_{T-k}‖ is less than half of its value at lag 1.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or the result of `jacobian_norms`.
    direction : {"forward", "reverse"}
        As in `jacobian_norms`.

    Returns
    -------
    ndarray (B,), float64
        In steps. If this is so at no recorded lag it is inf, which stands for "longer than the row", that is at
        least its length; reports and pictures write "≥" and the length. NaN for rows of fewer than two steps.

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
