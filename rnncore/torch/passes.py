"""One call of a module: from tensors to arrays, through the engine, and back to tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnncore import _engine
from rnncore._checks import as_rows
from rnncore.recurrent.dropout import Masks
from rnncore.recurrent.layout import parts_of
from rnncore.recurrent.ragged import Batch

from .weights import as_array

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Concatenate, ParamSpec, TypeVar

    from torch import Tensor

    from rnncore._typing import Array, ArrayLike, StateLike
    from rnncore.recurrent.base import RecurrentLayer
    from rnncore.recurrent.tape import Tape

    Tensors = tuple[Tensor | None, ...]
    Given = ParamSpec("Given")
    Found = TypeVar("Found")


def _on_torchs_threads(run: Callable[Concatenate[Call, Given], Found]) -> Callable[Concatenate[Call, Given], Found]:
    """A method that uses no more threads than torch may: the smaller of both settings."""

    @wraps(run)
    def limited(call: Call, /, *args: Given.args, **options: Given.kwargs) -> Found:
        before = _engine.set_most_threads(torch.get_num_threads())
        try:
            return run(call, *args, **options)
        finally:
            _engine.set_most_threads(before)

    return limited


@dataclass
class Call:
    """What a call is besides its tensors.

    Attributes
    ----------
    layer : RecurrentLayer
        With the weights of this call.
    lengths : array_like of int (B,), Batch or None
        A `Batch` where x is the data of a PackedSequence.
    reset : array_like of bool or None
        The steps before which a row's state is zero, laid out as x; (T, B) for a PackedSequence.
    seed : int or None
        Of the dropout masks; None for no dropout.
    one_step : bool
        Whether it is a call of a cell: the tensors have no axis of steps and none of layers, and there is no output
        besides the states.
    """

    layer: RecurrentLayer
    lengths: ArrayLike | Batch | None = None
    reset: ArrayLike | None = None
    seed: int | None = None
    one_step: bool = False

    @_on_torchs_threads
    def run(self, x: Tensor, states: Tensors) -> tuple[Tensor, ...]:
        """The output, if any, and the final states; nothing is recorded."""
        if self.seed is not None:           # torch drops in training mode, whether gradients are wanted or not
            return self.outputs(self.record(x, states))
        layer = self.layer
        y, final = layer.call_on(layer.packed(), self._array(x), self._states(states), self.lengths, self.reset)
        found = [self._without_axis(part) for part in parts_of(final)]
        return tuple(map(torch.from_numpy, found if self.one_step else [y, *found]))

    @_on_torchs_threads
    def record(self, x: Tensor, states: Tensors) -> Tape:
        layer = self.layer
        masks = None if self.seed is None else Masks(self.seed)
        return layer.record_on(layer.packed(), self._array(x), self._states(states), self.lengths,
                               self.seed is not None, reset=self.reset, masks=masks)

    def outputs(self, tape: Tape) -> tuple[Tensor, ...]:
        """What `run` returns, of a recorded pass.

        The output shares the memory of the tape, if `shares_output`. Users may change the states, which are copies.
        """
        found = [self._without_axis(part.copy()) for part in parts_of(tape.state)]
        if not self.one_step:
            found.insert(0, self._output(tape))
        return tuple(map(torch.from_numpy, found))

    def shares_output(self, tape: Tape) -> bool:
        """Whether the output is read by the backward pass, so that nobody may change it before."""
        return not self.one_step and (tape.batch is None or isinstance(self.lengths, Batch))

    @_on_torchs_threads
    def gradients(self, tape: Tape, cotangents: Tensors, grad_input: bool, parameters: bool
                  ) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
        """Back-propagate through time.

        Parameters
        ----------
        tape : Tape
        cotangents : tensors or None
            On the results of `run`; None means zeros.
        grad_input, parameters : bool
            Which gradients are wanted, besides those of the initial states.

        Returns
        -------
        grad_x : tensor or None
        grad_states : list of tensor
        grad_parameters : list of tensor
            Empty if they are not wanted.
        """
        of_output, of_states = (None, cotangents) if self.one_step else (cotangents[0], cotangents[1:])
        packed = isinstance(self.lengths, Batch)
        grad_y = None
        if of_output is not None:
            grad_y = as_rows(as_array(of_output), "grad_output", tape.dtype)
            grad_y = grad_y[:, None] if packed else tape.layout.time_major(grad_y)
        shapes = tape.layer.structure.state_shapes(tape.B)
        carry = [np.zeros(shape, tape.dtype) if part is None else np.array(as_array(part), order="C").reshape(shape)
                 for part, shape in zip(of_states, shapes, strict=True)]
        grad_x, found = tape.backward_on(grad_y, carry, grad_input=grad_input, parameters=parameters,
                                         active_rows_alone=packed)
        if grad_x is not None:
            grad_x = grad_x[:, 0] if packed else self._without_axis(tape.layout.as_given(grad_x))
        states = [self._without_axis(part) for part in parts_of(tape.layout.states(carry))]
        return (None if grad_x is None else torch.from_numpy(grad_x), list(map(torch.from_numpy, states)),
                list(map(torch.from_numpy, found.values())))

    def _output(self, tape: Tape) -> Array:
        output = tape.recorded_output
        if isinstance(self.lengths, Batch):
            return output[:, 0]
        return tape.layout.as_given(output if tape.batch is None else tape.batch.spread(output))

    def _array(self, tensor: Tensor) -> Array:
        array = as_array(tensor)
        return array[None] if self.one_step else array

    def _states(self, states: Tensors) -> StateLike:
        found: tuple[Any, ...] = tuple([None if part is None else self._array(part) for part in states])
        return found if len(found) > 1 else found[0]

    def _without_axis(self, array: Array) -> Array:
        return array[0] if self.one_step else array
