"""Resets inside the sequences of a whole model: as if its rows were cut there."""

import math

import numpy as np
import pytest
from support import same_bits

from rnncore.data import Window, fingerprint
from rnncore.nn import CELLS, Embedding, Linear, SequenceModel, make_layer, sequence_model
from rnncore.optim import SGD
from rnncore.train import Trainer, evaluate

T, B, TOKENS = 12, 3, 7
MARKS = np.zeros((T, B), bool)
MARKS[[0, 4, 5, 9], [0, 0, 2, 1]] = True


def model_of(cell, dtype="float64", **options):
    return sequence_model(cell, TOKENS, hidden_size=5, embedding_size=4, num_layers=2, dtype=dtype, seed=1, **options)


def pieces(b):
    cuts = [t for t in range(1, T) if MARKS[t, b]]
    return list(zip([0, *cuts], [*cuts, T], strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_predictions_and_gradients_are_those_of_the_parts(cell, rng):
    model = model_of(cell)
    tokens, targets = rng.integers(TOKENS, size=(2, T, B))
    predictions, state = model(tokens, reset=MARKS)
    record = model.record(tokens, reset=MARKS)
    same_bits((record.output, record.state), (predictions, state))
    loss, grads, _ = model.loss_and_grads(tokens, targets, reset=MARKS)
    total, expected = 0.0, dict.fromkeys(grads, 0.0)
    for b in range(B):
        for start, stop in pieces(b):
            part = np.s_[start:stop, b : b + 1]
            same_bits(predictions[part], model(tokens[part])[0])
            own, own_grads, _ = model.loss_and_grads(tokens[part], targets[part])
            share = (stop - start) / (T * B)
            total += share * own
            expected = {name: value + share * own_grads[name] for name, value in expected.items()}
    assert loss == pytest.approx(total, rel=1e-12)
    for name, value in expected.items():
        np.testing.assert_allclose(grads[name], value, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("readout", ["last", "mean"])
def test_gradients_are_those_of_finite_differences(readout, rng):
    layer = make_layer("lstm", 4, 5, bidirectional=True, dtype="float64", seed=1)
    model = SequenceModel(Embedding(TOKENS, 4, dtype="float64", seed=2), layer,
                          Linear(10, TOKENS, dtype="float64", seed=3), readout=readout)
    tokens, targets = rng.integers(TOKENS, size=(T, B)), rng.integers(TOKENS, size=B)
    _, grads, _ = model.loss_and_grads(tokens, targets, lengths=[12, 8, 7], reset=MARKS)
    step, values = 1e-6, model.state_dict()
    for name, value in values.items():
        direction, found = rng.normal(size=value.shape), []
        for sign in (1, -1):
            with model.writable() as w:
                w[name][...] = value + sign * step * direction
            predictions, _ = model(tokens, lengths=[12, 8, 7], reset=MARKS)
            found.append(model.loss(predictions, targets)[0])
        with model.writable() as w:
            w[name][...] = value
        measured = (found[0] - found[1]) / (2 * step)
        assert measured == pytest.approx((grads[name] * direction).sum(), rel=1e-6, abs=1e-9), name


def test_batch_first_and_one_sequence(rng):
    model = model_of("gru", "float32")
    layer = make_layer("gru", 4, 5, num_layers=2, batch_first=True)
    layer.load_state_dict(model.layer.state_dict())
    by_rows = SequenceModel(model.embedding, layer, model.head)
    tokens = rng.integers(TOKENS, size=(T, B))
    predictions, _ = model(tokens, reset=MARKS)
    same_bits(by_rows(tokens.T, reset=MARKS.T)[0].swapaxes(0, 1), predictions)
    same_bits(model(tokens[:, 0], reset=MARKS[:, 0])[0], predictions[:, 0])
    with pytest.raises(ValueError, match=r"reset: got shape \(3, 12\), expected \(12, 3\): \(T, B\)"):
        model(tokens, reset=MARKS.T)


def test_training_and_evaluation_use_the_resets_of_a_window(rng):
    model = model_of("gru")
    tokens, targets = rng.integers(TOKENS, size=(2, T, B))
    predictions, _ = model(tokens, reset=MARKS)
    loss, grads, _ = model.loss_and_grads(tokens, targets, reset=MARKS)
    window = Window(tokens, targets, reset=MARKS)
    assert evaluate(model, [window]) == pytest.approx(model.loss(predictions, targets)[0] / math.log(2), rel=1e-12)
    assert fingerprint([window]) not in (None, fingerprint([Window(tokens, targets)]))
    before = model.state_dict()
    trainer = Trainer(model, SGD(model, lr=0.5), [{"x": tokens, "targets": targets, "reset": MARKS}], max_norm=None)
    assert trainer.update() == loss
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, before[name] - 0.5 * grads[name], rtol=1e-12, err_msg=name)
    wrong = Trainer(model, SGD(model, lr=0.5), [Window(tokens, targets, reset=MARKS.T)])
    with pytest.raises(ValueError, match=r"batches\[0\]: reset: got shape"):
        wrong.update()
