"""Weights: torch's names and shapes, initialisation, changes through `writable`, and no outdated pack."""

import contextlib
import copy
import os
import signal
import sys
import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest
from support import CELLS, close, make, parts, random_input, random_state, run_python, same_bits
from twin import Twin

import rnncore as rc
from rnncore.module import LOCK

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@pytest.mark.parametrize("mode", GATES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("both", [True, False])
def test_weights_have_torchs_names_and_shapes(mode, bias, both):
    layer = getattr(rc, mode)(3, 5, 2, bias=bias, bidirectional=both)
    G = GATES[mode] * 5
    expected = {}
    for k in range(2):
        for end in ("", "_reverse")[: 1 + both]:
            expected[f"weight_ih_l{k}{end}"] = (G, 3 if k == 0 else 5 * (1 + both))
            expected[f"weight_hh_l{k}{end}"] = (G, 5)
            if bias:
                expected[f"bias_ih_l{k}{end}"] = expected[f"bias_hh_l{k}{end}"] = (G,)
    assert {k: v.shape for k, v in layer.state_dict().items()} == expected
    assert list(layer.state_dict()) == list(expected), "torch's order"
    assert list(layer.parameters) == list(expected)


@pytest.mark.parametrize("mode", GATES)
def test_initial_weights_are_uniform_within_torchs_bound(mode):
    """U(±1/√H): within the bound, close to it, with the right mean and variance (5 standard errors)."""
    p = getattr(rc, mode)(40, 64, 2, bidirectional=True, seed=3, dtype="float64").state_dict()
    bound = 1 / 8
    for name, w in p.items():
        assert np.abs(w).max() <= bound, name
        n = w.size
        assert abs(w.mean()) <= 5 * bound / np.sqrt(3 * n), name
        assert abs((w**2).mean() / (bound**2 / 3) - 1) <= 5 * np.sqrt(0.8 / n), name
        if n > 1000:
            assert np.abs(w).max() > 0.99 * bound, name
    flat = np.concatenate([w.ravel() for w in p.values()])
    assert len(np.unique(flat)) == len(flat)


@pytest.mark.parametrize("mode", GATES)
def test_the_same_seed_gives_the_same_weights(mode):
    new = lambda seed, **k: getattr(rc, mode)(3, 5, seed=seed, **k).state_dict()  # noqa: E731
    same_bits(new(1), new(1))
    assert not np.array_equal(new(1)["weight_ih_l0"], new(2)["weight_ih_l0"])
    assert not np.array_equal(new(None)["weight_ih_l0"], new(None)["weight_ih_l0"])
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    new(None)
    after = np.random.get_state()[1]  # noqa: NPY002
    assert np.array_equal(after, before), "numpy's global generator is not ours"


@pytest.mark.parametrize("cell", CELLS)
def test_state_dict_is_a_copy(cell, rng):
    layer = make(cell, 3, 5)
    x = random_input(layer, 4, 2, rng)
    y, _ = layer(x)
    for w in layer.state_dict().values():
        assert w.flags.writeable
        w[:] = 9
    same_bits(layer(x)[0], y)


def test_load_state_dict_copies(rng):
    layer = make("gru", 3, 5)
    d = {k: rng.normal(size=v.shape).astype("float32") for k, v in layer.state_dict().items()}
    layer.load_state_dict(d)
    same_bits(layer.state_dict(), {k: d[k] for k in layer.state_dict()})
    x = random_input(layer, 4, 2, rng)
    y, _ = layer(x)
    for w in d.values():
        w[:] = 9
    same_bits(layer(x)[0], y)


def test_load_state_dict_converts_real_types_and_layouts(rng):
    layer = make("lstm", 3, 5)
    d = {k: rng.normal(size=v.shape) for k, v in layer.state_dict().items()}
    layer.load_state_dict({k: np.asfortranarray(v) for k, v in d.items()})
    for k, w in layer.state_dict().items():
        same_bits(w, d[k].astype("float32"), k)


def other(layer, change):
    d = layer.state_dict()
    change(d)
    return d


@pytest.mark.parametrize("mode", GATES)
def test_wrong_keys_are_named(mode):
    layer = getattr(rc, mode)(3, 5, 2)
    before = layer.state_dict()
    cases = [
        (lambda d: d.pop("weight_hh_l1"), ["weight_hh_l1", "missing"]),
        (lambda d: d.update(weight_hh_l2=d["weight_hh_l1"]), ["weight_hh_l2"]),
        (
            lambda d: d.update(bias_ih_l0=np.ones(3)),
            ["bias_ih_l0", "(3,)", str((GATES[mode] * 5,))],
        ),
        (lambda d: d.update(weight_ih_l0=d["weight_ih_l0"].T), ["weight_ih_l0", "(3, "]),
        (lambda d: d.update(weight_ih_l0=d["weight_ih_l0"] * 1j), ["weight_ih_l0", "complex"]),
        (
            lambda d: d.update(weight_ih_l0=d["weight_ih_l0"].astype(object)),
            ["weight_ih_l0", "object"],
        ),
        (lambda d: [d.pop("bias_ih_l0"), d.pop("bias_hh_l0")], ["bias_ih_l0", "bias_hh_l0"]),
    ]
    for change, said in cases:
        with pytest.raises((ValueError, KeyError, TypeError)) as e:
            layer.load_state_dict(other(layer, change))
        assert all(text.lower() in str(e.value).lower() for text in said), (said, str(e.value))
        same_bits(layer.state_dict(), before)  # all or nothing


def test_missing_and_extra_are_told_apart():
    layer = rc.GRU(3, 5)
    d = layer.state_dict()
    d["weight_hx_l0"] = d.pop("weight_hh_l0")
    with pytest.raises((ValueError, KeyError)) as e:
        layer.load_state_dict(d)
    assert "weight_hx_l0" in str(e.value)
    assert "weight_hh_l0" in str(e.value)


def test_load_state_dict_accepts_torch_tensors(rng):
    torch = pytest.importorskip("torch")
    layer = make("lstm", 3, 5)
    d = {k: rng.normal(size=v.shape) for k, v in layer.state_dict().items()}
    tensors = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in d.items()}
    layer.load_state_dict(tensors)
    same_bits(layer.state_dict(), {k: v.astype("float32") for k, v in d.items()})


