"""Context cut: how much worse the prediction gets when the past is cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._door import as_layer
from .._layers import rows_of, run

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Floats, Ints, StateLike
    from rnncore.recurrent.base import RecurrentLayer

__all__ = ["context_cut"]


def context_cut(
    layer: RecurrentLayer,
    x: ArrayLike,
    loss: Callable[[Array], ArrayLike],
    contexts: Sequence[int] | Ints | None = None,
    *,
    state: StateLike = None,
) -> tuple[Ints, Floats]:
    """The loss if only the last k inputs are kept, minus the loss with all of them.

    Khandelwal et al. (2018). A shortened sequence starts from the zero state.

    Parameters
    ----------
    layer : RNN, GRU or LSTM
    x : ndarray
        Input in the layer's layout. Every row is a sequence whose loss is that of its last step.
    loss : callable
        Takes the output of the last step, (B, D·H), and returns the loss of every row, (B,).
    contexts : sequence of int, optional
        How many of the last inputs to keep; by default 1, 2, 4, … and all of them.
    state : array_like or tuple, optional
        Initial state of the whole sequence, as for the layer.

    Returns
    -------
    contexts : ndarray (N,), int
    change : ndarray (N, B), float64
        In the unit of the loss. It becomes 0 where k includes all the context that the network uses.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> contexts, change = viz.context_cut(
    ...     rc.GRU(1, 4, seed=0), np.ones((6, 2, 1)), lambda y: (y**2).sum(-1))
    >>> contexts.tolist(), change[-1].tolist()
    ([1, 2, 4, 6], [0.0, 0.0])
    """
    layer = as_layer(layer)
    x, state = rows_of(layer, x, state)
    T, B, _ = x.shape
    if not T:
        raise ValueError("x: got no steps, expected at least one")
    if contexts is None:
        contexts = sorted({2**i for i in range(T.bit_length())} | {T})
    kept = np.asarray(contexts)
    whole = kept.ndim == 1 and kept.size and kept.dtype.kind in "iu"
    if not whole or kept.min() < 1 or kept.max() > T:
        raise ValueError(f"contexts: got {contexts!r:.60}, expected whole numbers from 1 to {T}")
    kept = kept.astype(int)

    def at_end(rows: Array, state: StateLike = None) -> Floats:
        y, _ = run(layer, rows, state)
        value = np.asarray(loss(y[-1]), np.float64)
        if value.shape != (B,):
            raise ValueError(
                f"loss: got a value of shape {value.shape}, expected ({B},), one loss for every row"
            )
        return value

    full = at_end(x, state)
    cut = [at_end(x[T - k :], state if k == T else None) for k in kept]
    return kept, np.array(cut) - full
