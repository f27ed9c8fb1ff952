"""The tape: the buffers of one recorded pass, by name.

Training reads it, the debugger reads it, nothing is copied and nothing is computed twice. A tape holds one
`LayerPass` per layer and direction: views of what the time loop wrote, and after `backward` of what BPTT wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from operator import attrgetter

import numpy as np

from rnncore import _engine
from rnncore._checks import as_flag, as_real, as_rows
from rnncore.module import LOCK

from .passes import Walk
from .pullback import pullback

NO_GRADIENT = "no gradient yet; call tape.backward(grad_output) first"


@dataclass
class Gradients:
    """What a backward pass gives; the arrays are the caller's own.

    Attributes
    ----------
    input : ndarray
        ∂L/∂x, laid out as x was.
    state : ndarray or tuple
        ∂L/∂h0, or the pair (∂L/∂h0, ∂L/∂c0), laid out as the initial state.
    parameters : dict of ndarray
        By the names of ``state_dict()``; empty where they were not asked for.
    """

    input: np.ndarray | None
    state: np.ndarray | tuple | None
    parameters: dict


class Named(Mapping):
    """Arrays by name, made when asked for: read-only views."""

    def __init__(self, names, get, why_empty=None):
        self._names, self._get, self._why_empty = names, get, why_empty

    def __getitem__(self, name):
        if self._why_empty:
            raise KeyError(f"{name}: {self._why_empty}")
        if not isinstance(name, str):
            raise TypeError(f"name: got {name!r}, expected one of {', '.join(self._names)}")
        if name not in self._names:
            raise KeyError(f"tape: got {name!r}, expected one of {', '.join(self._names)}")
        view = self._get(name)
        view.setflags(False)
        return view

    def __iter__(self):
        return iter(() if self._why_empty else self._names)

    def __len__(self):
        return 0 if self._why_empty else len(self._names)


class Tape:
    """One recorded pass: states and gates by name, and the way back.

    ``tape["l0.h"]``, ``tape["l0.f"]``, ``tape["l1.reverse.c"]`` are (T, B, H) by input time, also for
    the reverse direction, 0 past a row's end. What there is of a layer, its cell's description says: the states, and
    the gates' values after their nonlinearity (i f g o of an LSTM; r z n of a GRU, and hn, the recurrent part of its
    candidate). After `backward`, ``tape.grad`` has the same names: total derivatives for states, derivatives of the
    pre-activation for gates.

    Attributes
    ----------
    layer : RecurrentLayer
    cell : Description
        What there is of a step, and what it means.
    mode : str
        Its class of layers: "LSTM", "GRU", "RNN", …
    dtype : dtype
    layout : Layout
        Of the input and the output; what is here by name is always time-major.
    T, B : int
    lengths : ndarray of int, (B,)
    input : ndarray, (T, B, I)
    output, state, initial
        What the call would have returned, and the state it started from.
    grad : mapping of str to ndarray
    """

    _last = None                            # what the last way back left, see `backward`

    def __init__(self, layer, version, passes, lengths, layout, initial, final, output):
        self._layer, self._cell, self._dtype = layer, layer.cell, layer.dtype
        self._passes, self._layout = passes, layout
        self._T, self._B = passes[0].x.shape[:2]
        self._version = version
        self._lengths = lengths
        self._initial, self._final = initial, final         # of every state (layers·directions, B, H)
        self._time_major_output = output

    # what the engine's loops go by cannot be set
    layer, cell, dtype, layout = (property(attrgetter(name)) for name in ("_layer", "_cell", "_dtype", "_layout"))
    T, B = (property(attrgetter(name)) for name in ("_T", "_B"))

    # ---- what was recorded ----------------------------------------------------------------------

    @property
    def mode(self):
        return self._cell.mode

    @property
    def lengths(self):
        return _locked(np.full(self.B, self.T) if self._lengths is None else self._lengths)

    @cached_property
    def _where(self):
        return {f"{layer_pass.part.name}.{name}": (layer_pass, name)
                for layer_pass in self._passes for name in self._cell.names}

    @property
    def input(self):
        return _locked(self._passes[0].x)

    @property
    def output(self):
        return _locked(self._layout.as_given(self._time_major_output))

    @property
    def state(self):
        return self._layout.states(map(_locked, self._final))

    @property
    def initial(self):
        return self._layout.states(map(_locked, self._initial))

    @property
    def grad(self):
        why = None if self._last else NO_GRADIENT
        return Named(self._where, self._gradient, why)      # made here: a tape must not refer to itself

    def names(self, pattern="*"):
        """Names that match a shell pattern ("*.f", "l1.*"), in the order of the layers.

        Parameters
        ----------
        pattern : str

        Returns
        -------
        list of str
        """
        if not isinstance(pattern, str):
            raise TypeError(f"pattern: got {pattern!r}, expected a text such as '*.h'")
        return [name for name in self._where if fnmatchcase(name, pattern)]

    def __contains__(self, name):
        return name in self._where

    def __getitem__(self, name):
        return Named(self._where, self._value)[name]

    def _value(self, name):
        layer_pass, short = self._where[name]
        if short == "h":
            return layer_pass.h.view()
        if layer_pass.checkpoints is None:
            return self._kept(layer_pass, short).view()
        whole = np.zeros(layer_pass.h.shape, self.dtype)
        for start, stop, steps in layer_pass.recomputed(self.packed()[layer_pass.part.position]):
            whole[start:stop] = self._kept(steps, short)
        return whole

    def _kept(self, steps, short):
        """c or a gate of some steps."""
        return steps.c if short == "c" else steps.gates[:, :, self._cell.slots[short]]

    @property
    def nbytes(self):
        """Bytes that the recorded pass holds, gradients not counted."""
        arrays = [self._time_major_output, *self._initial, *self._final]
        for layer_pass in self._passes:
            arrays += [layer_pass.x, layer_pass.h, *layer_pass.initial, layer_pass.gates, layer_pass.c, layer_pass.mask]
            arrays += [state for *_, states in layer_pass.checkpoints or () for state in states]
        owners = {id(a if a.base is None else a.base): (a if a.base is None else a.base)
                  for a in arrays if a is not None}
        return sum(a.nbytes for a in owners.values())

    @property
    def parameters(self):
        """Copies of the weights of the pass, by name; refused when the layer has others by now."""
        with LOCK:
            self.packed()
            return self.layer.parameters

    def packed(self):
        """What the engine goes back by: the packed weights of the pass; refused when the layer has others by now."""
        return self._layer.packed_at(self._version).weights

    # ---- the way back ---------------------------------------------------------------------------

    def backward(self, grad_output=None, grad_state=None, *, parameters=None):
        """Back-propagate through time, and fill in ``tape.grad``: of threads that do so at once, the last one's.

        Parameters
        ----------
        grad_output : array_like, optional
            ∂L/∂output, shaped as ``tape.output``, or with a leading axis of K cotangents, which every result
            then has too. Ignored past a row's end, even if NaN. Zeros when left out.
        grad_state : array_like or tuple, optional
            ∂L/∂(final state), shaped as ``tape.state``, with the same leading axis if any.
        parameters : bool, optional
            Whether to form the weights' gradients. By default True, and False for K cotangents at once.

        Returns
        -------
        Gradients

        Raises
        ------
        RuntimeError
            The weights changed since the pass was recorded.
        ValueError
            Neither gradient given, or a wrong shape.
        """
        weights = self.packed()
        grad_output, carry, many = self._check_cotangents(grad_output, grad_state)
        if parameters is None:
            parameters = many is None
        as_flag(parameters, "parameters")
        wanted = self._room_for_parameters() if parameters and many is None else {}
        self._last = found = cotangents = None          # until the way has been gone to its end
        if self._passes[0].checkpoints is None:
            found = self._room_for_steps(carry[0].shape[1])
        if found is None or many is not None:           # it may be walked again
            cotangents = (None if grad_output is None else grad_output.copy()), [part.copy() for part in carry]
        grad_x = self._walk(weights, grad_output, carry, wanted, found)
        self._last = many, cotangents, found            # K, None without an axis for it; None under checkpoints
        if many is not None:
            grad_x, carry = _many(grad_x, many, self.B), [_many(part, many, self.B) for part in carry]
        if parameters and many is not None:
            wanted = self._parameters_one_by_one(weights, many, *cotangents)
        return Gradients(self._layout.as_given(grad_x), self._layout.states(carry), wanted)

    def pullback(self, v=None, *, every=1, direction="forward"):
        """Walk a block of cotangents on the final state back in time.

        Parameters
        ----------
        v : array_like, (K, B, S), optional
            Cotangents on s = [h of every layer; for an LSTM, c of every layer], S wide; by default the identity.
        every : int
            Steps between two stops.
        direction : {"forward", "reverse"}
            Of a bidirectional layer; the other direction's part of a lower layer's output is held fixed.

        Yields
        ------
        Carry
            Its arrays may be changed in place: what they hold is what is walked further.
        """
        self.packed()                      # refused here, not at the first step
        return pullback(self, self._passes, v, every, direction)

    def _room_for_steps(self, R):
        """Of each of `_passes` three arrays for its steps' gradients, R rows each: of the slots, h and c (or None)."""
        shapes = self.layer.structure.gradient_shapes(self.T, R)
        return _engine.carve("gradients", self.dtype, shapes * len(self._passes))

    def _walk(self, weights, grad_out, carry, wanted, found=None):
        """BPTT, layer by layer from the top.

        grad_out (T, R, F) or None; carry, of every state (layers·directions, R, H), in and out; `wanted` and `found`
        are filled in: what `_room_for_parameters` and `_room_for_steps` made.
        """
        structure = self.layer.structure
        R = carry[0].shape[1]
        for index in reversed(range(structure.num_layers)):
            passes = self._passes[index * structure.directions:(index + 1) * structure.directions]
            grad_x = np.empty((self.T, R, passes[0].part.input_size), self.dtype)
            for layer_pass in passes:
                part = layer_pass.part
                walk = Walk(weights[part.position], layer_pass, carry, part.position,
                            None if grad_out is None else structure.half(grad_out, part), grad_x,
                            part.direction == 1)
                if found is not None:
                    walk.delta, walk.total_h, walk.total_c = _of_pass(found, layer_pass)
                if wanted:
                    names = structure.names_by_part[part.position]
                    walk.w_ih, walk.w_hh = wanted[names[0]], wanted[names[1]]
                    if structure.bias:
                        walk.b_ih, walk.b_hh = wanted[names[2]], wanted[names[3]]
                layer_pass.walk_back(walk)
            if passes[0].mask is not None:
                _by_rows(grad_x, R // max(self.B, 1), self.B)[...] *= passes[0].mask[:, None]
            grad_out = grad_x
        return grad_x

    def _room_for_parameters(self):
        """Arrays that `_walk` fills in: pages of an earlier backward's, if those are gone."""
        shapes = self.layer.structure.shapes
        arrays = _engine.carve("gradients of parameters", self.dtype, tuple(shapes.values()))
        if self.T == 0 or self.B == 0:      # no step fills them in
            for array in arrays:
                array[...] = 0
        return dict(zip(shapes, arrays, strict=True))

    def _parameters_one_by_one(self, weights, many, grad_output, carry):
        """Weight gradients of each of K cotangents: the bits of K calls."""
        found = {name: np.zeros((many, *shape), self.dtype) for name, shape in self.layer.structure.shapes.items()}
        for k in range(many):
            rows = slice(k * self.B, (k + 1) * self.B)
            one = None if grad_output is None else grad_output[:, rows].copy()
            states = [part[:, rows].copy() for part in carry]           # they are walked in place
            self._walk(weights, one, states, {name: array[k] for name, array in found.items()})
        return found

    def _gradient(self, name):
        layer_pass, short = self._where[name]
        last = self._last
        if last is None:                    # another thread has begun its way back
            raise KeyError(f"{name}: {NO_GRADIENT}")
        many, cotangents, found = last
        if found is None:                   # under checkpoints they are computed when asked for
            weights, (grad_output, carry) = self.packed(), cotangents
            found = self._room_for_steps(carry[0].shape[1])
            self._walk(weights, grad_output, [state.copy() for state in carry], {}, found)
        delta, total_h, total_c = _of_pass(found, layer_pass)
        array = total_h if short == "h" else total_c if short == "c" else delta[:, :, self._cell.slots[short]]
        return array.view() if many is None else _many(array, many, self.B)

    # ---- shapes ---------------------------------------------------------------------------------

    def _check_cotangents(self, grad_output, grad_state):
        """Time-major (T, K*B, F) or None; of every state (layers·directions, K*B, H); K or None."""
        if grad_output is None and grad_state is None:
            raise ValueError("backward: got neither grad_output nor grad_state, expected at least one")
        leading = []                            # of each that is given: K, or None
        if grad_output is not None:
            like = self._layout.as_given(self._time_major_output)
            grad_output = as_rows(grad_output, "grad_output", self.dtype)
            grad_output = _cotangent(grad_output, "grad_output", like.shape, leading)
        parts = [None] * len(self._final)
        if grad_state is not None:
            parts = self._check_grad_state(grad_state, leading)
        many = leading[0] if leading else None
        if leading.count(many) < len(leading):
            raise ValueError(f"grad_output, grad_state: got leading axes {set(leading)}, "
                             "expected one K for all or none")
        if grad_output is not None:
            grad_output = self._layout.time_major(grad_output)
            if many is not None:
                grad_output = np.ascontiguousarray(grad_output.swapaxes(0, 1)).reshape(
                    self.T, many * self.B, grad_output.shape[-1])
        return grad_output, [self._carry(part, many) for part in parts], many

    def _check_grad_state(self, grad_state, leading):
        """The cotangent on every state, or None."""
        states = self._cell.states
        shape = self._layout.state_shape(self._final[0].shape)
        if len(states) == 1:
            return [_cotangent(as_real(grad_state, "grad_state", self.dtype), "grad_state", shape, leading)]
        if not isinstance(grad_state, tuple | list) or len(grad_state) != len(states):
            expected = ", ".join(f"grad_{state}" for state in states)
            raise ValueError(f"grad_state: got {type(grad_state).__name__}, expected the pair ({expected})")
        names = [f"grad_state[{place}] ({state})" for place, state in enumerate(states)]
        return [None if part is None else _cotangent(as_real(part, name, self.dtype), name, shape, leading)
                for part, name in zip(grad_state, names, strict=True)]

    def _carry(self, given, many):
        """A cotangent on the final state as the engine carries it, the caller's own."""
        layers, B, H = self._final[0].shape
        K = 1 if many is None else many
        if given is None:
            return np.zeros((layers, K * B, H), self.dtype)
        return np.array(given.reshape(K, layers, B, H).swapaxes(0, 1), order="C").reshape(layers, K * B, H)


def _cotangent(array, name, shape, leading):
    """The array, if it has this shape, with or without an axis in front, whose length goes to `leading`."""
    if array.shape == shape:
        leading.append(None)
    elif array.ndim == len(shape) + 1 and array.shape[1:] == shape:
        leading.append(array.shape[0])
    else:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}, or (K, *{shape}) for K cotangents")
    return array


def _of_pass(found, layer_pass):
    """The three arrays of one layer and direction among those of `Tape._room_for_steps`."""
    return found[3 * layer_pass.position:3 * layer_pass.position + 3]


def _by_rows(array, many, batch):
    """(T, K*B, ...) as (T, K, B, ...)."""
    return array.reshape(array.shape[0], many, batch, *array.shape[2:])


def _many(array, many, batch):
    """(T, K*B, ...) as (K, T, B, ...)."""
    return _by_rows(array, many, batch).swapaxes(0, 1)


def _locked(array):
    view = array.view()
    view.setflags(False)
    return view
