"""PyTorch on rows of unequal length, packed: ``pack_padded_sequence`` before the layer, ``pad_packed_sequence`` after.

It computes only the steps that a row has. See `with_torch` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..cases import Case
from . import Unsupported, with_torch


class Peer(with_torch.Peer):
    """torch in this process."""

    pads = False

    def prepare(self, case: Case, mode: str) -> tuple[Callable, Callable]:
        if not case.ragged:
            raise Unsupported("the rows have equal lengths")
        return super().prepare(case, mode)

    def runner(self, module: Any, case: Case) -> Callable:
        rnn, lengths = self.torch.nn.utils.rnn, self.torch.from_numpy(case.lengths)

        def run(x: Any, state: Any) -> Any:
            packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            output, final = module(packed, state)
            return rnn.pad_packed_sequence(output, total_length=case.T)[0], final

        return run
