"""The sizes of a stack of layers. A `RecurrentLayer` shares them with its passes, tapes and streams.

A `RecurrentLayer` is a stack of ``num_layers`` layers, each of which runs in one or two directions.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .descriptions import Description, find, option_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rnncore._typing import Array, DTypeLike

    Shape = tuple[int, ...]


# The kinds of parameters, and how the engine's functions call them.
ENGINE_NAMES = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh",
                "weight_hr": "w_hr", "weight_peephole": "peepholes"}


class Part(NamedTuple):
    """One layer in one direction.

    Attributes
    ----------
    position : int
        Its index along the first axis of the states, and in the list of packed weights. Layers are counted from the
        lowest, and in each layer the forward direction comes first.
    layer : int
        The index of the layer in the stack; the lowest is 0.
    direction : int
        0 for forward, 1 for reverse.
    input_size : int
        The number of features of its input.
    """

    position: int
    layer: int
    direction: int
    input_size: int

    @property
    def name(self) -> str:
        """Its name on a tape: l0, l0.reverse, …"""
        return f"l{self.layer}" + (".reverse" if self.direction else "")

    @property
    def suffix(self) -> str:
        """The end of its weights' names, as in torch: _l0, _l0_reverse, …"""
        return f"_l{self.layer}" + ("_reverse" if self.direction else "")


