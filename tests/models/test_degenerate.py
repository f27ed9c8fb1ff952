"""AutoRegressive where the data do not determine everything: dependent, constant and missing columns, in any unit."""

import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from rnncore.models import AutoRegressive, HiddenMarkov, SwitchingAutoRegressive

SEEDS = st.integers(0, 2**32 - 1)


def series(rng, steps, width):
    """A stationary process with a level and a scale of its own in every feature."""
    x = rng.normal(size=(steps + 20, width)) @ (np.eye(width) + 0.4 * rng.normal(size=(width, width)))
    for t in range(1, len(x)):
        x[t] += 0.6 * x[t - 1]
    return x[20:] * 10.0 ** rng.uniform(-3, 3, width) + rng.normal(size=width) * 10.0 ** rng.uniform(-3, 3, width)


def beside(rng, x, kind):
    """A column that depends on those of x exactly, but for the rounding of its computation."""
    one = x[:, :1]
    return {"duplicate": lambda: one, "fahrenheit": lambda: 1.8 * one + 32, "sum": lambda: x.sum(axis=1, keepdims=True),
            "mixture": lambda: x @ rng.normal(size=(x.shape[1], 1)), "tiny": lambda: one * 1e-140,
            "huge": lambda: one * 1e140, "constant": lambda: np.full_like(one, rng.normal()),
            "nearly constant": lambda: np.full_like(one, 5.3) * (1 + 1e-16 * rng.normal(size=one.shape)),
            "zero": lambda: np.zeros_like(one)}[kind]()


KINDS = st.sampled_from(["duplicate", "fahrenheit", "sum", "mixture", "tiny", "huge", "constant", "nearly constant",
                         "zero"])


@given(SEEDS, st.lists(KINDS, min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 3), st.integers(60, 400))
@settings(max_examples=60, deadline=None)
def test_dependent_columns_change_no_prediction_and_every_answer_is_finite(seed, kinds, width, order, steps):
    rng = np.random.default_rng(seed)
    x = series(rng, steps, width)
    both = np.hstack([x, *(beside(rng, x, kind) for kind in kinds)])
    alone, model = (AutoRegressive(order, missing="mask").fit(a) for a in (x, both))
    deviation = x.std(axis=0)
    error = 1e-6 * deviation.max() * deviation / deviation.max()
    assert (np.abs(model.one_step(both).mean[:, :width] - alone.one_step(x).mean) < error).all()
    ahead, wanted = model.forecast(both, 4), alone.forecast(x, 4)
    assert (np.abs(ahead.mean[:, :width] - wanted.mean) < 10 * error).all()
    np.testing.assert_allclose(ahead.covariance[:, :width, :width], wanted.covariance, rtol=1e-5,
                               atol=1e-6 * np.outer(deviation, deviation).max())
    assert np.isfinite(model.log_prob(both))
    drawn = model.sample(20, both, seed=seed)
    size = np.abs(both).max(axis=0)
    assert (np.abs(drawn - both.mean(axis=0)) < 30 * both.std(axis=0) + 1e-5 * np.where(size > 0, size, 1)).all()
    holes = both.copy()
    holes[rng.random(both.shape) < 0.1] = np.nan
    assert np.isfinite(model.log_prob(holes))
    assert np.isfinite(model.forecast(holes, 3).mean).all()


