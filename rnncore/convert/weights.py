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
from rnncore.recurrent.cells import Cell
from rnncore.recurrent.layers import layer_class

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


def total(first: Array, second: Array) -> Array:
    """The sum of two biases; where the second is zero it is the first, to the last bit."""
    return np.where(second == 0, first, first + second)


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
    layer = layer_class(mode)(inputs, rows // len(blocks(mode)), layers, "bias_ih" in first, seed=0,
                              dtype=precision(parts) if dtype is None else dtype, **options)
    layer.load_state_dict({name + part.suffix: array for part, weights in zip(layer.structure.parts, parts, strict=True)
                           for name, array in weights.items()})
    return layer


def precision(parts: Sequence[Weights]) -> str:
    """The dtype of a layer with these weights."""
    return "float64" if any(array.dtype == np.float64 for weights in parts for array in weights.values()) else "float32"


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
