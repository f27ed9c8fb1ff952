"""How SwitchingAutoRegressive is fitted: known optima, units, degenerate data, and the parts of an EM step."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from rnncore.models import SwitchingAutoRegressive
from rnncore.models.chains.regimes import _regress, _tie, at_least
from rnncore.models.chains.transitions import best_transitions, steady_state

# The series of Stata's manual of mswitch and of Hamilton (1989), as statsmodels' tests have them.
SERIES = json.loads(Path(__file__).with_name("regime_switching.json").read_text())
FED_FUNDS, EXCESS_RETURNS, GNP = (np.array(SERIES[name]) for name in ("fed_funds", "excess_returns", "gnp_growth"))


# -- optima that other programs print -----------------------------------------------------------
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("x", "log_prob", "settings"), [
    # Stata's manual of mswitch, [TS] mswitch, examples 1, 2 and 5
    (FED_FUNDS, -508.63592, {"order": 0, "form": "intercept"}),
    (FED_FUNDS, -264.71069, {"order": 1, "form": "intercept"}),
    (EXCESS_RETURNS, -745.7977, {"order": 1, "form": "intercept", "switching_variance": True}),
    # EViews, as statsmodels' tests quote it: Hamilton's (1989) model, and one with switching coefficients
    (GNP, -181.26339, {"order": 4, "switching_ar": False}),
    (GNP, -186.7575, {"order": 1}),
    # Stata's manual, example 4
    (GNP, -179.32354, {"order": 2}),
], ids=["fed funds", "fed funds, lag", "returns", "Hamilton", "GNP, order 1", "GNP, order 2"])
def test_a_fit_reaches_the_likelihood_that_other_programs_print(x, log_prob, settings, seed):
    model = SwitchingAutoRegressive(2, **settings, random_state=seed).fit([x])
    assert model.log_prob(x) > log_prob - 2e-4
    assert model.converged_


def test_the_parameters_are_those_that_other_programs_print():
    model = SwitchingAutoRegressive(2, 4, switching_ar=False, random_state=0, tol=1e-7).fit([GNP])
    regimes = np.argsort(model.means_[:, 0])
    # EViews, as statsmodels' tests quote it
    np.testing.assert_allclose(model.means_[regimes, 0], [-0.358811, 1.163516], atol=1e-3)
    np.testing.assert_allclose(np.diag(model.transmat_)[regimes], [0.754673, 1 - 0.095915], atol=1e-3)
    np.testing.assert_allclose(model.coef_[0].ravel(), [0.013486, -0.057521, -0.246983, -0.212923], atol=1e-3)
    np.testing.assert_allclose(model.covars_[0], np.exp(-0.262658) ** 2, atol=1e-3)


@pytest.mark.parametrize("settings", [
    {"order": 1}, {"order": 2, "switching_ar": False, "switching_variance": True},
    {"order": 1, "form": "intercept", "switching_variance": True}])
@pytest.mark.parametrize("length", [8, 40])
def test_nothing_is_left_to_gain_where_a_fit_ends(rng, settings, length):
    """Many short sequences, for which the steady state has as much weight as the transitions."""
    truth = SwitchingAutoRegressive(2, 1, switching_variance=True)
    truth.transmat_, truth.means_, truth.coef_ = [[0.9, 0.1], [0.4, 0.6]], [[0.0], [2.0]], [[0.5], [-0.2]]
    truth.covars_ = [0.5, 1.5]
    x = [truth.sample(length, seed=s) for s in range(800 // length)]
    model = SwitchingAutoRegressive(2, **settings, random_state=0).fit(x)
    reached = sum(model.log_prob(s) for s in x)
    further = model.set_params(warm_start=True, tol=1e-9, n_iter=2000).fit(x)
    assert further.history_[0] == pytest.approx(reached, abs=1e-9)
    assert further.history_[-1] < reached + 1e-3
    for change in rng.normal(size=(20, 2)) * 0.01:  # of the transitions alone
        further.transmat_ = np.clip(model.transmat_ + np.stack([change, -change], axis=1), 1e-3, 1)
        further.transmat_ /= further.transmat_.sum(axis=1, keepdims=True)
        assert sum(further.log_prob(s) for s in x) < reached + 1e-3


# -- the parts of a step -------------------------------------------------------------------------
@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("sequences", [1, 200])
def test_transitions_take_the_steady_state_into_account(rng, K, sequences):
    moves, oldest = rng.gamma(1.0, 20.0, (K, K)), rng.dirichlet(np.ones(K)) * sequences

    def loss(logits):
        A = np.exp(logits.reshape(K, K))
        A /= A.sum(axis=1, keepdims=True)
        return -(moves * np.log(A)).sum() - oldest @ np.log(steady_state(A))

    A, before = rng.dirichlet(np.ones(K), K), np.inf
    for _ in range(60):
        A = best_transitions(A, moves, oldest)
        now = loss(np.log(A).ravel())
        assert now <= before + 1e-10
        before = now
    best = minimize(loss, np.zeros(K * K), options={"gtol": 1e-8})
    assert now == pytest.approx(best.fun, abs=1e-6)
    assert loss(np.log(moves / moves.sum(axis=1, keepdims=True)).ravel()) > now  # without it


@pytest.mark.parametrize("own", [[True] * 4, [False] * 4, [True, False, False, True]])
@pytest.mark.parametrize("same", [True, False])
def test_regressions_that_fall_apart_equal_generalised_least_squares(rng, own, same):
    """All unknowns at once, as one system of equations, against regressions by regime and by column."""
    K, p, F, own = 3, 4, 2, np.array(own)
    X = rng.normal(size=(K, 30, p))
    M = X.transpose(0, 2, 1) @ X
    N = X.transpose(0, 2, 1) @ rng.normal(size=(K, 30, F))
    root = rng.normal(size=(1 if same else K, F, F))
    precision = np.repeat(root @ root.transpose(0, 2, 1) + np.eye(F), K if same else 1, axis=0)
    # unknowns: K times those of one's own, and once the shared ones
    pick = np.zeros((K, p, K * own.sum() + (~own).sum()))
    for s in range(K):
        pick[s, own, s * own.sum() : (s + 1) * own.sum()] = np.eye(own.sum())
        pick[s, ~own, K * own.sum() :] = np.eye((~own).sum())
    left = sum(np.kron(precision[s], pick[s].T @ M[s] @ pick[s]) for s in range(K))
    right = sum((pick[s].T @ N[s] @ precision[s]).T.ravel() for s in range(K))
    C = np.linalg.solve(left, right).reshape(F, -1).T
    B = np.zeros((K, p, F))
    for _ in range(60 if not same else 1):
        B = _regress(M, N, B, precision, own, np.full(K, 30.0))
    np.testing.assert_allclose(B, pick @ C, atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 3.0, 1e9])
def test_an_intercept_is_shared_by_regressions_on_data_that_were_centred(rng, shift):
    """y = ν + Φ_s lag is fitted to y − shift and lag − shift, with one ν, as well as it can be."""
    K, F = 3, 2
    X = np.concatenate([np.ones((K, 30, 1)), rng.normal(size=(K, 30, F))], axis=2)
    y = rng.normal(size=(K, 30, F))
    M, N = X.transpose(0, 2, 1) @ X, X.transpose(0, 2, 1) @ y
    root = rng.normal(size=(K, F, F))
    precision, weight = root @ root.transpose(0, 2, 1) + np.eye(F), np.full(K, 30.0)
    best = _regress(M, N, np.zeros_like(N), precision, np.full(1 + F, True), weight)
    g = np.r_[1.0, np.full(F, -shift)]
    B = _tie(best, M, precision, weight, g)
    shared = np.einsum("p,spf->sf", g, B)
    np.testing.assert_allclose(shared, np.broadcast_to(shared[0], shared.shape), atol=1e-9 * max(shift, 1))

    def loss(B):
        error = y - X @ B
        return np.einsum("stf,sfg,stg->", error, precision, error)

    for _ in range(50):     # any other choice is worse
        change = rng.normal(size=B.shape) * 0.1
        end = np.einsum("p,spf->sf", g, change)
        change += (g / (g @ g))[:, None] * (end[0] - end)[:, None]  # the same shared part in all regimes
        assert loss(B) <= loss(B + change) + 1e-9
    assert loss(best) < loss(B)


def test_variances_are_raised_to_the_least_ones_in_every_direction(rng):
    root = rng.normal(size=(3, 3))
    least = root @ root.T
    covars = np.stack([least * 4, least / 9, np.diag([1e-9, 2.0, 5.0])])
    found = at_least(covars, least)
    np.testing.assert_allclose(found[0], covars[0])
    np.testing.assert_allclose(found[1], least)
    assert np.linalg.eigvalsh(found[2] - least).min() > -1e-9
    # of all covariances that are large enough, this one is the most probable
    def worth(c):
        return -np.linalg.slogdet(c)[1] - np.trace(np.linalg.solve(c, covars[2]))
    for _ in range(50):
        other = rng.normal(size=(3, 3)) * 0.1
        assert worth(found[2] + other @ other.T) <= worth(found[2])


# -- any unit, any data ----------------------------------------------------------------------------
def two_regimes(rng, steps=300):
    """Two columns; the level and the noise of the first change."""
    regime = np.cumsum(rng.random(steps) < 0.05) % 2
    first = np.where(regime, 3.0 + 0.3 * rng.normal(size=steps), rng.normal(size=steps))
    return np.stack([first, 0.1 * np.cumsum(rng.normal(size=steps))], axis=1)


@pytest.mark.parametrize(("form", "mean"), [("mean", True), ("intercept", True), ("intercept", False)])
@pytest.mark.parametrize("unit", [[1e-4, 1e-4], [1e6, 1e6], [1e-100, 1e100]])
def test_a_fit_does_not_depend_on_the_unit(rng, form, mean, unit):
    x, unit = two_regimes(rng, 150), np.array(unit)
    near, far = (SwitchingAutoRegressive(2, 1, form=form, switching_mean=mean, switching_variance=True,
                                         random_state=0, n_iter=30).fit([values]) for values in (x, x * unit))
    density = far.history_[-1] + (len(x) - 1) * np.log(unit).sum()
    assert density == pytest.approx(near.history_[-1], abs=1e-6)
    np.testing.assert_allclose(far.posteriors(x * unit)[1:], near.posteriors(x)[1:], atol=1e-5)
    np.testing.assert_allclose(far.predict(x * unit).mean / unit, near.predict(x).mean, atol=1e-5)
    np.testing.assert_allclose(far.covars_ / np.outer(unit, unit), near.covars_, atol=1e-4)


@pytest.mark.parametrize("form", ["mean", "intercept"])
def test_parameters_that_are_set_keep_their_meaning(rng, form):
    """Some given, some not; in units in which the data are far from 0 and large."""
    x = 1e4 + 50 * two_regimes(rng)
    model = SwitchingAutoRegressive(2, 1, form=form, random_state=0, tol=-np.inf, n_iter=1)
    level = [[1e4, 1e4], [1.015e4, 1e4]] if form == "mean" else [[500.0, 200.0], [600.0, 300.0]]
    model.transmat_, model.coef_ = [[0.9, 0.1], [0.1, 0.9]], 0.95 * np.tile(np.eye(2), (2, 1, 1, 1))
    setattr(model, model._level_name, level)
    model.covars_ = np.tile(np.eye(2) * 900.0, (2, 1, 1))
    before = model.log_prob(x)
    assert model.fit([x]).history_[0] == pytest.approx(before, rel=1e-9)
    model = SwitchingAutoRegressive(2, 1, form=form, random_state=0, tol=-np.inf, n_iter=4)
    setattr(model, model._level_name, level)
    assert (np.diff(model.fit([x]).history_) > -1e-7).all()


STEPS = 80
DEGENERATE = {
    "constant": lambda noise: np.full(STEPS, 5.0),
    "zero": lambda noise: np.zeros(STEPS),
    "constant but for rounding": lambda noise: 0.3 + 1e-16 * noise,
    "nearly constant": lambda noise: 5 + 1e-12 * noise,
    "the same column twice": lambda noise: np.stack([np.cumsum(noise)] * 2, axis=1),
    "two units": lambda noise: np.stack([np.cumsum(noise), 1.8 * np.cumsum(noise) + 32], axis=1),
    "a sum": lambda noise: np.stack([np.cumsum(noise), noise, np.cumsum(noise) + noise], axis=1),
    "a constant column": lambda noise: np.stack([np.cumsum(noise), np.full(STEPS, 7.0)], axis=1),
    "a sine": lambda noise: np.sin(np.arange(STEPS) / 3),
    "a line": lambda noise: np.arange(STEPS) * 1.0,
    "one regime without variance": lambda noise: np.where(np.arange(STEPS) % 20 < 10, 3.0, noise),
    "two values": lambda noise: (noise > 0) * 1.0,
    "an outlier": lambda noise: np.where(np.arange(STEPS) == 40, 1e6, noise),
    "far from zero": lambda noise: 1e9 + np.cumsum(noise),
    "one row": lambda noise: noise[:3],
    "two rows": lambda noise: noise[:4],
    "three rows": lambda noise: noise[:5],
}


@pytest.mark.filterwarnings("ignore:.*parameters:RuntimeWarning")     # a few rows are fewer than these
@pytest.mark.parametrize("data", DEGENERATE)
@pytest.mark.parametrize("settings", [
    {"switching_variance": True}, {"switching_ar": False},
    {"form": "intercept", "switching_variance": True},
    {"form": "intercept", "switching_mean": False}], ids=["mean", "shared", "intercept", "level"])
def test_any_data_can_be_fitted(rng, capfd, data, settings):
    x = DEGENERATE[data](rng.normal(size=STEPS))
    model = SwitchingAutoRegressive(2, 2, **settings, random_state=0, n_iter=8).fit([x])
    assert np.isfinite(model.log_prob(x))
    assert np.isfinite(model.posteriors(x)[2:]).all()
    assert np.isfinite(model.predict(x).mean).all()
    assert (model.predict(x).variance > 0).all()
    assert np.isfinite(model.sample(20, seed=0)).all()
    # Covariances of dependent columns have a condition of 1e8 (`LEAST_OF_COLUMN`), and so have the logarithms' errors.
    assert (np.diff(model.history_) > -STEPS * 3 * 1e8 * np.finfo(float).eps).all()
    assert capfd.readouterr() == ("", "")  # LAPACK prints what it refuses


@pytest.mark.parametrize("form", ["mean", "intercept"])
def test_a_column_that_says_nothing_changes_no_prediction(rng, form):
    """A constant, the same column in another unit: the forecast of the first column stays what it is."""
    x = two_regimes(rng)[:, :1]
    alone = SwitchingAutoRegressive(2, 1, form=form, switching_ar=False, random_state=0, tol=1e-8).fit([x])
    for extra in (np.full_like(x, 7.0), np.full_like(x, 0.1) + 1e-17):
        both = np.concatenate([x, extra], axis=1)
        model = SwitchingAutoRegressive(2, 1, form=form, switching_ar=False, random_state=0, tol=1e-8).fit([both])
        np.testing.assert_allclose(model.predict(both).mean[0], alone.predict(x).mean[0], atol=1e-3)
        np.testing.assert_allclose(model.predict(both).mean[1], extra[0, 0], rtol=1e-9)


def test_a_regime_is_not_spent_on_a_few_steps_that_it_fits_exactly(rng):
    """The likelihood of a regime that has two steps of its own has no limit."""
    x = two_regimes(rng)[:, 0]
    for seed in range(3):
        model = SwitchingAutoRegressive(2, 1, switching_variance=True, random_state=seed).fit([x])
        assert model.posteriors(x)[1:].sum(axis=0).min() > 50
        assert model.covars_.min() > 0.01
