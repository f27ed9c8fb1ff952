"""Weights between the forms of other libraries and ours, and layers made of them.

The weights of one layer and direction are a dict, by the names of a layer's parameters without their ending ("_l0"), in
our form: blocks of rows, one block for each gate. All libraries have the same numbers. They differ in the order of the
gates, in whether the matrices are transposed, and in how many biases there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnncore.recurrent import descriptions
from rnncore.recurrent.base import SHARED, RecurrentLayer
from rnncore.recurrent.cells import Cell, cell_class
from rnncore.recurrent.layers import layer_class

from .formats import KERAS_GATES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rnncore._typing import Array

    Weights = dict[str, Array]


class NamedLayer(NamedTuple):
    """A layer and the name that it has in the model of another library.

    Attributes
    ----------
    name : str
    layer : RecurrentLayer or Cell, or KerasLayer
    """

    name: str
    layer: Any


def blocks(mode: str) -> str:
    """The gates of a mode in the order of our weights, a letter for each block of rows."""
    return "".join(descriptions.first(mode).blocks_ih)


def permuted(array: Array, order: str, wanted: str) -> Array:
    """Blocks of rows, in the order of the letters of `order`, put into the order of `wanted`.

    Examples
    --------
    >>> permuted(np.array([1, 1, 2, 2, 3, 3]), "rzn", "zrn").tolist()
    [2, 2, 1, 1, 3, 3]
    """
    if order == wanted:
        return array
    found = dict(zip(order, np.split(array, len(order)), strict=True))
    return np.concatenate([found[gate] for gate in wanted])


def of_layer(layer: RecurrentLayer) -> list[Weights]:
    """The weights of each layer and direction, in the order of the states."""
    state = layer.state_dict()
    return [{name.removesuffix(part.suffix): state[name] for name in names}
            for part, names in zip(layer.structure.parts, layer.structure.names_by_part, strict=True)]


def make_layer(mode: str, parts: Sequence[Weights], *, dtype: Any = None, **options: Any) -> RecurrentLayer:
    """A layer with the weights of `parts`, which determine its sizes.

    Parameters
    ----------
    mode : str
    parts : list of dict
        As from `of_layer`.
    dtype : dtype, optional
        By default float64 if any weight has it, else float32.
    options
        What the weights do not show.
    """
    first = parts[0]
    rows, inputs = first["weight_ih"].shape
    if "weight_hr" in first:
        options["proj_size"] = len(first["weight_hr"])
    if "weight_peephole" in first:
        options["peepholes"] = True
    layers = len(parts) // (2 if options.get("bidirectional") else 1)
    layer = layer_class(mode)(inputs, rows // len(blocks(mode)), layers, _has_bias(parts), seed=0,
                              dtype=precision(parts) if dtype is None else dtype, **options)
    layer.load_state_dict({name + part.suffix: array for part, weights in zip(layer.structure.parts, parts, strict=True)
                           for name, array in weights.items()})
    return layer


def make_cell(mode: str, weights: Weights, **options: Any) -> Cell:
    """A cell with these weights, which determine its sizes."""
    kind: Any = cell_class(mode)
    rows, inputs = weights["weight_ih"].shape
    cell: Cell = kind(inputs, rows // len(blocks(mode)), _has_bias([weights]), seed=0, dtype=precision([weights]),
                      **options)
    cell.load_state_dict(weights)
    return cell


def _has_bias(parts: Sequence[Weights]) -> bool:
    """Whether any part has a bias, so that one that lacks some is told which."""
    return any(name in weights for weights in parts for name in ("bias_ih", "bias_hh"))


def precision(parts: Sequence[Weights]) -> str:
    """The dtype of a layer with these weights."""
    return "float64" if any(array.dtype == np.float64 for weights in parts for array in weights.values()) else "float32"


def from_kernels(mode: str, arrays: Sequence[Array]) -> Weights:
    """Our weights of those of a Keras cell: kernel (I, G·H), recurrent kernel (H, G·H), and bias or none.

    The bias is (G·H,), or (2, G·H) for a GRU that resets after the product.
    """
    def ours(array: Array) -> Array:
        return permuted(array, KERAS_GATES[mode], blocks(mode))

    found = {"weight_ih": ours(arrays[0].T), "weight_hh": ours(arrays[1].T)}
    if len(arrays) > 2:
        bias = arrays[2] if arrays[2].ndim == 2 else np.stack([arrays[2], np.zeros_like(arrays[2])])
        found |= {"bias_ih": ours(bias[0]), "bias_hh": ours(bias[1])}
    return found


def to_kernels(mode: str, weights: Weights, two_biases: bool) -> list[Array]:
    """The weights of a Keras cell; the inverse of `from_kernels`."""
    theirs = {name: permuted(array, blocks(mode), KERAS_GATES[mode]) for name, array in weights.items()}
    found = [theirs["weight_ih"].T, theirs["weight_hh"].T]
    if "bias_ih" in theirs:
        first, second = theirs["bias_ih"], theirs["bias_hh"]
        # Where the second is zero the first is kept to the last bit: −0 + 0 would be 0.
        found.append(np.stack([first, second]) if two_biases else np.where(second == 0, first, first + second))
    return found


def plain_layer(given: object, what: str) -> RecurrentLayer:
    """The layer of a layer or a cell, for the function `what`."""
    if isinstance(given, Cell):
        return given._layer
    if not isinstance(given, RecurrentLayer):
        raise TypeError(f"{what}: got {type(given).__name__}, expected a layer of rnncore, such as rnncore.LSTM")
    return given


def refuse_others(layer: RecurrentLayer, what: str, where: str, modes: Collection[str],
                  **allowed: Collection[Any] | None) -> None:
    """Refuse a layer with an option that another library does not have.

    Parameters
    ----------
    layer : RecurrentLayer
    what : str
        The function that refuses.
    where : str
        The library or the format.
    modes : collection of str
        The classes of layers that it has.
    allowed : collection, or None
        For each option the values that it has there; None for all. Of others, only the default is accepted.
    """
    if layer.mode not in modes:
        raise NotImplementedError(f"{what}: got {layer!r}, expected one of {', '.join(modes)}: {where} has no other")
    defaults = descriptions.first(layer.mode).options
    for name, value in layer.options.items():
        if name in SHARED:
            continue
        values = allowed.get(name, [defaults[name]] if name in defaults else [])
        if values is not None and value not in values and (value or name in defaults):
            raise NotImplementedError(f"{what}: got a layer with {name}={value!r}, expected one without: {where} does "
                                      "not have it")
