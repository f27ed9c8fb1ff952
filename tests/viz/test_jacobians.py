"""Measures of the carry equal explicit products of Jacobians, for every cell and depth."""

import numpy as np
import pytest
from rnncore.viz.measures._spectral import SpectralNorm
from support import KINDS, make, random_input, random_state
from viz_twin import Explicit

from rnncore import viz

# Products of at most 9 float64 matrices, 16×16 at most: rounding stays far below the documented 1e-9.
TIGHT = {"rtol": 1e-9, "atol": 0}


def case(cell, layers, rng, T=9, B=3, H=4, lengths=(9, 5, 0), **options):
    layer = make(cell, 3, H, layers, dtype="float64", **options)
    x, state = random_input(layer, T, B, rng), random_state(layer, B, rng)
    return layer, x, state, np.array(lengths)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", KINDS)
def test_jacobian_norms_are_those_of_explicit_products(cell, layers, rng):
    layer, x, state, lengths = case(cell, layers, rng)
    norms = viz.jacobian_norms(layer.record(x, state, lengths=lengths))
    np.testing.assert_allclose(norms, Explicit(layer, x, state, lengths).norms(), **TIGHT)
    assert norms.dtype == np.float64
    np.testing.assert_array_equal(norms[0], [1, 1, np.nan])
    assert np.isnan(norms[5:, 1]).all()
    assert not np.isnan(norms[:5, 1]).any()


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("cell", ["rnn-tanh", "gru", "lstm"])
def test_each_direction_of_a_bidirectional_stack_is_measured_by_itself(cell, direction, rng):
    layer, x, state, lengths = case(cell, 2, rng, bidirectional=True)
    tape = layer.record(x, state, lengths=lengths)
    explicit = Explicit(layer, x, state, lengths, direction)
    np.testing.assert_allclose(viz.jacobian_norms(tape, direction), explicit.norms(), **TIGHT)
    g = rng.normal(size=(9, 3, 8))
    np.testing.assert_allclose(
        viz.dependency_map(tape, g, direction), explicit.dependency(g), **TIGHT
    )


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn-sigmoid", "gru-reset-before", "lstm"])
def test_singular_values_are_those_of_explicit_products(cell, layers, rng):
    layer, x, state, lengths = case(cell, layers, rng)
    tape = layer.record(x, state, lengths=lengths)
    explicit = Explicit(layer, x, state, lengths)
    lags, sigma = viz.singular_values(tape, n=3, every=2)
    assert lags.tolist() == [0, 2, 4, 6, 8]
    np.testing.assert_allclose(sigma[:, :, 0], explicit.norms()[lags], **TIGHT)
    s = np.linalg.svd(explicit.product(1, 4), compute_uv=False)
    # small singular values carry the rounding of the largest
    np.testing.assert_allclose(sigma[2, 1], s[:3], rtol=0, atol=1e-14 * s[0])
    assert np.isnan(sigma[3:, 1]).all()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", KINDS)
def test_a_dependency_map_is_that_of_explicit_products(cell, layers, rng):
    layer, x, state, lengths = case(cell, layers, rng)
    tape = layer.record(x, state, lengths=lengths)
    g = rng.normal(size=tape.output.shape)
    expected = Explicit(layer, x, state, lengths).dependency(g)
    found = viz.dependency_map(tape, g)
    np.testing.assert_allclose(found, expected, **TIGHT)
    assert np.isnan(found[2, 3, 0])
    by_function = viz.dependency_map(tape, lambda y: (0.0, g + 0 * y))
    np.testing.assert_array_equal(found, by_function)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", KINDS)
def test_norm_preservation_is_that_of_explicit_products(cell, layers, rng):
    layer, x, state, lengths = case(cell, layers, rng, lengths=(9, 5, 1))
    final = random_state(layer, 3, rng)
    arrays = final if isinstance(final, tuple) else (final,)
    carry = np.concatenate([rows for part in arrays for rows in part], axis=-1)
    tape = layer.record(x, state, lengths=lengths)
    explicit = Explicit(layer, x, state, lengths)
    g = rng.normal(size=tape.output.shape)
    tape.backward(g)
    np.testing.assert_allclose(viz.norm_preservation(tape), explicit.preservation(g), rtol=1e-9)
    tape.backward(g, final)
    ratio = viz.norm_preservation(tape, grad_state=final)
    expected = explicit.preservation(g, carry)
    np.testing.assert_allclose(ratio, expected, rtol=1e-9)
    np.testing.assert_allclose(viz.omega(tape, final), np.nansum((expected - 1) ** 2, 0), rtol=1e-9)


