"""The input and targets of one update of training, and a text cut into such windows.

A sequence of windows says with its attribute ``continues`` whether each window goes on where the one before it ended,
row by row. Training carries the state from window to window only where it does (see `rnncore.train.Trainer`). Lists and
tuples say nothing, since their windows may be unrelated or in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import numpy as np

from rnncore._checks import Fixed, as_array, as_flag, as_size

from .text import TextError

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools

WINDOW = "(x, targets) or (x, targets, lengths)"
# The names under which a window's parts are read from a named tuple or a mapping.
NAMES = {"x": "x", "targets": "targets", "target": "targets", "lengths": "lengths", "counted": "counted",
         "mask": "counted", "fresh": "fresh", "weights": "weights", "reset": "reset"}

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
    reset : boolean array (T, B), optional
        The steps before which a row's state is zero, such as the first steps of documents that follow each other in one
        row; see a call of a layer.

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
    reset: Bools | None = None


def as_window(window: Any, name: str) -> Window:
    """A `Window` of anything that training accepts as one.

    Parameters
    ----------
    window : Window, tuple, list or mapping
        A named tuple, or a mapping, is read by its names, see `NAMES`. Any other tuple or list has two or three parts,
        of which the third is lengths.
    name : str
        The window's name, with which error messages begin.

    Raises
    ------
    TypeError
        It is something else, has other names, or a mask without its name.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.data.window import as_window
    >>> x, mask = np.zeros((5, 2), int), np.ones((5, 2), bool)
    >>> as_window({"x": x, "target": x, "mask": mask}, "batches[0]").counted is mask
    True
    """
    if isinstance(window, Window):
        return window
    if isinstance(window, Mapping):
        return _by_names(window, name)
    if isinstance(window, tuple) and hasattr(window, "_fields"):
        return _by_names(dict(zip(window._fields, window, strict=True)), name)
    if not isinstance(window, (tuple, list)) or len(window) not in (2, 3):
        size = f" of {len(window)}" if isinstance(window, (tuple, list)) else ""
        raise TypeError(f"{name}: got a {type(window).__name__}{size}, expected {WINDOW}, a tuple, or a Window")
    if len(window) == 3 and window[2] is not None and as_array(window[2], f"{name}: lengths").dtype == bool:
        raise TypeError(f"{name}: got booleans as its third part, expected lengths, whole numbers (B,); give a mask "
                        "by its name: rnncore.data.Window(x, targets, counted=mask)")
    return Window(*window)


def _by_names(parts: Mapping[Any, Any], name: str) -> Window:
    found: dict[str, Any] = {}
    for own, value in parts.items():
        part = NAMES.get(own) if isinstance(own, str) else None
        if part is None or part in found:
            why = "unknown" if part is None else f"a second name of {part}"
            raise TypeError(f"{name}: got a part named {own!r:.60}, which is {why}; expected x, targets (or target) "
                            "and, if needed, lengths, counted (or mask), fresh, weights, reset")
        found[part] = value
    if missing := [part for part in ("x", "targets") if found.get(part) is None]:
        raise TypeError(f"{name}: got the parts {', '.join(map(repr, parts)) or 'none'}, expected "
                        f"{' and '.join(missing)} too")
    return Window(**found)


def continues(windows: object) -> bool:
    """Whether a sequence of windows says that each of them goes on where the one before it ended."""
    return as_flag(getattr(windows, "continues", False), "continues")


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

    Parameters
    ----------
    make : callable
    plan : sequence
        What `make` is called with, one entry per window.
    continues : bool
        Whether each window goes on where the one before it ended, so that training carries the state.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.data import LazyWindows
    >>> windows = LazyWindows(lambda n: (np.full((3, 2), n), np.zeros((3, 2), int)), range(10**6))
    >>> len(windows), windows[70][0][0, 0].item()
    (1000000, 70)
    """

    def __init__(self, make: Callable[[Any], T], plan: Sequence[Any], *, continues: bool = False) -> None:
        self._make, self._plan, self.continues = make, plan, as_flag(continues, "continues")

    def __len__(self) -> int:
        return len(self._plan)

    def __repr__(self) -> str:
        return f"LazyWindows({len(self)} windows{', each of which continues the last' if self.continues else ''})"

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return LazyWindows(self._make, self._plan[index], continues=self.continues and _in_order(index))
        return self._make(self._plan[index])


