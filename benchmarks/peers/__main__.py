"""The command: ``python -m benchmarks.peers --help``."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

from tqdm import tqdm

from .. import machine, twin
from ..cases import CELLS, MODES, Arrays, Case
from . import NAMES
from .coordinator import ROOT
from .run import Bench, Plan, Point
from .table import as_json, markdown

SHAPES = (
    *("1000,1,8,32", "100,1,64,64", "100,1,256,256", "100,1,512,512", "100,4,128,128"),
    *("100,16,128,128", "100,32,256,256", "50,64,512,512", "784,64,1,128"),
    *("25,128,1024,1024", "2000,8,40,100", "30,1,1024,1024"),
    *("100,16,128,128,x2", "100,16,128,128,bi", "100,1,64,64,f64", "100,16,128,128,f64"),
    *("1000,32,128,128,ragged", "200,8,32,64,ragged", "100,64,256,256,ragged"),
)
TORCH_SHAPES = (
    *("100,1,64,64", "100,1,256,256", "100,16,128,128", "100,32,256,256", "50,64,512,512"),
)
QUICK_SHAPES = ("50,1,8,32", "20,4,30,30,f64", "40,8,8,16,ragged")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Compare the speed of rnncore with torch, ONNX Runtime and JAX, interleaved in one run.",
        epilog="When Ctrl-C or --time-limit ends the run, the table has what was measured until then.",
    )
    add = made.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--shapes", nargs="+", metavar="T,B,I,H[,xN][,bi][,f64][,ragged]", help="to measure instead of the usual ones")
    add("--modes", nargs="+", choices=MODES, default=list(MODES))
    add("--threads", nargs="+", type=int, metavar="N", help="numbers of threads (1 and 2, if there are two cores)")
    add("--peers", nargs="+", choices=NAMES[1:], default=list(NAMES[1:]))
    add("--isas", nargs="+", metavar="ISA", default=[], help="more columns, rnncore forced to one of base v3 v4 neon")
    add("--torch-only", action="store_true", help="five shapes, compared with torch alone")
    add("--quick", action="store_true", help="tiny shapes and three rounds, to see whether everything runs")
    add("--samples", type=int, default=20, help="interleaved rounds per point (%(default)s)")
    add("--time-limit", type=float, metavar="MINUTES", help="start no further point after this time")
    add("--out", type=Path, help="write the page to this file as well")
    add("--json", type=Path, help="write all samples to this file")
    return made


def points(options: argparse.Namespace) -> list[Point]:
    """All points of the run; those of the same case and mode come one after the other."""
    default = TORCH_SHAPES if options.torch_only else QUICK_SHAPES if options.quick else SHAPES
    cases = [
        Case.parse(cell, shape)
        for shape, cell in itertools.product(options.shapes or default, options.cells)
    ]
    return [
        Point(case, mode, threads)
        for case, mode, threads in itertools.product(cases, options.modes, options.threads)
    ]


def run(bench: Bench, todo: list[Point], plan: Plan, limit: float) -> bool:
    """Measure the points in order; False if the time limit or Ctrl-C ended the run early."""
    start, cached, expected = time.monotonic(), None, {}
    bar = tqdm(todo, unit="point", file=sys.stderr)
    try:
        for point in bar:
            if time.monotonic() - start > 60 * limit:
                return False
            bar.set_description(f"{point.case.cell} {point.case.label} {point.mode}")
            if cached != (point.case, point.mode):
                cached = point.case, point.mode
                expected = twin.numbers(point.case, point.mode, Arrays.draw(point.case))
            bench.measure(point, plan, expected)
    except KeyboardInterrupt:
        if min(map(len, point.samples.values()), default=0) < 3:
            point.samples.clear()
        return False
    finally:
        bar.close()
    return True


def main(arguments: list[str] | None = None) -> int:
    made = parser()
    options = made.parse_args(arguments)
    cpus = len(machine.allowed_cpus())
    options.threads = options.threads or sorted({1, min(2, cpus)})
    if min(options.threads) < 1 or max(options.threads) > cpus:
        made.error(f"--threads is {options.threads}; this process may use 1 to {cpus} CPUs")
    try:
        todo = points(options)
    except ValueError as error:
        made.error(f"--shapes: {error}")
    peers = ["torch"] if options.torch_only else options.peers
    names = ["rnncore", *(f"rnncore@{isa}" for isa in options.isas), *peers]
    quick = Plan(samples=3, least=0.002, warm=0.001)
    plan = quick if options.quick else Plan(samples=options.samples)
    try:
        bench = Bench(names, options.threads)
    except KeyboardInterrupt:
        print("interrupted while the libraries were starting", file=sys.stderr)
        return 1
    with bench:
        complete = run(bench, todo, plan, options.time_limit or float("inf"))
        about = {
            "date": time.strftime("%Y-%m-%d"),
            "cpu": machine.cpu_name(),
            "commit": machine.revision(ROOT),
            "command": " ".join(["python -m benchmarks.peers", *(arguments or sys.argv[1:])]),
            "names": names,
            "versions": bench.versions,
            "missing": bench.missing,
            "slowest_to_sleep": bench.slowest_to_sleep,
            "cores_of_others": bench.cores_of_others,
            "complete": complete,
        }
    page = markdown(todo, about)
    print(page)
    if options.out:
        if (options.out.parent / "index.md").exists():  # a page of docs/
            page = page.replace("\n\n", "\n\n[Documentation](index.md)\n\n", 1)
        options.out.write_text(page, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(as_json(todo, about), indent=1), encoding="utf-8")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
