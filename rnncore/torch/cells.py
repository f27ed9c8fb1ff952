"""LSTMCell, GRUCell and RNNCell as modules of torch: one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from rnncore.recurrent import layers
from rnncore.recurrent.cells import CellTape
from rnncore.recurrent.descriptions import find

from . import operator
from .arguments import as_parameters_are, check_parameters, check_shape, parts_of_state
from .modules import Engine
from .passes import Call
from .weights import Options

if TYPE_CHECKING:
    from torch import Tensor

    from .passes import Tensors

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class RecurrentCell(Engine):
    """What `LSTMCell`, `GRUCell` and `RNNCell` add to the classes of torch.nn.

    Attributes
    ----------
    states : tuple of str
        Names of the states before the step.
    """

    states: ClassVar[tuple[str, ...]]

    if TYPE_CHECKING:
        input_size: int
        hidden_size: int
        bias: bool

    @property
    def _kernel(self) -> str:
        raise NotImplementedError

    @property
    def tape(self) -> CellTape | None:
        """The last recorded step, as `rnncore.torch.LSTM.tape` is the last recorded pass of a layer."""
        tape = self.__dict__.get("_tape")
        return None if tape is None else CellTape(tape)

    @tape.deleter
    def tape(self) -> None:
        self.__dict__.pop("_tape", None)

    def _step(self, input: Tensor, hx: Any) -> tuple[Tensor, ...]:
        """The states after one step."""
        name = type(self).__name__
        parameters = [getattr(self, weight) for weight in (_NAMES if self.bias else _NAMES[:2])]
        dtype = check_parameters(name, parameters)
        input = as_parameters_are(name, "input", input, dtype)
        if input.dim() not in (1, 2):
            raise ValueError(f"input: got {input.dim()} axes, expected (B, I), or (I,) for one row")
        if input.size(-1) != self.input_size:
            raise RuntimeError(f"input: got shape {tuple(input.shape)}, expected (B, I), or (I,) for one row, with "
                               f"I = input_size = {self.input_size}")
        rows = tuple(input.shape[:-1])
        states: Tensors = ()
        for state, part in zip(self.states, parts_of_state(hx, self.states), strict=True):
            if part is not None:
                part = as_parameters_are(name, state, part, dtype)
                check_shape(state, part, (*rows, self.hidden_size), "(B, H)" if rows else "(H,)")
            states += (part,)
        if torch.compiler.is_compiling():
            return self._compiled(input, states, parameters)
        options = Options(self._kernel, self.input_size, self.hidden_size, 1, self.bias, False, False, dtype)
        layer = self._weights_now().layer(options, parameters, record=torch.is_grad_enabled())
        return self._run(Call(layer, one_step=True), input, states, parameters)

    def _compiled(self, x: Tensor, states: Tensors, parameters: list[Tensor]) -> tuple[Tensor, ...]:
        """The same by the operator, for which a step is a sequence."""
        axes = (0,) if x.dim() == 2 else (0, 1)
        for axis in axes:
            x = x.unsqueeze(axis)
            states = tuple([None if part is None else part.unsqueeze(axis) for part in states])
        _, *final = operator.call(self._kernel, x, states, parameters)
        return tuple([part.squeeze(axes) for part in final])


class LSTMCell(RecurrentCell, torch.nn.LSTMCell):
    """`torch.nn.LSTMCell` on rnncore's engine.

    Parameters
    ----------
    input_size, hidden_size, bias, device, dtype
        As in torch.

    Examples
    --------
    >>> import torch, rnncore.torch as rt
    >>> h, c = rt.LSTMCell(3, 4)(torch.ones(2, 3))
    >>> h.shape, c.shape
    (torch.Size([2, 4]), torch.Size([2, 4]))
    """

    states = find(layers.LSTM.mode).initial

    @property
    def _kernel(self) -> str:
        return find(layers.LSTM.mode).kernel

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Run one step: input (B, I) or (I,), and the pair (h, c) or None for zeros; returns the new pair."""
        h, c = self._step(input, hx)
        return h, c


class GRUCell(RecurrentCell, torch.nn.GRUCell):
    """`torch.nn.GRUCell` on rnncore's engine.

    Parameters
    ----------
    input_size, hidden_size, bias, device, dtype
        As in torch.

    Examples
    --------
    >>> import torch, rnncore.torch as rt
    >>> rt.GRUCell(3, 4)(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    states = find(layers.GRU.mode).initial

    @property
    def _kernel(self) -> str:
        return find(layers.GRU.mode).kernel

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Run one step: input (B, I) or (I,), and h or None for zeros; returns the new h."""
        return self._step(input, hx)[0]


class RNNCell(RecurrentCell, torch.nn.RNNCell):
    """`torch.nn.RNNCell` on rnncore's engine.

    Parameters
    ----------
    input_size, hidden_size, bias, nonlinearity, device, dtype
        As in torch.

    Examples
    --------
    >>> import torch, rnncore.torch as rt
    >>> rt.RNNCell(3, 4, nonlinearity="relu")(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    states = find(layers.RNN.mode).initial

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
                 device: Any = None, dtype: torch.dtype | None = None) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity: got {nonlinearity!r}, expected 'tanh' or 'relu'")
        super().__init__(input_size, hidden_size, bias, nonlinearity, device=device, dtype=dtype)

    @property
    def _kernel(self) -> str:
        return find(layers.RNN.mode, nonlinearity=self.nonlinearity).kernel

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Run one step: input (B, I) or (I,), and h or None for zeros; returns the new h."""
        return self._step(input, hx)[0]
