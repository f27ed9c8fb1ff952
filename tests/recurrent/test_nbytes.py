"""A recorded pass holds what BPTT needs, by the formula in docs/engine.md, and at most a tenth more."""

import copy
import pickle

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


def test_a_tape_that_has_been_read_is_copied_no_larger(rng):
    tape = rc.LSTM(3, 8, 2, bidirectional=True, seed=0).record(rng.normal(size=(50, 4, 3)).astype(np.float32))
    before = len(pickle.dumps(tape))
    size = tape.nbytes                                      # looks at every array
    assert len(pickle.dumps(tape)) <= before + 100
    for again in (copy.deepcopy(tape), pickle.loads(pickle.dumps(tape))):
        assert again.nbytes <= 1.01 * size
        assert np.array_equal(again[tape.names()[-1]], tape[tape.names()[-1]])
