"""rnncore: an `Ensemble`, called, or recorded and taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ensembles import Nets
from .. import with_rnncore


class Peer(with_rnncore.Peer):
    """rnncore in this process."""

    def prepare(self, case: Nets, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers it returns."""
        all_arrays = case.arrays
        e = self.rnncore.Ensemble([self.layer(case.case, arrays) for arrays in all_arrays])
        x, grad_output = (np.stack([getattr(arrays, name) for arrays in all_arrays]) for name in ("x", "grad_output"))
        state: Any = tuple(np.stack(parts) for parts in zip(*(arrays.state for arrays in all_arrays), strict=True))
        return with_rnncore.passes(e, mode, x, state if case.cell == "LSTM" else state[0], None, grad_output)
