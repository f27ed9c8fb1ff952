"""The tape: the buffers of one recorded pass, by name.

Training reads it, the debugger reads it, nothing is copied and nothing is computed twice. A tape holds one
`Run` per layer and direction: views of what the time loop wrote, and after `backward` of what BPTT wrote.
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

from .pullback import pullback

NO_GRADIENT = "no gradient yet; call tape.backward(grad_output) first"
SLOTS = {"LSTM": {"i": 0, "f": 1, "g": 2, "o": 3}, "GRU": {"r": 1, "z": 2, "n": 0, "hn": 3}, "RNN": {}}


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
    the reverse direction, 0 past a row's end. Gates are values after their nonlinearity: i f g o for an LSTM;
    r z n for a GRU, and hn, the recurrent part of its candidate. After `backward`, ``tape.grad`` has the same
    names: total derivatives for h and c, derivatives of the pre-activation for gates.

    Attributes
    ----------
    layer : Recurrent
    mode : {"LSTM", "GRU", "RNN"}
    T, B : int
    lengths : ndarray of int, (B,)
    input : ndarray, (T, B, I)
    output, state, initial
        What the call would have returned, and the state it started from.
    grad : mapping of str to ndarray
    """

    _last = None                            # what the last way back left, see `_backward`

    def __init__(self, layer, version, runs, lengths, batched, initial, final, output, shape):
        self._layer, self._mode, self._dtype = layer, layer.mode, layer.dtype
        self._T, self._B = runs[0].x.shape[:2]
        self._version = version
        self._runs = runs
        self._lengths = lengths
        self._batched = batched
        self._shape = shape
        self._raw_output = output
        self._initial, self._final = initial, final
        self._slots = SLOTS[self._mode]

    # what the engine's loops go by cannot be set
    layer, mode, dtype = (property(attrgetter(name)) for name in ("_layer", "_mode", "_dtype"))
    T, B = (property(attrgetter(name)) for name in ("_T", "_B"))

    # ---- what was recorded ----------------------------------------------------------------------

    @property
    def lengths(self):
        return _locked(np.full(self.B, self.T) if self._lengths is None else self._lengths)

    @cached_property
    def _where(self):
        parts = ("h", "c", *self._slots) if self.mode == "LSTM" else ("h", *self._slots)
        return {f"{run.name}.{part}": (run, part) for run in self._runs for part in parts}

    @property
    def input(self):
        return _locked(self._runs[0].x)

    @property
    def output(self):
        return _locked(self.layer._output(self._raw_output, self._batched))

    @property
    def state(self):
        return self._user_state(*self._final)

    @property
    def initial(self):
        return self._user_state(*self._initial)

    def _user_state(self, h, c):
        state = self.layer._state(h, c, self._batched)
        return tuple(map(_locked, state)) if isinstance(state, tuple) else _locked(state)

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
            raise TypeError(f"pattern: got {pattern!r}, expected a text such as '*.f'")
        return [name for name in self._where if fnmatchcase(name, pattern)]

    def __contains__(self, name):
        return name in self._where

    def __getitem__(self, name):
        return Named(self._where, self._value)[name]

    def _value(self, name):
        run, part = self._where[name]
        if part == "h":
            return run.out.view()
        if run.checkpoints is None:
            return run.c.view() if part == "c" else run.gates[:, :, self._slots[part]]
        whole = np.zeros(run.out.shape, self.dtype)
        for start, stop, _h, _c, gates, c in run.windows(self._weights()[run.position]):
            whole[start:stop] = c if part == "c" else gates[:, :, self._slots[part]]
        return whole

    @property
    def nbytes(self):
        """Bytes that the recorded pass holds, gradients not counted."""
        arrays = [self._raw_output, *(a for pair in (self._initial, self._final) for a in pair)]
        for run in self._runs:
            arrays += [run.x, run.out, run.gates, run.c, run.mask]
            arrays += [a for *_, h, c in run.checkpoints or () for a in (h, c)]
        owners = {id(a if a.base is None else a.base): (a if a.base is None else a.base)
                  for a in arrays if a is not None}
        return sum(a.nbytes for a in owners.values())

    @property
    def parameters(self):
        """Copies of the weights of the pass, by name; refused when the layer has others by now."""
        with LOCK:
            self._weights()
            return self.layer.parameters

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
        weights = self._weights()
        grad_output, dh, dc, many = self._check_cotangents(grad_output, grad_state)
        if parameters is None:
            parameters = many is None
        as_flag(parameters, "parameters")
        wanted = self._room_for_parameters() if parameters and many is None else {}
        self._last = steps = cotangents = None          # until the way has been gone to its end
        if self._runs[0].checkpoints is None:
            steps = self._room_for_steps(dh.shape[1])
        if steps is None or many is not None:           # it may be walked again
            cotangents = tuple(None if a is None else a.copy() for a in (grad_output, dh, dc))
        grad_x = self._walk(weights, grad_output, dh, dc, wanted, steps)
        self._last = many, cotangents, steps            # K, None without an axis for it; None under checkpoints
        found = self._as_given(grad_x, dh, dc, many)
        if parameters and many is not None:
            found.parameters = self._parameters_one_by_one(weights, many, cotangents)
        elif wanted:
            found.parameters = wanted
        return found

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
        self._weights()                     # refused here, not at the first step
        return pullback(self, v, every, direction)

    def _room_for_steps(self, R):
        """Arrays for the gradients of every step, R rows each: of every run the slots', h's and c's (or None)."""
        layer = self.layer
        state = (self.T, R, layer.hidden_size)
        shapes = ((self.T, R, layer._info["slots"], layer.hidden_size), state,
                  state if layer._info["states"] == 2 else None)
        return _engine.carve("gradients", self.dtype, shapes * len(self._runs))

    def _walk(self, weights, grad_out, dh, dc, wanted, steps=None):
        """BPTT, layer by layer from the top.

        grad_out (T, R, F) or None; dh, dc (layers·directions, R, H), in and out; `wanted` and `steps` as their rooms.
        """
        layer, R = self.layer, dh.shape[1]
        for index in reversed(range(layer.num_layers)):
            runs = self._runs[index * layer.directions:(index + 1) * layer.directions]
            grad_x = np.empty((self.T, R, runs[0].x.shape[2]), self.dtype)
            for run in runs:
                i = run.position
                arrays = {"grad_x": grad_x, "accumulate": run.direction == 1,
                          "grad_out": None if grad_out is None else layer._half(grad_out, run.direction)}
                if steps is not None:
                    arrays |= zip(("delta", "total_h", "total_c"), steps[3 * i:3 * i + 3], strict=True)
                if wanted:
                    names = layer._names[i]
                    arrays |= {"w_ih": wanted[names[0]], "w_hh": wanted[names[1]], "fresh": True}
                    if layer.bias:
                        arrays |= {"b_ih": wanted[names[2]], "b_hh": wanted[names[3]]}
                run.backward_all(weights[i], dh[i], None if dc is None else dc[i], arrays)
            if runs[0].mask is not None:
                _by_rows(grad_x, R // max(self.B, 1), self.B)[...] *= runs[0].mask[:, None]
            grad_out = grad_x
        return grad_x

    def _room_for_parameters(self):
        """Arrays that `_walk` fills in: pages of an earlier backward's, if those are gone."""
        layer = self.layer
        arrays = _engine.carve("gradients of parameters", self.dtype, layer._shapes)
        if self.T == 0 or self.B == 0:      # no step fills them in
            for array in arrays:
                array[...] = 0
        return dict(zip(layer._parameters, arrays, strict=True))

    def _parameters_one_by_one(self, weights, many, cotangents):
        """Weight gradients of each of K cotangents: the bits of K calls."""
        layer = self.layer
        found = {name: np.zeros((many, *shape), self.dtype)
                 for name, shape in zip(layer._parameters, layer._shapes, strict=True)}
        for k in range(many):
            rows = slice(k * self.B, (k + 1) * self.B)
            one = [None if a is None else a[:, rows].copy() for a in cotangents]        # dh and dc are walked in place
            self._walk(weights, *one, {name: array[k] for name, array in found.items()})
        return found

    def _gradient(self, name):
        run, part = self._where[name]
        last = self._last
        if last is None:                    # another thread has begun its way back
            raise KeyError(f"{name}: {NO_GRADIENT}")
        many, cotangents, steps = last
        if steps is None:                   # under checkpoints they are computed when asked for
            weights, (grad_output, dh, dc) = self._weights(), cotangents
            steps = self._room_for_steps(dh.shape[1])
            self._walk(weights, grad_output, dh.copy(), None if dc is None else dc.copy(), {}, steps)
        delta, total_h, total_c = steps[3 * run.position:3 * run.position + 3]
        found = total_h if part == "h" else total_c if part == "c" else delta[:, :, self._slots[part]]
        return found.view() if many is None else _by_rows(found, many, self.B).swapaxes(0, 1)

    # ---- shapes ---------------------------------------------------------------------------------

    def _weights(self):
        """The packed weights of the pass, for the way back; refused when the layer has others by now."""
        packed = self._layer._packed
        if packed is None or not packed.goes_back or not packed.version == self._version == self._layer._version:
            packed = self._layer._packed_of(self._version)
        return packed.weights

    def _check_cotangents(self, grad_output, grad_state):
        """Time-major (T, K*B, F) or None, (layers·directions, K*B, H) twice, and K or None."""
        if grad_output is None and grad_state is None:
            raise ValueError("backward: got neither grad_output nor grad_state, expected at least one")
        h, c = self._final
        shape = h.shape if self._batched else (h.shape[0], h.shape[2])
        dh, dc = grad_state, None
        if c is not None and grad_state is not None:
            if not isinstance(grad_state, tuple | list) or len(grad_state) != 2:
                raise ValueError(f"grad_state: got {type(grad_state).__name__}, expected the pair (grad_h, grad_c)")
            dh, dc = grad_state
        leading = []                            # of each that is given: K, or None
        if grad_output is not None:
            like = self.layer._output(self._raw_output, self._batched)
            grad_output = as_rows(grad_output, "grad_output", self.dtype)
            grad_output = _cotangent(grad_output, "grad_output", like.shape, leading)
        if dh is not None:
            name = "grad_state" if c is None else "grad_state[0] (h)"
            dh = _cotangent(as_real(dh, name, self.dtype), name, shape, leading)
        if dc is not None:
            dc = _cotangent(as_real(dc, "grad_state[1] (c)", self.dtype), "grad_state[1] (c)", shape, leading)
        many = leading[0] if leading else None
        if leading.count(many) < len(leading):
            raise ValueError(f"grad_output, grad_state: got leading axes {set(leading)}, "
                             "expected one K for all or none")
        dh, dc = self._carry(dh, many), None if c is None else self._carry(dc, many)
        return self._time_major(grad_output, many), dh, dc, many

    def _carry(self, given, many):
        """A cotangent on the final state as the engine carries it, the caller's own."""
        layers, B, H = self._final[0].shape
        K = 1 if many is None else many
        if given is None:
            return np.zeros((layers, K * B, H), self.dtype)
        return np.array(given.reshape(K, layers, B, H).swapaxes(0, 1), order="C").reshape(layers, K * B, H)

    def _time_major(self, grad, many):
        if grad is None:
            return None
        if not self._batched:
            grad = grad[..., None, :]
        elif self.layer.batch_first:
            grad = grad.swapaxes(-3, -2)
        if many is None:
            return grad
        return np.ascontiguousarray(grad.swapaxes(0, 1)).reshape(self.T, many * self.B, grad.shape[-1])

    def _as_given(self, grad_x, dh, dc, many):
        """Results in the layout of the arguments."""
        if many is not None:
            grad_x = _by_rows(grad_x, many, self.B).swapaxes(0, 1)
            dh, dc = (None if d is None else _by_rows(d, many, self.B).swapaxes(0, 1) for d in (dh, dc))
        if not self._batched:
            grad_x, dh, dc = (None if d is None else d[..., 0, :] for d in (grad_x, dh, dc))
        elif self.layer.batch_first:
            grad_x = grad_x.swapaxes(-3, -2)
        return Gradients(grad_x, dh if dc is None else (dh, dc), {})


def _cotangent(array, name, shape, leading):
    """The array, if it has this shape, with or without an axis in front, whose length goes to `leading`."""
    if array.shape == shape:
        leading.append(None)
    elif array.ndim == len(shape) + 1 and array.shape[1:] == shape:
        leading.append(array.shape[0])
    else:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}, or (K, *{shape}) for K cotangents")
    return array


def _by_rows(array, many, batch):
    """(T, K*B, ...) as (T, K, B, ...)."""
    return array.reshape(array.shape[0], many, batch, *array.shape[2:])


def _locked(array):
    view = array.view()
    view.setflags(False)
    return view