@pytest.mark.parametrize("cell", CELLS)
def test_parameters_are_read_only_copies(cell):
    layer = make(cell, 3, 5)
    for name, w in layer.parameters.items():
        before = w.copy()
        with pytest.raises(ValueError, match="read-only"):
            w[...] = 0
        with layer.writable() as p:
            p[name][...] = 0.25
        same_bits(w, before, name)
        assert (layer.parameters[name] == 0.25).all()


def test_arrays_set_by_name_are_written_or_refused(rng):
    """`p[name] = array` is refused or written; outside a `writable` block it changes nothing."""
    layer = make("gru", 3, 5, dtype="float64")
    new = rng.normal(size=(15, 3))
    with layer.writable() as p:
        try:
            p["weight_ih_l0"] = new
        except TypeError:
            new = layer.state_dict()["weight_ih_l0"]
    same_bits(layer.state_dict()["weight_ih_l0"], new)
    before = layer.state_dict()
    with contextlib.suppress(TypeError):
        layer.parameters["weight_ih_l0"] = 2 * new
    same_bits(layer.state_dict(), before)
    judge(layer, rng)


def judge(layer, rng):
    """Call, record, backward and stream all use the current weights."""
    x, s0 = random_input(layer, 5, 3, rng), random_state(layer, 3, rng)
    run = Twin.of(layer).forward(x, parts(s0))
    g = rng.normal(size=run.output.shape).astype(layer.dtype)
    expected = Twin.of(layer).backward(run, g)
    close(layer(x, s0)[0], run.output, layer.dtype)
    tape = layer.record(x, s0)
    close(tape.output, run.output, layer.dtype)
    close(tape.backward(g).input, expected.input, layer.dtype)
    stream, zero = layer.stream(3), Twin.of(layer).forward(x).output
    close(np.array([stream.step(a) for a in x]), zero, layer.dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", CELLS)
def test_no_outdated_pack_is_ever_used(cell, dtype, rng):
    layer = make(cell, 3, 9, 2, dtype=dtype)
    judge(layer, rng)
    for name in layer.parameters:  # each weight alone
        with layer.writable() as p:
            p[name] *= -1.5
        judge(layer, rng)
    layer.load_state_dict({k: v * 0.5 for k, v in layer.state_dict().items()})
    judge(layer, rng)
    with pytest.raises(ZeroDivisionError), layer.writable() as p:  # noqa: PT012
        p["weight_hh_l0"] += 0.1
        1 / 0
    judge(layer, rng)


def test_a_call_inside_a_block_does_not_hide_later_writes(rng):
    """The layer is called between two writes in one block: the second write must have an effect too."""
    layer = make("lstm", 3, 9, dtype="float64")
    with layer.writable() as p:
        for _ in range(3):
            p["weight_hh_l0"] *= 1.3
            p["weight_ih_l0"] += 0.1
            judge(layer, rng)
    judge(layer, rng)


def test_arrays_kept_from_a_block_have_no_effect(rng):
    """After a block has closed, writing to its arrays is refused or has no effect."""
    layer = make("gru", 3, 9, dtype="float64")
    judge(layer, rng)
    with layer.writable() as p:
        kept = dict(p)
    judge(layer, rng)
    for a in kept.values():
        try:
            a[...] = 0.3
        except ValueError:
            continue
        judge(layer, rng)


def test_slices_kept_from_a_block_have_no_effect(rng):
    """The same for a view of its arrays."""
    layer = make("gru", 3, 9, dtype="float64")
    with layer.writable() as p:
        kept = p["weight_ih_l0"][:2]
    judge(layer, rng)
    try:
        kept[...] = 0.3
    except ValueError:
        return
    judge(layer, rng)


def test_every_change_increases_the_version():
    layer = make("gru", 3, 5)
    seen = [layer.version]
    with layer.writable() as p:
        p["weight_ih_l0"] += 1
    seen.append(layer.version)
    layer.load_state_dict(layer.state_dict())
    seen.append(layer.version)
    with pytest.raises(ZeroDivisionError), layer.writable():
        1 / 0
    seen.append(layer.version)
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_backward_refuses_changed_weights(cell, checkpoint_every, rng):
    layer = make(cell, 3, 5)
    x, options = random_input(layer, 5, 2, rng), {}
    if checkpoint_every:
        options["checkpoint_every"] = checkpoint_every

    def by_loading():
        layer.load_state_dict({k: 2 * v for k, v in layer.state_dict().items()})

    def by_the_door():
        with layer.writable() as p:
            p["bias_hh_l0"] += 0.5

    for change in (by_loading, by_the_door):
        tape = layer.record(x, **options)
        g = np.ones_like(tape.output)
        tape.backward(g)
        calls = [lambda: tape.backward(g)]  # noqa: B023
        if not checkpoint_every:
            walk = tape.pullback()
            calls += [lambda: next(tape.pullback()), lambda: list(walk)]  # noqa: B023
        change()
        for call in calls:
            with pytest.raises((RuntimeError, ValueError), match=r"(?i)weights|parameters") as e:
                call()
            assert "record" in str(e.value), "the way out"
        layer.record(x, **options).backward(g)


def test_a_stream_uses_the_new_weights_after_a_change(rng):
    """An open stream continues with the new weights or refuses to; it never uses the old pack."""
    layer = make("lstm", 3, 9, dtype="float64")
    x = random_input(layer, 6, 2, rng)
    stream = layer.stream(2)
    for t in range(3):
        stream.step(x[t])
    state = tuple(a.copy() for a in stream.state)
    with layer.writable() as p:
        p["weight_hh_l0"] *= -2
    expected = Twin.of(layer).forward(x[3:], state).output[0]
    try:
        y = stream.step(x[3])
    except (RuntimeError, ValueError) as e:
        assert "weights" in str(e)  # noqa: PT017
    else:
        close(y, expected, "float64")


def test_two_layers_do_not_share_weights(rng):
    a, b = make("gru", 3, 5, seed=1), make("gru", 3, 5, seed=2)
    b.load_state_dict(a.state_dict())
    x = random_input(a, 4, 2, rng)
    y, _ = a(x)
    with b.writable() as p:
        p["weight_ih_l0"][:] = 0
    same_bits(a(x)[0], y)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_is_forked_between_two_changes(rng):
    """While another thread writes, a forked child finds complete weights and a free lock."""
    run_python(
        """
import os, threading, numpy as np, rnncore as rc
from rnncore.module import LOCK
rng = np.random.default_rng(0)
layer = rc.LSTM(16, 48, 2, seed=0)
x = rng.normal(size=(6, 3, 16)).astype("float32")
sets = [{k: 0.3 * rng.normal(size=v.shape) for k, v in layer.state_dict().items()} for _ in range(3)]
expected = set()
for values in sets:
    layer.load_state_dict(values)
    expected.add(layer(x)[0].tobytes())
stop = False
def write():
    k = 0
    while not stop:
        k = (k + 1) % 3
        with LOCK, layer._in_place() as weights:
            for name in weights: weights[name][...] = sets[k][name]
threads = [threading.Thread(target=write) for _ in range(2)]
for thread in threads: thread.start()
wrong = 0
for _ in range(40):
    child = os.fork()
    if child == 0:
        fresh = rc.LSTM(16, 48, 2)
        fresh.load_state_dict(layer.state_dict())
        y = layer(x)[0].tobytes()
        os._exit(0 if y in expected and y == fresh(x)[0].tobytes() else 1)
    wrong += os.waitpid(child, 0)[1] != 0
stop = True
for thread in threads: thread.join()
assert not wrong, wrong
""",
        timeout=60,
    )


@pytest.mark.parametrize("by", ["load", "block", "optimiser"])
def test_a_call_runs_on_the_weights_of_one_moment(by, rng):
    """Two threads change all weights, two call, two record and run backward: no call sees mixed or outdated weights."""
    layer, other = make("gru", 4, 40, 2, bidirectional=True), make("gru", 4, 40, 2, bidirectional=True)
    x = random_input(layer, 5, 3, rng)
    g = rng.normal(size=(5, 3, 80)).astype("float32")
    sets = [{k: 0.3 * rng.normal(size=v.shape) for k, v in layer.state_dict().items()} for _ in range(3)]
    expected = {}
    for values in sets:
        other.load_state_dict(values)
        expected[other(x)[0].tobytes()] = other.record(x).backward(g).parameters
    layer.load_state_dict(sets[0])
    stop, wrong, counts = threading.Event(), [], {"called": 0, "went back": 0, "refused": 0}

    block = layer._in_place if by == "optimiser" else layer.writable

    def change(k):
        while not stop.is_set():
            k = (k + 1) % 3
            if by == "load":
                layer.load_state_dict(sets[k])
            else:
                with LOCK if by == "optimiser" else nullcontext(), block() as weights:
                    for name in weights:
                        weights[name][...] = sets[k][name]

    def call():
        while not stop.is_set():
            counts["called"] += 1
            if layer(x)[0].tobytes() not in expected:
                wrong.append("call")

    def go_back():
        while not stop.is_set():
            tape = layer.record(x)
            try:
                found = tape.backward(g).parameters
            except RuntimeError:
                counts["refused"] += 1
                continue
            counts["went back"] += 1
            right = expected.get(tape.output.tobytes(), {})
            if any(found[name].tobytes() != a.tobytes() for name, a in right.items()) or not right:
                wrong.append("gradient")

    threads = [threading.Thread(target=change, args=(k,)) for k in (0, 1)]
    threads += [threading.Thread(target=work) for work in (call, call, go_back, go_back)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong, (len(wrong), counts)
    assert counts["called"] > 20
    assert counts["went back"] + counts["refused"] > 20


def test_nested_blocks_share_their_working_arrays(rng):
    """Blocks nested in one thread share their arrays; a block of another thread that closes earlier is overwritten."""
    layer = make("lstm", 3, 5, dtype="float64")
    start = layer.state_dict()
    with layer.writable() as outer:
        outer["bias_ih_l0"][:] = 1
        same_bits(layer.state_dict(), start, "not taken over yet")
        with layer.writable() as inner:
            same_bits(inner["bias_ih_l0"], outer["bias_ih_l0"])
            inner["bias_hh_l0"] = 2
        same_bits(layer.state_dict()["bias_ih_l0"], np.full(20, 1.0))
        rc.init.forget_bias(layer, 3.0)
        assert (outer["bias_ih_l0"][5:10] == 3).all()
        rc.optim.SGD(layer, lr=1).step({n: np.ones_like(a) for n, a in layer.parameters.items()})
        judge(layer, rng)
    found = layer.state_dict()
    same_bits(found["bias_ih_l0"], np.repeat([0.0, 2.0, 0.0, 0.0], 5))
    same_bits(found["weight_hh_l0"], start["weight_hh_l0"] - 1)
    judge(layer, rng)
    with layer.writable() as mine:
        thread = threading.Thread(target=lambda: rc.init.identity(layer, 0.5))
        thread.start()
        thread.join()
        judge(layer, rng)
        assert layer.state_dict()["weight_hh_l0"][10, 0] == 0.5
        mine["bias_ih_l0"][:] = 9
    same_bits(layer.state_dict()["weight_hh_l0"], found["weight_hh_l0"])
    assert (layer.state_dict()["bias_ih_l0"] == 9).all()


def test_a_block_copies_values_only(rng):
    """Whatever is done to the arrays themselves and to the mapping."""
    layer = make("gru", 3, 5)
    before = layer.state_dict()
    with layer.writable() as w:
        w["weight_ih_l0"].shape = (3, 15)
        w["weight_hh_l0"].dtype = np.uint8
        w["bias_ih_l0"].setflags(write=False)
        for spoil in (
            lambda: w.pop("bias_hh_l0"),
            w.clear,
            lambda: w.update(other=np.ones(3)),
            lambda: w.update(bias_hh_l0=np.ones(3)),
            lambda: w.update(bias_hh_l0=1j),
        ):
            with pytest.raises((TypeError, KeyError, ValueError)):
                spoil()
        w.update(bias_hh_l0=np.arange(15))
    same_bits(layer.state_dict(), before | {"bias_hh_l0": np.arange(15, dtype="float32")})
    judge(layer, rng)


def test_arrays_reached_through_base_have_no_effect(rng):
    """The arrays that a block hands out have bases; their shapes and types do not matter either."""
    layer = make("gru", 3, 5)
    before = layer.state_dict()
    with layer.writable() as w:
        base = w["weight_ih_l0"].base
        base.shape = (3, 15)
        with pytest.raises(ValueError, match="resize"):
            base.resize(2, refcheck=False)
        w["bias_hh_l0"][:] = 2
    same_bits(layer.state_dict(), before | {"bias_hh_l0": np.full(15, 2, "float32")})
    judge(layer, rng)


def test_an_open_block_cannot_be_opened_again():
    layer = make("gru", 3, 5)
    block = layer.writable()
    for value in (1, 2):
        with block as w:
            w["bias_hh_l0"] = value
            with pytest.raises(RuntimeError, match="writable: got a block that is open"):
                block.__enter__()
        assert (layer.state_dict()["bias_hh_l0"] == value).all()


def test_values_that_do_not_fit_are_named():
    layer = make("gru", 3, 5)
    with layer.writable() as w:
        for value, error in ((np.ones(4), ValueError), ("a", TypeError), (np.ones(15) * 1j, TypeError)):
            with pytest.raises(error, match="bias_hh_l0: got"):
                w["bias_hh_l0"] = value


def test_layers_that_compare_equal_are_written_separately():
    """Blocks belong to the module itself, whatever its class defines as equality."""

    class Equal(rc.GRU):
        def __eq__(self, other):
            return True

        __hash__ = None

    a, b = Equal(3, 5, seed=1), Equal(3, 5, seed=2)
    with a.writable() as w, b.writable() as v:
        w["bias_hh_l0"] = 1
        v["bias_hh_l0"] = 2
    assert (a.state_dict()["bias_hh_l0"] == 1).all()
    assert (b.state_dict()["bias_hh_l0"] == 2).all()
    assert not np.array_equal(a.state_dict()["weight_ih_l0"], b.state_dict()["weight_ih_l0"])


def test_setting_the_state_of_a_layer_outdates_its_tapes(rng):
    layer, other = make("gru", 3, 5, seed=1), make("gru", 3, 5, seed=2)
    x = random_input(layer, 4, 2, rng)
    tape = layer.record(x)
    layer.__setstate__(other.__getstate__())
    same_bits(layer(x)[0], other(x)[0])
    with pytest.raises(RuntimeError, match="weights changed"):
        tape.backward(np.ones_like(tape.output))
    judge(layer, rng)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
@pytest.mark.parametrize("by", ["block", "load", "step", "threads"])
def test_many_signals_leave_no_change_half_done(by, rng):
    """Signal handlers that raise a thousand times per second leave nothing open, locked or half done."""
    layer = make("gru", 3, 5)
    sets = [{k: rng.normal(size=v.shape).astype("float32") for k, v in layer.state_dict().items()} for _ in range(2)]
    x, tape = random_input(layer, 4, 2, rng), None
    optimiser = rc.optim.SGD(layer, lr=1.0)
    before = rc.num_threads()

    class Struck(Exception):
        pass

    def strike(number, frame):
        raise Struck

    def work(k):
        if by == "load":
            layer.load_state_dict(sets[k % 2])
        elif by == "step":
            optimiser.step(sets[k % 2])
        elif by == "threads":
            with rc.threads(before + 1 + k % 2):
                pass
        else:
            with layer.writable() as w:
                for name, value in sets[k % 2].items():
                    w[name] = value

    struck, k = 0, 0
    layer.load_state_dict(sets[0])
    handler = signal.signal(signal.SIGALRM, strike)
    end = time.monotonic() + 1.5
    try:
        while time.monotonic() < end:
            k += 1
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + k % 97))
                for _ in range(20):
                    work(k)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Struck:
                struck += 1
            if k % 50 == 0:
                found = layer.state_dict()
                if by == "load":
                    assert any(all(np.array_equal(found[n], s[n]) for n in s) for s in sets)
                fresh = make("gru", 3, 5)
                fresh.load_state_dict(found)
                assert layer(x)[0].tobytes() == fresh(x)[0].tobytes()
                assert tape is None or by == "threads" or refused(tape)
                tape = layer.record(x)
    except Struck:                          # the last one, late
        struck += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert struck > 20
    assert rc.num_threads() == before
    assert LOCK._recursion_count() == 0 if hasattr(LOCK, "_recursion_count") else "count=0" in repr(LOCK)
    kept = layer.state_dict()
    optimiser.step({name: np.zeros_like(a) for name, a in kept.items()})
    same_bits(layer.state_dict(), kept, "no block is open that would bring others back")


def refused(tape):
    try:
        tape.backward(np.ones_like(tape.output))
    except RuntimeError:
        return True
    return False


def test_copies_of_a_model_have_the_weights_of_one_moment(rng):
    """While another thread changes all weights."""
    from rnncore.nn import sequence_model

    model = sequence_model("gru", 9, hidden_size=8, embedding_size=4, seed=0)
    stop = threading.Event()

    def write():
        k = 0
        while not stop.is_set():
            k += 1
            model.load_state_dict({name: np.full(a.shape, k) for name, a in shapes.items()})

    shapes = model.state_dict()
    model.load_state_dict({name: np.zeros(a.shape) for name, a in shapes.items()})
    thread = threading.Thread(target=write)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(60):
            for again in (copy.copy, copy.deepcopy):
                values = {float(a.flat[i]) for a in again(model).state_dict().values() for i in (0, -1)}
                assert len(values) == 1, values
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
