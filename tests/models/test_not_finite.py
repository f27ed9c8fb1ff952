"""Recurrent models whose weights are not finite: nothing is drawn or chosen from NaN, and no number hides it."""

import numpy as np
import pytest

from rnncore.models import Recurrent, SequenceClassifier

NAN, INF = float("nan"), float("inf")
SETTINGS = {"epochs": 1, "seed": 0, "valid_fraction": 0}
WAVE = np.sin(np.arange(60.0))


def broken(model, value=NAN):
    with model.network_.writable() as weights:
        weights["head.bias"][-1] = value
    return model


@pytest.fixture
def letters():
    return Recurrent("gru", 4, **SETTINGS).fit(["abcd" * 20])


@pytest.fixture
def wave():
    return Recurrent("gru", 4, missing="mask", **SETTINGS).fit([WAVE])


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("call", [
    lambda model, rng: model.forecast_proba("ab", 3, paths=2, seed=rng),
    lambda model, rng: model.forecast_proba("ab", 3, paths=20, seed=rng),
    lambda model, rng: model.sample(3, "ab", seed=rng),
    lambda model, rng: model.beam(3, "ab"),
])
def test_no_symbol_is_drawn_or_chosen(letters, call, value):
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    with pytest.raises(ValueError, match=r"logits: got NaN or infinity.*, expected finite numbers"):
        call(broken(letters, value), rng)
    assert rng.bit_generator.state == before


def test_a_symbol_may_be_impossible(letters):
    broken(letters, -INF)
    assert (letters.forecast_proba("ab", 3, paths=9, seed=0)[:, 3] == 0).all()
    assert "d" not in letters.sample(50, "ab", seed=0) + letters.beam(9, "ab")[0]


def test_no_label_is_chosen():
    model = SequenceClassifier("gru", 4, **SETTINGS).fit(["abab", "bbbb"] * 4, ["x", "y"] * 4)
    broken(model)
    for call in (model.predict, lambda x: model.score(x, ["x"])):
        with pytest.raises(ValueError, match="logits: got NaN or infinity"):
            call(["abab"])
    assert np.isnan(model.predict_proba(["abab"])).all()


def test_the_numbers_of_such_a_model_are_nan(letters, wave):
    broken(letters)
    assert np.isnan([letters.log_prob("abc"), letters.perplexity(["abc"])]).all()
    gap = np.where(np.arange(60) % 7, WAVE, NAN)
    assert np.isfinite([wave.log_prob(gap), wave.mean_squared_error([gap])]).all()
    broken(wave)
    assert np.isnan([wave.log_prob(gap), wave.mean_squared_error([gap]), wave.perplexity([WAVE])]).all()
    steps = wave.log_prob(gap[:, None], per_step=True)
    np.testing.assert_array_equal(np.isnan(steps), ~np.isnan(gap))
    assert np.isnan(wave.forecast(WAVE, 3, paths=4, seed=0).mean).all()
