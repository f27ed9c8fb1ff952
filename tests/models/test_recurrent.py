"""Recurrent: its input, its results, and that a seed fixes every bit."""

import itertools

import numpy as np
import pytest

from rnncore import models
from rnncore.models import Recurrent
from rnncore.models.networks import recurrent as module
from rnncore.models.networks.feed import RealFeed, SymbolFeed, lanes, spans

TEXT = "the cat sat on the mat. the dog sat on the log. " * 30
RAGGED = [np.arange(n) % 4 for n in (0, 1, 2, 3, 40, 0, 7, 25)]


@pytest.fixture(scope="module")
def text():
    return Recurrent("gru", 24, epochs=80, lr=0.01, window=48, batch_size=8, seed=0).fit([TEXT])


@pytest.fixture(scope="module")
def ids():
    return Recurrent("lstm", 12, epochs=3, window=5, batch_size=3, valid_fraction=0, seed=1,
                     dtype="float64").fit(RAGGED)


@pytest.fixture(scope="module")
def waves():
    rng = np.random.default_rng(0)
    t = np.arange(400)
    clean = [np.c_[5 + 3 * np.sin(0.2 * t + p), np.cos(0.2 * t + p)] for p in range(4)]
    return [x + 0.1 * rng.normal(size=x.shape) for x in clean]


@pytest.fixture(scope="module")
def real(waves):
    return Recurrent("rnn", 24, epochs=40, lr=0.01, window=40, batch_size=8, seed=2).fit(waves)


# -- the network's input ---------------------------------------------------------
def test_windows_contain_every_step_once_with_its_predecessor_as_input():
    arrays = [np.arange(n) + 100 * k for k, n in enumerate((0, 1, 2, 3, 40, 0, 7, 25))]
    lengths = [len(a) for a in arrays]
    feed, order = SymbolFeed(1000), np.random.default_rng(0).permutation(8)
    windows = feed.windows(arrays, 3, 5, order)
    plan = list(spans(lengths, lanes(lengths, 3, order), 5))
    assert len(windows) == len(plan)
    seen = {k: [] for k in range(8)}
    for places, (x, target, ends, counted, fresh, *_) in zip(plan, windows, strict=True):
        assert len(places) == 3
        for row, (item, begin, end) in enumerate(places):
            assert counted[:, row].sum() == ends[row] == end - begin <= 5
            assert fresh[row] == (begin == 0)
            seen[item] += list(zip(x[: ends[row], row].tolist(), target[: ends[row], row].tolist(),
                                   strict=True))
            if begin < end and begin > 0:
                assert x[0, row] == arrays[item][begin - 1]
    for k, a in enumerate(arrays):
        assert seen[k] == list(zip([1000, *a[:-1]], a, strict=False))


def test_lanes_have_similar_lengths():
    lengths = np.random.default_rng(1).integers(1, 50, size=200)
    queues = lanes(lengths, 7, range(200))
    assert sorted(itertools.chain(*queues)) == list(range(200))
    sums = [lengths[q].sum() for q in queues]
    assert max(sums) - min(sums) <= 50


def test_real_values_are_standardised_and_flagged():
    a = np.array([[1.0, 10.0], [3.0, np.nan], [np.nan, 30.0]])
    feed = RealFeed.learn([a], flags=True, dtype="float64")
    x, target, _, counted, *_ = feed.batch([a], [(0, 0, 3)])
    np.testing.assert_allclose(x[:, 0], [[0, 0, 0, 0], [-1, -1, 1, 1], [1, 0, 1, 0]])
    np.testing.assert_array_equal(counted[:, 0], ~np.isnan(a))
    np.testing.assert_allclose(target[:, 0], [[-1, -1], [1, 0], [0, 1]])


def test_windows_with_a_carried_state_equal_one_long_pass(ids, monkeypatch):
    whole = [ids.log_prob(s, per_step=True) for s in RAGGED]
    monkeypatch.setattr(module, "CHUNK", 4)
    for sequence, want in zip(RAGGED, whole, strict=True):
        # sums of a matrix product may be taken in another order in another shape: 2⁻⁵² each
        np.testing.assert_allclose(ids.log_prob(sequence, per_step=True), want, rtol=1e-12)
        np.testing.assert_allclose(ids.predict(sequence), ids.one_step([*sequence, 0])[-1],
                                   rtol=1e-12)


# -- results -------------------------------------------------------------------
def test_probabilities_of_all_sequences_of_a_length_sum_to_one(ids):
    for length in range(5):
        total = sum(np.exp(ids.log_prob(list(s)))
                    for s in itertools.product(range(4), repeat=length))
        assert total == pytest.approx(1.0, abs=1e-10)


