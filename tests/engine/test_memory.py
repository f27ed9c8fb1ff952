"""What a pass takes from the allocator: nothing inside the loop, no leak, a bound.

A small C file that counts malloc and its like is compiled and preloaded into a fresh interpreter.
"""

import gc
import platform
import shutil
import subprocess
import weakref
from pathlib import Path

import numpy as np
import pytest
from support import CELLS, make, parts, random_input, run_python, same_bits

if platform.libc_ver()[0] != "glibc":
    pytest.skip("the counter is written for glibc's malloc", allow_module_level=True)
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
if not COMPILER:
    pytest.skip("the counter needs a C compiler", allow_module_level=True)

BEGIN = """
import ctypes, gc, numpy as np, rnncore as rc
from support import CELLS, make, parts
counter = ctypes.CDLL(None)
for f in (counter.count_calls, counter.count_live, counter.count_peak): f.restype = ctypes.c_long
def allocations(work):
    "The fewest of a few runs: Python's and numpy's free lists are filled by the first."
    counts = []
    for _ in range(4):
        before = counter.count_calls()
        result = work()
        counts.append(counter.count_calls() - before)
        del result
    return min(counts)
def peak(work):
    "Bytes beyond what was there before and, of the result, beyond what stays."
    gc.collect(); work()
    counter.count_reset_peak(); before = counter.count_live()
    result = work()
    return counter.count_peak() - before, counter.count_live() - before
gc.disable()
"""


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    library = tmp_path_factory.mktemp("count") / "count_malloc.so"
    source = Path(__file__).with_name("count_malloc.c")
    subprocess.run(
        [COMPILER, "-O1", "-fno-builtin", "-shared", "-fPIC", "-o", library, source], check=True
    )
    return lambda code, **env: run_python(BEGIN + code, LD_PRELOAD=str(library), **env)


def test_the_counter_of_allocations_counts(counted):
    """Otherwise all tests below would pass on anything."""
    counted(
        """
assert allocations(lambda: np.empty(100_000)) >= 1
assert allocations(lambda: [np.empty(100_000) for _ in range(10)]) >= 10
top, rest = peak(lambda: np.ones(1_000_000))
assert 8_000_000 <= rest <= top < 8_100_000, (top, rest)
"""
    )


SAME_NUMBER = """
wrong = []
for cell in {cells}:
    for H, B, layers, ragged in {sizes}:
        layer = make(cell, 5, H, layers)
        counts = []
        for T in ({short}, {long}):
            x = np.random.default_rng(0).normal(size=(T, B, 5)).astype("float32")
            lengths = np.arange(T, T - B, -1) if ragged else None
            tape = layer.record(x, lengths=lengths)
            g = np.ones_like(tape.output)
            layer.record(x, lengths=lengths).backward(g)        # the first one packs, and looks up names
            counts.append([
                allocations(lambda: layer(x, lengths=lengths)),
                allocations(lambda: layer.record(x, lengths=lengths)),
                allocations(lambda: tape.backward(g)),
            ])
        if np.abs(np.diff(counts, axis=0)).max() > {slack}:
            wrong.append((cell, H, "call, record, backward:", *counts))
assert not wrong, wrong
"""


def test_the_number_of_allocations_does_not_depend_on_the_length(counted):
    """At 2,300 steps even an array of T bytes is too large for numpy's own list of blocks, all results are on memory
    that is kept, and sums have several spans."""
    sizes = [(16, 6, 2, False), (16, 3, 1, True), (130, 4, 1, False)]
    counted(SAME_NUMBER.format(short=2300, long=3100, slack=0, sizes=sizes, cells=list(CELLS)))


def test_the_number_of_allocations_does_not_depend_on_the_length_on_two_threads(counted):
    code = SAME_NUMBER.format(
        short=1100, long=1500, slack=0, sizes=[(200, 4, 1, False)], cells=["lstm"]
    )
    counted("rc.set_num_threads(2)" + code)


def test_ten_thousand_steps_allocate_as_often_as_ten(counted):
    """At T = 10 numpy takes a few small arrays from its list; a block in 1,000 steps is more."""
    sizes = [(16, 6, 2, False)]
    counted(SAME_NUMBER.format(short=10, long=10_000, slack=8, sizes=sizes, cells=list(CELLS)))


def test_the_time_loop_creates_no_python_objects(counted):
    """PYTHONMALLOC=malloc counts every object; Python's own dicts and lists waver a little."""
    code = SAME_NUMBER.format(
        short=1100, long=2300, slack=20, sizes=[(16, 3, 2, True)], cells=list(CELLS)
    )
    counted(code, PYTHONMALLOC="malloc")


def test_a_streaming_step_with_out_allocates_nothing(counted):
    counted(
        """
wrong = []
for cell in CELLS:
    for H, B, layers in [(32, 1, 1), (17, 3, 2), (256, 2, 1)]:
        layer = make(cell, 8, H, layers)
        stream, x, out = layer.stream(B), np.ones((B, 8), "float32"), np.empty((B, H), "float32")
        def work():
            for _ in range(1000): stream.step(x, out=out)
        n = allocations(work)
        if n: wrong.append((cell, H, B, n))
assert not wrong, wrong
"""
    )


