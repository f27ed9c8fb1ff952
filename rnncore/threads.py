"""One setting for the number of threads, and what the build is."""

import os
import re
import warnings

from . import _engine
from ._checks import as_size

# What a call may be told; the pool (pool.c) has fewer, and takes what it has.
MOST = 2**31 - 1


def num_threads():
    """How many threads a call may use.

    Returns
    -------
    int
        From RNNCORE_NUM_THREADS or OMP_NUM_THREADS at import, else the CPUs that this process may use.
    """
    return _engine.get_num_threads()


def set_num_threads(n):
    """Set how many threads a call may use; results do not depend on it, to the bit.

    Parameters
    ----------
    n : int
    """
    _engine.set_num_threads(min(as_size(n, "n"), MOST))


def threads(n):
    """Use n threads inside a ``with`` block.

    Parameters
    ----------
    n : int

    Examples
    --------
    >>> import rnncore as rc
    >>> with rc.threads(1):
    ...     rc.num_threads()
    1
    """
    return _engine.Threads(min(as_size(n, "n"), MOST))


def build_info():
    """What this build is and what it runs on.

    Returns
    -------
    dict
        "isa" in use, "isas" that this CPU runs, "threads", "compiler", "version".
    """
    from . import __version__

    return {"isa": _engine.isa(), "isas": _engine.isas(), "threads": num_threads(),
            "compiler": _engine.compiler(), "version": __version__}


def _initial_threads():
    for name in ("RNNCORE_NUM_THREADS", "OMP_NUM_THREADS"):
        given = os.environ.get(name, "").strip()
        value = given.split(",")[0].strip()         # OpenMP takes a list, one number a level of nesting
        if re.fullmatch("[0-9]{1,10}", value) and 0 < int(value) <= MOST:
            return int(value)
        if given:
            warnings.warn(f"{name}: got {given!r}, expected a whole number from 1 to {MOST}; it is ignored",
                          stacklevel=2)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _tell_threadpoolctl():
    """Register with threadpoolctl, where it is installed, so that its limits hold for us too."""
    try:
        from threadpoolctl import LibController, register
    except ImportError:
        return

    class Controller(LibController):
        user_api = "rnncore"
        internal_api = "rnncore"
        filename_prefixes = ("_engine.",)
        check_symbols = ("rnncore_get_num_threads", "rnncore_set_num_threads")

        def get_num_threads(self):
            return num_threads()

        def set_num_threads(self, num_threads):
            set_num_threads(max(1, num_threads))

        def get_version(self):
            from . import __version__

            return __version__

    register(Controller)


_engine.set_num_threads(_initial_threads())
_tell_threadpoolctl()
