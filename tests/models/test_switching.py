"""SwitchingAutoRegressive against statsmodels and an enumeration of all regime paths, and its training."""

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from statsmodels.tsa.regime_switching.markov_autoregression import MarkovAutoregression
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

import rnncore as rc
from rnncore.models import HiddenMarkov, SwitchingAutoRegressive
from rnncore.models.chains import settings_passes
from rnncore.models.chains.transitions import steady_state

FLAGS = list(itertools.product([True, False], repeat=3))  # mean, ar, variance


def series(rng, steps=150):
    return 5 + 0.3 * np.cumsum(rng.normal(size=steps)) + rng.normal(size=steps)


def random_model(rng, K, order, F=1, form="mean", mean=True, ar=True, variance=True, **options):
    """Random parameters, the same for all regimes where they do not switch."""
    def own(switching, *shape):
        values = rng.normal(size=(K, *shape))
        return values if switching else np.repeat(values[:1], K, axis=0)

    model = SwitchingAutoRegressive(K, order, form=form, switching_mean=mean, switching_ar=ar,
                                    switching_variance=variance, **options)
    model.transmat_ = rng.dirichlet(np.ones(K), K)
    setattr(model, "means_" if form == "mean" else "intercept_", own(mean, F))
    model.coef_ = 0.3 * own(ar, order, F, F) / max(order * F, 1)
    root = own(variance, F, F)
    model.covars_ = root @ root.transpose(0, 2, 1) + 0.5 * np.eye(F)
    return model


def enumerate_regimes(model, x, now=0):
    """{path over all steps: p(path, x_p … | x_0 … x_{p-1})} from the equations.

    `now`: the covariance at step t is that of the regime `now` steps before.
    """
    K, order, A = model.n_states, model.order, model.transmat_
    found, F = {}, x.shape[1]
    covars, coef = model.covars_.reshape(K, F, F), model.coef_.reshape(K, order, F, F)
    for path in itertools.product(range(K), repeat=len(x)):
        p = steady_state(A)[path[0]] if path else 1.0
        for t in range(1, len(x)):
            p *= A[path[t - 1], path[t]]
        for t in range(order, len(x)):
            s = path[t]
            mean = (model.means_ if model.form == "mean" else model.intercept_)[s].copy()
            for k in range(order):
                past = x[t - 1 - k]
                if model.form == "mean":
                    past = past - model.means_[path[t - 1 - k]]
                mean += coef[s, k] @ past
            p *= multivariate_normal.pdf(x[t], mean, covars[path[t - now]])
        found[path] = p
    return found


# -- statsmodels ------------------------------------------------------------------------------
def at_the_same_parameters(rng, theirs, K, order, form="mean", mean=True, ar=True, variance=True):
    """Our model with random parameters, and the same parameters as statsmodels' vector."""
    values = rng.normal(size=len(theirs.param_names)) * 0.3
    transmat = rng.dirichlet(np.ones(K) * 2, K)
    for i, name in enumerate(theirs.param_names):
        if name.startswith("sigma2"):
            values[i] = rng.uniform(0.5, 2)
        elif name.startswith("const"):
            values[i] += 5 if form == "mean" else 1
        elif name.startswith("p["):
            before, after = map(int, name[2:-1].split("->"))
            values[i] = transmat[before, after]

    def get(key):
        return np.array([np.atleast_1d(values[theirs.parameters[s, key]]) for s in range(K)])

    model = SwitchingAutoRegressive(K, order, form=form, switching_mean=mean, switching_ar=ar,
                                    switching_variance=variance)
    model.transmat_ = theirs.regime_transition_matrix(values)[:, :, 0].T
    model.covars_ = get("variance")[:, 0] if variance else np.full(
        K, values[theirs.parameters["variance"]][0])
    if form == "mean":
        model.means_, model.coef_ = get("exog"), get("autoregressive")
    else:
        model.intercept_, model.coef_ = get("exog")[:, :1], get("exog")[:, 1:]
    return model, values


