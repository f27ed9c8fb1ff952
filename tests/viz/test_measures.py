"""Every other measure equals a plain numpy twin, for every cell, one and two layers."""

import subprocess
import sys

import numpy as np
import pytest
from support import CELLS, KINDS, make, parts, random_input, random_state
from twin import Twin
from viz_twin import Explicit

import rnncore as rc
from rnncore import viz

# float64 sums over at most a few hundred terms
TIGHT = {"rtol": 1e-11, "atol": 1e-14}
ALL = pytest.mark.parametrize(("cell", "layers"), [(c, n) for c in KINDS for n in (1, 2)])


def recorded(cell, layers, rng, T=7, B=3, H=4, lengths=(7, 4, 1), **options):
    layer = make(cell, 3, H, layers, dtype="float64", **options)
    x, state = random_input(layer, T, B, rng), random_state(layer, B, rng)
    lengths = np.array(lengths)
    run = Twin.of(layer).forward(x, parts(state), lengths)
    return layer, x, state, lengths, layer.record(x, state, lengths=lengths), run


def steps_of(run, name):
    """(steps, H): the values of all valid steps."""
    return run.values[name][run.valid]


@ALL
def test_gradient_flow_is_that_of_the_twin(cell, layers, rng):
    layer, _, _, _, tape, run = recorded(cell, layers, rng, bidirectional=layers == 2)
    g = rng.normal(size=run.output.shape)
    tape.backward(g)
    expected = Twin.of(layer).backward(run, g).values
    flow = viz.gradient_flow(tape)
    assert set(flow) == {n for n in expected if n.endswith((".h", ".c"))}
    for name, size in flow.items():
        np.testing.assert_allclose(size, np.linalg.norm(expected[name], axis=-1), **TIGHT)


def test_gradient_flow_does_not_underflow():
    tape = make("rnn-tanh", 2, 4, dtype="float64").record(np.ones((1, 1, 2)))
    tape.backward(np.full((1, 1, 4), 1e-200))
    assert viz.gradient_flow(tape)["l0.h"][0, 0] == pytest.approx(2e-200, rel=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("cell", "gate"), [("lstm", "f"), ("gru", "z"), ("gru-reset-before", "z")])
def test_timescales_are_those_of_the_twin(cell, gate, layers, rng):
    _, _, _, _, tape, run = recorded(cell, layers, rng, bidirectional=layers == 2)
    scales = viz.timescales(tape)
    directions = [""] if layers == 1 else ["", ".reverse"]
    assert list(scales) == [f"l{i}{d}" for i in range(layers) for d in directions]
    for name, tau in scales.items():
        expected = -1 / np.log(steps_of(run, f"{name}.{gate}")).mean(0)
        np.testing.assert_allclose(tau, expected, **TIGHT)


@ALL
def test_saturation_is_that_of_the_twin(cell, layers, rng):
    _, _, _, _, tape, run = recorded(cell, layers, rng)
    shares = viz.saturation(tape, 0.4, 0.6)
    gates = {"LSTM": "ifo", "GRU": "rz"}.get(tape.mode, "")
    assert list(shares) == [f"l{i}.{g}" for i in range(layers) for g in gates]
    for name, share in shares.items():
        values = steps_of(run, name)
        np.testing.assert_allclose(share.low, (values < 0.4).mean(0), **TIGHT)
        np.testing.assert_allclose(share.high, (values > 0.6).mean(0), **TIGHT)
        assert (share.low + share.high > 0).any()


@pytest.mark.parametrize("bidirectional", [False, True])
@ALL
def test_step_share_is_that_of_each_steps_own_term(cell, layers, bidirectional, rng):
    """A step's term of ∂L/∂W is the result of `backward` when only that step contributes to the weights' gradient."""
    layer, _, _, lengths, tape, run = recorded(cell, layers, rng, bidirectional=bidirectional)
    g = rng.normal(size=run.output.shape)
    tape.backward(g)
    share = viz.step_share(tape)
    twin = Twin.of(layer)
    assert set(share) == {n for n in layer.state_dict() if n.startswith(("weight_ih", "weight_hh"))}
    expected = untied_norms(twin, run, g)
    for name in share:
        size = expected[name]
        size = size / np.where(size.sum(0) > 0, size.sum(0), 1)
        np.testing.assert_allclose(share[name], size, rtol=1e-9, atol=1e-14)
    assert lengths.min() == 1


def untied_norms(twin, run, g):
    """weight -> (T, B): the Frobenius norm of every step's and row's own term of ∂L/∂W."""
    T, B, _ = run.output.shape
    found = {}
    for b in range(B):
        for t in range(T):
            total = collect(twin, run, g, b, t)
            for name, term in total.items():
                found.setdefault(name, np.zeros((T, B)))[t, b] = np.linalg.norm(term)
    return found


