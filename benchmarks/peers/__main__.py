"""The command: ``python -m benchmarks.peers --help``."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .. import machine
from ..cases import CELLS, MODES
from . import NAMES, page
from .coordinator import ROOT
from .parts import PARTS, TORCH_SHAPES, Part, shapes
from .run import Bench, Point
from .store import Store

SOURCES = ("src", "rnncore", "setup.py")    # what the speed of rnncore depends on


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Compare the speed of rnncore with torch, ONNX Runtime and JAX, interleaved in one run.",
        epilog="When Ctrl-C, SIGTERM or --time-limit ends the run, the table has what was measured until then. With "
        "--docs every point is kept at once, and the next run goes on with those that are missing or were measured at "
        "another commit of rnncore's sources.",
    )
    add = made.add_argument
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=f"any of {', '.join(PARTS)}")
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--shapes", nargs="+", metavar="T,B,I,H[,xN][,bi][,f64][,ragged]", help="to measure instead of the parts")
    add("--modes", nargs="+", choices=MODES, default=list(MODES))
    add("--threads", nargs="+", type=int, metavar="N", help="numbers of threads (1 and 2, if there are two cores)")
    others = sorted({name for part in PARTS.values() for name in part.names[1:]})
    add("--peers", nargs="+", choices=others, metavar="NAME", help=f"of {', '.join(others)} (all)")
    add("--isas", nargs="+", metavar="ISA", default=[], help="more columns, rnncore forced to one of base v3 v4 neon")
    add("--torch-only", action="store_true", help="five shapes, compared with torch alone")
    add("--quick", action="store_true", help="tiny cases and three rounds, to see whether everything runs")
    add("--check", action="store_true", help="time nothing: only compare the libraries' numbers, and compile what they "
        "compile, which is kept for the next run")
    add("--samples", type=int, help="interleaved rounds per point")
    add("--time-limit", type=float, metavar="MINUTES", default=float("inf"), help="start no further point after this")
    add("--docs", type=Path, help="keep the results in this folder, and write its page of this instruction set anew")
    add("--again", action="store_true", help="with --docs, measure all points again")
    add("--page", action="store_true", help="with --docs, measure nothing and write the page from what is kept")
    add("--out", type=Path, help="write the page to this file as well")
    return made


def chosen(options: argparse.Namespace) -> dict[str, Part]:
    """The parts of this run."""
    parts = {key: PARTS[key] for key in options.only}
    if options.shapes or options.torch_only:
        given = shapes(options.shapes or TORCH_SHAPES, options.cells)
        parts = {"shapes": replace(PARTS["layers"], title="Layers", names=NAMES, cases=lambda: given)}
        if options.torch_only:
            options.peers = ["torch"]
    for key, part in parts.items():
        if options.quick:
            part = part.quick()
        peers = part.names[1:] if options.peers is None else [n for n in part.names[1:] if n in options.peers]
        isas = [f"{part.names[0]}@{isa}" for isa in options.isas]
        samples = 0 if options.check else options.samples
        plan = part.plan if samples is None else replace(part.plan, samples=samples)
        parts[key] = replace(part, names=(part.names[0], *isas, *peers), plan=plan)
    return parts


def points(part: Part, options: argparse.Namespace) -> list[Point]:
    """The points of a part that the options leave."""
    return [point for point in part.points(options.threads)
            if point.case.cell in options.cells and point.mode in options.modes]


def waiting(part: Part, store: Store, commit: str, options: argparse.Namespace) -> list[Point]:
    """The points to measure: those that never were come first."""
    todo = points(part, options)
    if not options.again and not options.check:
        todo = [point for point in todo if store.commit_of(point) != commit]
    return sorted(todo, key=lambda point: store.commit_of(point) is not None)


def run(bench: Bench, part: Part, todo: list[Point], limit: float, bar: Any) -> Iterator[Point]:
    """Yields the points as they are measured, in order, until `limit` on the clock of time.monotonic."""
    cached, expected = None, {}
    for point in todo:
        if time.monotonic() > limit:
            return
        bar.set_description(f"{point.case.cell} {point.case.label} {point.mode}, {point.threads}")
        if cached != (point.case, point.mode):
            cached = point.case, point.mode
            expected = part.numbers(point.case, point.mode)
        try:
            bench.measure(point, part.plan, expected)
        except KeyboardInterrupt:
            if min(map(len, point.samples.values()), default=0) >= 3:
                yield point
            raise
        yield point
        bar.update()


def measure(parts: dict[str, Part], stores: dict[str, Store], todo: dict[str, list[Point]],
            options: argparse.Namespace, command: str, commit: str) -> bool:
    """Measure what is to do, one part after the other; False if the time limit or Ctrl-C ended it early."""
    limit = time.monotonic() + 60 * options.time_limit
    done, total = 0, sum(map(len, todo.values()))
    with tqdm(total=total, unit="point", file=sys.stderr) as bar:
        for key, part in parts.items():
            if not todo[key] or time.monotonic() > limit:
                continue
            began, before = time.monotonic(), done
            try:
                counts = sorted({point.threads for point in todo[key]})
                with Bench(list(part.names), counts, room=part.room) as bench:
                    about = {"date": time.strftime("%Y-%m-%d"), "cpu": machine.cpu_name(), "commit": commit,
                             "command": command, "versions": bench.versions, "missing": bench.missing,
                             "slowest_to_sleep": bench.slowest_to_sleep}
                    for point in run(bench, part, todo[key], limit, bar):
                        done += 1
                        about["cores_of_others"] = bench.cores_of_others
                        if options.check:
                            report(point)
                        elif point.seconds:
                            stores[key].add(point, about)
            except KeyboardInterrupt:
                return False
            finally:
                minutes = (time.monotonic() - began) / 60
                bar.write(f"{key}: {done - before} of {len(todo[key])} points in {minutes:.1f} minutes", sys.stderr)
    return done == total


def report(point: Point) -> None:
    """Print what is wrong at a point of which only the numbers were checked."""
    for name, why in point.absent.items():
        if any(word in why for word in ("wrong numbers", "Error", "its process ended")):
            tqdm.write(f"{point.key}: {name}: {why}")


def isa_here() -> str:
    """The instruction set that rnncore has in a process of its own."""
    code = f"import sys; sys.path.append({str(ROOT)!r}); import rnncore; print(rnncore.build_info()['isa'])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main(arguments: list[str] | None = None) -> int:
    made = parser()
    options = made.parse_args(arguments)
    cpus = len(machine.allowed_cpus())
    options.threads = options.threads or sorted({1, min(2, cpus)})
    if min(options.threads) < 1 or max(options.threads) > cpus:
        made.error(f"--threads is {options.threads}; this process may use 1 to {cpus} CPUs")
    special = [f"--{name.replace('_', '-')}" for name in ("shapes", "peers", "isas", "torch_only", "quick")
               if getattr(options, name)]
    if options.docs and special:
        made.error(f"--docs keeps the parts as they are, so it cannot be combined with {', '.join(special)}; use --out")
    if (options.again or options.page) and not options.docs:
        made.error("--again and --page need --docs, the folder with what is kept")
    try:
        parts = chosen(options)
    except ValueError as error:
        made.error(f"--shapes: {error}")
    isa = isa_here() if options.docs else ""
    stores = {key: Store(page.file_of(options.docs, isa, key) if options.docs else None) for key in parts}
    complete = True
    if not options.page:
        commit = machine.revision(ROOT, SOURCES)
        todo = {key: waiting(part, stores[key], commit, options) for key, part in parts.items()}
        command = " ".join(["python -m benchmarks.peers", *(sys.argv[1:] if arguments is None else arguments)])
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        complete = measure(parts, stores, todo, options, command, commit)
    if options.check:
        return 0 if complete else 1
    if options.docs:
        print(page.write(options.docs, isa))
    else:
        measured = [(part, stores[key]) for key, part in parts.items()]
        text = page.assemble("rnncore compared with its peers", "", measured)
        print(text)
        if options.out:
            options.out.write_text(text, encoding="utf-8")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