def test_log_prob_is_the_sum_of_the_conditionals(text, real, waves):
    sequence = "the cat on the log."
    ahead = [np.log(text.predict(sequence[:t])[text.alphabet_.index(x)])
             for t, x in enumerate(sequence)]
    np.testing.assert_allclose(text.log_prob(sequence, per_step=True), ahead, rtol=1e-4)
    assert text.log_prob(sequence) == text.log_prob(sequence, per_step=True).sum()

    x = waves[0][:6]
    for t in range(6):
        mean, variance = real.predict(x[:t])
        want = -0.5 * np.sum((x[t] - mean) ** 2 / variance + np.log(2 * np.pi * variance))
        assert real.log_prob(x, per_step=True)[t] == pytest.approx(want, rel=1e-4)


def test_text_and_waves_are_learnt(text, real, waves):
    assert text.perplexity([TEXT[:200]]) < 1.6  # 18 characters
    assert real.mean_squared_error(waves) < 0.05  # noise 0.01; the waves' variance is 2.5
    assert np.all(np.abs(np.log(real.variance_[1] / 0.01)) < np.log(8))
    assert np.all(real.variance_[0] > real.variance_[1])  # there is no context before a first step


def test_a_longer_context_improves_predictions(text):
    # whether "on" or "og" follows depends on the word before "o"
    at = text.alphabet_.index("g")
    assert text.predict("the do")[at] > 0.9
    assert text.predict("the dog sat o")[at] < 0.1


def test_temperature_sharpens_and_flattens(ids):
    context = [0, 1]
    p = ids.predict(context)
    for temperature in (0.5, 1.0, 2.0):
        want = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
        draws = [int(ids.sample(1, context, seed=s, temperature=temperature)[0])
                 for s in range(1500)]
        got = np.bincount(draws, minlength=4) / 1500
        assert (np.abs(got - want) < 4 * np.sqrt(want * (1 - want) / 1500) + 1e-9).all()
    assert {int(ids.sample(1, context, seed=s, temperature=0)[0]) for s in range(9)} == {p.argmax()}
    with pytest.raises(ValueError, match="temperature: got -1"):
        ids.sample(1, temperature=-1)


def test_samples_continue_the_context(text, real, waves):
    assert text.sample(40, TEXT[:48], temperature=0) == TEXT[:40]
    ahead = real.sample(20, waves[0][:100], seed=0, temperature=0.0)
    assert ahead.shape == (20, 2)
    assert np.abs(ahead - waves[0][100:120]).mean() < 0.5
    first = np.stack([real.sample(1, waves[0][:9], seed=s)[0] for s in range(400)])
    mean, variance = real.predict(waves[0][:9])
    assert (np.abs(first.mean(0) - mean) < 4 * np.sqrt(variance / 400)).all()
    assert (np.abs(first.var(0) / variance - 1) < 4 * np.sqrt(2 / 400)).all()


def test_a_beam_as_wide_as_the_tree_finds_the_best(ids):
    context, length = [1, 2], 4
    paths = list(itertools.product(range(4), repeat=length))
    scores = [ids.log_prob([*context, *p]) - ids.log_prob(context) for p in paths]
    path, score = ids.beam(length, context, width=4 ** (length - 1))
    assert tuple(path) == paths[int(np.argmax(scores))]
    assert score == pytest.approx(max(scores), rel=1e-9)
    greedy, lower = ids.beam(length, context, width=1)
    np.testing.assert_array_equal(greedy, ids.sample(length, context, temperature=0))
    assert lower <= score + 1e-12
    assert ids.beam(0, context)[1] == 0.0


def test_beam_search_of_real_values_is_refused(text, real):
    assert isinstance(text.beam(5, "the ")[0], str)
    with pytest.raises(TypeError, match=r"beam: .*symbols"):
        real.beam(3)
    with pytest.raises(ValueError, match="width: got 0"):
        text.beam(3, width=0)


# -- missing values ------------------------------------------------------------------
def test_missing_values_are_masked_or_refused(waves):
    holes = [np.where(np.random.default_rng(3).random(w.shape) < 0.2, np.nan, w) for w in waves]
    with pytest.raises(ValueError, match=r"sequences\[0\]: got NaN .*missing='mask'"):
        Recurrent("gru", 8, epochs=1).fit(holes)
    model = Recurrent("gru", 16, epochs=25, lr=0.01, missing="mask", seed=0).fit(holes)
    assert model.mean_squared_error(waves) < 0.3
    steps = model.log_prob(holes[0], per_step=True)
    assert np.isfinite(steps).all()
    assert (steps[np.isnan(holes[0]).all(axis=1)] == 0).all()
    # a missing value is not treated as the mean
    near = waves[0][:50].copy()
    near[-1] = np.nan
    gone = model.predict(near).mean
    near[-1] = model.shift_
    assert np.abs(gone - model.predict(near).mean).max() > 1e-3


