"""Time of ``import rnncore`` in a fresh interpreter, and how much of it is not spent on importing numpy."""

import subprocess
import sys
from statistics import median

RUNS = 9
CODE = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def import_seconds(name: str) -> float:
    """Seconds of one import, without the start of the interpreter."""
    asked = [sys.executable, "-c", CODE.format(name)]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)


def timeraw_import_rnncore():
    return "import rnncore"


def timeraw_import_numpy():
    return "import numpy"


def track_import_beyond_numpy():
    pairs = [(import_seconds("rnncore"), import_seconds("numpy")) for _ in range(RUNS)]
    return median(ours for ours, _ in pairs) - median(numpy for _, numpy in pairs)


track_import_beyond_numpy.unit = "s"
