"""What one recorded call leaves behind: its output, and the way back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnncore._checks import as_real
from rnncore.module import Module
from rnncore.recurrent.tape import Gradients


class Record:
    """The output of one recorded call of `module`, and its adjoint.

    Parameters
    ----------
    module : Module
        Whose weights the adjoint belongs to: it refuses to run when they changed since.
    output : ndarray
    version : int
        Of the weights that made it.
    adjoint : callable
        From ∂L/∂output to `Gradients`.
    """

    def __init__(
        self, module: Module, output: np.ndarray, version: int, adjoint: Callable[[np.ndarray], Gradients]
    ):
        self.output = output
        self._module, self._version, self._adjoint = module, version, adjoint

    def backward(self, grad_output) -> Gradients:
        """Walk back: ∂L/∂output in, `Gradients` out, whose ``state`` is None (there is none)."""
        if self._module._version != self._version:
            raise RuntimeError(
                f"backward: the weights of {type(self._module).__name__} changed after record(); "
                "take the gradient first and update after it, or record again"
            )
        grad = as_real(grad_output, "grad_output", self.output.dtype)
        if grad.shape != self.output.shape:
            raise ValueError(
                f"grad_output: got shape {grad.shape}, expected {self.output.shape}, "
                "the shape of .output"
            )
        return self._adjoint(grad)
