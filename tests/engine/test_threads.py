"""One setting for threads; nothing spins, nothing hangs, forks work, layers can be shared."""

import os
import subprocess
import threading

import numpy as np
import pytest
from support import make, random_input, run_python, same_bits

import rnncore as rc


@pytest.fixture(autouse=True)
def _setting_is_put_back():
    before = rc.num_threads()
    yield
    rc.set_num_threads(before)


def test_the_number_of_threads_can_be_set_and_restored():
    rc.set_num_threads(1)
    assert rc.num_threads() == 1
    rc.set_num_threads(2)
    assert rc.num_threads() == 2
    with rc.threads(1):
        assert rc.num_threads() == 1
        with rc.threads(2):
            assert rc.num_threads() == 2
        assert rc.num_threads() == 1
    assert rc.num_threads() == 2
    with pytest.raises(ZeroDivisionError), rc.threads(1):
        1 / 0
    assert rc.num_threads() == 2
    assert rc.build_info()["threads"] == 2


FOLLOWERS = """
import rnncore as rc, threadpoolctl
def pools():
    return {p["filepath"]: p["num_threads"] for p in threadpoolctl.threadpool_info()}
rc.set_num_threads(1); one = pools()
rc.set_num_threads(2); two = pools()
"""


def test_threadpoolctl_sees_the_setting():
    pytest.importorskip("threadpoolctl")
    run_python(FOLLOWERS + "assert any(one[k] == 1 and two[k] == 2 for k in one), (one, two)")


def test_threadpoolctl_changes_the_setting():
    pytest.importorskip("threadpoolctl")
    run_python(
        FOLLOWERS
        + "with threadpoolctl.threadpool_limits(1):\n    assert rc.num_threads() == 1\n"
        + "assert rc.num_threads() == 2, rc.num_threads()"
    )


def test_threadpoolctl_sees_the_setting_with_torch_loaded():
    """Our pool is seen and controlled also if another library has a pool of its own."""
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("torch")
    code = "import torch\n" + FOLLOWERS
    code += "assert any(one[k] == 1 and two[k] == 2 for k in one), (one, two)\n"
    code += "with threadpoolctl.threadpool_limits(1): assert rc.num_threads() == 1"
    run_python(code)


def test_nothing_spins_after_return():
    """The processor time of the whole process is measured while it sleeps for half a second."""
    run_python(
        """
import time, numpy as np, rnncore as rc
rc.set_num_threads(2)
layer = rc.LSTM(64, 256, seed=1)
x = np.random.default_rng(0).normal(size=(30, 32, 64))
for _ in range(3):
    tape = layer.record(x)
    tape.backward(np.ones_like(tape.output))
    layer(x)
time.sleep(0.05)  # the end of a call may take a moment
before = time.process_time(); time.sleep(0.5); spent = time.process_time() - before
assert spent < 0.02, f"{spent:.3f} s of processor time in 0.5 s of sleep"
"""
    )


FORK = """
import os, sys, signal, numpy as np, rnncore as rc
rc.set_num_threads(2)
layer = rc.{mode}(32, 256, 2, seed=1)
x = np.random.default_rng(0).normal(size=(20, 32, 32))
def work():
    tape = layer.record(x)
    g = tape.backward(np.ones_like(tape.output))
    return tape.output.tobytes() + g.parameters["weight_hh_l0"].tobytes()
before = work()
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        ok = work() == before
        rc.set_num_threads(2)
        ok = ok and work() == before
        grandchild = os.fork()
        if grandchild == 0:
            signal.alarm(60)
            os._exit(0 if work() == before else 3)
        ok = ok and os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 0
        os._exit(0 if ok else 4)
    assert work() == before  # the parent goes on meanwhile
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"child ended with {status} (-14: it hung)"
"""


@pytest.mark.parametrize("mode", ["GRU", "LSTM"])
def test_a_forked_child_works(mode):
    run_python(FORK.replace("{mode}", mode), timeout=150)


def test_multiprocessing_by_fork_works():
    run_python(
        """
import multiprocessing as mp, numpy as np, rnncore as rc
rc.set_num_threads(2)
layer = rc.GRU(32, 256, seed=1)
x = np.random.default_rng(0).normal(size=(10, 32, 32))
def work(_): return layer(x)[0].tobytes()
mine = work(0)
with mp.get_context("fork").Pool(2) as pool:
    assert all(r == mine for r in pool.map_async(work, range(4)).get(timeout=60))
""",
        timeout=90,
    )


