"""Gradient flow: how large the loss's gradient is at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._door import as_tape
from .._norms import norm
from .._tapes import Recorded, check_backward, state_gradients

if TYPE_CHECKING:
    from rnncore._typing import Floats

    from .._tapes import HasTape

__all__ = ["gradient_flow"]


def gradient_flow(tape: Recorded | HasTape) -> dict[str, Floats]:
    """‖∂L/∂h_t‖ and ‖∂L/∂c_t‖ at every step, after `tape.backward`.

    Hochreiter (1991), Bengio, Simard & Frasconi (1994). The derivatives are total: they include the
    effect on the loss through all later steps, and for c also through h of the same step.

    Parameters
    ----------
    tape : Tape or Frame
        After `backward` with one cotangent.

    Returns
    -------
    dict of str to ndarray (T, B), float64
        By the names of the states: "l0.h", for an LSTM also "l0.c", for the reverse direction
        "l0.reverse.h", …, then "l1.h", …. Both directions are indexed by input time. 0 past a row's end.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 3, seed=0).record(np.ones((5, 1, 2)))
    >>> grads = tape.backward(np.ones((5, 1, 3)))
    >>> {name: flow.shape for name, flow in viz.gradient_flow(tape).items()}
    {'l0.h': (5, 1), 'l0.c': (5, 1)}
    """
    tape = as_tape(tape)
    check_backward(tape)
    return {name: norm(grad) for name, grad in state_gradients(tape).items()}
