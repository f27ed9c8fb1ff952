"""How often a step of a stream takes long: ``python -m benchmarks.outliers --help``.

A thread that must answer in time is hurt by its slowest steps, not by the mean. Every step is timed by itself, and
those that take more than three times the median are counted. Whatever interrupts a program, such as timers of the
operating system, interrupts any loop, so the same loop around an empty compiled call (``operator.is_`` of the same two
arrays) takes turns with it, a thousand calls each.
"""

from __future__ import annotations

import argparse
import gc
import operator
from array import array
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import numpy as np
from tqdm import tqdm

from . import machine

TURN = 1000         # calls of a turn
OUTLIER = 3         # times the median


def timed(call: Callable, x: Any, out: Any, times: array) -> None:
    """Append the nanoseconds of each of `TURN` calls, the clock's own included."""
    append, clock = times.append, perf_counter_ns
    before = clock()
    for _ in range(TURN):
        call(x, out)
        now = clock()
        append(now - before)
        before = now


def outliers(times: np.ndarray) -> tuple[float, int]:
    """The median, and how many are more than three times as long.

    Examples
    --------
    >>> outliers(np.array([10, 10, 11, 30, 34]))
    (11.0, 1)
    """
    middle = float(np.median(times))
    return middle, int((times > OUTLIER * middle).sum())


def measure(cell: str, I: int, H: int, steps: int) -> list[np.ndarray]:
    """Nanoseconds of `steps` steps, and of as many empty calls."""
    import rnncore

    stream = getattr(rnncore, cell)(I, H, seed=0).stream()
    x = np.random.default_rng(0).standard_normal((1, I), np.float32)
    out = np.empty((1, H), np.float32)
    arms = [(stream.step, array("q")), (operator.is_, array("q"))]
    for call, _ in arms:
        timed(call, x, out, array("q"))
    gc.disable()
    try:
        for _ in tqdm(range(max(1, steps // TURN)), desc=f"{cell} {I},{H}", leave=False):
            for call, times in arms:
                timed(call, x, out, times)
    finally:
        gc.enable()
    return [np.frombuffer(times, np.int64) for _, times in arms]


def main(arguments: list[str] | None = None) -> None:
    description = (__doc__ or "").partition("\n\n")[2]
    made = argparse.ArgumentParser(prog="python -m benchmarks.outliers", description=description)
    made.add_argument("--cells", nargs="+", default=["LSTM", "GRU"])
    made.add_argument("--sizes", nargs="+", metavar="I,H", default=["1,8", "8,32", "64,64"])
    made.add_argument("--steps", type=int, default=10**6, help="steps of each (%(default)s)")
    options = made.parse_args(arguments)
    machine.pin(1)
    print(f"{machine.cpu_name()}; medians in ns with the clock, and how many of {options.steps:,} calls took more than "
          f"{OUTLIER} times as long\n\n| cell | I,H | step | outliers | empty call | outliers | ratio |\n"
          "| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for cell in options.cells:
        for size in options.sizes:
            (step, slow), (empty, base) = map(outliers, measure(cell, *map(int, size.split(",")), options.steps))
            share = f"{slow / base:.2f}" if base else "–"
            print(f"| {cell} | {size} | {step:.0f} | {slow} | {empty:.0f} | {base} | {share} |", flush=True)


if __name__ == "__main__":
    main()
