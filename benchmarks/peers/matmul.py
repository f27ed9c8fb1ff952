"""The machine's matrix peak: one square product, by whichever of torch and numpy is faster here.

numpy's OpenBLAS may have been built or told (``OPENBLAS_CORETYPE``) for an older CPU, so
torch's is asked too; the faster one is called the peak.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ..cases import Case
from ..twin import Numbers

SIZE = 1024  # three matrices of 4 MB in f32: large enough for full speed, 2.1 GFLOP a call
FLOPS = 2 * SIZE**3


class Peer:
    """One process's fastest matrix product."""

    def __init__(self, threads: int):
        self.products = {f"numpy {np.__version__}": numpy_product}
        try:
            import torch
        except ImportError:
            pass
        else:
            torch.set_num_threads(threads)
            self.products[f"torch {torch.__version__}"] = torch_product
        seconds = {name: best(make("float32")) for name, make in self.products.items()}
        self.version = min(seconds, key=seconds.__getitem__)

    def prepare(self, case: Case, mode: str) -> tuple[Callable, Callable]:
        """A product in the case's dtype; it has no numbers to compare."""
        return self.products[self.version](case.dtype), nothing


def nothing(result: object) -> Numbers:
    return {}


def operands(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return tuple(rng.standard_normal((SIZE, SIZE)).astype(dtype) for _ in range(2))


def numpy_product(dtype: str) -> Callable:
    a, b = operands(dtype)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)


def torch_product(dtype: str) -> Callable:
    import torch

    a, b = map(torch.from_numpy, operands(dtype))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def best(call: Callable, times: int = 5) -> float:
    call()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
