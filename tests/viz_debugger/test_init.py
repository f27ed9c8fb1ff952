"""Initialisers for recurrent weights: what they set, what they leave unchanged, what they refuse."""

import math

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz

LAYERS = [rc.RNN, rc.GRU, rc.LSTM]


def blocks(layer, name="weight_hh_l0"):
    weight = layer.parameters[name]
    return weight.reshape(-1, layer.hidden_size, *weight.shape[1:])


@pytest.mark.parametrize("cell", LAYERS)
def test_orthogonal_makes_every_block_a_multiple_of_an_orthogonal_matrix(cell):
    layer = rc.init.orthogonal(cell(3, 6, 2, bidirectional=True, dtype="float64"), 0.9, seed=1)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        for W in blocks(layer, f"weight_hh_{suffix}"):
            np.testing.assert_allclose(W @ W.T, 0.81 * np.eye(6), atol=1e-14)
    first, second = blocks(layer)[0], blocks(layer, "weight_hh_l1")[0]
    assert not np.allclose(first, second)


def test_orthogonal_depends_on_its_seed():
    a, b, c = (rc.init.orthogonal(rc.GRU(2, 4, seed=0), seed=s).state_dict() for s in (1, 1, 2))
    np.testing.assert_array_equal(a["weight_hh_l0"], b["weight_hh_l0"])
    assert not np.array_equal(a["weight_hh_l0"], c["weight_hh_l0"])


@pytest.mark.parametrize(("cell", "candidate"), [(rc.RNN, 0), (rc.GRU, 2), (rc.LSTM, 2)])
def test_identity_sets_the_candidate_and_nothing_else(cell, candidate):
    layer = cell(3, 5, dtype="float64", seed=0)
    before = layer.state_dict()
    rc.init.identity(layer, 0.7)
    np.testing.assert_array_equal(blocks(layer)[candidate], 0.7 * np.eye(5))
    for name in ("bias_ih_l0", "bias_hh_l0"):
        np.testing.assert_array_equal(blocks(layer, name)[candidate], 0)
    others = [k for k in range(len(blocks(layer))) if k != candidate]
    for name in ("weight_hh_l0", "bias_ih_l0"):
        was = before[name].reshape(blocks(layer, name).shape)
        np.testing.assert_array_equal(blocks(layer, name)[others], was[others])
    np.testing.assert_array_equal(layer.parameters["weight_ih_l0"], before["weight_ih_l0"])


def test_a_relu_network_with_identity_preserves_the_gradient():
    rnn = rc.init.identity(rc.RNN(2, 4, nonlinearity="relu", dtype="float64", seed=0))
    with rnn.writable() as p:
        np.abs(p["weight_ih_l0"], out=p["weight_ih_l0"])
    norms = viz.jacobian_norms(rnn.record(np.ones((50, 1, 2))))
    np.testing.assert_array_equal(norms, 1)


@pytest.mark.parametrize(("cell", "gate"), [(rc.LSTM, 1), (rc.GRU, 1)])
def test_forget_bias_is_the_sum_of_both_biases(cell, gate):
    layer = rc.init.forget_bias(cell(3, 5, 2, seed=0), 2.0)
    for k in range(2):
        total = blocks(layer, f"bias_ih_l{k}") + blocks(layer, f"bias_hh_l{k}")
        np.testing.assert_array_equal(total[gate], 2.0)
        assert not (total[0] == 2.0).any()


@pytest.mark.parametrize("cell", [rc.LSTM, rc.GRU])
def test_a_forget_bias_of_ln_T_minus_1_gives_a_time_scale_of_T(cell):
    layer = cell(1, 3, dtype="float64", seed=0)
    layer.load_state_dict({name: 0 * p for name, p in layer.state_dict().items()})
    rc.init.forget_bias(layer, math.log(100 - 1))
    tape = layer.record(np.zeros((20, 1, 1)))
    # the gate is (T − 1)/T, so τ = −1/ln(1 − 1/100)
    np.testing.assert_allclose(tape["l0.f" if cell is rc.LSTM else "l0.z"], 0.99, rtol=1e-14)
    np.testing.assert_allclose(viz.timescales(tape)["l0"], -1 / math.log(0.99), rtol=1e-12)


def test_chrono_spreads_the_time_scales_uniformly():
    lstm = rc.init.chrono(rc.LSTM(3, 4000, dtype="float64", seed=0), 50, seed=3)
    i, f, _, _ = blocks(lstm, "bias_ih_l0") + blocks(lstm, "bias_hh_l0")
    np.testing.assert_array_equal(i, -f)
    u = np.exp(f)  # uniform over 1 … 49: the mean within five standard errors, 48/√12/√4000 each
    assert u.min() >= 1
    assert u.max() <= 49 * (1 + 1e-15)
    assert abs(u.mean() - 25) < 5 * 48 / math.sqrt(12 * 4000)
    gru = rc.init.chrono(rc.GRU(3, 8, seed=0), 50, seed=3)
    _, z, _ = blocks(gru, "bias_ih_l0") + blocks(gru, "bias_hh_l0")
    assert (z >= 0).all()
    assert len(set(z.tolist())) == 8


@pytest.mark.parametrize(
    ("cell", "mode"), [(rc.RNNCell, 1), (rc.GRUCell, 3), (rc.LSTMCell, 4)]
)
def test_cells_are_initialised_like_layers(cell, mode):
    one = rc.init.orthogonal(cell(3, 5, dtype="float64"), seed=0)
    for W in one.parameters["weight_hh"].reshape(mode, 5, 5):
        np.testing.assert_allclose(W @ W.T, np.eye(5), atol=1e-14)


def test_the_layer_of_a_model_is_initialised():
    from rnncore.nn import sequence_model

    model = rc.init.forget_bias(sequence_model("lstm", 10, hidden_size=4, seed=0), 3.0)
    bias = model.parameters["layer.bias_ih_l0"] + model.parameters["layer.bias_hh_l0"]
    np.testing.assert_array_equal(bias[4:8], 3.0)


def test_initialising_makes_packed_weights_stale():
    lstm = rc.LSTM(3, 5, seed=0)
    x = np.ones((4, 2, 3))
    before, version = lstm(x)[0], lstm.version
    rc.init.forget_bias(lstm, 5.0)
    assert lstm.version > version
    assert not np.array_equal(lstm(x)[0], before)


@pytest.mark.parametrize("start", [rc.init.forget_bias, lambda m: rc.init.chrono(m, 10)])
def test_layers_without_a_forget_gate_or_bias_are_refused(start):
    with pytest.raises(ValueError, match=r"got RNN without a gate.*expected an LSTM or a GRU"):
        start(rc.RNN(2, 3))
    with pytest.raises(ValueError, match=r"bias=False, expected bias=True"):
        start(rc.LSTM(2, 3, bias=False))


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="steps: got 2, expected the longest dependency"):
        rc.init.chrono(rc.LSTM(2, 3), 2)
    with pytest.raises(ValueError, match="gain: got nan, expected a finite number"):
        rc.init.orthogonal(rc.LSTM(2, 3), np.nan)


def test_modules_without_recurrent_weights_are_refused():
    from rnncore.nn import Linear

    with pytest.raises(ValueError, match=r"got Linear without recurrent weights \(it has weight"):
        rc.init.orthogonal(Linear(3, 2))
