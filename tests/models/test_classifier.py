"""SequenceClassifier: one label or number for a sequence of any length."""

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score

from rnncore import models
from rnncore.models import NotFittedError, SequenceClassifier
from rnncore.models.networks.build import feed_of

RNG = np.random.default_rng(0)
WORDS = ["ab" * k for k in range(1, 25)] + ["ba" * k for k in range(1, 25)]
FIRST = [word[0] for word in WORDS]


@pytest.fixture(scope="module")
def words():
    return SequenceClassifier("gru", 16, epochs=60, lr=0.02, patience=60, seed=0).fit(WORDS, FIRST)


@pytest.fixture(scope="module")
def sums():
    x = [RNG.normal(size=(n, 2)) + 1 for n in RNG.integers(1, 9, size=300)]
    y = np.array([a[:, 0].sum() for a in x])
    return SequenceClassifier("gru", 32, epochs=60, lr=0.01, seed=0).fit(x, y), x, y


def test_the_first_symbol_is_remembered(words):
    assert words.score(WORDS, FIRST) == 1.0
    assert words.task_ == "label"
    assert words.classes_.tolist() == ["a", "b"]
    assert set(words.predict(["", "a", "ba" * 40])) <= {"a", "b"}
    p = words.predict_proba(["a", "baba"])
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(words.classes_[p.argmax(axis=1)], words.predict(["a", "baba"]))


def test_numbers_are_predicted_in_their_unit(sums):
    model, x, y = sums
    assert model.task_ == "number"
    assert model.score(x, y) > 0.9
    assert model.predict(x).shape == (300,)
    with pytest.raises(TypeError, match="predict_proba: fitted on numbers"):
        model.predict_proba(x)


