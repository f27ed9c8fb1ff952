"""How many seconds a call takes, measured on enough calls, after a few that are not counted."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable


def calibrate(call: Callable, seconds: float) -> int:
    """How many calls take ``seconds``; at least one."""
    loops, took = 1, sample(call, 1)
    while loops * took < seconds / 2:
        loops = math.ceil(min(seconds / took, 10 * loops))
        took = sample(call, loops)
    return max(1, math.ceil(seconds / took))


def sample(call: Callable, loops: int, warm: float = 0.0) -> float:
    """Mean seconds of ``loops`` calls with the garbage collector off, after ``warm`` seconds of uncounted calls."""
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


def spaced(call: Callable, count: int, pause: float) -> list[float]:
    """Seconds of each of ``count`` calls with ``pause`` seconds of sleep before each, the garbage collector off."""
    times = []
    gc.disable()
    try:
        for _ in range(count):
            time.sleep(pause)
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    finally:
        gc.enable()
    return times
