"""Sizes that are multiples of nothing: units, inputs and rows, against the twin."""

import pytest
from support import (
    KINDS,
    judge_pass,
    make,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
)

HIDDEN = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 40, 63, 65, 100, 128, 129]
INPUTS = [1, 3, 7, 8, 17]
ROWS = [1, 2, 3, 4, 5, 6, 7, 13, 37]


def judge(cell, I, H, B, dtype, rng, T=3, **options):
    layer = make(cell, I, H, dtype=dtype, **options)
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    cot = random_cotangents(layer, T, B, rng)
    y, s = layer(x, s0)
    tape = layer.record(x, s0)
    same_bits((y, s), (tape.output, tape.state))
    judge_pass(layer, x, s0, None, cot)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("H", HIDDEN)
def test_any_hidden_size_equals_the_twin(cell, H, rng):
    for k, dtype in enumerate(["float32", "float64"]):
        place = HIDDEN.index(H) + k
        judge(cell, INPUTS[place % 5], H, ROWS[place % 9], dtype, rng)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("B", ROWS)
def test_any_batch_size_equals_the_twin(cell, B, rng):
    place = ROWS.index(B)
    for I in INPUTS:
        judge(cell, I, HIDDEN[place], B, "float32", rng, T=2)
        judge(cell, I, HIDDEN[place + 4], B, "float64", rng, T=2)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize(("I", "H", "B"), [(300, 5, 2), (2, 257, 3), (130, 70, 65), (33, 129, 1)])
def test_large_sizes_equal_the_twin(cell, I, H, B, rng):
    """Above one tile and one block in every direction."""
    judge(cell, I, H, B, "float32", rng, T=2)
    judge(cell, I, H, B, "float64", rng, T=2)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("T", [1, 2, 63, 130])
def test_any_number_of_steps_equals_the_twin(cell, T, rng):
    judge(cell, 3, 5, 3, "float64", rng, T=T)
