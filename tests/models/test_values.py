"""Discounts and criteria against numbers from theory or other programs."""

import numpy as np
import pytest
from statsmodels.tsa.api import VAR
from statsmodels.tsa.ar_model import AutoReg

from rnncore.models import AutoRegressive, Markov

# ---- Kneser-Ney's discounts: D = n₁ / (n₁ + 2·n₂), n_k the number of pairs counted k times, within 0.05 … 0.95


def test_discounts_of_a_text_equal_those_counted_by_hand():
    """The text "aaabbbaacab", order 1; ^ stands for the steps before its beginning.

    Its eleven steps are ^a aa aa ab bb bb ba aa ac ca ab, so the pairs occur: aa 3, ab 2, bb 2, ba 1, ac 1, ca 1, ^a 1.
    Highest level: n₁ = 4, n₂ = 2: 4 / (4 + 2·2) = 1/2.
    The level below counts the different symbols before each: a after ^ a b c: 4, b after a b: 2, c after a: 1.
    n₁ = 1, n₂ = 1: 1 / (1 + 2·1) = 1/3.
    """
    model = Markov(1, smoothing="kneser-ney").fit(["aaabbbaacab"])
    np.testing.assert_allclose(model.discounts_, [1 / 3, 1 / 2], rtol=1e-15)


def test_the_discount_is_at_most_095_if_nothing_occurs_twice():
    """In "abcdef" six pairs (^a ab … ef) occur once, and each symbol after one other: n₂ = 0 and D = 1, cut to 0.95."""
    model = Markov(1, smoothing="kneser-ney").fit(["abcdef"])
    np.testing.assert_allclose(model.discounts_, [0.95, 0.95], rtol=1e-15)


def test_the_discount_is_at_least_005_if_nothing_occurs_once():
    """Six sequences "ab": both pairs occur six times, and D = 0 is raised to 0.05. Each symbol has one symbol
    before it: n₁ = 2 at the level below, D = 0.95."""
    model = Markov(1, smoothing="kneser-ney").fit(["ab"] * 6)
    np.testing.assert_allclose(model.discounts_, [0.95, 0.05], rtol=1e-15)


def test_every_level_has_its_own_discount():
    """"abab", order 2: each context of two symbols with its next symbol occurs once, ^^a ^ab aba bab: n₁ = 4, D = 0.95.

    Contexts of one symbol, with the different symbols before them: a after ^: {^} 1, b after a: {^, b} 2, a after b:
    {a} 1, so D = 2 / (2 + 2·1) = 1/2. Without a context: a: {^, b} 2, b: {a} 1, so D = 1 / (1 + 2·1) = 1/3.
    """
    model = Markov(2, smoothing="kneser-ney").fit(["abab"])
    np.testing.assert_allclose(model.discounts_, [1 / 3, 1 / 2, 0.95], rtol=1e-15)


def test_a_probability_equals_one_computed_by_hand():
    """"aaabbbaacab" with its discounts: P(a | a) by the formula.

    Below: P₀(a) = (4 − 1/3)/7 + (1/3·3/7)·(1/3), as there are 7 different pairs and 3 symbols. The symbols after a
    are a 3 times, b 2 times and c once, six in total and three different ones:
    P₁(a | a) = (3 − 1/2)/6 + (1/2·3/6)·P₀(a).
    """
    model = Markov(1, smoothing="kneser-ney").fit(["aaabbbaacab"])
    below = (4 - 1 / 3) / 7 + (1 / 3 * 3 / 7) / 3
    wanted = (3 - 1 / 2) / 6 + (1 / 2 * 3 / 6) * below
    assert model.predict("a")[model.alphabet_.index("a")] == pytest.approx(wanted, rel=1e-14)


# ---- the criteria of an autoregression

@pytest.mark.parametrize("rows", [12, 20, 60])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("name", ["aic", "bic"])
def test_criteria_equal_those_of_statsmodels(name, intercept, rows):
    """With so few data that N, N − order and the number of unknowns differ much."""
    top = 4
    noise = np.random.default_rng(rows).normal(size=rows + 1)
    x = noise[1:] + 0.6 * noise[:-1] + 0.3
    model = AutoRegressive(name, max_order=top, intercept=intercept).fit([x])
    N = rows - top  # all orders on the same rows
    wanted = []
    for order in range(top + 1):
        if order == 0 and not intercept:  # statsmodels has nothing to fit there; the variance is the only parameter
            llf = -0.5 * N * (np.log(2 * np.pi * np.mean(x[top:] ** 2)) + 1)
            wanted.append(-2 * llf + {"aic": 2.0, "bic": np.log(N)}[name])
        else:
            theirs = AutoReg(x, order, trend="c" if intercept else "n", hold_back=top).fit()
            wanted.append(getattr(theirs, name))
    np.testing.assert_allclose(model.criterion_, wanted, rtol=1e-9)
    assert model.order_ == np.argmin(wanted)
    other = AutoRegressive(name, max_order=top, intercept=intercept).fit([1000 * x])
    np.testing.assert_allclose(other.criterion_, model.criterion_ + 2 * N * np.log(1000), rtol=1e-9)


def test_criteria_of_several_features_are_those_of_statsmodels_likelihood(rng):
    """VAR's own aic is divided by N and lacks constants; its likelihood is the same. Rows: those after 3 steps."""
    x = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 3))
    x[1:] += 0.5 * x[:-1]
    model = AutoRegressive("bic", max_order=3).fit(x)
    for order in range(1, 4):
        theirs = VAR(x[3 - order :]).fit(order)
        parameters = 3 * (1 + 3 * order) + 6
        assert model.criterion_[order] == pytest.approx(-2 * theirs.llf + np.log(77) * parameters, rel=1e-10)


# ---- R: printed values of its manual, for the luteinizing hormone in blood at 10 minute intervals (data set `lh`)

LH = np.array([24, 24, 24, 22, 21, 15, 23, 23, 25, 20, 19, 17, 22, 18, 32, 32, 27, 22, 22, 19, 19, 18, 27, 30,
               23, 20, 20, 29, 29, 27, 27, 23, 26, 24, 18, 17, 15, 14, 21, 33, 35, 35, 31, 26, 21, 34, 30, 29]) / 10


def test_results_are_those_that_r_prints():
    """``ar(lh, method = "ols")``: 0.586, sigma^2 0.2016, intercept 0.006234 for the series minus its mean.

    ``arima(lh, order = c(3, 0, 0), method = "CSS")``: 0.6578 −0.0658 −0.2348, intercept (its mean) 2.3918, sigma^2
    0.1905, part log likelihood −28.31, which counts all 48 values.
    """
    model = AutoRegressive(1).fit(LH - LH.mean())
    assert model.coef_[0, 0, 0] == pytest.approx(0.586, abs=5e-4)
    assert model.intercept_[0] == pytest.approx(0.006234, abs=5e-7)
    assert model.covariance_[0, 0] == pytest.approx(0.2016, abs=5e-5)
    model = AutoRegressive(3).fit(LH)
    np.testing.assert_allclose(model.coef_[:, 0, 0], [0.6578, -0.0658, -0.2348], atol=5e-5)
    assert model.covariance_[0, 0] == pytest.approx(0.1905, abs=5e-5)
    assert model.intercept_[0] / (1 - model.coef_.sum()) == pytest.approx(2.3918, abs=5e-5)
    assert -24 * (1 + np.log(2 * np.pi * model.covariance_[0, 0])) == pytest.approx(-28.31, abs=5e-3)
