"""AutoRegressive against statsmodels and against the joint Gaussian of all steps."""

import numpy as np
import pytest
from statsmodels import datasets
from statsmodels.tsa.api import VAR
from statsmodels.tsa.ar_model import AutoReg, ar_select_order

from rnncore.models import AutoRegressive

# A rotation of the data and an SVD: backward stable, condition under 1e4 here, so
# 1e-16 · 1e4, and a factor for the sums.
TIGHT = 1e-10
RNG = np.random.default_rng(10)


@pytest.fixture(scope="module")
def sunspots():
    return datasets.sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()


def var_process(steps, rng, exog=None):
    """A stable VAR(2) of 3 features."""
    x = rng.normal(size=(steps, 3))
    near, far = 0.4 * np.eye(3) + 0.1 * rng.normal(size=(3, 3)), 0.15 * rng.normal(size=(3, 3))
    for t in range(2, steps):
        x[t] += near @ x[t - 1] + far @ x[t - 2] + 2.0
        if exog is not None:
            x[t] += exog[t] @ np.array([[1.0, -1.0, 0.5], [0.0, 0.5, 2.0]])
    return x


def as_one_gaussian(model, steps, exog=None):
    """Mean and covariance of all steps at once: L y = c + ε, from the definition."""
    width = model.n_features_
    left, level = np.eye(steps * width), np.zeros(steps * width)
    noise = np.zeros_like(left)
    for t in range(steps):
        order = min(t, model.order_)
        weights, here = model.weights_[order], slice(t * width, (t + 1) * width)
        level[here] = weights[0]
        if exog is not None:
            level[here] += exog[t] @ weights[1 : 1 + exog.shape[1]]
        for k in range(order):
            row = 1 + model.n_exog_ + k * width
            left[here, (t - 1 - k) * width : (t - k) * width] = -weights[row : row + width].T
        noise[here, here] = model.covariances_[order]
    back = np.linalg.inv(left)
    return back @ level, back @ noise @ back.T


def log_normal(value, mean, covariance):
    error = value - mean
    return -0.5 * (error @ np.linalg.solve(covariance, error)
                   + np.linalg.slogdet(2 * np.pi * covariance)[1])


# -- numbers of other programs ----------------------------------------------------
@pytest.mark.parametrize("order", [0, 1, 3, 9, 25])
def test_results_on_sunspots_equal_those_of_statsmodels(sunspots, order):
    theirs = AutoReg(sunspots, order).fit()
    model = AutoRegressive(order).fit([sunspots])
    np.testing.assert_allclose(model.intercept_[0], theirs.params[0], rtol=TIGHT)
    np.testing.assert_allclose(model.coef_[:, 0, 0], theirs.params[1:], rtol=TIGHT, atol=TIGHT)
    np.testing.assert_allclose(model.covariance_[0, 0], theirs.sigma2, rtol=TIGHT)
    np.testing.assert_allclose(model.log_prob(sunspots, per_step=True)[order:].sum(), theirs.llf,
                               rtol=TIGHT)
    ahead = theirs.get_prediction(len(sunspots), len(sunspots) + 29)
    ours = model.forecast(sunspots, 30)
    np.testing.assert_allclose(ours.mean[:, 0], ahead.predicted_mean, rtol=TIGHT)
    np.testing.assert_allclose(np.hstack([ours.lower, ours.upper]), ahead.conf_int(), rtol=1e-8)
    np.testing.assert_allclose(model.one_step(sunspots).mean[order:, 0], theirs.fittedvalues,
                               rtol=1e-9)


@pytest.mark.parametrize("criterion", ["aic", "bic"])
def test_the_chosen_order_is_that_of_statsmodels(sunspots, criterion):
    theirs = ar_select_order(sunspots, 20, ic=criterion)
    model = AutoRegressive(criterion, max_order=20).fit(sunspots)
    assert model.order_ == len(theirs.ar_lags)
    assert model.criterion_.shape == (21,)
    # the chosen order is fitted on all rows that have a complete window
    np.testing.assert_array_equal(model.coef_, AutoRegressive(model.order_).fit(sunspots).coef_)


