"""What a stack of layers is made of: the sizes that the layer, its passes, its tapes and its streams share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .descriptions import Description, choices, find


@dataclass(frozen=True, slots=True)
class Part:
    """One layer in one direction.

    Attributes
    ----------
    position : int
        Among all, in the states and the packed weights: layer by layer, forward first.
    index, direction : int
        Of the layer; 1 for the reverse direction.
    inputs : int
        Features that it reads.
    """

    position: int
    index: int
    direction: int
    inputs: int

    @property
    def name(self) -> str:
        """On a tape: l0, l0.reverse, …"""
        return f"l{self.index}" + (".reverse" if self.direction else "")

    @property
    def suffix(self) -> str:
        """At the end of a weight's name, as torch has it: _l0, _l0_reverse, …"""
        return f"_l{self.index}" + ("_reverse" if self.direction else "")


@dataclass(frozen=True)
class Structure:
    """The sizes of a stack of layers."""

    cell: Description
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    directions: int
    dtype: np.dtype

    @classmethod
    def of(cls, mode: str, *, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
           bidirectional: bool = False, dtype="float32", **options) -> Structure:
        """That of a layer that would be made with these arguments; the others make no difference to it."""
        chosen = {name: options[name] for name in choices(mode) if name in options}
        return cls(find(mode, **chosen), input_size, hidden_size, num_layers, bias, 2 if bidirectional else 1,
                   np.dtype(dtype))

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All layers and directions, by position."""
        return tuple(self._parts())

    def _parts(self) -> Iterator[Part]:
        for position in range(self.num_layers * self.directions):
            index, direction = divmod(position, self.directions)
            yield Part(position, index, direction, self.input_size if index == 0 else self.features)

    @property
    def features(self) -> int:
        """Of the output: directions·H."""
        return self.directions * self.hidden_size

    @property
    def carry(self) -> int:
        """Numbers that one direction carries from step to step: every state of every layer."""
        return self.num_layers * len(self.cell.states) * self.hidden_size

    @cached_property
    def parameters(self) -> tuple[dict[str, tuple[int, ...]], ...]:
        """Names and shapes of the parameters of every part, as torch has them."""
        return tuple(map(self._parameters_of, self.parts))

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The same of all parts together."""
        return dict(self.iter_shapes())

    def iter_shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The same one by one: a file may claim more layers than fit into memory."""
        for part in self._parts():
            yield from self._parameters_of(part).items()

    def _parameters_of(self, part: Part) -> dict[str, tuple[int, ...]]:
        shapes = self.cell.shapes(part.inputs, self.hidden_size, self.bias)
        return {name + part.suffix: shape for name, shape in shapes.items()}

    def state_shape(self, batch: int) -> tuple[int, int, int]:
        """(layers·directions, B, H)."""
        return self.num_layers * self.directions, batch, self.hidden_size

    def kept(self, steps: int, rows: int) -> tuple:
        """Shapes of what BPTT needs of some steps besides h: the gates, and c; None where a cell has none."""
        slots = len(self.cell.gates)
        return ((steps, rows, slots, self.hidden_size) if slots else None,
                (steps, rows, self.hidden_size) if "c" in self.cell.states else None)

    def gradients(self, steps: int, rows: int) -> tuple:
        """Shapes of the gradients of some steps: of the slots' sums, of h, and of c or None."""
        state = (steps, rows, self.hidden_size)
        slots = (steps, rows, max(1, len(self.cell.gates)), self.hidden_size)
        return slots, state, state if "c" in self.cell.states else None

    def half(self, output: np.ndarray, part: Part) -> np.ndarray:
        """One direction's part of an output (…, directions·H)."""
        if self.directions == 1:
            return output
        return output[..., part.direction * self.hidden_size:(part.direction + 1) * self.hidden_size]

    def empty_output(self, steps: int, batch: int, batch_first: bool = False) -> np.ndarray:
        """(T, B, directions·H), its memory batch first where the caller will see it so."""
        if batch_first:
            return np.empty((batch, steps, self.features), self.dtype).swapaxes(0, 1)
        return np.empty((steps, batch, self.features), self.dtype)