def _in_order(index: slice) -> bool:
    """Whether the windows of a slice follow each other as those of the whole sequence do."""
    return index.step in (None, 1)


class Batches(Fixed, Sequence[tuple["Array", "Array"]]):
    """Windows over `batch_size` rows of a text, for training with a state that is carried on.

    The tokens are cut into `batch_size` rows of equal length; window i has the steps
    ``i·steps … (i+1)·steps`` of every row, so row b of window i+1 continues row b of window i.
    Tokens at the end that do not fill a row are left out. Windows are read-only. A slice is such a sequence, too.

    Parameters
    ----------
    tokens : integer array (N,)
    batch_size, steps : int
    drop_last : bool
        Whether the last window is left out if it is shorter than `steps`.

    Attributes
    ----------
    continues : bool
        Whether each window continues the one before it: True, except for a slice that leaves windows out or reverses
        them. Training then carries the state. A list of the windows has no such attribute; training on it with
        ``Trainer(carry=True)`` is the same.

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

    _fixed = frozenset({"batch_size", "steps", "continues"})

    batch_size: int
    steps: int
    continues: bool

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
        self._rows = np.empty((length + 1, batch_size), tokens.dtype)
        self._rows[:-1] = tokens[: batch_size * length].reshape(batch_size, length).T
        self._rows[-1] = tokens[length * np.arange(1, batch_size + 1)]
        self._rows.flags.writeable = False
        self._plan, self._length = range(windows), length
        self.batch_size, self.steps, self.continues = batch_size, steps, True

    def __len__(self) -> int:
        return len(self._plan)

    def __repr__(self) -> str:
        apart = "" if self.continues else ", none of which continues the last"
        return f"Batches({len(self)} windows of {self.steps} steps and {self.batch_size} rows{apart})"

    @overload
    def __getitem__(self, index: int) -> tuple[Array, Array]: ...
    @overload
    def __getitem__(self, index: slice) -> Batches: ...
    def __getitem__(self, index: int | slice) -> tuple[Array, Array] | Batches:
        if isinstance(index, slice):
            part = object.__new__(Batches)
            part._rows, part._plan, part._length = self._rows, self._plan[index], self._length
            part.batch_size, part.steps = self.batch_size, self.steps
            part.continues = self.continues and _in_order(index)
            return part
        start = self._plan[index] * self.steps
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
        None for sequences other than `batches`, those of `rnncore.data.windows`, lists and tuples: they may read their
        windows from a file or draw them at random, so a digest would take time or change the run.

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
    if "_fingerprint" in vars(type(windows)):  # not inherited: a class derived from ours may compute other windows
        own: str = windows._fingerprint  # type: ignore[attr-defined]
        return own
    return _digest(windows) if type(windows) in (list, tuple) else None


def _digest(windows: Sequence[Any]) -> str:
    digest = hashlib.sha256(str(len(windows)).encode())
    for window in windows:
        digest.update(_window_digest(window))
    return digest.hexdigest()


def _window_digest(window: Any) -> bytes:
    digest = hashlib.sha256()
    if isinstance(window, Mapping) or hasattr(window, "_fields"):
        window = as_window(window, "windows")   # parts at its end that are None make no difference
        window = window[: max(i + 1 for i, part in enumerate(window) if part is not None)]
    for part in window:
        own = as_array(part, "windows")
        array = np.ascontiguousarray(own)
        if array.dtype in (np.uint8, np.uint16):    # a text's tokens were int32 once, and have the same digest still
            array = array.astype(np.int32)
        digest.update(f"{array.dtype.str} {own.shape}\n".encode())
        if array.dtype.hasobject:  # None for lengths
            digest.update(repr(part).encode())
        elif array.size:
            digest.update(array.view(np.uint8).data)
    return digest.digest()
