"""Checks of what a module is called with. The types of exceptions are those of torch.nn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .weights import DTYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from rnncore._typing import ArrayLike


def check_parameters(name: str, parameters: Sequence[Tensor]) -> torch.dtype:
    """Refuse parameters on another device, and of half precision; return their type."""
    dtype = parameters[0].dtype
    for parameter in parameters:
        if parameter.device.type != "cpu":
            raise NotImplementedError(f"{name}: got parameters on {parameter.device}, expected them on the CPU, where "
                                      f"rnncore runs; call .to('cpu'), or use torch.nn.{name} there")
        if parameter.dtype not in DTYPES or parameter.dtype != dtype:
            found = ", ".join(sorted({str(parameter.dtype) for parameter in parameters}))
            raise NotImplementedError(f"{name}: got parameters of {found}, expected torch.float32 or torch.float64 for "
                                      f"all of them; call .float(), or use torch.nn.{name}")
    return dtype


def as_parameters_are(name: str, argument: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor on the CPU in the parameters' type.

    It is converted only where autocast is on, which may have left it in half precision; the module itself computes in
    the type of its parameters.
    """
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{argument}: got {type(tensor).__name__}, expected a tensor")
    if tensor.device.type != "cpu":
        raise NotImplementedError(f"{argument}: got a tensor on {tensor.device}, expected it on the CPU, where rnncore "
                                  f"runs; call .to('cpu'), or use torch.nn.{name} there")
    if tensor.dtype != dtype:
        if tensor.is_floating_point() and torch.is_autocast_enabled("cpu"):
            return tensor.to(dtype)
        raise ValueError(f"{argument}: got {tensor.dtype}, expected {dtype}, the type of the weights; convert it, "
                         f"{argument}.to({dtype}), or the module, .to({tensor.dtype})")
    return tensor


def as_given(value: ArrayLike | Tensor | None) -> ArrayLike | None:
    """Lengths or resets as the layers check them: an array in place of a tensor, and all else as it is."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def check_shape(argument: str, tensor: Tensor, expected: tuple[int, ...], meaning: str) -> None:
    if tuple(tensor.shape) != expected:
        raise RuntimeError(f"{argument}: got shape {tuple(tensor.shape)}, expected {expected}: {meaning}")


def parts_of_state(hx: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """The tensors of a state as a tuple; None for zeros."""
    if hx is None:
        return (None,) * len(names)
    if len(names) == 1:
        return (hx,)
    if not isinstance(hx, tuple | list) or len(hx) != len(names):
        got = f"{len(hx)} values" if isinstance(hx, tuple | list) else type(hx).__name__
        raise ValueError(f"hx: got {got}, expected the pair ({', '.join(names)})")
    return tuple(hx)
