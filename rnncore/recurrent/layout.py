"""The axes of callers' sequences and states, and their conversion to time-major arrays and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rnncore._typing import Array, Bools, Ints, State


class Layout(NamedTuple):
    """(T, B, F), (B, T, F) with `batch_first`, or (T, F) for one sequence; more axes may come before these.

    Inside rnncore everything is time-major: sequences are (T, B, F) and states (layers·directions, B, H). A layer
    determines the layout of its input (`Layout.of`), and its tape keeps it. The methods return views.

    Attributes
    ----------
    batch_first : bool
        As the layer has it; a single sequence is (T, F) either way.
    batched : bool
        False for a single sequence, which has no batch axis.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.recurrent.layout import Layout
    >>> layout = Layout.of(np.ones((2, 5, 3)), batch_first=True)
    >>> layout.time_major(np.ones((2, 5, 3))).shape, layout.as_given(np.ones((5, 2, 4))).shape
    ((5, 2, 3), (2, 5, 4))
    """

    batch_first: bool = False
    batched: bool = True

    @staticmethod
    def of(sequence: Array, batch_first: bool) -> Layout:
        """The layout of an input: with two axes it is a single sequence."""
        return _ALL[batch_first, sequence.ndim != 2]

    @property
    def axes(self) -> str:
        """The axes of an input for messages, such as "(B, T, I)"."""
        return ("(B, T, I)" if self.batch_first else "(T, B, I)") if self.batched else "(T, I)"

    def time_major(self, sequences: Array) -> Array:
        """(…, T, B, F) from sequences in this layout."""
        if not self.batched:
            return sequences[..., None, :]
        return sequences.swapaxes(-3, -2) if self.batch_first else sequences

    def as_given(self, sequences: Array) -> Array:
        """The inverse of `time_major`: sequences in this layout from (…, T, B, F)."""
        if not self.batched:
            return sequences[..., 0, :]
        return sequences.swapaxes(-3, -2) if self.batch_first else sequences

    def empty(self, steps: int, batch: int, features: int, dtype: np.dtype[Any]) -> Array:
        """A new (T, B, F) array that is contiguous in this layout."""
        if self.batch_first and self.batched:
            return np.empty((batch, steps, features), dtype).swapaxes(0, 1)
        return np.empty((steps, batch, features), dtype)

    def states(self, parts: Iterable[Array]) -> State:
        """The states for a caller, from arrays (…, layers·directions, B, H): an array, or a tuple of several."""
        found = tuple(parts) if self.batched else tuple([part[..., 0, :] for part in parts])
        return found[0] if len(found) == 1 else found

    def state_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a state for a caller, from (layers·directions, B, H); the same with `batch_first`."""
        return shape if self.batched else shape[::2]


_ALL = {(first, batched): Layout(first, batched) for first in (False, True) for batched in (False, True)}


def parts_of(state: State | list[Array]) -> tuple[Array, ...]:
    """The arrays of a state, which is one array, or several in a tuple or list."""
    return tuple(state) if isinstance(state, tuple | list) else (state,)


def past_end(lengths: Ints, steps: int) -> Bools:
    """(T, B) booleans, True where a step lies past its row's end."""
    return np.arange(steps)[:, None] >= lengths
