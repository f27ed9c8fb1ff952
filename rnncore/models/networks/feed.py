"""From sequences to the input arrays of a network.

The input at step t is the element before it, so that the output at t predicts
element t. The input at the first step is START. Symbols are used as they are, with the number of
symbols as START. Real values are standardised; START and missing values are zeros. If values may be
missing, the input has a second half of features that are 1 where a value is present and 0 where it
is missing. Exogenous inputs, which are known at the step itself, follow in the same form: those at t
are of step t. A sequence with exogenous inputs is one array, with them in its last columns.

Of some features, see `Differences`, the network predicts the difference from the last known value instead of the value
itself, except for the first value of a sequence. The input of such a feature stays bounded where a series leaves the
range of the training data: its standardised value v is squashed to v / √(1 + (v/2)²), and one more input is the
difference of the value from the last known one before it.

Ragged sequences are distributed over lanes, the rows of a batch, and all lanes are processed together
in windows::

    lane 0  [ sequence 4         ][ 1  ][ 7     ]
    lane 1  [ 0    ][ 5             ][ 2      ]      in each lane, a window
    lane 2  [ 3                  ][ 6        ]       has a part of one sequence
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from rnncore.data import LazyWindows, Window
from rnncore.models.interface.scale import CONSTANT, learn_scale

if TYPE_CHECKING:
    from typing import Self

    from rnncore._typing import Array, Bools, DTypeLike, Floats
    from rnncore.models.interface.sequences import Codes

Span: TypeAlias = tuple[int, int, int]      # item, begin, end: a part of one sequence
Target: TypeAlias = Literal["auto", "value", "difference"]
LEVEL = 2.0  # the bound of the standardised values of a feature whose differences are predicted
TARGETS: tuple[Target, ...] = ("auto", "value", "difference")


class Feed:
    """Batches of one kind of sequence.

    Attributes
    ----------
    symbols : bool
        Whether the input is symbols; real values otherwise.
    loss : {"cross_entropy", "mse"}
    inputs, outputs : int
        The number of input symbols or features, and of the network's outputs.
    """

    symbols: bool
    loss: Literal["cross_entropy", "mse"]
    inputs: int
    outputs: int

    def encode(self, values: Array) -> Array:
        """The network's input for some elements."""
        raise NotImplementedError

    def _write(self, x: Array, values: Array, begin: int, end: int) -> None:
        """Write the input of the steps `begin` … `end` of a sequence to x, which has START at every step."""
        first = int(begin == 0)
        x[first:] = self.encode(values[begin - 1 + first : end - 1])

    def _blank(self, steps: int, rows: int) -> tuple[Array, Array, Bools]:
        """Input, targets and the mask of counted targets of a window without any element."""
        raise NotImplementedError

    def _aim(self, values: Array, begin: int, end: int) -> tuple[Array, Bools | bool]:
        """Targets of the steps `begin` … `end` of a sequence, and which of them are counted."""
        raise NotImplementedError

    def batch(self, arrays: Sequence[Array], spans: Sequence[Span], weights: Sequence[float] | None = None) -> Window:
        """One window of every lane, time first.

        Parameters
        ----------
        arrays : list of ``(T,)`` or ``(T, F)`` arrays
        spans : list of (item, begin, end), one per lane
        weights : list of float, optional
            One per array: the weights of its steps in the loss.

        Returns
        -------
        Window
            x is ``(T, B)`` or ``(T, B, I)``; targets and counted are ``(T, B)`` or
            ``(T, B, F)``; a row is fresh if a sequence begins in it.
        """
        lengths = np.array([end - begin for _, begin, end in spans], np.int64)
        fresh = np.array([begin == 0 for _, begin, _ in spans])
        x, target, counted = self._blank(int(lengths.max()), len(spans))
        for row, (item, begin, end) in enumerate(spans):
            steps = end - begin
            if steps:
                self._write(x[:steps, row], arrays[item], begin, end)
                target[:steps, row], counted[:steps, row] = self._aim(arrays[item], begin, end)
        shares = None if weights is None else np.array([weights[item] for item, _, _ in spans])
        return Window(x, target, lengths, counted, fresh, shares)

    def windows(
        self, arrays: Sequence[Array], width: int, size: int, order: Sequence[int] | Codes,
        weights: Sequence[float] | None = None,
    ) -> LazyWindows[Window]:
        """The windows of all arrays, distributed over lanes.

        Parameters
        ----------
        arrays : list of ``(T,)`` or ``(T, F)`` arrays
        width : int
            Number of lanes.
        size : int
            Steps of a window, at most.
        order : sequence of int
            The order in which the arrays are put into the lanes.
        weights : list of float, optional
            One per array.

        Returns
        -------
        LazyWindows
            Its plan is that of `plan`.
        """
        return LazyWindows(lambda window: self.batch(arrays, window, weights),
                           self.plan(arrays, width, size, order), continues=True)

    def plan(
        self, arrays: Sequence[Array], width: int, size: int, order: Sequence[int] | Codes
    ) -> list[list[Span]]:
        """The spans of every window of `windows`, one per lane."""
        lengths = [len(a) for a in arrays]
        return list(spans(lengths, lanes(lengths, width, order), size))

    def whole(self, arrays: Sequence[Array]) -> tuple[Array, Codes]:
        """Whole sequences as input, without START: ``(x, lengths)``, time first."""
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

    def __init__(self, size: int) -> None:
        self.size, self.inputs, self.outputs = size, size + 1, size

    def __repr__(self) -> str:
        return f"SymbolFeed({self.size})"

    def _blank(self, steps: int, rows: int) -> tuple[Array, Array, Bools]:
        shape = (steps, rows)
        return np.full(shape, self.size), np.zeros(shape, np.int64), np.zeros(shape, bool)

    def encode(self, values: Array) -> Array:
        return values

    def _aim(self, values: Array, begin: int, end: int) -> tuple[Array, bool]:
        return values[begin:end], True


