"""Which steps of a prediction are part of its loss, and with which weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore._checks import as_array
from rnncore.nn.losses import length_mask
from rnncore.recurrent.layout import Layout

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools


def step_weights(weights: ArrayLike, steps: tuple[int, ...], batch_first: bool) -> Array:
    """The weight of each step, from one for each step, or for each row of a batch.

    Parameters
    ----------
    weights : array_like, (B,) or `steps`
    steps : tuple of int
        (T, B), (B, T) with `batch_first`, or the only axis of a prediction that has no other.
    batch_first : bool
    """
    given = as_array(weights, "weights")
    if given.shape == steps:
        return given
    layout = Layout(batch_first, batched=len(steps) == 2)
    rows = layout.time_major(np.empty((*steps, 0))).shape[1:-1]
    if len(steps) != 2 or given.shape != rows:
        also = f"{rows} or " if len(steps) == 2 else ""
        raise ValueError(f"weights: got shape {given.shape}, expected {also}{steps}")
    return np.broadcast_to(given[:, None] if batch_first else given, steps)


def counted_steps(shape: tuple[int, ...], lengths: ArrayLike | None, counted: ArrayLike | None, batch_first: bool, *,
                  by_value: bool) -> Bools | None:
    """Booleans, True for each step or value that is part of the loss; None: all are.

    Parameters
    ----------
    shape : tuple of int
        That of the prediction.
    lengths : array_like of int, (B,), or None
        Steps past them are no part of the loss.
    counted : array_like of bool or None
        One for each step, or for each value.
    batch_first : bool
    by_value : bool
        Whether values may count or not one by one; a symbol, for which there are several of them, may not.
    """
    if counted is None and lengths is None:
        return None
    steps = shape[:-1]
    given: Bools = np.ones(steps, bool) if counted is None else as_array(counted, "counted")
    allowed = (steps, shape) if by_value else (steps,)
    if given.dtype != bool or given.shape not in allowed:
        raise ValueError(
            f"counted: got {given.dtype} values of shape {given.shape}, expected booleans "
            f"{' or '.join(map(str, allowed))}, True where something counts (the mask of a batch is counted)"
        )
    if lengths is None:
        return given
    layout = Layout(batch_first, batched=len(steps) == 2)
    T = len(layout.time_major(np.empty((*steps, 0))))
    inside: Bools = layout.as_given(length_mask(lengths, T)[..., None])
    return given & (inside if given.shape == shape else inside[..., 0])
