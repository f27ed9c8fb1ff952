"""A block of state cotangents, walked back in time with a log scale."""

from dataclasses import dataclass

import numpy as np

from ._checks import as_real, as_size

LN2 = np.log(2.0)
STRIDE = 32                     # steps walked between two looks at the scale
CALM = 1e10                     # no rescaling while every row's largest entry lies within 1/CALM .. CALM


@dataclass
class Carry:
    """Where a pullback stands. `value` and `log_scale` may be changed in place.

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

    step: int
    lag: np.ndarray
    value: np.ndarray
    log_scale: np.ndarray

    def rescale(self):
        """Bring rows that grew or shrank far back to about 1."""
        if not self.value.size:
            return
        largest = np.abs(self.value).max(axis=2)
        far = (largest > CALM) | ((largest < 1 / CALM) & (largest > 0))
        far &= np.isfinite(largest)
        if far.any():
            _, exponent = np.frexp(largest[far])
            self.value[far] = np.ldexp(self.value[far], -exponent[:, None])
            self.log_scale[far] += exponent * LN2


def pullback(tape, v, every, direction):
    """See `Tape.pullback`."""
    every = as_size(every, "every")
    if direction not in ("forward", "reverse"):
        raise ValueError(f"direction: got {direction!r}, expected 'forward' or 'reverse'")
    layer = tape.layer
    if direction == "reverse" and not layer.bidirectional:
        raise ValueError("direction: got 'reverse', expected 'forward': the layer has one direction")
    runs = tape._runs[int(direction == "reverse")::layer.directions]
    if runs[0].checkpoints is not None:
        raise ValueError("pullback: the tape was recorded with checkpoint_every; record without it")
    L, H, states = layer.num_layers, layer.hidden_size, layer._info["states"]
    width = L * H * states
    if v is None:
        v = np.broadcast_to(np.eye(width, dtype=tape.dtype)[:, None], (width, tape.B, width))
    v = as_real(v, "v", tape.dtype)
    if v.ndim != 3 or v.shape[1:] != (tape.B, width):
        raise ValueError(f"v: got shape {v.shape}, expected (K, {tape.B}, {width}): "
                         "(K, B, S), S the state of all layers")
    return _walk(tape, runs, np.array(v, order="C"), every)


def _walk(tape, runs, value, every):
    K, B, _ = value.shape
    carry = Carry(tape.T, np.zeros(B, int), value, np.zeros((K, B)))
    backwards = runs[0].direction == 0          # the walk goes against the direction of the pass
    done = 0
    while done < tape.T:
        target = min(tape.T, done + every)
        while done < target:
            n = min(STRIDE, target - done)
            low = tape.T - done - n if backwards else done
            _steps(tape, runs, carry, low, low + n)
            carry.rescale()
            done += n
        carry.step = tape.T - done if backwards else done
        carry.lag = np.maximum(tape.lengths - (tape.T - done), 0) if backwards else np.minimum(tape.lengths, done)
        yield carry
        tape._check_version()


def _steps(tape, runs, carry, low, high):
    """All layers over steps low .. high, from the top."""
    layer = tape.layer
    K, B, _ = carry.value.shape
    L, H, states = layer.num_layers, layer.hidden_size, layer._info["states"]
    parts = carry.value.reshape(K * B, states, L, H)
    grad_out = None
    for run in reversed(runs):
        i = run.index
        dh = np.ascontiguousarray(parts[:, 0, i])
        dc = np.ascontiguousarray(parts[:, 1, i]) if states == 2 else None
        grad_x = np.empty((high - low, K * B, run.x.shape[-1]), tape.dtype) if i > 0 else None
        run.backward(low, high, run.window(low, high), dh, dc, {"grad_out": grad_out, "grad_x": grad_x})
        if i > 0:
            if run.mask is not None:
                grad_x.reshape(high - low, K, B, -1)[...] *= run.mask[low:high, None]
            grad_out = layer._half(grad_x, run.direction)
        parts[:, 0, i] = dh
        if states == 2:
            parts[:, 1, i] = dc
