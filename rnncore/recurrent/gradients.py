"""What a backward pass returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic

from rnncore._typing import Array, GradStateT, InputT


@dataclass(repr=False)
class Gradients(Generic[GradStateT, InputT]):
    """The gradients that a backward pass returns; the arrays are not shared with anything else.

    Attributes
    ----------
    input : ndarray
        ∂L/∂x, laid out as x was. None where the input was tokens.
    state : ndarray or tuple
        ∂L/∂h0, or the pair (∂L/∂h0, ∂L/∂c0), laid out as the initial state. None where there is no state.
    parameters : dict of ndarray
        By the names of ``state_dict()``; empty if they were not requested.
    """

    input: InputT
    state: GradStateT
    parameters: dict[str, Array]

    def __repr__(self) -> str:
        named = [f"{name} {array.shape}" for name, array in self.parameters.items()]
        parameters = ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
        return (f"<Gradients: input {_shape(self.input)}; state {_shape(self.state)}; "
                f"parameters {parameters or 'not requested'}>")


def _shape(value: Any) -> str:
    """The shape of an array, or of the arrays of a state, for messages."""
    if isinstance(value, tuple):
        return ", ".join(map(_shape, value))
    return "none" if value is None else str(value.shape)
