"""Dependency map: how strongly the loss at each step depends on the state at each earlier step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._door import as_whole_tape
from .._norms import norm
from .._tapes import Direction, check_direction, steps_back, top_of_carry, valid_steps
from ._loss import Loss, output_gradient

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Floats
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

__all__ = ["dependency_map", "dependency_reach"]


def dependency_map(tape: Tape | HasTape, loss: Loss, direction: Direction = "forward") -> Floats:
    """‖∂L_s/∂s_t‖ for every loss step s and every source step t ≤ s.

    The loss is a sum over steps, L = Σ_s L_s(y_s); the map shows how strongly the loss at step s
    depends on the state after step t (the whole carry, [h; c] of all layers).

    Parameters
    ----------
    tape : Tape
        `backward` need not have been called, and `tape.grad` is left as it is.
    loss : ndarray, or callable
        ∂L_s/∂y_s for every s, laid out like `tape.output`, or a function of `tape.output` that
        returns it, alone or as (value, gradient) like the losses in `rnncore.nn`.
    direction : {"forward", "reverse"}
        Which direction of a bidirectional layer to follow; the reverse one carries its state from
        later to earlier steps, so there t ≥ s.

    Returns
    -------
    ndarray (T, T, B), float64
        ``[s, t, b]``. NaN where L_s cannot depend on s_t, and past a row's end.

    Notes
    -----
    It takes one `Tape.pullback` with T cotangents at once, one for the loss of each step s: cotangent s is 0
    until the backward pass reaches step s, and is then set to the gradient of that loss.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 3, seed=0).record(np.ones((4, 1, 2)))
    >>> viz.dependency_map(tape, np.ones((4, 1, 3)))[:, :, 0].round(2).shape
    (4, 4)
    """
    tape = as_whole_tape(tape)
    reverse = check_direction(tape, direction)
    g = output_gradient(tape, loss)
    T, B, width = tape.T, tape.B, tape.layer.structure.output_size
    g = g[:, :, width:] if reverse else g[:, :, :width]
    top = top_of_carry(tape.layer)  # where a loss enters
    valid = valid_steps(tape)
    out = np.full((T, T, B), np.nan)
    order = steps_back(tape, reverse)
    if not T:
        return out

    def set_row(value: Array, t: int) -> None:
        """Set the cotangent of the loss at step t, and its own entry of the map."""
        value[t][:, top] = np.where(valid[t][:, None], g[t], 0)
        out[t, t] = np.where(valid[t], norm(value[t]), np.nan)

    v = np.zeros((T, B, tape.layer.structure.carry_size), tape.dtype)
    set_row(v, order[0])
    walk = tape.pullback(v, direction=direction)
    for k, carry in zip(range(1, T), walk, strict=False):
        t = order[k]
        rows = slice(None, t) if reverse else slice(t + 1, None)  # the losses at the steps that have been passed
        with np.errstate(over="ignore", under="ignore"):
            size = norm(carry.value[rows]) * np.exp(carry.log_scale[rows])
        out[rows, t] = np.where(valid[rows] & valid[t], size, np.nan)
        carry.log_scale[t] = 0
        set_row(carry.value, t)
    return out


def dependency_reach(sizes: ArrayLike, eps: float = 0.01) -> Floats:
    """How far back each loss reaches: the largest s − t with ‖∂L_s/∂s_t‖ ≥ eps·‖∂L_s/∂s_s‖.

    Parameters
    ----------
    sizes : ndarray (T, T, B)
        The result of `dependency_map`.
    eps : float
        The smallest share of ‖∂L_s/∂s_s‖ that counts as a dependence.

    Returns
    -------
    ndarray (T, B), float64
        In steps; NaN for a step without a loss.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import viz
    >>> lag = np.subtract.outer(np.arange(4), np.arange(4))
    >>> viz.dependency_reach(np.where(lag < 0, np.nan, 0.1**lag)[:, :, None], 0.05).ravel().tolist()
    [0.0, 1.0, 1.0, 1.0]
    """
    sizes = np.asarray(sizes, np.float64)
    T = len(sizes)
    own = sizes[np.arange(T), np.arange(T)]  # (T, B)
    lag = np.abs(np.subtract.outer(np.arange(T), np.arange(T)))[:, :, None]
    with np.errstate(invalid="ignore"):
        felt = (sizes >= eps * own[:, None]) & (sizes > 0)
    return np.where(own > 0, np.where(felt, lag, 0).max(1, initial=0), np.nan)
