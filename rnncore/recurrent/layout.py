"""The axes of callers' sequences and states, and their conversion to time-major arrays and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnncore import _engine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rnncore._typing import Array, Bools, Ints, State


class Layout(NamedTuple):
    """The order of the axes of a caller's sequences.

    A batch of sequences of F features is (T, B, F), or (B, T, F) with `batch_first`, and a single sequence is (T, F).
    Leading axes may precede these, such as one for K cotangents. Inside rnncore everything is time-major: sequences are
    (T, B, F), and states (layers·directions, B, H). A layer finds the layout of its input with `Layout.of`, and its
    tape keeps it, so that outputs and gradients are returned in the same layout. The conversions return views.

    Attributes
    ----------
    batch_first : bool
        The layer's `batch_first`; it has no effect on a single sequence.
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
        """The layout of an input; an input with two axes is a single sequence."""
        return _ALL[batch_first, sequence.ndim != 2]

    @property
    def axes(self) -> str:
        """The axes of an input for messages, such as "(B, T, I)"."""
        return ("(B, T, I)" if self.batch_first else "(T, B, I)") if self.batched else "(T, I)"

    def shape(self, steps: int, batch: int, features: int) -> tuple[int, ...]:
        """The shape of sequences in this layout."""
        if not self.batched:
            return steps, features
        return (batch, steps, features) if self.batch_first else (steps, batch, features)

    def time_major(self, sequences: Array) -> Array:
        """Convert sequences in this layout to (…, T, B, F)."""
        if not self.batched:
            return sequences[..., None, :]
        return sequences.swapaxes(-3, -2) if self.batch_first else sequences

    def as_given(self, sequences: Array) -> Array:
        """Convert sequences (…, T, B, F) to this layout; the inverse of `time_major`."""
        if not self.batched:
            return sequences[..., 0, :]
        return sequences.swapaxes(-3, -2) if self.batch_first else sequences

    def empty(self, steps: int, batch: int, features: int, dtype: np.dtype[Any], *, zeros: bool = False) -> Array:
        """A new array (T, B, F), uninitialised or of zeros, C-contiguous once it is converted to this layout."""
        new = np.zeros if zeros else _engine.room
        if self.batch_first and self.batched:
            return new((batch, steps, features), dtype).swapaxes(0, 1)
        return new((steps, batch, features), dtype)

    def states(self, parts: Iterable[Array]) -> State:
        """Convert the states (…, layers·directions, B, H) to the form that a caller gets: one array, or a tuple.

        For a single sequence the batch axis is removed.
        """
        found = tuple(parts) if self.batched else tuple([part[..., 0, :] for part in parts])
        return found[0] if len(found) == 1 else found

    def state_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which a caller passes a state whose shape inside rnncore is (layers·directions, B, H).

        `batch_first` does not change it; for a single sequence the batch axis is missing.
        """
        return shape if self.batched else shape[::2]


_ALL = {(first, batched): Layout(first, batched) for first in (False, True) for batched in (False, True)}


def parts_of(state: State | list[Array]) -> tuple[Array, ...]:
    """The arrays of a state as a tuple; a state is one array, or a tuple or list of several."""
    return tuple(state) if isinstance(state, tuple | list) else (state,)


def past_end(lengths: Ints, steps: int) -> Bools:
    """(T, B) booleans, True where a step lies past its row's end."""
    return np.arange(steps)[:, None] >= lengths
