"""HiddenMarkov: kinds of sequences, missing values, files, settings, and refused arguments."""

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
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from rnncore.models import HiddenMarkov


# -- kinds of sequences ---------------------------------------------------------------------------
def test_text_gives_the_results_of_the_same_integers(rng):
    model = HiddenMarkov(2, n_iter=20, random_state=0).fit(["abab" * 10, "", "b", "aabb" * 8])
    assert model.predict("ab").shape == (2,)
    assert isinstance(model.sample(5, "a", seed=0), str)
    ids = HiddenMarkov(2, n_iter=20, random_state=0).fit([[0, 1] * 20, [], [1], [0, 0, 1, 1] * 8])
    assert model.log_prob("abba") == ids.log_prob([0, 1, 1, 0])
    assert 1 < model.perplexity(["abab", "ba"]) < 2.5
    with pytest.raises(ValueError, match="sequence: got 'c' at step 1"):
        model.log_prob("ac")


@pytest.mark.parametrize("kind", ["categorical", "diag", "full"])
@pytest.mark.filterwarnings("ignore:.*parameters to")
def test_sequences_of_length_0_and_1_are_accepted(rng, kind):
    values = random_parameters(rng, 3, kind)
    short = random_sequences(rng, kind, lengths=(0, 1, 0, 1, 1))
    model = ours(kind, 3, values)
    assert model.log_prob(short[0]) == 0
    assert model.log_prob(short[0], per_step=True).shape == (0,)
    assert model.posteriors(short[0]).shape == (0, 3)
    log_prob, path = model.decode(short[0])
    assert (log_prob, len(path)) == (0, 0)
    every = model.one_step(short[0])
    assert len(every if kind == "categorical" else every.mean) == 0
    assert model.posteriors(short[1]).shape == (1, 3)
    with_them = ours(kind, 3, values, n_iter=1).fit([*short, *random_sequences(rng, kind)])
    assert np.isfinite(with_them.history_).all()
    # single elements give no information on transitions
    alone = ours(kind, 3, values, n_iter=2).fit([short[1], short[3], short[4]])
    np.testing.assert_array_equal(alone.transmat_, values["transmat_"])
    with pytest.raises(ValueError, match=r"sequences: got no s(tep|ymbol)"):
        ours(kind, 3, values).fit([short[0], short[2]])


@pytest.mark.parametrize("n_gaps", [1, 3])
def test_a_missing_symbol_is_summed_over(rng, n_gaps):
    values = random_parameters(rng, 3, "categorical", symbols=3)
    model = ours("categorical", 3, values, missing="mask")
    x = np.array([0, 2, 1, 1, 2])
    gaps = [1, 3, 4][:n_gaps]
    filled = []
    for fill in itertools.product(range(3), repeat=n_gaps):
        y = x.copy()
        y[gaps] = fill
        filled.append(model.log_prob(y))
    x[gaps] = -1
    assert model.log_prob(x) == pytest.approx(np.log(np.exp(filled).sum()), abs=1e-12)
    assert model.log_prob(np.ma.masked_equal(x, -1)) == pytest.approx(model.log_prob(x))
    np.testing.assert_allclose(model.log_prob(x, per_step=True)[gaps], 0, atol=1e-14)
    assert model.score([x]) == pytest.approx(model.log_prob(x) / (5 - n_gaps))
    with pytest.raises(ValueError, match="expected integers >= 0"):
        ours("categorical", 3, values).log_prob(x)


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_a_missing_row_does_not_count(rng, kind):
    values, (x,) = random_parameters(rng, 3, kind), random_sequences(rng, kind, lengths=(6,))
    model = ours(kind, 3, values, missing="mask", n_iter=8, tol=-np.inf)
    likelihood = np.exp(gaussian_log_density(x, values["means_"], values["covars_"]))
    likelihood[[0, 3]] = 1
    x[0, 1] = x[3] = np.nan
    total, gamma, *_ = by_enumeration(values["startprob_"], values["transmat_"], likelihood)
    assert model.log_prob(x) == pytest.approx(np.log(total), rel=1e-10)
    np.testing.assert_allclose(model.posteriors(x), gamma, atol=1e-11)
    # rows of unknown values at the end change nothing
    more = np.concatenate([x, np.full((4, 3), np.nan)])
    np.testing.assert_allclose(model.log_prob(more), model.log_prob(x), rtol=1e-12)
    sequences = random_sequences(rng, kind)
    sequences[2][::5, 0] = np.nan
    fitted = model.set_params(covars_prior=0.0).fit(sequences)
    assert (np.diff(fitted.history_) > -1e-9).all()
    with pytest.raises(ValueError, match="got NaN at step 0, feature 1"):
        ours(kind, 3, values).log_prob(x)


