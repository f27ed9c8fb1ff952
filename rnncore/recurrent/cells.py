"""One step of a recurrent net, with torch's names for a cell's weights."""

import math
from typing import Any

import numpy as np

from rnncore import _engine
from rnncore._checks import as_array
from rnncore.module import Module

from . import descriptions
from .layers import GRU, LSTM, RNN, layer_class
from .tape import NO_GRADIENT, Gradients, Named

# Multiply-adds of a step up to which the lean way pays: it holds the GIL and works on one thread, as a stream does.
LEAN = 5_000_000


class Cell(Module):
    """What all cells share: a layer of one step, which has the weights."""

    _fixed = frozenset({"input_size", "hidden_size", "bias", "mode", "cell"})

    def __init__(self, layer):
        super().__init__(layer.dtype)
        self._layer = layer
        self.input_size, self.hidden_size, self.bias = layer.input_size, layer.hidden_size, layer.bias
        self.mode, self.cell = layer.mode, layer.cell
        self._two = len(layer.cell.states) == 2
        self._work = sum(math.prod(shape) for shape in layer.structure.shapes.values() if len(shape) == 2)
        self._steps = None              # the engine's, for the weights and the number of rows of the last step

    def owned(self):
        """The layer's, under the names of a cell."""
        for owner, names in self._layer.owned():
            yield owner, {name.removesuffix("_l0"): own for name, own in names.items()}

    def __getstate__(self):
        return super().__getstate__() | {"_steps": None}

    def __call__(self, x, state=None):
        """One step.

        Parameters
        ----------
        x : array_like, (B, I) or (I,)
        state : array_like or tuple, optional
            h of (B, H) or (H,), or the pair (h, c) for an LSTM; zeros when left out.

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
        return _first(self._layer(*self._one_step(x, state))[1]) if new is None else new

    def _lean_step(self, x, h, c):
        """The step where the arrays are what the engine takes as they are, and few; None elsewhere."""
        H, dtype = self.hidden_size, self.dtype
        batch, shape = (len(x), (len(x), H)) if x.ndim == 2 else (1, (H,))
        weights, steps = self._layer.packed().weights, self._steps
        if steps is None or steps.weights is not weights or steps.batch != batch:
            if self._work * batch > LEAN:
                return None
            self._steps = steps = _engine.StepLoop(weights, batch)
        h_new, c_new = np.empty(shape, dtype), np.empty(shape, dtype) if self._two else None
        if not steps.advance(x, h, c, h_new, c_new):
            return None
        return h_new if c_new is None else (h_new, c_new)

    def record(self, x, state=None):
        """One step that can be walked back.

        Returns
        -------
        CellTape
        """
        return CellTape(self._layer.record(*self._one_step(x, state)))

    def _one_step(self, x, state):
        """x and the state as a layer takes them."""
        x = as_array(x, "x")
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(f"x: got shape {x.shape}, expected (B, I), or (I,) for one row, "
                             f"with I = input_size = {self.input_size}")
        expected = (*x.shape[:-1], self.hidden_size)

        def stacked(name, part):
            if part is None:
                return None
            part = as_array(part, name)
            if part.shape != expected:
                raise ValueError(f"{name}: got shape {part.shape}, expected {expected}")
            return part[None]

        names = self.cell.states
        if state is None or len(names) == 1:
            return x[None], stacked(names[0], state)
        if not isinstance(state, tuple | list) or len(state) != len(names):
            raise ValueError(f"state: got {type(state).__name__}, expected the pair ({', '.join(names)})")
        return x[None], tuple(map(stacked, names, state))


class CellTape:
    """A recorded step: names as in `Tape` without the layer ("h", "c", "f"), arrays without the time axis."""

    def __init__(self, tape):
        self._tape = tape

    @property
    def output(self):
        return self._tape.output[0]

    @property
    def state(self):
        return _first(self._tape.state)

    @property
    def grad(self):
        """What the last `backward` found, by name: ∂L/∂h and ∂L/∂c in all, gates' before their nonlinearity.

        As `Tape.grad`: read-only, (B, H), or (K, B, H) for K cotangents at once.

        Returns
        -------
        mapping of str to ndarray
            Empty before `backward`; to ask for a name then is a KeyError.

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

    def __getitem__(self, name):
        return Named(self.names(), lambda name: self._tape[f"l0.{name}"][0])[name]

    def names(self, pattern="*"):
        """As `Tape.names`."""
        return [name.removeprefix("l0.") for name in self._tape.names(f"l0.{pattern}")]

    def backward(self, grad_output=None, grad_state=None, *, parameters=None):
        """As `Tape.backward`, for one step.

        Parameters
        ----------
        grad_output : array_like, (B, H), optional
            ∂L/∂h.
        grad_state : array_like or tuple, optional
            ∂L/∂h again, or the pair (∂L/∂h, ∂L/∂c) for an LSTM.
        parameters : bool, optional

        Returns
        -------
        Gradients
        """
        many = self._has_many(grad_output, grad_state)
        axis = 1 if many else 0

        def stacked(a):
            return None if a is None else np.expand_dims(np.asarray(a), axis)

        if isinstance(grad_state, tuple | list):
            grad_state = tuple(map(stacked, grad_state))
        else:
            grad_state = stacked(grad_state)
        grads = self._tape.backward(stacked(grad_output), grad_state, parameters=parameters)

        def single(a):
            return np.take(a, 0, axis=axis)

        state = tuple(map(single, grads.state)) if isinstance(grads.state, tuple) else single(grads.state)
        named = {name.removesuffix("_l0"): array for name, array in grads.parameters.items()}
        return Gradients(single(grads.input), state, named)

    def _has_many(self, grad_output, grad_state):
        parts = [grad_output, *(grad_state if isinstance(grad_state, tuple | list) else (grad_state,))]
        return any(a is not None and np.ndim(a) > self.output.ndim for a in parts)


