"""Norm preservation: whether each step keeps the size of the gradient that passes through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._door import as_whole_tape
from .._norms import norm
from .._tapes import (
    Direction,
    as_parts,
    check_backward,
    check_direction,
    steps_back,
    top_of_carry,
    valid_steps,
)

if TYPE_CHECKING:
    from rnncore._typing import Array, Floats, StateLike
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

__all__ = ["norm_preservation", "omega"]


def norm_preservation(
    tape: Tape | HasTape, grad_state: StateLike = None, direction: Direction = "forward"
) -> Floats:
    """‖δ_t·J_t‖ / ‖δ_t‖ for every step t; 1 means that the step preserves the norm of the gradient.

    Pascanu, Mikolov & Bengio (2013), section 3.3. δ_t = ∂L/∂s_t is the gradient of the loss with respect
    to the whole carry after step t ([h; c] of all layers), and J_t = ∂s_t/∂s_{t-1} the Jacobian of step t.

    Parameters
    ----------
    tape : Tape
        After `backward` with one cotangent.
    grad_state : array_like or tuple, optional
        The `grad_state` that was passed to `backward`, if there was one.
    direction : {"forward", "reverse"}
        Which direction of a bidirectional layer.

    Returns
    -------
    ndarray (T, B), float64
        Element t is for the step at input time t. NaN where δ_t is 0, and past a row's end.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> rnn = rc.RNN(1, 3, nonlinearity="relu", bias=False)
    >>> rnn.load_state_dict({"weight_ih_l0": np.ones((3, 1)), "weight_hh_l0": 0.5 * np.eye(3)})
    >>> tape = rnn.record(np.ones((4, 1, 1)))
    >>> grads = tape.backward(grad_state=np.ones((1, 1, 3)))
    >>> viz.norm_preservation(tape, grad_state=np.ones((1, 1, 3))).ravel().tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    tape = as_whole_tape(tape)
    reverse = check_direction(tape, direction)
    check_backward(tape)
    layer, T, B = tape.layer, tape.T, tape.B
    # The loss depends directly on h of the top layer only; its gradient reaches the rest of the carry
    # through the Jacobians. For h of the top layer tape.grad has the sum of both.
    top = top_of_carry(layer)
    grad_h = tape.grad[f"l{layer.num_layers - 1}.{'reverse.' if reverse else ''}h"]
    valid = valid_steps(tape)
    order = steps_back(tape, reverse)
    out = np.full((T, B), np.nan)
    if not T:
        return out
    v = _final(tape, grad_state, reverse)[None]

    def enter(value: Array, log_scale: Floats, t: int) -> None:
        """Set the part of the top layer's h to its total gradient at step t, after applying the scales."""
        if np.any(log_scale):
            value *= np.exp(log_scale)[..., None].astype(value.dtype)
            log_scale[...] = 0
        value[0][:, top] = np.where(valid[t][:, None], grad_h[t], value[0][:, top])

    enter(v, np.zeros((1, B)), order[0])
    before = norm(v[0])
    for t, carry in zip(order, tape.pullback(v, direction=direction), strict=False):
        after = norm(carry.value[0]) * np.exp(carry.log_scale[0])
        with np.errstate(invalid="ignore", divide="ignore"):
            out[t] = np.where(valid[t], after / before, np.nan)
        k = order.index(t) + 1
        if k < T:
            enter(carry.value, carry.log_scale, order[k])
            before = norm(carry.value[0])
    out[np.isinf(out)] = np.nan
    return out


def omega(tape: Tape | HasTape, grad_state: StateLike = None, direction: Direction = "forward") -> Floats:
    """Ω = Σ_t (‖δ_t·J_t‖/‖δ_t‖ − 1)²: 0 if every step preserves the norm of the gradient.

    Pascanu, Mikolov & Bengio (2013), eq. 9. The arguments are those of `norm_preservation`; steps
    that no gradient reaches do not count.

    Returns
    -------
    ndarray (B,), float64

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> rnn = rc.RNN(1, 3, nonlinearity="relu", bias=False)
    >>> rnn.load_state_dict({"weight_ih_l0": np.ones((3, 1)), "weight_hh_l0": np.eye(3)})
    >>> tape = rnn.record(np.ones((4, 1, 1)))
    >>> grads = tape.backward(np.ones((4, 1, 3)))
    >>> viz.omega(tape).tolist()
    [0.0]
    """
    tape = as_whole_tape(tape)
    ratio = norm_preservation(tape, grad_state, direction)
    total: Floats = np.nansum((ratio - 1) ** 2, axis=0)
    return total


def _final(tape: Tape, grad_state: StateLike, reverse: bool) -> Array:
    """(B, S): the cotangents `grad_state` of one direction in the order of the carry; zeros if it is None."""
    layer = tape.layer
    if grad_state is None:
        return np.zeros((tape.B, layer.structure.carry_size), tape.dtype)
    directions, shapes = layer.structure.directions, layer.structure.state_shapes(tape.B)
    arrays = as_parts(tuple(grad_state) if isinstance(grad_state, list) else grad_state)
    if [a.shape for a in arrays] != shapes:
        raise ValueError(
            f"grad_state: got shapes {[a.shape for a in arrays]}, expected {shapes}, as passed to "
            "tape.backward"
        )
    mine = [a[int(reverse) :: directions] for a in arrays]
    joined: Array = np.concatenate([h for part in mine for h in part], axis=-1)
    return joined.astype(tape.dtype)
