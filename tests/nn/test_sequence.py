"""SequenceModel: torch's gradients through all its parts, layouts, state, ragged rows."""

import numpy as np
import pytest
import torch
from support import all_close, close, same_bits

import rnncore as rc
from rnncore.nn import (
    CELLS,
    Dropout,
    Embedding,
    Linear,
    SequenceModel,
    cross_entropy,
    make_layer,
    sequence_model,
)


class Peer(torch.nn.Module):
    """The same model in torch, by the same names."""

    def __init__(self, model):
        super().__init__()
        layer = model.layer
        kind = getattr(torch.nn, layer.mode)
        options = {"nonlinearity": layer.nonlinearity} if layer.mode == "RNN" else {}
        self.embedding = torch.nn.Embedding(*model.embedding.parameters["weight"].shape)
        self.layer = kind(
            layer.input_size,
            layer.hidden_size,
            layer.num_layers,
            bidirectional=layer.bidirectional,
            batch_first=layer.batch_first,
            **options,
        )
        self.head = torch.nn.Linear(model.head.in_features, model.head.out_features)
        self.double()
        self.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})

    def forward(self, x, state=None):
        y, state = self.layer(self.embedding(torch.tensor(x)), state)
        return self.head(y), state


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", [name for name in CELLS if name not in ("rnn-sigmoid", "gru-reset-before")])
def test_loss_and_gradients_equal_torch(rng, cell, dtype):
    model = sequence_model(
        cell, 7, hidden_size=6, embedding_size=5, num_layers=2, dtype=dtype, seed=1
    )
    peer = Peer(model)
    tokens = rng.integers(0, 7, size=(11, 3))
    first, second = (tokens[:5], tokens[1:6]), (tokens[5:10], tokens[6:])
    _, state = model(first[0])
    _, peer_state = peer(first[0])
    loss, grads, after = model.loss_and_grads(*second, state)
    logits, peer_after = peer(second[0], peer_state)
    expected = torch.nn.functional.cross_entropy(
        logits.reshape(-1, 7), torch.tensor(second[1].reshape(-1))
    )
    state_leaves = peer_state if isinstance(peer_state, tuple) else (peer_state,)
    assert state_leaves[0].requires_grad  # torch would go on through the state; we cut there
    detached = tuple(s.detach() for s in state_leaves)
    logits, peer_after = peer(second[0], detached if len(detached) > 1 else detached[0])
    expected = torch.nn.functional.cross_entropy(
        logits.reshape(-1, 7), torch.tensor(second[1].reshape(-1))
    )
    peer.zero_grad()
    expected.backward()
    close(loss, expected.item(), dtype)
    all_close(grads, {k: v.grad for k, v in peer.named_parameters()}, dtype)
    peer_after = peer_after if isinstance(peer_after, tuple) else (peer_after,)
    all_close(after, tuple(s.detach() for s in peer_after), dtype)


def test_recording_does_not_change_the_bits(rng):
    model = sequence_model("lstm", 7, hidden_size=6, embedding_size=5, seed=1)
    tokens = rng.integers(0, 7, size=(9, 4))
    logits, state = model(tokens)
    record = model.record(tokens)
    same_bits(record.output, logits)
    same_bits(record.state, state)
    assert record.tape.output.shape == (9, 4, 6)
    same_bits(model.forward(tokens)[0], logits)


def test_batch_first_and_bidirectional_layers_work(rng):
    """Inputs (B, T) give the same numbers as time-major ones."""
    layers = [
        rc.GRU(5, 4, bidirectional=True, batch_first=first, dtype="float64", seed=3)
        for first in (False, True)
    ]
    parts = Embedding(6, 5, dtype="float64", seed=1), Linear(8, 6, dtype="float64", seed=2)
    major, first = (SequenceModel(parts[0], layer, parts[1]) for layer in layers)
    tokens, targets = rng.integers(0, 6, size=(2, 7, 3))
    lengths = np.array([7, 2, 5])
    loss, grads, _ = major.loss_and_grads(tokens, targets, None, lengths)
    loss_b, grads_b, _ = first.loss_and_grads(tokens.T, targets.T, None, lengths)
    close(loss_b, loss, "float64")
    all_close(grads_b, grads, "float64")


@pytest.mark.parametrize("cell", CELLS)
def test_padding_does_not_count(rng, cell):
    """A ragged batch gives the mean over its rows' own steps."""
    model = sequence_model(cell, 7, hidden_size=6, embedding_size=5, dtype="float64", seed=1)
    tokens, targets = rng.integers(0, 7, size=(2, 8, 3))
    lengths = np.array([8, 3, 5])
    loss, grads, _ = model.loss_and_grads(tokens, targets, None, lengths)
    total, summed = 0.0, dict.fromkeys(grads, 0.0)
    for b, n in enumerate(lengths):
        row = slice(b, b + 1)
        one, one_grads, _ = model.loss_and_grads(tokens[:n, row], targets[:n, row])
        total += one * n / 16
        summed = {name: summed[name] + one_grads[name] * n / 16 for name in summed}
    close(loss, total, "float64")
    all_close(grads, summed, "float64")


