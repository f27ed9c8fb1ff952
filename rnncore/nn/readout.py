"""Readouts: the part of a recurrent layer's output that the head reads, and its adjoint.

steps  the output of every step: one prediction per step
last   the state after the last step: one prediction per sequence
mean   the mean of the outputs over a sequence's own steps: one prediction per sequence
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rnncore._checks import as_lengths
from rnncore.recurrent.layout import Layout, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rnncore._typing import Array, ArrayLike, State
    from rnncore.recurrent.base import RecurrentLayer

    Readout = Literal["steps", "last", "mean"]
    Adjoint = Callable[[Array], tuple[Array | None, State | None]]

READOUTS: tuple[Readout, ...] = ("steps", "last", "mean")


def read_out(
    readout: Readout, layer: RecurrentLayer, output: Array, state: State, lengths: ArrayLike | None
) -> tuple[Array, Adjoint]:
    """The input of the head, and a function that maps its gradient to ∂L/∂output and ∂L/∂state.

    Parameters
    ----------
    readout : {"steps", "last", "mean"}
    layer : RNN, GRU or LSTM
    output, state
        The results of a call of `layer`, in its layout.
    lengths : integer array (B,) or None

    Returns
    -------
    ndarray
        As `output`, or (B, H·directions).
    callable
        Maps the gradient of that array to ``(grad_output, grad_state)``, one of which is None.
    """
    if readout == "steps":
        return output, lambda grad: (grad, None)
    if readout == "mean":
        return _mean(layer, output, lengths)
    return _last(layer, state)


def _mean(layer: RecurrentLayer, output: Array, lengths: ArrayLike | None) -> tuple[Array, Adjoint]:
    layout = Layout.of(output, layer.batch_first)
    outputs = layout.time_major(output)
    steps, rows = outputs.shape[:2]
    row_lengths = as_lengths(lengths, steps, rows)
    share: Any
    if row_lengths is None:
        share = output.dtype.type(1 / max(steps, 1))
    else:  # a row of length 0 has the mean 0
        share = (1 / np.maximum(row_lengths, 1)).astype(output.dtype)[:, None]
    mean: Array = outputs.sum(axis=0) * share

    def adjoint(grad: Array) -> tuple[Array, None]:
        every = np.broadcast_to(grad.reshape(mean.shape) * share, outputs.shape)
        return layout.as_given(every), None

    return mean if layout.batched else mean[0], adjoint


def _last(layer: RecurrentLayer, state: State) -> tuple[Array, Adjoint]:
    """The final state of each direction of the last layer; the reverse direction ends at the first step."""
    h = parts_of(state)[0]
    ends = h[-layer.directions :].swapaxes(0, -2)  # ([B,] directions, H)

    def adjoint(grad: Array) -> tuple[None, State]:
        grad_h = np.zeros_like(h)
        grad_h[-layer.directions :] = grad.reshape(ends.shape).swapaxes(0, -2)
        rest = [np.zeros_like(part) for part in parts_of(state)[1:]]
        return None, (grad_h, *rest) if rest else grad_h

    return ends.copy().reshape(*ends.shape[:-2], layer.structure.features), adjoint
