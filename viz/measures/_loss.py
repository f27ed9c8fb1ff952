"""The forms in which a measure accepts a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from rnncore._typing import Array

from .._layers import time_major

if TYPE_CHECKING:
    from rnncore.recurrent.tape import Tape

Loss: TypeAlias = Array | Callable[[Array], Array | tuple[object, Array]]
"""∂L/∂y laid out like `tape.output`, or a function output -> ∂L/∂y, or output -> (value, ∂L/∂y)."""


def output_gradient(tape: Tape, loss: Loss, name: str = "loss") -> Array:
    """(T, B, D·H): ∂L/∂y of a loss, time-major whatever the layer's layout."""
    given = loss(tape.output) if callable(loss) else loss
    g = np.asarray(given[1] if isinstance(given, tuple) else given)
    if g.shape != np.shape(tape.output):
        raise ValueError(
            f"{name}: got a gradient of shape {g.shape}, expected {np.shape(tape.output)}, as "
            "tape.output; pass ∂L/∂y, or a function output -> (value, ∂L/∂y) such as "
            "lambda y: rnncore.nn.mse(y, target)"
        )
    return time_major(tape, g)
