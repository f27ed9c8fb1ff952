"""Centroid: the mean lag, weighted by how much of the gradient remains at each lag."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._tapes import Direction, HasTape
from ._decay import norms_by_lag

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats
    from rnncore.recurrent.tape import Tape

__all__ = ["centroid"]


def centroid(tape: Tape | HasTape | ArrayLike, direction: Direction = "forward") -> Floats:
    """The mean lag Σ_k k·n_k / Σ_k n_k over lags k ≥ 1, weighted by the norms n_k = ‖∂s_T/∂s_{T-k}‖.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or the result of `jacobian_norms`.
    direction : {"forward", "reverse"}
        As in `jacobian_norms`.

    Returns
    -------
    ndarray (B,), float64
        In steps; for n_k = γᵏ and a long sequence it is 1/(1 − γ). Lags beyond the row's end are missing from
        both sums, so it is a lower bound where the norm has not yet fallen to a small share at the last recorded
        lag; reports and pictures write "≥" where the `horizon` is the last lag. NaN for rows of fewer than
        two steps, and where every n_k is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import viz
    >>> viz.centroid(0.75 ** np.arange(200.0)[:, None]).round(6).tolist()
    [4.0]
    """
    norms = norms_by_lag(tape, direction)[1:]
    lag = np.arange(1, len(norms) + 1)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        weight: Floats = norms / np.nanmax(norms, 0, initial=0.0)  # so that the sums do not overflow
        mean: Floats = np.nansum(lag * weight, 0) / np.nansum(weight, 0)
    return mean
