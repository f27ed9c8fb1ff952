"""Dropout and many cotangents: K at once use the same masks as one by one."""

import numpy as np
import pytest
from support import KINDS, make, parts, random_cotangents, random_input, random_state, same_bits

T, B, K = 6, 4, 3


def recorded(cell, rng, dtype="float32", **options):
    both = options.pop("bidirectional", False)
    layer = make(cell, 3, 9, 3, dropout=0.5, bidirectional=both, dtype=dtype)
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    tape = layer.record(x, s0, train=True, **options)
    assert not np.array_equal(tape.output, layer(x, s0, options.get("lengths"))[0]), "nothing was dropped"
    return layer, tape


def pick(state, k):
    return tuple(part[k] for part in state) if isinstance(state, tuple) else state[k]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"lengths": [6, 2, 0, 5]}, {"checkpoint_every": 4}])
@pytest.mark.parametrize("cell", KINDS)
def test_backward_of_many_cotangents_has_the_bits_of_one_by_one(cell, options, dtype, rng):
    layer, tape = recorded(cell, rng, dtype, bidirectional=True, **options)
    g, gs = random_cotangents(layer, T, B, rng, (K,))
    many = tape.backward(g, gs, parameters=True)
    named = {name: tape.grad[name].copy() for name in tape.names()}
    for k in range(K):
        one = tape.backward(g[k], pick(gs, k))
        same_bits(many.input[k], one.input)
        same_bits(pick(many.state, k), one.state)
        same_bits({name: a[k] for name, a in many.parameters.items()}, dict(one.parameters))
        for name, a in named.items():
            same_bits(a[k], tape.grad[name], name)


@pytest.mark.parametrize("cell", KINDS)
def test_pullback_equals_backward_of_many_cotangents(cell, rng):
    """∂L/∂(initial state) of a loss that depends on the final state only, from pullback and from backward."""
    layer, tape = recorded(cell, rng, "float64")
    _, gs = random_cotangents(layer, T, B, rng, (K,))
    v = np.concatenate([rows for part in parts(gs) for rows in part.swapaxes(0, 1)], axis=-1)
    *_, carry = tape.pullback(v)
    found = carry.value * np.exp(carry.log_scale)[..., None]
    for k in range(K):
        for p, wanted in enumerate(parts(tape.backward(grad_state=pick(gs, k)).state)):
            for own in range(layer.num_layers):
                where = layer.structure.carry_slice(p, own)
                np.testing.assert_allclose(found[k][:, where], wanted[own], rtol=1e-13, atol=1e-300)