@pytest.mark.parametrize("readout", ["last", "mean"])
def test_a_row_does_not_depend_on_its_batch(readout):
    x = [RNG.normal(size=(n, 3)) for n in (0, 1, 2, 50, 7)]
    model = SequenceClassifier("lstm", 8, num_layers=2, epochs=2, readout=readout, seed=0,
                               dtype="float64").fit(x * 4, [0, 1, 2, 0, 1] * 4)
    alone = np.concatenate([model.predict_proba([a]) for a in x])
    # the last product's sums may be taken in another order
    np.testing.assert_allclose(model.predict_proba(x), alone, rtol=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("readout", ["last", "mean"])
@pytest.mark.parametrize("symbols", [True, False])
def test_gradients_equal_finite_differences(cell, readout, symbols):
    rng = np.random.default_rng(5)
    lengths = (1, 4, 6, 2)
    x = [rng.integers(0, 3, size=n) if symbols else rng.normal(size=(n, 2)) for n in lengths]
    y = np.array([0, 2, 1, 1])
    model = SequenceClassifier(cell, 5, num_layers=2, epochs=1, valid_fraction=0, readout=readout,
                               dtype="float64", seed=0).fit(x, y)
    network = model.network_
    inputs, ends = feed_of(model).whole(x)
    _, grads, _ = network.loss_and_grads(inputs, y, None, ends)
    assert grads.keys() == network.parameters.keys()
    h = 1e-5  # truncation h², rounding 1e-16/h
    for name, grad in grads.items():
        at = np.unravel_index(np.abs(grad).argmax(), grad.shape)
        losses = []
        for step in (h, -h):
            with network.writable() as weights:
                weights[name][at] += step
            losses.append(network.loss(model._outputs(x), y)[0])
            with network.writable() as weights:
                weights[name][at] -= step
        assert (losses[0] - losses[1]) / (2 * h) == pytest.approx(grad[at], abs=1e-8)


def test_digits_are_recognised_from_64_pixels_in_a_row():
    images, labels = load_digits(return_X_y=True)
    model = SequenceClassifier("gru", 48, epochs=12, lr=0.01, seed=0).fit(images[:1300],
                                                                         labels[:1300])
    assert model.score(images[1300:], labels[1300:]) > 0.7  # a blind guess is right in 0.1
    assert model.history_["valid"][-1] < model.history_["valid"][0]


def test_scikit_learns_tools_work():
    model = SequenceClassifier("gru", 8, epochs=8, lr=0.02, seed=0)
    assert is_classifier(model)
    assert not is_classifier(SequenceClassifier(task="number"))
    assert clone(model).get_params() == model.get_params()
    x = RNG.normal(size=(60, 5)) + np.repeat([0, 2], 30)[:, None]
    scores = cross_val_score(model, x, np.repeat(["low", "high"], 30), cv=2)
    assert scores.min() > 0.8
    with pytest.raises(NotFittedError, match="call fit"):
        model.predict(x)


def test_a_seed_fixes_every_bit_and_files_keep_them(words, sums, tmp_path):
    again = clone(words).fit(WORDS, FIRST)
    for name, weight in words.network_.parameters.items():
        np.testing.assert_array_equal(weight, again.network_.parameters[name])
    path = tmp_path / "m.safetensors"
    words.save(path)
    for read in (SequenceClassifier.load(path), models.load(path)):
        np.testing.assert_array_equal(read.predict_proba(WORDS), words.predict_proba(WORDS))
        np.testing.assert_array_equal(read.predict(WORDS), words.predict(WORDS))
        assert read.classes_.dtype == words.classes_.dtype
    model, x, _ = sums
    model.save(path)
    np.testing.assert_array_equal(models.load(path).predict(x), model.predict(x))


def test_missing_values_are_masked_or_refused():
    x = RNG.normal(size=(40, 6))
    y = (x[:, 0] > 0).astype(int)
    x[::3, 2] = np.nan
    with pytest.raises(ValueError, match=r"sequences\[0\]: got NaN"):
        SequenceClassifier(epochs=1).fit(x, y)
    model = SequenceClassifier("gru", 8, epochs=2, missing="mask", seed=0).fit(x, y)
    assert np.isfinite(model.predict_proba(x)).all()


@pytest.mark.parametrize(("x", "y", "message"), [
    (["a", "b"], [0], "y: got shape"), (["a", "b"], [1, 1], r"y: got \[1\] as the only labels"),
    (["a", "b"], [1.0, np.nan], "y: got nan at 1"), (["a", [1]], [0, 1], "kinds"),
    ([], [], "empty list"), (np.zeros((2, 3, 4, 5)), [0, 1], "X: got shape"),
])
def test_wrong_data_are_refused_by_name(x, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        SequenceClassifier("rnn", 4, epochs=1).fit(x, y)


@pytest.mark.parametrize(("name", "value"), [
    ("task", "regress"), ("readout", "first"), ("cell", "mlp"), ("hidden_size", -1),
    ("missing", True), ("valid_fraction", -0.5), ("valid_fraction", 0.9),
])
def test_wrong_settings_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}: got"):
        SequenceClassifier(epochs=1, **{name: value}).fit(["a", "b", "aa", "bb"], [0, 1, 0, 1])


def test_strings_as_numbers_are_refused():
    with pytest.raises(TypeError, match="y: got dtype"):
        SequenceClassifier(task="number").fit(["a", "b"], ["x", "y"])


@pytest.mark.parametrize(("y", "message"), [
    ([1.0, np.nan, 2.0, 3.0], "y: got nan at 1, expected finite numbers"),
    ([1.0, None, 2.0, 3.0], "y: got .* at 1, expected"),
    (np.ma.masked_array(np.arange(4.0), [False, True, False, False]), "y: got .* at 1, expected"),
    ([1.0, 2.0], r"y: got shape \(2,\), expected \(4,\), one value per sequence"),
    (list("abca"), "y: got dtype <U1, expected numbers, as in fit"),
])
def test_wrong_numbers_are_refused_by_score_too(sums, y, message):
    model, x, _ = sums
    with pytest.raises((TypeError, ValueError), match=message):
        model.score(x[:4], y)


def test_a_masked_weight_is_refused(sums):
    weights = np.ma.masked_array(np.ones(4), [False, True, False, False])
    for call in (SequenceClassifier("rnn", 2, epochs=1).fit, sums[0].score):
        with pytest.raises(ValueError, match="sample_weight: got a masked value"):
            call(sums[1][:4], sums[2][:4], sample_weight=weights)


@pytest.mark.parametrize("wobble", [0.0, 1e-13])
@pytest.mark.parametrize("size", [1.0, -3e5, 1e-9])
def test_numbers_that_are_constant_but_for_rounding_have_their_own_size_as_scale(rng, size, wobble):
    """The predictions then stay near the constant; a scale of the rounding would make noise of it."""
    X, y = rng.normal(size=(40, 5)), size * (1 + wobble * rng.uniform(-1, 1, size=40))
    model = SequenceClassifier("gru", 4, task="number", epochs=5, seed=0).fit(X, y)
    assert model.y_scale_ == pytest.approx(abs(size))
    assert model.y_shift_ == pytest.approx(size)
    moved = SequenceClassifier("gru", 4, task="number", epochs=5, seed=0).fit(X, y + 1e-12 * size)
    np.testing.assert_allclose(moved.predict(X), model.predict(X), rtol=1e-4)


@pytest.mark.parametrize("y", [[None] * 2, np.array([None, None]), [None, float("nan")]])
def test_labels_of_which_none_is_known_are_refused(y):
    """One message for all of them, not one about the first, which could be left out."""
    with pytest.raises(ValueError, match="y: got no value at all among 2, expected a label or a number"):
        SequenceClassifier("gru", 4, epochs=1, seed=0).fit(["ab", "ba"], y)
