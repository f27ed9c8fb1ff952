"""Embedding, Linear and Dropout: they equal torch, sum in the stated order, and explain errors."""

import numpy as np
import pytest
import torch
from support import TOLERANCE, close, same_bits

import rnncore as rc
from rnncore.nn import Dropout, Embedding, Linear

DTYPES = sorted(TOLERANCE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (4, 3, 5), (0, 3, 5)])
def test_linear_equals_torch(rng, dtype, bias, shape):
    linear = Linear(5, 7, bias, dtype=dtype, seed=1)
    peer = torch.nn.Linear(5, 7, bias, dtype=torch.float64)
    peer.load_state_dict({k: torch.tensor(v) for k, v in linear.state_dict().items()})
    x, g = rng.normal(size=shape), rng.normal(size=(*shape[:-1], 7))
    tx = torch.tensor(x.astype(dtype).astype(float), requires_grad=True)
    peer(tx).backward(torch.tensor(g.astype(dtype).astype(float)))

    record = linear.record(x)
    grads = record.backward(g)
    same_bits(record.output, linear(x))
    assert record.output.dtype == grads.input.dtype == dtype
    close(record.output, peer(tx).detach(), dtype)
    close(grads.input, tx.grad, dtype)
    assert list(grads.parameters) == list(linear.parameters)
    for name, value in peer.named_parameters():
        close(grads.parameters[name], value.grad, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_equals_torch(rng, dtype):
    table = Embedding(6, 4, dtype=dtype, seed=1)
    peer = torch.nn.Embedding(6, 4, dtype=torch.float64)
    peer.load_state_dict({k: torch.tensor(v) for k, v in table.state_dict().items()})
    tokens, g = rng.integers(0, 5, size=(9, 3)), rng.normal(size=(9, 3, 4)).astype(dtype)
    peer(torch.tensor(tokens)).backward(torch.tensor(g.astype(float)))
    record = table.record(tokens)
    grads = record.backward(g)
    close(record.output, table.parameters["weight"][tokens], 0)
    assert grads.input is None
    close(grads.parameters["weight"], peer.weight.grad, dtype)
    assert not grads.parameters["weight"][5].any()  # a token that did not occur


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("V", "E", "shape"), [(7, 5, (50, 8)), (103, 64, (64, 32)), (5000, 130, (35, 20)),
                                               (3, 1, (0,)), (2, 65, (9000,)), (1, 3, (300, 2))])
def test_embedding_gradient_adds_in_the_order_of_the_tokens(V, E, shape, dtype, rng):
    """The bits of np.add.at in float64, which adds one row after the other, rounded once; with any threads."""
    table, tokens = Embedding(V, E, dtype=dtype, seed=0), rng.integers(0, V, size=shape).astype(np.int16)
    g = rng.normal(size=(*shape, E)).astype(dtype)
    expected = np.zeros((V, E))
    np.add.at(expected, tokens, g)
    for threads in (1, 2, 3):
        with rc.threads(threads):
            record = table.record(tokens)
            same_bits(record.output, table.parameters["weight"][tokens])
            same_bits(record.backward(g).parameters["weight"], expected.astype(dtype))


def test_embedding_gradients_of_a_million_rows_are_exact(rng):
    tokens, g = rng.integers(0, 3, size=10**6), np.full((10**6, 2), 0.1, "f4")
    found = Embedding(3, 2, seed=0).record(tokens).backward(g).parameters["weight"]
    np.testing.assert_allclose(found, np.float64(g[0, 0]) * np.bincount(tokens)[:, None] * np.ones(2), rtol=6e-8)


def test_tokens_may_change_after_they_were_recorded(rng):
    tokens, g = np.array([0, 1, 1]), rng.normal(size=(3, 2))
    record = Embedding(3, 2, dtype="float64", seed=0).record(tokens)
    tokens[...] = 2
    assert not record.backward(g).parameters["weight"][2].any()


@pytest.mark.parametrize("tokens", [[0, 3], [-1], np.array([2**64 - 1], np.uint64), np.array([[5]], np.uint8)])
def test_a_token_outside_the_table_is_refused(tokens):
    with pytest.raises(IndexError, match=r"tokens: got values from -?\d+ to -?\d+, expected 0 to 2"):
        Embedding(3, 2)(tokens)


