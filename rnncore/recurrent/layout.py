"""How callers lay out sequences and states, and the one way from there to time-major arrays and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """(T, B, F), (B, T, F) with `batch_first`, or (T, F) for one sequence; there may be axes before those.

    Inside rnncore everything is time-major: sequences are (T, B, F), states (layers·directions, B, H), whatever the
    layout. A layer takes the layout of its input (`Layout.of`), its tape keeps it. All that is returned here is a view.

    Attributes
    ----------
    batch_first : bool
        Of the layer; one sequence by itself is (T, F) with it, too.
    batched : bool
        False: one sequence, without the axis for the batch.

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
    def of(sequence: np.ndarray, batch_first: bool) -> Layout:
        """The layout of an input: of two axes it is one sequence."""
        return _ALL[batch_first, sequence.ndim != 2]

    @property
    def axes(self) -> str:
        """For messages: "(B, T, I)"."""
        return ("(B, T, I)" if self.batch_first else "(T, B, I)") if self.batched else "(T, I)"

    def time_major(self, sequences: np.ndarray) -> np.ndarray:
        """(…, T, B, F) from sequences as the caller has them."""
        if not self.batched:
            return sequences[..., None, :]
        return sequences.swapaxes(-3, -2) if self.batch_first else sequences

    def as_given(self, sequences: np.ndarray) -> np.ndarray:
        """The way back, from (…, T, B, F)."""
        if not self.batched:
            return sequences[..., 0, :]
        return sequences.swapaxes(-3, -2) if self.batch_first else sequences

    def empty(self, steps: int, batch: int, features: int, dtype: np.dtype) -> np.ndarray:
        """A new (T, B, F) array, in memory as the caller will see it."""
        if self.batch_first and self.batched:
            return np.empty((batch, steps, features), dtype).swapaxes(0, 1)
        return np.empty((steps, batch, features), dtype)

    def states(self, parts):
        """(…, layers·directions, B, H) of every state as a caller gets them: an array, or a tuple of several."""
        found = tuple(parts) if self.batched else tuple([part[..., 0, :] for part in parts])
        return found[0] if len(found) == 1 else found

    def state_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of one state as a caller has it, from (layers·directions, B, H); `batch_first` makes no difference."""
        return shape if self.batched else shape[::2]


_ALL = {(first, batched): Layout(first, batched) for first in (False, True) for batched in (False, True)}


def parts_of(state) -> tuple:
    """A state as a caller has it, an array or several in a tuple or list, as a tuple."""
    return tuple(state) if isinstance(state, tuple | list) else (state,)


def past_end(lengths: np.ndarray, steps: int) -> np.ndarray:
    """(T, B) booleans, True where a step lies past its row's end."""
    return np.arange(steps)[:, None] >= lengths
