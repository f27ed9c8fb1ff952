"""Forward passes equal the numpy twin's: cells, layers, directions, lengths, states, empty."""

import itertools

import numpy as np
import pytest
from support import CELLS, all_close, close, make, parts, random_input, random_state
from twin import Twin

DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("layers", "both", "bias"), [(1, False, True), (3, True, False), (2, True, True)]
)
def test_a_call_equals_the_twin(cell, layers, both, bias, dtype, rng):
    layer = make(cell, 5, 6, layers, bidirectional=both, bias=bias, dtype=dtype)
    x, s0 = random_input(layer, 9, 4, rng), random_state(layer, 4, rng)
    lengths = np.array([3, 9, 0, 5])
    run = Twin.of(layer).forward(x, parts(s0), lengths)
    y, s = layer(x, s0, lengths=lengths)
    close(y, run.output, dtype)
    all_close(s, run.state, dtype)
    assert y.dtype == s[0].dtype == np.dtype(dtype)


@pytest.mark.parametrize("cell", CELLS)
def test_state_defaults_to_zeros(cell, rng):
    layer = make(cell, 3, 4, 2, dtype="float64")
    x = random_input(layer, 5, 2, rng)
    run = Twin.of(layer).forward(x)
    y, s = layer(x)
    close(y, run.output, "float64")
    all_close(s, run.state, "float64")


@pytest.mark.parametrize("cell", CELLS)
def test_the_final_state_continues_the_sequence(cell, rng):
    """Two halves with the state carried between them have the bits of the whole."""
    layer = make(cell, 3, 7, 2)
    x = random_input(layer, 11, 3, rng)
    y, s = layer(x)
    first, mid = layer(x[:4])
    second, end = layer(x[4:], mid)
    assert np.concatenate([first, second]).tobytes() == y.tobytes()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(parts(s), parts(end), strict=True))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("T", "B", "both"), itertools.product([0, 3], [0, 2], [False, True]))
def test_empty_sequences_and_batches_have_an_answer(cell, T, B, both, rng):
    layer = make(cell, 3, 5, 2, bidirectional=both, dtype="float64")
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    run = Twin.of(layer).forward(x, parts(s0))
    y, s = layer(x, s0)
    close(y, run.output, "float64")
    all_close(s, run.state, "float64")
    if T == 0:  # nothing happened: the initial state, as given
        assert all(np.array_equal(a, b) for a, b in zip(parts(s), parts(s0), strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_rows_of_length_zero_end_in_their_initial_state(cell, rng):
    layer = make(cell, 3, 5, 2, bidirectional=True)
    x, s0 = random_input(layer, 4, 3, rng), random_state(layer, 3, rng)
    y, s = layer(x, s0, lengths=[0, 0, 0])
    assert y.shape == (4, 3, 10)
    assert not y.any()
    assert all(np.array_equal(a, b) for a, b in zip(parts(s), parts(s0), strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_state_is_not_the_callers_array(cell, rng):
    """T = 0 returns a copy of the initial state: writing to one must not change the other."""
    layer = make(cell, 3, 5)
    s0 = random_state(layer, 2, rng)
    _, s = layer(random_input(layer, 0, 2, rng), s0)
    assert not any(np.shares_memory(a, b) for a, b in zip(parts(s), parts(s0), strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_results_are_fresh_and_writable(cell, rng):
    layer = make(cell, 3, 5)
    x = random_input(layer, 4, 2, rng)
    y, s = layer(x)
    before = y.copy()
    y2, _ = layer(x[::-1])
    assert np.array_equal(y, before)
    assert not np.array_equal(y2, before)
    y[:] = 0
    parts(s)[0][:] = 0


def test_small_signals_keep_their_digits(rng):
    """Error is measured against the array's own size, also where that is 1e-5."""
    layer = make("rnn-tanh", 4, 8, bias=False)
    x = random_input(layer, 20, 3, rng) * np.float32(1e-5)
    run = Twin.of(layer).forward(x)
    assert np.abs(run.output).max() < 1e-4
    close(layer(x)[0], run.output, "float32")


@pytest.mark.parametrize("cell", ["gru", "gru-reset-before", "lstm"])
def test_small_signals_keep_their_digits_through_gates(cell, rng):
    layer = make(cell, 4, 8, bias=False)
    x = random_input(layer, 20, 3, rng) * np.float32(1e-5)
    close(layer(x)[0], Twin.of(layer).forward(x).output, "float32")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", ["rnn-tanh", "rnn-sigmoid"])
def test_curves_equal_numpys_on_a_sweep(cell, dtype):
    """One unit, weight 1, no recurrence: the output is the curve, within 4 ulp of 1."""
    layer = make(cell, 1, 1, bias=False, dtype=dtype)
    with layer.writable() as p:
        p["weight_ih_l0"][:] = 1
        p["weight_hh_l0"][:] = 0
    near, far = np.linspace(-12, 12, 20_001), np.geomspace(1e-30, 1e30, 2_001)
    x = np.concatenate([near, far, -far]).astype(dtype).reshape(3, -1, 1)   # as rows, since the twin is slow at steps
    y, _ = layer(x)
    exact = Twin.of(layer).forward(x).output
    error = np.abs(y - exact).max()
    assert error <= 4 * np.finfo(dtype).eps
    assert np.abs(y).max() <= 1  # never beyond the curve's own limit
    if cell == "rnn-tanh":  # odd, and relative accuracy near zero
        near_zero = (np.abs(exact) > 1e-30) & (np.abs(exact) < 0.1)
        assert (np.abs(y / exact - 1)[near_zero] <= 8 * np.finfo(dtype).eps).all()
