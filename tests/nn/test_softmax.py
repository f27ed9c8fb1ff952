"""Log probabilities of classes, and draws from them."""

import numpy as np
import pytest
from scipy.special import log_softmax as reference

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
