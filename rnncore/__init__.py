"""rnncore: recurrent sequence models on a CPU, and what their memory does.

    numpy array → layer (checks once, picks dtype once) → typed Cython time loop (no GIL) → vector kernel
                                                            ↓ writes
                                                           tape → viz.measures → viz.plots

recurrent          descriptions of the cells; layers, cells and streams; the tape of a recorded pass, and backward
settings           threads, and memory that is kept between passes
module             the base class of what has weights, and the one contract for changing them
init               initialisers for recurrent weights
nn, optim, train   the few other parts that training a sequence model needs
models             models of windows, hidden chains and networks, with one interface
data, tasks        reading text and series; the classic memory tasks
io                 reading and writing files
convert            torch, Keras, ONNX and audio formats, in and out; each needs its package
torch              modules for a torch model; needs torch
command            the `rnncore` command
viz                the visual debugger; in a checkout it stands beside this folder

The packages after `module` are imported when they are first used; `command` is for the shell. The kernels and the
engine are in src/. The ``__init__`` of each package lists its contents.
"""

from __future__ import annotations

from . import _interrupt

_interrupt.end_quietly()        # what follows takes a while; the command's `main` ends this

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

_ROOT = Path(__file__).resolve().parent

try:
    from . import _engine
except ImportError as error:
    if "RNNCORE_ISA" in str(error) or list(_ROOT.glob("_engine.*.so")) + list(_ROOT.glob("_engine.*.pyd")):
        raise
    raise ImportError(
        f"rnncore is not compiled in {_ROOT}. Run `pip install -e .` in {_ROOT.parent}, "
        "or start Python in another folder to use an installed rnncore.") from error

if not (_ROOT / "viz").is_dir():        # a checkout: viz/ stands beside this package
    __path__.append(str(_ROOT.parent))

from .recurrent.cells import GRUCell, LSTMCell, RNNCell, cell_class
from .recurrent.descriptions import modes
from .recurrent.ensemble import Ensemble
from .recurrent.layers import GRU, LSTM, RNN, layer_class
from .settings import (
    build_info,
    kept_memory,
    num_threads,
    release_memory,
    set_kept_memory,
    set_num_threads,
    threads,
)

if TYPE_CHECKING:
    from . import convert as convert
    from . import data as data
    from . import init as init
    from . import io as io
    from . import models as models
    from . import nn as nn
    from . import optim as optim
    from . import tasks as tasks
    from . import torch as torch
    from . import train as train
    from . import viz as viz

    __version__: str


__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Ensemble",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "__version__",
    "build_info",
    "convert",
    "data",
    "init",
    "io",
    "kept_memory",
    "models",
    "nn",
    "num_threads",
    "optim",
    "release_memory",
    "set_kept_memory",
    "set_num_threads",
    "tasks",
    "threads",
    "train",
    "viz",
]


def _lazy(name: str) -> Any:
    if name == "__version__":               # importing importlib.metadata takes as long as all the rest
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("rnncore")
        except PackageNotFoundError:        # built in place, never installed
            return "0+unknown"
    if name in __all__ or name == "torch":  # a package that was not imported yet; torch is not everybody's
        return importlib.import_module(f".{name}", __name__)
    if name.removesuffix("Cell") in modes():        # a cell that has a description, but no class written by hand
        return cell_class(name.removesuffix("Cell")) if name.endswith("Cell") else layer_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:                       # where a type checker saw it, it would accept any name
    __getattr__ = _lazy


def __dir__() -> list[str]:
    return sorted(__all__)
