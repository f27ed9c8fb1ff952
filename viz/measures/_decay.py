"""How the norm of the Jacobian product decays with lag, for the measures that summarise this curve by a number."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .._door import Form, array, measured, narrowed, not_negative
from .._tapes import Direction, HasTape
from .jacobian_norms import jacobian_norms

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats
    from rnncore.recurrent.tape import Tape


SIZES = not_negative(array("T", "B"))
NORMS = narrowed(
    SIZES,
    "that start with 1, the norm at lag 0,",
    lambda norms: bool(((np.abs(norms[:1] - 1) < 1e-3) | np.isnan(norms[:1])).all()),
)


def norms_by_lag(
    tape: Tape | HasTape | ArrayLike, direction: Direction = "forward", *, form: Form = SIZES
) -> Floats:
    """(T, B): the Jacobian norms of a tape; or norms that are given, as (T, B), or as (T,) for one row."""
    norms = np.asarray(measured(tape, partial(jacobian_norms, direction=direction), form), np.float64)
    return norms[:, None] if norms.ndim == 1 else norms


def last_lag(norms: Floats) -> Floats:
    """(B,): the last lag at which a row has a number; NaN for rows of fewer than two steps."""
    steps: Floats = (~np.isnan(norms)).sum(0) - 1.0
    return np.where(steps > 0, steps, np.nan)
