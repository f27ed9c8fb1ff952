"""Networks whose output is known in closed form."""

import numpy as np
import pytest
from support import CELLS, close, make, random_state, whole

EPS = np.finfo(np.float64).eps


def blank(cell, I, H, layers=1, dtype="float64", **set_):
    """A layer with all weights 0 except for those given by name."""
    layer = make(cell, I, H, layers, dtype=dtype)
    with layer.writable() as p:
        for a in p.values():
            a[...] = 0
        for name, value in set_.items():
            p[name][...] = value
    return layer


def lags(tape):
    """Spectral norms of ∂s_T/∂s_{T−k}, k = 1…T, of the first row, from a pullback."""
    out = []
    for carry in tape.pullback():
        v = carry.value[:, 0].astype(np.float64) * np.exp(carry.log_scale[:, :1])
        out.append(np.linalg.norm(v, 2))
    return np.array(out)


def test_running_sum_is_exact(rng):
    """ReLU with W = U = I: h_t is the sum of the inputs, exactly, since they are integers."""
    for dtype in ("float32", "float64"):
        layer = blank("rnn-relu", 9, 9, dtype=dtype, weight_ih_l0=np.eye(9), weight_hh_l0=np.eye(9))
        x = rng.integers(1, 50, size=(40, 3, 9))
        y, _ = layer(x)
        assert np.array_equal(y, np.cumsum(x, 0))
        grads = layer.record(x).backward(np.ones_like(y))
        left = np.arange(40, 0, -1).reshape(-1, 1, 1)  # x_t is in every sum from t on
        assert np.array_equal(grads.input, np.broadcast_to(left, x.shape))


def test_relu_with_weight_1_1_grows_by_a_tenth_per_step():
    """U = 1.1·I, positive states: every Jacobian is 1.1·I, the lag-k norm exactly 1.1ᵏ."""
    H, T = 5, 60
    layer = blank("rnn-relu", 1, H, weight_hh_l0=1.1 * np.eye(H))
    h0 = np.linspace(1, 2, H).reshape(1, 1, H)
    tape = layer.record(np.zeros((T, 1, 1)), h0)
    k = np.arange(1, T + 1)
    # one rounding a step, and exp(log_scale)
    assert np.abs(lags(tape) / 1.1**k - 1).max() <= (T + 60) * EPS
    close(tape.output[:, 0], 1.1 ** k[:, None] * h0[0], T * EPS)
    grads = tape.backward(None, np.ones((1, 1, H)))
    close(grads.state, np.full((1, 1, H), 1.1**T), T * EPS)
    close(tape.grad["l0.h"][:, 0, 0], 1.1 ** (T - k.astype(float)), T * EPS)


def test_relu_dead_units_pass_nothing():
    layer = blank("rnn-relu", 1, 3, weight_hh_l0=np.eye(3), bias_ih_l0=-10)
    tape = layer.record(np.zeros((4, 1, 1)), np.ones((1, 1, 3)))
    grads = tape.backward(np.ones((4, 1, 3)), np.ones((1, 1, 3)))
    assert not tape.output.any()
    assert not grads.state.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_falls_at_least_by_four(dtype, rng):
    """σ′ ≤ ¼, U orthogonal: the lag-k norm stays under 4⁻ᵏ, far below what float32 holds."""
    H, T = 12, 200
    u = np.linalg.qr(rng.normal(size=(H, H)))[0]
    layer = blank(
        "rnn-sigmoid", 3, H, dtype=dtype, weight_hh_l0=u, weight_ih_l0=rng.normal(size=(H, 3))
    )
    logs = []
    for carry in layer.record(rng.normal(size=(T, 1, 3))).pullback():
        v = carry.value[:, 0].astype(np.float64)
        top = carry.log_scale[:, 0].max()
        scaled = v * np.exp(carry.log_scale[:, :1] - top)
        logs.append(np.log(np.linalg.norm(scaled, 2)) + top)
    k = np.arange(1, T + 1)
    assert (np.array(logs) <= -k * np.log(4) + k * 8 * np.finfo(dtype).eps).all()
    assert np.isfinite(logs).all()
    assert logs[-1] < np.log(np.finfo("float32").smallest_subnormal)


@pytest.mark.parametrize("b", [-1.0, 0.0, 1.0, 3.0])
def test_lstm_without_weights_forgets_by_its_bias(b):
    """Zero weights, forget bias b: ratio of successive lags σ(b); τ(1) = 3.19 steps."""
    f = 1 / (1 + np.exp(-b))
    bias = np.repeat([0, b, 0, 0], 4)
    layer = blank("lstm", 2, 4, bias_ih_l0=bias)
    tape = layer.record(np.zeros((12, 1, 2)), (np.zeros((1, 1, 4)), np.full((1, 1, 4), 0.3)))
    norms = lags(tape)
    assert np.abs(norms[1:] / norms[:-1] / f - 1).max() <= 200 * EPS
    close(tape["l0.c"][:, 0, 0], 0.3 * f ** np.arange(1, 13), 100 * EPS)
    close(tape["l0.h"][:, 0, 0], 0.5 * np.tanh(0.3 * f ** np.arange(1, 13)), 100 * EPS)
    if b == 1:
        assert abs(-1 / np.log(norms[5] / norms[4]) - 3.1922) < 1e-3


