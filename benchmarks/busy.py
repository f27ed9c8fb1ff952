"""What other programs on the cores cost: ``python -m benchmarks.busy --help``.

The same call on several threads and on one takes turns with itself, in a process of its own, while other processes
keep cores busy or a session of ONNX Runtime, whose threads spin after each of its calls, runs in between. A third arm
is again the call on one thread, as a control: what it differs from the other one is noise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tqdm import tqdm

from . import points
from .cases import Case

ROOT = Path(__file__).parent.parent
# Five of the peer table, and five others: few and many steps, rows that threads divide, units that they divide.
POINTS = (
    *("LSTM 100,1,256,256", "LSTM 100,16,128,128", "GRU 100,32,256,256", "RNN 100,16,128,128", "GRU 100,1,512,512"),
    *("LSTM 60,6,90,144", "GRU 25,1,512,512", "RNN 400,2,3,100", "LSTM 35,20,200,200", "LSTM 500,3,40,64,bi"),
)
NEIGHBOURS = {
    "quiet": "nothing else",
    "one": "one busy process",
    "two": "two busy processes",
    "spinning": "a session of ONNX Runtime in turn",
}
ARMS = ("threads", "one thread", "control")
BUSY = "while True: pass"


def measure(case: Case, mode: str, neighbours: str, seconds: float, threads: int) -> dict[str, list[float]]:
    """Seconds of every call of each arm; in this process, which should do nothing else."""
    from .peers.with_rnncore import Peer

    peer = Peer(threads)
    call, _ = peer.prepare(case, mode)
    between = _session(threads) if neighbours == "spinning" else lambda: None
    numbers = dict(zip(ARMS, (threads, 1, 1), strict=True))
    times: dict[str, list[float]] = {arm: [] for arm in ARMS}
    order = list(ARMS)
    for _ in range(3):
        call()
    while min(map(sum, times.values())) < seconds:
        order.append(order.pop(0))  # each arm comes after each other one
        for arm in order:
            peer.rnncore.set_num_threads(numbers[arm])
            between()
            begun = time.perf_counter()
            call()
            times[arm].append(time.perf_counter() - begun)
    return times


def _session(threads: int) -> Callable[[], object]:
    from .peers.with_onnxruntime import Peer

    return Peer(threads).prepare(Case.parse("LSTM", "35,20,200,200"), "forward")[0]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that never rest."""
    neighbours = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        time.sleep(0.2)
        yield
    finally:
        for process in neighbours:
            process.kill()
        for process in neighbours:
            process.wait()


def ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """Total and median time, relative to one thread, of several threads and of the control.

    Examples
    --------
    >>> found = ratios({"threads": [1.0, 3.0], "one thread": [2.0, 2.0], "control": [2.0, 2.2]})
    >>> found["total"], found["control total"]
    (1.0, 1.05)
    """
    one = times["one thread"]
    return {
        "total": sum(times["threads"]) / len(times["threads"]) / (sum(one) / len(one)),
        "median": median(times["threads"]) / median(one),
        "control total": sum(times["control"]) / len(times["control"]) / (sum(one) / len(one)),
        "control median": median(times["control"]) / median(one),
    }


def run(point: str, mode: str, neighbours: str, seconds: float, threads: int) -> dict[str, float]:
    """The ratios of one point, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.busy", "--only", point, mode, neighbours]
    command += ["--seconds", str(seconds), "--threads", str(threads)]
    with busy({"one": 1, "two": 2}.get(neighbours, 0)):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return ratios(json.loads(done.stdout))


def table(rows: list[tuple[str, str, str, dict[str, float]]]) -> str:
    """A Markdown table, one row for a point and one column for each kind of neighbour."""
    kinds = [kind for kind in NEIGHBOURS if any(row[2] == kind for row in rows)]
    lines = ["| point | mode | " + " | ".join(NEIGHBOURS[kind] for kind in kinds) + " |"]
    lines += ["| --- | --- |" + " ---: |" * len(kinds)]
    found = {row[:3]: row[3] for row in rows}
    for point, mode in dict.fromkeys(row[:2] for row in rows):
        cells = []
        for kind in kinds:
            r = found.get((point, mode, kind))
            cells.append("" if r is None else f"{r['total']:.2f}, {r['median']:.2f} ({r['control total']:.2f})")
        lines.append(f"| {point} | {mode} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    made = points.parser("busy", __doc__, POINTS, 5, threads_are="in the first arm", seconds_are="of each arm")
    add = made.add_argument
    add("--neighbours", nargs="+", choices=list(NEIGHBOURS), default=list(NEIGHBOURS))
    add("--only", nargs=3, metavar=("POINT", "MODE", "NEIGHBOURS"), help=argparse.SUPPRESS)
    return made


def main() -> None:
    options = parser().parse_args()
    if options.only:
        point, mode, neighbours = options.only
        case = Case.parse(*point.split(" ", 1))
        json.dump(measure(case, mode, neighbours, options.seconds, options.threads), sys.stdout)
        return
    plan = [(p, m, n) for p in options.points for m in options.modes for n in options.neighbours]
    rows: list[tuple[str, str, str, dict[str, float]]] = []
    what = f"The time of a call on {options.threads} threads, divided by its time on one: the mean, the median,\n"
    what += "and in brackets the mean of the control, which has one thread too."
    try:
        for one in tqdm(plan, unit="point"):
            rows.append((*one, run(*one, options.seconds, options.threads)))
    finally:                    # after Ctrl-C, too: what was measured until then
        points.report(what, table(rows), options.out)


if __name__ == "__main__":
    main()