class Differences(NamedTuple):
    """The features of which a network predicts the difference from the last known value, all ``(F,)``.

    Attributes
    ----------
    which : ndarray of bool
    shift, scale : ndarray
        Mean and deviation of the differences of these features; those of the values of all others.
    """

    which: Bools
    shift: Floats
    scale: Floats


class RealFeed(Feed):
    """Real values ``(T, F)``, standardised by the mean and deviation of the training data.

    Parameters
    ----------
    shift, scale : ndarray ``(F,)``
        Mean and deviation.
    flags : bool
        Whether the input has features that mark which values are present.
    dtype : dtype
        Of the network.
    exog : RealFeed, optional
        The form of the exogenous inputs.
    differences : Differences, optional
        The features of which differences are predicted, and how these are standardised.

    Examples
    --------
    >>> feed = RealFeed.learn([np.array([[0.0], [2.0], [np.nan]])], flags=True)
    >>> feed.shift, feed.scale, feed.encode(np.array([[3.0], [np.nan]]))
    (array([1.]), array([1.]), array([[2., 1.],
           [0., 0.]]))
    >>> feed = RealFeed.learn([np.array([[0.0], [2.0], [6.0]])], flags=False, target="difference")
    >>> feed.differences
    Differences(which=array([ True]), shift=array([3.]), scale=array([1.]))
    >>> feed.in_units(np.array([[0.5]]), last=np.array([[6.0]]))      # 6 + 3 + 0.5
    array([[9.5]])
    """

    symbols, loss = False, "mse"

    def __init__(
        self, shift: Floats, scale: Floats, flags: bool, dtype: DTypeLike = "float32", exog: RealFeed | None = None,
        differences: Differences | None = None,
    ) -> None:
        self.shift, self.scale, self.flags, self.dtype, self.exog = shift, scale, flags, dtype, exog
        self.outputs = len(shift)
        none = Differences(np.zeros(self.outputs, bool), shift, scale)
        self.differences = none if differences is None else differences
        self._own = self.outputs * (2 if flags else 1) + int(self.differences.which.sum())
        self.inputs = self._own + (0 if exog is None else exog.inputs)

    def __repr__(self) -> str:
        many = int(self.differences.which.sum())
        extra = f", {many} by differences" if many else ""
        extra += "" if self.exog is None else f", {self.exog.outputs} exogenous inputs"
        return f"RealFeed({self.outputs} features{' and flags' if self.flags else ''}, dtype={self.dtype!r}{extra})"

    @classmethod
    def learn(
        cls, arrays: Sequence[Floats], flags: bool, dtype: DTypeLike = "float32",
        weights: Sequence[float] | None = None, name: str = "sequences", target: Target = "value",
    ) -> Self:
        """The feed with the mean and deviation of `arrays`, weighted by those of each array.

        With the target "auto", differences of a feature are predicted if their deviation is below that of its values.
        """
        shares = None if weights is None else np.repeat(weights, [len(a) for a in arrays])
        values = np.concatenate(arrays)
        shift, scale, _ = learn_scale(values, shares, name=name)
        if target == "value":
            return cls(shift, scale, flags, dtype)
        plain = cls(shift, scale, flags, dtype)
        steps = np.concatenate([a - plain.last_known(a, 0, len(a)) for a in arrays])
        some = ~np.isnan(steps).all(axis=0)
        steps = np.where(some, steps, values)
        mean, deviation, _ = learn_scale(steps, shares, name=name)
        # Differences that are constant, or 0, but for the rounding of the values have no scale of their own.
        least = CONSTANT * np.nanmax(np.abs(values), axis=0)
        small = (deviation <= least) | (np.nanmax(np.abs(steps), axis=0) <= least)
        deviation = np.where(small, np.where(np.abs(mean) > least, np.abs(mean), scale), deviation)
        which = some & (deviation < scale) if target == "auto" else some
        differences = Differences(which, np.where(which, mean, shift), np.where(which, deviation, scale))
        return cls(shift, scale, flags, dtype, differences=differences)

    def _blank(self, steps: int, rows: int) -> tuple[Array, Array, Bools]:
        target: Array = np.zeros((steps, rows, self.outputs), self.dtype)
        x: Array = np.zeros((steps, rows, self.inputs), self.dtype)
        return x, target, np.zeros(target.shape, bool)

    def _write(self, x: Array, values: Array, begin: int, end: int) -> None:
        first = int(begin == 0)
        known = values[begin - 1 + first : end - 1, : self.outputs]
        x[first:, : self._own] = self.encode(known, self.last_known(values, begin - 1 + first, end - 1))
        if self.exog is not None:
            x[:, self._own :] = self.exog.encode(values[begin:end, self.outputs :])

    def encode(self, values: Floats, before: Floats | None = None) -> Floats:
        """The network's input for some elements ``(..., F)``.

        `before` ``(..., F)`` has the last known value before each of them, NaN where there is none.
        """
        present = ~np.isnan(values)
        which, shift, scale = self.differences
        levels = np.where(present, (values - self.shift) / self.scale, 0.0)
        parts: list[Array] = [levels]
        if which.any() and before is not None:
            parts = [np.where(which, levels / np.hypot(1.0, levels / LEVEL), levels)]
            steps = ((values - before - shift) / scale)[..., which]
            parts.append(np.where(np.isnan(steps), 0.0, steps))
        if self.flags:
            parts.append(present)
        return np.concatenate(parts, axis=-1)

    def _aim(self, values: Array, begin: int, end: int) -> tuple[Array, Bools]:
        base, unit = self._units(self.last_known(values, begin, end))
        values = values[begin:end, : self.outputs]
        present = ~np.isnan(values)
        return np.where(present, (values - base) / unit, 0.0), present

    def last_known(self, values: Floats, begin: int, end: int) -> Floats:
        """The last known value of every feature before each of the steps `begin` … `end`; NaN where there is none."""
        last: Floats = np.full((end - begin, self.outputs), np.nan)
        first = int(begin == 0)
        last[first:] = values[begin - 1 + first : max(end - 1, 0), : self.outputs]
        if not np.isnan(last[first:]).any():
            return last
        size = 1
        while size < begin and np.isnan(last[0]).any():     # look back twice as far
            size = min(2 * size, begin)
            part = values[begin - size : begin, : self.outputs]
            back = np.argmax(~np.isnan(part[::-1]), axis=0)
            last[0] = part[size - 1 - back, np.arange(self.outputs)]
        rows = np.where(np.isnan(last), 0, np.arange(len(last))[:, None])
        filled: Floats = np.take_along_axis(last, np.maximum.accumulate(rows, axis=0), axis=0)
        return filled

    def _units(self, last: Floats) -> tuple[Floats, Floats]:
        """``(base, unit)`` of outputs after the last known values ``(..., F)``: a value is base + unit · output."""
        which, shift, scale = self.differences
        known = which & ~np.isnan(last)
        return np.where(known, last + shift, self.shift), np.where(known, scale, self.scale)

    def in_units(self, output: Array, last: Floats) -> Floats:
        """Real values ``(..., F)`` in the data's units, from the network's outputs and the last known values."""
        base, unit = self._units(last)
        values: Floats = output.astype(np.float64) * unit + base
        return values


def lanes(lengths: Sequence[int], width: int, order: Sequence[int] | Codes) -> list[list[int]]:
    """Distribute sequences over at most `width` lanes: each is put into the lane that is shortest so far.

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


def spans(lengths: Sequence[int], queues: Sequence[Sequence[int]], size: int) -> Iterator[list[Span]]:
    """The parts of all lanes, in windows of at most `size` steps.

    Yields
    ------
    list of (item, begin, end)
        One span per lane. With ``begin == 0`` a sequence starts; an empty
        span (``begin == end``) means that the lane is finished.

    Examples
    --------
    >>> for window in spans([5, 1, 2], [[0], [1, 2]], 3):
    ...     print(window)
    [(0, 0, 3), (1, 0, 1)]
    [(0, 3, 5), (2, 0, 2)]
    """
    rests = [iter([item for item in queue if lengths[item]]) for queue in queues]
    place = [(0, 0, 0)] * len(queues)  # item, the step up to which it has been read, its length
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
