"""What theory says exactly: vanishing, exploding, holding, the edge, the delay line."""

import numpy as np
import pytest
from support import make, random_input
from viz_twin import Explicit

import rnncore as rc
from rnncore import viz

EXACT = {"rtol": 1e-9, "atol": 0}


def relu(W, **options):
    """h_t = relu(W·h + 1·x): linear where W, x ≥ 0."""
    H = len(W)
    layer = rc.RNN(1, H, nonlinearity="relu", bias=False, dtype="float64", **options)
    layer.load_state_dict({"weight_ih_l0": np.ones((H, 1)), "weight_hh_l0": W})
    return layer


def orthogonal(n, rng):
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def test_a_sigmoid_with_orthogonal_weights_falls_to_a_quarter_per_step_or_less(rng):
    layer = rc.RNN(2, 12, nonlinearity="sigmoid", dtype="float64", seed=1)
    layer.load_state_dict(layer.state_dict() | {"weight_hh_l0": orthogonal(12, rng)})
    norms = viz.jacobian_norms(layer.record(rng.normal(size=(60, 3, 2))))
    lag = np.arange(60)[:, None]
    assert (norms <= 4.0**-lag * (1 + 1e-12)).all()  # φ′ ≤ 1/4, the rest is rounding
    assert (norms > 0).all()


