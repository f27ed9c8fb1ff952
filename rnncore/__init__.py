"""rnncore: recurrent sequence models on a CPU, and what their memory does.

    numpy array → layer (checks once, picks dtype once) → typed Cython time loop (no GIL) → vector kernel
                                                            ↓ writes
                                                           tape → viz.measures → viz.plots

recurrent          what a cell is; layers, cells and streams; the tape of a recorded pass, and the ways back
settings           threads, and memory that is kept between passes
module             what owns weights, and the one contract for changing them
init               initialisers for recurrent weights
nn, optim, train   the few other parts that training a sequence model needs
models             windows, hidden chains and networks: one interface
data, tasks        text and series in; the classic memory tasks
io                 files of our own
command            the `rnncore` command
viz                the visual debugger; in a checkout it stands beside this folder

The rooms after `module` are imported when they are first asked for; `command` is for the shell. The kernels and the
engine are in src/. Each room's ``__init__`` says what is in it.
"""

import importlib
from pathlib import Path

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

_ROOMS = ("data", "init", "io", "models", "nn", "optim", "tasks", "train", "viz")

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell", "build_info", "kept_memory",
           "num_threads", "release_memory", "set_kept_memory", "set_num_threads", "threads", "__version__", *_ROOMS]


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name.removesuffix("Cell") in modes():        # of a cell that has a description and no class written out
        return cell_class(name.removesuffix("Cell")) if name.endswith("Cell") else layer_class(name)
    if name == "__version__":               # importlib.metadata is half of the import's time
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("rnncore")
        except PackageNotFoundError:        # built in place, never installed
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
