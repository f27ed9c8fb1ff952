"""Single steps of a recurrent net, with the weights named as in torch's cells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

import numpy as np

from rnncore import _engine
from rnncore._checks import as_array
from rnncore._typing import Array, StateT
from rnncore.module import Module

from . import descriptions
from .gradients import Gradients
from .layers import GRU, LSTM, RNN, layer_class
from .named import Named
from .tape import NO_GRADIENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rnncore._typing import ArrayLike, DTypeLike, Seed, StateLike

    from .base import RecurrentLayer
    from .tape import Tape
    from .variants import ActivationsLike

# The number of multiply-adds up to which a step takes the short way, `Cell._lean_step`. It saves the checks and
# conversions of a call of the layer, but it holds the GIL and uses one thread (as `Stream.step` does), so beyond this
# number the call of the layer is faster.
LEAN = 5_000_000


class Cell(Module, Generic[StateT]):
    """The base class of the cells. A cell has a layer, which owns the weights, and runs it for one step."""

    _fixed = frozenset({"input_size", "hidden_size", "bias", "mode", "cell"})

    def __init__(self, layer: RecurrentLayer[StateT]) -> None:
        super().__init__(layer.dtype)
        self._layer = layer
        self.input_size, self.hidden_size, self.bias = layer.input_size, layer.hidden_size, layer.bias
        self.mode, self.cell = layer.mode, layer.cell
        self._two = len(layer.cell.states) == 2
        self._work = sum(math.prod(shape) for shape in layer.structure.shapes.values() if len(shape) == 2)
        self._steps: _engine.Stepper | None = None     # prepared for the weights and the batch size of the last step

    def __repr__(self) -> str:
        return f"{type(self).__name__}({repr(self._layer).partition('(')[2]}"

    def owned(self) -> Iterator[tuple[Module, dict[str, str]]]:
        """The layer's parameters under the names of a cell, which lack the layer's suffix "_l0"."""
        for owner, names in self._layer.owned():
            yield owner, {name.removesuffix("_l0"): own for name, own in names.items()}

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_steps": None}

    def __call__(self, x: ArrayLike, state: StateLike = None) -> StateT:
        """Run one step.

        Parameters
        ----------
        x : array_like, (B, I) or (I,)
        state : array_like or tuple, optional
            h of (B, H) or (H,), or the pair (h, c) for an LSTM. Zeros by default.

        Returns
        -------
        h : ndarray, or the pair (h, c) for an LSTM
        """
        new = None
        if type(x) is np.ndarray and 1 <= x.ndim <= 2:
            if not self._two or state is None:
                new = self._lean_step(x, state, None)
            elif type(state) is tuple and len(state) == 2:
                new = self._lean_step(x, *state)
        if new is None:
            return cast("StateT", _first(self._layer(*self._one_step(x, state))[1]))
        return new

    def _lean_step(self, x: Array, h: object, c: object) -> StateT | None:
        """The new state, computed without converting an array; `h` and `c` may be None for zeros.

        None if the step has more than `LEAN` multiply-adds, or if the engine cannot use an array as it is, because of
        its shape, dtype or memory layout.
        """
        H, dtype = self.hidden_size, self.dtype
        batch, shape = (len(x), (len(x), H)) if x.ndim == 2 else (1, (H,))
        weights, steps = self._layer.packed().weights, self._steps
        if steps is None or steps.weights is not weights or steps.batch != batch:
            if self._work * batch > LEAN:
                return None
            self._steps = steps = _engine.Stepper(weights, batch)
        h_new, c_new = np.empty(shape, dtype), np.empty(shape, dtype) if self._two else None
        if not steps.advance(x, h, c, h_new, c_new):
            return None
        return cast("StateT", h_new if c_new is None else (h_new, c_new))

    def record(self, x: ArrayLike, state: StateLike = None) -> CellTape[StateT]:
        """Run one step, and record it for its backward pass.

        Returns
        -------
        CellTape
        """
        return CellTape(self._layer.record(*self._one_step(x, state)))

    def _one_step(self, x: ArrayLike, state: StateLike) -> tuple[Array, Any]:
        """x and the state with the axes that a layer expects for a sequence of one step."""
        row = as_array(x, "x")
        if row.ndim not in (1, 2) or row.shape[-1] != self.input_size:
            raise ValueError(f"x: got shape {row.shape}, expected (B, I), or (I,) for one row, "
                             f"with I = input_size = {self.input_size}")
        expected = (*row.shape[:-1], self.hidden_size)

        def stacked(name: str, part: object) -> Array | None:
            if part is None:
                return None
            array = as_array(part, name)
            if array.shape != expected:
                raise ValueError(f"{name}: got shape {array.shape}, expected {expected}")
            return array[None]

        names = self.cell.states
        if state is None or len(names) == 1:
            return row[None], stacked(names[0], state)
        if not isinstance(state, tuple | list) or len(state) != len(names):
            raise ValueError(f"state: got {type(state).__name__}, expected the pair ({', '.join(names)})")
        return row[None], tuple(map(stacked, names, state))


class CellTape(Generic[StateT]):
    """A recorded step. Names are those of a `Tape` without the layer ("h", "c", "f"); arrays have no time axis."""

    def __init__(self, tape: Tape[StateT]) -> None:
        self._tape = tape

    def __repr__(self) -> str:
        tape = self._tape
        rows = f"B={tape.B}" if tape.layout.batched else "one row"
        grad = "gradients in .grad" if tape.grad else "no gradients yet"
        return f"<CellTape of {tape.layer!r}: {rows}; {', '.join(self.names())}; {grad}>"

    def _ipython_key_completions_(self) -> list[str]:
        return self.names()

    @property
    def output(self) -> Array:
        output: Array = self._tape.output[0]
        return output

    @property
    def state(self) -> StateT:
        return cast("StateT", _first(self._tape.state))

    @property
    def grad(self) -> Named:
        """The gradients of the last `backward`, by name.

        As in `Tape.grad`, those of h and c are total derivatives, and those of gates are with respect to the
        pre-activation. Read-only, (B, H), or (K, B, H) for K cotangents at once.

        Returns
        -------
        mapping of str to ndarray
            Empty before `backward`; asking for a name then raises a KeyError.

        Examples
        --------
        >>> import numpy as np, rnncore as rc
        >>> tape = rc.LSTMCell(3, 4, seed=0).record(np.ones((2, 3)))
        >>> grads = tape.backward(np.ones((2, 4)))
        >>> tape.grad["f"].shape, bool((tape.grad["h"] == 1).all())
        ((2, 4), True)
        """
        grad = self._tape.grad
        return Named(self.names(), lambda name: grad[f"l0.{name}"][..., 0, :, :], None if grad else NO_GRADIENT)

    def __getitem__(self, name: str) -> Array:
        return Named(self.names(), lambda name: self._tape[f"l0.{name}"][0])[name]

    def names(self, pattern: str = "*") -> list[str]:
        """As `Tape.names`."""
        return [name.removeprefix("l0.") for name in self._tape.names(f"l0.{pattern}")]

    def backward(self, grad_output: ArrayLike | None = None, grad_state: StateLike = None, *,
                 parameters: bool | None = None) -> Gradients[StateT, Array]:
        """As `Tape.backward`, for one step.

        Parameters
        ----------
        grad_output : array_like, (B, H), optional
            ∂L/∂h.
        grad_state : array_like or tuple, optional
            ∂L/∂h, which is added to `grad_output`, or the pair (∂L/∂h, ∂L/∂c) for an LSTM.
        parameters : bool, optional

        Returns
        -------
        Gradients
        """
        pair = isinstance(grad_state, tuple | list)
        given: list[Any] = [grad_output, *(cast("tuple[Any, ...]", grad_state) if pair else (grad_state,))]
        names = ["grad_output", *["grad_state"] * (len(given) - 1)]
        arrays = [None if a is None else as_array(a, name) for a, name in zip(given, names, strict=True)]
        axis = int(any(a is not None and a.ndim > self.output.ndim for a in arrays))   # K of them: a leading axis
        output, *state = [None if a is None else np.expand_dims(a, axis) for a in arrays]
        carry = cast("StateLike", tuple(state) if pair else state[0])
        grads = self._tape.backward(output, carry, parameters=parameters)

        def single(a: Array) -> Any:
            return np.take(a, 0, axis=axis)

        carried = tuple(map(single, grads.state)) if isinstance(grads.state, tuple) else single(grads.state)
        named = {name.removesuffix("_l0"): array for name, array in grads.parameters.items()}
        return Gradients(single(grads.input), cast("StateT", carried), named)


def _first(state: Any) -> Any:
    """A state at index 0 of its first axis, which is that of the layers."""
    return tuple(part[0] for part in state) if isinstance(state, tuple) else state[0]


class RNNCell(Cell[Array]):
    """One step of `RNN`; weights weight_ih, weight_hh, bias_ih, bias_hh.

    Parameters
    ----------
    input_size, hidden_size, bias, nonlinearity, gate_clip, activations, dtype, seed
        As in `RNN`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> cell = rc.RNNCell(3, 4, seed=0)
    >>> cell(np.ones((2, 3))).shape
    (2, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True,
                 nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh", *, gate_clip: float | None = None,
                 activations: ActivationsLike | None = None, dtype: DTypeLike = "float32", seed: Seed = None) -> None:
        super().__init__(RNN(input_size, hidden_size, bias=bias, nonlinearity=nonlinearity, gate_clip=gate_clip,
                             activations=activations, dtype=dtype, seed=seed))


