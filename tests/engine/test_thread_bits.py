"""Outputs, tapes, gradients and dropout masks do not depend on the number of threads."""

import numpy as np
import pytest
from support import (
    KINDS,
    everything,
    make,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
)

import rnncore as rc

# B = 1 splits units, large batches split rows; small ones stay on one thread, large ones do not.
SHAPES = [
    (20, 1, 8, 64),
    (12, 1, 256, 300),
    (9, 37, 17, 65),
    (5, 64, 128, 130),
    (40, 16, 1, 100),
    (3, 2, 3, 5),
]


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize(("T", "B", "I", "H"), SHAPES)
def test_any_number_of_threads_gives_the_same_bits(cell, T, B, I, H, rng):
    layer = make(cell, I, H)
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    cot = random_cotangents(layer, T, B, rng)
    with rc.threads(1):
        y, s = layer(x, s0)
        tape = layer.record(x, s0)
        one = everything(tape, tape.backward(*cot))
    for n in (2, 3):
        with rc.threads(n):
            same_bits(layer(x, s0), (y, s))
            tape = layer.record(x, s0)
            same_bits(everything(tape, tape.backward(*cot)), one)


@pytest.mark.parametrize("cell", KINDS)
def test_threads_do_not_change_deep_ragged_passes_with_dropout(cell, rng):
    """Options together, float64, many cotangents."""
    lengths = rng.integers(0, 13, size=21)
    results = []
    x = rng.normal(size=(12, 21, 9))
    for n in (1, 2):
        with rc.threads(n):
            layer = make(cell, 9, 47, 2, bidirectional=True, dropout=0.4, dtype="float64")
            cot = random_cotangents(layer, 12, 21, _fixed(rng), K=(3,))
            tape = layer.record(x, lengths=lengths, train=True)
            results.append(everything(tape, tape.backward(*cot, parameters=True)))
    valid = lengths > [[t] for t in range(12)]
    for out in results:  # what lies past a row's end is nobody's business
        for name in out:
            if name.startswith("value"):
                out[name] = np.where(valid[..., None], out[name], 0)
    same_bits(*results)


def _fixed(rng):
    return type(rng)(type(rng.bit_generator)(5))


@pytest.mark.parametrize("cell", KINDS)
def test_threads_do_not_change_a_pullback(cell, rng):
    layer = make(cell, 9, 64, 2)
    tape = layer.record(random_input(layer, 10, 3, rng))
    v = rng.normal(size=(5, 3, layer.structure.carry_size)).astype("float32")
    ends = []
    for n in (1, 2):
        with rc.threads(n):
            *_, last = tape.pullback(v, every=4)
            ends.append((last.value.copy(), last.log_scale.copy()))
    same_bits(*ends)
