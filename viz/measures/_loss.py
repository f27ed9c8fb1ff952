"""How a measure is told about a loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._layers import time_major

Loss = np.ndarray | Callable
"""∂L/∂y like `tape.output`, or a function output -> that array, or -> (value, that array)."""


def output_gradient(tape, loss: Loss, name: str = "loss") -> np.ndarray:
    """(T, B, D·H): ∂L/∂y of a loss, time-major whatever the layer's layout."""
    if callable(loss):
        loss = loss(tape.output)
        if isinstance(loss, tuple):
            loss = loss[1]
    g = np.asarray(loss)
    if g.shape != np.shape(tape.output):
        raise ValueError(
            f"{name}: got a gradient of shape {g.shape}, expected {np.shape(tape.output)}, as "
            "tape.output; pass ∂L/∂y, or a function output -> (value, ∂L/∂y) such as "
            "lambda y: rnncore.nn.mse(y, target)"
        )
    return time_major(tape, g)
