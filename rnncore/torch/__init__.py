"""Modules for a torch model that run on rnncore's engine.

    import rnncore.torch as rt

    rt.LSTM, rt.GRU, rt.RNN                 in place of torch.nn.LSTM, …: the same arguments, state_dict and gradients
    rt.LSTMCell, rt.GRUCell, rt.RNNCell     the same for one step
    rt.swap(model), rt.restore(model)       put them in place of torch's inside a model, and take them out again
    module.tape                             the last recorded pass, for `rnncore.viz`

modules, cells   what users build: arguments as torch's; they choose the way a call goes
arguments        checks of tensors
weights          from torch's parameters to a layer of rnncore, which is never older than they are
packed           PackedSequence: its rows are already in the engine's order
passes           one call: tensors to arrays, through the engine, and back
tapes            recorded passes, handed to torch so that it frees them when it frees its own
function         a call that torch's autograd follows
operator         the same for torch.compile: an operator with a fake kernel
swapping         swap and restore

    module(x) ─ arguments ─ weights ─ function or operator ─ passes ─ RecurrentLayer.record_on, Tape.backward_on

torch owns the parameters, and lets anyone change them without a trace. Therefore a module compares them at every call
with what its layer was packed from, byte by byte, and makes a new layer where they differ. A recorded pass belongs to
the layer of its own weights, so that its gradients are those of that pass, whatever has happened to the parameters
since.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError(
        "rnncore.torch needs PyTorch, which is not installed: pip install 'rnncore[torch]', or see pytorch.org"
    ) from error

from .cells import GRUCell, LSTMCell, RNNCell
from .modules import GRU, LSTM, RNN
from .swapping import restore, swap

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "restore", "swap"]
