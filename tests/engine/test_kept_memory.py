"""Memory that is kept for later passes is bounded, can be released, and is safe under garbage collection."""

import gc
import sys

import numpy as np
import pytest
from support import make, random_input, run_python, same_bits

import rnncore as rc
from rnncore import _engine


@pytest.fixture
def limit():
    """Set by a test, and set back; a build for a sanitizer begins with 0."""
    before = _engine.get_kept_limit()
    rc.set_kept_memory(2**29)
    yield rc.set_kept_memory
    rc.set_kept_memory(before)


def pass_of(layer, T, B=8):
    tape = layer.record(np.ones((T, B, layer.input_size)))
    tape.backward(np.ones_like(tape.output))


def test_memory_kept_of_deleted_tapes_is_bounded(limit):
    layer = make("lstm", 4, 64)
    limit(3_000_000)
    for T in (10, 50, 100, 150, 200, 400):
        pass_of(layer, T)
        assert 0 < rc.kept_memory() <= 3_000_000
    limit(1_000_000)
    assert rc.kept_memory() <= 1_000_000
    limit(0)
    pass_of(layer, 50)
    assert rc.kept_memory() == 0


def test_release_memory_keeps_nothing(limit):
    pass_of(make("gru", 4, 64), 100)
    assert rc.kept_memory() > 0
    rc.release_memory()
    assert rc.kept_memory() == 0
    pass_of(make("gru", 4, 64), 100)
    assert rc.kept_memory() > 0, "the limit is as it was"


@pytest.mark.slow           # and a sanitizer keeps what is freed for a while
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_large_tape_goes_back_to_the_system():
    """A tape larger than the limit at import leaves no kept memory."""
    run_python(
        """
import numpy as np, rnncore as rc
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
layer = rc.LSTM(4, 128, seed=0)
x = np.ones((1700, 128, 4), "float32")
layer(x[:2])
before = resident()
rc.set_kept_memory(2**29)
tape = layer.record(x)
assert resident() - before > 600_000_000
del tape
assert resident() - before < 100_000_000, resident() - before
tape = layer.record(x[:500])
del tape
assert 150_000_000 < rc.kept_memory() < 2**29
rc.release_memory()
assert resident() - before < 50_000_000, resident() - before
"""
    )


def test_memory_of_results_is_used_again_after_the_last_view(limit, rng):
    layer = make("lstm", 5, 64)
    x = random_input(layer, 40, 60, rng)
    x[:, :, 0] = np.arange(40 * 60).reshape(40, 60)

    def results(x):
        tape = layer.record(x)
        return layer(x)[0], tape.output, tape.backward(np.ones_like(tape.output)).input

    y, recorded, grad = results(x)
    views = [y[3:5], recorded[::7, 2], grad.T[1]]
    expected = tuple(view.copy() for view in views)
    place = y.ctypes.data
    del y, recorded, grad
    for _ in range(3):
        again = results(-x)
        assert place not in [array.ctypes.data for array in again]
    same_bits(tuple(views), expected)
    del views, again
    rc.release_memory()
    y = layer(x)[0]
    place = y.ctypes.data
    del y
    assert rc.kept_memory() >= 40 * 60 * 64 * 4
    assert layer(x)[0].ctypes.data == place


def test_wrong_limits_are_refused():
    for wrong in (-1, 0.5, "1 GB", None, True):
        with pytest.raises(ValueError, match="limit: got"):
            rc.set_kept_memory(wrong)


def test_a_block_in_a_cycle_is_collected():
    """The collector once cleared what a block's end needs (in a process of its own: that was a crash)."""
    run_python(
        """
import gc, numpy as np, rnncore as rc
for round in range(20):
    layer = rc.LSTM(4, 8, seed=0)
    tape = layer.record(np.ones((50, 16, 4)))
    base = tape["l0.f"]
    while isinstance(base.base, np.ndarray): base = base.base
    ring = [base.base]          # arrays are not tracked: the ring must be the last to hold the block
    ring.append(ring)
    del base, tape, layer, ring
    gc.collect()
"""
    )


def test_reused_memory_shows_nothing_of_its_earlier_contents(limit, rng):
    """Every number of a pass on memory that another pass has filled with NaN."""
    layer = make("lstm", 5, 16, 2, bidirectional=True)
    x = random_input(layer, 60, 6, rng)
    lengths = [60, 0, 7, 59, 1, 30]

    def numbers():
        tape = layer.record(x, lengths=lengths)
        grads = tape.backward(np.ones_like(tape.output))
        found = {n: tape[n].copy() for n in tape.names()} | {f"grad {n}": tape.grad[n].copy() for n in tape.names()}
        return found | {"input": grads.input} | grads.parameters

    rc.release_memory()
    expected = numbers()
    for _ in range(2):
        dirt = [layer.record(np.full_like(x, np.nan)) for _ in range(2)]
        for tape in dirt:
            tape.backward(np.full_like(tape.output, np.nan))
        del dirt, tape
        gc.collect()
        same_bits(numbers(), expected)


@pytest.mark.parametrize("dtype", ["float16", "int32", "int64", "complex64", "longdouble"])
def test_the_engine_makes_no_array_of_another_type_in_its_memory(dtype):
    for make_one in (lambda: _engine.room((1 << 18,), np.dtype(dtype)),
                     lambda: _engine.carve("a tape", np.dtype(dtype), ((3, 2),))):
        with pytest.raises(TypeError, match="float32 or float64"):
            make_one()