@pytest.mark.parametrize(("K", "order", "mean", "ar", "variance"), [
    *((2, 1, *flags) for flags in FLAGS if any(flags)), (2, 4, True, False, False),
    (2, 3, False, True, False), (3, 2, True, True, False), (3, 1, True, True, True)])
def test_results_equal_those_of_statsmodels_markov_autoregression(rng, K, order, mean, ar, variance):
    y = series(rng)
    theirs = MarkovAutoregression(y, K, order, switching_trend=mean, switching_ar=ar,
                                  switching_variance=variance)
    model, values = at_the_same_parameters(rng, theirs, K, order, "mean", mean, ar, variance)
    smoothed = theirs.smooth(values)
    np.testing.assert_allclose(model.log_prob(y), smoothed.llf, rtol=1e-10)
    np.testing.assert_allclose(model.log_prob(y, per_step=True)[order:], smoothed.llf_obs,
                               rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(model.posteriors(y)[order:],
                               smoothed.smoothed_marginal_probabilities, atol=1e-10)


@pytest.mark.parametrize("variance", [True, False])
def test_the_intercept_form_equals_statsmodels_regression_on_lags(rng, variance):
    y = series(rng)
    lags = np.stack([y[1:-1], y[:-2]], axis=1)
    theirs = MarkovRegression(y[2:], 2, exog=lags, switching_variance=variance)
    model, values = at_the_same_parameters(rng, theirs, 2, 2, "intercept", variance=variance)
    np.testing.assert_allclose(model.log_prob(y), theirs.loglike(values), rtol=1e-10)


def test_with_two_lags_the_variance_is_that_of_the_current_regime(rng):
    # statsmodels 0.15 takes that of the regime order - 1 steps before: it reshapes the variances
    # to (K, 1, 1) whatever the order is.
    y = series(rng, 8)
    theirs = MarkovAutoregression(y, 2, 2, switching_variance=True)
    model, values = at_the_same_parameters(rng, theirs, 2, 2)
    x = y[:, None]
    assert model.log_prob(y) == pytest.approx(np.log(sum(enumerate_regimes(model, x).values())))
    assert theirs.loglike(values) == pytest.approx(
        np.log(sum(enumerate_regimes(model, x, now=1).values())))


# -- enumeration --------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["mean", "intercept"])
@pytest.mark.parametrize(("K", "order", "F"), [(2, 0, 1), (2, 1, 2), (2, 2, 2), (3, 1, 1)])
def test_results_equal_an_enumeration_of_all_paths(rng, form, K, order, F):
    model, x = random_model(rng, K, order, F, form), rng.normal(size=(6, F))
    paths = enumerate_regimes(model, x)
    total = sum(paths.values())
    assert model.log_prob(x) == pytest.approx(np.log(total), rel=1e-10)
    gamma = np.zeros((6, K))
    for path, p in paths.items():
        gamma[range(6), path] += p / total
    np.testing.assert_allclose(model.posteriors(x)[order:], gamma[order:], atol=1e-11)
    assert np.isnan(model.posteriors(x)[:order]).all()

    log_prob, path = model.decode(x)
    assert (path[:order] == -1).all()
    ends = {}  # "mean" keeps track of all regimes, "intercept" of those after the first `order`
    for full, p in paths.items():
        if form == "mean":
            ends[full[order:]] = max(ends.get(full[order:], 0), p)
        else:
            ends[full[order:]] = ends.get(full[order:], 0) + p
    assert log_prob == pytest.approx(np.log(max(ends.values())), rel=1e-10)
    assert ends[tuple(path[order:].tolist())] == pytest.approx(max(ends.values()))


@pytest.mark.parametrize("form", ["mean", "intercept"])
def test_predictions_are_those_of_the_next_element(rng, form):
    model, x = random_model(rng, 2, 2, 1, form), rng.normal(size=(5, 1))
    grid = np.linspace(-15, 15, 3001)
    base = model.log_prob(x)
    density = np.exp([model.log_prob(np.append(x, [[v]], axis=0)) - base for v in grid])
    step = grid[1] - grid[0]
    mean = (density * grid).sum() * step
    one = model.predict(x)
    assert density.sum() * step == pytest.approx(1, abs=1e-6)
    assert one.mean[0] == pytest.approx(mean, abs=1e-6)
    assert one.variance[0] == pytest.approx((density * (grid - mean) ** 2).sum() * step, rel=1e-5)
    every = model.one_step(x)
    for t in range(5):
        np.testing.assert_allclose(every.mean[t], model.predict(x[:t]).mean, atol=1e-12)
        np.testing.assert_allclose(every.variance[t], model.predict(x[:t]).variance, rtol=1e-12)


def test_without_a_window_the_model_equals_a_hidden_markov_model(rng):
    model, x = random_model(rng, 3, 0, 2), rng.normal(size=(40, 2))
    plain = HiddenMarkov(3, "gaussian", "full")
    plain.startprob_, plain.transmat_ = steady_state(model.transmat_), model.transmat_
    plain.means_, plain.covars_ = model.means_, model.covars_
    assert model.log_prob(x) == pytest.approx(plain.log_prob(x), rel=1e-12)
    np.testing.assert_array_equal(model.decode(x)[1], plain.decode(x)[1])


# -- the structure of the settings ------------------------------------------------------------------
@pytest.mark.parametrize(("K", "order", "F"), [(2, 1, 1), (2, 2, 2), (3, 2, 1), (2, 4, 1), (3, 3, 2)])
def test_both_ways_of_the_recursions_agree(rng, monkeypatch, K, order, F):
    """The kernels with all transitions, and the recursions that know the structure, in blocks of any size."""
    model, x = random_model(rng, K, order, F, missing="mask"), rng.normal(size=(60, F))
    x[[20, 41, 42]] = np.nan
    if K == 3:  # some regimes do not follow others
        model.transmat_ = [[0.7, 0.0, 0.3], [0.2, 0.8, 0.0], [0.0, 0.1, 0.9]]
    sequences = [x, x[:15], x[:order]]

    def results():
        fitted = SwitchingAutoRegressive(K, order, switching_variance=True, missing="mask", n_iter=3,
                                         tol=-np.inf, random_state=0).fit(sequences)
        return [model.log_prob(x, per_step=True), model.posteriors(x)[order:], *model.decode(x),
                *model.one_step(np.nan_to_num(x)), *model.predict(x[:18]), fitted.history_, fitted.transmat_]

    expected = results()
    monkeypatch.setattr(settings_passes, "DENSE_STATES", 0)
    for block in (1, 1 << 20):
        monkeypatch.setattr(settings_passes, "BLOCK", block)
        for ours, theirs in zip(results(), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


def test_what_has_probability_zero_is_so_both_ways(rng, monkeypatch):
    model, x = random_model(rng, 2, 2), rng.normal(size=9)
    x[5] = 1e200  # the square of the residual is infinite
    for limit in (200, 0):
        monkeypatch.setattr(settings_passes, "DENSE_STATES", limit)
        with np.errstate(over="ignore"):
            steps = model.log_prob(x, per_step=True)
            assert np.isfinite(steps[:5]).all()
            assert (steps[5:] == -np.inf).all()
            with pytest.raises(ValueError, match="has probability 0 under this model"):
                model.posteriors(x)


def test_memory_and_time_of_a_high_order_do_not_grow_with_the_square_of_the_settings(rng):
    model, x = random_model(rng, 3, 8), rng.normal(size=30)  # 19,683 settings; all transitions would be 3 GB
    tracemalloc.start()
    try:
        model.log_prob(x)
        model.posteriors(x)
        model.decode(x)
        model.predict(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.parametrize("order", [30, 1000])
def test_more_settings_than_memory_are_refused_before_they_are_made(rng, order):
    model, x = random_model(rng, 2, order), rng.normal(size=order + 20)
    message = rf"order: got {order} with 2 regimes .* 2\*\*{order + 1} .*use form='intercept'"
    for call in (model.log_prob, model.decode, model.posteriors, model.predict, model.fit,
                 lambda x: model.sample(3, x)):
        with pytest.raises(ValueError, match=message):
            call([x] if call == model.fit else x)
    # the ways out that the message names
    assert np.isfinite(random_model(rng, 2, order, form="intercept").log_prob(x))
    assert np.isfinite(random_model(rng, 2, order, mean=False).log_prob(x))


# -- learning -------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["mean", "intercept"])
@pytest.mark.parametrize(("mean", "ar", "variance"), FLAGS)
def test_the_likelihood_never_falls(rng, form, mean, ar, variance):
    truth = random_model(rng, 2, 2, 2, form)
    sequences = [truth.sample(k, seed=k) for k in (60, 2, 0, 3, 45)]
    model = SwitchingAutoRegressive(2, 2, form=form, switching_mean=mean, switching_ar=ar,
                                    switching_variance=variance, n_iter=25, tol=-np.inf,
                                    random_state=0).fit(sequences)
    assert (np.diff(model.history_) > -1e-9).all()
    for switching, values in ((mean, getattr(model, model._level_name)), (ar, model.coef_),
                              (variance, model.covars_)):
        assert switching == bool(np.ptp(values, axis=0).any())


@pytest.mark.parametrize("form", ["mean", "intercept"])
def test_a_fit_recovers_the_parameters_that_generated_the_data(form):
    truth = SwitchingAutoRegressive(2, 1, form=form, switching_variance=True)
    truth.transmat_, truth.coef_ = [[0.97, 0.03], [0.06, 0.94]], [[0.2], [0.7]]
    setattr(truth, truth._level_name, [[-1.0], [2.0]])
    truth.covars_ = [0.2, 1.0]
    sequences = [truth.sample(1500, seed=s) for s in range(3)]
    model = SwitchingAutoRegressive(2, 1, form=form, switching_variance=True, n_init=2,
                                    random_state=0).fit(sequences)
    level = getattr(model, model._level_name)
    order = np.argsort(level[:, 0])
    # 4,500 steps, the rarer regime a third of them: standard errors below 0.05
    np.testing.assert_allclose(level[order, 0], [-1, 2], atol=0.2)
    np.testing.assert_allclose(model.coef_[order].ravel(), [0.2, 0.7], atol=0.1)
    np.testing.assert_allclose(model.covars_[order].ravel(), [0.2, 1.0], rtol=0.15)
    np.testing.assert_allclose(model.transmat_[np.ix_(order, order)], truth.transmat_, atol=0.03)
    assert model.score(sequences) > truth.score(sequences)
    states = truth.sample_states(1500, seed=0)[1]
    assert np.mean(order[states[1:]] == model.decode(sequences[0])[1][1:]) > 0.95


@pytest.mark.parametrize("form", ["mean", "intercept"])
def test_a_large_offset_of_the_data_costs_no_accuracy(rng, form):
    truth = random_model(rng, 2, 1, 1, form)
    x = truth.sample(300, seed=0)
    near, far = (SwitchingAutoRegressive(2, 1, form=form, n_iter=10, tol=-np.inf, random_state=0)
                 .fit([x + shift]) for shift in (0.0, 1e6))
    # x + 1e6 itself is rounded to 1e-10; EM may enlarge that, but not to 1e-5
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-5)
    np.testing.assert_allclose(far.covars_, near.covars_, rtol=1e-5)
    np.testing.assert_allclose(far.predict(x + 1e6).mean - 1e6, near.predict(x).mean, atol=1e-4)


def test_nothing_depends_on_threads(rng, monkeypatch):
    monkeypatch.setattr("rnncore.models.chains.em.ALONE_BELOW", 0)
    sequences = [random_model(rng, 2, 1, 2).sample(k, seed=k) for k in (40, 1, 30, 55, 20)]
    found = []
    for threads in (1, 2):
        with rc.threads(threads):
            found.append(SwitchingAutoRegressive(2, 1, n_iter=4, tol=-np.inf, random_state=3)
                         .fit(sequences))
    for name in ("transmat_", "means_", "coef_", "covars_", "history_"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))


# -- short sequences, missing values, files, checks ------------------------------------------------
def test_samples_have_the_statistics_of_the_model(rng):
    model = random_model(rng, 2, 2, 2)
    np.testing.assert_array_equal(model.sample(30, seed=4), model.sample(30, seed=4))
    assert model.sample(0, seed=1).shape == (0, 2)
    context = rng.normal(size=(6, 2))
    draws = np.array([model.sample(1, context, seed=s)[0] for s in range(3000)])
    ahead = model.predict(context)
    assert (np.abs(draws.mean(axis=0) - ahead.mean) < 5 * np.sqrt(ahead.variance / 3000)).all()
    np.testing.assert_allclose(draws.var(axis=0), ahead.variance, rtol=0.15)


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_sequences_shorter_than_the_window_are_accepted(rng, length):
    model, x = random_model(rng, 2, 2), rng.normal(size=length)
    steps = model.log_prob(x, per_step=True)
    assert steps.shape == (length,)
    assert (steps[:2] == 0).all()
    assert model.posteriors(x).shape == (length, 2)
    assert model.decode(x)[1].shape == (length,)
    assert model.one_step(x).mean.shape == (length, 1)
    assert np.isfinite(model.predict(x).mean).all()
    assert model.sample(3, x, seed=0).shape == (3, 1)
    if length < 3:
        with pytest.raises(ValueError, match="sequences: got no step to learn from"):
            model.fit([x])
        with pytest.raises(ValueError, match="sequences: got no element"):
            model.score([x])


def test_steps_with_a_missing_value_in_their_window_are_left_out(rng):
    model, x = random_model(rng, 2, 1, missing="mask"), rng.normal(size=12)
    x[5] = np.nan
    steps = model.log_prob(x, per_step=True)
    np.testing.assert_allclose(steps[[5, 6]], 0, atol=1e-12)
    assert (steps[[4, 7]] != 0).all()
    assert model.score([x]) == pytest.approx(model.log_prob(x) / 9)
    fitted = model.fit([x, rng.normal(size=40)])
    assert (np.diff(fitted.history_) > -1e-9).all()
    with pytest.raises(ValueError, match="context: got NaN within the last"):
        model.predict([1.0, np.nan])
    with pytest.raises(ValueError, match="got NaN at step 5"):
        random_model(rng, 2, 1).log_prob(x)


def test_a_loaded_model_has_the_same_bits(rng, tmp_path):
    x = series(rng)
    model = SwitchingAutoRegressive(2, 2, n_iter=3, random_state=0).fit([x])
    model.save(tmp_path / "model.safetensors")
    again = rc.models.load(tmp_path / "model.safetensors")
    assert again.log_prob(x) == model.log_prob(x)
    np.testing.assert_array_equal(again.sample(9, seed=1), model.sample(9, seed=1))
    assert again.n_parameters_ == model.n_parameters_ == 2 + 2 + 4 + 1


@pytest.mark.parametrize(("change", "message"), [
    ({"order": -1}, "order: got -1, expected a whole number >= 0"),
    ({"transmat_": np.ones((2, 2))}, "transmat_: got a row that sums to 2, expected 1"),
    ({"coef_": np.ones((2, 3))}, r"coef_: got shape \(2, 3\), expected \(2, 2, 1, 1\)"),
    ({"covars_": [1.0, 0.0]}, "covars_: got a matrix that is not symmetric positive definite"),
    ({"switching_mean": False}, "means_: got rows that differ"),
])
def test_wrong_settings_are_refused(rng, change, message):
    model = random_model(rng, 2, 2)
    for name, value in change.items():
        setattr(model, name, value)
    with pytest.raises(ValueError, match=message):
        model.log_prob(np.zeros(5))