def collect(twin, run, g, b, t):
    """The terms of one step and row, by zeroing what all the others contribute."""
    import twin as module

    def only(scan):
        """weight_products sees one step at a time: keep this one's row b, zero the rest."""
        seen = iter(reversed(scan.order))

        def products(da_x, x, da_h, s, terms, *projected):
            keep = np.zeros((len(x), 1))
            keep[b] = next(seen) == t
            return original(da_x * keep, x, da_h * keep, s, None if terms is None else terms * keep, *projected)

        return products

    original, scan_back = module.weight_products, twin._scan_back

    def watched(scan, *rest):
        module.weight_products = only(scan)
        return scan_back(scan, *rest)

    twin._scan_back = watched
    try:
        grads = twin.backward(run, g).parameters
    finally:
        module.weight_products, twin._scan_back = original, scan_back
    return {n: a for n, a in grads.items() if n.startswith("weight")}


@ALL
def test_connectivity_equals_finite_differences(cell, layers, rng):
    layer, x, state, lengths, tape, _ = recorded(cell, layers, rng, bidirectional=layers == 2)
    v = rng.normal(size=tape.output.shape)
    tape.backward(v)
    before = tape.grad["l0.h"].copy()
    found = viz.connectivity(tape, v, scaled=False)
    np.testing.assert_array_equal(tape.grad["l0.h"], before)

    def logits(x):  # (T, B)
        return (layer(x, state, lengths=lengths)[0] * v).sum(-1)

    step, expected = 1e-6, np.zeros((7, 7, 3))
    for t in range(7):
        for i in range(3):
            dx = np.zeros_like(x)
            dx[t, :, i] = step
            expected[:, t] += ((logits(x + dx) - logits(x - dx)) / (2 * step)) ** 2
    expected = np.sqrt(expected)
    valid = np.arange(7)[:, None] < lengths
    seen = valid[:, None] & valid[None]
    if layers == 1:
        seen &= np.tril(np.ones((7, 7), bool))[:, :, None]
    np.testing.assert_array_equal(np.isnan(found), ~seen)
    # central differences: error h² of the third derivative and eps/h of rounding
    np.testing.assert_allclose(found[seen], expected[seen], atol=1e-8)
    scaled, largest = viz.connectivity(tape, v), np.nan_to_num(found).max(1)
    np.testing.assert_allclose(
        scaled[seen], (found / np.where(largest > 0, largest, 1)[:, None])[seen], rtol=1e-12
    )


def test_connectivity_refuses_a_tape_that_is_out_of_date(rng):
    layer, *_, tape, _ = recorded("gru", 1, rng)
    weights = layer.state_dict()
    weights["bias_hh_l0"] += 0.5
    layer.load_state_dict(weights)
    with pytest.raises(ValueError, match="record again"):
        viz.connectivity(tape, np.ones(tape.output.shape))


@ALL
def test_integrated_gradients_are_complete_and_equal_a_midpoint_sum(cell, layers, rng):
    layer, x, state, lengths, tape, _ = recorded(cell, layers, rng)
    base, v = rng.normal(size=x.shape) / 4, rng.normal(size=tape.output.shape)

    def F(y):
        return (v * y**2).sum((0, 2)), 2 * v * y

    found = viz.integrated_gradients(layer, x, F, base, 24, state=state, lengths=lengths)
    valid = (np.arange(7)[:, None] < lengths)[..., None]
    difference = (
        F(layer(x, state, lengths=lengths)[0])[0] - F(layer(base, state, lengths=lengths)[0])[0]
    )
    np.testing.assert_allclose(found.value.sum((0, 2)) + found.residual, difference, **TIGHT)
    # smooth cells: Gauss–Legendre of 24 points; a ReLU's path has kinks, each an error of 1/points²
    assert np.abs(found.residual).max() < (0.05 if cell == "rnn-relu" else 1e-7)
    twin, points = Twin.of(layer), 400          # all of them are rows of one batch
    share = (np.arange(points)[:, None, None] + 0.5) / points
    between = (base[:, None] + share * (x - base)[:, None]).reshape(7, -1, 3)
    run = twin.forward(between, [np.tile(part, (1, points, 1)) for part in parts(state)], np.tile(lengths, points))
    slopes = twin.backward(run, 2 * np.tile(v, (1, points, 1)) * run.output).input
    expected = np.where(valid, (x - base) * slopes.reshape(7, points, 3, 3).mean(1), 0)
    # the midpoint rule's own error is curvature/(24·points²); for kinks 1/points of the jump
    tol = 2e-2 if cell == "rnn-relu" else 1e-4
    np.testing.assert_allclose(found.value, expected, atol=tol)
    np.testing.assert_array_equal(found.per_step, found.value.sum(-1))


