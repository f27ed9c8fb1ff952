"""Our modules in place of torch's, inside a model that exists, and back.

A module is not replaced but gets another class. So it is still the same object, with its parameters, hooks,
parametrizations and settings, wherever the model or an optimiser refers to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch.nn.utils.parametrize import is_parametrized

from .modules import GRU, LSTM, RNN, RecurrentModule
from .weights import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable

ModelT = TypeVar("ModelT", bound=torch.nn.Module)

_OURS: dict[type[torch.nn.Module], type[RecurrentModule]] = {ours.torch_class: ours for ours in (LSTM, GRU, RNN)}
# What every class has, whatever its body says, and what torch adds to the class of a parametrized module.
_NOTHING = {"__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate_func__",
            "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__parameters__", "__orig_bases__"}
_FROM = "_swapped_from"     # the attribute of a module that names its class before


def swap(model: ModelT, *, report: Callable[[str], object] | None = print) -> ModelT:
    """Let every `torch.nn.LSTM`, `GRU` and `RNN` inside a model run on rnncore's engine.

    Parameters
    ----------
    model : torch.nn.Module
        It is changed. Modules and parameters stay the same objects, so that an optimiser that was made before goes on.
    report : callable, optional
        Called with one line that tells which modules were swapped, and which were left and why; None: quiet.

    Returns
    -------
    torch.nn.Module
        The model.

    Notes
    -----
    Subclasses are swapped if they add nothing to their class. Left are subclasses that add something, and modules whose
    parameters are not on the CPU or of half precision. For `isinstance` a swapped module is a `torch.nn.RNNBase`, but
    no `torch.nn.LSTM`, since `torch.compile` refuses these.

    Examples
    --------
    >>> import torch, rnncore.torch as rt
    >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 3), torch.nn.LSTM(3, 4))
    >>> model = rt.swap(model)
    rnncore.torch.swap: 1 swapped: '1' (LSTM)
    >>> rt.restore(model)[1].__class__
    rnncore.torch.restore: 1 restored: '1' (LSTM)
    <class 'torch.nn.modules.rnn.LSTM'>
    """
    swapped, left = [], []
    for name, module in _modules(model):
        theirs = _class_of(module)
        base = next((base for base in _OURS if issubclass(theirs, base)), None)
        if base is None:
            continue
        why = _why_left(module, theirs, base)
        if why:
            left.append(f"{_quoted(name)} ({theirs.__name__}: {why})")
            continue
        module.__dict__[_FROM] = theirs
        _set_class(module, _OURS[base])
        swapped.append(f"{_quoted(name)} ({theirs.__name__})")
    _tell(report, "swap", {"swapped": swapped, "left": left})
    return model


def restore(model: ModelT, *, report: Callable[[str], object] | None = print) -> ModelT:
    """Undo `swap`: every swapped module runs by torch again, with the weights that it has now.

    Parameters
    ----------
    model, report
        As in `swap`. Modules that were made as modules of rnncore.torch stay what they are.

    Returns
    -------
    torch.nn.Module
        The model.
    """
    restored = []
    for name, module in _modules(model):
        if isinstance(module, RecurrentModule) and _FROM in module.__dict__:
            del module.tape
            module.__dict__.pop("_weights", None)
            theirs = module.__dict__.pop(_FROM)
            _set_class(module, theirs)
            restored.append(f"{_quoted(name)} ({theirs.__name__})")
    _tell(report, "restore", {"restored": restored})
    return model


def _modules(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: got {type(model).__name__}, expected a torch.nn.Module")
    return list(model.named_modules())          # each module once, under the first of its names


def _quoted(name: str) -> str:
    return repr(name) if name else "the model itself"


def _class_of(module: torch.nn.Module) -> type[torch.nn.Module]:
    """The class of a module, without what torch makes of it for parametrizations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def _set_class(module: torch.nn.Module, new: type[torch.nn.Module]) -> None:
    if is_parametrized(module):
        old = type(module)
        own = {name: value for name, value in vars(old).items() if name not in ("__dict__", "__weakref__", "__doc__")}
        new = type(old.__name__, (new,), own)
    module.__class__ = new


def _why_left(module: torch.nn.Module, theirs: type[torch.nn.Module], base: type[torch.nn.Module]) -> str:
    """Why a module cannot be swapped; empty if it can be."""
    added = [name for kind in theirs.__mro__ if kind not in base.__mro__ for name in vars(kind) if name not in _NOTHING]
    if added:
        return f"its class adds {', '.join(added)}"
    parameters = list(module.parameters())
    if any(parameter.device.type != "cpu" for parameter in parameters):
        return "not on the CPU"
    if any(parameter.dtype not in DTYPES for parameter in parameters):
        return f"parameters of {parameters[0].dtype}"
    return ""


def _tell(report: Callable[[str], object] | None, what: str, found: dict[str, list[str]]) -> None:
    if report is not None:
        parts = [f"{len(names)} {verb}: {', '.join(names)}" for verb, names in found.items() if names]
        report(f"rnncore.torch.{what}: {'; '.join(parts) or 'found nothing to do'}")