class GRUCell(Cell[Array]):
    """One step of `GRU`; weights weight_ih, weight_hh, bias_ih, bias_hh.

    Parameters
    ----------
    input_size, hidden_size, bias, reset_after, gate_clip, activations, dtype, seed
        As in `GRU`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> cell = rc.GRUCell(3, 4, seed=0)
    >>> cell(np.ones((2, 3)), np.zeros((2, 4))).shape
    (2, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, reset_after: bool = True,
                 gate_clip: float | None = None, activations: ActivationsLike | None = None,
                 dtype: DTypeLike = "float32", seed: Seed = None) -> None:
        super().__init__(GRU(input_size, hidden_size, bias=bias, reset_after=reset_after, gate_clip=gate_clip,
                             activations=activations, dtype=dtype, seed=seed))


class LSTMCell(Cell[tuple[Array, Array]]):
    """One step of `LSTM`; weights weight_ih, weight_hh, bias_ih, bias_hh, and weight_peephole if it has peepholes.

    Parameters
    ----------
    input_size, hidden_size, bias, peepholes, coupled, cell_clip, gate_clip, activations, dtype, seed
        As in `LSTM`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> cell = rc.LSTMCell(3, 4, seed=0)
    >>> h, c = cell(np.ones((2, 3)))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, peepholes: bool = False,
                 coupled: bool = False, cell_clip: float | None = None, gate_clip: float | None = None,
                 activations: ActivationsLike | None = None, dtype: DTypeLike = "float32", seed: Seed = None) -> None:
        super().__init__(LSTM(input_size, hidden_size, bias=bias, peepholes=peepholes, coupled=coupled,
                              cell_clip=cell_clip, gate_clip=gate_clip, activations=activations, dtype=dtype,
                              seed=seed))


