"""Each watch fires at the step where a network fails by construction, and is silent on a healthy one."""

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz


def relu_times(factor, steps=40, rows=2, hidden=3):
    """A ReLU net with W = factor·I and positive states: ∂s_T/∂s_{T-k} is exactly factorᵏ."""
    rnn = rc.init.identity(
        rc.RNN(1, hidden, nonlinearity="relu", dtype="float64", seed=0), factor
    )
    with rnn.writable() as p:
        p["weight_ih_l0"][...] = 1
    return rnn.record(np.ones((steps, rows, 1)))


def last_step(tape, row=None):
    grad = np.zeros(tape.output.shape)
    grad[-1, slice(None) if row is None else row] = 1
    tape.backward(grad)
    return tape


class TestVanish:
    def test_fires_at_the_step_below_the_threshold(self):
        tape = last_step(relu_times(0.5), row=1)  # 0.5¹⁰ is the first under 1e-3
        hit = viz.Vanish(1e-3).look(tape)
        assert (hit.step, hit.row, hit.layer, hit.gate) == (39 - 10, 1, "l0", "h")
        assert hit.value == pytest.approx(0.5**10, rel=1e-12)
        np.testing.assert_allclose(hit.before, 0.5 ** np.arange(5, 10), rtol=1e-12)
        assert "fell below 0.001" in hit.sentence
        assert "step 29, row 1" in hit.sentence

    def test_the_threshold_can_be_absolute(self):
        tape = last_step(relu_times(0.5))  # the norm at the loss is √3
        hit = viz.Vanish(1e-3, relative=False).look(tape)
        assert hit.step == 39 - int(np.ceil(np.log2(np.sqrt(3) * 1e3)))

    @pytest.mark.parametrize("factor", [1.0, 1.1])
    def test_is_silent_where_the_gradient_holds(self, factor):
        assert viz.Vanish(1e-3).look(last_step(relu_times(factor))) is None

    def test_steps_after_the_loss_do_not_count(self):
        tape = relu_times(1.0)
        grad = np.zeros(tape.output.shape)
        grad[10] = 1
        tape.backward(grad)
        assert viz.Vanish(1e-3).look(tape) is None

    def test_a_gradient_of_exactly_zero_counts(self):
        tape = relu_times(1.0)
        with tape.layer.writable() as p:
            p["weight_hh_l0"][...] = 0
        tape = last_step(tape.layer.record(tape.input))
        assert viz.Vanish().look(tape).step == 38

    def test_the_gradient_is_that_of_the_whole_state_of_an_lstm(self):
        # f = σ(8) keeps c, and ∂L/∂c with it; ∂L/∂h is 0 before the last step, as weight_hh is
        lstm = rc.LSTM(1, 3, dtype="float64", seed=0)
        with lstm.writable() as p:
            for name in p:
                p[name][...] = 0
            p["bias_ih_l0"][3:6] = 8
        tape = last_step(lstm.record(np.ones((40, 1, 1))))
        assert viz.Vanish(0.1).look(tape) is None
        assert viz.Vanish(0.1, names="*.h").look(tape).step == 38

    def test_is_silent_without_a_backward_pass(self):
        assert viz.Vanish().look(relu_times(0.5)) is None

    def test_each_of_many_cotangents_counts(self):
        tape = relu_times(0.5)
        grad = np.zeros((2, *tape.output.shape))
        grad[0, 3] = 1  # too near the start to vanish
        grad[1, 39] = 1
        tape.backward(grad)
        assert viz.Vanish(1e-3).look(tape).step == 29


class TestExplode:
    def test_fires_at_the_step_above_the_threshold(self):
        hit = viz.Explode(1e3).look(last_step(relu_times(2.0), row=0))
        assert (hit.step, hit.row) == (39 - 10, 0)  # 2¹⁰ is the first over 1e3
        assert hit.value == pytest.approx(1024)

    def test_is_silent_where_the_gradient_does_not_grow(self):
        assert viz.Explode(1e3).look(last_step(relu_times(1.0))) is None
        assert viz.Explode(1e3).look(last_step(relu_times(0.5))) is None

    def test_threshold_is_checked(self):
        with pytest.raises(ValueError, match="threshold: got 0, expected"):
            viz.Explode(0)


def gate_by_input(steps, shut_from, gate="i", value=-100.0, hidden=4, unit=1):
    """An LSTM whose `gate` of one unit is σ(0) before a step and σ(value) from it on."""
    lstm = rc.LSTM(1, hidden, seed=0)
    with lstm.writable() as p:
        for name in p:
            p[name][...] = 0
        p["weight_ih_l0"]["ifgo".index(gate) * hidden + unit] = value
        p["bias_ih_l0"][2 * hidden : 3 * hidden] = 1  # so that the state is not 0
    x = np.zeros((steps, 2, 1), "float32")
    x[shut_from:, 1] = 1
    return lstm, x


