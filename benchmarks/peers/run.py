"""Measuring one point: all libraries are checked first, then timed in turn, round after round."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from .. import machine, twin
from . import Unsupported, matmul
from .coordinator import Died, Worker

# Largest |a − b| of an array, relative to max|b| of the float64 twin, with which a library's numbers
# still count as right. With float32 sums of up to T·B = 16,000 terms in any order, and each library's
# own tanh, 1e-6 is usual; a wrong gate or a missing bias gives 1e-2 and more.
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


@dataclass
class Point:
    """The measurements of one case, mode and number of threads."""

    case: Any  # a Case, a Model or Nets: with cell, label, dtype, and flops(mode) where speeds are shown
    mode: str
    threads: int
    samples: dict[str, list[float]] = field(default_factory=dict)  # seconds per call, by library
    absent: dict[str, str] = field(default_factory=dict)  # why a library was not measured
    rounds: int = 0

    @property
    def key(self) -> str:
        """The point in words; each has different ones."""
        return f"{self.case.cell} {self.case.label} {self.mode} {self.threads}"

    @property
    def seconds(self) -> dict[str, float]:
        """Median seconds per call of the libraries that were measured."""
        return {name: median(times) for name, times in self.samples.items() if times}

    def gflops(self, name: str) -> float:
        """10⁹ operations (see :meth:`Case.flops`) per second."""
        return self.case.flops(self.mode) / self.seconds[name] / 1e9

    @property
    def peak(self) -> float:
        """The speed of the matrix product in the same rounds, in GF/s."""
        return matmul.FLOPS / self.seconds["matmul"] / 1e9


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Parameters
    ----------
    samples : int
        Interleaved rounds per point; fewer if a point would take longer than ``seconds``.
    least : float
        Minimum duration of a sample in seconds; short calls are repeated to fill it.
    warm : float
        Seconds of uncounted calls before each sample.
    seconds : float
        The time limit of a point; it has at least `rounds_at_least` rounds in any case.
    rounds_at_least : int
    apart : float
        If it is not 0, a sample is not many calls in a row, but a few single ones, each after so many seconds of sleep.
    """

    samples: int = 20
    least: float = 0.02
    warm: float = 0.01
    seconds: float = 180.0
    rounds_at_least: int = 5
    apart: float = 0.0


