"""On a machine where threads cost time, calls run on one thread for a while, with the same bits."""

import os

import numpy as np
import pytest
from support import KINDS, make, run_python, same_bits

import rnncore as rc
from rnncore import _engine


@pytest.fixture(autouse=True)
def two_threads():
    """Two threads, and no time that is owed from calls before."""
    with rc.threads(2):
        _engine.give_way(-_engine.give_way(0))
        yield
        _engine.give_way(-_engine.give_way(0))


def test_calls_give_way_for_as_long_as_they_owe_and_then_use_threads_again(rng):
    layer = make("lstm", 64, 64)
    x = rng.normal(size=(200, 16, 64)).astype("f4")
    _engine.give_way(30_000_000)
    assert _engine.threads_of_a_call() == 1
    calls = 0
    while _engine.give_way(0) > 0:
        layer(x)
        calls += 1
        assert calls < 1000, "what calls take on one thread is not deducted"
    assert calls > 1
    assert any(_engine.threads_of_a_call() == 2 for _ in range(20))     # a busy machine may make one of them give way


def test_time_on_one_thread_by_choice_is_not_deducted(rng):
    layer = make("lstm", 64, 64)
    x = rng.normal(size=(50, 16, 64)).astype("f4")
    _engine.give_way(10**9)
    with rc.threads(1):
        layer(x)
    assert _engine.give_way(0) == 10**9


def test_portions_of_unequal_size_are_no_loss(rng):
    """The threads of hidden Markov passes take sequences as they go, and the last ones wait."""
    model = rc.models.HiddenMarkov(8, n_iter=3, tol=0, random_state=0)
    model.fit([rng.integers(5, size=steps) for steps in (20_000, 60_000)])
    assert _engine.give_way(0) <= 0


@pytest.mark.parametrize(("B", "H"), [(3, 512), (40, 64)], ids=["units", "rows"])
def test_giving_way_does_not_change_the_bits(B, H, rng):
    layer = make("gru", 16, H, 2)
    x = rng.normal(size=(60, B, 16)).astype("f4")
    g = np.ones((60, B, H), "f4")
    found = []
    for owed in (0, 10**9):
        _engine.give_way(owed - _engine.give_way(0))
        tape = layer.record(x)
        found.append((tape.output.copy(), tape.backward(g).parameters))
    same_bits(found[0][0], found[1][0])
    same_bits(found[0][1], found[1][1])


ONE_CPU = """
import os, subprocess, sys, numpy as np, rnncore as rc
from rnncore import _engine
from support import make, parts
rng = np.random.default_rng(0)
layer = make("{cell}", 70, 150, 1, bidirectional={both})
x, lengths = rng.normal(size=(70, 6, 70)).astype("f4"), [70, 70, 66, 61, 40, 5]
reset = rng.random((70, 6)) < 0.02
calls = [{{}}, {{"lengths": lengths}}, {{"reset": reset}}]
with rc.threads(1):
    expected = [layer(x, **options) for options in calls]
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
alone = calls_in_all = 0
rc.set_num_threads(2)
try:
    while alone < 10 and calls_in_all < 600:
        for options, (y, state) in zip(calls, expected):
            _engine.give_way(-_engine.give_way(0))
            got, final = layer(x, **options)
            assert got.tobytes() == y.tobytes()
            assert [a.tobytes() for a in parts(final)] == [a.tobytes() for a in parts(state)]
            alone, calls_in_all = alone + (_engine.give_way(0) > 0), calls_in_all + 1
finally:
    other.kill()
assert alone >= 10, (alone, calls_in_all)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone has CPU sets")
@pytest.mark.parametrize("cell", KINDS)
def test_a_call_that_one_thread_finishes_alone_has_the_same_bits(cell):
    """Both share one CPU with a busy process, so that the first goes on without the other, in the middle of a chunk."""
    both = cell.startswith("lstm")
    run_python(ONE_CPU.format(cell=cell, both=both))
