"""Numbers taken once an epoch while a network trains, each from a tape of one row.

They use one row, because a backward walk with as many cotangents as the state is wide costs as much
as that many backward passes: for one row of 100 steps at H = 128 a tenth of a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np

from .._layers import as_given
from ..measures.horizon import horizon
from ..measures.lyapunov_spectrum import lyapunov_spectrum
from ..measures.saturation import saturation

if TYPE_CHECKING:
    from rnncore.recurrent.tape import Tape


def leading_exponent(tape: Tape) -> float:
    """λ₁ in nats per step, without the first quarter of the steps; below 0 small changes die out."""
    x, warmup = as_given(tape, tape.input), tape.T // 4
    return float(lyapunov_spectrum(tape.layer, x, warmup, n=1, state=tape.initial)[0])


def saturated(tape: Tape) -> float:
    """The share of gate values in the outer tenths of their range; for a plain RNN, of its states.

    NaN for an RNN with another activation than tanh, ReLU or sigmoid.
    """
    shares = saturation(tape)
    if shares:
        return float(np.mean([low + high for low, high in shares.values()]))
    states = np.stack([tape[name] for name in tape.names("*.h")])
    curve = tape.cell.curve
    if curve == "relu":
        return float((states == 0).mean())
    if curve not in ("tanh", "sigmoid"):
        return math.nan
    return float(((states < (-0.9 if curve == "tanh" else 0.1)) | (states > 0.9)).mean())


MEASURES: dict[str, Callable[[Tape], SupportsFloat]] = {
    "lyapunov": leading_exponent,
    "horizon": lambda tape: horizon(tape)[0],
    "saturation": saturated,
}
