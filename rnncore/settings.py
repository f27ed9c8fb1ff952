"""Settings of the whole engine: threads, and memory that is kept between passes; and what the build is."""

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


def kept_memory():
    """Bytes that are kept for the next passes.

    Fresh memory costs up to 40 % of a training step, so what a dropped tape held serves the next one, of any layer.

    Returns
    -------
    int
    """
    return _engine.get_kept_bytes()


def set_kept_memory(limit):
    """Set how many bytes may be kept; what is above is given back to the system now.

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


def release_memory():
    """Give what is kept back to the system now; the next passes keep theirs again.

    Examples
    --------
    >>> import rnncore as rc
    >>> rc.release_memory()
    >>> rc.kept_memory()
    0
    """
    _engine.release_kept()


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
