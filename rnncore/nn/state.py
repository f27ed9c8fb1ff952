"""Rows of a state that is carried from one call to the next: an array (L·D, B, H), or a tuple of such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, State


@overload
def zero_rows(state: None, rows: ArrayLike | None) -> None: ...
@overload
def zero_rows(state: State, rows: ArrayLike | None) -> State: ...
@overload
def zero_rows(state: State | None, rows: ArrayLike | None) -> State | None: ...
def zero_rows(state: Any, rows: Any) -> Any:
    """The state with some batch rows set to 0; None, which stands for zeros, stays None.

    Parameters
    ----------
    state : array, tuple of arrays or None
    rows : boolean array (B,) or None
        True for a row that begins anew; None for no row.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn.state import zero_rows
    >>> zero_rows(np.ones((1, 3, 1)), np.array([True, False, False])).ravel().tolist()
    [0.0, 1.0, 1.0]
    """
    if state is None or rows is None:
        return state
    if isinstance(state, tuple | list):
        return tuple(zero_rows(part, rows) for part in state)
    rows, batch = np.asarray(rows), state.shape[1] if state.ndim == 3 else 0
    if rows.dtype != bool or rows.shape != (batch,):
        raise ValueError(
            f"fresh: got {rows.dtype} values of shape {rows.shape}, expected booleans ({batch},), "
            "True for a row that begins anew"
        )
    if not rows.any():
        return state
    state = state.copy()
    state[:, rows] = 0
    return state


def take_rows(state: State, rows: Array | slice) -> State:
    """The state of the given batch rows, in their order."""
    if isinstance(state, tuple | list):
        return tuple(part[:, rows] for part in state)
    return state[:, rows]
