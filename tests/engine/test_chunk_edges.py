"""The boundaries between chunks of the backward pass; a chunk has as many steps as make 256 rows."""

import numpy as np
import pytest
from support import KINDS, judge_pass, make, random_cotangents, random_input, random_state

import rnncore as rc

CHUNK = {128: 2, 90: 3, 64: 4, 300: 1}  # rows: steps a chunk


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("B", CHUNK)
@pytest.mark.parametrize("cell", KINDS)
def test_sequences_around_whole_chunks_equal_the_twin(cell, B, ragged, dtype, rng):
    """The state before a step is the row's initial state at the row's ends, in both directions."""
    for T in sorted({n for k in (1, 2) for n in range(k * CHUNK[B] - 1, k * CHUNK[B] + 3) if n > 0}):
        layer = make(cell, 2, 3, bidirectional=True, dtype=dtype)
        x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
        lengths = rng.integers(0, T + 1, B) if ragged else None
        judge_pass(layer, x, s0, lengths, random_cotangents(layer, T, B, rng))


@pytest.mark.parametrize("T", [256, 257, 513])
@pytest.mark.parametrize("cell", KINDS)
def test_a_single_row_over_many_chunks_equals_the_twin(cell, T, rng):
    layer = make(cell, 2, 3, bidirectional=True, dtype="float64")
    x, s0 = random_input(layer, T, 1, rng), random_state(layer, 1, rng)
    judge_pass(layer, x, s0, np.array([T]), random_cotangents(layer, T, 1, rng))


@pytest.mark.parametrize("cell", KINDS)
def test_threads_that_share_a_chunk_do_not_change_the_bits(cell, rng):
    """Two threads pack the steps of a chunk, each half of it."""
    layer = make(cell, 32, 64, bidirectional=True, dtype="float64")
    x, s0 = random_input(layer, 35, 16, rng), random_state(layer, 16, rng)
    with rc.threads(2):
        judge_pass(layer, x, s0, None, random_cotangents(layer, 35, 16, rng))
