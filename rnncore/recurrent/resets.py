"""Resets inside a sequence: the steps before which the state of a row is zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Bools

    from .ragged import Batch, Batches


class Resets:
    """The resets of one direction of a layer, in the order in which the engine takes steps and rows.

    For several nets, marks (N, T, B), the arrays of `Batches` and `starts` have an axis of nets.

    A mark at step t separates the steps t − 1 and t. So in the forward direction the state before step t is zero, and
    in the reverse one, which comes from step t, that before step t − 1. Marks past a row's end have no effect.

    Attributes
    ----------
    starts : ndarray of intp (T + 1,)
        Where the rows that are reset before each step begin in `rows`, which is one array for all nets.
    rows : ndarray of intp
        The places of these rows in the order of the batch.
    """

    __slots__ = ("rows", "starts")

    def __init__(self, marks: Bools, batch: Batch | Batches | None, reverse: bool) -> None:
        *nets, T, _ = marks.shape
        *net, t, row = np.nonzero(marks)
        counted = t > 0 if reverse else np.ones(len(t), bool)       # in reverse nothing comes after step 0
        if batch is not None:
            counted &= t < batch.lengths[*net, row]
            row = batch.rank[*net, row]
        before = (t - 1 if reverse else t)[counted]
        if net:
            before += net[0][counted] * (T + 1)
        self.rows = np.ascontiguousarray(row[counted])
        steps = np.arange(math.prod(nets) * (T + 1)).reshape(*nets, T + 1)
        self.starts = np.searchsorted(before, steps)

    def of_net(self, k: int) -> Resets:
        """The resets of one net; its arrays are views."""
        own = object.__new__(Resets)
        own.starts, own.rows = self.starts[k], self.rows
        return own


def by_direction(marks: Bools | None, batch: Batch | Batches | None, directions: int) -> list[Resets | None]:
    """The resets of each direction of a layer; None where there are no marks."""
    return [None if marks is None else Resets(marks, batch, direction == 1) for direction in range(directions)]
