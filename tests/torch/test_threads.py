"""Threads beside those of torch: calls use its threads while these spin, and the pool's own otherwise."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts the threads of the process there")

BEFORE = """
import os, signal, threading, time
import numpy as np, torch
import rnncore as rc
from rnncore import _engine

torch.set_num_threads(2)
rc.set_num_threads(2)
layer, x = rc.LSTM(64, 64, seed=0), np.random.default_rng(0).normal(size=(50, 16, 64)).astype("f4")

def tasks():
    return len(os.listdir("/proc/self/task"))

def call():
    _engine.give_way(-_engine.give_way(0))
    return layer(x)[0]
"""
KNOWN = """
with rc.threads(1):
    expected = call()
"""


def run(code, known=True):
    """What the code prints; `known`: `expected` is a result on one thread, so that a call was before."""
    program = BEFORE + KNOWN * known + code
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.timing
def test_a_call_uses_the_threads_that_an_operation_left_awake():
    """Each operation leaves them spinning, so that no thread of the pool is ever made. (On a busy machine they may have
    lost their CPUs, which looks like sleep.)"""
    calls = 0
    for _ in range(8):
        calls = int(*run("""
torch.ones(10**6).add_(1)
before, calls = tasks(), 0
_engine.threads_of_a_call()
while tasks() == before and calls < 5:
    _engine.give_way(-_engine.give_way(0))
    torch.ones(10**6).add_(1)
    _engine.threads_of_a_call()
    calls += 1
print(calls)
"""))
        if calls > 1:
            return
    pytest.fail(f"none of {calls} calls found torch's threads awake")


def test_the_first_call_finds_torchs_threads_and_one_after_a_pause_uses_the_pool():
    found = run("""
torch.ones(10**6).add_(1)
counts = [tasks()]
first = _engine.threads_of_a_call()
counts.append(tasks() - counts[0])
ok = (call() == expected).all()
for _ in range(20):             # they spin for some milliseconds; longer where other programs take their CPU
    time.sleep(0.5)
    _engine.give_way(-_engine.give_way(0))
    _engine.threads_of_a_call()
    if tasks() > counts[0]:
        break
counts.append(tasks() - counts[0])
print(first, *counts[1:], ok and (call() == expected).all())
""")
    assert found == ["2", "0", "1", "True"]


def test_a_forked_child_uses_the_pool():
    found = run("""
torch.ones(10**6).add_(1)
call()
child = os.fork()
if child == 0:
    before = tasks()
    ok = (call() == expected).all() and (call() == expected).all()
    os._exit(0 if ok and before == 1 and tasks() == 2 else 1)
print(os.waitpid(child, 0)[1])
assert (call() == expected).all()
""")
    assert found == ["0"]


def test_a_child_that_is_forked_before_the_first_call_uses_the_pool():
    found = run("""
torch.ones(10**6).add_(1)
child = os.fork()
if child == 0:
    signal.alarm(20)            # a call that waits for the parent's threads would wait for ever
    os._exit(0 if np.isfinite(call()).all() else 1)
print(os.waitpid(child, 0)[1])
""", known=False)
    assert found == ["0"]


def test_other_threads_than_the_main_one_begin_no_threads_of_torch():
    found = run("""
before, here, go = tasks(), threading.Barrier(4), threading.Event()


def one():
    call()
    here.wait()
    go.wait()


callers = [threading.Thread(target=one) for _ in range(3)]
for caller in callers:
    caller.start()
here.wait()
print(tasks() - before)         # the callers, and one worker of the pool
go.set()
""", known=False)
    assert int(found[0]) <= 4


def test_calls_through_modules_use_no_more_threads_than_torch_may():
    found = run("""
import rnncore.torch as rt
rc.set_num_threads(8)
module, x, seen = rt.GRU(3, 4), torch.ones(5, 2, 3), []
record_on = rc.GRU.record_on
rc.GRU.record_on = lambda *given, **options: (seen.append(rc.num_threads()), record_on(*given, **options))[1]
for threads in (1, 2, 16):
    torch.set_num_threads(threads)
    module(x)
print(*seen, rc.num_threads())
""")
    assert found == ["1", "2", "8", "8"]