def test_nothing_leaks(counted):
    counted(
        """
wrong = []
for cell in CELLS:
    layer = make(cell, 5, 33, 2, bidirectional=True)
    x = np.ones((40, 7, 5), "float32")
    def work():
        with rc.threads(2): layer(x)
        tape = layer.record(x, checkpoint_every=7)
        tape.backward(np.ones_like(tape.output))
        tape = layer.record(x, lengths=[40, 3, 0, 1, 2, 3, 4])
        tape.backward(np.ones((3, *tape.output.shape)))
        next(tape.pullback())
        with layer.writable() as p: p["weight_hh_l0"] *= 1.001
        for bad in (np.ones((3, 3)), np.ones((40, 7, 5), complex)):
            try: layer(bad)
            except (TypeError, ValueError): pass
    for _ in range(5): work()
    gc.collect(); before = counter.count_live()
    for _ in range(20): work()
    gc.collect(); grown = counter.count_live() - before
    if grown > 20_000: wrong.append((cell, grown))
assert not wrong, wrong
"""
    )


def test_a_call_takes_its_output_and_no_tape(counted):
    """Never the gates of all steps."""
    counted(
        """
wrong = []
T, B, H = 2000, 8, 64
for cell in CELLS:
    layer = make(cell, 4, H)
    x = np.ones((T, B, 4), "float32")
    top, rest = peak(lambda: layer(x))
    output = T * B * H * 4
    if top > 1.1 * output + 2_000_000: wrong.append((cell, top / output))
assert not wrong, wrong
"""
    )


def test_a_recorded_pass_holds_what_backward_needs(counted):
    """Per step and unit: RNN h; GRU h r z n hn; LSTM h c i f g o; as much for their gradients."""
    counted(
        """
wrong = []
T, B, I, H = 2000, 8, 4, 64
for cell in CELLS:
    layer = make(cell, I, H)
    x = np.ones((T, B, I), "float32")
    unit = T * B * H * 4
    values = {"rnn": 1, "gru": 5, "lstm": 6}[cell.split("-")[0]]
    top, rest = peak(lambda: layer.record(x))
    # the copy of x and an output of its own besides
    if top > 1.1 * (values + 1 + I / H) * unit + 2_000_000:
        wrong.append((cell, "record", top / unit))
    tape = layer.record(x); g = np.ones_like(tape.output)
    top, rest = peak(lambda: tape.backward(g))
    if top > 1.1 * (values + 1 + 2 * I / H) * unit + 2_000_000:
        wrong.append((cell, "backward", top / unit))
assert not wrong, wrong
"""
    )


def test_checkpoints_bound_the_memory(counted):
    """A long LSTM, one row: beyond inputs, outputs and their gradients a tenth of a full tape."""
    counted(
        """
T, I, H = 20_000, 8, 64
layer = make("lstm", I, H)
x = np.ones((T, 1, I), "float32"); g = np.ones((T, 1, H), "float32")
work = lambda every: layer.record(x, checkpoint_every=every).backward(g)
full, _ = peak(lambda: layer.record(x).backward(g))
top, _ = peak(lambda: work(141))
own = T * 4 * (2 * I + 2 * H)  # x's copy, its gradient, output, and room for one more like it
assert top - own < 0.1 * full + 500_000, (top, own, full)
"""
    )


@pytest.mark.parametrize("cell", CELLS)
def test_a_dropped_tape_is_gone_without_the_collector(cell, rng):
    """No reference cycle keeps hundreds of megabytes alive."""
    layer = make(cell, 3, 5)
    gc.disable()
    try:
        tape = layer.record(random_input(layer, 6, 2, rng))
        grads = tape.backward(np.ones_like(tape.output))
        gone = weakref.ref(tape)
        del tape
        assert gone() is None
        assert grads.input.any()
    finally:
        gc.enable()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("every", [None, 7])
def test_views_keep_their_memory(cell, every, rng):
    """Every array from a tape outlives the tape, whatever is recorded afterwards."""
    layer = make(cell, 3, 64, 2)
    x = random_input(layer, 50, 4, rng)
    options = {"checkpoint_every": every} if every else {}
    tape = layer.record(x, lengths=[50, 3, 0, 49], **options)
    grads = tape.backward(np.ones_like(tape.output))
    kept = {n: tape[n] for n in tape.names("*")} | {
        f"grad {n}": tape.grad[n] for n in tape.names("*")
    }
    kept |= {"output": tape.output, "input": tape.input, "lengths": tape.lengths}
    kept |= {f"state {i}": a for i, a in enumerate(parts(tape.state))}
    kept |= {f"initial {i}": a for i, a in enumerate(parts(tape.initial))}
    kept |= {"grad input": grads.input} | {f"grad {n}": a for n, a in grads.parameters.items()}
    if not every:
        carry = next(tape.pullback(every=3))
        kept |= {"carry": carry.value, "scale": carry.log_scale}
        del carry
    before = {n: a.copy() for n, a in kept.items()}
    del tape, grads
    gc.collect()
    for size in (1, 2, 3):
        other = layer.record(size * x, **options)
        other.backward(size * np.ones_like(other.output))
        layer(size * x)
    same_bits(kept, before)


def test_many_tapes_can_be_alive_at_once(rng):
    """Recorded one after another, differentiated in another order."""
    layer = make("lstm", 3, 33, 2)
    xs = [random_input(layer, T, B, rng) for T, B in [(9, 4), (9, 4), (3, 4), (20, 1), (9, 4)]]
    alone = [layer.record(x).backward(np.ones((*x.shape[:2], 33))).input for x in xs]
    tapes = [layer.record(x) for x in xs]
    for k in (2, 0, 4, 1, 3, 0):
        same_bits(tapes[k].backward(np.ones_like(tapes[k].output)).input, alone[k])
    del tapes[1], tapes[2]
    more = [layer.record(2 * x) for x in xs]
    for k, tape in zip((0, 2, 4), tapes, strict=True):
        same_bits(tape.backward(np.ones_like(tape.output)).input, alone[k])
    assert len(more) == 5