class Bench:
    """The workers of one run; measures points with them.

    Parameters
    ----------
    names : sequence of str
        Libraries; ``rnncore@v3`` forces an instruction set.
    threads : sequence of int
    environments : dict, optional
        More environment variables for the worker of this name; None removes one.
    room : str
        Which calls are measured, see `Worker`.
    """

    def __init__(
        self,
        names: list[str],
        threads: list[int],
        environments: dict[str, dict[str, str | None]] | None = None,
        room: str = "",
    ):
        self.workers: dict[int, dict[str, Worker]] = {n: {} for n in threads}
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.slowest_to_sleep: dict[str, float] = {}
        variables = {"matmul": matmul.ENVIRONMENT, **(environments or {})}
        for n in threads:
            for name in names if room else [*names, "matmul"]:      # speeds relative to the peak are those of layers
                self.start(Worker(name, n, variables.get(name), room))
        self.began, self.used = time.perf_counter(), self.used_by_others()

    def start(self, worker: Worker) -> None:
        name = worker.name
        try:
            self.versions[name] = worker.ask("version")
            self.workers[worker.threads][name] = worker
        except (Unsupported, Died, RuntimeError) as error:
            self.missing[name] = str(error)
            worker.close()

    def used_by_others(self) -> float | None:
        """CPU time that programs other than this benchmark have used so far; None if it is not known."""
        total = machine.seconds_of_all()
        ours = [worker.process.pid for workers in self.workers.values() for worker in workers.values()]
        return None if total is None else total - machine.seconds_of([os.getpid(), *ours])

    @property
    def cores_of_others(self) -> float | None:
        """How many cores other programs have kept busy since the workers started, on average."""
        now = self.used_by_others()
        if now is None or self.used is None:
            return None
        return max(0.0, now - self.used) / (time.perf_counter() - self.began)

    def close(self) -> None:
        for workers in self.workers.values():
            for worker in workers.values():
                worker.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def measure(self, point: Point, plan: Plan, expected: twin.Numbers) -> None:
        """Measure ``point``; when interrupted, the samples taken so far are kept."""
        point.absent.update(self.missing)
        ready = {}
        for name, worker in list(self.workers[point.threads].items()):
            with self.excused(point, name):
                got = worker.ask("prepare", point.case, point.mode)
                if name != "matmul":
                    check(got, expected, TOLERANCE[point.case.dtype])
                if plan.samples:
                    ready[name] = worker.ask("calibrate", plan.least)
                self.settle(worker)
        self.rounds(point, plan, ready)
        for name, worker in list(self.workers[point.threads].items()):
            with self.excused(point, name):
                worker.ask("drop")

    def rounds(self, point: Point, plan: Plan, ready: dict[str, int]) -> None:
        point.samples.update({name: [] for name in ready})
        start = time.perf_counter()
        for number in range(plan.samples):
            if number >= plan.rounds_at_least and time.perf_counter() - start > plan.seconds:
                break
            names = list(ready)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                if name not in point.samples:  # it failed in an earlier round
                    continue
                with self.excused(point, name):
                    worker = self.workers[point.threads][name]
                    point.samples[name] += sample(worker, plan, ready[name])
                    self.settle(worker)
            point.rounds = number + 1

    def settle(self, worker: Worker) -> None:
        took = worker.wait_until_asleep()
        self.slowest_to_sleep[worker.name] = max(took, self.slowest_to_sleep.get(worker.name, 0))

    @contextmanager
    def excused(self, point: Point, name: str) -> Iterator[None]:
        """A library that does not support a point, raises or dies is left out of it; the reason is kept."""
        try:
            yield
        except Died as error:
            point.absent[name] = self.missing[name] = str(error)
            point.samples.pop(name, None)
            self.workers[point.threads].pop(name).close()
        except (Unsupported, RuntimeError) as error:
            point.absent[name] = str(error)
            point.samples.pop(name, None)


def sample(worker: Worker, plan: Plan, loops: int) -> list[float]:
    """Seconds of a call: the mean of `loops` calls in a row, or three calls that are apart, after a first one.

    A single call that fills the time of a sample needs no warm-up.
    """
    single = loops == 1 or worker.name == "matmul"
    if not plan.apart:
        return [worker.ask("sample", loops, 0.0 if loops == 1 else plan.warm)]
    return worker.ask("spaced", 1 if single else 4, plan.apart)[0 if single else 1 :]


def check(got: dict[str, np.ndarray | None], expected: twin.Numbers, tolerance: float) -> None:
    """Raise unless names and shapes are those of the twin, and max|a − b| ≤ tolerance·max|b| for each array.

    A library has None for a result that it does not compute.

    Examples
    --------
    >>> check({"output": np.ones(3)}, {"output": np.ones(3) * 1.1}, 1e-4)
    Traceback (most recent call last):
        ...
    RuntimeError: wrong numbers, not timed: output is off by 0.091 of its largest value
    """
    if missing := sorted(set(expected) ^ set(got)):
        raise RuntimeError(f"wrong numbers, not timed: {', '.join(missing)} on one side only")
    for name, want in expected.items():
        if got[name] is None:  # a result that the library does not have
            continue
        if got[name].shape != want.shape:
            raise RuntimeError(
                f"wrong numbers, not timed: {name} has shape {got[name].shape}, not {want.shape}"
            )
        off = np.abs(got[name] - want).max() / max(np.abs(want).max(), 1e-300)
        if not off <= tolerance:
            raise RuntimeError(
                f"wrong numbers, not timed: {name} is off by {off:.2g} of its largest value"
            )