def test_a_fit_with_exogenous_inputs_equals_that_of_statsmodels():
    rng = np.random.default_rng(1)
    exog = rng.normal(size=(300, 2))
    x = var_process(300, rng, exog)
    theirs = VAR(x, exog=exog).fit(2)
    model = AutoRegressive(2).fit([x], exog=[exog])
    np.testing.assert_allclose(model.coef_, theirs.coefs, rtol=TIGHT, atol=TIGHT)
    np.testing.assert_allclose(model.covariance_, theirs.sigma_u_mle, rtol=TIGHT, atol=TIGHT)
    np.testing.assert_allclose(model.intercept_, theirs.params[0], rtol=1e-9)
    np.testing.assert_allclose(model.exog_coef_.T, theirs.params[1:3], rtol=1e-9)
    ahead = rng.normal(size=(5, 2))
    ours = model.forecast(x, 5, exog=np.vstack([exog, ahead]))
    np.testing.assert_allclose(ours.mean, theirs.forecast(x[-2:], 5, ahead), rtol=1e-9)
    plain = AutoRegressive(2).fit([x])
    theirs = VAR(x).fit(2)
    np.testing.assert_allclose(plain.forecast(x, 7).covariance[6]
                               / plain.covariance_[0, 0],
                               theirs.mse(7)[6] / theirs.sigma_u[0, 0], rtol=1e-8)


# -- least squares ---------------------------------------------------------------
def test_ragged_sequences_share_one_regression():
    rng = np.random.default_rng(2)
    parts = [var_process(n, rng) for n in (0, 1, 2, 3, 60, 5000)]
    model = AutoRegressive(2).fit(parts)
    rows = [np.r_[1.0, p[t - 1], p[t - 2]] for p in parts for t in range(2, len(p))]
    targets = [p[t] for p in parts for t in range(2, len(p))]
    want = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
    np.testing.assert_allclose(model.weights_[2], want, rtol=1e-9, atol=1e-11)
    # the smaller orders are fitted on the same rows
    want = np.linalg.lstsq(np.array(rows)[:, :4], np.array(targets), rcond=None)[0]
    np.testing.assert_allclose(model.weights_[1], want, rtol=1e-9, atol=1e-11)


def test_without_intercept_the_constant_is_zero(sunspots):
    model = AutoRegressive(2, intercept=False).fit(sunspots)
    rows = np.c_[sunspots[1:-1], sunspots[:-2]]
    want = np.linalg.lstsq(rows, sunspots[2:], rcond=None)[0]
    np.testing.assert_allclose(model.coef_[:, 0, 0], want, rtol=TIGHT)
    assert model.intercept_[0] == 0.0
    assert AutoReg(sunspots, 2, trend="n").fit().sigma2 == pytest.approx(model.covariance_[0, 0])


def test_a_large_offset_does_not_cost_digits():
    rng = np.random.default_rng(3)
    x = np.zeros(400)
    for t in range(1, 400):
        x[t] = 0.7 * x[t - 1] + rng.normal()
    plain, shifted = (AutoRegressive(1).fit(x + c).coef_[0, 0, 0] for c in (0.0, 2.0**30))
    # rounding the data themselves at 2³⁰ moves each value by 2⁻²³
    assert abs(plain - shifted) < 2.0**-20


# -- the joint density -------------------------------------------------------------
def test_log_prob_is_that_of_the_joint_gaussian_also_with_missing_values():
    rng = np.random.default_rng(5)
    exog = rng.normal(size=(200, 2))
    x = var_process(200, rng, exog)
    model = AutoRegressive(2, missing="mask").fit([x], exog=[exog])
    for steps in (1, 2, 3, 12):
        mean, covariance = as_one_gaussian(model, steps, exog[:steps])
        want = log_normal(x[:steps].ravel(), mean, covariance)
        assert model.log_prob(x[:steps], exog=exog[:steps]) == pytest.approx(want, rel=TIGHT)
        holes = np.where(rng.random((steps, 3)) < 0.4, np.nan, x[:steps])
        seen = np.flatnonzero(~np.isnan(holes.ravel()))
        want = log_normal(holes.ravel()[seen], mean[seen], covariance[np.ix_(seen, seen)])
        assert model.log_prob(holes, exog=exog[:steps]) == pytest.approx(want, rel=1e-9)


def test_a_forecast_is_the_joint_gaussian_conditioned_on_the_context():
    rng = np.random.default_rng(6)
    x = var_process(200, rng)
    model = AutoRegressive(3, missing="mask").fit([x])
    for length in (0, 1, 2, 6):
        context = x[:length].copy()
        if length == 6:
            context[4, 1] = context[5] = np.nan
        mean, covariance = as_one_gaussian(model, length + 4)
        seen = np.flatnonzero(~np.isnan(context.ravel()))
        ahead = np.arange(length * 3, (length + 4) * 3)
        gain = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, ahead)]).T
        want = mean[ahead] + gain @ (context.ravel()[seen] - mean[seen])
        spread = covariance[np.ix_(ahead, ahead)] - gain @ covariance[np.ix_(seen, ahead)]
        ours = model.forecast(context, 4, level=0.5)
        np.testing.assert_allclose(ours.mean.ravel(), want, rtol=1e-9)
        variance = np.stack([np.diag(c) for c in ours.covariance]).ravel()
        np.testing.assert_allclose(variance, np.diag(spread), rtol=1e-9)
        np.testing.assert_allclose((ours.upper - ours.lower).ravel(),
                                   2 * 0.6744897501960817 * np.sqrt(np.diag(spread)), rtol=1e-9)
        np.testing.assert_allclose(model.predict(context).mean, ours.mean[0], rtol=1e-12)


