"""Many nets of one shape at once: what is measured, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from . import twin
from .cases import Arrays, Case
from .twin import Numbers


@dataclass(frozen=True)
class Nets:
    """So many layers with weights of their own, each with a batch of its own.

    Examples
    --------
    >>> nets = Nets(64, Case("LSTM", T=60, B=1, I=12, H=32))
    >>> nets.label
    '64 nets of 60,1,12,32'
    """

    count: int
    case: Case

    @property
    def label(self) -> str:
        return f"{self.count} nets of {self.case.label}"

    @property
    def cell(self) -> str:
        return self.case.cell

    @property
    def dtype(self) -> str:
        return self.case.dtype

    @cached_property
    def arrays(self) -> list[Arrays]:
        """The arrays of each net."""
        return [Arrays.draw(self.case, seed) for seed in range(self.count)]

    def flops(self, mode: str) -> int:
        """As in `Case.flops`, of all nets."""
        return self.count * self.case.flops(mode)


def stacked(parts: list[Numbers]) -> Numbers:
    """Arrays of each net as one, with an axis of nets in front."""
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def numbers(nets: Nets, mode: str) -> Numbers:
    """The outputs of all nets and, for training, their gradients, each (N, …)."""
    return stacked([twin.numbers(nets.case, mode, arrays) for arrays in nets.arrays])


NETS = tuple(Nets(64, Case(cell, T=60, B=1, I=12, H=32)) for cell in ("LSTM", "GRU", "RNN"))
