"""Matrix products that leave numpy's second pool of threads asleep.

The OpenBLAS inside numpy starts threads of its own once rows × k × columns passes 2¹⁸ (65,536 ×
GEMM_MULTITHREAD_THRESHOLD, 4 by default); they spin between calls, against the engine's. The three
products of a head (2,048 × 128 × 103, f32) took 53 ms of CPU time that way and 2 ms on one thread
(2 busy cores, EPYC, November 2026). So tall products go through in blocks of rows below the limit.
The bits then do not depend on a number of threads either.
"""

from __future__ import annotations

import numpy as np

ONE_THREAD = 2**18  # rows × k × columns
FEWEST = 8  # rows in a block; with fewer the products are vectors, and one call is better
PARTS = 32  # blocks in flight: bounds the memory of `outer`


def rows_times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(M, K) · (K, N): a row at a time is what the blocks are made of."""
    (M, K), N = a.shape, b.shape[1]
    rows = ONE_THREAD // (K * N)
    if rows < FEWEST or rows >= M:
        return a @ b
    out = np.empty((M, N), np.result_type(a, b))
    whole = M // rows * rows
    for start in range(0, whole, rows * PARTS):  # between two, Ctrl-C is heard
        part = slice(start, min(start + rows * PARTS, whole))
        np.matmul(a[part].reshape(-1, rows, K), b, out=out[part].reshape(-1, rows, N))
    np.matmul(a[whole:], b, out=out[whole:])
    return out


def outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(M, K)ᵀ · (M, N), summed over the rows block by block in their order."""
    (M, K), N = a.shape, b.shape[1]
    rows = ONE_THREAD // (K * N)
    if rows < FEWEST or rows >= M:
        return a.T @ b
    out = np.zeros((K, N), np.result_type(a, b))
    whole = M // rows * rows
    for start in range(0, whole, rows * PARTS):
        part = slice(start, min(start + rows * PARTS, whole))
        blocks = a[part].reshape(-1, rows, K).swapaxes(1, 2) @ b[part].reshape(-1, rows, N)
        for block in blocks:
            out += block
    out += a[whole:].T @ b[whole:]
    return out
