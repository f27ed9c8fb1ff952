"""Weights of samples and of classes, and label smoothing, in both networks."""

import numpy as np
import pytest
import torch
from crafted import save_crafted
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.class_weight import compute_class_weight
from support import same_bits

from rnncore import models
from rnncore.io.safetensors import load_arrays
from rnncore.models import Recurrent, SequenceClassifier
from rnncore.models.interface.weights import class_weights
from rnncore.models.networks.build import feed_of

RNG = np.random.default_rng(4)
WORDS = ["".join(RNG.choice(list("abc"), n)) for n in RNG.integers(1, 9, 60)]
LABELS = np.array([("few" if w.count("a") > 2 else "many") for w in WORDS])
SERIES = [RNG.normal(size=(n, 2)).cumsum(axis=0) for n in RNG.integers(2, 9, 60)]
WEIGHTS = RNG.integers(1, 4, 60)


def parameters(model):
    return model.network_.state_dict()


def near(one, other, tol=1e-9):
    for name, weight in parameters(one).items():
        np.testing.assert_allclose(weight, parameters(other)[name], atol=tol, rtol=0)


# -- weights and repetitions: one batch with everything in it, so that both train on the same loss --------
ONE_BATCH = {"epochs": 5, "batch_size": 1000, "valid_fraction": 0, "dtype": "float64", "seed": 3, "lr": 0.01}


def repeated(items, weights=WEIGHTS):
    return [items[i] for i in np.repeat(np.arange(len(items)), weights)]


@pytest.mark.parametrize("options", [
    {}, {"class_weight": "balanced"}, {"class_weight": {"few": 5.0}}, {"label_smoothing": 0.2},
    {"class_weight": "balanced", "label_smoothing": 0.2, "readout": "mean"},
])
@pytest.mark.parametrize("data", [WORDS, SERIES])
def test_whole_weights_of_a_classifier_are_repetitions(options, data):
    one = SequenceClassifier("gru", 5, **ONE_BATCH, **options).fit(data, LABELS, sample_weight=WEIGHTS)
    two = SequenceClassifier("gru", 5, **ONE_BATCH, **options).fit(repeated(data), repeated(LABELS))
    # sums in another order: 2⁻⁵² per term; Adam divides by the size of a gradient, so small ones count as well
    near(one, two)
    np.testing.assert_allclose(one.history_["train"], two.history_["train"], rtol=1e-10)
    plain = SequenceClassifier("gru", 5, **ONE_BATCH, **options).fit(data, LABELS)
    assert max(np.abs(parameters(one)[n] - w).max() for n, w in parameters(plain).items()) > 1e-4


def test_whole_weights_of_numbers_are_repetitions():
    y = np.array([x[:, 0].sum() for x in SERIES])
    one = SequenceClassifier("gru", 5, **ONE_BATCH).fit(SERIES, y, sample_weight=WEIGHTS)
    two = SequenceClassifier("gru", 5, **ONE_BATCH).fit(repeated(SERIES), repeated(y))
    near(one, two)
    assert (one.y_shift_, one.y_scale_) == pytest.approx((two.y_shift_, two.y_scale_), rel=1e-12)
    np.testing.assert_allclose(one.scale_, two.scale_, rtol=1e-12)
    np.testing.assert_allclose(one.predict(SERIES), two.predict(SERIES), rtol=1e-8)


@pytest.mark.parametrize(("data", "options"), [
    (WORDS, {}), (WORDS, {"label_smoothing": 0.1}), (SERIES, {}), (SERIES, {"missing": "mask"})])
def test_whole_weights_of_a_sequence_model_are_repetitions(data, options):
    settings = ONE_BATCH | options | {"window": 64}
    data = [s.copy() if isinstance(s, np.ndarray) else s for s in data]
    if "missing" in options:
        data[3][1] = np.nan
    exog = [np.cos(s[:, :1]) for s in data] if data[0] is not WORDS[0] and not options else None
    one = Recurrent("gru", 5, **settings).fit(data, exog=exog, sample_weight=WEIGHTS)
    two = Recurrent("gru", 5, **settings).fit(repeated(data), exog=None if exog is None else repeated(exog))
    near(one, two)
    np.testing.assert_allclose(one.history_["train"], two.history_["train"], rtol=1e-10)
    if one.kind_ == "real":
        for name in ("shift_", "scale_", "variance_"):
            np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-8)


