"""A row has the same bits alone, padded, in a batch of 37 rows, and recorded."""

import numpy as np
import pytest
from support import (
    KINDS,
    make,
    parts,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
    whole,
)

SIZES = [(3, 7), (8, 16), (17, 33), (5, 100)]


def row(a, b):
    """Row b of (..., B, F) as a batch of one."""
    return tuple(x[..., b : b + 1, :] for x in a) if isinstance(a, tuple) else a[..., b : b + 1, :]


def grown(a, places, B, rng):
    """Rows of `a` put at `places` of a batch of B random ones."""
    if isinstance(a, tuple):
        return tuple(grown(x, places, B, rng) for x in a)
    out = rng.normal(size=(*a.shape[:-2], B, a.shape[-1])).astype(a.dtype)
    out[..., places, :] = a
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize(("I", "H"), SIZES)
def test_a_row_has_the_same_bits_alone_and_in_any_batch(cell, I, H, dtype, rng):
    T = 4
    layer = make(cell, I, H, 2 if H < 20 else 1, dtype=dtype, bidirectional=H == 16)
    x, s0 = random_input(layer, T, 37, rng), random_state(layer, 37, rng)
    cot = random_cotangents(layer, T, 37, rng)
    y, s = layer(x, s0)
    tape = layer.record(x, s0)
    grads = tape.backward(*cot)
    for B in (1, 2, 3, 5, 6, 7, 12, 13):
        places = sorted(rng.choice(37, size=B, replace=False))
        pick = lambda a: (  # noqa: E731
            tuple(v[..., places, :] for v in a) if isinstance(a, tuple) else a[..., places, :]  # noqa: B023
        )
        part_y, part_s = layer(pick(x), pick(s0))
        same_bits(part_y, pick(y), "output")
        same_bits(part_s, pick(s), "state")
        if B in (1, 3, 13):
            part = layer.record(pick(x), pick(s0))
            part_grads = part.backward(*(pick(c) for c in cot))
            same_bits(part_grads.input, pick(grads.input), "grad of the input")
            same_bits(part_grads.state, pick(grads.state), "grad of the state")
            for name in tape.names("*"):
                same_bits(part[name], pick(tape[name]), name)
                same_bits(part.grad[name], pick(tape.grad[name]), f"grad {name}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("both", [False, True])
def test_a_padded_row_has_the_bits_of_the_row_alone(cell, both, dtype, rng):
    T, lengths = 9, np.array([4, 9, 0, 1, 7])
    layer = make(cell, 5, 9, 2, bidirectional=both, dtype=dtype)
    x, s0 = random_input(layer, T, 5, rng), random_state(layer, 5, rng)
    g, gs = random_cotangents(layer, T, 5, rng)
    past = np.arange(T)[:, None] >= lengths
    x[past], g[past] = np.nan, np.nan
    y, s = layer(x, s0, lengths=lengths)
    tape = layer.record(x, s0, lengths=lengths)
    grads = tape.backward(g, gs)
    same_bits(tape.output, y)
    same_bits(tape.state, s)
    for b, n in enumerate(lengths):
        alone = layer.record(row(x[:n], b), row(s0, b))
        alone_grads = alone.backward(row(g[:n], b), row(gs, b))
        same_bits(row(y[:n], b), alone.output, f"output of row {b}")
        same_bits(row(s, b), alone.state, f"state of row {b}")
        same_bits(row(grads.input[:n], b), alone_grads.input, f"grad of the input, row {b}")
        same_bits(row(grads.state, b), alone_grads.state, f"grad of the state, row {b}")
        for name in tape.names("*"):
            same_bits(row(tape[name][:n], b), alone[name], f"{name} of row {b}")
            same_bits(row(tape.grad[name][:n], b), alone.grad[name], f"grad {name} of row {b}")
        assert not y[n:, b].any()
        assert not grads.input[n:, b].any()


@pytest.mark.parametrize("cell", KINDS)
def test_weight_gradients_of_a_padded_row_are_those_of_the_row_alone(cell, rng):
    """Padding does not contribute to the weight gradients."""
    layer = make(cell, 5, 9, dtype="float64")
    x, g = random_input(layer, 9, 1, rng), random_cotangents(layer, 9, 1, rng)[0]
    alone = layer.record(x[:5]).backward(g[:5]).parameters
    x[5:], g[5:] = np.nan, np.nan
    padded = layer.record(x, lengths=[5]).backward(g).parameters
    for name, value in alone.items():
        assert np.isfinite(padded[name]).all()
        assert np.abs(padded[name] - value).max() <= 1e-14 * np.abs(value).max(), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_recording_does_not_change_the_bits(cell, both, ragged, dtype, rng):
    for I, H, B in [(1, 3, 1), (8, 16, 4), (17, 33, 7)]:
        layer = make(cell, I, H, 2, bidirectional=both, dtype=dtype)
        x, s0 = random_input(layer, 5, B, rng), random_state(layer, B, rng)
        lengths = rng.integers(0, 6, size=B) if ragged else None
        y, s = layer(x, s0, lengths=lengths)
        tape = layer.record(x, s0, lengths=lengths)
        same_bits(tape.output, y)
        same_bits(tape.state, s)


@pytest.mark.parametrize("cell", KINDS)
def test_full_lengths_do_not_change_the_bits(cell, rng):
    layer = make(cell, 3, 17, 2, bidirectional=True)
    x, s0 = random_input(layer, 5, 6, rng), random_state(layer, 6, rng)
    same_bits(layer(x, s0, lengths=[5] * 6), layer(x, s0))


@pytest.mark.parametrize("cell", KINDS)
def test_a_stack_has_the_bits_of_its_layers_one_by_one(cell, rng):
    """A stack of two layers has the bits of two layers that are called one after the other."""
    deep = make(cell, 3, 9, 2)
    x, s0 = random_input(deep, 6, 4, rng), random_state(deep, 4, rng)
    p, y, ends = deep.state_dict(), x, []
    for k, width in enumerate([3, deep.structure.features]):
        flat = make(cell, width, 9, seed=50 + k)
        flat.load_state_dict({n.replace(f"_l{k}", "_l0"): v for n, v in p.items() if f"_l{k}" in n})
        y, s = flat(y, whole(flat, [a[k : k + 1] for a in parts(s0)]))
        ends.append(parts(s))
    together, s = deep(x, s0)
    same_bits(together, y)
    for a, pieces in zip(parts(s), zip(*ends, strict=True), strict=True):
        same_bits(a, np.concatenate(pieces))


@pytest.mark.parametrize("cell", KINDS)
def test_the_reverse_direction_is_forward_on_the_reversed_sequence(cell, rng):
    both, one = make(cell, 3, 9, bidirectional=True), make(cell, 3, 9, seed=8)
    p = both.state_dict()
    one.load_state_dict({n.removesuffix("_reverse"): v for n, v in p.items() if "_reverse" in n})
    x = random_input(both, 6, 4, rng)
    same_bits(both(x)[0][..., one.structure.features :], one(np.ascontiguousarray(x[::-1]))[0][::-1])


@pytest.mark.parametrize("cell", KINDS)
def test_running_twice_gives_the_same_bits(cell, rng):
    layer = make(cell, 5, 33, 2, bidirectional=True)
    x, cot = random_input(layer, 20, 13, rng), random_cotangents(layer, 20, 13, rng)
    first = layer.record(x).backward(*cot)
    again = layer.record(x).backward(*cot)
    same_bits(first.parameters, again.parameters)
    same_bits(first.input, again.input)
