"""What the head reads: every step, the state after the last, or the mean over a sequence's own steps."""

import numpy as np
import pytest
from support import close, same_bits

import rnncore as rc
from rnncore.nn import Dropout, Embedding, Linear, SequenceModel, sequence_model

LENGTHS = np.array([5, 0, 3])


def make(readout, kind=rc.LSTM, bidirectional=False, batch_first=False, loss="mse", seed=0):
    layer = kind(3, 4, num_layers=2, bidirectional=bidirectional, batch_first=batch_first, dtype="float64", seed=seed)
    head = Linear(8 if bidirectional else 4, 2, dtype="float64", seed=1)
    return SequenceModel(None, layer, head, loss=loss, readout=readout)


def by_hand(model, x, lengths):
    """Rows one by one, time first."""
    layer, rows = model.layer, []
    for b, n in enumerate(lengths):
        y, state = layer(x[:n, b])
        h = state[0] if isinstance(state, tuple) else state
        if model.readout == "mean":
            rows.append(y.mean(axis=0) if n else np.zeros(y.shape[1]))
        else:
            rows.append(np.concatenate(h[-layer.directions :]))
    return np.stack(rows) @ model.parameters["head.weight"].T + model.parameters["head.bias"]


@pytest.mark.parametrize("readout", ["last", "mean"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", [rc.RNN, rc.LSTM])
def test_last_and_mean_give_one_prediction_per_sequence(rng, readout, bidirectional, kind):
    model = make(readout, kind, bidirectional)
    x = rng.normal(size=(5, 3, 3))
    expected = by_hand(model, x, LENGTHS)
    found, state = model(x, None, LENGTHS)
    assert found.shape == (3, 2)
    close(found, expected, "float64")
    record = model.record(x, None, LENGTHS)
    same_bits(record.output, found)
    same_bits(record.state, state)
    first = make(readout, kind, bidirectional, batch_first=True)
    close(first(x.swapaxes(0, 1), None, LENGTHS)[0], expected, "float64")
    close(model(x)[0], by_hand(model, x, [5, 5, 5]), "float64")
    if not bidirectional:
        close(model(x[:, 0])[0], by_hand(model, x[:, :1], [5])[0], "float64")  # unbatched


@pytest.mark.parametrize("readout", ["steps", "last", "mean"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients_equal_finite_differences(rng, readout, batch_first, bidirectional, lengths):
    """∂L/∂x and all weight gradients; the truncation error is h², the rounding error 1e-16/h."""
    model = make(readout, rc.GRU, bidirectional, batch_first)
    x = rng.normal(size=(3, 5, 3) if batch_first else (5, 3, 3))
    wanted = rng.normal(size=(*x.shape[:2], 2) if readout == "steps" else (3, 2))

    def loss(x):
        return model.loss(model(x, None, lengths)[0], wanted, lengths)[0]

    record = model.record(x, None, lengths)
    grads = record.backward(model.loss(record.output, wanted, lengths)[1])
    h = 1e-5
    for index in [(0, 0, 0), (2, 2, 1), (1, 2, 2)]:
        step = np.zeros_like(x)
        step[index] = h
        assert grads.input[index] == pytest.approx((loss(x + step) - loss(x - step)) / (2 * h), abs=1e-9)
    for name, grad in grads.parameters.items():
        at, losses = np.unravel_index(np.abs(grad).argmax(), grad.shape), []
        for step in (h, -h):
            with model.writable() as weights:
                weights[name][at] += step
            losses.append(loss(x))
            with model.writable() as weights:
                weights[name][at] -= step
        assert grad[at] == pytest.approx((losses[0] - losses[1]) / (2 * h), abs=1e-9), name


def test_writing_to_a_returned_state_does_not_affect_the_gradient(rng):
    model, x = make("last"), rng.normal(size=(5, 3, 3))
    grads = model.record(x).backward(np.ones((3, 2))).parameters
    record = model.record(x)
    state = [part for part in record.state if part.flags.writeable]
    for part in state:
        part[...] = 7
    same_bits(record.backward(np.ones((3, 2))).parameters, grads)


def test_dropout_acts_on_what_the_head_reads():
    layer, head = rc.GRU(2, 50, seed=0), Linear(50, 50, bias=False, seed=0)
    with head.writable() as weights:
        weights["weight"][...] = np.eye(50)
    model = SequenceModel(None, layer, head, dropout=Dropout(0.5, seed=0), loss="mse", readout="last")
    x = np.ones((4, 3, 2))
    plain, record = model(x)[0], model.record(x, train=True)
    kept = record.output != 0
    assert 0.3 < kept.mean() < 0.7
    close(record.output, np.where(kept, 2 * plain, 0), "float32")


def test_configurations_have_the_readout_unless_it_is_steps():
    for readout in ("steps", "last", "mean"):
        model = make(readout)
        assert model.config.get("readout", "steps") == readout
        again = SequenceModel.from_config(model.config)
        assert again.readout == readout
        assert model.astype("float32").readout == readout
    old = {name: value for name, value in model.config.items() if name != "readout"}
    assert SequenceModel.from_config(old).readout == "steps"
    with pytest.raises(ValueError, match=r"config.readout is 'first', expected one of steps, last, mean"):
        SequenceModel.from_config(model.config | {"readout": "first"})
    with pytest.raises(ValueError, match="readout: got 'first', expected one of steps, last, mean"):
        make("first")
    with pytest.raises(AttributeError, match="readout"):
        model.readout = "last"


def test_a_mask_of_values_is_refused_for_symbols_by_the_only_shape_that_fits(rng):
    model = sequence_model("gru", 8, hidden_size=4, seed=0)
    x = rng.integers(0, 8, size=(5, 3))
    prediction, _ = model(x)
    with pytest.raises(ValueError, match=r"counted: got bool .*\(5, 3, 8\), expected booleans \(5, 3\), True"):
        model.loss(prediction, x, counted=np.ones(prediction.shape, bool))


def test_only_counted_values_are_part_of_the_loss(rng):
    model = make("steps")
    x, wanted = rng.normal(size=(5, 3, 3)), rng.normal(size=(5, 3, 2))
    prediction = model(x)[0]
    for shape in (5, 3), (5, 3, 2):
        counted = rng.random(shape) < 0.5
        error = np.where(counted.reshape(5, 3, -1), prediction - wanted, 0)
        values = int(np.broadcast_to(counted.reshape(5, 3, -1), wanted.shape).sum())
        loss, grad = model.loss(prediction, wanted, counted=counted)
        close(loss, (error**2).sum() / values, "float64")
        close(grad, 2 * error / values, "float64")
        same_bits(model.mean_loss(prediction, wanted, counted=counted)[1], grad)
        assert model.mean_loss(prediction, wanted, counted=counted)[2] == values
        total, count = model.summed_loss(prediction, wanted, counted=counted)
        assert (total / count, count) == (loss, values)
        # past a row's end nothing counts, also where the mask is True there
        lengths = np.array([5, 2, 0])
        inside = counted & (np.arange(5)[:, None] < lengths).reshape(5, 3, *[1] * (len(shape) - 2))
        expected = model.mean_loss(prediction, wanted, counted=inside)
        got = model.mean_loss(prediction, wanted, lengths, counted)
        assert 0 < got[2] < values
        same_bits(got, expected)
        assert model.summed_loss(prediction, wanted, lengths, counted) == model.summed_loss(
            prediction, wanted, counted=inside)
    first = make("steps", batch_first=True)
    counted = rng.random((3, 5)) < 0.7
    same_bits(first.mean_loss(prediction.swapaxes(0, 1), wanted.swapaxes(0, 1), lengths, counted),
              first.mean_loss(prediction.swapaxes(0, 1), wanted.swapaxes(0, 1),
                              counted=counted & (np.arange(5) < lengths[:, None])))
    for wrong in (np.ones((3, 5), bool), np.ones((5, 3), int)):
        with pytest.raises(ValueError, match=r"counted: got .*, expected booleans \(5, 3\) or \(5, 3, 2\)"):
            model.loss(prediction, wanted, counted=wrong)


def test_symbols_are_counted_in_steps(rng):
    model = sequence_model("gru", 4, hidden_size=5, seed=0)
    tokens, counted = rng.integers(4, size=(6, 2)), rng.random((6, 2)) < 0.5
    prediction, targets = model(tokens)[0], np.where(counted, tokens, -100)
    expected = model.loss(prediction, targets)[0]
    assert model.loss(prediction, tokens, counted=counted)[0] == expected
    assert model.mean_loss(prediction, tokens, counted=counted)[2] == counted.sum()
    assert model.summed_loss(prediction, targets) == model.summed_loss(prediction, tokens, counted=counted)
    words = SequenceModel(Embedding(4, 5, seed=0), rc.GRU(5, 5, seed=0), Linear(5, 3, seed=0), readout="last")
    loss, grads, _ = words.loss_and_grads(tokens, np.array([0, 2]), None, np.array([6, 0]))
    assert np.isfinite(loss)  # a sequence of length 0 is answered from the initial state
    assert grads.keys() == words.parameters.keys()