def test_held_out_sequences_are_weighted_too():
    """The loss of the last epoch's weights on the held-out part, computed from the predictions."""
    kept = {}

    def keep(trainer):
        kept["valid"] = trainer.valid

    settings = {"epochs": 1, "dtype": "float64", "valid_fraction": 0.5, "seed": 0}
    model = SequenceClassifier("gru", 4, class_weight={"few": 3.0}, label_smoothing=0.1, **settings).fit(
        WORDS, LABELS, sample_weight=WEIGHTS, callbacks=[keep])
    (window,) = kept["valid"]
    assert len(window.targets) == 30
    logits = torch.tensor(model.network_(window.x, None, window.lengths)[0])
    w, s = torch.tensor(model.class_weight_), torch.tensor(window.weights)
    each = torch.nn.CrossEntropyLoss(w, label_smoothing=0.1, reduction="none")(logits, torch.tensor(window.targets))
    wanted = (s * each).sum() / (s * w[window.targets]).sum()
    assert model.history_["valid"] == pytest.approx([wanted.item()], rel=1e-12)

    model = Recurrent("gru", 4, window=5, **settings).fit(SERIES, sample_weight=WEIGHTS, callbacks=[keep])
    total, count = np.zeros(2)
    for window in kept["valid"]:
        output, _ = model.network_(window.x, None, window.lengths)
        assert window.fresh.all() or window.lengths[~window.fresh].max() == 0
        error = np.where(window.counted, output - window.targets, 0) ** 2
        total, count = total + (error.sum((0, 2)) * window.weights).sum(), \
            count + (window.counted.sum((0, 2)) * window.weights).sum()
    assert model.history_["valid"] == pytest.approx([total / count], rel=1e-12)


# -- zeros, and equal weights ----------------------------------------------------------------
@pytest.mark.parametrize("valid_fraction", [0, 0.2])
def test_the_weight_0_leaves_a_sequence_out(valid_fraction):
    weights = np.where(np.arange(60) % 3, 2.0, 0.0)
    kept, settings = np.flatnonzero(weights), {"epochs": 2, "seed": 1, "valid_fraction": valid_fraction}
    one = SequenceClassifier("gru", 4, alphabet="abc", **settings).fit(WORDS, LABELS, sample_weight=weights)
    two = SequenceClassifier("gru", 4, alphabet="abc", **settings).fit([WORDS[i] for i in kept], LABELS[kept])
    near(one, two, 1e-6)
    weights[kept[0]] = 3.0
    one = Recurrent("gru", 4, **settings).fit(SERIES, sample_weight=weights)
    two = Recurrent("gru", 4, **settings).fit([SERIES[i] for i in kept], sample_weight=weights[kept])
    same_bits(parameters(one), parameters(two))
    same_bits(one.variance_, two.variance_)


def test_a_label_of_the_weight_0_is_left_out_but_is_still_a_class():
    settings = {"epochs": 2, "seed": 1}
    y = np.arange(60) % 3
    one = SequenceClassifier("gru", 4, class_weight={1: 0}, alphabet="abc", **settings).fit(WORDS, y)
    assert one.classes_.tolist() == [0, 1, 2]
    two = SequenceClassifier("gru", 4, class_weight={1: 0}, alphabet="abc", **settings).fit(
        WORDS, y, sample_weight=np.where(y == 1, 0.0, 1.0))
    same_bits(parameters(one), parameters(two))


@pytest.mark.parametrize("factor", [1, 7.0, True])
def test_equal_weights_are_none(factor):
    settings = {"epochs": 2, "seed": 1}
    weights = np.full(60, factor)
    for one, two in [
        (SequenceClassifier("gru", 4, **settings).fit(WORDS, LABELS, sample_weight=weights),
         SequenceClassifier("gru", 4, **settings).fit(WORDS, LABELS)),
        (Recurrent("gru", 4, **settings).fit(SERIES, sample_weight=weights),
         Recurrent("gru", 4, **settings).fit(SERIES)),
    ]:
        same_bits(parameters(one), parameters(two))