@pytest.mark.parametrize("kind", ["random", "flat", "diagonal", "graded", "two apart"])
def test_the_spectral_norm_is_that_of_the_svd(kind, rng):
    """For any spectrum, also where directions do not mix and another one becomes the largest."""
    n = 100  # above the width up to which it simply takes the SVD
    M = np.eye(n)[None]
    spectral = SpectralNorm(1, n, n)
    for k in range(12):
        J = {
            "random": lambda: rng.normal(size=(n, n)) / n**0.5,
            "flat": lambda: np.linalg.qr(rng.normal(size=(n, n)))[0],
            "diagonal": lambda: np.diag(rng.uniform(0.5, 1.5, n)),
            "graded": lambda: np.diag(np.linspace(0.5, 1.0, n)),
            "two apart": lambda k=k: np.diag([1.0 + (k < 6), *[0.3] * (n - 2), 1.0 + 3 * (k >= 6)]),
        }[kind]()
        M = M @ J
        found = spectral.norms(M, np.array([0]))[0]
        assert found == pytest.approx(np.linalg.norm(M[0], 2), rel=1e-9), k


def test_the_spectral_norm_of_tiny_huge_zero_and_nan_matrices_is_right(rng):
    n = 100
    A = rng.normal(size=(n, n))
    M = np.stack([A * 1e-170, A * 1e160, np.zeros((n, n)), np.full((n, n), np.nan), A])
    spectral, s = SpectralNorm(5, n, n), np.linalg.norm(A, 2)
    for _ in range(2):  # without and with directions kept from the call before
        found = spectral.norms(M, np.arange(5))
        np.testing.assert_allclose(found, [s * 1e-170, s * 1e160, 0, np.nan, s], rtol=1e-9)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_jacobian_norms_of_a_wide_layer_are_those_of_explicit_products(cell, rng):
    """By block Lanczos, with two rows of unequal length, in both precisions."""
    layer = make(cell, 5, 56 if cell == "lstm" else 104, dtype="float64")
    x, lengths = rng.normal(size=(14, 2, 5)), np.array([14, 9])
    expected = Explicit(layer, x, None, lengths).norms()
    np.testing.assert_allclose(
        viz.jacobian_norms(layer.record(x, lengths=lengths)), expected, **TIGHT
    )
    single = make(cell, 5, layer.hidden_size)
    single.load_state_dict(layer.state_dict())
    # float32 products of 14 steps: 14 roundings of 6e-8, times the width's root
    np.testing.assert_allclose(
        viz.jacobian_norms(single.record(x, lengths=lengths)), expected, rtol=14 * 6e-8 * 11
    )


def test_a_padded_row_has_the_norms_of_the_row_alone(rng):
    layer, x, _, _ = case("lstm", 2, rng)
    padded = viz.jacobian_norms(layer.record(x, lengths=[9, 5, 0]))
    alone = viz.jacobian_norms(layer.record(x[:5, 1:2]))
    np.testing.assert_allclose(padded[:5, 1:2], alone, **TIGHT)


def test_far_lags_do_not_underflow(rng):
    """With a sigmoid in float32 the product over 200 steps is far below 1e-45, and the result says so."""
    layer = make("rnn-sigmoid", 2, 4, dtype="float32")
    double = make("rnn-sigmoid", 2, 4, dtype="float64")
    double.load_state_dict(layer.state_dict())
    x = rng.normal(size=(200, 1, 2))
    single, exact = (viz.jacobian_norms(m.record(x))[:, 0] for m in (layer, double))
    assert 0 < exact[-1] < 1e-100
    # 200 steps of relative error a few float32 ulps each, in the logarithm
    np.testing.assert_allclose(np.log(single), np.log(exact), atol=200 * 4 * 6e-8 * 4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda tape: viz.jacobian_norms(tape, direction="reverse"), "bidirectional=True"),
        (lambda tape: viz.jacobian_norms(tape, direction="back"), "'forward' or 'reverse'"),
        (lambda tape: viz.dependency_map(tape, np.ones((3, 2))), r"expected \(5, 1, 4\)"),
        (lambda tape: viz.omega(tape), r"tape.backward\(grad_output\) first"),
        (lambda tape: viz.singular_values(tape, every=0), "every: got 0"),
        (lambda tape: viz.horizon(tape, eps=0), "eps: got 0"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(call, says):
    tape = make("gru", 3, 4).record(np.ones((5, 1, 3)))
    with pytest.raises(ValueError, match=says):
        call(tape)


def test_without_steps_or_rows_the_results_are_empty():
    layer = make("lstm", 3, 4)
    none = viz.dependency_map(layer.record(np.ones((0, 2, 3))), np.ones((0, 2, 4)))
    assert none.shape == (0, 0, 2)
    assert viz.jacobian_norms(layer.record(np.ones((0, 2, 3)))).shape == (0, 2)
    assert viz.jacobian_norms(layer.record(np.ones((3, 0, 3)))).shape == (3, 0)
