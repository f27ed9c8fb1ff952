"""The slopes of the nonlinearities where a network really was."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._door import as_tape
from .._tapes import Recorded, is_reverse, part_of, valid_steps

if TYPE_CHECKING:
    from rnncore._typing import Floats

    from .._tapes import HasTape

__all__ = ["Slopes", "slopes"]


class Slopes(NamedTuple):
    """Where on its nonlinearity φ a gate was, at every step: every gradient that passes through is multiplied by φ′(a).

    Attributes
    ----------
    curve : str
        φ: "sigmoid", "tanh" or "relu", or the name of another activation that the layer was made with.
    preactivation : ndarray (T, B, H)
        a, computed back from φ(a). It is infinite where φ(a) was rounded to an end of its range, and NaN where
        a ReLU gave 0, since a may be any number below 0; beyond a row's end it is NaN. With `gate_clip` it is a
        after it was bounded.
    slope : ndarray (T, B, H)
        φ′(a), as the backward pass computes it from φ(a), and 0 where a was bounded; NaN beyond a row's end.
    """

    curve: str
    preactivation: Floats
    slope: Floats


def slopes(tape: Recorded | HasTape) -> dict[str, Slopes]:
    """The slope φ′(a) of every gate at every step, and the pre-activation a that it belongs to.

    σ′ is at most 1/4 and tanh′ at most 1, both at a = 0; far from it they are close to 0.

    Parameters
    ----------
    tape : Tape or Frame

    Returns
    -------
    dict of str to Slopes
        By gate: "l0.i", "l0.f", "l0.g", "l0.o" for an LSTM, and "l0.h" for a plain RNN. float64. The f of coupled gates
        is 1 − i and has no slope of its own.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> found = viz.slopes(rc.LSTM(2, 3, seed=0).record(np.ones((5, 1, 2))))
    >>> {name: each.curve for name, each in found.items()}
    {'l0.i': 'sigmoid', 'l0.f': 'sigmoid', 'l0.g': 'tanh', 'l0.o': 'sigmoid'}
    >>> bool(found["l0.f"].slope.max() <= 0.25)
    True
    """
    tape = as_tape(tape)
    gated = bool(tape.cell.gates)
    past = ~valid_steps(tape)
    out: dict[str, Slopes] = {}
    for name in tape.names("*"):
        part = part_of(name)
        activation = tape.cell.activation_of(part, is_reverse(name))
        if activation is None or (gated and part in tape.cell.states):
            continue
        value = np.array(tape[name], np.float64)
        slope = activation.slope(value, np.dtype(tape.dtype))
        value[past] = slope[past] = np.nan
        out[name] = Slopes(activation.name, activation.inverse(value), slope)
    return out
