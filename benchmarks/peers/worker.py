"""One library in one process, held to its cores, answering a pipe.

    prepare(case, mode)     → the numbers it computes, by name
    calibrate(seconds)      → calls that fill so much time
    sample(warm, loops)     → seconds for one call, the mean of ``loops`` of them
    drop()                  → lets the case go

Started by :class:`benchmarks.peers.coordinator.Worker`, never by hand.
"""

from __future__ import annotations

import gc
import math
import sys
import time
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .. import machine
from . import Unsupported


class Station:
    """What a worker can be asked to do."""

    def __init__(self, module: str, threads: int):
        machine.pin(threads)  # before the import: libraries size their pools when they start
        self.peer = import_module(module, __package__).Peer(threads)
        self.call: Any = None
        self.is_long = False

    def version(self) -> str:
        return self.peer.version

    def prepare(self, case: Any, mode: str) -> dict[str, np.ndarray]:
        self.call, read = self.peer.prepare(case, mode)
        return {name: np.array(value) for name, value in read(self.call()).items()}

    def calibrate(self, seconds: float) -> int:
        loops, took = 1, self.sample(0.0, 1)
        while loops * took < seconds / 2:
            loops = math.ceil(min(seconds / took, 10 * loops))
            took = self.sample(0.0, loops)
        self.is_long = took > 0.1
        return max(1, math.ceil(seconds / took))

    def sample(self, warm: float, loops: int) -> float:
        """Call for ``warm`` seconds, then time ``loops`` calls; a long call warms itself."""
        call, start = self.call, time.perf_counter()
        while not self.is_long and time.perf_counter() - start < warm:
            call()
        gc.disable()
        start = time.perf_counter()
        for _ in range(loops):
            call()
        took = time.perf_counter() - start
        gc.enable()
        return took / loops

    def drop(self) -> None:
        self.call, self.is_long = None, False
        gc.collect()


def serve(pipe: Connection, module: str, threads: int) -> None:
    """Answer ("ok", result), ("unsupported", why) or ("error", why) until the pipe closes."""
    station: Any = None
    while True:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            if station is None:
                station = Station(module, threads)
            pipe.send(("ok", getattr(station, name)(*arguments)))
        except (Unsupported, ImportError) as error:
            pipe.send(("unsupported", str(error)))
        except Exception as error:
            pipe.send(("error", f"{type(error).__name__}: {error}"))


def main() -> None:
    """The process's entry: pipe's file descriptor, module and threads are its arguments."""
    descriptor, module, threads = sys.argv[1:]
    serve(Connection(int(descriptor)), module, int(threads))
