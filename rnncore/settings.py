"""Settings of the whole engine (threads, and the memory kept between passes), and information about the build."""

from __future__ import annotations

import os
import re
import warnings
from typing import TypedDict

from . import _engine
from ._checks import as_size

# The largest number that can be set. The thread pool (pool.c) has fewer threads, and uses as many as it has.
MOST = 2**31 - 1


class BuildInfo(TypedDict):
    """What `build_info` returns."""

    isa: str
    isas: tuple[str, ...]
    threads: int
    compiler: str
    version: str


def num_threads() -> int:
    """How many threads a call may use.

    Returns
    -------
    int
        At import: RNNCORE_NUM_THREADS or OMP_NUM_THREADS if set, otherwise the number of CPUs this process may use.
    """
    return _engine.get_num_threads()


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use; results have the same bits with any number of threads.

    Parameters
    ----------
    n : int
        At least 1. A number above that of the CPUs is not refused, though a call is not faster by it; the most that
        there can be is 256, and a larger number is read as this.

    Examples
    --------
    >>> import rnncore as rc
    >>> before = rc.num_threads()
    >>> rc.set_num_threads(1000)
    >>> rc.num_threads()
    256
    >>> rc.set_num_threads(before)
    """
    _engine.set_num_threads(min(as_size(n, "n"), MOST))


def threads(n: int) -> _engine.Threads:
    """Use at most n threads inside a ``with`` block.

    Parameters
    ----------
    n : int

    Returns
    -------
    context manager

    Examples
    --------
    >>> import rnncore as rc
    >>> with rc.threads(1):
    ...     rc.num_threads()
    1
    """
    return _engine.Threads(min(as_size(n, "n"), MOST))


def kept_memory() -> int:
    """Bytes of memory that are kept for reuse by later passes.

    Fetching new memory from the system costs up to 40 % of a training step, so the memory of deleted tapes, large
    outputs and gradients is kept and reused by the next ones, of any layer.

    Returns
    -------
    int
    """
    return _engine.get_kept_bytes()


def set_kept_memory(limit: int) -> None:
    """Set how many bytes may be kept for reuse; memory above the limit is returned to the system at once.

    Parameters
    ----------
    limit : int
        512 MiB at import; 0 keeps nothing.

    Examples
    --------
    >>> import rnncore as rc
    >>> rc.set_kept_memory(2**28)
    """
    _engine.set_kept_limit(as_size(limit, "limit", least=0))


def release_memory() -> None:
    """Return all kept memory to the system at once; later passes will keep theirs again.

    Examples
    --------
    >>> import rnncore as rc
    >>> rc.release_memory()
    >>> rc.kept_memory()
    0
    """
    _engine.release_kept()


def build_info() -> BuildInfo:
    """The version, compiler, instruction sets and threads of this build.

    Returns
    -------
    dict
        "isa": the instruction set in use; "isas": all that this build has and this CPU runs; "threads", "compiler",
        "version".
    """
    from . import __version__

    return {"isa": _engine.isa(), "isas": _engine.isas(), "threads": num_threads(),
            "compiler": _engine.compiler(), "version": __version__}


def _initial_threads() -> int:
    for name in ("RNNCORE_NUM_THREADS", "OMP_NUM_THREADS"):
        given = os.environ.get(name, "").strip()
        value = given.split(",")[0].strip()         # OpenMP accepts a list, one number per level of nesting
        if re.fullmatch("[0-9]{1,10}", value) and 0 < int(value) <= MOST:
            return int(value)
        if given:
            warnings.warn(f"{name}: got {given!r}, expected a whole number from 1 to {MOST}; it is ignored",
                          stacklevel=2)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _register_with_threadpoolctl() -> None:
    """Register with threadpoolctl, if it is installed, so that its limits apply to this engine too."""
    try:
        from threadpoolctl import LibController, register
    except ImportError:
        return

    class Controller(LibController):  # type: ignore[misc]  # threadpoolctl has no types
        user_api = "rnncore"
        internal_api = "rnncore"
        filename_prefixes = ("_engine.",)
        check_symbols = ("rnncore_get_num_threads", "rnncore_set_num_threads")

        def get_num_threads(self) -> int:
            return num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            set_num_threads(max(1, num_threads))

        def get_version(self) -> str:
            from . import __version__

            return __version__

    register(Controller)


_engine.set_num_threads(_initial_threads())
_register_with_threadpoolctl()
