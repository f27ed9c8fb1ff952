"""The linear algebra of numpy on one thread, while a measure walks back through time.

A walk takes turns between the engine and small decompositions. The OpenBLAS inside numpy starts threads of its own for
many of these, which gain nothing at such sizes, and which keep spinning after each call, on the CPU that the
engine needs next: the Jacobian norms of an LSTM (100 steps, 16 rows, 64 units) took 0.55 s with one BLAS thread and
4 s with two (2 busy cores, EPYC Zen 5, November 2026). On one thread the bits do not depend on their number either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def on_one_blas_thread(measure: Callable[P, R]) -> Callable[P, R]:
    """Decorator: numpy's BLAS uses one thread while the function runs, and as many as before after it."""

    @wraps(measure)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with _one_thread():
            return measure(*args, **kwargs)

    return run


_lock = threading.Lock()
_inside = 0  # calls that run at present, in all threads
_limit: Any = None  # what restores the number of threads when the last of them ends


@contextmanager
def _one_thread() -> Iterator[None]:
    global _inside, _limit
    blas = _blas()
    if blas is None:
        yield
        return
    with _lock:
        if not _inside:
            _limit = blas.limit(limits=1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _limit.restore_original_limits()


@cache
def _blas() -> Any:
    """The BLAS libraries of this process, as threadpoolctl sees them; None if it is not installed."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")