def test_real_input_has_a_gradient_under_mse(rng):
    """∂L/∂x by central differences: h² plus rounding, both far below 1e-8."""
    layer, head = rc.LSTM(3, 5, dtype="float64", seed=1), Linear(5, 2, dtype="float64", seed=2)
    model = SequenceModel(None, layer, head, loss="mse")
    x, wanted = rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 2, 2))
    record = model.record(x)
    grads = record.backward(model.loss(record.output, wanted)[1])
    assert set(grads.parameters) == set(model.parameters)
    h = 1e-5
    for index in [(0, 0, 0), (2, 1, 2), (3, 0, 1)]:
        step = np.zeros_like(x)
        step[index] = h
        up, down = (model.loss(model(x + s)[0], wanted)[0] for s in (step, -step))
        assert abs(grads.input[index] - (up - down) / (2 * h)) < 1e-8


def test_dropout_is_applied_in_training_only(rng):
    model = sequence_model("gru", 7, hidden_size=64, embedding_size=5, dropout=0.5, seed=1)
    tokens = rng.integers(0, 7, size=(9, 4))
    plain = model(tokens)[0]
    same_bits(model.record(tokens).output, plain)
    trained = model.record(tokens, train=True)
    assert (trained.output != plain).any()
    grads = trained.backward(np.ones_like(plain))
    weight = model.parameters["head.weight"]
    mask = np.random.Generator(np.random.PCG64([int(model.dropout.masks.seed), 0]))
    mask = (mask.random((9, 4, 64), dtype=np.float32) >= 0.5) * np.float32(2)
    dropped = trained.tape.output * mask
    close(trained.output, dropped @ weight.T + model.parameters["head.bias"], "float32")
    close(grads.parameters["head.weight"][0], dropped.sum((0, 1)), "float32")


def test_parameters_are_named_as_in_torch():
    model = sequence_model("gru", 7, hidden_size=6, num_layers=2, seed=1)
    assert set(model.parameters) == set(Peer(model).state_dict())


def test_config_builds_the_model_again(rng):
    model = sequence_model("gru", 7, hidden_size=6, num_layers=2, dropout=0.25, seed=1)
    again = SequenceModel.from_config(model.config)
    assert again.config == model.config
    again.load_state_dict(model.state_dict())
    tokens = rng.integers(0, 7, size=(5, 2))
    same_bits(again(tokens)[0], model(tokens)[0])
    double = model.astype("float64")
    assert double.dtype == np.float64
    close(model(tokens)[0], double(tokens)[0], "float32")


