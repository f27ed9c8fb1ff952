"""Model files of any origin: a loaded model can be used; all other files are refused, by file and field."""

import time

import numpy as np
import pytest
from crafted import changed, changed_arrays, read, save_crafted
from support import same_bits

from rnncore import models
from rnncore.io.fields import DamagedFileError
from rnncore.io.safetensors import load_arrays
from rnncore.models import (
    AutoRegressive,
    HiddenMarkov,
    Markov,
    Recurrent,
    SequenceClassifier,
    SwitchingAutoRegressive,
)

RNG = np.random.default_rng(7)
SERIES = np.cumsum(RNG.normal(size=(80, 2)), axis=0) * 0.1
WORDS = ["abba", "baab", "abab", "bbba", "aabb"] * 2


def set_by_hand():
    model = HiddenMarkov(2)
    model.startprob_, model.transmat_ = [0.6, 0.4], [[0.7, 0.3], [0.4, 0.6]]
    model.emissionprob_ = [[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]
    return model


FITTED = {
    "AutoRegressive": lambda: AutoRegressive(2).fit([SERIES]),
    "AutoRegressive by a criterion": lambda: AutoRegressive("bic", max_order=3).fit(
        [SERIES], exog=[RNG.normal(size=(80, 1))]),
    "Markov": lambda: Markov(2).fit(["abracadabra", "", "c"]),
    "Markov of numbers": lambda: Markov(2, smoothing="kneser-ney").fit([[0, 2, 1, 1], [3]]),
    "HiddenMarkov": lambda: HiddenMarkov(2, n_iter=3, random_state=0).fit(WORDS),
    "HiddenMarkov by hand": set_by_hand,
    "HiddenMarkov, full": lambda: HiddenMarkov(
        2, "gaussian", "full", n_iter=3, random_state=0).fit([SERIES]),
    "HiddenMarkov, diagonal": lambda: HiddenMarkov(
        2, "gaussian", n_iter=3, random_state=0).fit([SERIES]),
    "Switching": lambda: SwitchingAutoRegressive(2, n_iter=3, random_state=0).fit([SERIES]),
    "Switching, intercept": lambda: SwitchingAutoRegressive(
        2, form="intercept", n_iter=3, random_state=0).fit([SERIES]),
    "Recurrent": lambda: Recurrent("gru", 4, epochs=1, dropout=0.2, seed=0).fit(WORDS),
    "Recurrent of numbers": lambda: Recurrent(
        "lstm", 4, 2, epochs=1, missing="mask", seed=0).fit([SERIES]),
    "Recurrent, projected": lambda: Recurrent("lstm", 4, layer_options={
        "proj_size": 2, "peepholes": True, "activations": ("sigmoid", ("scaledtanh", 1.7, 0.7), "tanh")},
        epochs=1, seed=0).fit(WORDS),
    "Classifier in two directions": lambda: SequenceClassifier("gru", 4, layer_options={
        "bidirectional": True, "bias": False}, epochs=1, seed=0).fit(WORDS, [word[0] for word in WORDS]),
    "Classifier": lambda: SequenceClassifier("rnn", 4, epochs=1, seed=0).fit(
        WORDS, [word[0] for word in WORDS]),
    "Classifier of numbers": lambda: SequenceClassifier("gru", 4, epochs=1, seed=0).fit(
        list(SERIES.reshape(10, 8, 2)), RNG.normal(size=10)),
}  # fmt: skip


@pytest.fixture(scope="module", params=FITTED)
def model(request):
    return FITTED[request.param]()


def sequence(model):
    kind = model.__dict__.get("kind_", "ids")
    return {"text": "ab", "ids": [1, 0], "real": SERIES[:5]}[kind]


def use(model):
    """Use a loaded model; its results may be meaningless, but no error of Python itself is raised."""
    with np.errstate(all="ignore"):
        if isinstance(model, SequenceClassifier):
            return model.predict([sequence(model)])
        if getattr(model, "n_exog_", 0):
            inputs = np.ones((6, model.n_exog_))
            return (model.log_prob(sequence(model), exog=inputs[:5]),
                    model.predict(sequence(model), exog=inputs))
        return model.log_prob(sequence(model)), model.predict(sequence(model))


def check_use(model, what):
    """The model gives a result, or an error that names what is wrong."""
    error = None
    try:
        use(model)
    except (ValueError, FloatingPointError) as caught:
        error = caught
    except Exception as caught:
        raise AssertionError(f"{what}: {type(caught).__name__}: {caught}") from caught
    own = (models.NotFittedError, np.linalg.LinAlgError)
    assert type(error) in (type(None), ValueError) or isinstance(error, own), f"{what}: {error!r}"


def test_a_loaded_model_has_everything_that_was_saved(model, tmp_path):
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = models.load(path)
    assert again.get_params() == model.get_params()
    assert {n for n in vars(again) if n.endswith("_")} == {n for n in vars(model) if n.endswith("_")}
    for one, other in zip(np.atleast_1d(np.asarray(use(model), object)),
                          np.atleast_1d(np.asarray(use(again), object)), strict=True):  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_crafted_files_are_refused(model, tmp_path, rng):
    path = tmp_path / "m.safetensors"
    model.save(path)
    arrays, head = load_arrays(path)
    refused, start = 0, time.process_time()
    for _ in range(60):
        some, one = arrays, head
        if arrays and rng.random() < 0.4:
            some, what = changed_arrays(arrays, rng)
        else:
            one, what = changed(head, rng)
        save_crafted(path, some, one)
        loaded = read(models.load, path, what)
        refused += loaded is None
        if loaded is not None and loaded.__sklearn_is_fitted__():
            check_use(loaded, what)
    assert refused > 20
    assert time.process_time() - start < 30


def crafted(path, model, change):
    model.save(path)
    arrays, head = load_arrays(path)
    change(arrays, head)
    save_crafted(path, arrays, head)


def settings(head):
    return {name: (pair, k) for k, (name, *_) in enumerate(head["params"]["dict"])
            for pair in [head["params"]["dict"]]}  # fmt: skip


def set_param(name, value):
    def change(arrays, head):
        pairs, k = settings(head)[name]
        pairs[k][1] = value

    return change


def set_state(name, value):
    def change(arrays, head):
        pairs = head["state"]["dict"]
        (k,) = [k for k, (own, _) in enumerate(pairs) if own == name]
        pairs[k][1] = value

    return change


def add_state(name, value):
    return lambda arrays, head: head["state"]["dict"].append([name, value])


def set_array(name, value):
    return lambda arrays, head: arrays.update({name: value})


CASES = {
    "a class that is none": ("Markov", lambda a, h: h.update({"class": "Gaussian"}), "holds a Gaussian"),
    "a class that is no text": ("Markov", lambda a, h: h.update({"class": [1]}), "class is a list of 1"),
    "two tags": ("Markov", lambda a, h: h.update({"state": {"list": [], "dict": []}}), "state is a dict"),
    "an array that is not there": ("Markov", set_state("kind_", {"array": "x"}), "array is 'x'"),
    "a method": ("Markov", add_state("predict", 3), "state.predict is unknown"),
    "its class": ("Markov", add_state("__class__", 3), "state.__class__ is unknown"),
    "an unknown setting": (
        "Markov", lambda a, h: h["params"]["dict"].append(["width", 3]), "params.width is unknown"),
    "a negative order": ("Markov", set_param("order", -1), "params: order: got -1"),
    "a number as text": ("Markov", set_param("alpha", "much"), "params: alpha: got 'much'"),
    "a count of 0": ("Markov", set_array("state.counts_.0", np.zeros(1)), "state.counts_"),
    "a key beyond the trie": (
        "Markov", set_array("state.keys_.0", np.array([0, 99])), "keys_.0. is an array .*, expected ris"),
    "a symbol beyond int64": ("Markov", set_state("alphabet_", 3), "state.alphabet_ is 3, expected a te"),
    "an order without weights": ("AutoRegressive", set_state("order_", 10**9), "state.weights_ is a list"),
    "a feature too many": ("AutoRegressive", set_state("n_features_", 3), "weights_.0. is an array"),
    "weights that are none": (
        "AutoRegressive", set_array("state.weights_.0", np.full((1, 2), np.nan)), "not finite"),
    "rows above 1": (
        "HiddenMarkov", set_array("state.values.transmat_", np.ones((2, 2))), "values: transmat_: got a ro"),
    "many states": ("HiddenMarkov", set_param("n_states", 10**9), "state.values: startprob_: got shape"),
    "another emission": ("HiddenMarkov", set_param("emission", "poisson"), "emission: got 'poisson'"),
    "more symbols than columns": ("HiddenMarkov", set_state("alphabet_", "abc"), "expected one for each"),
    "a parameter of another class": (
        "HiddenMarkov", lambda a, h: add_value(h, "coef_", a), "state.values.coef_ is unknown"),
    "variances under 0": (
        "HiddenMarkov, diagonal", set_array("state.values.covars_", -np.ones((2, 2))), "covars_: got -1"),
    "a matrix that is no covariance": (
        "Switching", set_array("state.values.covars_", -np.ones((2, 2, 2))), "not symmetric positive"),
    "large units": ("Recurrent", lambda a, h: set_config(h, "hidden_size", 8000), "head.weight has shape"),
    "other symbols": ("Recurrent", set_state("alphabet_", "abc"), "config is a dict of 9, expected 4 in"),
    "a deviation of 0": (
        "Recurrent of numbers", set_array("state.scale_", np.zeros(2)), "scale_ is .*deviations above 0"),
    "losses that are none": (
        "Recurrent", set_state("history_", {"dict": [["train", {"list": ["x"]}]]}), "history_.train.0. is"),
    "labels of two kinds": (
        "Classifier", set_state("classes_", {"list": ["a", 1]}), "classes_ is a list of 2, expected two"),
    "one label": ("Classifier", set_state("classes_", {"list": ["a"]}), "classes_ is a list of 1"),
    "a third label": ("Classifier", set_state("classes_", {"list": ["a", "b", "c"]}), "and 3 outputs"),
    "a task that is none": ("Classifier", set_state("task_", "auto"), "task_ is 'auto', expected one of"),
    "a scale without end": ("Classifier of numbers", set_state("y_scale_", float("inf")), "y_scale_ is inf"),
}  # fmt: skip


def add_value(head, name, arrays):
    arrays[f"state.values.{name}"] = np.ones((2, 2))
    for own, value in head["state"]["dict"]:
        if own == "values":
            value["dict"].append([name, {"array": f"state.values.{name}"}])


def set_config(head, name, value):
    network = dict(map(tuple, dict(map(tuple, head["state"]["dict"]))["network_"]["dict"]))
    layer = dict(map(tuple, network["config"]["dict"]))["layer"]["dict"]
    for pair in layer:
        if pair[0] == name:
            pair[1] = value


@pytest.mark.parametrize("name", CASES)
def test_values_that_do_not_fit_are_refused_by_name(tmp_path, name):
    kind, change, message = CASES[name]
    path = tmp_path / "m.safetensors"
    crafted(path, FITTED[kind](), change)
    with pytest.raises(ValueError, match=message) as caught:
        models.load(path)
    assert str(path) in str(caught.value)
    if "holds a" not in message:
        assert type(caught.value) is DamagedFileError


@pytest.mark.parametrize("kind", ["Recurrent", "Recurrent of numbers", "Classifier", "Classifier of numbers"])
@pytest.mark.parametrize("readout", ["last", "mean"])
def test_files_of_networks_without_a_readout_are_read(tmp_path, kind, readout):
    """Such files have the loss "cross_entropy" for all networks, and the readout in the settings alone."""
    model, path = FITTED[kind](), tmp_path / "m.safetensors"
    if kind.startswith("Classifier"):
        model.readout = readout
        model.fit(["ab", "ba"] * 4, [0, 1] * 4) if model.task_ == "label" else model.fit(
            list(SERIES.reshape(10, 8, 2)), RNG.normal(size=10))

    def older(arrays, head):
        network = dict(map(tuple, dict(map(tuple, head["state"]["dict"]))["network_"]["dict"]))
        pairs = network["config"]["dict"]
        pairs[:] = [[name, "cross_entropy" if name == "loss" else value] for name, value in pairs if name != "readout"]

    crafted(path, model, older)
    again = models.load(path)
    same_bits(again.network_.state_dict(), model.network_.state_dict())
    for one, other in zip(use(again), use(model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.network_.config == model.network_.config
    assert again.network_.readout == getattr(model, "readout", "steps")


def test_a_network_of_another_readout_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    crafted(path, FITTED["Classifier"](), set_param("readout", "mean"))
    with pytest.raises(DamagedFileError, match="expected the loss cross_entropy and the readout mean"):
        models.load(path)


def test_models_defined_outside_the_package_are_saved_and_loaded(tmp_path):
    """A subclass without methods for files is loaded with the values that it had learnt, and no others."""

    class Constant(models.SequenceModelBase):
        def __init__(self, value=0):
            self.value = value

        def fit(self, sequences, y=None, *, progress=False):
            self.seen_, self.mean_ = len(sequences), np.mean(sequences)
            return self

    path = tmp_path / "m.safetensors"
    Constant(3).fit([1.0, 2.0]).save(path)
    again = Constant.load(path)
    assert (again.value, again.seen_, again.mean_) == (3, 2, 1.5)
    for name in ("fit", "predict_", "_cache_", "__class__"):
        Constant(3).fit([1.0, 2.0]).save(path)
        arrays, head = load_arrays(path)
        head["state"]["dict"].append([name, 1])
        save_crafted(path, arrays, head)
        if name == "predict_":
            assert Constant.load(path).predict_ == 1
            continue
        with pytest.raises(DamagedFileError, match=f"state.{name} is 1, expected nothing of this name"):
            Constant.load(path)
