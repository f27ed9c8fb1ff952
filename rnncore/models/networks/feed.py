"""From sequences to the arrays that a network is fed.

The input at step t is the element before it, so that the output at t predicts
element t. Symbols go in as they are, and the number of symbols is START, what stands
before a sequence. Real values go in standardised; START is zeros, as is a missing
value, and where values may be missing a second half of the features says which
are there.

Ragged sequences are shared among lanes, and all lanes are walked at once in
windows::

    lane 0  [ sequence 4         ][ 1  ][ 7     ]
    lane 1  [ 0    ][ 5             ][ 2      ]      a window holds part of one
    lane 2  [ 3                  ][ 6        ]       sequence a lane
"""

from __future__ import annotations

import numpy as np

from rnncore.data import LazyWindows, Window


class Feed:
    """Batches of one kind of sequence."""

    def batch(self, arrays, spans):
        """One window of every lane, time first.

        Parameters
        ----------
        arrays : list of ``(T,)`` or ``(T, F)`` arrays
        spans : list of (item, begin, end), one a lane

        Returns
        -------
        Window
            x is ``(T, B)`` or ``(T, B, I)``, targets and what is counted ``(T, B)`` or
            ``(T, B, F)``; a row is fresh where a sequence begins.
        """
        lengths = np.array([end - begin for _, begin, end in spans], np.int64)
        fresh = np.array([begin == 0 for _, begin, _ in spans])
        x, target, counted = self._blank(int(lengths.max()), len(spans))
        for row, (item, begin, end) in enumerate(spans):
            first, steps = int(begin == 0), end - begin
            if steps:
                x[first:steps, row] = self.encode(arrays[item][begin - 1 + first : end - 1])
                target[:steps, row], counted[:steps, row] = self._aim(arrays[item][begin:end])
        return Window(x, target, lengths, counted, fresh)

    def windows(self, arrays, width, size, order):
        """The windows of a walk over all arrays, in lanes.

        Parameters
        ----------
        arrays : list of ``(T,)`` or ``(T, F)`` arrays
        width : int
            How many lanes.
        size : int
            Steps of a window, at most.
        order : sequence of int
            In which the arrays join the lanes.

        Returns
        -------
        LazyWindows
            Its plan is the spans of every window, as `spans` has them.
        """
        lengths = [len(a) for a in arrays]
        plan = list(spans(lengths, lanes(lengths, width, order), size))
        return LazyWindows(lambda window: self.batch(arrays, window), plan)

    def whole(self, arrays):
        """Whole sequences as input, no START: ``(x, lengths)``, time first."""
        lengths = np.array([len(a) for a in arrays], np.int64)
        x, _, _ = self._blank(int(lengths.max(initial=0)), len(arrays))
        for row, values in enumerate(arrays):
            x[: len(values), row] = self.encode(values)
        return x, lengths


class SymbolFeed(Feed):
    """Integer symbols ``0 .. size - 1``; START is `size`.

    Examples
    --------
    >>> feed = SymbolFeed(3)
    >>> window = feed.batch([np.array([2, 0]), np.array([1])], [(0, 0, 2), (1, 0, 1)])
    >>> window.x.T, window.targets.T, window.lengths
    (array([[3, 2],
           [3, 3]]), array([[2, 0],
           [1, 0]]), array([2, 1]))
    """

    symbols, loss = True, "cross_entropy"

    def __init__(self, size):
        self.size, self.inputs, self.outputs = size, size + 1, size

    def _blank(self, steps, rows):
        shape = (steps, rows)
        return np.full(shape, self.size), np.zeros(shape, np.int64), np.zeros(shape, bool)

    def encode(self, symbols):
        return symbols

    def _aim(self, symbols):
        return symbols, True


class RealFeed(Feed):
    """Real values ``(T, F)``, standardised by what the training data had.

    Parameters
    ----------
    shift, scale : ndarray ``(F,)``
    flags : bool
        Whether the input says which values are there.

    Examples
    --------
    >>> feed = RealFeed.learn([np.array([[0.0], [2.0], [np.nan]])], flags=True)
    >>> feed.shift, feed.scale, feed.encode(np.array([[3.0], [np.nan]]))
    (array([1.]), array([1.]), array([[2., 1.],
           [0., 0.]]))
    """

    symbols, loss = False, "mse"

    def __init__(self, shift, scale, flags, dtype="float32"):
        self.shift, self.scale, self.flags, self.dtype = shift, scale, flags, dtype
        self.outputs = len(shift)
        self.inputs = self.outputs * (2 if flags else 1)

    @classmethod
    def learn(cls, arrays, flags, dtype="float32"):
        values = np.concatenate(arrays)
        if len(values) == 0 or np.isnan(values).all(axis=0).any():
            raise ValueError("sequences: got a feature with no value at all, expected some")
        scale = np.nanstd(values, axis=0)
        return cls(np.nanmean(values, axis=0), np.where(scale > 0, scale, 1.0), flags, dtype)

    def _blank(self, steps, rows):
        target = np.zeros((steps, rows, self.outputs), self.dtype)
        x = np.zeros((steps, rows, self.inputs), self.dtype)
        return x, target, np.zeros(target.shape, bool)

    def encode(self, values):
        there = ~np.isnan(values)
        filled = np.where(there, (values - self.shift) / self.scale, 0.0)
        return np.concatenate([filled, there], axis=-1) if self.flags else filled

    def _aim(self, values):
        there = ~np.isnan(values)
        return np.where(there, (values - self.shift) / self.scale, 0.0), there


def lanes(lengths, width, order):
    """Share sequences among at most `width` lanes: each joins the one that is shortest so far.

    Examples
    --------
    >>> lanes([5, 1, 2, 3], 2, order=range(4))
    [[0], [1, 2, 3]]
    """
    queues: list[list[int]] = [[] for _ in range(min(width, len(order)))]
    filled = np.zeros(len(queues))
    for item in order:
        lane = int(filled.argmin())
        queues[lane].append(int(item))
        filled[lane] += lengths[item]
    return queues


def spans(lengths, queues, size):
    """Walk all lanes at once, in windows of at most `size` steps.

    Yields
    ------
    list of (item, begin, end)
        What the window holds of every lane. With ``begin == 0`` a sequence starts; an empty
        one (``begin == end``) means that the lane is done.

    Examples
    --------
    >>> for window in spans([5, 1, 2], [[0], [1, 2]], 3):
    ...     print(window)
    [(0, 0, 3), (1, 0, 1)]
    [(0, 3, 5), (2, 0, 2)]
    """
    rests = [iter([item for item in queue if lengths[item]]) for queue in queues]
    place = [(0, 0, 0)] * len(queues)  # item, where it is read up to, its length
    while True:
        window = []
        for lane, (item, read, end) in enumerate(place):
            if read == end and (following := next(rests[lane], None)) is not None:
                item, read, end = following, 0, lengths[following]
            stop = min(read + size, end)
            window.append((item, read, stop))
            place[lane] = (item, stop, end)
        if all(begin == stop for _, begin, stop in window):
            return
        yield window
