"""Vector-Jacobian products through time: `Tape.pullback`.

The carry is everything that one direction of a stack of layers passes from one step to the next: h of every layer, and
for an LSTM c of every layer. A pullback multiplies cotangents on the carry by the Jacobian of one step after the
other, backward in time. The products may vanish or explode, so their scale is kept separately, as a logarithm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from rnncore import _engine
from rnncore._checks import as_real, as_size

from .passes import Walk

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Floats, Ints

    from .passes import LayerPass
    from .structure import Structure
    from .tape import Tape

LN2 = np.log(2.0)
STRIDE = 32                     # the largest number of steps from one check of the scale to the next
CALM = 1e10                     # a row is rescaled if its largest entry lies outside of 1/CALM .. CALM


class Carry:
    """The cotangents of a pullback on the carry, at one of its stops, and how far it has come.

    `value` and `log_scale` may be changed in place, or set to arrays of the same shape.

    Attributes
    ----------
    step : int
        Forward direction: the steps ``step`` … T − 1 have been passed, so the cotangents are those on the state before
        step ``step``; 0 means the initial state. Reverse direction, which begins at step T − 1: the steps
        0 … ``step - 1`` have been passed, so the cotangents are those on the state from which the layer computes step
        ``step - 1``; T means the initial state.
    lag : ndarray of int, (B,)
        The number of steps of each row that have been passed. Padding past the end of a row does not count.
    value : ndarray, (K, B, S)
        The cotangents are ``value * exp(log_scale)``.
    log_scale : ndarray, (K, B)
        Natural logarithms. rnncore itself scales by powers of two only, which is exact.
    """

    def __init__(self, step: int, lag: Ints, value: Array, log_scale: Floats) -> None:
        self.step, self.lag = step, lag
        self._value, self._log_scale = value, log_scale

    def __repr__(self) -> str:
        K, B, S = self._value.shape
        return f"<Carry before step {self.step}: K={K} cotangents, B={B}, S={S}>"

    @property
    def value(self) -> Array:
        return self._value.view()       # a view, so that setting its shape or type does not affect ours

    @value.setter
    def value(self, new: ArrayLike) -> None:
        self._value[...] = _like("value", new, self._value)

    @property
    def log_scale(self) -> Floats:
        return self._log_scale.view()

    @log_scale.setter
    def log_scale(self, new: ArrayLike) -> None:
        self._log_scale[...] = _like("log_scale", new, self._log_scale)

    def rescale(self) -> None:
        """Scale the cotangents that have become very large or very small, so that their largest entry is about 1."""
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


class Pullback(Iterator[Carry]):
    """The iterator that `Tape.pullback` returns: it walks backward in time, and gives the `Carry` at every stop."""

    def __init__(self, tape: Tape, passes: list[LayerPass], value: Array, every: int) -> None:
        K, B, S = value.shape
        self._sizes = f"T={tape.T}, K={K} cotangents, B={B}, S={S}, every={every}"
        self._stops = _walk(tape, tape.layer.structure, passes, value, every)

    def __repr__(self) -> str:
        return f"<Pullback: {self._sizes}>"

    def __next__(self) -> Carry:
        return next(self._stops)


def _like(name: str, new: ArrayLike, old: Array) -> Array:
    """`new` in the dtype of `old`, after a check that it has the same shape; `name` is for the message."""
    values = as_real(new, name, old.dtype)
    if values.shape != old.shape:
        raise ValueError(f"{name}: got shape {values.shape}, expected {old.shape}; to walk with another number of "
                         "cotangents, start another pullback")
    return values


def pullback(tape: Tape, passes: list[LayerPass], v: ArrayLike | None, every: int, direction: str) -> Pullback:
    """Check the arguments of `Tape.pullback`, and create the iterator. `passes` are all passes of the tape."""
    every = as_size(every, "every")
    if direction not in ("forward", "reverse"):
        raise ValueError(f"direction: got {direction!r}, expected 'forward' or 'reverse'")
    structure = tape.layer.structure
    if direction == "reverse" and structure.directions == 1:
        raise ValueError("direction: got 'reverse', expected 'forward': the layer has only one direction")
    passes = passes[int(direction == "reverse")::structure.directions]
    if passes[0].checkpoints is not None:
        raise ValueError("pullback: the tape was recorded with checkpoint_every; record without it")
    width = structure.carry_size
    if v is None:
        v = np.broadcast_to(np.eye(width, dtype=tape.dtype)[:, None], (width, tape.B, width))
    values = as_real(v, "v", tape.dtype)
    if values.ndim != 3 or values.shape[1:] != (tape.B, width):
        raise ValueError(f"v: got shape {values.shape}, expected (K, {tape.B}, {width}): "
                         "(K, B, S), with S the size of the state of all layers")
    return Pullback(tape, passes, np.array(values, order="C"), every)


def _walk(tape: Tape, structure: Structure, passes: list[LayerPass], value: Array, every: int) -> Iterator[Carry]:
    """Walk through the passes of one direction; `value`, (K, B, S), is overwritten."""
    K, B, _ = value.shape
    carry = Carry(tape.T, np.zeros(B, int), value, np.zeros((K, B)))
    backwards = not passes[0].reverse       # the walk runs opposite to the pass
    done = 0
    while done < tape.T:
        weights = tape.packed()             # raises an error if the weights changed since the last stop
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


def _through(structure: Structure, weights: list[_engine.Weights], passes: list[LayerPass], value: Array, low: int,
             high: int) -> None:
    """BPTT through steps low .. high of all layers, the top layer first; `value`, (K, B, S), is overwritten."""
    K, B, S = value.shape
    rows = value.reshape(K * B, S)
    grad_out = None
    for layer_pass in reversed(passes):
        part = layer_pass.part
        where = [structure.carry_slice(state, part.layer) for state in range(len(structure.state_sizes))]
        carry = [np.ascontiguousarray(rows[:, own]) for own in where]
        grad_x = np.empty((high - low, K * B, part.input_size), structure.dtype) if part.layer > 0 else None
        _engine.backward(Walk(weights[part.position], layer_pass.window(low, high), carry, 0, grad_out, grad_x))
        if grad_x is not None:
            if layer_pass.mask is not None:
                grad_x.reshape(high - low, K, B, -1)[...] *= layer_pass.mask[low:high, None]
            grad_out = structure.half(grad_x, part)
        for own, array in zip(where, carry, strict=True):
            rows[:, own] = array
