"""The debugger's measures against explicit Jacobians in float64 and against their definitions."""

import numpy as np
from support import parts, random_cotangents, random_state
from viz_twin import Explicit

from fuzz.layers import draw_layer
from rnncore import viz

# float64, but 1 − h² of a tanh near 1 (its argument is below 8 here, so 1 − h² above 1e-7) holds nine digits fewer
TIGHT = {"rtol": 1e-7, "atol": 1e-12}


def equal(got, expected, **tolerance):
    np.testing.assert_allclose(got, expected, **(TIGHT | tolerance))


def measures(draw):
    layer = draw_layer(draw, layers=2, dtype="float64", batch_first=False)
    T, B = draw.size("T", 1, 7), draw.size("B", 1, 3)
    H, D = layer.structure.output_size, 1 + layer.bidirectional
    direction = draw.one_of("direction", ("forward", "reverse")) if D == 2 else "forward"
    x, state = 0.3 * draw.normal(T, B, layer.input_size), random_state(layer, B, draw.rng)
    lengths = draw.rng.integers(0, T + 1, B) if draw.flag("ragged") else None
    tape = layer.record(x, state, lengths=lengths)
    explicit = Explicit(layer, x, state, lengths, direction)
    g, final = random_cotangents(layer, T, B, draw.rng)
    back = explicit.twin.backward(explicit.run, np.where(explicit.run.valid[..., None], g, 0), parts(final))
    tape.backward(g, final)

    for name, size in viz.gradient_flow(tape).items():
        equal(size, np.linalg.norm(back.values[name], axis=-1))
    norms = viz.jacobian_norms(tape, direction)
    equal(norms, explicit.norms())
    n = draw.size("n", 1, 4)
    lags, sigma = viz.singular_values(tape, n=n, every=draw.size("every", 1, 3), direction=direction)
    for b in range(B):
        for i, lag in enumerate(lags):
            inside = lag < explicit.lengths[b] or (lag == 0 and explicit.lengths[b] > 0)
            if inside:
                s = np.linalg.svd(explicit.product(b, lag), compute_uv=False)[:n]
                equal(sigma[i, b], s, atol=1e-13 * max(s[0], 1e-300))
            else:
                assert np.isnan(sigma[i, b]).all()
    equal(viz.dependency_map(tape, g, direction), explicit.dependency(g))
    steps(draw, tape, explicit, back)
    by_walk(draw, tape, explicit, g, final, direction)
    if layer.num_layers == 1 or D == 1:
        own_input(tape, explicit, g, H)


def steps(draw, tape, explicit, back):
    """Measures that are sums of the tape's arrays over steps."""
    run, valid = explicit.run, explicit.run.valid
    low, high = sorted(draw.rng.random(2))
    for name, share in viz.saturation(tape, low, high).items():
        values = run.values[name][valid]
        near = np.abs(values[..., None] - [low, high]).min(initial=1) < 1e-9
        if values.size and not near:
            equal(share.low, (values < low).mean(0))
            equal(share.high, (values > high).mean(0))
    if tape.mode != "RNN" and valid.any():
        gate = {"LSTM": "f", "GRU": "z"}[tape.mode]
        for name, tau in viz.timescales(tape).items():
            with np.errstate(divide="ignore"):
                equal(tau, -1 / np.log(run.values[f"{name}.{gate}"][valid]).mean(0))
    shares = viz.step_share(tape)
    for name, scan in ((n, s) for layer, ss in enumerate(run.scans) for n, s in zip(ends(layer), ss, strict=False)):
        prefix = name.replace("_l", "l").replace("_reverse", ".reverse")
        delta = np.linalg.norm(deltas(tape, back, run, prefix), axis=-1) * valid
        read = {"weight_ih": [scan.steps[t][0] for t in range(tape.T)]}
        if tape.mode != "GRU":  # whose candidate's rows see another state
            read["weight_hh"] = [scan.steps[t][1][0] for t in range(tape.T)]
        for weight, values in read.items():
            size = delta * np.linalg.norm(values, axis=-1)
            with np.errstate(invalid="ignore", divide="ignore"):
                equal(shares[weight + name], np.nan_to_num(size / size.sum(0)))