@pytest.mark.parametrize("factor", [2.0**-200, 2.0**200])
def test_only_the_ratios_of_weights_matter(factor):
    """Also where the weights, or the inverse of their sum, are beyond the range of float32."""
    y, settings = RNG.normal(size=60), {"epochs": 2, "seed": 1}
    for fit in (lambda s: SequenceClassifier("gru", 4, class_weight="balanced", **settings).fit(
                    WORDS, LABELS, sample_weight=s),
                lambda s: SequenceClassifier("gru", 4, **settings).fit(SERIES, y, sample_weight=s),
                lambda s: Recurrent("gru", 4, **settings).fit(SERIES, sample_weight=s)):
        same_bits(parameters(fit(WEIGHTS)), parameters(fit(WEIGHTS * factor)))


def test_weights_pull_towards_the_sequences_that_have_them():
    """The same input with two labels, or two continuations: the probability is the share of the weights."""
    data, y, weights = ["ab"] * 40, ["x", "y"] * 20, np.tile([3.0, 1.0], 20)
    settings = {"epochs": 200, "lr": 0.02, "valid_fraction": 0, "batch_size": 40, "seed": 0}
    model = SequenceClassifier("rnn", 4, **settings)
    assert model.fit(data, y, sample_weight=weights).predict_proba(["ab"])[0, 0] == pytest.approx(0.75, abs=0.01)
    model.set_params(class_weight={"x": 3.0, "y": 1.0})
    assert model.fit(data, y).predict_proba(["ab"])[0, 0] == pytest.approx(0.75, abs=0.01)
    model.set_params(class_weight=None, label_smoothing=0.2)
    one_label = np.where(np.arange(40) < 39, 1, 1e-9)
    assert model.fit(data, ["x"] * 39 + ["y"], sample_weight=one_label).predict_proba(
        ["ab"])[0, 0] == pytest.approx(0.9, abs=0.01)
    text = Recurrent("rnn", 4, **settings).fit(["a", "b"] * 20, sample_weight=weights)
    assert text.predict()[0] == pytest.approx(0.75, abs=0.01)
    smooth = Recurrent("rnn", 4, label_smoothing=0.3, alphabet="abc", **settings).fit(["a"] * 40)
    np.testing.assert_allclose(smooth.predict(), [0.8, 0.1, 0.1], atol=0.01)


# -- against torch and scikit-learn -------------------------------------------------------------
@pytest.mark.parametrize("readout", ["last", "mean"])
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_the_loss_is_that_of_torch_and_gradients_equal_finite_differences(readout, smoothing):
    model = SequenceClassifier("lstm", 4, 2, epochs=1, readout=readout, class_weight={0: 0.5, 2: 4.0},
                               label_smoothing=smoothing, valid_fraction=0, dtype="float64", seed=0)
    data, y, s = SERIES[:6], np.array([0, 2, 1, 1, 2, 0]), np.array([1.0, 2.0, 0.5, 1.0, 3.0, 0.25])
    network = model.fit(data, y).network_
    x, lengths = feed_of(model).whole(data)
    assert network.class_weight.tolist() == model.class_weight_.tolist() == [0.5, 1.0, 4.0]
    record = network.record(x, None, lengths)
    loss, grad = network.loss(record.output, y, weights=s)
    grads = record.backward(grad).parameters
    w = torch.tensor(model.class_weight_)
    each = torch.nn.CrossEntropyLoss(w, label_smoothing=smoothing, reduction="none")(
        torch.tensor(record.output), torch.tensor(y))
    assert loss == pytest.approx(((torch.tensor(s) * each).sum() / (torch.tensor(s) * w[y]).sum()).item(), rel=1e-12)
    h = 1e-5  # truncation h², rounding 1e-16/h
    for name, gradient in grads.items():
        at, losses = np.unravel_index(np.abs(gradient).argmax(), gradient.shape), []
        for step in (h, -h):
            with network.writable() as weights:
                weights[name][at] += step
            losses.append(network.loss(network(x, None, lengths)[0], y, weights=s)[0])
            with network.writable() as weights:
                weights[name][at] -= step
        assert (losses[0] - losses[1]) / (2 * h) == pytest.approx(gradient[at], abs=1e-8)


