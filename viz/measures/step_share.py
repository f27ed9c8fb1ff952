"""Step share: how much each step contributes to the gradient of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._door import as_whole_tape
from .._norms import norm
from .._tapes import check_backward, is_reverse, layer_input, layers, previous, valid_steps, weight_name

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats, Ints
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

__all__ = ["step_share", "steps_for_half"]


def step_share(tape: Tape | HasTape) -> dict[str, Floats]:
    """The contribution of every step to the gradient of the weights: ‖δ_t‖·‖x_t‖ divided by its sum over all steps.

    The gradient ∂L/∂W = Σ_t δ_t·x_tᵀ is a sum over the steps, where δ_t is the gradient of the loss with
    respect to the pre-activations of all gates. The term of step t has the norm ‖δ_t‖·‖x_t‖.

    Parameters
    ----------
    tape : Tape
        After `backward` with one cotangent. If it was recorded with dropout, the inputs of upper
        layers are taken before dropout.

    Returns
    -------
    dict of str to ndarray (T, B), float64
        By the names of the weights, "weight_ih_l0", "weight_hh_l0", …, without those of projections. For weight_hh,
        x_t is the vector that it multiplies, which is the previous h (or r·h). For weight_peephole the term is the
        product of δ_t and c, unit by unit. The shares of a row sum to 1, or to 0 if it has no gradient.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 3, seed=0).record(np.ones((5, 1, 2)))
    >>> grads = tape.backward(np.ones((5, 1, 3)))
    >>> share = viz.step_share(tape)
    >>> sorted(share), share["weight_ih_l0"].sum(0).round(12).tolist()
    (['weight_hh_l0', 'weight_ih_l0'], [1.0])
    """
    tape = as_whole_tape(tape)
    check_backward(tape)
    valid = valid_steps(tape)
    out: dict[str, Floats] = {}
    for name in layers(tape):
        below = layer_input(tape, name)
        before = previous(tape, name)
        delta_x, delta_h = _deltas(tape, name)
        terms = {"weight_ih": delta_x * norm(below)[None]}
        recurrent = np.stack([norm(before)] * len(delta_h))
        for block, gate in tape.cell.operands.items():
            recurrent[tape.cell.blocks_hh.index(block)] = norm(before * tape[f"{name}.{gate}"])
        terms["weight_hh"] = delta_h * recurrent
        if tape.cell.variant is not None and tape.cell.variant.peepholes:
            terms["weight_peephole"] = _of_peepholes(tape, name)
        for kind, term in terms.items():
            size = np.where(valid, norm(term, axis=0), 0.0)
            total = size.sum(0)
            out[weight_name(kind, name)] = size / np.where(total > 0, total, 1.0)
    return out


def _deltas(tape: Tape, name: str) -> tuple[Floats, Floats]:
    """‖∂L/∂pre-activation‖ for each block of W_ih, (blocks, T, B), and for each block of W_hh."""
    grad, cell = tape.grad, tape.cell
    if not cell.gates:
        slope = cell.slope(np.asarray(tape[f"{name}.h"]), is_reverse(name))
        delta = norm(grad[f"{name}.h"] * slope)[None]
        return delta, delta
    size = {gate: norm(grad[f"{name}.{gate}"]) for gate in cell.slots}
    of_input, of_state = (np.stack([size[gate] for gate in blocks]) for blocks in (cell.blocks_ih, cell.blocks_hh))
    return of_input, of_state


def _of_peepholes(tape: Tape, name: str) -> Floats:
    """The norms of what each step adds to the gradients of the peepholes of each gate, (gates, T, B)."""
    before = {initial: previous(tape, name, state)
              for state, initial in zip(tape.cell.states, tape.cell.initial, strict=True)}
    return np.stack([
        norm(tape.grad[f"{name}.{gate}"] * (before[seen] if seen in before else tape[f"{name}.{seen}"]))
        for gate, seen in tape.cell.peepholes.items()])


def steps_for_half(share: ArrayLike) -> Ints:
    """The smallest number of steps whose shares sum to at least half of the total.

    It is T/2, rounded up, if all steps contribute equally.

    Parameters
    ----------
    share : ndarray (T, B)
        One of the arrays of `step_share`.

    Returns
    -------
    ndarray (B,), int
        0 for a row without gradient.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import viz
    >>> viz.steps_for_half(np.array([[0.1], [0.4], [0.2], [0.3]])).tolist()
    [2]
    """
    share = np.sort(np.asarray(share, np.float64), axis=0)[::-1]
    sums = np.cumsum(share, axis=0)
    return np.where(sums[-1] > 0, (sums < sums[-1] / 2).sum(0) + 1, 0)
