"""Rows of a state that is carried from one call to the next: an array (L·D, B, H), or a tuple of such."""

from __future__ import annotations

import numpy as np


def zero_rows(state, rows):
    """The state with some batch rows at 0; None, all zeros, stays None.

    Parameters
    ----------
    state : array, tuple of arrays or None
    rows : boolean array (B,) or None
        True where a row begins anew; None is nowhere.

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


def take_rows(state, rows):
    """The state of the given batch rows, in their order."""
    if isinstance(state, tuple | list):
        return tuple(part[:, rows] for part in state)
    return state[:, rows]