def _first(state):
    return tuple(part[0] for part in state) if isinstance(state, tuple) else state[0]


class RNNCell(Cell):
    """One step of `RNN`; weights weight_ih, weight_hh, bias_ih, bias_hh.

    Parameters
    ----------
    input_size, hidden_size, bias, nonlinearity, dtype, seed
        As in `RNN`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> cell = rc.RNNCell(3, 4, seed=0)
    >>> cell(np.ones((2, 3))).shape
    (2, 4)
    """

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", *, dtype="float32", seed=None):
        super().__init__(RNN(input_size, hidden_size, bias=bias, nonlinearity=nonlinearity, dtype=dtype, seed=seed))


class GRUCell(Cell):
    """One step of `GRU`; weights weight_ih, weight_hh, bias_ih, bias_hh.

    Parameters
    ----------
    input_size, hidden_size, bias, reset_after, dtype, seed
        As in `GRU`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> cell = rc.GRUCell(3, 4, seed=0)
    >>> cell(np.ones((2, 3)), np.zeros((2, 4))).shape
    (2, 4)
    """

    def __init__(self, input_size, hidden_size, bias=True, *, reset_after=True, dtype="float32", seed=None):
        super().__init__(GRU(input_size, hidden_size, bias=bias, reset_after=reset_after, dtype=dtype, seed=seed))


class LSTMCell(Cell):
    """One step of `LSTM`; weights weight_ih, weight_hh, bias_ih, bias_hh.

    Parameters
    ----------
    input_size, hidden_size, bias, dtype, seed
        As in `LSTM`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> cell = rc.LSTMCell(3, 4, seed=0)
    >>> h, c = cell(np.ones((2, 3)))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    def __init__(self, input_size, hidden_size, bias=True, *, dtype="float32", seed=None):
        super().__init__(LSTM(input_size, hidden_size, bias=bias, dtype=dtype, seed=seed))


def cell_class(mode: str) -> type[Cell]:
    """The class of cells of a mode: one of this module, or one that is made of the mode's description.

    Examples
    --------
    >>> from rnncore.recurrent.cells import cell_class
    >>> cell_class("GRU")
    <class 'rnncore.recurrent.cells.GRUCell'>
    """
    kind, name = layer_class(mode), f"{mode}Cell"
    if name not in globals():
        def __init__(self, input_size, hidden_size, bias=True, *, dtype="float32", seed=None, **options):
            descriptions.find(mode, **options)          # refuses what a layer has and a step has not
            Cell.__init__(self, kind(input_size, hidden_size, bias=bias, dtype=dtype, seed=seed, **options))

        doc = f"One step of `{mode}`; arguments as in `RNNCell`, and the options of `{mode}` that choose its equations."
        made = type(name, (Cell,), {"__doc__": doc, "__init__": __init__, "__module__": __name__})
        globals().setdefault(name, made)                # another thread may have been quicker
    return globals()[name]


def __getattr__(name: str) -> Any:          # where pickle looks for a class that was made
    if name.removesuffix("Cell") in descriptions.modes():
        return cell_class(name.removesuffix("Cell"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
