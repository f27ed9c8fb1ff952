"""`rnncore info`: the machine and the build."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import rnncore
from rnncore.command import options

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

HELP = "show the CPU, instruction set, threads and version"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    options.add_threads(parser)


def run(arguments: Namespace) -> int:
    """Run the command; returns the exit status."""
    options.set_threads(arguments)
    build = rnncore.build_info()
    for name, value in (
        ("rnncore", build["version"]),
        ("CPU", _cpu_name()),
        ("instruction set", f"{build['isa']} (of {', '.join(build['isas'])})"),
        ("threads", f"{rnncore.num_threads()} (of {os.cpu_count()} processors)"),
        ("compiler", build["compiler"]),
        ("Python", platform.python_version()),
        ("numpy", np.__version__),
    ):
        print(f"{name + ':':17}{value}")
    return 0


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
