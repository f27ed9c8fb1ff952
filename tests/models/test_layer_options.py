"""Options of the layer in models with a network: they reach it, and are settings like all others."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from support import same_bits

from rnncore import models
from rnncore.models import Recurrent, SequenceClassifier

WAVE = np.sin(np.arange(120.0))
TEXT = "abcd" * 30
OPTIONS = [
    ("lstm", {"peepholes": True, "proj_size": 3}), ("lstm", {"coupled": True, "cell_clip": 2.0}),
    ("gru", {"gate_clip": 3.0, "bias": False}), ("gru", {"reset_after": False}),
    ("gru", {"activations": ["hardsigmoid", ("leakyrelu", 0.1)]}), ("rnn", {"nonlinearity": "relu"}), ("gru", {}),
]


def copies(model, path):
    model.save(path)
    return models.load(path), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)


@pytest.mark.parametrize("data", [TEXT, WAVE], ids=["text", "numbers"])
@pytest.mark.parametrize(("cell", "options"), OPTIONS)
def test_a_recurrent_model_has_them_in_its_layer(cell, options, data, tmp_path):
    before = copy.deepcopy(options)
    model = Recurrent(cell, 5, 2, layer_options=options, epochs=1, window=16, seed=0)
    assert model.get_params()["layer_options"] is options
    assert clone(model).get_params() == model.get_params()
    model.fit([data])
    layer = model.network_.layer
    for name, value in options.items():
        wanted = (("hardsigmoid", 0.2, 0.5), ("leakyrelu", 0.1)) if name == "activations" else value
        assert getattr(layer, name) == wanted
    joint = model.log_prob(data[:20])
    assert np.isfinite(joint)
    assert joint == pytest.approx(model.log_prob(data[:20], per_step=True).sum(), rel=1e-9)
    ahead = model.sample(12, data[:9], seed=1)
    for again in copies(model, tmp_path / "m.safetensors"):
        assert again.get_params() == model.get_params()
        assert again.log_prob(data[:20]) == joint
        assert np.array_equal(again.sample(12, data[:9], seed=1), ahead)
    assert options == before


@pytest.mark.parametrize("readout", ["last", "mean"])
@pytest.mark.parametrize(("cell", "options"), OPTIONS)
def test_a_classifier_may_have_a_layer_in_two_directions(cell, options, readout, tmp_path):
    words, labels = [TEXT[:k] for k in range(3, 23)], ["a", "b"] * 10
    options = {**options, "bidirectional": True}
    model = SequenceClassifier(cell, 5, layer_options=options, readout=readout, epochs=1, seed=0).fit(words, labels)
    assert model.network_.layer.bidirectional
    wanted = model.predict_proba(words)
    same_bits(model.predict_proba(words[3:4]), wanted[3:4])
    for again in copies(model, tmp_path / "m.safetensors"):
        assert again.get_params() == model.get_params()
        same_bits(again.predict_proba(words), wanted)


def test_without_options_a_model_is_as_before():
    bits = [Recurrent("lstm", 4, epochs=1, seed=0, **options).fit([TEXT]).log_prob(TEXT)
            for options in ({}, {"layer_options": None}, {"layer_options": {}})]
    assert bits[0] == bits[1] == bits[2]
    assert repr(Recurrent("gru", layer_options={"bias": False})).endswith("layer_options={'bias': False})")


@pytest.mark.parametrize(("options", "error", "said"), [
    (3, TypeError, "layer_options: got int, expected None or a dict"),
    (["bias"], TypeError, "layer_options: got list"),
    ({"proj": 1}, ValueError, "layer_options: got 'proj', expected .*, proj_size; did you mean 'proj_size'"),
    ({"reset_after": True}, ValueError, "layer_options: got 'reset_after', .* of the cell 'lstm'"),
    ({"hidden_size": 3}, ValueError, "layer_options: got 'hidden_size', .*: hidden_size is an argument of the model"),
    ({"batch_first": True}, ValueError, "layer_options: got 'batch_first'"),
    ({1: 2}, ValueError, "layer_options: got 1"),
    ({"bias": 1}, TypeError, "layer_options, bias: got 1, expected True or False"),
    ({"peepholes": 3}, TypeError, "peepholes: got 3"),
    ({"proj_size": 99}, ValueError, "proj_size: got 99, expected less than hidden_size = 4"),
    ({"activations": ["tanh"]}, ValueError, "activations: got 1 of them, expected 3"),
])
def test_wrong_options_are_refused_by_fit(options, error, said):
    with pytest.raises(error, match=said):
        Recurrent("lstm", 4, layer_options=options, epochs=1).fit([TEXT])
    with pytest.raises(error, match=said):
        SequenceClassifier("lstm", 4, layer_options=options, epochs=1).fit(["ab", "ba"] * 9, ["a", "b"] * 9)


def test_a_prediction_of_the_next_element_must_not_see_it():
    with pytest.raises(ValueError, match=r"layer_options: got 'bidirectional', .* must not depend on later ones"):
        Recurrent("lstm", 4, layer_options={"bidirectional": True}, epochs=1).fit([TEXT])


@pytest.mark.parametrize(("cell", "options"), [
    ("rnn-relu", {"nonlinearity": "tanh"}), ("gru-reset-before", {"reset_after": True})])
def test_they_do_not_contradict_the_name_of_the_cell(cell, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"layer_options, {name}"):
        Recurrent(cell, 4, epochs=1, layer_options=options).fit(TEXT)
