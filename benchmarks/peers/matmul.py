"""The machine's peak: the speed of a square matrix product by torch or numpy, whichever is faster.

numpy's OpenBLAS may have been built for an older CPU, so torch's product is timed too, and the faster
one counts as the peak. Environment variables that make OpenBLAS assume another CPU are ignored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from ..cases import Case
from ..twin import Numbers

SIZE = 1024  # three matrices of 4 MB in f32: large enough for full speed, 2.1 GFLOP a call
FLOPS = 2 * SIZE**3

# Removed from the worker's environment before its numpy is imported: an OpenBLAS that takes a CPU with
# AVX-512 for a Haswell reaches half of the peak.
ENVIRONMENT = {"OPENBLAS_CORETYPE": None, "OPENBLAS_L2_SIZE": None}


class Peer:
    """The fastest matrix product in this process."""

    def __init__(self, threads: int):
        self.products = {numpy_name(): numpy_product}
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
        """A product in the dtype of the case; it returns no numbers to compare."""
        return self.products[self.version](case.dtype), nothing


def numpy_name() -> str:
    """The version of numpy, and the kernels that its OpenBLAS chose."""
    with suppress(ImportError):
        from threadpoolctl import threadpool_info

        for library in threadpool_info():
            if "architecture" in library:
                kernels = f"{library['internal_api']}, {library['architecture']}"
                return f"numpy {np.__version__} ({kernels})"
    return f"numpy {np.__version__}"


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
