"""Log probabilities of classes, and draws from them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax as reference

from rnncore.models import Recurrent
from rnncore.nn import draw, log_softmax


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_softmax_equals_scipy(dtype, rng):
    logits = (rng.normal(size=(3, 4, 7)) * 30).astype(dtype)
    before = logits.copy()
    found = log_softmax(logits)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, reference(logits.astype("float64"), axis=-1), rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(logits, before)
    assert np.isfinite(log_softmax([1e4, -1e4])).all()


@pytest.mark.parametrize(("logits", "error", "said"), [
    (None, TypeError, "got object values"), ([1j], TypeError, "got complex128 values"),
    ("ab", TypeError, "got <U2 values"),
    ([], ValueError, r"got shape \(0,\), expected \(..., C\)"), (np.zeros((2, 0)), ValueError, r"got shape \(2, 0\)"),
])
def test_log_softmax_refuses_what_are_no_logits(logits, error, said):
    with pytest.raises(error, match=f"logits: {said}"):
        log_softmax(logits)
    assert log_softmax(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_frequencies_of_draws_match_the_probabilities(temperature):
    p, N = np.array([0.5, 0.1, 0.0, 0.4]), 4000
    with np.errstate(divide="ignore"):
        logits = np.log(p) + 5
    rng = np.random.default_rng(1)
    got = np.bincount([draw(logits, temperature, rng) for _ in range(N)], minlength=4) / N
    want = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
    assert (np.abs(got - want) <= 4 * np.sqrt(want * (1 - want) / N)).all()


@pytest.mark.parametrize("temperature", [0, 0.0, 1e-300])
def test_temperature_0_selects_the_most_likely_class(temperature):
    rng = np.random.default_rng(0)
    assert {draw(np.float32([1, 3, 2]), temperature, rng) for _ in range(20)} == {1}


def test_temperature_0_uses_no_random_number():
    rng = np.random.default_rng(0)
    draw([0.0, 1.0], 0, rng)
    assert rng.random() == np.random.default_rng(0).random()


@settings(max_examples=200, deadline=None)
@given(C=st.integers(1, 300), temperature=st.sampled_from([1e-300, 0.01, 0.5, 1.0, 30.0]),
       dtype=st.sampled_from(["f4", "f8"]), seed=st.integers(0, 9999))
def test_a_draw_is_the_first_class_whose_cumulative_probability_is_above_a_uniform_number(C, temperature, dtype, seed):
    rng = np.random.default_rng(seed)
    logits = (3 * rng.normal(size=C)).astype(dtype)
    logits[rng.random(C) < 0.1] = -np.inf
    logits[rng.integers(C)] = 1.0
    found = draw(logits, temperature, np.random.default_rng(seed))
    with np.errstate(over="ignore", under="ignore"):
        cumulative = np.cumsum(np.exp((np.float64(logits) - np.float64(logits).max()) / temperature))
    at = np.random.default_rng(seed).random() * cumulative[-1]
    assert logits[found] > -np.inf
    assert (cumulative[found - 1] if found else 0) <= at * (1 + 1e-13)
    assert at <= cumulative[found] * (1 + 1e-13)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("temperature", [0, 1e-300, 1.0])
@pytest.mark.parametrize(("logits", "error", "said"), [
    ([], ValueError, "got none"),
    ([0.0, NAN, 1.0], ValueError, "got NaN or infinity, expected finite numbers, or -inf"),
    ([NAN, 0.0], ValueError, "got NaN or infinity"),
    ([0.0, INF], ValueError, "got NaN or infinity"),
    (np.float32([-INF, -INF]), ValueError, "got -inf for every class"),
    ([[0.0, 1.0], [2.0, 3.0]], ValueError, r"got shape \(2, 2\), expected \(C,\)"),
    (1.0, ValueError, r"got shape \(\), expected \(C,\)"),
    ([1j, 0], TypeError, "got complex128 values"),
    (None, TypeError, "got object values"),
])  # fmt: skip
def test_logits_that_are_no_distribution_are_refused(logits, error, said, temperature):
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    with pytest.raises(error, match=f"logits: {said}"):
        draw(logits, temperature, rng)
    assert rng.bit_generator.state == before


def test_an_error_of_the_generator_is_passed_on():
    class Broken:
        def random(self):
            raise OSError("no numbers")

    with pytest.raises(OSError, match="no numbers"):
        draw([0.0, 1.0], 1, Broken())


def test_a_model_whose_weights_are_not_finite_draws_nothing():
    model = Recurrent("gru", 4, epochs=1, window=8, seed=0).fit(["abcd" * 20])
    with model.network_.writable() as weights:
        weights["head.bias"][1] = NAN
    for temperature in (0, 1):
        rng = np.random.default_rng(0)
        before = rng.bit_generator.state
        with pytest.raises(ValueError, match="logits: got NaN or infinity"):
            model.sample(5, "ab", seed=rng, temperature=temperature)
        assert rng.bit_generator.state == before


def unaligned(values):
    found = np.frombuffer(bytearray(1 + values.nbytes), values.dtype, len(values), 1)
    found[:] = values
    return found


FORMS = {"list": list, "unaligned": unaligned} | {
    name: lambda values, name=name: np.repeat(values.astype(name), 2)[::2] for name in (">f4", ">f8", "f4", "f2")}


@pytest.mark.parametrize("form", FORMS)
def test_logits_in_any_form_draw_the_same(form):
    logits = np.array([-1.0, 0.5, 0.25, -0.125])            # exact in all of them
    same = FORMS[form](logits)
    for seed in range(30):
        drawn = [draw(values, 1.0, np.random.default_rng(seed)) for values in (same, logits)]
        assert drawn[0] == drawn[1]
    assert draw(same, 0, np.random.default_rng(0)) == 1
