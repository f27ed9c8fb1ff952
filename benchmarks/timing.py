"""Seconds a call takes: enough calls to be measured, and a few before that are not counted."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable


def calibrate(call: Callable, seconds: float) -> int:
    """How many calls fill ``seconds``, at least one."""
    loops, took = 1, sample(call, 1)
    while loops * took < seconds / 2:
        loops = math.ceil(min(seconds / took, 10 * loops))
        took = sample(call, loops)
    return max(1, math.ceil(seconds / took))


def sample(call: Callable, loops: int, warm: float = 0.0) -> float:
    """Mean seconds of ``loops`` calls, after calls for ``warm`` seconds; no collector between."""
    start = time.perf_counter()
    while time.perf_counter() - start < warm:
        call()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(loops):
            call()
        return (time.perf_counter() - start) / loops
    finally:
        gc.enable()
