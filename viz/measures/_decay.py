"""How the norm of the Jacobian product decays with lag, for the measures that summarise this curve by a number."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .._door import array, measured
from .._tapes import Direction, HasTape
from .jacobian_norms import jacobian_norms

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats
    from rnncore.recurrent.tape import Tape


def norms_by_lag(tape: Tape | HasTape | ArrayLike, direction: Direction = "forward") -> Floats:
    """(T, B): the Jacobian norms of a tape; or norms that are given, as (T, B), or as (T,) for one row."""
    norms = np.asarray(measured(tape, partial(jacobian_norms, direction=direction), array("T", "B")), np.float64)
    return norms[:, None] if norms.ndim == 1 else norms