@pytest.mark.parametrize("setting", [None, "balanced", {"a": 3.0}, {"a": 1, "b": 2, "c": 0.5},
                                     {"a": 1, "b": 2, "c": 0.5, "z": 9}])
@pytest.mark.parametrize("weights", [None, RNG.uniform(0.5, 2, 9)])
def test_weights_of_classes_are_those_of_scikit_learn(setting, weights):
    y = np.array(list("abacaabca"))
    classes, numbers = np.unique(y, return_inverse=True)
    theirs = compute_class_weight(setting, classes=classes, y=y, sample_weight=weights)
    ours = class_weights(setting, classes, numbers, weights)
    np.testing.assert_allclose(np.ones(3) if ours is None else ours, theirs, rtol=1e-14)


def test_scores_are_those_of_scikit_learn():
    s, y = RNG.uniform(0, 2, 60), np.array([x[:, 0].sum() for x in SERIES])
    model = SequenceClassifier("gru", 4, epochs=4, seed=0).fit(WORDS, LABELS)
    assert model.score(WORDS, LABELS, s) == pytest.approx(
        accuracy_score(LABELS, model.predict(WORDS), sample_weight=s), rel=1e-14)
    model = SequenceClassifier("gru", 4, epochs=4, seed=0).fit(SERIES, y)
    assert model.score(SERIES, y, sample_weight=s) == pytest.approx(
        r2_score(y, model.predict(SERIES), sample_weight=s), rel=1e-12)
    assert model.score(SERIES, y) == pytest.approx(r2_score(y, model.predict(SERIES)), rel=1e-12)
    with pytest.raises(ValueError, match=r"sample_weight: got shape \(59,\)"):
        model.score(SERIES, y, s[1:])


def test_scikit_learns_tools_pass_weights_on():
    model = SequenceClassifier("gru", 4, epochs=2, class_weight="balanced", label_smoothing=0.1, seed=0)
    assert clone(model).get_params() == model.get_params()
    weighed = clone(model).set_params(class_weight={"few": 2.0, "many": 1.0})
    assert clone(weighed).class_weight == {"few": 2.0, "many": 1.0}
    search = GridSearchCV(model, {"class_weight": [None, "balanced"]}, cv=2)
    search.fit(WORDS, LABELS, sample_weight=WEIGHTS)
    assert search.best_estimator_.predict(WORDS[:2]).shape == (2,)


# -- labels and files -------------------------------------------------------------------------
@pytest.mark.parametrize("labels", [["few", "many"], [0, 1], [-1.5, 2.0], [False, True]])
def test_weights_by_labels_of_all_kinds_and_files_keep_them(labels, tmp_path):
    y = np.array(labels)[(LABELS == "many").astype(int)]
    setting = dict(zip(labels, [2.0, 0.5], strict=True))
    model = SequenceClassifier("gru", 4, epochs=1, task="label", class_weight=setting, label_smoothing=0.1,
                               seed=0).fit(WORDS, y, sample_weight=WEIGHTS)
    assert model.class_weight_.tolist() == [2.0, 0.5]
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = models.load(path)
    assert again.get_params() == model.get_params()
    assert again.class_weight_.tolist() == [2.0, 0.5]
    assert again.network_.config == model.network_.config
    np.testing.assert_array_equal(again.predict(WORDS), model.predict(WORDS))


def older(arrays, head):
    """A file of before there were weights: neither the settings nor what was learnt of them."""
    for part, names in (("params", ("class_weight", "label_smoothing")), ("state", ("class_weight_",))):
        head[part]["dict"][:] = [pair for pair in head[part]["dict"] if pair[0] not in names]
    save_crafted(head.pop("path"), arrays, head)


@pytest.mark.parametrize("make", [
    lambda: SequenceClassifier("gru", 4, epochs=1, seed=0).fit(WORDS, LABELS),
    lambda: SequenceClassifier("gru", 4, epochs=1, seed=0).fit(SERIES, RNG.normal(size=60)),
    lambda: Recurrent("gru", 4, epochs=1, seed=0).fit(WORDS)])
