"""The diagnosis: every sentence for a network that is made to show it, with the expected numbers."""

import math

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz


def zeroed(layer, **values):
    """The layer with all weights 0, except for the given biases of l0, by gate."""
    gates = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "h"}[layer.mode]
    H = layer.hidden_size
    with layer.writable() as p:
        for name in p:
            p[name][...] = 0
        for gate, value in values.items():
            k = gates.index(gate)
            p["bias_ih_l0"][k * H : (k + 1) * H] = value
    return layer


def relu_times(factor, steps=60):
    rnn = rc.init.identity(rc.RNN(1, 3, nonlinearity="relu", dtype="float64", seed=0), factor)
    with rnn.writable() as p:
        p["weight_ih_l0"][...] = 1
    return rnn.record(np.ones((steps, 2, 1)))


def test_a_vanishing_gradient_is_reported_with_its_numbers():
    found = viz.diagnose(relu_times(0.8))["vanishes"]
    assert found.severity == "warning"
    assert found.numbers["rate"] == pytest.approx(math.log(0.8), rel=1e-9)
    assert found.numbers["half_life"] == pytest.approx(math.log(2) / -math.log(0.8), rel=1e-9)
    # the largest k with 0.8^(k−1) ≥ 1/100
    assert found.numbers["horizon"] == 1 + math.floor(math.log(0.01) / math.log(0.8))
    assert found.sentence == (
        "the gradient halves every 3.1 steps: less than 1 % of it gets further back than 21 steps"
    )
    assert "identity" in found.advice


def test_advice_for_an_lstm_names_the_bias():
    lstm = zeroed(rc.LSTM(1, 4, dtype="float64"), f=1.0)
    found = viz.diagnose(lstm.record(np.zeros((100, 1, 1))))["vanishes"]
    assert "a forget-gate bias of ln(T−1) = 4.6 would hold for 100 steps" in found.advice
    # and it does
    rc.init.forget_bias(lstm, math.log(99))
    assert viz.diagnose(lstm.record(np.zeros((100, 1, 1)))).names[0] != "vanishes"


def test_advice_for_a_gru_is_in_english():
    found = viz.diagnose(zeroed(rc.GRU(1, 4, dtype="float64"), z=1.0).record(np.zeros((100, 1, 1))))["vanishes"]
    assert found.advice.startswith("an update-gate bias of ln(T−1) = 4.6")


def test_the_advice_is_for_the_given_length():
    lstm = zeroed(rc.LSTM(1, 4), f=1.0)
    found = viz.diagnose(lstm.record(np.zeros((30, 1, 1))), steps=1000)["vanishes"]
    assert "= 6.9 would hold for 1000 steps" in found.advice


def test_advice_for_a_gru_names_the_update_gate():
    gru = zeroed(rc.GRU(1, 4), z=1.0)
    found = viz.diagnose(gru.record(np.zeros((100, 1, 1))))["vanishes"]
    assert "update-gate bias of ln(T−1) = 4.6" in found.advice


@pytest.mark.parametrize(("curve", "advice"), [("sigmoid", "quarter"), ("tanh", "orthogonal")])
def test_advice_for_an_rnn_depends_on_its_nonlinearity(rng, curve, advice):
    rnn = rc.RNN(2, 6, nonlinearity=curve, seed=0)
    found = viz.diagnose(rnn.record(rng.standard_normal((60, 1, 2))))
    assert advice in found["vanishes"].advice


def test_an_exploding_gradient_is_reported_with_its_numbers():
    found = viz.diagnose(relu_times(1.25))["explodes"]
    assert found.severity == "error"  # 1.25⁵⁹ is 5e5
    assert found.sentence == (
        "the gradient doubles every 3.1 steps: it grows by a factor of 5e05 over 59 steps"
    )
    assert "scale weight_hh by 0.80 (its spectral radius is 1.25)" in found.advice


def test_a_network_that_holds_its_state_has_no_problem_among_those_that_are_checked():
    found = viz.diagnose(relu_times(1.0))
    assert found["holds"].severity == "ok"
    assert "still has an effect after all 59 steps" in found["holds"].sentence
    assert found["checked"].severity == "note"
    assert found["checked"].sentence == (
        "no problem was found with finite values, the size of the input, the reach of the gradient and states; whether "
        "the network has learnt its task is not checked here: that is shown by its loss on held-out data"
    )


