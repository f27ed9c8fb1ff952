"""RTNeural: a C++ library whose layers have their sizes fixed at compile time.

It is built from a checkout at the path in the environment variable RTNEURAL, with its xsimd backend and
``-O3 -ffast-math -march=native``; xsimd is looked for in the checkout's ``modules/xsimd`` and in the system's headers.
The library is kept in ``build/peers``. It is loaded in this process alone, since -ffast-math makes the process flush
subnormal numbers to zero.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...cases import Case
from ...steps import SIZES, arrays_of
from .. import Unsupported
from ..coordinator import ROOT

SOURCE = Path(__file__).with_name("rtneural.cpp")
FLAGS = ("-std=c++17", "-O3", "-ffast-math", "-march=native", "-shared", "-fPIC")
# torch's gate order → RTNeural's, which is Keras's: LSTM i f g o → i f c o; GRU r z n → z r h
ORDER = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2)}
FLOATS = np.ctypeslib.ndpointer(np.float32, flags="C")


class Peer:
    """RTNeural in this process."""

    def __init__(self, threads: int):
        given = os.environ.get("RTNEURAL")
        if not given:
            raise Unsupported("it needs a checkout: make rtneural RTNEURAL=path")
        checkout = Path(given)
        compiler = os.environ.get("CXX", "g++")
        self.library = ctypes.CDLL(str(build(checkout, compiler)))
        asked = [compiler, "-dumpfullversion", "-dumpversion"]
        version = subprocess.run(asked, capture_output=True, text=True).stdout.split()
        self.version = f"xsimd backend, {Path(compiler).name} {version[0] if version else ''} {' '.join(FLAGS[1:4])}"

    def prepare(self, case: Case, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers it returns."""
        name = f"{case.cell.lower()}_{case.I}_{case.H}"
        if (case.I, case.H) not in SIZES or case.cell not in ORDER:
            raise Unsupported(f"{name} was not compiled")
        arrays = arrays_of(case)
        p = arrays.parameters

        def reordered(name: str) -> np.ndarray:
            gates = np.split(p[f"{name}_l0"], len(ORDER[case.cell]))
            return np.concatenate([gates[k] for k in ORDER[case.cell]])

        biases = np.stack([reordered("bias_ih"), reordered("bias_hh")])
        if case.cell == "LSTM":
            biases = biases.sum(0)
        load, run = getattr(self.library, f"load_{name}"), getattr(self.library, f"run_{name}")
        load.argtypes, run.argtypes = [FLOATS] * 3, [FLOATS, FLOATS, ctypes.c_long]
        load(*(np.ascontiguousarray(a) for a in (reordered("weight_ih").T, reordered("weight_hh").T, biases)))
        x, y = arrays.x, np.empty((case.T, 1, case.H), np.float32)
        return lambda: run(x, y, case.T), lambda result: {"output": y}


def build(checkout: Path, compiler: str) -> Path:
    """Compile the layers of all sizes, unless that has been done; returns the library."""
    header = checkout / "RTNeural" / "RTNeural.h"
    if not header.exists():
        raise Unsupported(f"no {header}: RTNEURAL must be the path of a checkout")
    if shutil.which(compiler) is None:
        raise Unsupported(f"no compiler {compiler}")
    target = ROOT / "build" / "peers" / "rtneural.so"
    newest = max(path.stat().st_mtime for path in (SOURCE, Path(__file__), header))
    if not target.exists() or target.stat().st_mtime < newest:
        target.parent.mkdir(parents=True, exist_ok=True)
        sizes = " ".join(f"BOTH({I}, {H})" for I, H in SIZES)
        paths = [checkout, checkout / "modules" / "json", checkout / "modules" / "xsimd" / "include"]
        command: list[Any] = [compiler, *FLAGS, *(f"-I{path}" for path in paths), f"-DSIZES={sizes}", SOURCE, "-o",
                              target]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Unsupported(f"it does not compile: {' / '.join(done.stderr.strip().splitlines()[:2])}")
    return target
