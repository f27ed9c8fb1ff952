"""Small layers with one row, of which the time of a single step is measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import twin
from .cases import Arrays, Case
from .twin import Numbers

T = 9600        # steps of a call, a multiple of BLOCK
BLOCK = 64      # steps of a block
SIZES = ((1, 8), (8, 8), (1, 16), (16, 16), (1, 32), (8, 32), (32, 32), (1, 64), (64, 64))   # I, H
STEPS = tuple(Case(cell, T, 1, I, H) for I, H in SIZES for cell in ("LSTM", "GRU"))


def arrays_of(case: Case) -> Arrays:
    """The arrays of a case, with an initial state of zeros."""
    arrays = Arrays.draw(case)
    return replace(arrays, state=tuple(np.zeros_like(part) for part in arrays.state))


def numbers(case: Case, mode: str = "forward") -> Numbers:
    """The outputs (T, 1, H).

    Examples
    --------
    >>> numbers(Case("GRU", T=3, B=1, I=2, H=4))["output"].shape
    (3, 1, 4)
    """
    return {"output": twin.numbers(case, mode, arrays_of(case))["output"]}
