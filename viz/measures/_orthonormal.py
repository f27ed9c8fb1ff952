"""The QR decomposition for Lyapunov exponents: makes rows orthonormal in place, and returns the diagonal of R.

DESIGN. numpy's Householder QR of 256×256 takes 3.4 ms (one thread of a 2.x GHz Xeon with AVX-512,
OpenBLAS), most of it outside of matrix products. Here the rows are divided into panels of 64. Each is
made orthogonal to the panels before it, and then orthonormalised with the Cholesky factor of its Gram
matrix. This takes a third of the time. One such pass leaves an error of eps·spread², where spread is the
largest element of the factor's diagonal divided by the smallest. If it is large, a second pass follows.
If the factorisation fails, because a row has vanished, Householder's method is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Array, Floats

PANEL = 64
CLOSE = 1e3  # up to this spread one pass is enough: its error is about 1e-10
FAR = 1e7  # beyond this spread the Gram matrix is not safely positive definite in float64


def orthonormalise_rows(V: Array) -> Floats:
    """Make the rows of V (n, S) orthonormal, in order; returns |R_ii| (n,) of Vᵀ = Q·R."""
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
    """As `orthonormalise_rows`, panel by panel; V is unchanged if a LinAlgError is raised."""
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
