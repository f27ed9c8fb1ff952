"""What a stack of layers is made of: the sizes that the layer, its passes, its tapes and its streams share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .descriptions import Description, choices, find


class Part(NamedTuple):
    """One layer in one direction.

    Attributes
    ----------
    position : int
        Among all, in the states and the packed weights: layer by layer, forward first.
    layer, direction : int
        Number of the layer; 1 for the reverse direction.
    input_size : int
        Features that it reads.
    """

    position: int
    layer: int
    direction: int
    input_size: int

    @property
    def name(self) -> str:
        """On a tape: l0, l0.reverse, …"""
        return f"l{self.layer}" + (".reverse" if self.direction else "")

    @property
    def suffix(self) -> str:
        """At the end of a weight's name, as torch has it: _l0, _l0_reverse, …"""
        return f"_l{self.layer}" + ("_reverse" if self.direction else "")


class Structure:
    """The sizes of a stack of layers; it never changes.

    Attributes
    ----------
    cell : Description
    input_size, hidden_size, num_layers, directions : int
    bias : bool
    dtype : dtype
    features : int
        Of the output, directions·H.
    carry_size : int
        Numbers that one direction carries from step to step: every state of every layer.
    """

    def __init__(self, cell: Description, input_size: int, hidden_size: int, num_layers: int, bias: bool,
                 directions: int, dtype: np.dtype):
        self.cell = cell
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.directions, self.dtype = bias, directions, dtype
        self.features = directions * hidden_size
        self.carry_size = num_layers * len(cell.states) * hidden_size

    @classmethod
    def of(cls, mode: str, *, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
           bidirectional: bool = False, dtype="float32", **options) -> Structure:
        """That of a layer that would be made with these arguments; the others make no difference to it."""
        chosen = {name: options[name] for name in choices(mode) if name in options}
        return cls(find(mode, **chosen), input_size, hidden_size, num_layers, bias, 2 if bidirectional else 1,
                   np.dtype(dtype))

    def __reduce__(self):
        return Structure, (self.cell, self.input_size, self.hidden_size, self.num_layers, self.bias, self.directions,
                           self.dtype)

    def __deepcopy__(self, memo) -> Structure:
        return self

    def __repr__(self) -> str:
        return (f"<Structure of {self.num_layers} × {self.directions} {self.cell.label}: {self.input_size} inputs, "
                f"{self.hidden_size} units, {self.dtype}>")

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All layers and directions, by position."""
        return tuple(self._parts())

    def _parts(self) -> Iterator[Part]:
        for position in range(self.num_layers * self.directions):
            layer, direction = divmod(position, self.directions)
            yield Part(position, layer, direction, self.input_size if layer == 0 else self.features)

    @cached_property
    def shapes_by_part(self) -> tuple[dict[str, tuple[int, ...]], ...]:
        """Names and shapes of the parameters of every part, as torch has them."""
        return tuple(map(self._shapes_of, self.parts))

    @cached_property
    def names_by_part(self) -> tuple[tuple[str, ...], ...]:
        """Names of the parameters of every part: weight_ih, weight_hh, and two biases or none."""
        return tuple(map(tuple, self.shapes_by_part))

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all parameters."""
        return dict(self.iter_shapes())

    def iter_shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The same one by one: a file may claim more layers than fit into memory."""
        for part in self._parts():
            yield from self._shapes_of(part).items()

    def _shapes_of(self, part: Part) -> dict[str, tuple[int, ...]]:
        shapes = self.cell.shapes(part.input_size, self.hidden_size, self.bias)
        return {name + part.suffix: shape for name, shape in shapes.items()}

    def state_shape(self, batch: int) -> tuple[int, int, int]:
        """(layers·directions, B, H)."""
        return self.num_layers * self.directions, batch, self.hidden_size

    def kept_shapes(self, steps: int, rows: int) -> tuple:
        """Of what BPTT needs of some steps besides h: the gates, and c; None where a cell has none."""
        slots = len(self.cell.gates)
        return ((steps, rows, slots, self.hidden_size) if slots else None,
                (steps, rows, self.hidden_size) if len(self.cell.states) > 1 else None)

    def gradient_shapes(self, steps: int, rows: int) -> tuple:
        """Of the gradients of some steps: of the slots' sums, of h, and of c or None."""
        state = (steps, rows, self.hidden_size)
        slots = (steps, rows, len(self.cell.gates) or 1, self.hidden_size)
        return slots, state, state if len(self.cell.states) > 1 else None

    def half(self, output: np.ndarray, part: Part) -> np.ndarray:
        """One direction's part of an output (…, directions·H)."""
        if self.directions == 1:
            return output
        return output[..., part.direction * self.hidden_size:(part.direction + 1) * self.hidden_size]