def test_what_was_not_checked_is_not_listed(rng):
    """An LSTM that has learnt nothing looks the same on its tape; three steps say nothing about memory."""
    tape = rc.LSTM(2, 8, seed=0).record(rng.standard_normal((3, 1, 2)))
    assert "reach" not in viz.diagnose(tape)["checked"].sentence
    assert "steps without a gradient" not in viz.diagnose(tape)["checked"].sentence
    tape.backward(np.ones_like(tape.output))
    found = viz.diagnose(tape)["checked"].sentence
    assert "gates and steps without a gradient" in found
    assert "not checked here" in found


def test_a_gradient_that_settles_has_no_rate():
    """The norm falls within a few steps and then stays: a slope through both would describe neither."""
    rnn = rc.RNN(1, 2, nonlinearity="relu", bias=False, dtype="float64")
    rnn.load_state_dict({"weight_ih_l0": np.ones((2, 1)), "weight_hh_l0": np.array([[0.3, 0.0], [5.0, 1.0]])})
    found = viz.diagnose(rnn.record(np.ones((80, 1, 1))))
    assert "every" not in str(found).replace("every step", "")
    assert "still has an effect after all 79 steps" in found["holds"].sentence


def test_a_gradient_that_grows_up_to_a_step_that_nothing_passes():
    rnn, x = relu_times(1.25).layer, np.ones((60, 1, 1))
    tape = rnn.record(np.concatenate([x, -1e9 * x[:1], x]))  # the states are 0 in the middle
    found = viz.diagnose(tape)["vanishes"].sentence
    assert "doubles every 3.1 steps and is exactly 0 from lag 61 on" in found
    assert "gets further back than 60 steps" in found


def test_a_network_without_any_gradient_is_an_error():
    rnn = zeroed(rc.RNN(1, 4, nonlinearity="relu"))
    found = viz.diagnose(rnn.record(np.ones((20, 1, 1))))
    assert found[0].severity == "error"
    assert "it is exactly 0" in found["vanishes"].sentence
    assert "are dead: h is 0 at every step" in found["dead"].sentence


@pytest.mark.parametrize(
    ("cell", "gate", "bias", "says"),
    [
        (rc.LSTM, "f", 9, "never forget: f > 0.99 on 100 % of steps"),
        (rc.LSTM, "f", -9, "forget at once: f < 0.01 on 100 % of steps"),
        (rc.LSTM, "i", -9, "never take in anything new: i < 0.01"),
        (rc.LSTM, "o", -9, "never output their cell state: o < 0.01"),
        (rc.GRU, "z", 9, "never take in anything new: z > 0.99"),
        (rc.GRU, "z", -9, "keep nothing: z < 0.01"),
        (rc.GRU, "r", -9, "compute their candidate without the past: r < 0.01"),
    ],
)
def test_saturated_gates_are_reported_by_unit(rng, cell, gate, bias, says):
    layer = cell(2, 8, seed=0)
    gates = "ifgo" if cell is rc.LSTM else "rzn"
    with layer.writable() as p:
        for unit in (3, 5):
            p["bias_ih_l0"][gates.index(gate) * 8 + unit] = bias
    found = viz.diagnose(layer.record(rng.standard_normal((50, 2, 2))))["saturated"]
    assert found.sentence.startswith(f"units 3, 5 of l0 {says}")
    assert found.numbers["units"] == [3, 5]
    assert found.severity == "note"  # two of eight may be meant


def test_the_share_of_steps_is_the_smallest_of_the_units():
    lstm = zeroed(rc.LSTM(1, 4), f=9)
    x = np.zeros((100, 1, 1))
    x[:2] = 1
    with lstm.writable() as p:
        p["weight_ih_l0"][4] = -9
    found = viz.diagnose(lstm.record(x))["saturated"]
    assert "never forget: f > 0.99 on 98 % of steps" in found.sentence
    assert found.severity == "warning"


def test_a_long_list_of_units_is_shortened():
    lstm = zeroed(rc.LSTM(1, 20), o=-9)
    found = viz.diagnose(lstm.record(np.zeros((30, 1, 1))))["saturated"]
    assert found.sentence.startswith("units 0, 1, 2, 3, 4, 5 … (20 of 20) of l0 never output")


def test_saturated_states_of_a_tanh_rnn_are_reported():
    rnn = zeroed(rc.RNN(1, 4), h=9)
    found = viz.diagnose(rnn.record(np.zeros((30, 1, 1))))
    assert "h is near its limits on 100 % of steps" in found["saturated"].sentence


def test_timescales_of_the_gates_are_reported():
    lstm = zeroed(rc.LSTM(1, 4, dtype="float64"), f=1.0)
    found = viz.diagnose(lstm.record(np.zeros((50, 1, 1))))["timescales"]
    assert found.sentence == (
        "by its gates alone, l0 keeps its values for 3.2 steps (median over units), and for 3.2 at most"
    )