class TestStuck:
    @pytest.mark.parametrize("gate", "ifo")
    @pytest.mark.parametrize(("value", "side"), [(-100, "low"), (100, "high")])
    def test_fires_at_the_step_that_completes_the_run(self, gate, value, side):
        lstm, x = gate_by_input(40, 5, gate, value)
        hit = viz.Stuck(steps=10).look(lstm.record(x))
        assert (hit.tensor, hit.step, hit.row, hit.unit) == (f"l0.{gate}", 14, 1, 1)
        assert f"stuck {side} for 10 steps" in hit.sentence

    def test_a_candidate_is_watched_only_by_name(self):
        lstm, x = gate_by_input(40, 5, "g", -100.0)
        assert viz.Stuck("*.g", 10).look(lstm.record(x)).step == 14
        assert viz.Stuck(steps=10).look(lstm.record(x)) is None  # not among the sigmoid gates

    def test_is_silent_on_a_healthy_network(self, rng):
        for cell in (rc.RNN, rc.GRU, rc.LSTM):
            tape = cell(3, 8, seed=0).record(rng.standard_normal((60, 4, 3)))
            assert viz.Stuck("*", steps=5).look(tape) is None

    def test_is_silent_one_step_before(self):
        lstm, x = gate_by_input(14, 5)
        assert viz.Stuck(steps=10).look(lstm.record(x)) is None
        assert viz.Stuck(steps=9).look(lstm.record(x)).step == 13

    def test_a_side_can_be_switched_off(self):
        lstm, x = gate_by_input(40, 5, "f", 100.0)
        assert viz.Stuck("*.f", 10, high=None).look(lstm.record(x)) is None

    def test_is_silent_with_too_few_units(self):
        lstm, x = gate_by_input(40, 5)
        assert viz.Stuck(steps=10, units=2).look(lstm.record(x)) is None

    def test_a_run_continues_where_the_state_is_carried_over(self):
        lstm, x = gate_by_input(16, 5)
        stuck = viz.Stuck(steps=10)
        first = lstm.record(x[:8])  # three steps shut
        assert stuck.look(first) is None
        assert stuck.look(lstm.record(x[8:], first.state)).step == 6
        assert stuck.look(first) is None
        assert stuck.look(lstm.record(x[8:])) is None  # the state starts anew

    def test_padding_neither_adds_to_a_run_nor_ends_it(self):
        lstm, x = gate_by_input(40, 5)
        assert viz.Stuck(steps=10).look(lstm.record(x, lengths=[40, 14])) is None
        assert viz.Stuck(steps=10).look(lstm.record(x, lengths=[40, 15])).step == 14

    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_equals_counting_step_by_step(self, rng, bidirectional):
        layer = rc.GRU(3, 6, bidirectional=bidirectional, seed=0)
        with layer.writable() as p:
            for name in p:
                p[name] *= 6  # gates at their ends for some steps
        stuck, lengths = viz.Stuck(steps=7, low=0.1, high=0.9), np.array([25, 9, 0, 17, 25])
        for _ in range(4):
            tape = layer.record(rng.standard_normal((25, 5, 3)), lengths=lengths)
            first = None
            for name in tape.names("*.[rz]"):
                for side in (False, True):
                    run = np.zeros((5, 6), int)
                    for t in range(24, -1, -1) if "reverse" in name else range(25):
                        for b in np.flatnonzero(t < lengths):
                            value = tape[name][t, b]
                            run[b] = np.where(value > 0.9 if side else value < 0.1, run[b] + 1, 0)
                        if (run >= 7).any():
                            first = t if first is None else min(first, t)
                            break
            hit = stuck.look(tape)
            assert first is not None
            assert hit.step == first

    def test_fires_for_a_dead_relu_unit(self):
        rnn = rc.RNN(1, 3, nonlinearity="relu", seed=0)
        with rnn.writable() as p:
            for name in p:
                p[name][...] = 0
            p["weight_ih_l0"][...] = 1
        x = np.ones((30, 1, 1), "float32")
        x[12:] = -1
        assert viz.Stuck("*.h", 10).look(rnn.record(x)).step == 21


class TestSpike:
    def test_fires_at_the_update_of_the_spike(self):
        tape = relu_times(1.0)
        spike = viz.Spike("loss", 5, window=20)
        hits = [spike.look(tape, loss=v) for v in [2.0, 1.0] * 10 + [7.4, 7.6, 1.0, np.nan]]
        assert [k for k, hit in enumerate(hits) if hit] == [21, 23]
        assert "5.07 times its median of 1.5" in hits[21].sentence

    def test_takes_the_norm_of_the_gradient(self):
        tape = relu_times(1.0)
        spike = viz.Spike(factor=10)
        for _ in range(10):
            assert spike.look(tape, {"w": np.array([3.0, 4.0])}) is None
        assert spike.look(tape, {"w": np.array([30.0, 40.0])}) is None
        hit = spike.look(tape, {"w": np.array([30.0, 41.0])})
        assert hit.value == pytest.approx(50.8, abs=0.01)

    def test_refuses_an_unknown_quantity(self):
        with pytest.raises(ValueError, match="of: got 'weights', expected"):
            viz.Spike("weights")


class TestWhen:
    @pytest.mark.parametrize("answer", [None, False, np.bool_(False), np.zeros((4, 2), bool)])
    def test_is_silent_for_false_none_and_an_array_of_false(self, answer):
        assert viz.When(lambda tape: answer).look(relu_times(1.0)) is None

    def test_true_fires_without_a_step(self):
        hit = viz.When(lambda tape: True, name="always").look(relu_times(1.0))
        assert (hit.watch, hit.step, hit.sentence) == ("always", None, "always holds")

    def test_an_int_fires_at_that_step(self):
        assert viz.When(lambda tape: 0).look(relu_times(1.0)).step == 0
        assert viz.When(lambda tape: np.int64(7)).look(relu_times(1.0)).step == 7

    def test_an_array_fires_at_its_first_true(self):
        tape = relu_times(1.0)  # h is t + 1
        hit = viz.When(lambda tape: tape["l0.h"] > 5.5).look(tape)
        assert (hit.step, hit.row, hit.unit) == (5, 0, 0)
        assert viz.When(lambda tape: tape["l0.h"].max((1, 2)) > 5.5).look(tape).step == 5

    def test_refuses_what_is_not_a_function(self):
        with pytest.raises(TypeError, match="predicate: got int, expected a function"):
            viz.When(3)