class Structure:
    """The sizes of a stack of layers; immutable.

    Attributes
    ----------
    cell : Description
    input_size, hidden_size, num_layers, directions : int
    bias : bool
    dtype : dtype
    proj_size : int
        The width of h of an LSTM with projections, P; 0 where there are none.
    output_size : int
        The width of h: P with projections, otherwise H.
    features : int
        The width of the output, directions·output_size.
    state_sizes : tuple of int
        The widths of the states: that of h, and H for c.
    carry_size : int
        The number S of values that one direction of the stack passes from one step to the next: all states of all
        layers, num_layers times the sum of `state_sizes`.
    """

    def __init__(self, cell: Description, input_size: int, hidden_size: int, num_layers: int, bias: bool,
                 directions: int, dtype: np.dtype[Any], proj_size: int = 0) -> None:
        self.cell = cell
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.directions, self.dtype = bias, directions, dtype
        self.proj_size, self.output_size = proj_size, proj_size or hidden_size
        self.features = directions * self.output_size
        self.state_sizes = tuple([self.output_size if state == "h" else hidden_size for state in cell.states])
        self.carry_size = num_layers * sum(self.state_sizes)

    @classmethod
    def of(cls, mode: str, *, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
           bidirectional: bool = False, proj_size: int = 0, dtype: DTypeLike = "float32",
           **options: object) -> Structure:
        """The structure of a layer with these arguments; other options of a layer do not affect it."""
        chosen = {name: options[name] for name in option_names(mode) if name in options}
        return cls(find(mode, **chosen), input_size, hidden_size, num_layers, bias, 2 if bidirectional else 1,
                   np.dtype(dtype), proj_size)

    def __reduce__(self) -> tuple[Any, ...]:
        return Structure, (self.cell, self.input_size, self.hidden_size, self.num_layers, self.bias, self.directions,
                           self.dtype, self.proj_size)

    def __deepcopy__(self, memo: dict[int, Any]) -> Structure:
        return self

    def __repr__(self) -> str:
        projected = f" projected to {self.proj_size}" if self.proj_size else ""
        return (f"<Structure of {self.num_layers} × {self.directions} {self.cell.label}: {self.input_size} inputs, "
                f"{self.hidden_size} units{projected}, {self.dtype}>")

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All layers and directions, by position."""
        return tuple(self._parts())

    def _parts(self) -> Iterator[Part]:
        for position in range(self.num_layers * self.directions):
            layer, direction = divmod(position, self.directions)
            yield Part(position, layer, direction, self.input_size if layer == 0 else self.features)

    @cached_property
    def shapes_by_part(self) -> tuple[dict[str, Shape], ...]:
        """Names and shapes of the parameters of each part, as in torch."""
        return tuple(map(self._shapes_of, self.parts))

    @cached_property
    def names_by_part(self) -> tuple[tuple[str, ...], ...]:
        """Names of the parameters of each part: weight_ih, weight_hh, then those that it has of the two biases,
        weight_hr and weight_peephole."""
        return tuple(map(tuple, self.shapes_by_part))

    @cached_property
    def engine_order(self) -> tuple[tuple[str | None, ...], ...]:
        """For each part the names of its parameters in the order of the engine's arguments; None for what it lacks."""
        return tuple([tuple([kind + part.suffix if kind + part.suffix in names else None for kind in ENGINE_NAMES])
                      for part, names in zip(self.parts, self.names_by_part, strict=True)])

    def for_engine(self, part: Part, arrays: Mapping[str, Array]) -> dict[str, Any]:
        """The arrays of a part's parameters, or of their gradients, by the names of the engine's arguments."""
        order = self.engine_order[part.position]
        return {ours: arrays[name] for ours, name in zip(ENGINE_NAMES.values(), order, strict=True) if name is not None}

    def matrices_for_engine(self, part: Part, arrays: Mapping[str, Array]) -> dict[str, Any]:
        """Those of `for_engine` that are matrices: what the backward pass packs the transposes of."""
        return {name: array for name, array in self.for_engine(part, arrays).items() if name.startswith("w_")}

    def variant_for_engine(self, part: Part) -> tuple[Any, ...] | None:
        """The variant of the cell in a part's direction, as the engine takes it; None if it is the cell itself."""
        variant = self.cell.variant
        return None if variant is None else variant.for_engine(part.direction)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Names and shapes of all parameters."""
        return dict(self.iter_shapes())

    def iter_shapes(self) -> Iterator[tuple[str, Shape]]:
        """Iterate over the names and shapes of all parameters.

        Unlike `shapes` it creates them one by one, because a damaged file may declare so many layers that a list of all
        of them would not fit into memory.
        """
        for part in self._parts():
            yield from self._shapes_of(part).items()

    def count_weights(self) -> int:
        """The number of all weights, without a list of them, see `iter_shapes`."""
        lowest, upper = (sum(math.prod(shape) for shape in self._shapes_of(Part(0, 0, 0, size)).values())
                         for size in (self.input_size, self.features))
        return self.directions * (lowest + (self.num_layers - 1) * upper)

    def _shapes_of(self, part: Part) -> dict[str, Shape]:
        shapes = self.cell.shapes(part.input_size, self.hidden_size, self.bias, self.proj_size)
        return {name + part.suffix: shape for name, shape in shapes.items()}

    def state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        """The shape of each state, (layers·directions, B, its width)."""
        return [(self.num_layers * self.directions, batch, size) for size in self.state_sizes]

    def carry_slice(self, state: int, layer: int) -> slice:
        """Where a state of a layer lies along the carry of the stack."""
        size, before = self.state_sizes[state], sum(self.state_sizes[:state])
        start = self.num_layers * before + layer * size
        return slice(start, start + size)

    def kept_shapes(self, steps: int, rows: int) -> tuple[Shape | None, Shape | None]:
        """The shapes of what BPTT needs besides x and h: the slots of the gates, and c; None for what a cell lacks."""
        slots = len(self.cell.gates)
        return ((steps, rows, slots, self.hidden_size) if slots else None,
                (steps, rows, self.hidden_size) if len(self.cell.states) > 1 else None)

    def gradient_shapes(self, steps: int, rows: int) -> tuple[Shape, Shape, Shape | None]:
        """The shapes of the gradients at each step: of the pre-activations in all slots, of h, and of c or None."""
        slots = (steps, rows, len(self.cell.gates) or 1, self.hidden_size)
        h, *c = [(steps, rows, size) for size in self.state_sizes]
        return slots, h, c[0] if c else None

    @property
    def input_slots(self) -> int:
        """The number of rows of the first layer's weight_ih."""
        return self.shapes["weight_ih_l0"][0]

    def half(self, output: Array, part: Part) -> Array:
        """The features of an output (…, directions·P) that belong to the direction of `part`, as a view (…, P)."""
        if self.directions == 1:
            return output
        return output[..., part.direction * self.output_size:(part.direction + 1) * self.output_size]
