"""Batches of sequences of unequal length: the order in which the engine takes their rows, and where it keeps them."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _engine

if TYPE_CHECKING:
    from rnncore._typing import Array, Ints


class Batch:
    """The rows of a batch whose sequences have unequal lengths.

    The engine computes and stores only the steps that a row has. For this the rows are sorted, the longest first and
    otherwise in their order, so that the rows that have a step are the first ones: its active rows. An array holds the
    active rows of step 0, then those of step 1, and so on, as (N, 1, …), where N is the sum of the lengths.

    Attributes
    ----------
    lengths : ndarray of intp (B,)
        The number of steps of each row.
    steps : int
        T; no row has more steps.
    order, rank : ndarray of intp (B,)
        Place p among the sorted rows is that of row ``order[p]``; row b has the place ``rank[b]``.
    sorted_lengths : ndarray of intp (B,)
    starts : ndarray of intp (T + 1,)
        Where the active rows of each step begin along N; the last one is N.
    N : int
        The sum of the lengths.
    """

    __slots__ = ("N", "lengths", "order", "rank", "sorted_lengths", "starts", "steps")

    def __init__(self, lengths: Ints, steps: int) -> None:
        self.lengths, self.steps = lengths, steps
        self.order, self.rank, self.sorted_lengths = np.empty((3, len(lengths)), np.intp)
        self.starts = np.empty(steps + 1, np.intp)
        _engine.arrange(self)
        self.N = self.starts.item(steps)

    @classmethod
    def of_plain(cls, lengths: object, x: object, batch_first: bool) -> tuple[bool, Batch | None]:
        """Whether arguments of a layer need no conversion, and their batch then; None: every row has all steps."""
        if lengths is None:
            return True, None
        batch = object.__new__(cls)
        found = _engine.arrange_plain(batch, lengths, x, batch_first)
        return found is not None, batch if found else None

    @classmethod
    def of_active_rows(cls, active: Ints, order: Ints) -> Batch:
        """The batch whose rows someone else has sorted: `order` is its order, and ``active[t]`` rows have step t."""
        batch = object.__new__(cls)
        batch.steps, batch.order = len(active), order
        batch.starts = np.zeros(len(active) + 1, np.intp)
        np.cumsum(active, out=batch.starts[1:])
        batch.N = batch.starts.item(batch.steps)
        batch.sorted_lengths = np.searchsorted(-active, -np.arange(len(order))).astype(np.intp)
        batch.rank, batch.lengths = np.empty((2, len(order)), np.intp)
        batch.rank[order], batch.lengths[order] = np.arange(len(order)), batch.sorted_lengths
        return batch

    def between(self, start: int, stop: int) -> Batch:
        """The batch of the steps start .. stop."""
        part = copy(self)
        part.lengths, part.sorted_lengths = (
            np.clip(lengths - start, 0, stop - start) for lengths in (self.lengths, self.sorted_lengths))
        part.steps, part.starts = stop - start, self.starts[start:stop + 1] - self.starts[start]
        part.N = part.starts.item(part.steps)
        return part

    def gather(self, padded: Array) -> Array:
        """(T, B, F) in the caller's order -> (N, 1, F), in memory that is kept for the next pass."""
        found: Array = _engine.carve("gradients", padded.dtype, ((self.N, 1, padded.shape[-1]),))[0]
        _engine.gather(padded, found, self)
        return found

    def spread(self, active: Array) -> Array:
        """(N, 1, F) -> (T, B, F) in the caller's order, with zeros past the rows' ends."""
        padded = self.room(active.shape[-1], active.dtype)
        if not self.mostly_padding:
            _engine.clear(padded, self)
        _engine.spread(active, padded, self)
        return padded

    def room(self, features: int, dtype: np.dtype[Any]) -> Array:
        """A new array (T, B, F); it has zeros past the rows' ends only where it is `mostly_padding`."""
        return (np.zeros if self.mostly_padding else _engine.room)((self.steps, len(self.order), features), dtype)

    @property
    def mostly_padding(self) -> bool:
        """Whether a new array should be of zeros, which the system hands out by the page, instead of being cleared."""
        return _engine.is_mostly_padding(self.steps, len(self.order), self.N)

    def sorted(self, state: Array) -> Array:
        """(n, B, H) in the caller's order -> (n, B, H) in that of the engine, a copy."""
        return _engine.reorder(state, self.order)

    def in_given_order(self, state: Array) -> Array:
        """The inverse of `sorted`."""
        return _engine.reorder(state, self.rank)


class Batches:
    """The rows of several nets, each with a batch of its own: see `Batch`, whose arrays have an axis of nets here.

    The active rows of a net are in an array (nets, R, 1, …), which has room for those of the net with the most.

    Attributes
    ----------
    lengths, order, rank, sorted_lengths : ndarray of intp (nets, B)
    starts : ndarray of intp (nets, T + 1)
    steps : int
        T.
    first : ndarray of intp (nets,)
        Where the rows of the first step lie in arrays that hold the steps of a whole pass: 0, or in a part of a pass
        (see `between`) more.
    """

    __slots__ = ("first", "lengths", "order", "rank", "sorted_lengths", "starts", "steps")

    def __init__(self, lengths: Ints, steps: int) -> None:
        self.lengths, self.steps = lengths, steps
        self.order, self.rank, self.sorted_lengths = np.empty((3, *lengths.shape), np.intp)
        self.starts = np.empty((len(lengths), steps + 1), np.intp)
        self.first = np.zeros(len(lengths), np.intp)
        _engine.arrange(self)

    @property
    def N(self) -> int:
        """The most active rows of a net."""
        return int(self.starts[:, -1].max())

    def of_net(self, k: int) -> Batch:
        """The batch of one net; its arrays are views."""
        batch = Batch.__new__(Batch)
        batch.steps = self.steps
        for name in ("lengths", "order", "rank", "sorted_lengths", "starts"):
            setattr(batch, name, getattr(self, name)[k])
        batch.N = batch.starts.item(batch.steps)
        return batch

    def between(self, start: int, stop: int) -> Batches:
        """The batches of the steps start .. stop of a whole pass."""
        part = copy(self)
        part.lengths, part.sorted_lengths = (
            np.clip(lengths - start, 0, stop - start) for lengths in (self.lengths, self.sorted_lengths))
        part.steps, part.first = stop - start, np.ascontiguousarray(self.starts[:, start])
        part.starts = self.starts[:, start:stop + 1] - part.first[:, None]
        return part

    def gather(self, padded: Array) -> Array:
        """(nets, T, B, F) in the caller's order -> (nets, R, 1, F)."""
        found: Array = np.empty((len(padded), self.N, 1, padded.shape[-1]), padded.dtype)
        _engine.gather(padded, found, self)
        return found

    def spread(self, active: Array) -> Array:
        """(nets, R, 1, F) -> (nets, T, B, F) in the caller's order, with zeros past the rows' ends."""
        padded: Array = np.zeros((len(active), self.steps, self.order.shape[1], active.shape[-1]), active.dtype)
        _engine.spread(active, padded, self)
        return padded

    def sorted(self, state: Array) -> Array:
        """(nets, n, B, H) in the caller's order -> (nets, n, B, H) in that of the engine, a copy."""
        return np.ascontiguousarray(np.take_along_axis(state, self.order[:, None, :, None], 2))

    def in_given_order(self, state: Array) -> Array:
        """The inverse of `sorted`."""
        return np.ascontiguousarray(np.take_along_axis(state, self.rank[:, None, :, None], 2))