# -- training ------------------------------------------------------------------------
def test_early_stopping_keeps_the_best_weights():
    rng = np.random.default_rng(4)
    noise = [rng.integers(0, 5, size=60) for _ in range(20)]  # there is nothing to learn, so training overfits
    model = Recurrent("gru", 32, epochs=60, lr=0.03, patience=4, seed=0).fit(noise)
    valid = model.history_["valid"]
    assert len(valid) < 60
    assert len(valid) == int(np.argmin(valid)) + 1 + 4
    best = Recurrent("gru", 32, epochs=int(np.argmin(valid)) + 1, lr=0.03, patience=4,
                     seed=0).fit(noise)
    for name, weight in best.network_.parameters.items():
        np.testing.assert_array_equal(model.network_.parameters[name], weight)


def test_given_validation_sequences_are_used():
    model = Recurrent("gru", 8, epochs=4, seed=0).fit([TEXT[:500]], valid=[TEXT[500:700]])
    assert -model.score([TEXT[500:700]]) == pytest.approx(min(model.history_["valid"]), rel=1e-5)
    with pytest.raises(ValueError, match=r"valid\[0\]: got 'Q'"):
        model.fit([TEXT[:500]], valid=["Q"])


def test_no_element_to_train_on_is_refused():
    with pytest.raises(ValueError, match="no symbol"):
        Recurrent().fit([[], []])
    with pytest.raises(ValueError, match="no element to train on"):
        Recurrent(alphabet=3).fit([[], []])
    one = Recurrent("rnn", 4, epochs=1, seed=0).fit([[0]])
    assert one.log_prob([0]) == 0.0  # the only symbol there is


def test_progress_is_reported_every_epoch():
    told = []
    Recurrent("rnn", 4, epochs=3, valid_fraction=0, seed=0).fit(
        ["abab"], progress=lambda done, total, info: told.append((done, total, sorted(info))))
    assert told == [(1, 3, ["train"]), (2, 3, ["train"]), (3, 3, ["train"])]


@pytest.mark.parametrize("cell", ["rnn", "GRU", "lstm", "rnn-relu", "rnn-sigmoid"])
def test_a_seed_fixes_every_bit(cell, tmp_path):
    def fit(seed):
        return Recurrent(cell, 8, num_layers=2, dropout=0.2, epochs=3, window=16, batch_size=4,
                         seed=seed).fit([TEXT[:300], "cat", ""])

    one, two, other = fit(7), fit(7), fit(8)
    for name, weight in one.network_.parameters.items():
        np.testing.assert_array_equal(weight, two.network_.parameters[name])
    weights = other.network_.parameters
    assert any((w != weights[n]).any() for n, w in one.network_.parameters.items())
    assert one.sample(40, "the", seed=3) == two.sample(40, "the", seed=3)
    one.save(tmp_path / "m.safetensors")
    for read in (Recurrent.load(tmp_path / "m.safetensors"),
                 models.load(tmp_path / "m.safetensors")):
        assert read.sample(40, "the", seed=3) == one.sample(40, "the", seed=3)
        np.testing.assert_array_equal(read.predict("the d"), one.predict("the d"))
        np.testing.assert_array_equal(read.log_prob(TEXT[:90], True), one.log_prob(TEXT[:90], True))
        assert read.history_ == one.history_
        assert read.n_parameters_ == one.n_parameters_


def test_loaded_models_of_real_values_have_the_same_bits(real, waves, tmp_path):
    real.save(tmp_path / "m.safetensors")
    read = Recurrent.load(tmp_path / "m.safetensors")
    drawn = [model.sample(9, waves[1], seed=2) for model in (read, real)]
    np.testing.assert_array_equal(*drawn)
    np.testing.assert_array_equal(read.predict(waves[1]).variance, real.predict(waves[1]).variance)


@pytest.mark.parametrize(("name", "value"), [
    ("cell", "elman"), ("cell", 3), ("hidden_size", 0), ("num_layers", 1.0), ("window", 0),
    ("batch_size", True), ("epochs", 0), ("patience", -1), ("dropout", 1.0), ("lr", -0.1),
    ("lr", float("nan")), ("valid_fraction", 1), ("max_norm", "1"), ("missing", "drop"),
])
def test_wrong_settings_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}: got"):
        Recurrent(**{name: value}).fit(["abc"])
