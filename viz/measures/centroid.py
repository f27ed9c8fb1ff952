"""Centroid: the mean lag of what is remembered."""

from __future__ import annotations

import numpy as np

from ._decay import norms_by_lag

__all__ = ["centroid"]


def centroid(tape, direction: str = "forward") -> np.ndarray:
    """Σ_k k·n_k / Σ_k n_k over lags k ≥ 1, with n_k = ‖∂s_T/∂s_{T-k}‖.

    Parameters
    ----------
    tape : Tape, or ndarray (T, B)
        A tape, or what `jacobian_norms` returned.
    direction : {"forward", "reverse"}

    Returns
    -------
    ndarray (B,), float64
        Steps; for n_k = γᵏ without end it is 1/(1 − γ). NaN for rows under two steps or all 0.

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
        weight = norms / np.nanmax(norms, 0, initial=0.0)  # so that sums do not overflow
        return np.nansum(lag * weight, 0) / np.nansum(weight, 0)
