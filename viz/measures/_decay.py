"""Where the measures of the decay curve get it from."""

from __future__ import annotations

import numpy as np

from .._tapes import is_tape
from .jacobian_norms import jacobian_norms


def norms_by_lag(tape, direction: str = "forward") -> np.ndarray:
    """(T, B): the norms themselves, or those of a tape."""
    if is_tape(tape):
        return jacobian_norms(tape, direction)
    norms = np.asarray(tape, np.float64)
    if norms.ndim == 1:
        norms = norms[:, None]
    if norms.ndim != 2:
        raise ValueError(
            f"tape: got an array of shape {norms.shape}, expected a tape or (T, B), as from "
            "viz.jacobian_norms"
        )
    return norms
