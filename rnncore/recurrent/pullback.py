"""A block of state cotangents, walked back in time with a log scale."""

import numpy as np

from rnncore import _engine
from rnncore._checks import as_real, as_size

from .passes import Walk

LN2 = np.log(2.0)
STRIDE = 32                     # steps walked between two looks at the scale
CALM = 1e10                     # no rescaling while every row's largest entry lies within 1/CALM .. CALM


class Carry:
    """Where a pullback stands. `value` and `log_scale` may be changed in place or set, in their shapes.

    Attributes
    ----------
    step : int
        `value` is the cotangent on the state before step `step` (0: on the initial state). For the
        reverse direction, which starts at the end, on the state before step ``step - 1``.
    lag : ndarray of int, (B,)
        Steps walked, for each row from its own end.
    value : ndarray, (K, B, S)
    log_scale : ndarray, (K, B)
        The cotangent is ``value * exp(log_scale)``; powers of two, so scaling loses no bit.
    """

    def __init__(self, step, lag, value, log_scale):
        self.step, self.lag = step, lag
        self._value, self._log_scale = value, log_scale

    @property
    def value(self):
        return self._value.view()       # whose shape and type somebody may set, and ours stay

    @value.setter
    def value(self, new):
        self._value[...] = _like("value", new, self._value)

    @property
    def log_scale(self):
        return self._log_scale.view()

    @log_scale.setter
    def log_scale(self, new):
        self._log_scale[...] = _like("log_scale", new, self._log_scale)

    def rescale(self):
        """Bring rows that grew or shrank far back to about 1."""
        value = self._value
        if not value.size:
            return
        largest = np.abs(value).max(axis=2)
        far = (largest > CALM) | ((largest < 1 / CALM) & (largest > 0))
        far &= np.isfinite(largest)
        if far.any():
            _, exponent = np.frexp(largest[far])
            value[far] = np.ldexp(value[far], -exponent[:, None])
            self._log_scale[far] += exponent * LN2


def _like(name, new, old):
    """What is set, if it fits."""
    new = as_real(new, name, old.dtype)
    if new.shape != old.shape:
        raise ValueError(f"{name}: got shape {new.shape}, expected {old.shape}; to walk with another number of "
                         "cotangents, start another pullback")
    return new


def pullback(tape, passes, v, every, direction):
    """See `Tape.pullback`; `passes` are the tape's."""
    every = as_size(every, "every")
    if direction not in ("forward", "reverse"):
        raise ValueError(f"direction: got {direction!r}, expected 'forward' or 'reverse'")
    structure = tape.layer.structure
    if direction == "reverse" and structure.directions == 1:
        raise ValueError("direction: got 'reverse', expected 'forward': the layer has one direction")
    passes = passes[int(direction == "reverse")::structure.directions]
    if passes[0].checkpoints is not None:
        raise ValueError("pullback: the tape was recorded with checkpoint_every; record without it")
    width = structure.carry_size
    if v is None:
        v = np.broadcast_to(np.eye(width, dtype=tape.dtype)[:, None], (width, tape.B, width))
    v = as_real(v, "v", tape.dtype)
    if v.ndim != 3 or v.shape[1:] != (tape.B, width):
        raise ValueError(f"v: got shape {v.shape}, expected (K, {tape.B}, {width}): "
                         "(K, B, S), S the state of all layers")
    return _walk(tape, structure, passes, np.array(v, order="C"), every)


def _walk(tape, structure, passes, value, every):
    K, B, _ = value.shape
    carry = Carry(tape.T, np.zeros(B, int), value, np.zeros((K, B)))
    backwards = not passes[0].reverse       # the walk goes against the direction of the pass
    done = 0
    while done < tape.T:
        weights = tape.packed()                 # refused when they changed since the last stop
        target = min(tape.T, done + every)
        while done < target:
            n = min(STRIDE, target - done)
            low = tape.T - done - n if backwards else done
            _through(structure, weights, passes, value, low, low + n)
            carry.rescale()
            done += n
        carry.step = tape.T - done if backwards else done
        carry.lag = np.maximum(tape.lengths - (tape.T - done), 0) if backwards else np.minimum(tape.lengths, done)
        yield carry


def _through(structure, weights, passes, value, low, high):
    """All layers over steps low .. high, from the top."""
    K, B, _ = value.shape
    states = len(structure.cell.states)
    parts = value.reshape(K * B, states, structure.num_layers, structure.hidden_size)
    grad_out = None
    for layer_pass in reversed(passes):
        part = layer_pass.part
        index = part.layer
        carry = [np.ascontiguousarray(parts[:, state, index]) for state in range(states)]
        grad_x = np.empty((high - low, K * B, part.input_size), structure.dtype) if index > 0 else None
        _engine.backward(Walk(weights[part.position], layer_pass.window(low, high), carry, 0, grad_out, grad_x))
        if index > 0:
            if layer_pass.mask is not None:
                grad_x.reshape(high - low, K, B, -1)[...] *= layer_pass.mask[low:high, None]
            grad_out = structure.half(grad_x, part)
        for state, array in enumerate(carry):
            parts[:, state, index] = array
