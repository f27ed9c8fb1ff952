"""What the asv suites share.

The instruction set is chosen when rnncore is imported. asv runs each set of parameters in a fresh
process, so it can be a parameter, provided that no suite imports rnncore at its top.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from .cases import Arrays, Case
from .machine import allowed_cpus

DTYPES = ("float32", "float64")
THREADS = (1, 2)
ISAS = ("base", "v3", "v4") if platform.machine() in ("x86_64", "AMD64") else ("neon",)
FLAG = {"float32": "", "float64": ",f64"}


def rnncore_with(isa: str | None = None, threads: int = 1) -> Any:
    """Import rnncore with an instruction set; if that is impossible, NotImplementedError makes asv skip the benchmark.

    Parameters
    ----------
    isa : str, optional
        By default the best one that this CPU has.
    threads : int
    """
    if threads > len(allowed_cpus()):
        raise NotImplementedError(f"{threads} threads on {len(allowed_cpus())} CPUs")
    if isa and "rnncore" not in sys.modules:
        os.environ["RNNCORE_ISA"] = isa
    try:
        import rnncore
    except ImportError as error:
        if isa and isa in str(error):  # this CPU lacks it
            raise NotImplementedError(str(error)) from None
        raise
    active = rnncore.build_info()["isa"]
    if isa and active != isa:
        raise NotImplementedError(f"rnncore was imported with {active}, not {isa}")
    rnncore.set_num_threads(threads)
    return rnncore


def layer_of(rnncore: Any, case: Case) -> tuple[Any, Arrays, Any]:
    """A layer with the weights of the case, the arrays of the case, and the state in the form that the layer takes."""
    arrays = Arrays.draw(case)
    layer = getattr(rnncore, case.cell)(
        case.I,
        case.H,
        num_layers=case.layers,
        bidirectional=case.bidirectional,
        dtype=case.dtype,
    )
    layer.load_state_dict(arrays.parameters)
    return layer, arrays, arrays.state if case.cell == "LSTM" else arrays.state[0]


def update(layer: Any) -> None:
    """Mark the weights as changed, as an optimiser does, so that the next call packs them again."""
    with getattr(layer, "_in_place", layer.writable)():  # versions without it have `writable` alone
        pass