def test_files_of_before_there_were_weights_are_read(make, tmp_path):
    path, model = tmp_path / "m.safetensors", make()
    model.save(path)
    arrays, head = load_arrays(path)
    older(arrays, head | {"path": path})
    again = models.load(path)
    assert again.get_params() == model.get_params()
    same_bits(parameters(again), parameters(model))
    assert getattr(again, "class_weight_", None) is None


# -- refusals -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("weights", "message"), [
    (np.ones(59), r"sample_weight: got shape \(59,\), expected \(60,\), one weight per sequence"),
    (np.ones((60, 1)), "sample_weight: got shape"), (2.0, r"sample_weight: got shape \(\)"),
    (-np.ones(60), "sample_weight: got -1.0 at 0, expected finite numbers >= 0"),
    (np.where(np.arange(60) == 7, np.nan, 1), "sample_weight: got nan at 7"),
    (np.where(np.arange(60) == 7, np.inf, 1), "sample_weight: got inf at 7"),
    (np.zeros(60), "sample_weight: got only 0, expected at least one"), (["a"] * 60, "sample_weight: got <U1"),
])
def test_wrong_sample_weights_are_refused_by_name(weights, message):
    with pytest.raises((ValueError, TypeError), match=message):
        SequenceClassifier("rnn", 3, epochs=1).fit(WORDS, LABELS, sample_weight=weights)
    with pytest.raises((ValueError, TypeError), match=message):
        Recurrent("rnn", 3, epochs=1).fit(SERIES, sample_weight=weights)


@pytest.mark.parametrize(("setting", "message"), [
    ("balancd", "class_weight: got 'balancd', .*did you mean 'balanced'"), (3, "class_weight: got 3, expected None"),
    ([1, 2], r"class_weight: got \[1, 2\]"),
])
def test_a_wrong_class_weight_is_refused_at_once(setting, message):
    with pytest.raises(ValueError, match=message):
        SequenceClassifier(class_weight=setting)
    with pytest.raises(ValueError, match=message):
        SequenceClassifier().set_params(class_weight=setting)


@pytest.mark.parametrize(("setting", "message"), [
    ({"few": -1}, r"class_weight\['few'\]: got -1"), ({"few": np.nan}, r"class_weight\['few'\]: got nan"),
    ({"few": "2"}, r"class_weight\['few'\]: got '2'"), ({"some": 2.0}, "class_weight: got a weight for 'some'"),
    ({"few": 0, "many": 0}, "class_weight: got only 0"),
])
def test_wrong_weights_of_labels_are_refused_by_name(setting, message):
    with pytest.raises(ValueError, match=message):
        SequenceClassifier("rnn", 3, epochs=1, class_weight=setting).fit(WORDS, LABELS)


def test_weights_that_leave_nothing_are_refused_by_name():
    few = LABELS == "few"
    with pytest.raises(ValueError, match="class_weight: got 'balanced', but all sequences with the label 'few'"):
        SequenceClassifier("rnn", 3, class_weight="balanced").fit(WORDS, LABELS, sample_weight=~few)
    with pytest.raises(ValueError, match="sample_weight, class_weight: got weights of which one is 0"):
        SequenceClassifier("rnn", 3, class_weight={"many": 0}).fit(WORDS, LABELS, sample_weight=~few)
    with pytest.raises(ValueError, match="no element to train on"):
        Recurrent("rnn", 3).fit([[0, 1], []], sample_weight=[0, 1])


def test_options_for_labels_are_refused_for_numbers():
    y = RNG.normal(size=60)
    for options, message in [
        ({"class_weight": "balanced"}, "class_weight: got 'balanced', expected None for numbers"),
        ({"label_smoothing": 0.1}, "label_smoothing: got 0.1, expected 0 for numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            SequenceClassifier("rnn", 3, epochs=1, **options).fit(SERIES, y)
    with pytest.raises(ValueError, match=r"label_smoothing: got 0\.1, expected 0 for numbers"):
        Recurrent("rnn", 3, epochs=1, label_smoothing=0.1).fit(SERIES)
    for value in (-0.1, 1, "much"):
        with pytest.raises(ValueError, match="label_smoothing: got"):
            Recurrent("rnn", 3, epochs=1, label_smoothing=value).fit(WORDS)
