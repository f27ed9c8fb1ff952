"""A whole model as a stream: any division into steps and blocks has the bits of the model's call."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from support import CELLS, make, parts, same_bits

import rnncore as rc
from rnncore import nn


def token_model(cell="lstm", readout="steps"):
    model = nn.sequence_model(cell, 11, hidden_size=9, embedding_size=4, num_layers=2, seed=3)
    return nn.SequenceModel(model.embedding, model.layer, model.head, readout=readout)


def value_model(dtype="float32", **options):
    layer = rc.GRU(3, 7, dtype=dtype, seed=1, **options)
    return nn.SequenceModel(None, layer, nn.Linear(7, 5, dtype=dtype, seed=2), loss="mse")


@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("model", [token_model(), token_model("gru"), value_model(), value_model("float64")])
def test_any_division_has_the_bits_of_the_call(model, B, rng):
    T = 70
    x = rng.integers(0, 11, (T, B)) if model.embedding else rng.normal(size=(T, B, 3)).astype(model.dtype)
    expected, state = model(x)
    O = model.head.out_features
    for cuts in ([0, 70], [0, 1, 2, 3, 70], [0, 33, 34, 70], [0, 0, 50, 69, 70]):
        stream, got = model.stream(B), []
        for start, stop in pairwise(cuts):
            if stop - start == 1:
                out = np.empty((B, O), model.dtype)
                assert stream.step(x[start], out) is out
                got.append(out[None])
            else:
                got.append(stream.block(x[start:stop]))
        same_bits(np.concatenate(got), expected)
        same_bits(stream.state, state)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tokens", [11, None])
@pytest.mark.parametrize("cell", CELLS)
def test_steps_have_the_bits_of_a_call(cell, tokens, dtype, rng):
    layer = make(cell, 5, 9, 2, dtype=dtype)
    embedding = None if tokens is None else nn.Embedding(tokens, 5, dtype=dtype, seed=1)
    model = nn.SequenceModel(embedding, layer, nn.Linear(9, 37, dtype=dtype, seed=2))
    for B in (1, 4):
        x = rng.normal(size=(12, B, 5)).astype(dtype) if tokens is None else rng.integers(0, tokens, size=(12, B))
        y, state = model(x[:6])
        rest, final = model(x[6:], state)
        stream = model.stream(B)
        same_bits(np.stack([stream.step(x_t) for x_t in x[:6]]), y)
        same_bits(parts(stream.state), parts(state))
        for again in (stream, model.stream(B, state)):
            same_bits(np.stack([again.step(x_t) for x_t in x[6:]]), rest)
            same_bits(parts(again.state), parts(final))


def test_the_state_is_read_set_and_reset(rng):
    model = token_model()
    x = rng.integers(0, 11, (20, 2))
    expected, _ = model(x)
    stream = model.stream(2)
    stream.block(x[:8])
    kept = stream.state
    stream.block(x[8:])
    stream.state = kept
    same_bits(stream.block(x[8:]), expected[8:])
    stream.reset(rows=[1])
    assert not any(part[:, 1].any() for part in parts(stream.state))
    stream.reset()
    same_bits(stream.block(x), expected)
    for again in (copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s, 5))):
        stream.reset()
        stream.block(x[:5])
        same_bits(again(stream).block(x[5:]), expected[5:])


def test_a_model_that_reads_the_last_state_predicts_at_every_step(rng):
    model = token_model("gru", readout="last")
    x = rng.integers(0, 11, (6, 2))
    got = model.stream(2).block(x)
    for t in range(6):
        same_bits(got[t], model(x[: t + 1])[0])


@pytest.mark.parametrize("part", ["embedding", "layer", "head"])
def test_new_weights_of_any_part_take_effect(part, rng):
    model = token_model()
    x = rng.integers(0, 11, (9, 1))
    stream = model.stream()
    before = stream.block(x)
    with model.writable() as w:
        for name in w:
            if name.startswith(part):
                w[name] *= 1.5
    stream.reset()
    after = stream.block(x)
    same_bits(after, model(x)[0])
    assert not np.array_equal(before, after)


def test_a_stream_follows_the_weights(rng):
    model = nn.make_model("lstm", 7, tokens=7, hidden_size=6, seed=0)
    stream, tokens = model.stream(2), np.array([3, 6])
    before = stream.step(tokens)
    for name in ("embedding.weight", "layer.weight_hh_l0", "head.weight", "head.bias"):
        with model.writable() as weights:
            weights[name] += 0.5
        stream.state = state = tuple(np.ones((1, 2, 6), "f4") for _ in range(2))
        after = stream.step(tokens)
        same_bits(after, model(tokens[None], state)[0][0])
        assert (after != before).any()
        before = after


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda s: s.step([[1], [2]]), ValueError, r"x_t: got shape \(2, 1\), expected tokens \(B,\) with B = 2"),
    (lambda s: s.block([1, 2]), ValueError, r"x: got shape \(2,\), expected tokens \(N, B\)"),
    (lambda s: s.step([1, 2, 3]), ValueError, r"x_t: got shape \(3,\), expected tokens \(B,\) with B = 2"),
    (lambda s: s.step([1, 11]), IndexError, "values from 1 to 11, expected 0 to 10"),
    (lambda s: s.block([[1, 2], [11, 0]]), IndexError, "values from 0 to 11, expected 0 to 10"),
    (lambda s: s.step([1.0, 2.0]), TypeError, "x_t: got float64, expected integers"),
    (lambda s: s.block([[1.0, 2.0]]), TypeError, "x: got float64, expected integers"),
    (lambda s: s.step([1, 2], np.empty((2, 9), "f4")), ValueError, r"out: got float32 \(2, 9\), .*\(2, 11\)"),
])  # fmt: skip
def test_wrong_steps_are_refused_and_are_no_steps(call, error, said):
    stream = token_model().stream(2)
    with pytest.raises(error, match=said):
        call(stream)
    assert not any(part.any() for part in parts(stream.state))


@pytest.mark.parametrize("B", [1, 3])
def test_tokens_of_any_integer_type_are_the_same_tokens(B, rng):
    """Those that the engine reads as they are, and those that are converted first."""
    model = token_model()
    x = rng.integers(0, 11, (9, B))
    plain, others = model.stream(B), model.stream(B)
    for t, form in enumerate([np.int32, np.uint8, np.uint64, list, np.int64, ">i8"]):
        given = x[t].tolist() if form is list else np.repeat(x[t].astype(form), 2)[::2]
        same_bits(others.step(given), plain.step(x[t]))
    same_bits(parts(others.state), parts(plain.state))
    for wrong in (11, -1):
        before = parts(plain.state)
        with pytest.raises(IndexError, match="tokens: got values from"):
            plain.step(np.append(x[0][1:], wrong))
        same_bits(parts(plain.state), before)


def test_wrong_values_are_refused(rng):
    with pytest.raises(ValueError, match=r"x_t: got shape \(2, 4\), expected \(B, I\) = \(2, 3\)"):
        value_model().stream(2).step(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"x: got shape \(2, 3\)"):
        value_model().stream(2).block(np.ones((2, 3)))


def test_models_that_need_the_whole_sequence_refuse():
    bidirectional = nn.SequenceModel(
        None, rc.GRU(3, 4, bidirectional=True), nn.Linear(8, 2), loss="mse"
    )
    with pytest.raises(ValueError, match="bidirectional"):
        bidirectional.stream()
    with pytest.raises(ValueError, match="readout='mean'"):
        token_model(readout="mean").stream()
    with pytest.raises(ValueError, match="batch_size"):
        token_model().stream(0)
