"""Resets inside a sequence: the steps before which the state of a row is zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Bools

    from .ragged import Batch


class Resets:
    """The resets of one direction of a layer, in the order in which the engine takes steps and rows.

    A mark at step t separates the steps t − 1 and t. So in the forward direction the state before step t is zero, and
    in the reverse one, which comes from step t, that before step t − 1. Marks past a row's end have no effect.

    Attributes
    ----------
    starts : ndarray of intp (T + 1,)
        Where the rows that are reset before each step begin in `rows`.
    rows : ndarray of intp
        The places of these rows in the order of the batch.
    """

    __slots__ = ("rows", "starts")

    def __init__(self, marks: Bools, batch: Batch | None, reverse: bool) -> None:
        t, row = np.nonzero(marks)
        if batch is not None:
            has_step = t < batch.lengths[row]
            t, row = t[has_step], batch.rank[row[has_step]]
        if reverse:
            first = int(np.searchsorted(t, 1))      # nothing comes before step 0
            t, row = t[first:] - 1, row[first:]
        self.rows = np.ascontiguousarray(row)
        self.starts = np.searchsorted(t, np.arange(len(marks) + 1))
