"""Signal handlers run during a call, and an interrupted call leaves a clean state."""

import signal
import threading

import numpy as np
import pytest
from support import CELLS, make, random_input, run_python, same_bits

import rnncore as rc

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")


class Struck(Exception):
    pass


def strike(after, call):
    """Run `call`, and let a signal's handler raise in it after some seconds."""

    def handler(number, frame):
        raise Struck

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        return call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def strike_inside(name, monkeypatch, call):
    """Run `call` again and again until a handler has raised while the engine's function of this name ran."""
    from rnncore import _engine

    real, running = getattr(_engine, name), []

    def watched(*arguments, **options):
        running.append(1)
        try:
            return real(*arguments, **options)
        finally:
            running.clear()

    def handler(number, frame):
        if running:
            raise Struck

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    with monkeypatch.context() as patch:
        patch.setattr(_engine, name, watched)
        try:
            while True:
                call()
        except Struck:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def heard_during(call):
    """How often a handler runs while one call does, at a signal every 10 ms."""
    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_: heard.append(inside[0]))
    inside = [True]
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        call()
        inside[0] = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return sum(heard)


def of_engine(monkeypatch, name):
    """The engine's function, and a count of the times that a handler ran while it did."""
    from rnncore import _engine

    real, counts = getattr(_engine, name), []

    def watched(*arguments, **options):
        returned = []
        counts.append(heard_during(lambda: returned.append(real(*arguments, **options))))
        return returned[0]

    monkeypatch.setattr(_engine, name, watched)
    return counts


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("cell", "I", "H", "T", "B"),
                         [("lstm", 1, 1, 1_500_000, 1), ("gru-reset-before", 64, 128, 6000, 8)])
def test_one_engine_call_answers_many_signals(cell, I, H, T, B, threads, monkeypatch, rng):
    """Some 0.2 s of work: if the engine did not check for signals between stretches, all of them would be handled after
    the call, as one."""
    layer = make(cell, I, H, dtype="float64")
    x = rng.normal(size=(T, B, I))
    with rc.threads(threads):
        forward, backward, again = (of_engine(monkeypatch, name)
                                    for name in ("record", "backward_recorded", "walk_back_recorded"))
        tape = layer.record(x)
        tape.backward(np.ones_like(tape.output))
        tape.backward(np.ones_like(tape.output))
    assert forward[0] >= 3
    assert backward[0] >= 3
    assert again[0] >= 3


@pytest.mark.parametrize("threads", [1, 2])
def test_a_long_linear_layer_and_its_loss_answer_many_signals(threads, monkeypatch, rng):
    linear = rc.nn.Linear(150, 300, dtype="float64", seed=0)
    x, targets = rng.normal(size=(60_000, 150)), rng.integers(0, 300, size=60_000)
    with rc.threads(threads):
        counts = [of_engine(monkeypatch, name) for name in ("linear_forward", "linear_backward", "cross_entropy")]
        record = linear.record(x)
        record.backward(rc.nn.cross_entropy(record.output, targets)[1])
    forward, backward, loss = counts
    assert forward[0] >= 3
    assert backward[0] >= 3
    assert loss[0] >= 1


@pytest.mark.parametrize("both", [False, True])
def test_signals_are_answered_where_most_rows_end_soon(both, monkeypatch, rng):
    """Stretches count work, not steps: nearly all of it is in a few steps, the first ones and those of the reverse
    direction's end."""
    layer = make("lstm", 4, 64, bidirectional=both, dtype="float64")
    lengths = np.full(1500, 60)
    lengths[7] = T = 3000
    x = rng.normal(size=(T, len(lengths), 4))
    with rc.threads(1):
        forward, backward = (of_engine(monkeypatch, name) for name in ("record", "backward_recorded"))
        tape = layer.record(x, lengths=lengths)
        tape.backward(np.ones_like(tape.output))
    assert forward[0] >= 3 * layer.directions
    assert backward[0] >= 3 * layer.directions


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_interruptible_stretches_do_not_change_the_bits(cell, threads, rng):
    """A pass long enough for several stretches, beside the same pass in pieces that are one stretch each."""
    layer = make(cell, 3, 17, bidirectional=True)
    T, B = 90_000, 3
    x = random_input(layer, T, B, rng)
    lengths = [T, T - 777, 40_000]
    with rc.threads(threads):
        whole = layer.record(x, lengths=lengths)
        pieces = layer.record(x, lengths=lengths, checkpoint_every=1500)
        same_bits(whole.output, pieces.output)
        g = rng.normal(size=whole.output.shape).astype("float32")
        a, b = whole.backward(g), pieces.backward(g)
    same_bits(a.input, b.input)
    same_bits(a.parameters, b.parameters)


