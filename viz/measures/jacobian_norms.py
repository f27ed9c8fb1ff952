"""Norms of the products of Jacobians: how strongly the state depends on the state k steps earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._blas import on_one_blas_thread
from .._door import as_whole_tape
from .._tapes import Direction, check_direction
from ._spectral import SpectralNorm

if TYPE_CHECKING:
    from rnncore._typing import Floats, Ints
    from rnncore.recurrent.pullback import Carry
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

__all__ = ["jacobian_norms"]


@on_one_blas_thread
def jacobian_norms(tape: Tape | HasTape, direction: Direction = "forward") -> Floats:
    """‖∂s_T/∂s_{T-k}‖₂ = ‖J_T·J_{T-1}·…·J_{T-k+1}‖₂ for every lag k.

    Pascanu, Mikolov & Bengio (2013). s is the carry of the whole stack, h of all layers and for an LSTM
    also c of all layers. The Jacobian ∂h_t/∂h_{t-1} alone, with c held fixed, would miss the dependence
    through the cell state.

    Parameters
    ----------
    tape : Tape
        `backward` need not have been called.
    direction : {"forward", "reverse"}
        The direction of a bidirectional layer whose carry is differentiated; the outputs of the other
        direction, which are also inputs of the layer above, are held fixed. For "reverse" the lag is
        counted from each row's first step, with which that direction ends.

    Returns
    -------
    ndarray (T, B), float64
        Element k is the norm of the product over k steps; element 0 is 1. In every row the lag is counted
        from its own last step; NaN at lags of its length or more. Scales are kept as logarithms, so for
        any dtype of the layer a norm is 0 only if it is too small for float64, or exactly 0.

    Notes
    -----
    It is one `tape.pullback` with the identity as cotangents. This takes S times as long as one backward
    pass, and S² numbers of memory for each row. Each norm agrees with that of the SVD to 1e-9; see
    _spectral.py.

    Examples
    --------
    A ReLU network with W = 1.1·I and positive states grows by exactly 1.1 per step:

    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> rnn = rc.RNN(1, 3, nonlinearity="relu", bias=False, dtype="float64")
    >>> rnn.load_state_dict({"weight_ih_l0": np.ones((3, 1)), "weight_hh_l0": 1.1 * np.eye(3)})
    >>> viz.jacobian_norms(rnn.record(np.ones((4, 1, 1)))).ravel().round(3).tolist()
    [1.0, 1.1, 1.21, 1.331]
    """
    tape = as_whole_tape(tape)
    check_direction(tape, direction)
    lengths = np.asarray(tape.lengths)
    log = np.full((tape.T, tape.B), np.nan)
    if tape.T:
        log[0, lengths > 0] = 0.0
    spectral: SpectralNorm | None = None
    before = np.zeros(tape.B, int)
    for carry in tape.pullback(direction=direction):
        lag = np.array(carry.lag)
        rows = np.flatnonzero((lag > before) & (lag < lengths))
        before = lag
        if not rows.size:
            continue
        if spectral is None:
            K, _, S = carry.value.shape
            spectral = SpectralNorm(tape.B, K, S)
        product, scale = products(carry, rows)
        with np.errstate(divide="ignore"):
            log[lag[rows], rows] = np.log(spectral.norms(product, rows)) + scale
    with np.errstate(over="ignore", under="ignore"):
        norms: Floats = np.exp(log)
    return norms


def products(carry: Carry, rows: Ints) -> tuple[Floats, Floats]:
    """The Jacobian products of some rows of the batch: matrices (n, K, S) and the logarithms (n,) of their scales."""
    log_scale = carry.log_scale[:, rows].T  # (n, K)
    scale = log_scale.max(1, initial=-np.inf)
    M = carry.value[:, rows].transpose(1, 0, 2).astype(np.float64, order="C")
    if (log_scale != scale[:, None]).any():
        M *= np.exp(log_scale - scale[:, None])[:, :, None]
    return M, scale