def test_embedding_is_one_hot_times_weight(rng):
    table, tokens = Embedding(6, 4, dtype="float64", seed=1), rng.integers(0, 6, size=(5, 2))
    close(table(tokens), np.eye(6)[tokens] @ table.parameters["weight"], 0)


def test_initial_weights_have_torchs_distribution():
    linear = Linear(100, 400, seed=3)
    for values in linear.parameters.values():  # U(±0.1): the largest of 400 misses 0.1 by ~0.0005
        assert 0.098 < np.abs(values).max() <= 0.1
        assert abs(values.mean()) < 5 * 0.1 / np.sqrt(3 * values.size)
    weight = Embedding(100, 100, seed=3).parameters["weight"]  # N(0, 1), 5 standard errors
    assert abs(weight.mean()) < 0.05
    assert abs(weight.std() - 1) < 5 / np.sqrt(2 * weight.size)
    same_bits(Linear(5, 3, seed=8).state_dict(), Linear(5, 3, seed=8).state_dict())


def test_dropout_drops_in_training_only(rng):
    x, g = rng.normal(size=(2, 40, 50, 50)).astype(np.float32)
    dropout = Dropout(0.3, seed=5)
    assert dropout(x) is x
    assert dropout.record(x).output is x
    assert dropout.masks.passes == 0

    record = dropout.record(x, train=True)
    dropped = record.output == 0
    share, error = dropped.mean(), np.sqrt(0.3 * 0.7 / x.size)
    assert abs(share - 0.3) < 5 * error
    scale = np.float32(1 / 0.7)
    same_bits(record.output[~dropped], (x * scale)[~dropped])
    grad = record.backward(g).input
    same_bits(grad[~dropped], (g * scale)[~dropped])
    assert not grad[dropped].any()


def test_dropout_masks_follow_seed_and_call():
    x = np.ones(200)
    a, b = Dropout(0.5, seed=5), Dropout(0.5, seed=5)
    first, second = (a.record(x, train=True).output for _ in range(2))
    assert (first != second).any()
    assert (first != Dropout(0.5, seed=6).record(x, train=True).output).any()
    b.masks.passes = 1
    same_bits(b.record(x, train=True).output, second)


@pytest.mark.parametrize("make", [lambda: Linear(3, 2, seed=0), lambda: Embedding(3, 2, seed=0)])
def test_backward_refuses_weights_that_changed(make):
    module = make()
    record = module.record(np.zeros((4, 3), int))
    with module.writable() as weights:
        weights["weight"] += 1
    with pytest.raises(RuntimeError, match=f"weights of {type(module).__name__} changed"):
        record.backward(np.ones_like(record.output))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Linear(3, 2)(np.ones((4, 2))), ValueError, r"x: got shape \(4, 2\), expected .*3"),
        (
            lambda: Linear(3, 2)(np.ones(3) * 1j),
            TypeError,
            "x: got complex128 values, expected real",
        ),
        (lambda: Linear(3, 2)(np.array([None] * 3)), TypeError, "x: got object"),
        (lambda: Linear(0, 2), ValueError, "in_features: got 0, expected a whole number >= 1"),
        (lambda: Linear(2, 2.5), ValueError, "out_features: got 2.5"),
        (lambda: Linear(3, 2, dtype="int32"), ValueError, "dtype: got 'int32', expected 'float32'"),
        (lambda: Embedding(3, 2)(np.array([0, 3])), IndexError, "values from 0 to 3, expected 0"),
        (lambda: Embedding(3, 2)(np.array([-1])), IndexError, "values from -1"),
        (lambda: Embedding(3, 2)(np.array([1.0])), TypeError, "tokens: got float64, expected int"),
        (lambda: Dropout(1.0), ValueError, r"p: got 1.0, expected a number in \[0, 1\)"),
        (lambda: Dropout(np.nan), ValueError, "p: got nan"),
        (
            lambda: Linear(3, 2).record(np.ones((4, 3))).backward(np.ones((4, 3))),
            ValueError,
            r"grad_output: got shape \(4, 3\), expected \(4, 2\)",
        ),
    ],
)
def test_errors_say_what_was_got_and_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()