def test_the_initial_forget_bias_is_one():
    lstm, gru = (make_layer(cell, 3, 4, num_layers=2, seed=0) for cell in ("lstm", "gru"))
    for layer, gate in ((lstm, slice(4, 8)), (gru, slice(4, 8))):
        for level in range(2):
            total = sum(layer.parameters[f"bias_{part}_l{level}"] for part in ("ih", "hh"))
            assert total[gate].tolist() == [1.0] * 4
            assert np.abs(np.delete(total, gate)).max() <= 1  # the rest as torch starts it


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_layer("elman", 2, 3), "cell: got 'elman', expected one of 'rnn', 'gru', 'lstm', 'rnn-tanh'"),
        (
            lambda: SequenceModel(None, rc.GRU(2, 3), Linear(4, 2)),
            "head: got in_features=4, expected 3",
        ),
        (
            lambda: SequenceModel(Embedding(9, 4), rc.GRU(2, 3), Linear(3, 2)),
            "embedding: got embedding_dim=4, expected 2",
        ),
        (
            lambda: SequenceModel(None, rc.GRU(2, 3), Linear(3, 2), loss="hinge"),
            "loss: got 'hinge', expected one of",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_loss_is_cross_entropy_of_the_output(rng):
    model = SequenceModel(
        Embedding(7, 5, seed=0), rc.RNN(5, 6, seed=1), Linear(6, 7, seed=2), dropout=Dropout(0.1)
    )
    tokens, targets = rng.integers(0, 7, size=(2, 5, 3))
    output = model(tokens)[0]
    loss, grad = model.loss(output, targets)
    expected = cross_entropy(output, targets)
    assert loss == expected[0]
    same_bits(grad, expected[1])


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("method", ["loss", "mean_loss", "summed_loss"])
def test_a_prediction_is_anything_array_like(rng, loss, method):
    model = SequenceModel(None, rc.GRU(2, 3, seed=0), Linear(3, 4, seed=1), loss=loss)
    values = rng.normal(size=(5, 3, 4))
    targets = rng.integers(0, 4, (5, 3)) if loss == "cross_entropy" else rng.normal(size=(5, 3, 4))
    call = getattr(model, method)
    options = {"lengths": [5, 0, 2], "weights": [1, 2, 3]}
    wanted, got = call(values, targets, **options), call(values.tolist(), targets.tolist(), **options)
    for a, b in zip(wanted, got, strict=True):
        np.testing.assert_array_equal(a, b)
    for wrong in (None, [[[1]]], 3, "abc", values.astype("float16"), values * 1j):
        with pytest.raises(TypeError, match=r"prediction: got .*, expected float32 or float64"):
            call(wrong, targets)
    with pytest.raises(ValueError, match="prediction: got a list that is not an array"):
        call([[1.0], [1.0, 2.0]], targets)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("length", [5, 3, 0])
def test_one_sequence_without_a_batch_axis_may_have_a_length(batch_first, length):
    """As a batch of that one sequence, whatever the layer's layout."""
    layer = rc.LSTM(4, 6, batch_first=batch_first, seed=0)
    model = SequenceModel(Embedding(7, 4, seed=1), layer, Linear(6, 7, seed=2))
    tokens = np.arange(5)
    loss, grads, _ = model.loss_and_grads(tokens, tokens + 1, lengths=[length])
    batch = tokens[None] if batch_first else tokens[:, None]
    expected, expected_grads, _ = model.loss_and_grads(batch, batch + 1, lengths=[length])
    assert loss == expected
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, expected_grads[name])


@pytest.mark.parametrize("batch_first", [False, True])
def test_weights_of_rows_are_those_of_all_their_steps(rng, batch_first):
    layer = rc.GRU(2, 3, batch_first=batch_first, dtype="float64", seed=0)
    model = SequenceModel(None, layer, Linear(3, 4, dtype="float64", seed=1), class_weight=[1, 2, 0.5, 1],
                          label_smoothing=0.1)
    x, targets, rows = rng.normal(size=(5, 3, 2)), rng.integers(0, 4, (5, 3)), rng.uniform(0.5, 2, 3)
    if batch_first:
        x, targets = x.swapaxes(0, 1), targets.T
    output, _ = model(x)
    steps = np.broadcast_to(rows[:, None] if batch_first else rows, targets.shape)
    one, other = model.mean_loss(output, targets, weights=rows), model.mean_loss(output, targets, weights=steps)
    same_bits(one[1], other[1])
    wanted = cross_entropy(output, targets, class_weight=[1, 2, 0.5, 1], label_smoothing=0.1, weights=steps)
    assert one[0] == other[0] == wanted[0]
    total, count = model.summed_loss(output, targets, weights=rows)
    assert total / count == pytest.approx(wanted[0], rel=1e-14)
    with pytest.raises(ValueError, match=r"weights: got shape \(4,\), expected \(3,\) or \("):
        model.loss(output, targets, weights=np.ones(4))
    again = SequenceModel.from_config(model.config)
    assert again.config == model.config
    assert again.class_weight.tolist() == [1, 2, 0.5, 1]


@pytest.mark.parametrize(("options", "message"), [
    ({"class_weight": [1, 2]}, r"class_weight: got shape \(2,\), expected \(3,\)"),
    ({"label_smoothing": 1}, "label_smoothing: got 1"),
    ({"loss": "mse", "label_smoothing": 0.1}, "label_smoothing: got 0.1 with the loss 'mse'"),
    ({"loss": "mse", "class_weight": [1, 2, 3]}, r"class_weight: got .* with the loss 'mse'"),
])
def test_wrong_options_of_the_loss_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        SequenceModel(None, rc.GRU(2, 4), Linear(4, 3), **options)
    config = SequenceModel(None, rc.GRU(2, 4), Linear(4, 3)).config | options
    with pytest.raises(ValueError, match=r"class_weight|label_smoothing"):
        SequenceModel.from_config(config)


@pytest.mark.parametrize("which", ["embedding", "head"])
def test_parts_of_another_dtype_are_refused(which):
    dtypes = {"embedding": "float32", "head": "float32"} | {which: "float64"}
    embedding, head = Embedding(7, 5, dtype=dtypes["embedding"]), Linear(6, 7, dtype=dtypes["head"])
    with pytest.raises(ValueError, match=f"{which}: got dtype float64, expected float32, the layer's"):
        SequenceModel(embedding, rc.GRU(5, 6), head)