def ends(layer):
    return f"_l{layer}", f"_l{layer}_reverse"


def deltas(tape, back, run, prefix):
    """(T, B, G·H): ∂L/∂(pre-activation), of all gates side by side."""
    if tape.mode == "RNN":
        h = run.values[f"{prefix}.h"]
        slope = {"tanh": 1 - h * h, "relu": (h > 0) * 1.0, "sigmoid": h * (1 - h)}[tape.layer.nonlinearity]
        return back.values[f"{prefix}.h"] * slope
    return np.concatenate([back.values[f"{prefix}.{k}"] for k in ("ifgo" if tape.mode == "LSTM" else "rzn")], axis=-1)


def by_walk(draw, tape, explicit, g, final, direction):
    """Norm preservation: each step's Jacobian on the gradient that arrives."""
    layer, d = tape.layer, int(direction == "reverse")
    D, L = 1 + layer.bidirectional, layer.num_layers
    carry = np.concatenate([a[i * D + d] for a in parts(final) for i in range(L)], axis=-1)
    expected = explicit.preservation(g, carry)
    if L == 1 or D == 1:  # else the other direction's cotangents arrive in the layers below, too
        found = viz.norm_preservation(tape, final, direction)
        arrives = np.nan_to_num(expected) > 0
        equal(found[arrives], expected[arrives], rtol=1e-7)
        equal(viz.omega(tape, final, direction), np.nansum((found - 1) ** 2, axis=0))
    if (explicit.lengths == tape.T).all() and tape.T > 2 and direction == "forward":
        with np.errstate(divide="ignore"):
            lags, values = np.arange(tape.T), np.log(viz.jacobian_norms(tape, direction))
        slopes = [np.polyfit(lags[1:], values[1:, b], 1)[0] for b in range(tape.B)]
        if np.isfinite(slopes).all():
            equal(viz.decay_rate(tape), slopes, rtol=1e-6, atol=1e-9)


def own_input(tape, explicit, g, H):
    """Connectivity: one backward pass per step, and its gradient with respect to the input."""
    found = viz.connectivity(tape, g, scaled=False)
    judge, valid = explicit.twin, explicit.run.valid
    for s in range(tape.T):
        one = np.zeros_like(g)
        one[s] = np.where(valid[s][:, None], g[s], 0)
        rows = np.linalg.norm(judge.backward(explicit.run, one).input, axis=-1)
        for b in range(tape.B):
            if valid[s, b]:
                inside = valid[:, b] & (np.ones(tape.T, bool) if tape.layer.bidirectional else np.arange(tape.T) <= s)
                equal(found[s, inside, b], rows[inside, b])
                assert np.isnan(found[s, ~inside, b]).all()


def exponents(draw):
    """Lyapunov exponents by one QR per step, and quantities derived from a spectrum."""
    layer = draw_layer(draw, layers=2, dtype="float64", bidirectional=False, batch_first=False)
    T, B, warmup = draw.size("T", 3, 9), draw.size("B", 1, 2), draw.size("warmup", 0, 2)
    x, state = 0.3 * draw.normal(T, B, layer.input_size), random_state(layer, B, draw.rng)
    spectrum = viz.lyapunov_spectrum(layer, x, warmup, state=state)
    assert (spectrum[1:] <= spectrum[:-1]).all()
    S = len(spectrum)
    explicit = Explicit(layer, x, state)
    # the sum of all exponents is the mean log volume of the steps counted, whatever the frames are
    align = min(warmup, (T - warmup) // 2)
    counted = explicit.J[warmup : T - align]
    with np.errstate(divide="ignore"):
        volume = np.log(np.abs(np.linalg.det(counted))).sum() / B / len(counted)
    if np.isfinite(volume) and volume > -20 * S:
        equal(spectrum.sum(), volume, rtol=1e-5, atol=1e-6)
    _, estimate = viz.lyapunov_convergence(layer, x, warmup, state=state)
    equal(estimate[-1], spectrum)
    if np.isfinite(spectrum).all():
        assert 0 <= viz.kaplan_yorke_dimension(spectrum) <= S
    equal(viz.entropy_rate(spectrum), spectrum[spectrum > 0].sum())
