"""Measures know where the state of a row was reset."""

import numpy as np
import pytest
from rnncore.viz._layers import record_again, record_rows
from rnncore.viz._tapes import previous
from support import KINDS, make, random_input, random_state, same_bits

from rnncore import viz


@pytest.fixture
def tape(rng):
    layer = make("lstm", 3, 5, 2, bidirectional=True, batch_first=True)
    marks = rng.random((4, 20)) < 0.2
    x = random_input(layer, 20, 4, rng).swapaxes(0, 1)
    return layer.record(x, random_state(layer, 4, rng), [20, 3, 0, 11], reset=marks)


def test_a_pass_is_recorded_again_with_its_resets(tape):
    same_bits(record_again(tape).output, tape.output)
    rows = record_rows(tape, np.array([3, 1]))
    same_bits(rows["l1.reverse.h"], tape["l1.reverse.h"][:11, [3, 1]])
    same_bits(rows.reset, tape.reset[:11, [3, 1]])


@pytest.mark.parametrize("part", ["h", "c"])
def test_the_state_before_a_reset_step_is_zero(tape, part):
    for b, length in enumerate(tape.lengths):
        for t in range(length):
            before = previous(tape, "l1", part)[t, b]
            state = tape.initial[part == "c"][2, b] if t == 0 else tape["l1." + part][t - 1, b]
            assert (before == (0 if tape.reset[t, b] else state)).all()
            before = previous(tape, "l1.reverse", part)[t, b]
            last = t == length - 1
            after = tape.initial[part == "c"][3, b] if last else tape["l1.reverse." + part][min(t + 1, 19), b]
            assert (before == (0 if not last and tape.reset[t + 1, b] else after)).all()


@pytest.mark.parametrize("cell", KINDS)
def test_a_share_of_a_step_does_not_read_across_a_reset(cell, rng):
    layer = make(cell, 3, 5)
    marks = np.zeros((12, 1), bool)
    marks[7] = True
    x, g = random_input(layer, 12, 1, rng), rng.normal(size=(12, 1, layer.structure.features))
    together, alone = layer.record(x, reset=marks), layer.record(x[7:])
    together.backward(g)
    alone.backward(g[7:])
    together, alone = viz.step_share(together), viz.step_share(alone)
    for name, values in alone.items():
        after = together[name][7:]
        np.testing.assert_allclose(after / after.sum(), values / values.sum(), rtol=1e-5)