def test_a_large_input_is_reported(rng):
    tape = rc.GRU(2, 4, seed=0).record(100 * rng.standard_normal((30, 2, 2)))
    found = viz.diagnose(tape)["input"]
    assert found.numbers["rms"] == pytest.approx(np.sqrt(np.square(tape.input).mean()))


def test_nothing_else_is_reported_where_values_are_not_finite(rng):
    x = rng.standard_normal((30, 2, 2))
    x[7, 1, 0] = np.inf
    found = viz.diagnose(rc.GRU(2, 4, seed=0).record(x))
    assert found.names == ["nonfinite"]
    assert "input at step 7, row 1, unit 0 is inf" in found[0].sentence


def test_underflow_of_the_gradient_is_reported_after_backward(rng):
    rnn = rc.RNN(2, 4, nonlinearity="sigmoid", seed=0)
    tape = rnn.record(rng.standard_normal((200, 1, 2)))
    assert "underflow" not in viz.diagnose(tape).names
    grad = np.zeros_like(tape.output)
    grad[-1] = 1
    tape.backward(grad)
    found = viz.diagnose(tape)["underflow"]
    zero = (tape.grad["l0.h"] == 0).all((1, 2))
    assert zero[0]
    np.testing.assert_array_equal(found.numbers["steps"], np.flatnonzero(zero))
    assert f"exactly 0 on {zero.sum()} of 200 steps" in found.sentence
    assert "float64" in found.advice


def test_steps_after_the_last_loss_are_no_underflow(rng):
    tape = rc.GRU(2, 4, seed=0).record(rng.standard_normal((50, 1, 2)))
    grad = np.zeros_like(tape.output)
    grad[10] = 1
    tape.backward(grad)
    assert "underflow" not in viz.diagnose(tape).names


def test_underflow_of_a_reverse_layer_is_at_its_own_steps(rng):
    """It runs from a row's last step to its first, where the loss is; padding does not count."""
    layer = rc.RNN(2, 3, bidirectional=True, seed=0)
    with layer.writable() as p:
        p["weight_hh_l0_reverse"][...] = 0
    tape = layer.record(rng.standard_normal((9, 2, 2)), lengths=[5, 3])
    grad = np.zeros_like(tape.output)
    grad[0] = 1
    tape.backward(grad)
    found = viz.diagnose(tape)["underflow"]
    assert found.numbers["layer"] == "l0.reverse"
    np.testing.assert_array_equal(found.numbers["steps"], [1, 2, 3, 4])


def test_padding_is_no_underflow(rng):
    tape = rc.GRU(3, 5, bidirectional=True, seed=1).record(rng.normal(size=(12, 2, 3)), lengths=[12, 6])
    tape.backward(rng.normal(size=tape.output.shape))
    assert "underflow" not in viz.diagnose(tape).names


def test_a_gradient_from_few_steps_is_reported():
    tape = relu_times(0.5)
    grad = np.zeros_like(tape.output)
    grad[-1] = 1
    tape.backward(grad)
    # 1 + ½ + ¼ + ⅛ are 94 % of the sum, three of them 87.5 %
    found = viz.diagnose(tape)["step share"]
    assert found.sentence == "90 % of the gradient of weight_hh_l0 comes from 4 of 60 steps"


@pytest.mark.parametrize("cell", [rc.RNN, rc.GRU, rc.LSTM])
@pytest.mark.parametrize(
    "options", [{"num_layers": 2}, {"bidirectional": True}, {"batch_first": True}]
)
def test_all_kinds_of_tapes_can_be_diagnosed(rng, cell, options):
    layer = cell(2, 4, seed=0, **options)
    ragged = [3, 0, 1, 6, 2, 5]
    cases = (((12, 7, 2), None), ((12, 6, 2), ragged), ((12, 2), None), ((0, 2, 2), None))
    for x, lengths in cases:
        if options.get("batch_first") and lengths:
            x = (6, 12, 2)
        tape = layer.record(rng.standard_normal(x), lengths=lengths)
        found = viz.diagnose(tape)
        assert str(found)
        if tape.T:
            tape.backward(np.ones_like(tape.output))
            assert str(viz.diagnose(tape))


def test_a_diagnosis_prints_one_line_per_finding_the_most_severe_first():
    found = viz.diagnose(relu_times(1.25))
    assert str(found).splitlines()[0].startswith("error: the gradient doubles every 3.1 steps")
    assert " → clip the gradient's norm" in str(found)
    order = [viz.diagnosis.SEVERITIES.index(f.severity) for f in found]
    assert order == sorted(order)
    with pytest.raises(KeyError, match="no finding 'vanishes'; there are explodes"):
        found["vanishes"]
