"""HiddenMarkov against other programs, its results against their definitions, its training."""

import itertools

import numpy as np
import pytest
from chain_twin import (
    PARAMETERS,
    by_enumeration,
    gaussian_log_density,
    ours,
    random_parameters,
    random_sequences,
    set_parameters,
)
from hmmlearn import hmm

import rnncore as rc
from rnncore.models import HiddenMarkov


def theirs(kind, n, values, **options):
    if kind == "categorical":
        model = hmm.CategoricalHMM(n, params="ste", init_params="", **options)
        model.n_features = values["emissionprob_"].shape[1]
    else:
        model = hmm.GaussianHMM(n, covariance_type=kind, init_params="", **options)
    return set_parameters(model, {name: value.copy() for name, value in values.items()})


# -- hmmlearn ------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("kind", ["categorical", "diag", "full"])
def test_results_equal_those_of_hmmlearn_at_the_same_parameters(rng, kind, n):
    values, sequences = random_parameters(rng, n, kind), random_sequences(rng, kind)
    a, b = ours(kind, n, values), theirs(kind, n, values)
    for x in sequences:
        column = x[:, None] if kind == "categorical" else x
        log_prob, path = b.decode(column)
        np.testing.assert_allclose(a.log_prob(x), b.score(column), rtol=1e-10)
        np.testing.assert_allclose(a.decode(x)[0], log_prob, rtol=1e-10)
        np.testing.assert_array_equal(a.decode(x)[1], path)
        np.testing.assert_allclose(a.posteriors(x), b.predict_proba(column), atol=1e-9)


PRIORS = {
    "categorical": {"startprob_prior": 1.5, "transmat_prior": 2.0, "emissionprob_prior": 1.2},
    "diag": {"transmat_prior": 1.1, "means_prior": 9.0, "means_weight": 2.0, "covars_prior": 0.5,
             "covars_weight": 3.0},
    "full": {"means_prior": np.array([8.0, 9.0, 10.0]), "means_weight": 1.5,
             "covars_prior": 0.7 * np.eye(3) + 0.1, "covars_weight": 5.0},
}


@pytest.mark.parametrize("priors", [False, True])
@pytest.mark.parametrize("kind", ["categorical", "diag", "full"])
def test_parameters_after_20_steps_equal_those_of_hmmlearn(rng, kind, priors):
    n = 4
    values = random_parameters(rng, n, kind)
    sequences = random_sequences(rng, kind, lengths=(60, 1, 200, 2, 150))
    if kind != "categorical":
        values["means_"] = values["means_"] + 10
    options = {"n_iter": 20, "tol": -np.inf} | (PRIORS[kind] if priors else {})
    a = ours(kind, n, values, **options).fit(sequences)
    column = np.concatenate(sequences)
    b = theirs(kind, n, values, **options).fit(
        column[:, None] if kind == "categorical" else column, [len(s) for s in sequences])
    np.testing.assert_allclose(a.history_, b.monitor_.history, rtol=1e-9)
    assert a.history_[-1] - a.history_[0] > 10
    for name in PARAMETERS[a.emission]:
        their = b._covars_ if name == "covars_" else getattr(b, name)
        np.testing.assert_allclose(getattr(a, name), their, rtol=1e-7, atol=1e-8, err_msg=name)


def test_training_stops_at_the_step_at_which_hmmlearn_stops(rng):
    values = random_parameters(rng, 3, "categorical")
    sequences = random_sequences(rng, "categorical")
    a = ours("categorical", 3, values, n_iter=200, tol=0.05).fit(sequences)
    b = theirs("categorical", 3, values, n_iter=200, tol=0.05).fit(
        np.concatenate(sequences)[:, None], [len(s) for s in sequences])
    assert a.converged_
    assert len(a.history_) == len(b.monitor_.history) < 200


# -- textbooks -------------------------------------------------------------------------------
def test_the_umbrella_example_of_russell_and_norvig_is_reproduced():
    # Artificial Intelligence, 3rd ed., 15.2: P(R1 | u1) 0.818, P(R2 | u1, u2) 0.883, smoothed 0.883
    model = set_parameters(HiddenMarkov(2), {
        "startprob_": [0.5, 0.5], "transmat_": [[0.7, 0.3], [0.3, 0.7]],
        "emissionprob_": [[0.1, 0.9], [0.8, 0.2]]})
    f = model.filter()
    assert f.step(1)[0] == pytest.approx(0.818, abs=5e-4)
    assert f.step(1)[0] == pytest.approx(0.883, abs=5e-4)
    assert model.posteriors([1, 1])[0, 0] == pytest.approx(0.883, abs=5e-4)


def test_the_healthy_or_fever_example_is_reproduced():
    # Wikipedia, "Viterbi algorithm": normal, cold, dizzy; the best path has probability 0.01512
    model = set_parameters(HiddenMarkov(2), {
        "startprob_": [0.6, 0.4], "transmat_": [[0.7, 0.3], [0.4, 0.6]],
        "emissionprob_": [[0.5, 0.4, 0.1], [0.1, 0.3, 0.6]]})
    log_prob, path = model.decode([0, 1, 2])
    assert np.exp(log_prob) == pytest.approx(0.01512)
    assert path.tolist() == [0, 0, 1]


