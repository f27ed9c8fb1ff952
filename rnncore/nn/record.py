"""Recorded calls, of one of these layers and of a whole model: the output, and the backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from rnncore._checks import as_rows
from rnncore._typing import Array, InputT
from rnncore.module import prefixed
from rnncore.recurrent.gradients import Gradients

if TYPE_CHECKING:
    from collections.abc import Callable

    from rnncore._typing import ArrayLike, State
    from rnncore.module import Module
    from rnncore.nn.readout import Adjoint
    from rnncore.recurrent.tape import Tape


def changed(module: Module) -> RuntimeError:
    """The error of a backward pass through weights that are not those of its recorded call any more."""
    return RuntimeError(f"backward: the weights of {type(module).__name__} changed after record(); "
                        "take the gradient first and update after it, or record again")


class Record(Generic[InputT]):
    """The output of one recorded call of `module`, and its adjoint.

    Parameters
    ----------
    module : Module
        The module that was called. The adjoint refuses to run once its weights have changed.
    output : ndarray
    version : int
        The version of the weights that were used.
    adjoint : callable
        Returns `Gradients` for ∂L/∂output.
    """

    def __init__(
        self, module: Module, output: Array, version: int, adjoint: Callable[[Array], Gradients[None, InputT]]
    ) -> None:
        self.output = output
        self._module, self._version, self._adjoint = module, version, adjoint

    def __repr__(self) -> str:
        return f"<Record of {self._module!r}: output {self.output.shape}>"

    def backward(self, grad_output: ArrayLike) -> Gradients[None, InputT]:
        """The gradients of input and parameters from ∂L/∂output; their ``state`` is None, since there is none."""
        self.check_weights()
        grad = as_rows(grad_output, "grad_output", self.output.dtype)
        if grad.shape != self.output.shape:
            raise ValueError(
                f"grad_output: got shape {grad.shape}, expected {self.output.shape}, "
                "the shape of .output"
            )
        return self._adjoint(grad)

    def check_weights(self) -> None:
        """Raise a RuntimeError if the weights have changed since the call."""
        if self._module._version != self._version:
            raise changed(self._module)


class SequenceRecord:
    """One recorded pass of a `SequenceModel`.

    Attributes
    ----------
    tape : Tape
        The tape of the recurrent layer.
    output, state
        What the call would have returned.
    """

    def __init__(
        self, embedded: Record[None] | None, tape: Tape, spread: Adjoint, kept: Record | None, predicted: Record
    ) -> None:
        self.tape, self.output, self.state = tape, predicted.output, tape.state
        self._embedded, self._spread, self._kept, self._predicted = embedded, spread, kept, predicted

    def __repr__(self) -> str:
        return f"<SequenceRecord: output {self.output.shape}; {self.tape!r}>"

    def backward(self, grad_output: ArrayLike) -> Gradients[State, Array | None]:
        """The gradients of all parameters, of the initial state and of the input, from ∂L/∂prediction.

        ``.input`` is None for tokens.
        """
        head = self._predicted.backward(grad_output)
        grad = head.input if self._kept is None else self._kept.backward(head.input).input
        through_table = self.tape.has_lookup
        layer = (self.tape.backward_to_table if through_table else self.tape.backward)(*self._spread(grad))
        parameters = prefixed("layer", layer.parameters) | prefixed("head", head.parameters)
        if self._embedded is None:
            return Gradients(layer.input, layer.state, parameters)
        if through_table:
            self._embedded.check_weights()
            found = {"weight": layer.input}
        else:
            found = self._embedded.backward(layer.input).parameters
        return Gradients(None, layer.state, prefixed("embedding", found) | parameters)
