"""A recorded pass holds what BPTT needs, by the formula in docs/engine.md, and at most a tenth more."""

import numpy as np
import pytest

import rnncore as rc

GATES_AND_STATES = {rc.LSTM: 6, rc.GRU: 5, rc.RNN: 1}


@pytest.mark.parametrize("hidden", [17, 100, 128])
@pytest.mark.parametrize("cell", GATES_AND_STATES)
def test_a_tape_is_as_large_as_the_formula_says(cell, hidden, rng):
    T, B, I = 60, 8, 5
    tape = cell(I, hidden, seed=0).record(rng.normal(size=(T, B, I)).astype(np.float32))
    needed = 4 * T * B * (GATES_AND_STATES[cell] * hidden + I)
    assert needed <= tape.nbytes <= 1.1 * needed


def test_memory_that_both_directions_share_counts_once(rng):
    T, B, I, H = 100, 64, 8, 32
    tape = rc.LSTM(I, H, bidirectional=True, seed=0).record(rng.normal(size=(T, B, I)).astype(np.float32))
    needed = 4 * T * B * (2 * 6 * H + I)
    assert needed <= tape.nbytes <= 1.1 * needed