# -- results against definitions ---------------------------------------------------------------
@pytest.mark.parametrize("kind", ["categorical", "diag", "full"])
def test_per_step_log_prob_prediction_and_filter_agree_with_enumeration(rng, kind):
    values, (x,) = random_parameters(rng, 3, kind), random_sequences(rng, kind, lengths=(5,))
    model = ours(kind, 3, values)
    if kind == "categorical":
        likelihood = values["emissionprob_"].T[x]
    else:
        likelihood = np.exp(gaussian_log_density(x, values["means_"], values["covars_"]))
    totals = [1.0] + [by_enumeration(values["startprob_"], values["transmat_"], likelihood[:t])[0]
                      for t in range(1, 6)]
    steps = model.log_prob(x, per_step=True)
    np.testing.assert_allclose(steps, np.diff(np.log(totals)), rtol=1e-9)
    np.testing.assert_allclose(model.log_prob(x), steps.sum(), rtol=1e-12)
    f = model.filter()
    for t in range(5):
        _, gamma, *_ = by_enumeration(values["startprob_"], values["transmat_"],
                                      likelihood[: t + 1])
        np.testing.assert_allclose(f.step(x[t]), gamma[-1], atol=1e-12)
        one, two = f.predict(), model.predict(x[: t + 1])
        ahead = gamma[-1] @ values["transmat_"]
        if kind == "categorical":
            np.testing.assert_allclose(two, ahead @ values["emissionprob_"], atol=1e-12)
        else:
            mean = ahead @ values["means_"]
            covars = values["covars_"]
            variances = np.diagonal(covars, axis1=1, axis2=2) if kind == "full" else covars
            second = ahead @ (variances + values["means_"] ** 2)
            np.testing.assert_allclose(two.mean, mean, atol=1e-10)
            np.testing.assert_allclose(two.variance, second - mean**2, rtol=1e-9)
        np.testing.assert_allclose(one, two, atol=1e-10)
    assert f.n_seen == 5
    np.testing.assert_allclose(f.log_prob, model.log_prob(x), rtol=1e-12)
    f.reset()
    np.testing.assert_allclose(f.predict(), model.predict(), atol=1e-12)


@pytest.mark.parametrize("kind", ["categorical", "diag"])
def test_one_step_is_predict_at_every_step(rng, kind):
    values, (x,) = random_parameters(rng, 3, kind), random_sequences(rng, kind, lengths=(7,))
    model = ours(kind, 3, values)
    every = model.one_step(x)
    for t in range(7):
        one = model.predict(x[:t])
        if kind == "categorical":
            np.testing.assert_allclose(every[t], one, atol=1e-13)
        else:
            np.testing.assert_allclose(every.mean[t], one.mean, atol=1e-12)
            np.testing.assert_allclose(every.variance[t], one.variance, rtol=1e-12)
    if kind == "diag":
        assert model.mean_squared_error([x]) == pytest.approx(np.mean((x - every.mean) ** 2))


def test_probabilities_of_all_sequences_of_a_length_sum_to_1(rng):
    model = ours("categorical", 3, random_parameters(rng, 3, "categorical", symbols=3))
    for length in range(5):
        every = itertools.product(range(3), repeat=length)
        total = sum(np.exp(model.log_prob(list(x))) for x in every)
        assert total == pytest.approx(1, abs=1e-12)


def test_samples_have_the_models_statistics(rng):
    values = random_parameters(rng, 3, "full", F=2)
    model = ours("full", 3, values)
    x, states = model.sample_states(20_000, seed=3)
    for i in range(3):
        here = x[states == i]
        # mean and covariance of k draws, within 5 standard errors
        error = np.sqrt(np.diagonal(values["covars_"][i]) / len(here))
        assert (np.abs(here.mean(axis=0) - values["means_"][i]) < 5 * error).all()
        np.testing.assert_allclose(np.cov(here.T), values["covars_"][i],
                                   atol=8 * np.abs(values["covars_"][i]).max() / len(here) ** 0.5)
        moves = np.bincount(states[1:][states[:-1] == i], minlength=3)
        np.testing.assert_allclose(moves / moves.sum(), values["transmat_"][i],
                                   atol=5 * 0.5 / moves.sum() ** 0.5)
    starts = [model.sample_states(1, seed=s)[1][0] for s in range(2000)]
    np.testing.assert_allclose(np.bincount(starts, minlength=3) / 2000, values["startprob_"],
                               atol=5 * 0.5 / 2000**0.5)


