"""Ω over 80 steps, where the backward walk needs a logarithmic scale: against a twin that keeps unit vectors."""

import numpy as np
import pytest
from support import KINDS, make, parts, random_input, random_state
from viz_twin import Explicit

from rnncore import viz

T, B, H = 80, 2, 4
# A ratio is a quotient of two norms, each with an error of a few roundings; what has vanished from a shrinking carry
# adds none. A rounding in float32 is 6e-8, and Ω sums 80 squares of ratios with an error of some ten roundings each.
RTOL = {"float64": 1e-9, "float32": 1e-5}


def recorded(cell, dtype, keep, rng):
    """A pass with `keep` added to the bias of the gate that keeps the state: f of an LSTM, z of a GRU."""
    layer = make(cell, 3, H, 2, dtype=dtype, bidirectional=True)
    with layer.writable() as w:
        for name, a in w.items():
            if layer.cell.gated and name.startswith("bias_ih"):
                a[H : 2 * H] += keep
            if cell == "rnn-relu":  # no unit is dead, and none explodes
                a[...] = np.abs(a) / (4 if "weight" in name else 1)
    x, s0 = np.abs(random_input(layer, T, B, rng)), random_state(layer, B, rng)
    return layer, x, s0, layer.record(x, s0)


def preservation(explicit, g, final):
    """‖δJ‖/‖δ‖ of every step; δ is kept as a unit vector and its norm's logarithm."""
    width = explicit.twin.width
    g = g[..., width:] if explicit.reverse else g[..., :width]
    out = np.full((T, B), np.nan)
    for b in range(B):
        log = np.log(np.linalg.norm(final[b])) if final[b].any() else 0.0
        delta = final[b] * np.exp(-log)
        for t in range(T) if explicit.reverse else range(T - 1, -1, -1):
            if g[t, b].any():
                delta[explicit.top] += g[t, b] * np.exp(-log)
            before = np.linalg.norm(delta)
            delta = delta @ explicit.J[explicit.step(t), b]
            out[t, b] = np.linalg.norm(delta) / before
            log += np.log(np.linalg.norm(delta))
            delta /= np.linalg.norm(delta)
    return out


def carry(state, direction):
    """(B, S) of one direction's part of a final state."""
    mine = [part[int(direction == "reverse") :: 2] for part in parts(state)]
    return np.concatenate([rows for part in mine for rows in part], axis=-1).astype(np.float64)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("size", [1, 1e-120, 1e120])
@pytest.mark.parametrize("cell", KINDS)
def test_omega_of_a_loss_at_the_end_alone_is_that_of_the_twin(cell, size, direction, rng):
    """The loss is on the output of the direction's last step; tiny and huge gradients have the same Ω."""
    layer, x, s0, tape = recorded(cell, "float64", -2, rng)
    g = np.zeros(tape.output.shape)
    g[0 if direction == "reverse" else T - 1] = size * rng.normal(size=g.shape[1:])
    tape.backward(g)
    explicit = Explicit(layer, x, s0, direction=direction)
    wanted = preservation(explicit, g, np.zeros((B, explicit.S)))
    assert np.prod(wanted, axis=0).max() < 1e-12, "the gradient does not leave what needs no logarithm"
    np.testing.assert_allclose(viz.norm_preservation(tape, direction=direction), wanted, rtol=1e-9)
    np.testing.assert_allclose(viz.omega(tape, direction=direction), ((wanted - 1) ** 2).sum(0), rtol=1e-9)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("size", [1e-30, 1, 1e30])
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_omega_does_not_depend_on_the_size_of_the_gradient(cell, dtype, size, direction, rng):
    """A gradient for the final state (for an LSTM also for c), together with a loss at every tenth step."""
    layer, x, s0, tape = recorded(cell, dtype, 1, rng)
    g = np.zeros((T, B, 2 * H), dtype)
    g[::10] = size * 1e-3 * rng.normal(size=(T // 10, B, 2 * H))
    gs = tuple((size * part).astype(dtype) for part in parts(random_state(layer, B, rng)))
    gs = gs if len(gs) == 2 else gs[0]
    tape.backward(g, gs)
    wanted = preservation(Explicit(layer, x, s0, direction=direction), g.astype(np.float64), carry(gs, direction))
    found = viz.norm_preservation(tape, gs, direction)
    np.testing.assert_allclose(found, wanted, rtol=RTOL[dtype])
    np.testing.assert_allclose(viz.omega(tape, gs, direction), ((wanted - 1) ** 2).sum(0), rtol=RTOL[dtype])
