"""How cost grows with T, B and H: ``python -m benchmarks.scaling --help``.

A straight line is fitted to time against size on logarithmic axes, over two decades of sizes. Cost
counts as linear in T and B if the slope is at most 1.05, and as quadratic in H if it is at most 2.05.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from . import machine, timing
from .cases import CELLS, MODES, Case

BASE = Case("LSTM", T=100, B=4, I=64, H=64)
SIZES = {
    "T": (100, 200, 500, 1000, 2000, 5000, 10_000),
    "B": (1, 2, 4, 8, 16, 32, 64, 128),
    "H": (8, 16, 32, 64, 128, 256, 512, 1024),
}
LIMITS = {"T": 1.05, "B": 1.05, "H": 2.05}
WORDS = {"T": "steps", "B": "rows", "H": "units"}
COLOURS = {"LSTM": "#0072B2", "GRU": "#D55E00", "RNN": "#009E73"}  # Okabe and Ito's
MARKERS = {"LSTM": "o", "GRU": "s", "RNN": "^"}


def cases(cell: str, axis: str) -> list[Case]:
    """The base case with growing sizes along one axis; I grows with H.

    Examples
    --------
    >>> [case.label for case in cases("GRU", "H")][:2]
    ['100,4,8,8', '100,4,16,16']
    """
    grown = [replace(BASE, cell=cell, **{axis: size}) for size in SIZES[axis]]
    return [replace(case, I=case.H) for case in grown] if axis == "H" else grown


def slope(sizes: list[int], seconds: list[float]) -> float:
    """The exponent k of seconds ≈ a·sizeᵏ, by least squares of the logarithms.

    Examples
    --------
    >>> round(slope([1, 10, 100], [2.0, 20.0, 200.0]), 12)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def medians(calls: list[Callable], rounds: int, least: float) -> list[float]:
    """Median seconds of each call; the calls take turns, so that a slow period affects all of them."""
    for call in calls:
        call()
    loops = [timing.calibrate(call, least) for call in calls]
    samples: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for times, call, n in zip(samples, calls, loops, strict=True):
            times.append(timing.sample(call, n))
    return [median(times) for times in samples]


def measure(peer: Any, cells: list[str], rounds: int, least: float) -> list[dict[str, Any]]:
    """One line of the figure for each axis, cell and mode."""
    lines = []
    todo = [(axis, cell, mode) for axis in SIZES for mode in MODES for cell in cells]
    for axis, cell, mode in tqdm(todo, unit="line"):
        grown = cases(cell, axis)
        calls = [peer.prepare(case, mode)[0] for case in grown]
        seconds = medians(calls, rounds, least)
        sizes = [getattr(case, axis) for case in grown]
        line = {"axis": axis, "cell": cell, "mode": mode, "sizes": sizes, "seconds": seconds}
        lines.append({**line, "slope": slope(sizes, seconds)})
    return lines


def markdown(lines: list[dict[str, Any]]) -> str:
    """The fitted slopes as a table."""
    rows = ["| axis | sizes | cell | mode | slope | at most |", "| --- " * 6 + "|"]
    for line in lines:
        sizes, limit = line["sizes"], LIMITS[line["axis"]]
        value = f"{line['slope']:.3f}" + (" **too steep**" if line["slope"] > limit else "")
        cells = [line["axis"], f"{sizes[0]}–{sizes[-1]}", line["cell"], line["mode"], value, limit]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows)


def plot(lines: list[dict[str, Any]], about: str) -> Any:
    """The figure: one column per axis, one row per mode."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(len(MODES), len(SIZES), sharex="col")
    for row, mode in zip(panels, MODES, strict=True):
        for ax, axis in zip(row, SIZES, strict=True):
            shown = [line for line in lines if (line["axis"], line["mode"]) == (axis, mode)]
            for line in shown:
                cell = line["cell"]
                look = {"color": COLOURS[cell], "marker": MARKERS[cell], "markersize": 4}
                milliseconds = [1e3 * seconds for seconds in line["seconds"]]
                label = f"{cell}, slope {line['slope']:.2f}"
                ax.loglog(line["sizes"], milliseconds, label=label, **look)
            guide(ax, shown, 2 if axis == "H" else 1)
            ax.set_title(words(mode, axis, shown), fontsize="medium")
            ax.legend(fontsize="small", frameon=False)
            ax.grid(alpha=0.3)
            for side in (ax.xaxis, ax.yaxis):
                side.set_minor_formatter("")
            if mode == MODES[-1]:
                ax.set_xlabel(f"{'H = I' if axis == 'H' else axis}, {WORDS[axis]}")
        row[0].set_ylabel("milliseconds per call")
    figure.suptitle(about, fontsize="small")
    return figure


def words(mode: str, axis: str, shown: list[dict[str, Any]]) -> str:
    """The title of a panel: what it shows."""
    slopes = [line["slope"] for line in shown]
    verdict = "more than" if max(slopes, default=0) > LIMITS[axis] else "at most"
    kind = "quadratically" if axis == "H" else "linearly"
    return f"{mode}: grows {verdict} {kind} in {WORDS[axis]}"


def guide(ax: Any, shown: list[dict[str, Any]], power: int) -> None:
    """A dotted line with the allowed slope through the last point of the slowest line."""
    if shown:
        slowest = max(shown, key=lambda line: line["seconds"][-1])
        sizes = np.asarray(slowest["sizes"], float)
        allowed = 1e3 * slowest["seconds"][-1] * (sizes / sizes[-1]) ** power
        ax.loglog(sizes, allowed, ":", color="0.4", label=f"slope {power}")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    add = made.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--threads", type=int, help="number of threads (one per CPU that may be used)")
    add("--quick", action="store_true", help="a single round, to see whether everything runs")
    add("--out", type=Path, help="write the figure to this file (.png, .svg, .pdf)")
    add("--json", type=Path, help="write the measured times to this file")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    threads = options.threads or len(machine.allowed_cpus())
    machine.pin(threads)
    from .peers.with_rnncore import Peer

    peer = Peer(threads)
    rounds, least = (1, 0.0) if options.quick else (9, 0.01)
    lines = measure(peer, options.cells, rounds, least)
    about = (
        f"rnncore {peer.version}, {threads} threads, {machine.cpu_name()}, "
        f"{time.strftime('%Y-%m-%d')}; T = {BASE.T}, B = {BASE.B}, I = H = {BASE.H} elsewhere"
    )
    print(f"{about}\n\n{markdown(lines)}")
    if options.out:
        plot(lines, about).savefig(options.out, dpi=150)
    if options.json:
        text = json.dumps({"about": about, "lines": lines}, indent=1)
        options.json.write_text(text, encoding="utf-8")
    return int(any(line["slope"] > LIMITS[line["axis"]] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
