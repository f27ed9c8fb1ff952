"""The shared interface: checks of sequences, scikit-learn's conventions for settings, files."""

import os

import numpy as np
import pytest
from sklearn import exceptions
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from rnncore import models
from rnncore._progress import progress_bar
from rnncore.data import Alphabet
from rnncore.io.safetensors import DamagedFileError, save_arrays
from rnncore.models import AutoRegressive, HiddenMarkov, Markov, NotFittedError
from rnncore.models.interface.sequences import as_list, as_real, symbols_of
from rnncore.models.networks.feed import RealFeed, SymbolFeed

RNG = np.random.default_rng(3)


def fitted():
    """One fitted model for every kind of sequence, and one of its training sequences."""
    text = Markov(2).fit(["abracadabra", "", "c"])
    ids = Markov(1, smoothing="kneser-ney").fit([[0, 2, 1, 1], [3]])
    real = AutoRegressive(2).fit([RNG.normal(size=(50, 2)), RNG.normal(size=(7, 2))])
    return [(text, "cab"), (ids, [1, 3]), (real, RNG.normal(size=(6, 2)))]


# -- sequences ---------------------------------------------------------------
def test_one_sequence_alone_is_a_list_of_one():
    assert as_list("ab") == ["ab"]
    assert len(as_list([1, 2, 3])) == 1
    assert len(as_list(np.arange(3))) == 1
    assert len(as_list(np.zeros((4, 3), int))) == 4
    assert len(as_list(np.zeros((4, 3)), real=True)) == 1
    assert len(as_list(np.zeros((2, 4, 3)), real=True)) == 2
    assert len(as_list(iter(["a", "b"]))) == 2


@pytest.mark.parametrize(("bad", "message"), [
    (None, "got NoneType"), (3, "got int"), ({"a": 1}, "got dict"), (b"ab", "got bytes"),
    ([1, [2]], "mixed"), (np.zeros((2, 2, 2, 2)), "shape"),
])
def test_anything_but_a_list_of_sequences_is_refused(bad, message):
    with pytest.raises((TypeError, ValueError), match=f"sequences: .*{message}"):
        as_list(bad)


