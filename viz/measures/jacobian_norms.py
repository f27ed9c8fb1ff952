"""Norms of the products of Jacobians: how strongly the state depends on the state k steps earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._tapes import Direction, check_direction
from ._spectral import SpectralNorm

if TYPE_CHECKING:
    from rnncore._typing import Floats, Ints
    from rnncore.recurrent.pullback import Carry
    from rnncore.recurrent.tape import Tape

__all__ = ["jacobian_norms"]


def jacobian_norms(tape: Tape, direction: Direction = "forward") -> Floats:
    """‖∂s_T/∂s_{T-k}‖₂ = ‖J_T·J_{T-1}·…·J_{T-k+1}‖₂ for every lag k.

    s is the carry of the whole stack, h of all layers and for an LSTM also c of all layers: with c
    held fixed, ∂h_t/∂h_{t-1} would miss what the cell state carries. Pascanu, Mikolov & Bengio (2013).

    Parameters
    ----------
    tape : Tape
        `backward` need not have been called.
    direction : {"forward", "reverse"}
        Which direction's carry to follow in a bidirectional layer; what the other direction feeds to
        the layer above is held fixed. For "reverse" the lag counts from each row's first step.

    Returns
    -------
    ndarray (T, B), float64
        Element k is the norm over k steps, element 0 is 1. A row counts back from its own last
        step; NaN at and beyond its length. The scale is kept as a logarithm, so whatever the dtype
        of the layer, a norm is 0 only below 1e-308 or where the product is exactly 0.

    Notes
    -----
    One walk of `tape.pullback` with the identity as cotangents: it takes T·S·(the adjoint of one
    step) in time and S² numbers in memory. Each norm agrees with that of the SVD to 1e-9, see
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
    """The Jacobian products of some rows of the batch: matrices (n, K, S) and their log scales (n,)."""
    log_scale = carry.log_scale[:, rows].T  # (n, K)
    scale = log_scale.max(1, initial=-np.inf)
    M = carry.value[:, rows].transpose(1, 0, 2).astype(np.float64, order="C")
    if (log_scale != scale[:, None]).any():
        M *= np.exp(log_scale - scale[:, None])[:, :, None]
    return M, scale