@pytest.mark.parametrize("cell", ["gru", "gru-reset-before"])
def test_gru_without_weights_halves_its_state(cell):
    """z = ½, n = 0: h halves at every step, exactly; so does the gradient."""
    layer = blank(cell, 2, 5)
    h0 = np.arange(1.0, 6).reshape(1, 1, 5)
    tape = layer.record(np.ones((9, 1, 2)), h0)
    halves = 0.5 ** np.arange(1, 10)
    close(tape.output[:, 0], halves[:, None] * h0[0], 10 * EPS)
    close(lags(tape), halves, 100 * EPS)
    close(tape.backward(None, np.ones((1, 1, 5))).state, np.full((1, 1, 5), halves[-1]), 10 * EPS)


@pytest.mark.parametrize("cell", ["gru", "gru-reset-before"])
def test_gru_with_a_saturated_update_gate_keeps_its_state(cell, rng):
    """z = 1: h stays what it was. z is the weight of the OLD state, not of the candidate."""
    bias = np.repeat([0.0, 200.0, 0.0], 5)
    layer = blank(
        cell,
        2,
        5,
        weight_ih_l0=rng.normal(size=(15, 2)) * np.repeat([1, 0, 1], 5)[:, None],
        bias_ih_l0=bias,
    )
    h0 = random_state(layer, 3, rng)
    y, h = layer(rng.normal(size=(50, 3, 2)), h0)
    close(h, h0, 50 * EPS)
    assert y.shape == (50, 3, 5)


def test_lstm_with_open_gates_counts():
    """Gates open (σ(50) = 1), g = tanh(50·x) = ±1: the cell counts."""
    bias = np.repeat([60.0, 60.0, 0.0, 60.0], 3)
    w = np.repeat([0.0, 0.0, 50.0, 0.0], 3)[:, None]
    for dtype in ("float32", "float64"):
        layer = blank("lstm", 1, 3, dtype=dtype, weight_ih_l0=w, bias_ih_l0=bias)
        signs = np.array([1, 1, -1, 1, 1, 1, -1, 1])
        tape = layer.record(signs.reshape(-1, 1, 1))
        assert np.abs(tape["l0.c"][:, 0, 0] - np.cumsum(signs)).max() <= 8 * np.finfo(dtype).eps * 8


@pytest.mark.parametrize("gate", range(4))
def test_lstm_gate_order_is_i_f_g_o(gate):
    """One gate's bias moved at a time: only that name moves."""
    bias = np.zeros(12)
    bias[3 * gate : 3 * gate + 3] = [1.0, -2.0, 0.5]
    tape = blank("lstm", 1, 3, bias_ih_l0=bias).record(np.zeros((1, 1, 1)))
    for k, name in enumerate("ifgo"):
        a = bias[3 * k : 3 * k + 3]
        expected = np.tanh(a) if name == "g" else 1 / (1 + np.exp(-a))
        assert np.abs(tape[f"l0.{name}"][0, 0] - expected).max() <= 4 * EPS


@pytest.mark.parametrize("cell", ["gru", "gru-reset-before"])
@pytest.mark.parametrize("gate", range(3))
def test_gru_gate_order_is_r_z_n(cell, gate):
    bias = np.zeros(9)
    bias[3 * gate : 3 * gate + 3] = [1.0, -2.0, 0.5]
    tape = blank(cell, 1, 3, bias_ih_l0=bias).record(np.zeros((1, 1, 1)))
    for k, name in enumerate("rzn"):
        a = bias[3 * k : 3 * k + 3]
        expected = np.tanh(a) if name == "n" else 1 / (1 + np.exp(-a))
        assert np.abs(tape[f"l0.{name}"][0, 0] - expected).max() <= 4 * EPS
    inside = blank(cell, 1, 3, bias_hh_l0=bias).record(np.zeros((1, 1, 1)))
    close(inside["l0.hn"][0, 0], bias[6:], 4 * EPS)
    scale = 0.5 if cell == "gru" else 1  # r = ½ is on the recurrent bias only when it comes after
    assert np.abs(inside["l0.n"][0, 0] - np.tanh(scale * bias[6:])).max() <= 4 * EPS


@pytest.mark.parametrize("cell", CELLS)
def test_units_are_interchangeable(cell, rng):
    """Renaming the hidden units renames the outputs, nothing else (sums change order: ulps)."""
    H = 19
    a, b = make(cell, 3, H, dtype="float64"), make(cell, 3, H, dtype="float64", seed=1)
    order = rng.permutation(H)
    G = len(a.parameters["bias_ih_l0"]) // H
    rows = (np.arange(G)[:, None] * H + order).ravel()
    d = {k: v[rows] for k, v in a.state_dict().items()}
    d["weight_hh_l0"] = d["weight_hh_l0"][:, order]
    b.load_state_dict(d)
    x = rng.normal(size=(9, 4, 3))
    s0 = random_state(a, 4, rng)
    moved = whole(b, [v[..., order] for v in (s0 if isinstance(s0, tuple) else (s0,))])
    close(b(x, moved)[0], a(x, s0)[0][..., order], 1e-13)
