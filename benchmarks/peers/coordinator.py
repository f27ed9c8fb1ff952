"""Starts one process per library, and sends commands to one of them at a time."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .. import machine
from . import Unsupported

ROOT = Path(__file__).resolve().parents[2]

# The checkout comes last on the path, so that it does not shadow an installed rnncore.
START = (
    f"import sys; sys.path.append({str(ROOT)!r}); from {__package__} import worker; worker.main()"
)


def kept_compiled(threads: int) -> dict[str, str]:
    """Variables with which JAX and torch keep what they have compiled, so that a later run need not wait for it."""
    folder = ROOT / "build" / "peers"
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder / f"jax{threads}"),  # code depends on the number of threads
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch"),
    }


class Died(RuntimeError):
    """A worker ended without an answer; the message has the last lines of its stderr."""


class Worker:
    """A library in a process of its own.

    Parameters
    ----------
    name : str
        Its name in the table. ``rnncore@v3`` is rnncore with ``RNNCORE_ISA=v3``.
    threads : int
        How many threads it uses, and how many cores it may run on.
    room : str
        The subpackage that has its module, such as ``models``; by default its module is beside this one.
    environment : dict, optional
        More environment variables, set before its Python starts; None removes one.
    """

    def __init__(
        self, name: str, threads: int, environment: dict[str, str | None] | None = None, room: str = ""
    ):
        self.name, self.threads = name, threads
        library, _, isa = name.partition("@")
        module = ".matmul" if library == "matmul" else f".{room}.with_{library}".replace("..", ".")
        wanted = {
            **os.environ, **machine.thread_environment(threads), **kept_compiled(threads), **(environment or {})
        }
        variables = {name: value for name, value in wanted.items() if value is not None}
        if isa:
            variables["RNNCORE_ISA"] = isa
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", START, str(theirs.fileno()), module, str(threads)],
            env=variables,
            pass_fds=[theirs.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            start_new_session=True,  # Ctrl-C reaches the coordinator alone
        )
        theirs.close()

    def ask(self, command: str, *arguments: Any) -> Any:
        """The worker's answer. Raises Unsupported, Died, or RuntimeError with the worker's own error message."""
        try:
            self.pipe.send((command, *arguments))
            status, answer = self.pipe.recv()
        except (EOFError, OSError):
            self.errors.seek(0)
            last = self.errors.read().decode(errors="replace").strip().splitlines()[-3:]
            code = self.process.wait()
            raise Died(f"its process ended with status {code}: {' / '.join(last)}") from None
        if status == "unsupported":
            raise Unsupported(answer)
        if status == "error":
            raise RuntimeError(answer)
        return answer

    def wait_until_asleep(self) -> float:
        """Wait until its threads have stopped spinning; returns the seconds that this took."""
        return machine.wait_until_asleep(self.process.pid)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.errors.close()
