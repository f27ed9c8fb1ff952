"""This machine: its name, its cores, and restricting processes to some of them."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from contextlib import suppress
from pathlib import Path


def cpu_name() -> str:
    """The name of the processor as the system reports it.

    Examples
    --------
    >>> bool(cpu_name())
    True
    """
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


def allowed_cpus() -> list[int]:
    """The logical CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pick_cpus(n: int) -> list[int]:
    """``n`` logical CPUs, on different cores as far as there are enough cores."""
    first, siblings, seen = [], [], set()
    for cpu in allowed_cpus():
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        core = path.read_text().strip() if path.exists() else str(cpu)
        (siblings if core in seen else first).append(cpu)
        seen.add(core)
    if n > len(first + siblings):
        raise ValueError(f"threads is {n}; this process may use {len(first + siblings)} CPUs")
    return (first + siblings)[:n]


def thread_environment(n: int) -> dict[str, str]:
    """Environment variables that limit a library to ``n`` threads if they are set before it is imported."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    return dict.fromkeys(names, str(n))


def pin(n: int) -> None:
    """Restrict this process, and every thread that it will start, to ``n`` cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, pick_cpus(n))


def running_threads(pid: int) -> int:
    """How many threads of a process run on a CPU or wait for one (on Linux; 0 elsewhere)."""
    count = 0
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError, IndexError):  # the thread has ended in the meantime
            count += stat.read_text().rpartition(")")[2].split()[0] == "R"
    return count


def seconds_of(pids: list[int]) -> float:
    """CPU time that these processes have used so far (on Linux; 0 elsewhere)."""
    ticks = 0
    for pid in pids:
        with suppress(OSError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def seconds_of_all() -> float | None:
    """CPU time that all programs have used so far, and what a hypervisor took; None where Linux does not tell it."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")  # without idle and iowait


def wait_until_asleep(pid: int, at_most: float = 0.25) -> float:
    """Wait until no thread of ``pid`` runs, since spinning threads would slow down the next process.

    Returns the seconds waited; ``at_most`` means that threads were still running then.
    """
    if not Path(f"/proc/{pid}").exists():
        time.sleep(0.02)
    start = time.perf_counter()
    while running_threads(pid):
        if time.perf_counter() - start > at_most:
            return at_most
        time.sleep(0.0005)
    return time.perf_counter() - start


def revision(root: Path, paths: tuple[str, ...] = ()) -> str:
    """The last commit of a checkout that changed any of the paths (by default the last of all).

    It ends in ``+`` if files there differ from it, and is empty without git.
    """

    def git(*arguments: str) -> str:
        asked = ["git", "-C", str(root), *arguments, "--", *paths]
        return subprocess.run(asked, capture_output=True, text=True).stdout.strip()

    try:
        commit = git("log", "-1", "--format=%h")
        return commit + ("+" if commit and git("status", "--porcelain", "-uno") else "")
    except OSError:
        return ""
