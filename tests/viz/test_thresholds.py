"""On which side of a threshold its own value counts, and at which lag a fit begins."""

import numpy as np
import pytest
from rnncore.viz.recorder.measured import saturated
from support import make, random_input, random_state

import rnncore as rc
from rnncore import viz


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru-reset-before"])
def test_a_gate_at_the_threshold_is_neither_shut_nor_open(cell, dtype, rng):
    """Shares count what is below `low` and above `high`: each of 12 different gate values is the threshold once."""
    tape = make(cell, 2, 3, dtype=dtype).record(random_input(make(cell, 2, 3, dtype=dtype), 4, 1, rng))
    for name in viz.saturation(tape):
        values = np.sort(tape[name].ravel())
        assert len(set(values.tolist())) == 12
        for k in range(1, 11):
            at, beyond = float(values[k]), float(np.nextafter(values[k], values.dtype.type(1)))
            low, high = viz.saturation(tape, low=at, high=1)[name], viz.saturation(tape, low=0, high=at)[name]
            assert low.low.sum() * 4 == pytest.approx(k)  # shares of 4 steps, over 3 units
            assert high.high.sum() * 4 == pytest.approx(11 - k)
            assert viz.saturation(tape, low=beyond, high=1)[name].low.sum() * 4 == pytest.approx(k + 1)


def test_a_gate_of_exactly_one_half_is_neither_below_nor_above_one_half():
    layer = rc.GRU(1, 2)
    layer.load_state_dict({name: np.zeros_like(a) for name, a in layer.state_dict().items()})
    tape = layer.record(np.ones((3, 1, 1)))
    assert not viz.saturation(tape, 0.5, 0.9)["l0.z"].low.any()
    assert not viz.saturation(tape, 0.1, 0.5)["l0.z"].high.any()


class PlainStates:
    """The part of a plain RNN's tape that the recorder's share of saturated states reads."""

    mode, T, lengths = "RNN", 1, np.array([1])

    def __init__(self, nonlinearity, states):
        self.layer, self.states = rc.RNN(1, 1, nonlinearity=nonlinearity), np.array(states)
        self.cell = self.layer.cell

    def names(self, pattern):
        return ["l0.h"]

    def pullback(self):
        raise NotImplementedError

    def __getitem__(self, name):
        return self.states


@pytest.mark.parametrize(
    ("nonlinearity", "states", "share"),
    [
        ("tanh", [-0.9, 0.9, -0.1, 0.1], 0),  # at the thresholds
        ("tanh", [-0.91, 0.91, -0.9, 0.05], 0.5),
        ("sigmoid", [0.1, 0.9, 0.5, 0.5], 0),
        ("sigmoid", [0.09, 0.91, 0.1, 0.5], 0.5),
        ("relu", [0.0, 1e-30, 0.95, 0.0], 0.5),  # no upper end
    ],
)
def test_states_of_a_plain_net_at_the_threshold_are_not_saturated(nonlinearity, states, share):
    assert saturated(PlainStates(nonlinearity, states)) == share


def test_horizon_includes_its_threshold_and_half_life_does_not():
    """A norm of exactly eps times that of lag 1 counts; one of exactly half of it is not below half."""
    norms = 0.5 ** np.arange(10.0)[:, None]  # exact in binary
    assert viz.horizon(norms, eps=0.125)[0] == 4  # lag 4 has an eighth of lag 1
    assert viz.half_life(norms)[0] == 3  # lag 2 has half of it


@pytest.mark.parametrize("rate", [-0.7, -0.01, 0.2])
@pytest.mark.parametrize("level", [-3.0, 0.0, 5.0])
def test_the_decay_rate_leaves_lag_0_out(rate, level):
    """Lag 0 is 1 by definition, whether on the line or not, and lags of 0, NaN and infinity have no logarithm."""
    lag = np.arange(20.0)
    norms = np.exp(level + rate * lag)
    norms[0] = 1
    norms[[4, 9, 15]] = 0, np.nan, np.inf
    fit = viz.decay_fit(norms[:, None])
    np.testing.assert_allclose([fit.rate[0], fit.level[0]], [rate, level], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn-tanh"])
def test_the_decay_rate_of_a_tape_is_that_of_polyfit(cell, rng):
    layer = make(cell, 3, 5, 2, dtype="float64")
    tape = layer.record(random_input(layer, 30, 2, rng), random_state(layer, 2, rng))
    norms = viz.jacobian_norms(tape)
    fit, lag = viz.decay_fit(tape), np.arange(1, 30)
    for b in range(2):
        wanted = np.polyfit(lag, np.log(norms[1:, b]), 1)
        np.testing.assert_allclose([fit.rate[b], fit.level[b]], wanted, rtol=1e-10)
        with_lag_0 = np.polyfit(np.arange(30), np.log(norms[:, b]), 1)
        assert abs(wanted[0] - with_lag_0[0]) > 1e-4 * abs(wanted[0])
