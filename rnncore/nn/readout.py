"""What the head reads of a recurrent layer, and the adjoint of that.

steps  the output of every step: one prediction a step
last   the state after the last step: one prediction a sequence
mean   the mean of the outputs over a sequence's own steps: one prediction a sequence
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnncore._checks import as_lengths
from rnncore.recurrent.layout import Layout, parts_of

READOUTS = ("steps", "last", "mean")


def read_out(
    readout: str, layer, output: np.ndarray, state, lengths
) -> tuple[np.ndarray, Callable[[np.ndarray], tuple]]:
    """What the head reads, and a function from ∂L/∂that to ∂L/∂output and ∂L/∂state.

    Parameters
    ----------
    readout : {"steps", "last", "mean"}
    layer : RNN, GRU or LSTM
    output, state
        Of a call of `layer`, in its layout.
    lengths : integer array (B,) or None

    Returns
    -------
    ndarray
        As `output`, or (B, H·directions).
    callable
        From the gradient of it to ``(grad_output, grad_state)``, one of which is None.
    """
    if readout == "steps":
        return output, lambda grad: (grad, None)
    if readout == "mean":
        return _mean(layer, output, lengths)
    return _last(layer, state)


def _mean(layer, output, lengths):
    layout = Layout.of(output, layer.batch_first)
    outputs = layout.time_major(output)
    steps, rows = outputs.shape[:2]
    lengths = as_lengths(lengths, steps, rows)
    if lengths is None:
        share = output.dtype.type(1 / max(steps, 1))
    else:  # a row of length 0 has the mean 0
        share = (1 / np.maximum(lengths, 1)).astype(output.dtype)[:, None]
    mean = outputs.sum(axis=0) * share

    def adjoint(grad):
        every = np.broadcast_to(grad.reshape(mean.shape) * share, outputs.shape)
        return layout.as_given(every), None

    return mean if layout.batched else mean[0], adjoint


def _last(layer, state):
    """Of each direction of the last layer: the reverse one ends at the first step."""
    h = parts_of(state)[0]
    ends = h[-layer.directions :].swapaxes(0, -2)  # ([B,] directions, H)

    def adjoint(grad):
        grad_h = np.zeros_like(h)
        grad_h[-layer.directions :] = grad.reshape(ends.shape).swapaxes(0, -2)
        rest = [np.zeros_like(part) for part in parts_of(state)[1:]]
        return None, (grad_h, *rest) if rest else grad_h

    return ends.copy().reshape(*ends.shape[:-2], layer.directions * layer.hidden_size), adjoint
