"""What torch in the same process costs: ``python -m benchmarks.beside_torch --help``.

Processes take turns. Each measures the same call of a layer on several threads, right after another operation or after
a pause. In one of them that operation is torch's, whose OpenMP threads spin for a while afterwards; in two others,
which never import torch, it is the same operation by numpy. The second of these is a control: what it differs from the
first is noise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from . import points
from .cases import Case

ROOT = Path(__file__).parent.parent
POINTS = ("LSTM 50,64,512,512", "LSTM 100,16,128,128", "GRU 100,32,256,256", "RNN 100,16,128,128", "GRU 100,1,512,512",
          "LSTM 60,6,90,144")
# Seconds between the other operation and the call.
MOMENTS = {"right after": 0.0, "after 20 ms": 0.02}
ARMS = ("torch", "alone", "control")
SIZE = 200_000      # numbers that the other operation adds: torch divides them between its threads
CALLS = 4           # of each arm in its turn


def serve(arm: str, point: str, mode: str, threads: int) -> None:
    """Measure calls whenever a line of the standard input asks for them: the process of one arm."""
    from .peers.with_rnncore import Peer

    between = _operation_of_torch(threads) if arm == "torch" else _operation_of_numpy()
    call, _ = Peer(threads).prepare(Case.parse(*point.split(" ", 1)), mode)
    for _ in range(3):
        between()
        call()
    for line in sys.stdin:
        pause, times = float(line), []
        for _ in range(CALLS):
            between()
            if pause:
                time.sleep(pause)
            begun = time.perf_counter()
            call()
            times.append(time.perf_counter() - begun)
        print(json.dumps(times), flush=True)


def _operation_of_torch(threads: int) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(threads)
    a = torch.ones(SIZE)
    b = torch.empty_like(a)
    return lambda: torch.add(a, a, out=b)


def _operation_of_numpy() -> Callable[[], Any]:
    a = np.ones(SIZE, np.float32)
    b = np.empty_like(a)
    return lambda: np.add(a, a, out=b)


def measure(point: str, mode: str, seconds: float, threads: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of every call, by moment and arm."""
    command = [sys.executable, "-m", "benchmarks.beside_torch", "--threads", str(threads), "--serve"]
    arms = {arm: subprocess.Popen([*command, arm, point, mode], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE) for arm in ARMS}
    times: dict[str, dict[str, list[float]]] = {moment: {arm: [] for arm in ARMS} for moment in MOMENTS}
    order = list(ARMS)
    try:
        for moment, pause in MOMENTS.items():
            while min(map(sum, times[moment].values())) < seconds:
                order.append(order.pop(0))  # each arm comes after each other one
                for arm in order:
                    process = arms[arm]
                    assert process.stdin is not None
                    assert process.stdout is not None
                    print(pause, file=process.stdin, flush=True)
                    times[moment][arm] += json.loads(process.stdout.readline())
    finally:
        for process in arms.values():
            process.communicate()           # closes its input, which ends it
    return times


def ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """Median and mean time beside torch, and of the control, relative to that of a process without torch.

    Examples
    --------
    >>> ratios({"torch": [2.0, 4.0, 3.0], "alone": [2.0, 2.0, 2.0], "control": [2.0, 2.0, 5.0]})
    {'median': 1.5, 'mean': 1.5, 'control median': 1.0, 'control mean': 1.5}
    """
    alone = times["alone"]
    found = {}
    for arm, name in (("torch", ""), ("control", "control ")):
        found[f"{name}median"] = median(times[arm]) / median(alone)
        found[f"{name}mean"] = sum(times[arm]) / len(times[arm]) / (sum(alone) / len(alone))
    return found


def table(rows: list[tuple[str, str, dict[str, dict[str, list[float]]]]]) -> str:
    """A Markdown table, one row for a point and one column for each moment."""
    lines = ["| point | mode | alone, ms | " + " | ".join(MOMENTS) + " |",
             "| --- | --- | ---: |" + " ---: |" * len(MOMENTS)]
    for point, mode, times in rows:
        cells = [f"{1e3 * median(times['right after']['alone']):.3g}"]
        for moment in MOMENTS:
            r = ratios(times[moment])
            cells.append(f"{r['median']:.2f}, {r['mean']:.2f} ({r['control median']:.2f}, {r['control mean']:.2f})")
        lines.append(f"| {point} | {mode} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    made = points.parser("beside_torch", __doc__, POINTS, 3, threads_are="of rnncore and of torch",
                         seconds_are="of calls in each arm, for each moment")
    made.add_argument("--serve", nargs=3, metavar=("ARM", "POINT", "MODE"), help=argparse.SUPPRESS)
    return made


def main() -> None:
    options = parser().parse_args()
    if options.serve:
        serve(*options.serve, options.threads)
        return
    plan = [(point, mode) for point in options.points for mode in options.modes]
    rows = []
    what = (f"The time of a call on {options.threads} threads in a process with torch, divided by its time in one "
            "without:\nthe medians and the means, and in brackets those of the control, another process without torch.")
    try:
        for point, mode in tqdm(plan, unit="point"):
            rows.append((point, mode, measure(point, mode, options.seconds, options.threads)))
    finally:                    # after Ctrl-C, too: what was measured until then
        points.report(what, table(rows), options.out)


if __name__ == "__main__":
    main()
