"""Counts of what follows every context of up to k symbols, sparse.

The contexts that occur form a trie, newest symbol first: the node of a
context of k symbols is a child of the node of its k − 1 newest ones. Level k is
one sorted array of keys ``parent · (n + 1) + oldest symbol``, and a node is
an index into it, so that all steps of a text are looked up at once by binary search.
Memory grows with the data and not with n**k. −1 is the node of contexts that were never seen.

Steps before the beginning of a sequence count as a symbol of their own, START = n, which occurs in
contexts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Floats
    from rnncore.models.interface.sequences import Codes


class ContextTrie:
    """The contexts of 0 … order symbols that occur.

    Parameters
    ----------
    size : int
        Number of symbols n.
    keys : list of int64 arrays
        Sorted keys of level 1 … order.
    """

    def __init__(self, size: int, keys: list[Codes]) -> None:
        self.size, self.keys = size, keys

    @property
    def order(self) -> int:
        """Symbols of the longest contexts."""
        return len(self.keys)

    def contexts(self, level: int) -> int:
        """Number of contexts of `level` symbols that occur."""
        return len(self.keys[level - 1]) if level else 1

    @classmethod
    def grow(cls, size: int, order: int, symbols: Codes, before: Codes) -> tuple[Self, list[Codes]]:
        """The trie of all contexts in training data, and the node of every step's context.

        Parameters
        ----------
        size, order : int
        symbols : int64 ``(N,)``
            All sequences, one after the other.
        before : int64 ``(N,)``
            How many symbols of the same sequence precede every step.

        Returns
        -------
        trie : ContextTrie
        nodes : list of int64 ``(N,)``
            Level 0 … order.
        """
        nodes, keys = [np.zeros(len(symbols), np.int64)], []
        for level in range(1, order + 1):
            wanted = nodes[-1] * (size + 1) + _back(symbols, before, level, size)
            found, node = np.unique(wanted, return_inverse=True)
            keys.append(found)
            nodes.append(node)
        return cls(size, keys), nodes

    def find(self, symbols: Codes, before: Codes) -> list[Codes]:
        """The nodes of the context of every step: a list of ``(N,)``, level 0 … order."""
        nodes = [np.zeros(len(symbols), np.int64)]
        for level, keys in enumerate(self.keys, start=1):
            wanted = nodes[-1] * (self.size + 1) + _back(symbols, before, level, self.size)
            place = find(keys, wanted)
            nodes.append(np.where(nodes[-1] >= 0, place, -1))
        return nodes

    def spell(self, level: int) -> Codes:
        """Row of every context of a level in the table of all n**level contexts; −1 if it has START in it.

        The rows are ordered with the oldest symbol first.
        """
        place = np.zeros(1, np.int64)
        for k, keys in enumerate(self.keys[:level], start=1):
            parent, oldest = keys // (self.size + 1), keys % (self.size + 1)
            inside = (place[parent] >= 0) & (oldest < self.size)
            place = np.where(inside, oldest * self.size ** (k - 1) + place[parent], -1)
        return place


class Level:
    """One level of a smoothed chain: P(x | c) = own(c, x) + rest(c) · P_below(x | c′).

    Parameters
    ----------
    pairs : int64 ``(P,)``, sorted
        ``node · n + symbol`` of what was counted.
    counts : float64 ``(P,)``
    contexts : int
        Number of nodes of this level.
    size : int
        Number of symbols n.
    discount : float
        Taken from every count and given to the level below.
    added : float
        A further mass for the level below (α·n).
    """

    def __init__(
        self, pairs: Codes, counts: Floats, contexts: int, size: int, discount: float, added: float
    ) -> None:
        self.pairs, self.size = pairs, size
        owner = pairs // size
        # One entry more than contexts: node −1 indexes the last one, which stands for unseen contexts.
        total = np.append(np.bincount(owner, counts, minlength=contexts), 0.0)
        kinds = np.append(np.bincount(owner, minlength=contexts), 0)
        mass = total + added
        self.rest = np.ones(contexts + 1)
        np.divide(added + discount * kinds, mass, out=self.rest, where=mass > 0)
        self.probability: Floats = np.maximum(counts - discount, 0.0) / mass[owner]

    def own(self, node: Codes, symbols: Codes) -> Floats:
        """The part of P(symbol | node) that was counted at this level; arrays of one shape."""
        if len(self.pairs) == 0:
            return np.zeros(len(symbols))
        place = find(self.pairs, node * self.size + symbols)
        return np.where(place >= 0, self.probability[place], 0.0)

    def after(self, node: int) -> tuple[Codes, Floats]:
        """The symbols counted after one node, and the part of their probability that was counted."""
        begin, end = np.searchsorted(self.pairs, [node * self.size, (node + 1) * self.size])
        return self.pairs[begin:end] - node * self.size, self.probability[begin:end]


def find(keys: Codes, wanted: Codes) -> Codes:
    """Indices of `wanted` in sorted `keys`, −1 for values that are not in them."""
    if len(keys) == 0:
        return np.full(np.shape(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def steps_before(lengths: Sequence[int] | Codes) -> Codes:
    """How many steps of the same sequence precede every step, for sequences one after the other.

    Examples
    --------
    >>> steps_before([2, 0, 3])
    array([0, 1, 0, 1, 2])
    """
    lengths = np.asarray(lengths, np.int64)
    starts = np.cumsum(lengths) - lengths
    before: Codes = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    return before


def _back(symbols: Codes, before: Codes, lag: int, start: int) -> Codes:
    """The symbol `lag` steps before every step, `start` where that is before the sequence's beginning."""
    back = np.full(len(symbols), start, np.int64)
    inside = np.flatnonzero(before >= lag)
    back[inside] = symbols[inside - lag]
    return back
