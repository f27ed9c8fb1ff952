"""AutoRegressive where values are missing: against statsmodels' Kalman filter, and by what a maximum is."""

import numpy as np
import pytest
from statsmodels.tsa.statespace.sarimax import SARIMAX

from rnncore.models import AutoRegressive
from rnncore.models.windows import gaps


def process(rng, steps, coef=(1.2, -0.5), width=1, level=5.0):
    """A stationary autoregression; several features are mixtures of independent ones."""
    x = rng.normal(size=(steps + 100, width))
    for t in range(len(coef), len(x)):
        for k, c in enumerate(coef):
            x[t] += c * x[t - 1 - k]
    return x[100:] @ (np.eye(width) + 0.3 * rng.normal(size=(width, width))) + level


def scattered(rng, x, share, order):
    """The same values, a share of them missing, none among the first `order` steps."""
    gone = rng.random(x.shape) < share
    gone[:order] = False
    return np.where(gone, np.nan, x)


def conditional(x, order):
    """statsmodels' likelihood given the first `order` values: their prior is flat, and they do not count."""
    return SARIMAX(x, order=(order, 0, 0), trend="c", enforce_stationarity=False, loglikelihood_burn=order,
                   initialization="approximate_diffuse", initial_variance=1e8)


def parameters(model):
    return np.concatenate([model.intercept_, model.coef_[:, 0, 0], model.covariance_[0]])


@pytest.mark.parametrize(("order", "steps", "kind"), [
    (1, 200, "scattered"), (2, 300, "scattered"), (3, 1000, "few"), (2, 400, "long"), (1, 200, "every second"),
    (2, 130, "blocks"),
])
def test_the_fit_is_the_maximum_of_statsmodels_likelihood(rng, order, steps, kind):
    """Its gradient there is 0: that of values of the size of 1 by central differences, error (1e-5)²·N."""
    x = process(rng, steps)
    holes = {"scattered": scattered(rng, x, 0.3, order), "few": scattered(rng, x, 0.05, order)}.get(kind, x.copy())
    if kind == "long":
        holes[150:260] = np.nan
    elif kind == "every second":
        holes[1::2] = np.nan
    elif kind == "blocks":
        holes[30:100:7] = holes[31:100:7] = np.nan
    model = AutoRegressive(order, missing="mask").fit(holes)
    theirs, found = conditional(holes[:, 0], order), parameters(model)
    for i, size in enumerate(np.maximum(np.abs(found), 0.1)):
        step = np.zeros(len(found))
        step[i] = 1e-5 * size
        up, here, down = (theirs.loglike(found + s) for s in (step, 0 * step, -step))
        assert abs(up - down) / 2e-5 < 1e-3 * steps**0.5
        assert up - 2 * here + down < 0
    assert model.n_rows_ == np.sum(~np.isnan(holes[order:]))


def test_a_long_series_has_the_estimates_of_statsmodels_exact_likelihood(rng):
    """That includes the first values, and so differs by about 1/T; a standard error is 1/√T."""
    x = scattered(rng, process(rng, 2000), 0.2, 2)
    model = AutoRegressive(2, missing="mask").fit(x)
    theirs = SARIMAX(x[:, 0], order=(2, 0, 0), trend="c").fit(disp=0)
    np.testing.assert_allclose(parameters(model), theirs.params, atol=5e-3)
    ahead = theirs.get_forecast(5)
    ours = model.forecast(x, 5)
    np.testing.assert_allclose(ours.mean[:, 0], ahead.predicted_mean, atol=1e-2)
    np.testing.assert_allclose(ours.covariance[:, 0, 0], ahead.var_pred_mean, rtol=1e-2)