def test_a_fit_with_missing_symbols_raises_the_likelihood(rng):
    x = random_sequences(rng, "categorical")
    x[2][::3] = -1
    model = HiddenMarkov(3, random_state=0, missing="mask", n_iter=15).fit(x)
    assert model.n_symbols_ == 7
    assert (np.diff(model.history_) > -1e-9).all()


# -- files and checks ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["categorical", "diag", "full"])
def test_a_loaded_model_has_the_same_bits(rng, kind, tmp_path):
    sequences = random_sequences(rng, kind)
    model = ours(kind, 3, random_parameters(rng, 3, kind), n_iter=3).fit(sequences)
    model.save(tmp_path / "model.safetensors")
    again = HiddenMarkov.load(tmp_path / "model.safetensors")
    assert again.get_params() == model.get_params()
    for name in (*PARAMETERS[model.emission], "history_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    assert again.log_prob(sequences[2]) == model.log_prob(sequences[2])
    np.testing.assert_array_equal(again.sample(9, seed=1), model.sample(9, seed=1))


def test_settings_are_kept_as_scikit_learn_requires():
    model = HiddenMarkov(3, "gaussian", "full", n_iter=7, random_state=2)
    assert clone(model).get_params() == model.get_params()
    assert repr(model) == ("HiddenMarkov(n_states=3, emission='gaussian', covariance_type='full', "
                           "n_iter=7, random_state=2)")


def test_the_same_seed_gives_the_same_fit(rng):
    sequences = random_sequences(rng, "diag")
    a, b, c = (HiddenMarkov(3, "gaussian", random_state=s, n_iter=3).fit(sequences)
               for s in (1, 1, 2))
    np.testing.assert_array_equal(a.means_, b.means_)
    assert not np.array_equal(a.means_, c.means_)


def test_an_unfitted_model_raises_not_fitted():
    for ask in (lambda m: m.log_prob([0]), lambda m: m.sample(3), lambda m: m.decode([0]),
                lambda m: m.filter(), lambda m: m.score([[0]])):
        with pytest.raises(NotFittedError, match="HiddenMarkov: not fitted yet"):
            ask(HiddenMarkov(2))
    with pytest.raises(AttributeError, match="transmat_ yet; set it or call fit"):
        HiddenMarkov(2).transmat_


@pytest.mark.parametrize(("change", "message"), [
    ({"startprob_": [0.5, 0.6]}, r"startprob_: got a row that sums to 1.1, expected 1"),
    ({"startprob_": [1.5, -0.5]}, "startprob_: got -0.5, expected probabilities"),
    ({"startprob_": [1.0]}, r"startprob_: got shape \(1,\), expected \(2,\)"),
    ({"transmat_": np.eye(3)}, r"transmat_: got shape \(3, 3\), expected \(2, 2\)"),
    ({"means_": np.zeros(2)}, r"means_: got shape \(2,\), expected \(2, 1\)"),
    ({"covars_": np.zeros((2, 3))}, "covars_: got 0, expected variances above 0"),
    ({"covars_": np.ones((2, 2))}, r"covars_: got shape \(2, 2\), expected \(2, 3\)"),
])
def test_wrong_parameters_are_refused(rng, change, message):
    model = ours("diag", 2, random_parameters(rng, 2, "diag") | change)
    with pytest.raises(ValueError, match=message):
        model.log_prob(np.zeros((3, 3)))


def test_wrong_settings_and_data_are_refused(rng):
    with pytest.raises(ValueError, match="emission: got 'poisson', expected one of 'categorical'"):
        HiddenMarkov(2, "poisson").fit([[0, 1]])
    with pytest.raises(ValueError, match="covariance_type: got 'tied'"):
        HiddenMarkov(2, "gaussian", "tied").fit([np.zeros((3, 1))])
    with pytest.raises(ValueError, match="n_states: got 0, expected a whole number >= 1"):
        HiddenMarkov(0).fit([[0, 1]])
    with pytest.raises(ValueError, match=r"n_iter: got 2\.5"):
        HiddenMarkov(2, n_iter=2.5).fit([[0, 1]])
    with pytest.raises(ValueError, match="random_state: got -1, expected None, a whole number >= 0"):
        HiddenMarkov(2, random_state=-1).fit([[0, 1]])
    with pytest.raises(TypeError, match="means_: got"):
        HiddenMarkov(2).means_ = "a"
    with pytest.raises(ValueError, match="means_: got values that are not finite"):
        HiddenMarkov(2).means_ = [[np.nan]]
    model = ours("diag", 2, random_parameters(rng, 2, "diag"))
    with pytest.raises(ValueError, match="sequence: got 2 features, expected 3"):
        model.log_prob(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="got 2 features, expected as many as in the means_"):
        model.fit([rng.normal(size=(9, 2))])
    small = ours("categorical", 2, random_parameters(rng, 2, "categorical", symbols=2))
    with pytest.raises(ValueError, match="got 4 different symbols, expected 2"):
        small.fit([[0, 3]])
    with pytest.raises(ValueError, match="got NaN"):
        HiddenMarkov(2, "gaussian").fit([[0.0, np.nan]])
    with pytest.raises(ValueError, match="only missing values"):
        HiddenMarkov(2, "gaussian", missing="mask").fit([[np.nan, np.nan]])


def test_impossible_sequences_are_reported(rng):
    model = set_parameters(HiddenMarkov(2), {
        "startprob_": [1.0, 0], "transmat_": np.eye(2), "emissionprob_": [[1.0, 0], [0, 1]]})
    np.testing.assert_array_equal(model.log_prob([0, 0, 1, 0], per_step=True),
                                  [0, 0, -np.inf, -np.inf])
    assert model.decode([0, 1])[0] == -np.inf
    with pytest.raises(ValueError, match="sequence: has probability 0"):
        model.posteriors([0, 1])
    with pytest.raises(ValueError, match="step 1 of the sequence has probability 0"):
        model.predict([0, 1])
    with pytest.raises(ValueError, match=r"sequences\[1\]: has probability 0"):
        model.fit([[0, 0], [0, 1]])
    f = model.filter()
    f.step(0)
    with pytest.raises(ValueError, match="x: got 1, which has probability 0"):
        f.step(1)
    assert f.n_seen == 1


def test_a_singular_covariance_is_refused_with_the_way_out(rng):
    x = rng.normal(size=(4, 3))
    with pytest.raises(ValueError, match=r"covars_: that of state .* is not positive definite"):
        HiddenMarkov(3, "gaussian", "full", random_state=0, covars_prior=-1.0).fit([x])


@pytest.mark.filterwarnings("ignore:.*parameters to")
def test_an_emissionprob_that_is_set_may_have_a_larger_alphabet(rng):
    model = ours("categorical", 2, random_parameters(rng, 2, "categorical", symbols=5))
    model.fit([[0, 1, 2, 1, 0, 2]])
    assert model.emissionprob_.shape == (2, 5)
    assert model.log_prob([4]) < model.log_prob([1])
