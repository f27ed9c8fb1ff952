"""LSTM, GRU and RNN as modules of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn.utils.rnn import PackedSequence

from rnncore.recurrent import layers
from rnncore.recurrent.descriptions import find

from . import operator
from .arguments import as_given, as_parameters_are, check_parameters, check_shape, parts_of_state
from .function import recorded
from .packed import as_batch
from .passes import Call
from .tapes import kept_by_hooks
from .weights import Options, Weights

if TYPE_CHECKING:
    from torch import Tensor

    from rnncore._typing import ArrayLike
    from rnncore.recurrent.base import RecurrentLayer
    from rnncore.recurrent.tape import Tape

    from .passes import Tensors

_NOT_SAVED = ("_weights", "_tape")


class Engine:
    """What modules and cells share: the layer they run on, and the last recorded pass.

    Both belong to the process and not to the model, so that copies and files do not have them. They are made when they
    are first needed, since `swap` makes modules without calling their constructor.
    """

    def _weights_now(self) -> Weights:
        weights: Weights | None = self.__dict__.get("_weights")
        if weights is None:
            weights = self.__dict__["_weights"] = Weights()
        return weights

    def _run(self, call: Call, x: Tensor, states: Tensors, parameters: list[Tensor]) -> tuple[Tensor, ...]:
        if not torch.is_grad_enabled() or not any(
                tensor is not None and tensor.requires_grad for tensor in (x, *states, *parameters)):
            return call.run(x, states)
        self.__dict__["_tape"] = None           # its memory can be used again, if nothing else holds it
        tape, results = recorded(call, x, states, parameters)
        if not kept_by_hooks():
            self.__dict__["_tape"] = tape
        return results

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()      # type: ignore[assignment]
        return {name: value for name, value in state.items() if name not in _NOT_SAVED}


class RecurrentModule(Engine, torch.nn.RNNBase):
    """The base class of `LSTM`, `GRU` and `RNN`.

    Attributes
    ----------
    kernels : dict of str to str
        For each ``mode`` of torch that the class may have, the name of the cell in the kernels' table.
    states : tuple of str
        Names of the initial states.
    torch_class : type
        The class of torch.nn in whose place it stands.
    """

    kernels: ClassVar[dict[str, str]]
    states: ClassVar[tuple[str, ...]]
    torch_class: ClassVar[type[torch.nn.RNNBase]]

    def forward(self, input: Tensor | PackedSequence, hx: Any = None, lengths: ArrayLike | Tensor | None = None,
                reset: ArrayLike | Tensor | None = None) -> Any:
        """Run a batch of sequences.

        Parameters
        ----------
        input : tensor or PackedSequence
            (T, B, I), (B, T, I) with ``batch_first``, or (T, I) for one sequence; of the type of the weights.
        hx : tensor or tuple of tensors, optional
            The initial state, h of (layers·directions, B, H), or the pair (h, c) for an LSTM. Zeros by default.
        lengths : sequence or tensor of int (B,), optional
            The number of steps of each row, in any order; 0 is allowed. Outputs past a row's end are 0, and its final
            state is the one after its last step. It takes the place of packing.
        reset : array_like or tensor of bool, (T, B), (B, T) with ``batch_first``, or (T,) for one sequence, optional
            The steps before which a row's state is zero, such as the first steps of episodes that follow each other in
            one row; no gradient crosses them. For a PackedSequence it is laid out as the padded input.

        Returns
        -------
        output : tensor (T, B, directions·H), laid out as the input, or PackedSequence
            It shares memory with a recorded pass; to change it in place, take a copy.
        hx : tensor, or the pair (h, c)

        Raises
        ------
        RuntimeError, ValueError, TypeError
            An argument has the wrong shape, type or length; the message names it.
        NotImplementedError
            Another device, or half precision.
        """
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError("lengths: got them with a PackedSequence, expected None, since it has its own")
            return self._forward_packed(input, hx, reset)
        parameters = [getattr(self, name) for name in self._flat_weights_names]
        dtype = check_parameters(self._name, parameters)
        input = as_parameters_are(self._name, "input", input, dtype)
        axes = "(B, T, I)" if self.batch_first else "(T, B, I)"
        if input.dim() not in (2, 3):
            raise ValueError(f"input: got {input.dim()} axes, expected {axes}, or (T, I) for one sequence")
        if input.size(-1) != self.input_size:
            raise RuntimeError(f"input: got shape {tuple(input.shape)}, expected {axes}, or (T, I) for one sequence, "
                               f"with I = input_size = {self.input_size}")
        if input.dim() == 3:
            states = self._check_state(hx, dtype, (input.size(0 if self.batch_first else 1),))
        else:
            states = self._check_state(hx, dtype, ())
        if torch.compiler.is_compiling():
            results = operator.run(self, input, states, parameters, lengths, reset)
        else:
            call = Call(self._layer_now(dtype, parameters), as_given(lengths), as_given(reset), self._seed())
            results = self._run(call, input, states, parameters)
        return results[0], results[1] if len(results) == 2 else results[1:]

    def _forward_packed(self, packed: PackedSequence, hx: Any,
                        reset: ArrayLike | Tensor | None) -> tuple[PackedSequence, Any]:
        parameters = [getattr(self, name) for name in self._flat_weights_names]
        dtype = check_parameters(self._name, parameters)
        data = as_parameters_are(self._name, "input.data", packed.data, dtype)
        if data.dim() != 2 or data.size(-1) != self.input_size:
            raise RuntimeError(f"input: got a PackedSequence with data of shape {tuple(data.shape)}, expected (N, I), "
                               f"with I = input_size = {self.input_size}")
        if reset is not None and self.batch_first:
            reset = torch.as_tensor(reset).t()
        if torch.compiler.is_compiling():
            states = self._check_state(hx, dtype, None)
            results = operator.run(self, data, states, parameters, reset=reset, packed=packed)
        else:
            batch = as_batch(packed.batch_sizes, packed.sorted_indices)
            states = self._check_state(hx, dtype, (len(batch.lengths),))
            call = Call(self._layer_now(dtype, parameters), batch, as_given(reset), self._seed())
            results = self._run(call, data, states, parameters)
        output = PackedSequence(results[0], packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        return output, results[1] if len(results) == 2 else results[1:]

    @property
    def tape(self) -> Tape | None:
        """The last recorded pass, for `rnncore.viz`; None before the first, and under `torch.compile`.

        A pass is recorded when gradients are wanted. After ``loss.backward()`` it has the gradients: ``tape.grad``. It
        is kept until the next one is recorded, or until ``del module.tape``. Where hooks on saved tensors are set, as
        by activation checkpointing, it is not kept, since what is kept of a pass is then up to them.
        """
        return self.__dict__.get("_tape")

    @tape.deleter
    def tape(self) -> None:
        self.__dict__.pop("_tape", None)

    @property
    def _name(self) -> str:
        return self.torch_class.__name__

    def _layer_now(self, dtype: torch.dtype, parameters: list[Tensor]) -> RecurrentLayer:
        options = Options(self.kernels[self.mode], self.input_size, self.hidden_size, self.num_layers, self.bias,
                          self.batch_first, self.bidirectional, dtype, self.proj_size)
        layer = self._weights_now().layer(options, parameters, record=torch.is_grad_enabled())
        if self._drops and layer.dropout != self.dropout:
            layer.dropout = self.dropout
        return layer

    @property
    def _drops(self) -> bool:
        return self.training and self.dropout > 0 and self.num_layers > 1

    def _seed(self) -> int | None:
        """The seed of a pass's dropout masks, from torch's generator, so that a pass can be repeated as in torch."""
        return int(torch.randint(2**63 - 1, ())) if self._drops else None

    def _check_state(self, hx: Any, dtype: torch.dtype, batch: tuple[int, ...] | None) -> Tensors:
        """The tensors of a state, checked; `batch` is (B,), () for one sequence, or None if it is not known."""
        found: list[Tensor | None] = []
        for name, part in zip(self.states, parts_of_state(hx, self.states), strict=True):
            width, letter = (self.proj_size, "P") if self.proj_size and name == "h0" else (self.hidden_size, "H")
            if part is not None:
                part = as_parameters_are(self._name, name, part, dtype)
                layers_and_directions = self.num_layers * (2 if self.bidirectional else 1)
                if batch is not None:
                    check_shape(name, part, (layers_and_directions, *batch, width),
                                f"(layers·directions, {'B, ' if batch else ''}{letter}), also with batch_first")
            found.append(part)
        return tuple(found)


class LSTM(RecurrentModule):
    """`torch.nn.LSTM` on rnncore's engine.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        As in torch. The masks of dropout are not torch's, though they depend on its generator alike.

    Examples
    --------
    >>> import torch, rnncore.torch as rt
    >>> lstm = rt.LSTM(3, 4)
    >>> y, (h, c) = lstm(torch.ones(5, 2, 3))
    >>> y.sum().backward()
    >>> lstm.tape["l0.f"].shape, lstm.weight_hh_l0.grad.shape
    ((5, 2, 4), torch.Size([16, 4]))
    """

    torch_class = torch.nn.LSTM
    kernels: ClassVar[dict[str, str]] = {layers.LSTM.mode: find(layers.LSTM.mode).kernel}
    states = find(layers.LSTM.mode).initial

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 device: Any = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(layers.LSTM.mode, input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, proj_size, device=device, dtype=dtype)


class GRU(RecurrentModule):
    """`torch.nn.GRU` on rnncore's engine.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype
        As in torch. The masks of dropout are not torch's, though they depend on its generator alike.

    Examples
    --------
    >>> import torch, rnncore.torch as rt
    >>> y, h = rt.GRU(3, 4, batch_first=True)(torch.ones(2, 5, 3), lengths=[5, 3])
    >>> y.shape, bool((y[1, 3:] == 0).all())
    (torch.Size([2, 5, 4]), True)
    """

    torch_class = torch.nn.GRU
    kernels: ClassVar[dict[str, str]] = {layers.GRU.mode: find(layers.GRU.mode).kernel}
    states = find(layers.GRU.mode).initial

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None,
                 dtype: torch.dtype | None = None) -> None:
        super().__init__(layers.GRU.mode, input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, device=device, dtype=dtype)


class RNN(RecurrentModule):
    """`torch.nn.RNN` on rnncore's engine.

    Parameters
    ----------
    input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout, bidirectional, device, dtype
        As in torch. The masks of dropout are not torch's, though they depend on its generator alike.

    Examples
    --------
    >>> import torch, rnncore.torch as rt
    >>> y, h = rt.RNN(3, 4, nonlinearity="relu")(torch.ones(5, 2, 3))
    >>> y.shape, h.shape
    (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    torch_class = torch.nn.RNN
    kernels: ClassVar[dict[str, str]] = {
        f"{layers.RNN.mode}_{curve.upper()}": find(layers.RNN.mode, nonlinearity=curve).kernel
        for curve in ("tanh", "relu")}
    states = find(layers.RNN.mode).initial

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 device: Any = None, dtype: torch.dtype | None = None) -> None:
        mode = f"{layers.RNN.mode}_{str(nonlinearity).upper()}"
        if mode not in self.kernels:
            raise ValueError(f"nonlinearity: got {nonlinearity!r}, expected 'tanh' or 'relu'")
        self.nonlinearity = nonlinearity
        super().__init__(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         device=device, dtype=dtype)