def test_integrated_gradients_take_a_linear_readout_in_every_layout(rng):
    layer = make("lstm", 3, 4, dtype="float64", batch_first=True, bidirectional=True)
    x, v = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 8))
    found = viz.integrated_gradients(layer, x, v)
    assert found.value.shape == (5, 2, 3)
    ends = ((layer(a)[0] * v).sum((1, 2)) for a in (x, 0 * x))
    np.testing.assert_allclose(found.value.sum((0, 2)), next(ends) - next(ends), rtol=1e-8)
    with pytest.raises(ValueError, match="readout: got shape"):
        viz.integrated_gradients(layer, x, v[:, :2])


@ALL
def test_omission_equals_running_without_each_step(cell, layers, rng):
    layer, x, state, lengths, *_ = recorded(cell, layers, rng)
    found, twin = viz.omission(layer, x, state=state, lengths=lengths), Twin.of(layer)

    def final(x, b):
        own = tuple(s[:, b : b + 1] for s in parts(state))
        return np.concatenate([s[:, 0].ravel() for s in twin.forward(x[:, b : b + 1], own).state])

    for b, n in enumerate(lengths):
        full = final(x[:n], b)
        for i in range(n):
            other = final(np.delete(x[:n], i, axis=0), b)
            lengths_of_both = np.linalg.norm(full) * np.linalg.norm(other)
            cosine = full @ other / lengths_of_both if lengths_of_both else np.nan
            assert found[i, b] == pytest.approx(1 - cosine, abs=1e-13, nan_ok=True)
        assert np.isnan(found[n:, b]).all()


@ALL
def test_context_cut_equals_running_on_the_last_inputs(cell, layers, rng):
    layer, x, state, _, tape, _ = recorded(cell, layers, rng)
    target = rng.normal(size=tape.output.shape[1:])

    def loss(y):
        return ((y - target) ** 2).sum(-1)

    contexts, change = viz.context_cut(layer, x, loss, state=state)
    assert contexts.tolist() == [1, 2, 4, 7]
    twin = Twin.of(layer)
    full = loss(twin.forward(x, parts(state)).output[-1])
    for k, found in zip(contexts[:-1], change, strict=False):
        np.testing.assert_allclose(found, loss(twin.forward(x[-k:]).output[-1]) - full, **TIGHT)
    assert (change[-1] == 0).all()
    for contexts in ([0, 3], [8], [], 3, [2.5], [True], np.inf):
        with pytest.raises(ValueError, match=r"contexts: got .*, expected whole numbers from 1 to 7"):
            viz.context_cut(layer, x, loss, contexts)
    with pytest.raises(ValueError, match="one loss for every row"):
        viz.context_cut(layer, x, lambda y: y)


@ALL
def test_a_memory_curve_is_that_of_a_plain_ridge_regression(cell, layers, rng):
    layer = make(cell, 2, 3, layers, dtype="float64")
    found = viz.memory_curve(layer, 5, steps=60, washout=10, ridge=1e-6, seed=3)
    u = np.random.default_rng(3).uniform(-1, 1, 130)
    values = Twin.of(layer).forward(np.stack([u, u], -1)[:, None]).values
    names = [f"l{i}.{p}" for p in ("h", "c") for i in range(layers) if f"l{i}.{p}" in values]
    S = np.concatenate([values[n][:, 0] for n in names], -1)[10:]
    A = S[:60] - S[:60].mean(0)
    penalty = 1e-6 * (A**2).sum() / A.shape[1]
    for k in range(5):
        want = u[10 - k : 130 - k]
        w = np.linalg.solve(
            A.T @ A + penalty * np.eye(A.shape[1]), A.T @ (want[:60] - want[:60].mean())
        )
        r = np.corrcoef(S[60:] @ w, want[60:])[0, 1]
        assert found[k] == pytest.approx(r**2, abs=1e-7)  # the normal equations' own rounding
    with pytest.raises(ValueError, match="contains future inputs"):
        viz.memory_curve(make(cell, 1, 3, bidirectional=True))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn-tanh", "rnn-sigmoid", "gru", "gru-reset-before", "lstm"])
def test_a_lyapunov_spectrum_is_that_of_explicit_jacobians(cell, layers, rng):
    layer = make(cell, 3, 4, layers, dtype="float64")
    x, state = random_input(layer, 60, 2, rng), random_state(layer, 2, rng)
    expected = Explicit(layer, x, state).lyapunov(warmup=12)
    found = viz.lyapunov_spectrum(layer, x, 12, state=state)
    # R's smallest diagonal element keeps 6 digits between two of our QRs
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    steps, running = viz.lyapunov_convergence(layer, x, 12, state=state)
    assert steps[-1] == 36
    np.testing.assert_array_equal(running[-1], found)
    single = make(cell, 3, 4, layers)
    single.load_state_dict(layer.state_dict())
    weights_rounded = viz.lyapunov_spectrum(single, x, 12, state=state)
    np.testing.assert_allclose(weights_rounded, found, atol=1e-4)