@pytest.mark.parametrize(("width", "order", "inputs", "intercept"), [
    (1, 0, 0, True), (3, 0, 1, True), (2, 2, 0, True), (3, 1, 2, True), (2, 1, 0, False),
])
def test_no_change_of_a_weight_raises_the_likelihood(rng, width, order, inputs, intercept):
    """Of several series, features and inputs: log_prob by the Kalman filter, which shares no code with the fit."""
    xs = [scattered(rng, process(rng, steps, width=width), 0.2, order) for steps in (320, 90, 1, 0)]
    us = [rng.normal(size=(len(x), inputs)) * 3 + 1 for x in xs]
    if inputs:
        xs = [x + 0.5 * u[:, :1] for x, u in zip(xs, us, strict=True)]
    model = AutoRegressive(order, missing="mask", intercept=intercept).fit(xs, exog=us if inputs else None)

    def total():
        return sum(model.log_prob(x, exog=u if inputs else None) for x, u in zip(xs, us, strict=True))

    best, weights = total(), model.weights_[order]
    for _ in range(4):
        change = rng.normal(size=weights.shape) * 1e-3
        change[0] *= intercept
        model.weights_[order] = weights + change
        up = total()
        model.weights_[order] = weights - change
        down = total()
        model.weights_[order] = weights
        assert up < best
        assert down < best
        assert abs(up - down) < 0.02 * (2 * best - up - down)  # no slope


@pytest.mark.parametrize(("steps", "block", "width", "order"), [
    (75, 4, 2, 3), (75, 64, 2, 3), (60, 4, 1, 6), (9, 4, 2, 0),
])
def test_the_e_step_finds_the_conditional_distribution_of_the_joint_gaussian(
    rng, monkeypatch, steps, block, width, order
):
    """Means, covariances of all windows and the likelihood, against a dense Gaussian of all steps."""
    monkeypatch.setattr(gaps, "BLOCK", block)
    x = process(rng, 75, width=width)
    model = AutoRegressive(order).fit(x)
    x = x[:steps]
    solutions = list(zip(model.weights_, model.covariances_, strict=True))
    left, level = np.zeros((steps * width,) * 2), np.zeros(steps * width)
    for t in range(steps):  # the whitened residuals, from the definition
        k, here = min(t, order), slice(t * width, (t + 1) * width)
        root = np.linalg.inv(np.linalg.cholesky(model.covariances_[k]))
        level[here] = root @ model.weights_[k][0]
        left[here, here] = root
        for lag in range(1, k + 1):
            block = model.weights_[k][1 + (lag - 1) * width : 1 + lag * width].T
            left[here, (t - lag) * width : (t - lag + 1) * width] = -root @ block
    covariance = np.linalg.inv(left.T @ left)
    mean = np.linalg.solve(left, level)
    for share in (0.0, 0.1, 0.5, 0.97):  # all of it in one block, or in several
        holes = scattered(rng, x, share, 0)
        gone = np.isnan(holes.ravel())
        seen = ~gone
        inverse = np.linalg.inv(covariance[np.ix_(seen, seen)])
        gain = covariance[np.ix_(gone, seen)] @ inverse
        want = holes.ravel().copy()
        error = want[seen] - mean[seen]
        want[gone] = mean[gone] + gain @ error
        left_over = np.zeros_like(covariance)
        left_over[np.ix_(gone, gone)] = covariance[np.ix_(gone, gone)] - gain @ covariance[np.ix_(seen, gone)]
        for first in (order, order + 11):
            spread = np.zeros(((order + 1) * width,) * 2)
            for t in range(first, steps):
                columns = [(t - lag) * width + f for lag in (*range(1, order + 1), 0) for f in range(width)]
                spread = spread + left_over[np.ix_(columns, columns)]
            found = gaps.expect(holes, np.empty((steps, 0)), solutions, first)
            np.testing.assert_allclose(found.series.ravel(), want, atol=1e-9)
            np.testing.assert_allclose(found.spread, spread, atol=1e-9)
            log_prob = -0.5 * (error @ inverse @ error - np.linalg.slogdet(inverse)[1] + seen.sum() * np.log(2 * np.pi))
            assert found.log_likelihood == pytest.approx(log_prob, rel=1e-9)