@pytest.mark.parametrize("every", [None, 20_000])
def test_an_interrupted_backward_leaves_no_gradient(every, monkeypatch, rng):
    layer = make("lstm", 4, 32, 2)
    x = random_input(layer, 120_000, 2, rng)
    tape = layer.record(x, checkpoint_every=every)
    g = rng.normal(size=tape.output.shape).astype("float32")
    first = tape.backward(g)
    strike_inside("backward" if every else "walk_back_recorded", monkeypatch, lambda: tape.backward(2 * g))
    with pytest.raises(KeyError, match="no gradient yet"):
        tape.grad["l0.h"]
    again = tape.backward(g)
    same_bits(again.parameters, first.parameters)
    same_bits(again.input, first.input)


def test_an_interrupted_record_uses_up_no_mask(monkeypatch, rng):
    """Dropout masks depend on the number of the pass, and an interrupted pass is not counted."""
    layer, other = (make("gru", 4, 32, 2, dropout=0.5) for _ in range(2))
    x = random_input(layer, 100_000, 2, rng)
    done = []
    strike_inside("forward", monkeypatch, lambda: done.append(layer.record(x, train=True).T))
    for _ in done:
        other.record(x[:2], train=True)
    same_bits(layer.record(x[:9], train=True).output, other.record(x[:9], train=True).output)


def test_a_hidden_markov_pass_is_interrupted(monkeypatch, rng):
    """Signals are checked between and within sequences; an interrupted call leaves the model unchanged."""
    from rnncore.models.chains import em

    sequences = [rng.integers(0, 9, size=5000) for _ in range(400)]
    model = rc.models.HiddenMarkov(24, n_iter=2, tol=0, random_state=0).fit(sequences[:2])
    before = model.transmat_.copy()
    real, counts = em.Workers.run, []
    monkeypatch.setattr(em.Workers, "run", lambda *a: counts.append(heard_during(lambda: real(*a))))
    assert np.isfinite(model.perplexity(sequences))
    assert max(counts) >= 3
    monkeypatch.undo()
    with pytest.raises(Struck):
        strike(0.05, lambda: model.perplexity(sequences))
    same_bits(model.transmat_, before)


def test_threads_of_the_pool_receive_no_signals():
    """Otherwise a signal that the program blocked in its own threads would be delivered to one of ours."""
    run_python(
        """
import re, threading
from pathlib import Path
import numpy as np, rnncore as rc
before = {p.name for p in Path("/proc/self/task").iterdir()}
rc.set_num_threads(3)
rc.LSTM(64, 128)(np.ones((200, 32, 64)))
ours = [p for p in Path("/proc/self/task").iterdir() if p.name not in before]
assert ours, "no thread was made"
for task in ours:
    blocked = int(re.search(r"SigBlk:\\s*(\\w+)", (task / "status").read_text())[1], 16)
    for number in (1, 2, 10, 12, 14, 15, 17):       # HUP INT USR1 USR2 ALRM TERM CHLD
        assert blocked >> (number - 1) & 1, (task, number)
"""
    )


def test_python_threads_other_than_the_main_one_go_on(rng):
    """Signals are handled in the main thread only: calls in other threads are not interrupted."""
    layer = make("lstm", 8, 64)
    x = random_input(layer, 20_000, 2, rng)
    expected, got = layer(x)[0], []
    thread = threading.Thread(target=lambda: got.append(layer(x)[0]))
    thread.start()
    heard = heard_during(thread.join)
    same_bits(got[0], expected)
    assert heard >= 1