@pytest.mark.parametrize(("H", "tol"), [(40, 1e-9), (70, 1e-3)])
def test_a_lyapunov_spectrum_of_a_wide_layer_is_that_of_explicit_jacobians(H, tol, rng):
    """Above the width at which panels replace Householder's QR, and above that of a QR every step."""
    layer = make("lstm", 3, H, dtype="float64")
    x = random_input(layer, 30, 1, rng)
    found, expected = viz.lyapunov_spectrum(layer, x), Explicit(layer, x).lyapunov()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tol)
    np.testing.assert_allclose(found[:H], expected[:H], rtol=0, atol=1e-9)


def test_dead_units_have_an_exponent_of_minus_infinity(rng):
    """A ReLU unit that is never on loses its direction at once."""
    layer = rc.RNN(1, 2, nonlinearity="relu", bias=False)
    layer.load_state_dict({"weight_ih_l0": [[1.0], [-1.0]], "weight_hh_l0": np.eye(2) / 2})
    spectrum = viz.lyapunov_spectrum(layer, np.ones((20, 1, 1)), warmup=5)
    np.testing.assert_allclose(spectrum, [np.log(0.5), -np.inf])
    with pytest.raises(ValueError, match="expected 0 <= warmup < steps"):
        viz.lyapunov_spectrum(layer, np.ones((5, 1, 1)), warmup=5)


@pytest.mark.parametrize("cell", CELLS)
def test_chi_is_the_mean_squared_singular_value(cell, rng):
    """χ is the mean squared singular value: of random weights within their scatter, RNN's exactly
    where units are exchangeable."""
    H, T = 150, 12
    layer = make(cell, 4, H, dtype="float64")
    weights = layer.state_dict()
    weights["weight_hh_l0"] = rng.normal(size=weights["weight_hh_l0"].shape) * 0.8 / H**0.5
    layer.load_state_dict(weights)
    x = random_input(layer, T, 1, rng)
    found = viz.mean_field(layer.record(x))["l0"]
    explicit = Explicit(layer, x)
    J = explicit.J[2:, 0]
    if cell == "lstm":  # ∂c_t/∂c_{t-1}, with h_{t-1} = o·tanh(c_{t-1}) at a fixed o
        v = explicit.run.values
        slope = v["l0.o"][1:-1, 0] * (1 - np.tanh(v["l0.c"][1:-1, 0]) ** 2)
        J = J[:, H:, H:] + J[:, H:, :H] * slope[:, None, :]
    expected = np.square(J).sum((1, 2)).mean() / H
    # a mean over H² weights times H units: relative scatter of a few /√H/√T; the first 2 of 12
    # steps are not in the twin's mean
    assert found.chi == pytest.approx(expected, rel=0.12)
    assert found.xi == pytest.approx(-1 / np.log(found.chi), rel=1e-12)
    if cell.startswith("rnn"):
        W = weights["weight_hh_l0"]
        assert found.sigma_w == pytest.approx(np.linalg.norm(W) / H**0.5, rel=1e-12)
        a = {"tanh": np.arctanh, "sigmoid": lambda h: np.log(h / (1 - h))}.get(cell[4:])
        if a:
            h = explicit.run.values["l0.h"][:, 0]
            assert found.q == pytest.approx(np.square(a(h)).mean(), rel=1e-9)


@pytest.mark.parametrize("bad", [viz.timescales, viz.gradient_flow, viz.step_share])
def test_a_tape_without_what_is_measured_is_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        bad(make("rnn-tanh", 3, 4).record(np.ones((5, 1, 3))))


def test_measures_do_not_import_matplotlib():
    code = (
        "import sys, numpy as np, rnncore as rc\n"
        "from rnncore import viz\n"
        "tape = rc.LSTM(2, 3).record(np.ones((5, 1, 2)))\n"
        "viz.jacobian_norms(tape), viz.saturation(tape), dir(viz)\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(("options", "name"), [
    ({"low": np.nan}, "low"), ({"high": [1.0]}, "high"), ({"low": 1.0, "high": 1.0}, "low, high"),
    ({"low": -1e308, "high": 1e308}, "low, high"), ({"ridge": -1.0}, "ridge"), ({"seed": "a"}, "seed"),
])
def test_wrong_settings_of_a_memory_curve_are_refused_by_name(options, name):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: got"):
        viz.memory_curve(make("gru", 1, 3), 2, steps=20, washout=2, **options)