def cell_class(mode: str) -> type[Cell]:
    """The class of cells of a mode: one of this module, or one that is created from the mode's description.

    Examples
    --------
    >>> from rnncore.recurrent.cells import cell_class
    >>> cell_class("GRU")
    <class 'rnncore.recurrent.cells.GRUCell'>
    """
    kind, name = layer_class(mode), f"{mode}Cell"
    if name not in globals():
        def __init__(self: Cell, input_size: int, hidden_size: int, bias: bool = True, *,
                     dtype: DTypeLike = "float32", seed: Seed = None, **options: Any) -> None:
            # An option that is for a layer only, such as num_layers, raises a TypeError here.
            descriptions.find(mode, **options)
            Cell.__init__(self, kind(input_size, hidden_size, bias=bias, dtype=dtype, seed=seed, **options))

        doc = f"One step of `{mode}`; arguments as in `RNNCell`, and the options of `{mode}` that choose its equations."
        made = type(name, (Cell,), {"__doc__": doc, "__init__": __init__, "__module__": __name__})
        globals().setdefault(name, made)                # another thread may have created it meanwhile
    return cast("type[Cell]", globals()[name])


def __getattr__(name: str) -> Any:          # pickle looks here for a class that was created from a description
    if name.removesuffix("Cell") in descriptions.modes():
        return cell_class(name.removesuffix("Cell"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
