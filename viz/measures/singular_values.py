"""The leading singular values of the products of Jacobians."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore._checks import as_size

from .._blas import on_one_blas_thread
from .._door import as_whole_tape
from .._tapes import Direction, check_direction
from .jacobian_norms import products

if TYPE_CHECKING:
    from rnncore._typing import Floats, Ints
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

__all__ = ["singular_values"]


@on_one_blas_thread
def singular_values(
    tape: Tape | HasTape, n: int = 8, every: int = 1, direction: Direction = "forward"
) -> tuple[Ints, Floats]:
    """The largest singular values σ₁ ≥ … ≥ σ_n of ∂s_T/∂s_{T-k}: how many directions of a state have an effect.

    Parameters
    ----------
    tape : Tape
    n : int
        The number of singular values; at most the size S of the carry are returned.
    every : int
        The lags are 0, every, 2·every, …. Each takes a full SVD, 5 ms for S = 256.
    direction : {"forward", "reverse"}
        As in `jacobian_norms`.

    Returns
    -------
    lags : ndarray (N,), int
    sigma : ndarray (N, B, n), float64
        ``sigma[:, :, 0]`` equals `jacobian_norms` at these lags. NaN at lags of a row's length or more. The
        product is computed in the layer's dtype, so values below its rounding error, eps·σ₁, mean nothing.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> lags, sigma = viz.singular_values(rc.GRU(2, 4, seed=0).record(np.ones((6, 1, 2))), n=3)
    >>> lags.tolist(), sigma.shape
    ([0, 1, 2, 3, 4, 5], (6, 1, 3))
    """
    tape = as_whole_tape(tape)
    check_direction(tape, direction)
    n, every = as_size(n, "n"), as_size(every, "every")
    lengths = np.asarray(tape.lengths)
    lags = np.arange(0, tape.T, every)
    sigma: Floats | None = None
    before = np.zeros(tape.B, int)
    for carry in tape.pullback(direction=direction):
        if sigma is None:
            n = min(n, carry.value.shape[-1])
            sigma = np.full((len(lags), tape.B, n), np.nan)
            sigma[0, lengths > 0] = 1.0
        lag = np.array(carry.lag)
        rows = np.flatnonzero((lag > before) & (lag < lengths) & (lag % every == 0))
        before = lag
        if not rows.size:
            continue
        product, scale = products(carry, rows)
        values = np.full((len(rows), n), np.nan)
        finite = np.isfinite(product).all((1, 2))
        values[finite] = np.linalg.svd(product[finite], compute_uv=False)[:, :n]
        with np.errstate(over="ignore", under="ignore"):
            sigma[lag[rows] // every, rows] = values * np.exp(scale)[:, None]
    return lags, np.empty((0, tape.B, n)) if sigma is None else sigma