@pytest.mark.parametrize("a", [0.9, 1.0, 1.1])
def test_relu_with_a_scaled_identity_is_exact(a):
    norms = viz.jacobian_norms(relu(a * np.eye(5)).record(np.ones((300, 2, 1))))
    np.testing.assert_allclose(norms, a ** np.arange(300.0)[:, None] * np.ones((1, 2)), **EXACT)
    assert viz.decay_rate(norms) == pytest.approx(np.log(a), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("bias", [-1.0, 1.0, 3.0])
def test_an_lstm_of_zero_weights_keeps_the_share_of_its_forget_bias(bias, rng):
    layer = rc.LSTM(2, 6, dtype="float64")
    zero = {name: np.zeros_like(p) for name, p in layer.state_dict().items()}
    zero["bias_ih_l0"][6:12] = bias
    layer.load_state_dict(zero)
    tape = layer.record(rng.normal(size=(40, 2, 2)))
    norms = viz.jacobian_norms(tape)
    keep = 1 / (1 + np.exp(-bias))
    np.testing.assert_allclose(norms[2:] / norms[1:-1], keep, **EXACT)
    np.testing.assert_allclose(viz.timescales(tape)["l0"], -1 / np.log(keep), **EXACT)
    if bias == 1:
        assert viz.timescales(tape)["l0"][0] == pytest.approx(3.19, abs=0.005)


def test_chrono_initialisation_forgets_in_as_many_steps_as_asked():
    T = np.array([2.0, 10.0, 100.0, 1000.0])
    layer = rc.LSTM(1, 4, dtype="float64")
    zero = {name: np.zeros_like(p) for name, p in layer.state_dict().items()}
    zero["bias_hh_l0"][4:8] = np.log(T - 1)
    layer.load_state_dict(zero)
    tape = layer.record(np.ones((5, 1, 1)))
    np.testing.assert_allclose(tape["l0.f"][3, 0], (T - 1) / T, **EXACT)
    np.testing.assert_allclose(viz.timescales(tape)["l0"], -1 / np.log1p(-1 / T), **EXACT)


def test_the_joint_jacobian_remembers_longer_than_the_gate(rng):
    """torch's initialisation with a forget bias of 2: units pass their values on to others."""
    layer = rc.LSTM(4, 32, dtype="float64", seed=3)
    weights = layer.state_dict()
    weights["bias_ih_l0"][32:64], weights["bias_hh_l0"][32:64] = 1, 1
    layer.load_state_dict(weights)
    tape = layer.record(rng.normal(size=(120, 4, 4)))
    by_gate = viz.timescales(tape)["l0"]
    by_jacobian = -1 / viz.decay_rate(tape)
    assert (by_jacobian > by_gate.mean()).all()


@pytest.mark.parametrize("kind", ["far from normal", "symmetric"])
def test_exponents_of_a_linear_net_are_those_of_its_eigenvalues(kind, rng):
    if kind == "symmetric":
        A = rng.uniform(0, 1, (5, 5))
        W = (A + A.T) / np.abs(np.linalg.eigvalsh(A + A.T)).max()
    else:
        W = np.diag([0.3, 1.05, 0.7, 0.5, 0.2]) + np.triu(rng.uniform(0, 1, (5, 5)), 1)
    moduli = np.sort(np.abs(np.linalg.eigvals(W)))[::-1]
    ratio = (moduli[1:] / moduli[:-1]).max()
    warmup = int(np.ceil(np.log(1e-11) / np.log(ratio)))  # what is left of the start, in one step
    layer, x = relu(W), np.ones((2 * warmup + 50, 2, 1))
    found = viz.lyapunov_spectrum(layer, x, warmup=warmup)
    np.testing.assert_allclose(found, np.log(moduli), rtol=0, atol=1e-9)
    leading = viz.lyapunov_spectrum(layer, x, warmup=warmup, n=2)
    np.testing.assert_allclose(leading, np.log(moduli[:2]), rtol=0, atol=1e-9)


def test_exponents_under_a_periodic_input_are_those_of_one_period(rng):
    """A tanh net driven with period 3 settles on a cycle: ln|eig(J_3·J_2·J_1)|/3, in that order."""
    layer = rc.RNN(1, 4, dtype="float64", seed=5)
    weights = layer.state_dict()
    weights["weight_hh_l0"] = np.diag([1.0, 0.6, 0.3, 0.1]) + 0.3 * np.triu(
        rng.normal(size=(4, 4)), 1
    )
    layer.load_state_dict(weights)
    x = np.tile(np.array([1.0, -0.5, 0.3]), 600)[:, None, None]
    J = Explicit(layer, x).J[900:903, 0]
    eigenvalues = np.abs(np.linalg.eigvals(J[2] @ J[1] @ J[0]))
    expected = np.sort(np.log(eigenvalues))[::-1] / 3
    # 600 steps are counted: whole periods. In the 600 that align the directions, two exponents that differ by 0.03
    # per step separate by exp(-18) = 2e-8, which over 600 steps leaves an error of less than 1e-10.
    found = viz.lyapunov_spectrum(layer, x, warmup=600)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_chi_is_1_at_the_edge_of_chaos():
    """χ = σ_w²·E[φ′²]: 1 for tanh at σ_w = 1; (σ_w/4)² for a sigmoid at small pre-activations."""
    tanh = viz.mean_field_theory([0.5, 0.999, 1.5], 0.0)
    assert tanh.chi[0] == pytest.approx(0.25, abs=1e-6)
    assert tanh.chi[1] < 1 < tanh.chi[2] + 1
    assert viz.mean_field_theory(2**0.5, 0.3, "relu").chi == pytest.approx(1.0, rel=1e-12)
    small = viz.mean_field_theory(1e-4, 0.0, "sigmoid")
    assert small.chi == pytest.approx(1e-8 / 16, rel=1e-6)
    assert viz.mean_field_theory(0.5, 0.0).xi == pytest.approx(-1 / np.log(0.25), rel=1e-5)


def test_the_largest_exponent_of_a_wide_net_is_half_the_log_of_chi(rng):
    """λ₁ → ½ ln χ.

    A product of independent Gaussian H×H matrices of variance χ/H grows at ½(ln χ + ln(2/H) +
    ψ(H/2)) = ½ ln χ − 1/(2H) + …; over T steps the estimate scatters by about 1/√(H·T). Here W is
    the same at every step, which adds correlations of order 1/H.
    """
    H, T = 128, 200
    layer = rc.RNN(16, H, dtype="float64", seed=2)
    weights = layer.state_dict()
    weights["weight_hh_l0"] = rng.normal(size=(H, H)) * 1.2 / H**0.5
    weights["weight_ih_l0"] = rng.normal(size=(H, 16)) / 4
    layer.load_state_dict(weights)
    x = rng.normal(size=(T, 1, 16))
    chi = viz.mean_field(layer.record(x))["l0"].chi
    largest = viz.lyapunov_spectrum(layer, x, warmup=40, n=1)[0]
    assert largest == pytest.approx(np.log(chi) / 2, abs=3 / H + 3 / (H * T) ** 0.5)
    theory = viz.mean_field_theory(1.2, viz.mean_field(layer.record(x))["l0"].sigma_b)
    # χ is a mean over H·T units and steps of which about T·H/16 are independent
    assert chi == pytest.approx(theory.chi, rel=0.05)


@pytest.mark.parametrize("N", [3, 8])
def test_a_delay_line_holds_as_many_steps_as_it_has_units(N):
    line = rc.RNN(1, N, nonlinearity="relu", bias=False, dtype="float64")
    line.load_state_dict({"weight_ih_l0": np.eye(N)[:, :1], "weight_hh_l0": np.eye(N, k=-1)})
    steps, lags = 2000, 2 * N
    r2 = viz.memory_curve(line, lags, steps=steps, low=0.0)
    np.testing.assert_allclose(r2[:N], 1, atol=1e-9)
    # the squared correlation of independent series is 1/steps on average, χ²-like: 15 never happen
    assert (r2[N:] < 15 / steps).all()
    capacity = viz.memory_capacity(line, lags, steps=steps, low=0.0)
    assert N <= capacity + 1e-9 <= N + (lags - N) * 15 / steps


def test_a_linear_readout_of_the_state_holds_at_most_its_width(rng):
    layer = make("rnn-tanh", 1, 6, dtype="float64")
    assert viz.memory_capacity(layer, 40, steps=2000) < 6 + 40 * 15 / 2000


def test_identity_relu_preserves_the_norm_of_the_gradient():
    tape = relu(np.eye(4)).record(np.ones((30, 1, 1)))
    g = np.zeros((30, 1, 4))
    g[-1] = [[1, -2, 3, 0.5]]
    tape.backward(g)
    np.testing.assert_allclose(viz.norm_preservation(tape), 1, **EXACT)
    np.testing.assert_allclose(viz.omega(tape), 0, atol=1e-20)


def test_dimension_and_entropy_follow_from_the_spectrum():
    assert viz.kaplan_yorke_dimension([-0.1, -1]) == 0
    assert viz.kaplan_yorke_dimension([1.0, 0.5]) == 2
    assert viz.kaplan_yorke_dimension([0.3, -0.2, -1.0]) == pytest.approx(2.1)
    assert viz.kaplan_yorke_dimension([-1.0, 0.3, -0.2]) == pytest.approx(2.1)  # any order
    assert viz.entropy_rate([0.3, -0.2, 0.1]) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="spectrum: got shape"):
        viz.entropy_rate([[1.0]])


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
def test_half_life_horizon_and_centroid_of_a_geometric_decay_are_exact(gamma):
    norms = gamma ** np.arange(500.0)[:, None]
    lag = np.arange(1, 500)
    assert viz.half_life(norms)[0] == np.floor(np.log(0.5) / np.log(gamma)) + 2
    assert viz.horizon(norms, 0.01)[0] == np.floor(np.log(0.01) / np.log(gamma)) + 1
    weight = gamma**lag
    assert viz.centroid(norms)[0] == pytest.approx((lag * weight).sum() / weight.sum(), rel=1e-9)
    assert viz.decay_rate(norms)[0] == pytest.approx(np.log(gamma), rel=1e-9)


def test_half_life_horizon_and_centroid_of_odd_curves_are_defined():
    holds, dies = np.ones((6, 1)), np.zeros((6, 1))
    assert (viz.horizon(holds)[0], viz.half_life(holds)[0]) == (5, np.inf)
    assert (viz.horizon(dies)[0], viz.half_life(dies)[0]) == (0, 1)
    assert np.isnan(viz.decay_rate(dies)[0])
    assert np.isnan(viz.centroid(dies)[0])
    short = np.array([[1.0], [np.nan]])
    for reading in (viz.horizon, viz.half_life, viz.decay_rate):
        assert np.isnan(reading(short)[0])
    with pytest.raises(ValueError, match=r"expected a tape, or an array \(T, B\)"):
        viz.horizon(np.ones((2, 2, 2)))


def test_the_helper_returns_random_input():
    """This guards the tests above against constant data."""
    x = random_input(make("gru", 3, 4), 50, 2, np.random.default_rng(0))
    assert x.std() == pytest.approx(1, abs=0.2)
