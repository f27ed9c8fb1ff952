"""Connectivity: which inputs a prediction depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._door import as_whole_tape
from .._layers import as_given, record_again, time_major
from .._norms import norm
from .._tapes import valid_steps
from ._loss import Loss, output_gradient

if TYPE_CHECKING:
    from rnncore._typing import Floats
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

__all__ = ["connectivity"]

BYTES = 64e6  # memory for gradients: so many cotangents are propagated at once


def connectivity(tape: Tape | HasTape, logit: Loss, scaled: bool = True) -> Floats:
    """‖∂logit_s/∂x_t‖₂ for every readout step s and every input step t.

    Madsen (2019, Distill). Unlike `dependency_map` it differentiates with respect to the input and not to
    the state, so it includes all paths through all layers and both directions.

    Parameters
    ----------
    tape : Tape
        `backward` need not have been called, and `tape.grad` is left as it is.
    logit : ndarray, or callable
        ∂logit_{s,target}/∂y_s for every s, laid out like `tape.output` (for a linear readout that is
        ``weight[target]``), or a function of `tape.output` that returns it, alone or as (value,
        gradient).
    scaled : bool
        Divide the values of each readout step s by their maximum.

    Returns
    -------
    ndarray (T, T, B), float64
        ``[s, t, b]``. NaN past a row's end, and for t > s unless the layer is bidirectional.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> lstm = rc.LSTM(2, 3, seed=0)
    >>> weight, target = np.eye(3), np.array([0, 2, 1, 1])
    >>> map = viz.connectivity(lstm.record(np.ones((4, 1, 2))), weight[target][:, None])
    >>> map.shape, float(np.nanmax(map[3]))
    ((4, 4, 1), 1.0)
    """
    tape = as_whole_tape(tape)
    g = output_gradient(tape, logit, "logit")
    T, B, _ = g.shape
    valid = valid_steps(tape)
    out = np.full((T, T, B), np.nan)
    if not T or not B:
        return out
    own = record_again(tape)  # backward overwrites the gradients of its tape
    width = len(tape.names("*")) * tape.layer.hidden_size + tape.layer.input_size
    chunk = max(1, int(BYTES / (T * B * width * tape.dtype.itemsize)))
    for first in range(0, T, chunk):
        steps = np.arange(first, min(first + chunk, T))
        cotangents = np.zeros((len(steps), *g.shape), tape.dtype)
        cotangents[np.arange(len(steps)), steps] = g[steps]
        grads = own.backward(as_given(tape, cotangents), parameters=False)
        out[steps] = norm(time_major(tape, grads.input))
    if not tape.layer.bidirectional:
        out[np.triu_indices(T, 1)] = np.nan
    out[~(valid[:, None] & valid[None])] = np.nan
    if scaled:
        largest = np.fmax.reduce(out, axis=1, initial=0.0)[:, None]
        out = out / np.where(largest > 0, largest, 1.0)
    return out
