"""Recorded passes in torch's hands.

torch frees what a function saved for its backward pass as soon as that is done, while the function itself may live as
long as the loss does. It can save tensors only, and hooks (activation checkpointing) may take them away and bring back
those of another pass. So a tape is saved as a tensor: a key, whose memory owns the tape. The key is one of the results
of the function, and of a type that has gradients, so that torch takes what is computed from it for a function of the
arguments.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from rnncore.recurrent.tape import Tape

_TAPES: WeakValueDictionary[int, Tape] = WeakValueDictionary()
_KEYS = count(1)


class _Key(np.ndarray[Any, np.dtype[np.float64]]):
    """The memory of a key; it keeps the tape alive."""

    tape: Tape


def as_tensor(tape: Tape) -> Tensor:
    """A tensor that stands for a tape, and keeps it alive as long as the tensor's memory lives."""
    key = next(_KEYS)
    memory = np.array([key], np.float64).view(_Key)
    memory.tape = tape
    _TAPES[key] = tape
    return torch.from_numpy(memory)


def tape_of(key: Tensor) -> Tape:
    """The tape for which a tensor stands."""
    tape = _TAPES.get(int(key))
    if tape is None:
        raise RuntimeError("rnncore.torch: the recorded pass is gone, since a hook on saved tensors (such as "
                           "torch.autograd.graph.save_on_cpu) gave back a copy of what it was given; leave this module "
                           "out of the hook, or use torch.utils.checkpoint, which records the pass again")
    return tape


def kept_by_hooks() -> bool:
    """Whether hooks on saved tensors are set, as by torch.utils.checkpoint: they decide what is kept of a pass."""
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top is not None and top(True) is not None