@pytest.mark.parametrize(("bad", "message"), [
    ([], "empty list"), ([[]], "no symbol"), ([""], "no symbol"), (["a", [1]], "kinds"),
    ([[-1]], ">= 0"), ([[0.5]], "dtype"), ([[1.0, np.nan]], "NaN at step 1"),
])
def test_values_that_are_not_symbols_are_refused_by_name(bad, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Markov().fit(bad)


def test_unknown_symbols_are_named_with_their_place_and_the_way_out():
    with pytest.raises(ValueError, match=r"sequence: got 'z' at step 1, .*alphabet="):
        Markov().fit(["abc"]).log_prob("azb")
    with pytest.raises(ValueError, match=r"sequence: got symbol 7 at step 2, .*alphabet=8"):
        Markov().fit([[0, 1]]).log_prob([0, 1, 7])
    assert np.isfinite(Markov(alphabet="abcz").fit(["abc"]).log_prob("azb"))
    assert np.isfinite(Markov(alphabet=8).fit([[0, 1]]).log_prob([0, 7]))


def test_text_of_any_plane_survives():
    text = "aé😀\x00\ud800"
    letters = Alphabet(text)
    assert letters.decode(letters.encode(text)) == text
    assert Markov().fit([text]).sample(20, seed=0).strip(text) == ""


def test_real_values_are_checked_by_name():
    with pytest.raises(ValueError, match=r"x: got NaN at step 1, feature 0.*missing='mask'"):
        as_real([0.0, np.nan], name="x")
    with pytest.raises(ValueError, match=r"x: got an infinite value at step 0, feature 1"):
        as_real([[0.0, np.inf]], missing="mask", name="x")
    with pytest.raises(TypeError, match="dtype complex"):
        as_real([1j])
    with pytest.raises(TypeError, match="string"):
        as_real("abc")
    with pytest.raises(ValueError, match="got 3 features, expected 2"):
        as_real(np.ones((4, 3)), 2)
    frozen = np.ones((4, 2))
    frozen.setflags(write=False)
    assert as_real(frozen[::2]).shape == (2, 2)


# -- the interface -----------------------------------------------------------
def test_score_and_perplexity_are_the_mean_log_probability():
    for model, sequence in fitted():
        both = [sequence, sequence[:1]]
        mean = sum(model.log_prob(s) for s in both) / (len(sequence) + 1)
        assert model.score(both) == pytest.approx(mean, rel=1e-14)
        assert model.perplexity(both) == pytest.approx(np.exp(-mean), rel=1e-14)
        assert model.score(sequence) == pytest.approx(model.log_prob(sequence) / len(sequence))
        with pytest.raises(ValueError, match="no element"):
            model.score([sequence[:0]])


def test_one_step_is_predict_at_every_step():
    for model, sequence in fitted():
        steps = model.one_step(sequence)
        for t in range(len(sequence)):
            ahead = model.predict(sequence[:t])
            if model.kind_ == "real":
                np.testing.assert_allclose(steps.mean[t], ahead.mean, rtol=1e-12)
                np.testing.assert_allclose(steps.variance[t], ahead.variance, rtol=1e-12)
            else:
                np.testing.assert_allclose(steps[t], ahead, rtol=1e-12)


def test_empty_sequences_and_single_elements_are_accepted():
    for model, sequence in fitted():
        assert model.log_prob(sequence[:0]) == 0.0
        assert model.log_prob([], per_step=True).shape == (0,)
        assert model.log_prob(sequence[:1], per_step=True).shape == (1,)
        assert len(model.one_step(sequence[:0])[0] if model.kind_ == "real"
                   else model.one_step(sequence[:0])) == 0
        assert len(model.sample(0)) == 0
        first = model.predict()
        same = model.predict(sequence[:0])
        np.testing.assert_array_equal(first[0], same[0])


def test_samples_repeat_to_the_bit_and_keep_the_form():
    for model, sequence in fitted():
        one, two, other = (model.sample(30, sequence, seed=s) for s in (5, 5, 6))
        np.testing.assert_array_equal(np.array(list(one)), np.array(list(two)))
        assert not np.array_equal(np.array(list(one)), np.array(list(other)))
        assert isinstance(one, str) == (model.kind_ == "text")
        for bad in (-1, 1.5, True, None):
            with pytest.raises(ValueError, match="length: got"):
                model.sample(bad)


def test_a_wrong_seed_is_refused_by_name():
    for seed in ("a", -1, 1.5):
        for model, sequence in fitted():
            with pytest.raises((TypeError, ValueError), match="seed: got"):
                model.sample(3, sequence, seed=seed)
        for model in (models.Recurrent(seed=seed), models.SequenceClassifier(seed=seed)):
            with pytest.raises((TypeError, ValueError), match="seed: got"):
                model.fit(["ab", "ba"], [0, 1])


def test_mean_squared_error_is_of_real_values_only():
    model, x = fitted()[2]
    want = np.mean((x - model.one_step(x).mean) ** 2)
    assert model.mean_squared_error([x]) == pytest.approx(want, rel=1e-14)
    with pytest.raises(TypeError, match="perplexity"):
        fitted()[0][0].mean_squared_error(["ab"])


# -- scikit-learn's conventions --------------------------------------------------
def test_clone_has_the_settings_and_nothing_learnt():
    model = Markov(3, smoothing="kneser-ney", alphabet="ab").fit(["abba"])
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert repr(copy) == "Markov(order=3, smoothing='kneser-ney', alphabet='ab')"
    with pytest.raises(exceptions.NotFittedError, match="call fit"):
        copy.predict("a")
    with pytest.raises(NotFittedError):
        AutoRegressive().predict([1.0])


def test_set_params_changes_the_next_fit_only():
    model = Markov(1).fit(["abcabc"])
    assert model.set_params(order=2) is model
    assert model.fit(["abcabc"]).predict("ab")[2] > 0.4
    with pytest.raises(ValueError, match="'window', expected one of"):
        model.set_params(window=2)
    with pytest.raises(ValueError, match=r"'ordre', expected one of .*; did you mean 'order'"):
        model.set_params(alpha=7.0, ordre=2)
    assert model.alpha == 1.0


@pytest.mark.parametrize(("kind", "name", "wrong", "message"), [
    ("Recurrent", "cell", "lsmt", "cell: got 'lsmt', expected one of .*; did you mean 'lstm'"),
    ("SequenceClassifier", "cell", "LTSM", "cell: got 'LTSM', expected one of .*; did you mean 'lstm'"),
    ("Recurrent", "cell", 3, "cell: got 3, expected one of [^;]*$"), ("Recurrent", "cell", None, "cell: got None"),
    ("Recurrent", "dtype", "float23", "dtype: got 'float23'"), ("Recurrent", "missing", "maks", "mean 'mask'"),
    ("SequenceClassifier", "readout", "lats", "readout: got 'lats', .*mean 'last'"),
    ("SequenceClassifier", "task", "labels", "task: got 'labels', .*mean 'label'"),
    ("SequenceClassifier", "missing", True, "missing: got True"),
    ("AutoRegressive", "order", "bci", "order: got 'bci'"),
    ("AutoRegressive", "missing", "drop", "missing: got 'drop'"),
    ("Markov", "smoothing", "kneser", "smoothing: got 'kneser', .*mean 'kneser-ney'"),
    ("HiddenMarkov", "emission", "gausian", "emission: got 'gausian', .*mean 'gaussian'"),
    ("HiddenMarkov", "covariance_type", "tied", "covariance_type: got 'tied'"),
    ("SwitchingAutoRegressive", "form", "maen", "form: got 'maen', .*mean 'mean'"),
])  # fmt: skip
def test_a_wrong_name_is_refused_at_once_and_changes_nothing(kind, name, wrong, message):
    """By the constructor, by set_params and by an assignment; scikit-learn's clone needs right names only."""
    model = getattr(models, kind)()
    before = model.get_params()
    other = {number: 3 for number in ("seed", "random_state", "max_order", "alpha") if number in before}
    assert other
    with pytest.raises(ValueError, match=message):
        getattr(models, kind)(**{name: wrong})
    with pytest.raises(ValueError, match=message):
        model.set_params(**other, **{name: wrong})
    with pytest.raises(ValueError, match=message):
        setattr(model, name, wrong)
    assert model.get_params() == before == clone(model).get_params()


def test_a_grid_search_finds_the_order():
    rng = np.random.default_rng(0)
    x = [np.cumsum(rng.integers(0, 2, size=400)) % 5 for _ in range(6)]  # order 1
    search = GridSearchCV(Markov(alphabet=5), {"order": [0, 1, 4]}, cv=3).fit(x)
    assert search.best_params_ == {"order": 1}


# -- files -------------------------------------------------------------------
def test_a_loaded_model_has_the_same_bits(tmp_path):
    for model, sequence in fitted():
        path = tmp_path / f"{model.kind_}.safetensors"
        model.save(path)
        for read in (type(model).load(path), models.load(path)):
            assert type(read) is type(model)
            assert read.get_params() == model.get_params()
            np.testing.assert_array_equal(read.log_prob(sequence, True),
                                          model.log_prob(sequence, True))
            np.testing.assert_array_equal(read.predict(sequence)[0], model.predict(sequence)[0])
            np.testing.assert_array_equal(np.array(list(read.sample(9, seed=1))),
                                          np.array(list(model.sample(9, seed=1))))
    assert len(os.listdir(tmp_path)) == 3


def test_settings_alone_can_be_saved(tmp_path):
    for model in (Markov(3, alphabet="ab"), AutoRegressive("aic", max_order=4),
                  models.Recurrent("gru", 5), models.SequenceClassifier(task="number")):
        model.save(tmp_path / "m.safetensors")
        read = models.load(tmp_path / "m.safetensors")
        assert read.get_params() == model.get_params()
        with pytest.raises(NotFittedError):
            read.predict(["a"])


def test_a_damaged_file_is_refused_wherever_the_damage_is(tmp_path):
    path = tmp_path / "m.safetensors"
    Markov(2).fit(["abracadabra"]).save(path)
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 200).astype(int):
        broken = bytearray(whole)
        broken[place] ^= 1
        path.write_bytes(broken)
        with pytest.raises(DamagedFileError, match=r"m\.safetensors"):
            Markov.load(path)
    for length in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=r"m\.safetensors"):
            Markov.load(path)


