"""The process of one library: restricted to its cores, it answers commands from a pipe.

    prepare(case, mode)     → the numbers that the library computes, by name
    calibrate(seconds)      → how many calls fill this time
    sample(loops, warm)     → mean seconds of ``loops`` calls, after ``warm`` seconds of uncounted calls
    spaced(count, pause)    → seconds of ``count`` calls, each after ``pause`` seconds without one
    drop()                  → releases the case

Started by :class:`benchmarks.peers.coordinator.Worker`, never by hand.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .. import machine, timing
from . import Unsupported


class Station:
    """The commands that a worker answers."""

    def __init__(self, module: str, threads: int):
        machine.pin(threads)  # before the import: libraries size their pools when they start
        self.peer = import_module(module, __package__).Peer(threads)
        self.call: Any = None

    def version(self) -> str:
        return str(self.peer.version)  # torch has a class for it, which could only be unpickled with torch

    def prepare(self, case: Any, mode: str) -> dict[str, np.ndarray | None]:
        self.call, read = self.peer.prepare(case, mode)
        found = read(self.call())
        return {name: None if value is None else np.array(value) for name, value in found.items()}

    def calibrate(self, seconds: float) -> int:
        return timing.calibrate(self.call, seconds)

    def sample(self, loops: int, warm: float) -> float:
        return timing.sample(self.call, loops, warm)

    def spaced(self, count: int, pause: float) -> list[float]:
        return timing.spaced(self.call, count, pause)

    def drop(self) -> None:
        self.call = None
        gc.collect()


def serve(pipe: Connection, module: str, threads: int) -> None:
    """Answer ("ok", result), ("unsupported", reason) or ("error", reason) until the pipe closes."""
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
    """Entry of the process; its arguments are the pipe's file descriptor, the module and the threads."""
    descriptor, module, threads = sys.argv[1:]
    serve(Connection(int(descriptor)), module, int(threads))
