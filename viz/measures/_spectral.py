"""‖M‖₂ of a matrix that changes little from call to call, with a proven error of at most 1e-9.

DESIGN. A walk of 1,000 steps through an LSTM of H = 128 needs 1,000 norms of 256×256 matrices. One
SVD takes 4.7 ms there (values only, one thread of a 2.x GHz Xeon with AVX-512, OpenBLAS), so all of
them take 5 s. The left singular vectors of J_T·…·J_{T-k} converge as k grows. So a small block of them
is kept from call to call, and improved by block Lanczos on G = M·Mᵀ, in 0.2–0.4 ms per lag.

The largest Ritz value θ is a Rayleigh quotient, so θ ≤ ‖M‖₂² in any case. That ‖M‖₂² is not larger, in a
direction that the Krylov space has missed, is proven by the first of these that succeeds:

1. ‖M‖₂² ≤ θ + r²/(θ − ν), where r is the norm of the residual of the Ritz vector of θ, and ν an upper
   bound for the eigenvalues of G on the space orthogonal to that vector: the larger one of the next Ritz
   value and the part of the trace of G outside of the Krylov space, plus the norm of the other
   residuals. This costs nothing, and suffices if a few directions dominate.
2. θ·(1 + tol)·I − G has a Cholesky factor, so it is positive definite. This takes 1 ms, and helps if
   many singular values are of similar size.
3. The SVD itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Bools, Floats, Ints

SMALL = 96  # up to this width the SVD is as fast as block Lanczos
BLOCK = 8  # directions kept from call to call
PASSES = 6  # the largest number of blocks in the Krylov space
TOLERANCE = 4e-10  # relative, of the squared norm: 2e-10 of the norm


class SpectralNorm:
    """The 2-norms of K×S matrices, one for each row of a batch, which change little from call to call.

    Parameters
    ----------
    batch, K, S : int
    """

    def __init__(self, batch: int, K: int, S: int) -> None:
        self._small = min(K, S) <= SMALL
        self._seen = np.zeros(batch, bool)  # rows of the batch for which `_left` is known
        self._left = np.zeros((batch, K, 0 if self._small else BLOCK))  # leading left singular vectors

    def norms(self, M: Floats, rows: Ints) -> Floats:
        """The norms (n,) of the matrices M (n, K, S), float64, that belong to the rows of the batch `rows` (n,).

        The singular vectors that are found for a row are the start of the next call for that row.
        """
        energy: Floats = np.einsum("nij,nij->n", M, M)  # ‖M‖_F²
        in_range = (energy > 1e-200) & (energy < 1e200)
        if not in_range.all():
            return self._scaled(M, rows, in_range)
        if self._small:
            return cast("Floats", np.linalg.svd(M, compute_uv=False))[:, 0]
        out, seen = np.empty(len(M)), self._seen[rows]
        if not seen.all():
            out[~seen] = self._first(M[~seen], rows[~seen])
        if seen.all():
            out = self._improve(M, rows, energy)
        elif seen.any():
            out[seen] = self._improve(M[seen], rows[seen], energy[seen])
        return out

    def _scaled(self, M: Floats, rows: Ints, in_range: Bools) -> Floats:
        """As `norms`, where those matrices that are not `in_range` are scaled, so that their squares are.

        The norm of a zero matrix is 0, and that of a matrix with values that are not finite is NaN.
        """
        largest = np.abs(M).max((1, 2))
        largest[in_range] = 1.0
        out = np.where(largest == 0, 0.0, np.nan)
        usable = (largest > 0) & np.isfinite(largest)
        if usable.any():
            scale = largest[usable]
            out[usable] = self.norms(M[usable] / scale[:, None, None], rows[usable]) * scale
        return out

    def _first(self, M: Floats, rows: Ints) -> Floats:
        """Norms by the SVD, whose leading left singular vectors are kept."""
        U, s, _ = np.linalg.svd(M)
        self._left[rows] = U[:, :, :BLOCK]
        self._seen[rows] = True
        largest: Floats = s[:, 0]
        return largest

    def _improve(self, M: Floats, rows: Ints, energy: Floats) -> Floats:
        """Norms by block Lanczos from the singular vectors that were kept, until each is proven."""
        n, K, _ = M.shape
        Q = np.empty((n, K, PASSES * BLOCK))  # orthonormal
        Z = np.empty_like(Q)  # G·Q
        Q[:, :, :BLOCK] = self._left[rows]
        Mt = M.swapaxes(1, 2)
        for m in range(BLOCK, (PASSES + 1) * BLOCK, BLOCK):
            Z[:, :, m - BLOCK : m] = M @ (Mt @ Q[:, :, m - BLOCK : m])
            q, z = Q[:, :, :m], Z[:, :, :m]
            theta, W = np.linalg.eigh(q.swapaxes(1, 2) @ z)
            top, settled, proven = self._judge(q, z, theta, W, energy)
            if settled.all() or m == PASSES * BLOCK:
                break
            Q[:, :, m : m + BLOCK] = self._new_block(q, z[:, :, m - BLOCK :])
        self._left[rows] = q @ W[:, :, -BLOCK:]
        for b in np.flatnonzero(~proven):
            if not (settled[b] and self._no_larger(M[b], top[b])):
                top[b] = np.linalg.svd(M[b], compute_uv=False)[0] ** 2
        norms: Floats = np.sqrt(top)
        return norms

    @staticmethod
    def _judge(
        q: Floats, z: Floats, theta: Floats, W: Floats, energy: Floats
    ) -> tuple[Floats, Bools, Bools]:
        """θ of each matrix; whether its vector has converged; and whether the first bound above proves θ."""
        top, second = theta[:, -1], theta[:, -2]
        residuals = z @ W - (q @ W) * theta[:, None, :]
        squares: Floats = np.square(residuals).sum(1)
        r2, others = squares[:, -1], np.sqrt(squares[:, :-1].sum(1))
        nu = np.maximum(second, energy - theta.sum(1)) + others
        with np.errstate(divide="ignore", invalid="ignore"):
            settled: Bools = np.minimum(np.sqrt(r2), r2 / (top - second)) <= TOLERANCE * top / 4
            proven: Bools = (nu < top) & (r2 / (top - nu) <= TOLERANCE * top)
        return top, settled | proven, proven

    @staticmethod
    def _new_block(q: Floats, z: Floats) -> Floats:
        """Orthonormal columns that span the part of z orthogonal to q; a second pass restores lost digits."""
        for _ in range(2):
            z = np.linalg.qr(z - q @ (q.swapaxes(1, 2) @ z))[0]
        return z

    @staticmethod
    def _no_larger(M: Floats, top: float) -> bool:
        """Whether a Cholesky factorisation proves that ‖M‖₂² is at most `top`, within the tolerance."""
        G = M @ M.T
        np.negative(G, out=G)
        G.flat[:: len(G) + 1] += top * (1 + TOLERANCE)
        try:
            np.linalg.cholesky(G)
        except np.linalg.LinAlgError:
            return False
        return True
