"""Past a row's end every array of a tape is 0, also on memory that held another pass before.

Fresh memory is often 0 by luck, so each tape here comes after one of the same size, full of other numbers.
"""

import numpy as np
import pytest
from support import KINDS, make, random_cotangents, random_input, random_state

import rnncore as rc
from rnncore import _engine

T, B, H = 7, 5, 60         # enough that the engine keeps the memory of a tape that is gone
LENGTHS = np.array([3, 7, 0, 5, 1])
PAST = np.arange(T)[:, None] >= LENGTHS


@pytest.fixture(autouse=True)
def _memory_is_kept():
    """Keep memory also in a build for a sanitizer, where the limit at import is 0."""
    limit = _engine.get_kept_limit()
    rc.set_kept_memory(2**29)
    yield
    rc.set_kept_memory(limit)


def run(layer, rng, K, **options):
    """A tape after backward. All names are read once, so that recomputed windows have used their memory too."""
    tape = layer.record(random_input(layer, T, B, rng), random_state(layer, B, rng), **options)
    tape.backward(*random_cotangents(layer, T, B, rng, K))
    values = {name: tape[name].copy() for name in tape.names()}
    grads = {name: tape.grad[name].copy() for name in tape.names()}
    return tape, values, grads


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("K", [(), (3,)])
@pytest.mark.parametrize("every", [None, 1, 3, 100])
@pytest.mark.parametrize("cell", KINDS)
def test_all_arrays_are_zero_past_a_rows_end(cell, every, K, dtype, rng):
    layer = make(cell, 3, H, 2, bidirectional=True, dtype=dtype)
    # a tape of rows of unequal length has the steps of its rows alone, so one of the same size has these rows, too
    before, values, grads = run(layer, rng, K, checkpoint_every=every, lengths=None if K else LENGTHS[::-1])
    assert all(array[..., PAST, :].any() for array in (*values.values(), *grads.values()))
    del before
    kept = rc.kept_memory()
    tape, values, grads = run(layer, rng, K, checkpoint_every=every, lengths=LENGTHS)
    assert rc.kept_memory() < kept or every, "the memory of the tape before is not used again: this tests nothing"
    for name in tape.names():
        for what, array in (("", values[name]), ("grad ", grads[name])):
            assert not array[..., PAST, :].any(), what + name
            assert array[..., ~PAST, :].any(), what + name


@pytest.mark.parametrize("every", [None, 2])
@pytest.mark.parametrize("cell", KINDS)
def test_a_rows_final_state_is_the_one_at_its_end(cell, every, rng):
    """A row's final state does not depend on the number of steps of the other rows."""
    layer = make(cell, 3, 9, 2, bidirectional=True)
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    state = layer.record(x, s0, lengths=LENGTHS, checkpoint_every=every).state
    longer = np.concatenate([x, rng.normal(size=(4, B, 3)).astype(x.dtype)])
    again = layer.record(longer, s0, lengths=LENGTHS, checkpoint_every=every).state
    for a, b in zip(*(s if isinstance(s, tuple) else (s,) for s in (state, again)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.any()
