"""A leading axis K on the cotangents: every result has it, with the bits of K calls."""

import numpy as np
import pytest
from support import (
    KINDS,
    all_close,
    close,
    make,
    parts,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
    weights_of,
    whole,
)
from twin import Twin


def pick(s, k):
    return tuple(a[k] for a in s) if isinstance(s, tuple) else s[k]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize(
    ("I", "H", "B", "K", "both"),
    [(3, 5, 4, 3, True), (8, 33, 1, 7, False), (1, 16, 7, 17, False), (17, 64, 2, 1, True)],
)
def test_many_cotangents_have_the_bits_of_one_by_one(cell, I, H, B, K, both, dtype, rng):
    T = 5
    layer = make(cell, I, H, 2, bidirectional=both, dtype=dtype)
    tape = layer.record(random_input(layer, T, B, rng), random_state(layer, B, rng))
    g, gs = random_cotangents(layer, T, B, rng, (K,))
    many = tape.backward(g, gs, parameters=True)
    named = {n: tape.grad[n].copy() for n in tape.names("*")}
    for k in range(K):
        one = tape.backward(g[k], pick(gs, k))
        same_bits(many.input[k], one.input)
        same_bits(pick(many.state, k), one.state)
        same_bits({n: v[k] for n, v in many.parameters.items()}, dict(one.parameters))
        for n, v in named.items():
            same_bits(v[k], tape.grad[n], n)


@pytest.mark.parametrize("cell", KINDS)
def test_one_cotangent_argument_is_enough_for_ragged_batches(cell, rng):
    layer = make(cell, 3, 9, 2, bidirectional=True)
    lengths = [5, 0, 2, 4]
    tape = layer.record(random_input(layer, 5, 4, rng), lengths=lengths)
    g, gs = random_cotangents(layer, 5, 4, rng, (3,))
    out_only, state_only = tape.backward(g), tape.backward(grad_state=gs)
    for k in range(3):
        same_bits(out_only.input[k], tape.backward(g[k]).input)
        same_bits(state_only.input[k], tape.backward(None, pick(gs, k)).input)


@pytest.mark.parametrize("cell", KINDS)
def test_many_cotangents_equal_the_twins(cell, rng):
    layer = make(cell, 3, 5, 2, dtype="float64")
    x, s0 = random_input(layer, 6, 4, rng), random_state(layer, 4, rng)
    g, gs = random_cotangents(layer, 6, 4, rng, (5,))
    twin = Twin.of(layer)
    expected = twin.backward(twin.forward(x, parts(s0)), g, parts(gs))
    tape = layer.record(x, s0)
    grads = tape.backward(g, gs, parameters=True)
    close(grads.input, expected.input, "float64")
    all_close(grads.state, expected.state, "float64")
    all_close(grads.parameters, expected.parameters, "float64")
    for n in tape.names("*"):
        assert tape.grad[n].shape[:-1] == (5, 6, 4)
        close(tape.grad[n], expected.values[n], "float64")


def test_weight_products_are_off_unless_asked_for(rng):
    layer = make("gru", 3, 5)
    tape = layer.record(random_input(layer, 6, 4, rng))
    g, _ = random_cotangents(layer, 6, 4, rng, (2,))
    assert not weights_of(tape.backward(g))
    assert weights_of(tape.backward(g[0]))
    asked = tape.backward(g, parameters=True)
    assert {k: v.shape for k, v in asked.parameters.items()} == {
        k: (2, *v.shape) for k, v in layer.state_dict().items()
    }


def test_one_cotangent_after_many_replaces_their_gradients(rng):
    """The gradients on the tape have the leading axis of the last backward, or none."""
    layer = make("lstm", 3, 5)
    tape = layer.record(random_input(layer, 6, 4, rng))
    g, _ = random_cotangents(layer, 6, 4, rng, (7,))
    for cot, shape in [
        (g, (7, 6, 4, 5)),
        (g[0], (6, 4, 5)),
        (g[:2], (2, 6, 4, 5)),
        (g[:1], (1, 6, 4, 5)),
    ]:
        tape.backward(cot)
        assert tape.grad["l0.f"].shape == shape


@pytest.mark.parametrize("cell", KINDS)
def test_a_block_of_unit_vectors_gives_the_jacobian(cell, rng):
    """Identity cotangents: their product with any vector is that vector's gradient."""
    layer = make(cell, 3, 5, 1, dtype="float64")
    tape = layer.record(random_input(layer, 4, 1, rng))
    width = layer.structure.features
    eye = np.zeros((width, 4, 1, width))
    eye[:, -1, 0] = np.eye(width)
    jacobian = tape.backward(eye).input
    v = rng.normal(size=width)
    g = np.zeros((4, 1, width))
    g[-1, 0] = v
    close(np.tensordot(v, jacobian, 1), tape.backward(g).input, 1e-13)


def test_backward_without_cotangents_is_refused_or_zero(rng):
    """It is refused with a clear message, or gives zeros."""
    layer = make("gru", 3, 5)
    tape = layer.record(random_input(layer, 6, 4, rng))
    try:
        grads = tape.backward()
    except (ValueError, TypeError) as e:
        assert "grad_output" in str(e)  # noqa: PT017
        assert "grad_state" in str(e)  # noqa: PT017
    else:
        assert not grads.input.any()


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize(("T", "B"), [(0, 3), (4, 0)])
def test_many_cotangents_of_empty_sequences_have_an_answer(cell, T, B, rng):
    layer = make(cell, 3, 5, 2)
    tape = layer.record(random_input(layer, T, B, rng))
    g, gs = random_cotangents(layer, T, B, rng, (2,))
    grads = tape.backward(g, gs, parameters=True)
    assert grads.input.shape == (2, T, B, 3)
    all_close(grads.state, gs, 1e-300)
    assert all(v.shape[0] == 2 and not v.any() for v in grads.parameters.values())
    assert whole(layer, parts(grads.state))[0].shape[0] == 2
