"""Matrix products that do not wake numpy's own pool of threads.

The OpenBLAS inside numpy starts threads of its own once rows × k × columns exceeds 2¹⁸ (65,536 ×
GEMM_MULTITHREAD_THRESHOLD, 4 by default). They spin between calls and compete with the engine's threads. The three
products of a head (2,048 × 128 × 103, f32) took 53 ms of CPU time that way and 2 ms on one thread (2 busy cores, EPYC,
November 2026). So tall products are computed in blocks of rows below that limit. Then the bits do not depend
on a number of threads either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Array

ONE_THREAD = 2**18  # rows × k × columns
FEWEST = 8  # rows of a block; smaller blocks are slower than one call, since their products are of vectors
PARTS = 32  # blocks per call of numpy: bounds the memory of `outer`


def rows_times(a: Array, b: Array) -> Array:
    """(M, K) · (K, N), in blocks of rows."""
    (M, K), N = a.shape, b.shape[1]
    rows = ONE_THREAD // (K * N)
    out: Array
    if rows < FEWEST or rows >= M:
        out = a @ b
        return out
    out = np.empty((M, N), np.result_type(a, b))
    whole = M // rows * rows
    for start in range(0, whole, rows * PARTS):  # Ctrl-C takes effect between two parts
        part = slice(start, min(start + rows * PARTS, whole))
        np.matmul(a[part].reshape(-1, rows, K), b, out=out[part].reshape(-1, rows, N))
    np.matmul(a[whole:], b, out=out[whole:])
    return out


def outer(a: Array, b: Array) -> Array:
    """(M, K)ᵀ · (M, N), summed over the rows block by block in their order."""
    (M, K), N = a.shape, b.shape[1]
    rows = ONE_THREAD // (K * N)
    out: Array
    if rows < FEWEST or rows >= M:
        out = a.T @ b
        return out
    out = np.zeros((K, N), np.result_type(a, b))
    whole = M // rows * rows
    for start in range(0, whole, rows * PARTS):
        part = slice(start, min(start + rows * PARTS, whole))
        blocks = a[part].reshape(-1, rows, K).swapaxes(1, 2) @ b[part].reshape(-1, rows, N)
        for block in blocks:
            out += block
    out += a[whole:].T @ b[whole:]
    return out