def test_files_of_another_class_or_none_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    AutoRegressive(1).fit(RNG.normal(size=40)).save(path)
    with pytest.raises(ValueError, match=r"holds a AutoRegressive, expected a Markov"):
        Markov.load(path)
    for bad in (tmp_path / "none", tmp_path / "no" / "where"):
        with pytest.raises(FileNotFoundError):
            Markov.load(bad)
    with pytest.raises(FileNotFoundError):
        Markov().fit(["ab"]).save(tmp_path / "no" / "where")
    save_arrays(path, {"a": np.ones(3)}, {"format": "another"})
    with pytest.raises(DamagedFileError, match="no sequence model"):
        models.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    model = Markov().fit(["ab"])
    model.save(path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        model.fit(["abc"]).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.safetensors"]


# -- progress ----------------------------------------------------------------
def test_progress_may_be_a_callable():
    seen = []
    with progress_bar(lambda done, total, info: seen.append((done, total, info)), 3, "x") as bar:
        bar.update(1)
        bar.update(2, loss=0.5)
    assert seen == [(1, 3, {}), (3, 3, {"loss": 0.5})]


@pytest.mark.filterwarnings("ignore:.*parameters to")
def test_reprs_have_the_settings_and_no_arrays():
    assert repr(Markov(3, smoothing="kneser-ney")) == "Markov(order=3, smoothing='kneser-ney')"
    assert repr(Markov()) == "Markov()"
    assert repr(HiddenMarkov(2, startprob_prior=np.ones(2))) == "HiddenMarkov(startprob_prior=<array (2,)>)"
    steps = HiddenMarkov(2, random_state=0, n_iter=3).fit(["abab"]).filter()
    steps.step("a")
    assert repr(steps).startswith("Filter(HiddenMarkov(n_iter=3, random_state=0), n_seen=1, log_prob=-")
    assert [repr(symbols_of(3)), repr(SymbolFeed(3))] == ["Integers(3)", "SymbolFeed(3)"]
    assert repr(RealFeed(np.zeros(2), np.ones(2), True)) == "RealFeed(2 features and flags, dtype='float32')"


def test_dir_of_the_package_shows_its_public_names():
    assert dir(models) == sorted(models.__all__)
    assert set(models._HOMES) | {"load"} == set(models.__all__)


@pytest.mark.filterwarnings("ignore:.*parameters to")
def test_score_refuses_inputs_that_a_model_does_not_take():
    with pytest.raises(TypeError, match="exog"):
        HiddenMarkov(2, random_state=0).fit(["abab"]).score(["ab"], exog=[[1.0, 2.0]])
