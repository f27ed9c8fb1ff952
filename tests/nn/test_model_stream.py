"""A stream of a whole model: bits of the call, new weights at once, and errors with the way out."""

import numpy as np
import pytest
from support import CELLS, make, parts, same_bits

from rnncore.nn import Embedding, Linear, SequenceModel, make_model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tokens", [11, None])
@pytest.mark.parametrize("cell", CELLS)
def test_steps_have_the_bits_of_a_call(cell, tokens, dtype, rng):
    layer = make(cell, 5, 9, 2, dtype=dtype)
    embedding = None if tokens is None else Embedding(tokens, 5, dtype=dtype, seed=1)
    model = SequenceModel(embedding, layer, Linear(9, 37, dtype=dtype, seed=2))
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


def test_a_stream_follows_the_weights(rng):
    model = make_model("lstm", 7, tokens=7, hidden_size=6, seed=0)
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


def test_what_cannot_be_streamed_is_refused():
    with pytest.raises(ValueError, match=r"stream: got a model with readout='last', expected 'steps'"):
        make_model("gru", 2, features=3, hidden_size=4, readout="last").stream()
    both = make("gru", 3, 4, bidirectional=True)
    with pytest.raises(ValueError, match="bidirectional"):
        SequenceModel(None, both, Linear(8, 2)).stream()
    stream = make_model("gru", 5, tokens=5, hidden_size=4, seed=0).stream(2)
    with pytest.raises(ValueError, match=r"x: got tokens of shape \(3,\), expected \(B,\) = \(2,\)"):
        stream.step([1, 2, 3])
    with pytest.raises(IndexError, match="values from 1 to 5, expected 0 to 4"):
        stream.step([1, 5])
    with pytest.raises(TypeError, match="x: got float64, expected integers"):
        stream.step([1.0, 2.0])
    with pytest.raises(ValueError, match="x_t: got shape"):
        make_model("gru", 5, features=3, hidden_size=4).stream(2).step(np.ones((2, 4)))
