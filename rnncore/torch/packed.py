"""Packed sequences.

The data of a PackedSequence are the rows that have step 0, the longest first, then those that have step 1, and so on.
This is also how the engine keeps rows of unequal length, so that nothing is copied in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore.recurrent.ragged import Batch

from .weights import as_array

if TYPE_CHECKING:
    from torch import Tensor


def as_batch(batch_sizes: Tensor, sorted_indices: Tensor | None) -> Batch:
    """The rows of a PackedSequence.

    Parameters
    ----------
    batch_sizes : tensor of int (T,)
        How many rows have each step.
    sorted_indices : tensor of int (B,) or None
        Which row of the caller's batch is at each place; None: they are in the caller's order.
    """
    active = np.ascontiguousarray(as_array(batch_sizes), np.intp)
    if active.ndim != 1 or not len(active) or (np.diff(active) > 0).any() or active[-1] < 0:
        raise ValueError(f"input: got a PackedSequence whose batch_sizes are {active.tolist()!r:.80}, expected numbers "
                         ">= 0 that do not increase, one for each step; make it by "
                         "torch.nn.utils.rnn.pack_padded_sequence")
    B = int(active[0])
    order = np.arange(B) if sorted_indices is None else np.ascontiguousarray(as_array(sorted_indices), np.intp)
    if order.shape != (B,) or (np.bincount(order, minlength=B) != 1).any():
        raise ValueError(f"input: got a PackedSequence whose sorted_indices are {order.tolist()!r:.80}, expected each "
                         f"of the {B} rows once")
    return Batch.of_active_rows(active, order)
