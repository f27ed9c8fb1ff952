"""How the norm of the Jacobian product decays with lag, for the measures that summarise this curve by a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._tapes import Direction, is_tape
from .jacobian_norms import jacobian_norms

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats
    from rnncore.recurrent.tape import Tape


def norms_by_lag(tape: Tape | ArrayLike, direction: Direction = "forward") -> Floats:
    """(T, B): the Jacobian norms of a tape; or norms that are given, as (T, B), or as (T,) for one row."""
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
