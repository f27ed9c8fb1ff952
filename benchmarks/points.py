"""What the measurements of single calls share, `busy` and `beside_torch`: their arguments, and how they report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import machine
from .cases import MODES


def parser(
    name: str, about: str | None, points: Sequence[str], seconds: float, *, threads_are: str, seconds_are: str
) -> argparse.ArgumentParser:
    """The arguments of the module ``benchmarks.<name>``, whose docstring is `about`.

    `points` and `seconds` are defaults; `threads_are` and `seconds_are` say what these numbers are of.
    """
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=(about or "").partition("\n\n")[2])
    add = made.add_argument
    add("--points", nargs="+", metavar="CELL SHAPE", default=list(points), help='such as "LSTM 100,16,128,128"')
    add("--modes", nargs="+", choices=MODES, default=list(MODES))
    add("--threads", type=int, default=2, help=f"{threads_are} (%(default)s)")
    add("--seconds", type=float, default=seconds, help=f"{seconds_are} (%(default)s)")
    add("--out", type=Path, help="write the table to this file as well")
    return made


def report(what: str, table: str, out: Path | None) -> None:
    """Print a table below what it says and on which processor, and write the same to a file if there is one."""
    text = f"{machine.cpu_name()}, {len(machine.allowed_cpus())} CPUs. {what}\n\n{table}\n"
    print(text)
    if out:
        out.write_text(text, encoding="utf-8")
