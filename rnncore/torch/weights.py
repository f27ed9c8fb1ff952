"""From torch's parameters to a layer of rnncore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from rnncore.recurrent.descriptions import of_kernel
from rnncore.recurrent.layers import layer_class

if TYPE_CHECKING:
    from torch import Tensor

    from rnncore._typing import Array
    from rnncore.recurrent.base import RecurrentLayer

DTYPES = {torch.float32: "float32", torch.float64: "float64"}


class Options(NamedTuple):
    """What determines a layer besides its weights; `kernel` is the name of its cell in the kernels' table."""

    kernel: str
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    bidirectional: bool
    dtype: torch.dtype
    proj_size: int = 0

    def layer(self) -> RecurrentLayer:
        """A layer with these options, and weights that will be replaced."""
        cell = of_kernel(self.kernel)
        arguments: dict[str, Any] = self._asdict() | {"dtype": DTYPES[self.dtype], **cell.options}
        del arguments["kernel"]
        if not self.proj_size:              # an argument of LSTMs alone
            del arguments["proj_size"]
        return layer_class(cell.mode)(**arguments)


class Weights:
    """The layer that a module ran on last.

    It has the weights in the form that the engine packed them into, straight from the parameters. This is compared with
    the parameters at every call, because torch cannot tell that parameters have changed: their version counts neither
    what is written through ``.data`` nor through numpy. In training the first comparison finds a difference, and the
    parameters are packed again, as they have to be.
    """

    def __init__(self) -> None:
        self._last: tuple[Options, RecurrentLayer] | None = None     # one value, since several threads may call

    def layer(self, options: Options, parameters: list[Tensor], *, record: bool) -> RecurrentLayer:
        """A layer with these options and the values that these parameters have now, which may `record` a pass."""
        last = self._last
        known = last is not None and last[0] == options
        layer = last[1] if last is not None and known else options.layer()
        arrays = [_contiguous(parameter) for parameter in parameters]
        for array, (name, shape) in zip(arrays, layer.structure.shapes.items(), strict=True):
            if array.shape != shape:
                raise RuntimeError(f"{name}: got shape {array.shape}, expected {shape}")
        if not known or not layer.has_weights(arrays, transposes=record):
            layer = layer.with_weights(arrays, transposes=record)
            self._last = options, layer
        return layer


def as_array(tensor: Tensor) -> Array:
    """The values of a tensor, in its own memory."""
    array: Array = (tensor.resolve_neg() if tensor.is_neg() else tensor).detach().numpy()
    return array


def _contiguous(tensor: Tensor) -> Array:
    return np.ascontiguousarray(as_array(tensor))