def test_the_interpreter_exits_while_threads_exist():
    """Also after a call on many threads, or with a Python thread still inside one."""
    code = """
import threading, numpy as np, rnncore as rc
rc.set_num_threads(2)
layer = rc.LSTM(64, 256, seed=1)
x = np.zeros((50, 32, 64), np.float32)
t = threading.Thread(target=lambda: [layer(x) for _ in range(20)], daemon=True)
t.start(); layer(x)
"""
    try:
        assert run_python(code, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        pytest.fail("hangs at exit")


def crowd(n, work):
    """`work(i)` on n Python threads that start together; the first error is raised."""
    gate, errors = threading.Barrier(n), []

    def body(i):
        try:
            gate.wait(20)
            work(i)
        except BaseException as e:
            errors.append(e)

    crew = [threading.Thread(target=body, args=(i,)) for i in range(n)]
    for t in crew:
        t.start()
    for t in crew:
        t.join(60)
        assert not t.is_alive(), "hangs"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("threads", [1, 2])
def test_one_layer_can_be_called_from_many_python_threads(threads, rng):
    """Also the first calls after a change of weights, during which they are packed."""
    rc.set_num_threads(threads)
    layer, fresh = make("lstm", 8, 64, 2), make("lstm", 8, 64, 2)
    x = [random_input(layer, 10, b, rng) for b in (1, 2, 8, 33)]
    for round_ in range(5):
        new = {k: rng.normal(size=v.shape) * 0.1 for k, v in layer.state_dict().items()}
        fresh.load_state_dict(new)
        expected = [fresh(a)[0] for a in x]
        layer.load_state_dict(new)

        def work(i, expected=expected):
            for _ in range(5):
                tape = layer.record(x[i])
                same_bits(tape.output, expected[i])
                same_bits(layer(x[i])[0], expected[i])
                tape.backward(np.ones_like(tape.output))

        crowd(4, work)
        assert round_ >= 0


def test_the_setting_may_change_while_other_threads_work(rng):
    layer = make("gru", 8, 128)
    x = random_input(layer, 20, 32, rng)
    expected, _ = layer(x)

    def work(i):
        for k in range(20):
            if i == 0:
                rc.set_num_threads(1 + k % 2)
            else:
                same_bits(layer(x)[0], expected)

    crowd(3, work)


def test_more_threads_than_processors_work(rng):
    layer = make("lstm", 8, 96)
    x = random_input(layer, 5, 40, rng)
    expected, _ = layer(x)
    for n in (3, 8, 17):
        with rc.threads(n):
            assert rc.num_threads() == n
            same_bits(layer(x)[0], expected)
            same_bits(layer(x[:, :1])[0], expected[:, :1])


@pytest.mark.parametrize("name", ["RNNCORE_NUM_THREADS", "OMP_NUM_THREADS"])
@pytest.mark.parametrize(
    "value", ["²", "٣", "4294967296", "9" * 5000, "0", "-1", "two", "1.5", "+2", "0x2", ",2", "1_0"]
)
def test_invalid_numbers_of_threads_in_the_environment_are_ignored_with_a_warning(name, value):
    """The import works, as if the variable were not set, and one warning names it."""
    said = run_python(
        """
import os, warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import rnncore as rc
assert rc.num_threads() == len(os.sched_getaffinity(0)), rc.num_threads()
for w in said: print(w.category.__name__, w.message)
""",
        **{"RNNCORE_NUM_THREADS": "", "OMP_NUM_THREADS": "", name: value},
    ).stdout
    assert said.count("Warning") == 1
    assert said.startswith(f"UserWarning {name}: got {value!r}, expected a whole number from 1 to 2147483647")


@pytest.mark.parametrize(
    ("value", "expected"), [("3", 3), (" 2 ", 2), ("4,2", 4), ("1000", 256), ("", None), (" ", None)]
)
def test_the_environment_sets_the_number_of_threads(value, expected):
    run_python(
        f"""
import os, warnings
warnings.simplefilter("error")
import rnncore as rc
assert rc.num_threads() == ({expected} or len(os.sched_getaffinity(0))), rc.num_threads()
""",
        RNNCORE_NUM_THREADS="",
        OMP_NUM_THREADS=value,
    )


def test_large_numbers_of_threads_are_capped():
    before = rc.num_threads()
    try:
        rc.set_num_threads(2**40)
        assert rc.num_threads() == 256
    finally:
        rc.set_num_threads(before)


def test_an_instruction_set_that_is_not_text_is_refused():
    done = run_python("import rnncore", check=False, RNNCORE_ISA=os.fsdecode(b"\xff"))
    assert "ImportError: RNNCORE_ISA=" in done.stderr
