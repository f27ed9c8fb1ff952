"""The input and targets of one update of training, and a text cut into such windows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import numpy as np

from rnncore._checks import Fixed, as_size

from .text import TextError

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools

WINDOW = "(x, targets) or (x, targets, lengths)"

T = TypeVar("T")


class Window(NamedTuple):
    """The input and targets of one update of training, as arrays in the layout of the model.

    Attributes
    ----------
    x : array
        Tokens (T, B) or real values (T, B, I).
    targets : array
        One target for each step or, with another readout than "steps", for each sequence.
    lengths : integer array (B,), optional
        Steps of each row; None if all rows are full.
    counted : boolean array, optional
        True for steps, or single values of the targets, that are part of the loss; None stands for all
        steps inside `lengths`.
    fresh : boolean array (B,), optional
        Rows in which a sequence begins: their state is set to zero before the first step.
    weights : array (B,), optional
        Weights of the rows in the mean loss; None stands for equal ones.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.data import Window
    >>> x = np.zeros((5, 2), int)
    >>> window = Window(x, x, fresh=np.array([True, False]))
    >>> window.lengths is None
    True
    """

    x: Array
    targets: Array
    lengths: Array | None = None
    counted: Bools | None = None
    fresh: Bools | None = None
    weights: Array | None = None


def as_window(window: Any, name: str) -> Window:
    """A `Window` of a tuple or list with two or three parts; anything else is refused."""
    if isinstance(window, Window):
        return window
    if not isinstance(window, (tuple, list)) or len(window) not in (2, 3):
        size = f" of {len(window)}" if isinstance(window, (tuple, list)) else ""
        raise TypeError(f"{name}: got a {type(window).__name__}{size}, expected {WINDOW}, a tuple, or a Window")
    return Window(*window)


def as_windows(windows: Sequence[T], name: str) -> Sequence[T]:
    """`windows`, refused if there are none or if they are not a sequence."""
    counted = hasattr(windows, "__len__") and hasattr(windows, "__getitem__")
    if not counted or isinstance(windows, (str, bytes, Mapping)):
        raise TypeError(
            f"{name}: got {type(windows).__name__}, expected a sequence of {WINDOW}; turn an iterator into "
            "a list"
        )
    if not len(windows):
        raise ValueError(f"{name}: got none, expected at least one {WINDOW}")
    if isinstance(windows, (list, tuple)):  # other sequences may compute a window, or draw it at random
        as_window(windows[0], f"{name}[0]")
    return windows


class LazyWindows(Sequence[T]):
    """A sequence whose windows are computed on access, by ``make(plan[i])``.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.data import LazyWindows
    >>> windows = LazyWindows(lambda n: (np.full((3, 2), n), np.zeros((3, 2), int)), range(10**6))
    >>> len(windows), windows[70][0][0, 0].item()
    (1000000, 70)
    """

    def __init__(self, make: Callable[[Any], T], plan: Sequence[Any]) -> None:
        self._make, self._plan = make, plan

    def __len__(self) -> int:
        return len(self._plan)

    def __repr__(self) -> str:
        return f"LazyWindows({len(self)} windows)"

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return LazyWindows(self._make, self._plan[index])
        return self._make(self._plan[index])


class Batches(Fixed, Sequence[tuple["Array", "Array"]]):
    """Windows over `batch_size` rows of a text, for training with a state that is carried on.

    The tokens are cut into `batch_size` rows of equal length; window i has the steps
    ``i·steps … (i+1)·steps`` of every row, so row b of window i+1 continues row b of window i.
    Tokens at the end that do not fill a row are left out. Windows are read-only.

    Parameters
    ----------
    tokens : integer array (N,)
    batch_size, steps : int
    drop_last : bool
        Whether the last window is left out if it is shorter than `steps`.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.data import batches
    >>> windows = batches(np.arange(13), batch_size=2, steps=3)
    >>> len(windows)
    2
    >>> x, targets = windows[1]
    >>> x.T.tolist(), targets.T.tolist()
    ([[3, 4, 5], [9, 10, 11]], [[4, 5, 6], [10, 11, 12]])
    """

    _fixed = frozenset({"batch_size", "steps"})

    batch_size: int
    steps: int

    def __init__(self, tokens: ArrayLike, batch_size: int, steps: int, *, drop_last: bool = True) -> None:
        batch_size, steps = as_size(batch_size, "batch_size"), as_size(steps, "steps")
        tokens = np.asarray(tokens)
        length = (len(tokens) - 1) // batch_size
        windows = length // steps if drop_last else -(-length // steps)
        if windows < 1:
            raise TextError(
                f"tokens: got {len(tokens)}, expected at least "
                f"{batch_size * (steps if drop_last else 1) + 1} for {batch_size} rows"
            )
        rows = np.arange(batch_size)[:, None] * length + np.arange(length + 1)
        self._rows = np.ascontiguousarray(tokens[rows].T)  # (length + 1, batch)
        self._rows.flags.writeable = False
        self._windows, self._length = windows, length
        self.batch_size, self.steps = batch_size, steps

    def __len__(self) -> int:
        return self._windows

    def __repr__(self) -> str:
        return f"Batches({len(self)} windows of {self.steps} steps and {self.batch_size} rows)"

    @overload
    def __getitem__(self, index: int) -> tuple[Array, Array]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[Array, Array]]: ...
    def __getitem__(self, index: int | slice) -> tuple[Array, Array] | Sequence[tuple[Array, Array]]:
        if isinstance(index, slice):
            return [self[i] for i in range(self._windows)[index]]
        start = range(self._windows)[index] * self.steps
        end = min(start + self.steps, self._length)
        return self._rows[start:end], self._rows[start + 1 : end + 1]

    @cached_property
    def _fingerprint(self) -> str:
        return _digest(self)


batches = Batches


def fingerprint(windows: Sequence[Any]) -> str | None:
    """A digest of training data: runs with the same digest were trained on the same data.

    Parameters
    ----------
    windows : sequence of tuples of arrays

    Returns
    -------
    str or None
        None for sequences other than `batches`, lists and tuples: they may read their windows from a file
        or draw them at random, so a digest would take time or change the run.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.data import batches, fingerprint
    >>> tokens = np.arange(13)
    >>> fingerprint(batches(tokens, 2, 3)) == fingerprint(list(batches(tokens, 2, 3)))
    True
    >>> fingerprint(batches(tokens, 2, 3)) == fingerprint(batches(tokens[::-1], 2, 3))
    False
    """
    if type(windows) is Batches:
        return windows._fingerprint
    return _digest(windows) if type(windows) in (list, tuple) else None


def _digest(windows: Sequence[Any]) -> str:
    digest = hashlib.sha256(str(len(windows)).encode())
    for window in windows:
        digest.update(_window_digest(window))
    return digest.hexdigest()


def _window_digest(window: Any) -> bytes:
    digest = hashlib.sha256()
    if isinstance(window, Window):  # parts at its end that are None make no difference
        window = window[: max(i + 1 for i, part in enumerate(window) if part is not None)]
    for part in window:
        array = np.ascontiguousarray(part)
        digest.update(f"{array.dtype.str} {np.shape(part)}\n".encode())
        if array.dtype.hasobject:  # None for lengths
            digest.update(repr(part).encode())
        elif array.size:
            digest.update(array.view(np.uint8).data)
    return digest.digest()