def test_samples_have_the_forecasts_mean_and_spread():
    x = var_process(500, np.random.default_rng(8))
    model = AutoRegressive(2).fit([x])
    ahead = model.forecast(x[:9], 3)
    draws = np.stack([model.sample(3, x[:9], seed=s) for s in range(2000)])
    spread = np.sqrt(np.diagonal(ahead.covariance, axis1=1, axis2=2))
    # a mean of n draws is off by spread/√n, 4.5 of them for 9 values; a deviation by 1/√(2n)
    assert np.abs((draws.mean(0) - ahead.mean) / spread).max() < 4.5 / np.sqrt(2000)
    assert np.abs(draws.std(0) / spread - 1).max() < 4.5 / np.sqrt(4000)


# -- stationarity, refusals ----------------------------------------------------------
def test_a_fit_that_is_not_stationary_warns():
    with pytest.warns(RuntimeWarning, match="not stationary"):
        model = AutoRegressive(1).fit(1.05 ** np.arange(60.0))
    assert not model.stationary_
    assert model.spectral_radius_ == pytest.approx(1.05, rel=1e-9)
    coef = np.array([0.5, 0.3])
    x = np.random.default_rng(9).normal(size=3000)
    for t in range(2, 3000):
        x[t] += coef @ [x[t - 1], x[t - 2]]
    model = AutoRegressive(2).fit(x)
    roots = np.roots([1.0, *-model.coef_[:, 0, 0]])
    assert model.spectral_radius_ == pytest.approx(np.abs(roots).max(), rel=1e-12)
    assert model.stationary_


def test_constant_and_exactly_predictable_series_have_finite_results():
    flat = AutoRegressive(1).fit(np.full(20, 3.0))
    assert flat.predict([3.0]).mean[0] == pytest.approx(3.0)
    t = np.arange(100)
    exact = AutoRegressive(2).fit(np.sin(0.4 * t))
    np.testing.assert_allclose(exact.forecast(np.sin(0.4 * t), 10).mean[:, 0],
                               np.sin(0.4 * np.arange(100, 110)), atol=1e-9)
    assert np.isfinite(exact.log_prob(np.sin(0.4 * t)))


@pytest.mark.parametrize("order", [-1, 1.5, True, "hqic", None])
def test_a_wrong_order_is_refused_by_name(order):
    with pytest.raises(ValueError, match="order: got"):
        AutoRegressive(order).fit(np.arange(9.0))


def test_too_little_data_is_refused_by_name():
    with pytest.raises(ValueError, match=r"order: got 5, expected less than .* 5"):
        AutoRegressive(5).fit([np.arange(5.0), np.arange(2.0)])
    with pytest.raises(ValueError, match="got 3 steps with 3 steps before them, expected more than the 4 unknowns"):
        AutoRegressive(3).fit([np.arange(6.0) ** 2])
    with pytest.raises(ValueError, match="features"):
        AutoRegressive(1).fit([np.ones((4, 2)), np.ones((4, 3))])
    with pytest.raises(ValueError, match=r"exog\[0\]: got shape"):
        AutoRegressive(1).fit([np.arange(9.0)], exog=[np.ones((8, 1))])
    model = AutoRegressive(1).fit([RNG.normal(size=20)], exog=[RNG.normal(size=20)])
    with pytest.raises(ValueError, match="exog: got None"):
        model.log_prob(np.arange(3.0))
    with pytest.raises(ValueError, match=r"exog: got shape \(3, 1\), expected \(4, 1\)"):
        model.predict(np.arange(3.0), exog=np.ones(3))
    assert model.score([np.ones(3)], exog=[np.ones(3)]) == pytest.approx(
        model.log_prob(np.ones(3), exog=np.ones(3)) / 3)


def test_a_model_without_lags_takes_several_features(rng):
    """The model is white noise: its only parameters are the mean and the covariance."""
    x = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3)) + [1, -2, 3]
    model = AutoRegressive(0).fit([x])
    mean, variance = model.predict(x[:5])
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-9)
    assert np.isfinite(model.log_prob(x))
    drawn = model.sample(20_000, seed=0)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(x.T, bias=True), atol=0.1 * np.abs(np.cov(x.T)).max())
    assert np.shape(variance) == (3,)
