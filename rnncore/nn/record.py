"""A recorded call: its output, and its backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from rnncore._checks import as_rows
from rnncore._typing import Array, InputT

if TYPE_CHECKING:
    from collections.abc import Callable

    from rnncore._typing import ArrayLike
    from rnncore.module import Module
    from rnncore.recurrent.gradients import Gradients


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