@given(SEEDS, st.lists(KINDS, min_size=1, max_size=2), st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_dependent_columns_with_gaps_have_finite_answers(seed, kinds, order):
    rng = np.random.default_rng(seed)
    x = series(rng, 90, 2)
    both = np.hstack([x, *(beside(rng, x, kind) for kind in kinds)])
    both[rng.random(both.shape) < 0.1] = np.nan
    model = AutoRegressive(order, missing="mask").fit(both)
    assert np.isfinite(model.log_prob(both))
    assert np.isfinite(model.sample(5, seed=0)).all()
    assert np.isfinite(model.forecast(both, 3).mean).all()


@given(SEEDS, st.lists(KINDS.filter(lambda k: k not in ("duplicate",)), min_size=1, max_size=3), st.integers(0, 2),
       st.integers(40, 1000), st.booleans())
@pytest.mark.filterwarnings("ignore:.*not stationary")
@settings(max_examples=100, deadline=None)
def test_dependent_and_constant_inputs_change_no_prediction(seed, kinds, order, steps, intercept):
    """Also of an input that is constant beside the intercept, whose weight is 0, whatever it is later."""
    rng = np.random.default_rng(seed)
    u = series(rng, steps, 2)
    x = series(rng, steps, 1) + u[:, :1]
    both = np.hstack([u, *(beside(rng, u, kind) for kind in kinds)])
    if not intercept and ({"fahrenheit", "constant", "nearly constant"} & set(kinds)):
        return  # the columns then contain an intercept
    alone, model = (AutoRegressive(order, intercept=intercept).fit(x, exog=[v]) for v in (u, both))
    np.testing.assert_allclose(model.one_step(x, exog=both).mean, alone.one_step(x, exog=u).mean, rtol=0,
                               atol=1e-6 * np.abs(x).max())
    constant = [i for i, kind in enumerate(kinds, start=2) if "constant" in kind or kind == "zero"]
    assert not model.exog_coef_[:, constant].any()
    assert np.abs(model.intercept_).max() < 1e6 * np.abs(both).max() + 1e6 * np.abs(x).max()


@pytest.mark.parametrize("steps", [300, 1000])
def test_a_constant_input_beside_the_intercept_is_left_out(steps):
    """In each of 40 random series: the rank of a triangle of few rows is judged by the rounding of all of them."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = series(rng, steps, 1)
        u = np.stack([np.full(steps, rng.uniform(0.1, 5)), rng.normal(size=steps)], axis=1)
        model, plain = (AutoRegressive(2).fit(x, exog=[v]) for v in (u, u[:, 1:]))
        np.testing.assert_allclose(model.intercept_, plain.intercept_, rtol=1e-6)
        np.testing.assert_allclose(model.exog_coef_, [[0, plain.exog_coef_[0, 0]]], rtol=1e-9)
        later = u[:5] + np.array([1.0, 0.0])
        np.testing.assert_allclose(model.forecast(x, 5, exog=np.vstack([u, later])).mean,
                                   plain.forecast(x, 5, exog=np.vstack([u, later])[:, 1:]).mean, rtol=1e-9)


@given(SEEDS, st.integers(-150, 150), st.integers(-150, 150), st.integers(0, 2), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_model_is_the_same_in_any_unit(seed, power, other, order, gaps):
    rng = np.random.default_rng(seed)
    x, u = series(rng, 80, 2), rng.normal(size=(80, 1))
    if gaps:
        x[rng.random(x.shape) < 0.2] = np.nan
    unit, unit_u = np.array([10.0**power, 10.0**other]), 10.0 ** ((power - other) // 2)
    one = AutoRegressive(order, missing="mask").fit(x, exog=[u])
    two = AutoRegressive(order, missing="mask").fit(x * unit, exog=[u * unit_u])
    np.testing.assert_allclose(two.one_step(x * unit, exog=u * unit_u).mean / unit, one.one_step(x, exog=u).mean,
                               rtol=0, atol=1e-6 * np.nanstd(x, axis=0).max())
    seen = np.sum(~np.isnan(x), axis=0)
    assert two.log_prob(x * unit, exog=u * unit_u) + seen @ np.log(unit) == pytest.approx(
        one.log_prob(x, exog=u), rel=1e-6, abs=1e-3)
    assert two.spectral_radius_ == pytest.approx(one.spectral_radius_, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("order", [0, "bic", "aic"])
def test_white_noise_has_order_0_and_answers_everything(rng, width, order):
    x = rng.normal(size=(300, width)) @ rng.normal(size=(width, width)) + 3
    model = AutoRegressive(order, max_order=6 if isinstance(order, str) else None, missing="mask").fit(x)
    if order != "aic":
        assert model.order_ == 0
        assert model.coef_.shape == (0, width, width)
        np.testing.assert_allclose(model.predict(x).mean, x.mean(axis=0), rtol=1e-9)
        np.testing.assert_allclose(model.covariance_, np.cov(x.T, bias=True).reshape(width, width), rtol=1e-9)
        assert model.spectral_radius_ == 0
    holes = np.where(rng.random(x.shape) < 0.2, np.nan, x)
    for y in (x, holes, x[:0]):
        assert np.isfinite(model.log_prob(y))
        assert model.forecast(y, 3).mean.shape == (3, width)
        assert model.sample(4, x[:2], seed=0).shape == (4, width)
    again = AutoRegressive(0, missing="mask").fit(holes)
    assert np.isfinite(again.log_prob(holes))


def test_repeated_columns_give_the_smallest_solution(rng):
    x = rng.normal(size=(100, 1))
    model = AutoRegressive(1).fit(np.hstack([x, x]))
    np.testing.assert_allclose(model.coef_[0, :, 0], model.coef_[0, :, 1], atol=1e-12)
    both = AutoRegressive(1).fit(np.hstack([x, 1e100 * x]))
    np.testing.assert_allclose(both.coef_[0, 0, 0], 1e100 * both.coef_[0, 0, 1], rtol=1e-9)


# -- little data -------------------------------------------------------------------
def warned(model, *data):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(*data)
    return [str(w.message) for w in found if "parameters to" in str(w.message)]


def test_fewer_values_than_parameters_are_said(rng):
    """For AutoRegressive of F features and order p: F + p F² + F (F + 1)/2 parameters, and F values a step."""
    x = rng.normal(size=(11, 4))
    assert warned(AutoRegressive(1), x) == []       # 30 parameters, 40 values
    (text,) = warned(AutoRegressive(1), x[:8])      # 28 values
    assert "fitted 30 parameters to 28 values" in text
    assert "more data" in text
    assert len(warned(HiddenMarkov(3, "gaussian", random_state=0, n_iter=2), x[:9])) == 0   # 32 parameters, 36 values
    assert len(warned(HiddenMarkov(3, "gaussian", random_state=0, n_iter=2), x[:7])) == 1
    assert len(warned(HiddenMarkov(2, random_state=0, n_iter=2), [[0, 1, 2, 0, 1]])) == 1   # 7 parameters, 5 symbols
    assert len(warned(HiddenMarkov(2, random_state=0, n_iter=2), [[0, 1, 2, 0, 1, 2, 2]])) == 0
    assert len(warned(SwitchingAutoRegressive(2, 1, random_state=0, n_iter=2), x[:6])) == 1


def test_a_criterion_passes_over_orders_whose_covariance_would_be_singular(rng):
    """With as many residuals as features more than unknowns, Σ is singular and the likelihood has no bound."""
    x = rng.normal(size=(23, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # the fit has too little data in any case
        model = AutoRegressive("bic", max_order=5).fit(x)
    assert np.isinf(model.criterion_[5])    # 18 rows and 16 unknowns of each feature: Σ has rank 2
    assert np.isfinite(model.criterion_[:5]).all()
    assert model.order_ < 5