def test_samples_follow_their_context(rng):
    model = ours("categorical", 4, random_parameters(rng, 4, "categorical"))
    context = [1, 2, 3]
    draws = [model.sample(1, context, seed=s)[0] for s in range(4000)]
    np.testing.assert_allclose(np.bincount(draws, minlength=7) / 4000, model.predict(context),
                               atol=5 * 0.5 / 4000**0.5)
    same = model.sample(50, context, seed=9)
    np.testing.assert_array_equal(same, model.sample(50, context, seed=9))
    assert len(model.sample(0)) == 0


# -- learning -------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["categorical", "diag", "full"])
def test_the_likelihood_never_falls(rng, kind):
    sequences = random_sequences(rng, kind)
    options = {"n_iter": 40, "tol": 0, "random_state": 1, "covars_prior": 0.0}
    model = (HiddenMarkov(4, **options) if kind == "categorical"
             else HiddenMarkov(4, "gaussian", kind, **options)).fit(sequences)
    # a sum over 230 steps of terms below 100 is good to 1e-9
    assert (np.diff(model.history_) > -1e-9).all()
    assert model.history_[-1] > model.history_[0] + 1


def test_a_fit_recovers_the_states_that_generated_the_data(rng):
    truth = ours("diag", 3, {
        "startprob_": [1, 0, 0],
        "transmat_": [[0.9, 0.1, 0], [0, 0.8, 0.2], [0.3, 0, 0.7]],
        "means_": [[0.0, 0], [5, 5], [0, 8]], "covars_": np.ones((3, 2))})
    sequences = [truth.sample(400, seed=s) for s in range(5)]
    model = HiddenMarkov(3, "gaussian", n_init=3, random_state=0).fit(sequences)
    order = [int(np.argmin(((model.means_ - m) ** 2).sum(axis=1))) for m in truth.means_]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(model.means_[order], truth.means_, atol=0.3)
    np.testing.assert_allclose(model.transmat_[np.ix_(order, order)], truth.transmat_, atol=0.1)


@pytest.mark.parametrize("kind", ["categorical", "diag", "full"])
def test_nothing_depends_on_threads(rng, kind, monkeypatch):
    monkeypatch.setattr("rnncore.models.chains.em.ALONE_BELOW", 0)
    values, sequences = random_parameters(rng, 5, kind), random_sequences(rng, kind)
    fits = []
    for threads in (1, 2, 3):
        with rc.threads(threads):
            model = ours(kind, 5, values, n_iter=5, tol=-np.inf).fit(sequences)
            fits.append((model, model.score(sequences)))
    for model, score in fits[1:]:
        assert score == fits[0][1]
        for name in (*PARAMETERS[model.emission], "history_"):
            np.testing.assert_array_equal(getattr(model, name), getattr(fits[0][0], name))


def test_zeros_stay_zeros_and_states_without_data_keep_their_parameters(rng):
    left_right = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]])
    model = ours("categorical", 3, {"startprob_": [1.0, 0, 0], "transmat_": left_right,
                                    "emissionprob_": rng.dirichlet(np.ones(4), 3)}, n_iter=5)
    model.fit([rng.integers(0, 4, 50) for _ in range(3)])
    assert (model.transmat_[left_right == 0] == 0).all()
    np.testing.assert_array_equal(model.startprob_, [1, 0, 0])

    values = random_parameters(rng, 2, "diag", F=2) | {"startprob_": [1.0, 0],
                                                       "transmat_": [[1.0, 0], [0.25, 0.75]]}
    alone = ours("diag", 2, values, n_iter=3).fit([rng.normal(size=(20, 2))])
    np.testing.assert_allclose(alone.means_[1], values["means_"][1], rtol=1e-12)
    np.testing.assert_array_equal(alone.transmat_[1], [0.25, 0.75])


def test_of_several_starts_the_most_likely_fit_is_kept(rng):
    sequences = random_sequences(rng, "diag")
    ends = [HiddenMarkov(4, "gaussian", n_iter=15, random_state=5, n_init=k).fit(sequences)
            .history_[-1] for k in (1, 4, 8)]
    assert ends == sorted(ends)
    assert ends[-1] > ends[0]


def test_a_fit_starts_from_set_parameters_and_a_warm_one_from_learnt_parameters(rng):
    values = random_parameters(rng, 3, "categorical")
    sequences = random_sequences(rng, "categorical")
    model = ours("categorical", 3, values, n_iter=5, tol=-np.inf)
    first = model.fit(sequences).transmat_
    np.testing.assert_array_equal(model.fit(sequences).transmat_, first)
    model.set_params(warm_start=True).fit(sequences)
    more = ours("categorical", 3, values, n_iter=10, tol=-np.inf).fit(sequences)
    np.testing.assert_array_equal(model.transmat_, more.transmat_)


def test_progress_is_reported(rng):
    told = []
    HiddenMarkov(2, n_iter=4, tol=-np.inf, n_init=2, random_state=0).fit(
        random_sequences(rng, "categorical"), progress=lambda *now: told.append(now))
    assert [done for done, _, _ in told if done] == sorted(done for done, _, _ in told if done)
    assert told[-1][:2] == (8, 8)
    assert told[0][2]["log_prob"] < 0
