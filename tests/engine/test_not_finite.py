"""NaN and infinity propagate within a row's length, and have no effect beyond it."""

import numpy as np
import pytest
from support import (
    CELLS,
    make,
    parts,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
    whole,
)

import rnncore as rc

DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("H", "B"), [(3, 4), (17, 7), (64, 13)])
def test_nan_in_x_spreads_in_time_but_stays_in_its_row(cell, H, B, dtype, rng):
    """ReLU by max(x, 0) and polynomials with clamps are known to lose NaN."""
    layer = make(cell, 5, H, 2, dtype=dtype)
    x = random_input(layer, 6, B, rng)
    clean, _ = layer(x)
    x[2, 1, 3] = np.nan
    y, s = layer(x)
    tape = layer.record(x)
    same_bits(tape.output, y)
    assert np.isnan(y[2:, 1]).all()
    assert all(np.isnan(a[:, 1]).all() for a in parts(s))
    for name in tape.names("*"):
        first = (
            3 if name.endswith("hn") and cell == "gru" else 2
        )  # the part that sees the state before
        assert np.isnan(tape[name][first:, 1]).all(), name
        assert not np.isnan(tape[name][:first]).any(), name
    others = [b for b in range(B) if b != 1]
    same_bits(y[:, others], clean[:, others])
    same_bits(y[:2], clean[:2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
def test_nan_in_one_gates_bias_reaches_the_output(cell, dtype, rng):
    """Each gate alone lets NaN through, for its own unit at the first step."""
    H = 9
    gates = {"rnn": "h", "gru": "rzn", "lstm": "ifgo"}[cell.split("-")[0]]
    for k, gate in enumerate(gates):
        layer = make(cell, 3, H, dtype=dtype)
        with layer.writable() as p:
            p["bias_ih_l0"][k * H + 4] = np.nan
        tape = layer.record(random_input(layer, 2, 3, rng), random_state(layer, 3, rng))
        assert np.isnan(tape[f"l0.{gate}"][0, :, 4]).all(), gate
        assert np.isnan(tape["l0.h"][0, :, 4]).all(), gate
        assert np.isnan(tape["l0.h"][1]).all(), "the next step mixes all units"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
def test_nan_in_a_cotangent_stays_in_its_row_and_its_past(cell, dtype, rng):
    layer = make(cell, 3, 9, 2, dtype=dtype)
    if cell == "rnn-relu":
        with layer.writable() as p:
            for a in p.values():
                np.abs(a, out=a)  # no dead unit stands in the way
    x = np.abs(random_input(layer, 6, 4, rng))
    g, gs = random_cotangents(layer, 6, 4, rng)
    clean = layer.record(x).backward(g, gs)
    g[3, 2, 5] = np.nan
    grads = layer.record(x).backward(g, gs)
    assert np.isnan(grads.input[:4, 2]).all()
    assert np.isfinite(grads.input[4:]).all()
    rows = [0, 1, 3]
    same_bits(grads.input[:, rows], clean.input[:, rows])
    for a, b in zip(parts(grads.state), parts(clean.state), strict=True):
        assert np.isnan(a[:, 2]).all()
        same_bits(a[:, rows], b[:, rows])
    assert np.isnan(grads.parameters["weight_hh_l0"]).all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
def test_values_past_a_rows_end_have_no_effect(cell, both, rng):
    """NaN, infinity, huge numbers there change nothing, weights' gradients included."""
    T, lengths = 8, np.array([3, 8, 0, 5])
    layer = make(cell, 3, 9, 2, bidirectional=both)
    x, s0 = random_input(layer, T, 4, rng), random_state(layer, 4, rng)
    g, gs = random_cotangents(layer, T, 4, rng)
    past = np.arange(T)[:, None] >= lengths
    results = []
    for what in (0, np.nan, np.inf, -np.inf, 3e38):
        x[past], g[past] = what, what
        y, s = layer(x, s0, lengths=lengths)
        grads = layer.record(x, s0, lengths=lengths).backward(g, gs)
        results.append((y, *parts(s), grads.input, *parts(grads.state), *grads.parameters.values()))
        assert not y[past].any()
        assert not grads.input[past].any()
    for r in results[1:]:
        same_bits(r, results[0])


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_on_the_tape_are_zero_past_the_end(cell, rng):
    T, lengths = 8, np.array([3, 8, 0, 5])
    layer = make(cell, 3, 9, 2, bidirectional=True)
    x = random_input(layer, T, 4, rng)
    g, gs = random_cotangents(layer, T, 4, rng)
    past = np.arange(T)[:, None] >= lengths
    x[past] = g[past] = np.nan
    tape = layer.record(x, lengths=lengths)
    tape.backward(g, gs)
    for name in tape.names("*"):
        assert not tape.grad[name][past].any(), name
        assert tape.grad[name][~past].any(), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", ["rnn-tanh", "rnn-sigmoid", "gru", "gru-reset-before", "lstm"])
def test_huge_inputs_saturate(cell, dtype, rng):
    """Curves have limits: no finite input makes NaN, and infinity reaches the limit exactly."""
    top = np.finfo(dtype).max
    layer = make(cell, 1, 9, dtype=dtype)
    for size in (50, 1e3, 1e6, 1e30, float(top) / 2, np.inf):
        x = np.array([size, -size, size], dtype).reshape(3, 1, 1)
        tape = layer.record(x)
        assert np.isfinite(tape.output).all(), size
        limits = {"rnn-tanh": "h", "rnn-sigmoid": "h", "lstm": "ifgo"}.get(cell, "rz")
        if size >= 1e6:
            for gate in limits:
                a = tape[f"l0.{gate}"]  # 0 may be the smallest number there is
                near = np.minimum(np.abs(a), np.abs(np.abs(a) - 1))
                assert (near <= 2 * np.finfo(dtype).tiny).all(), (gate, size)
        if np.isfinite(size):
            grads = tape.backward(np.ones_like(tape.output))
            assert np.isfinite(grads.input).all(), size


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_numbers_in_numpy_survive_a_call(dtype, rng):
    """No flush-to-zero is left behind, on this thread or others."""
    layer = make("lstm", 8, 128, dtype=dtype)
    with rc.threads(2):
        tape = layer.record(random_input(layer, 20, 64, rng))
        tape.backward(np.ones_like(tape.output))
    tiny = np.full(3, np.finfo(dtype).smallest_subnormal)
    assert ((tiny * np.ones(3, dtype)) > 0).all()
    assert ((np.full(3, np.finfo(dtype).tiny) / 2) > 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_signals_have_an_answer(dtype):
    """A ReLU net that carries a subnormal number carries it: the same as numpy."""
    layer = make("rnn-relu", 1, 1, bias=False, dtype=dtype)
    with layer.writable() as p:
        p["weight_ih_l0"][:], p["weight_hh_l0"][:] = 1, 1
    tiny = np.finfo(dtype).smallest_subnormal
    y, _ = layer(np.full((4, 1, 1), tiny))
    assert np.array_equal(y.ravel(), tiny * np.arange(1, 5, dtype=dtype))


@pytest.mark.parametrize("cell", CELLS)
def test_nan_in_the_initial_state_stays_in_its_row(cell, rng):
    layer = make(cell, 3, 9)
    x, s0 = random_input(layer, 3, 4, rng), random_state(layer, 4, rng)
    clean, _ = layer(x, s0)
    bad = [a.copy() for a in parts(s0)]
    bad[0][0, 1, 0] = np.nan
    y, _ = layer(x, whole(layer, bad))
    assert np.isnan(y[:, 1]).all()
    same_bits(np.delete(y, 1, axis=1), np.delete(clean, 1, axis=1))


@pytest.mark.parametrize("every", [None, 1, 3])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_state_of_a_row_without_steps_has_no_effect(cell, both, every, rng):
    """Not even if it is NaN; the row's final state is its initial one."""
    layer = make(cell, 3, 5, 2, bidirectional=both)
    x, s0 = random_input(layer, 6, 3, rng), random_state(layer, 3, rng)
    g = rng.normal(size=(6, 3, 5 * (1 + both))).astype("float32")
    tapes = []
    for value in (0.0, np.nan):
        for part in parts(s0):
            part[:, 1] = value
        tapes.append(layer.record(x, s0, lengths=[6, 0, 4], checkpoint_every=every))
    same_bits(*(tape.backward(g).parameters for tape in tapes))
    for part in parts(tapes[1].state):
        assert np.isnan(part[:, 1]).all()
        assert np.isfinite(part[:, ::2]).all()
    same_bits(parts(tapes[1].initial), parts(s0))
