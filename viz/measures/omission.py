"""Omission: how much the final state would change if the input of one step were left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore.recurrent.layout import past_end

from .._door import as_layer
from .._layers import repeat_state, rows_of, run
from .._tapes import carry_of

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats, StateLike
    from rnncore.recurrent.base import RecurrentLayer

__all__ = ["omission"]

ROWS = 256  # the number of rows in one pass (copies of the batch)


def omission(
    layer: RecurrentLayer,
    x: ArrayLike,
    *,
    state: StateLike = None,
    lengths: ArrayLike | None = None,
) -> Floats:
    """1 − cos(s(S), s(S∖i)) for every step i of a sequence S, where S∖i is S without step i.

    Kádár, Chrupała & Alishahi (2017). s is the whole final state (h of all layers and directions, for an
    LSTM also c). The value is 0 if omitting the step does not change the direction of s as a vector, and
    1 if the two vectors are orthogonal.

    Parameters
    ----------
    layer : RNN, GRU or LSTM
    x : ndarray
        Input in the layer's layout.
    state, lengths : optional
        As for the layer.

    Returns
    -------
    ndarray (T, B), float64
        NaN past a row's end, and where a state is exactly 0.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> x = np.zeros((6, 1, 2)); x[4] = 3.0
    >>> int(np.argmax(viz.omission(rc.LSTM(2, 8, seed=0), x)[:, 0]))
    4
    """
    layer = as_layer(layer)
    x, state = rows_of(layer, x, state)
    T, B, _ = x.shape
    lengths = np.full(B, T) if lengths is None else np.asarray(lengths)
    full = carry_of(run(layer, x, state, lengths)[1])
    out = np.full((T, B), np.nan)
    at_a_time = max(1, ROWS // max(B, 1))
    for first in range(0, T, at_a_time):
        steps = np.arange(first, min(first + at_a_time, T))
        without = np.stack([np.delete(x, i, axis=0) for i in steps], axis=1)  # (T−1, K, B, I)
        shorter = np.maximum(lengths - (steps[:, None] < lengths), 0)
        without = without.reshape(T - 1, len(steps) * B, x.shape[2])
        _, final = run(layer, without, repeat_state(state, len(steps)), shorter.ravel())
        out[steps] = 1 - _cosine(carry_of(final).reshape(len(steps), *full.shape), full)
    out[past_end(lengths, T)] = np.nan
    return out


def _cosine(a: Floats, b: Floats) -> Floats:
    """The cosine of the angle between vectors along the last axis; NaN if one is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine: Floats = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return cosine