@pytest.mark.parametrize("name", ["aic", "bic"])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_criterion_chooses_the_order_in_spite_of_scattered_gaps(rng, name, share):
    x = scattered(rng, process(rng, 300), share, 1)
    model = AutoRegressive(name, max_order=8, missing="mask").fit(x)
    assert model.order_ == 2 if name == "bic" else model.order_ >= 2
    # statsmodels' maximum for all values but those of the first 8 steps; orders are compared to a few hundredths
    fitted = AutoRegressive(2, missing="mask").fit(x)
    theirs = conditional(x[:, 0], 2)
    theirs.loglikelihood_burn = 8
    theirs = theirs.fit(parameters(fitted), disp=0)
    penalty = 2 if name == "aic" else np.log(np.sum(~np.isnan(x[8:])))
    assert model.criterion_[2] == pytest.approx(-2 * theirs.llf + 4 * penalty, abs=0.1)
    np.testing.assert_allclose(parameters(fitted), theirs.params, rtol=0.1)


def test_the_default_of_the_largest_order_does_not_refuse_gaps(rng):
    x = scattered(rng, process(rng, 120), 0.25, 0)
    assert 1 <= AutoRegressive("bic", missing="mask").fit(x).order_ <= 4
    every_second = process(rng, 240)
    every_second[1::2] = np.nan
    done = []
    model = AutoRegressive("bic", max_order=3, missing="mask").fit(
        every_second, progress=lambda done_, total, info: done.append((done_, total)))
    assert model.order_ in (1, 2, 3)
    assert done[-1] == (4, 4)


def test_the_criterion_without_gaps_is_the_limit_of_the_one_with_them(rng):
    """One value of 400 missing changes the likelihood by the size of one value's density."""
    x = process(rng, 400)
    holes = x.copy()
    holes[200] = np.nan
    plain = AutoRegressive("bic", max_order=5).fit(x).criterion_
    gapped = AutoRegressive("bic", max_order=5, missing="mask").fit(holes).criterion_
    assert np.ptp((plain - gapped)[2:]) < 2  # orders 0 and 1 predict the missing value worse
    np.testing.assert_allclose(plain, gapped, atol=10)
    same = AutoRegressive("bic", max_order=5, missing="mask").fit(x).criterion_
    np.testing.assert_array_equal(plain, same)


def test_missing_steps_at_the_ends_change_nothing(rng):
    x = scattered(rng, process(rng, 100, width=2), 0.1, 2)
    around = np.concatenate([np.full((7, 2), np.nan), x, np.full((40, 2), np.nan)])
    one, other = (AutoRegressive(2, missing="mask").fit(s) for s in (x, around))
    np.testing.assert_array_equal(one.coef_, other.coef_)
    np.testing.assert_array_equal(one.covariance_, other.covariance_)


def test_a_gap_in_an_input_is_refused_with_advice_that_helps(rng):
    x, u = rng.normal(size=(30, 1)), rng.normal(size=(30, 2))
    u[4, 1] = np.nan
    model = AutoRegressive(1, missing="mask")
    with pytest.raises(ValueError, match=r"exog\[0\]: got NaN at step 4, feature 1.*fill them in"):
        model.fit(x, exog=[u])
    model.fit(x, exog=[np.nan_to_num(u)])
    with pytest.raises(ValueError, match=r"exog: got NaN at step 4, feature 1.*also with missing='mask'"):
        model.log_prob(x, exog=u)


def test_too_few_values_are_refused():
    x = np.full(40, np.nan)
    x[[3, 9, 20]] = 1.0, 2.0, 1.5
    with pytest.raises(ValueError, match="got 2 steps with 2 steps before"):
        AutoRegressive(2, missing="mask").fit(x)
    with pytest.raises(ValueError, match="no value at all"):
        AutoRegressive(1, missing="mask").fit(np.full(10, np.nan))
