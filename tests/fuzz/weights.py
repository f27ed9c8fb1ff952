"""Weights: written in every possible way between calls, records and backward passes, and from other threads.

The contract: a `writable` block (a *door*) gives working arrays to the caller, and blocks nested in one thread share
them. When a block closes, the module copies their values; after the outermost one, arrays that the caller has kept are
not connected to the module. Until a block closes the module uses its previous weights. `parameters` and `state_dict()`
are copies. Every call therefore equals that of a fresh module with the same `state_dict()`, and a backward pass uses
only the weights that its tape has recorded. A *pen* is a function that writes to an array of a door.
"""

import copy
import ctypes
import pickle
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from support import CELLS, TOLERANCE, make, parts, same_bits

import rnncore as rc
from fuzz.layers import draw_layer
from rnncore import nn

REFUSED = (ValueError, TypeError, RuntimeError)  # errors that writing to a closed door may raise


# ---- pens: each takes an array of an open door, and gives a function that writes values of its shape ----------------

def through_array(view):
    """A pen that writes through an ndarray made from the door's array."""
    def pen(a):
        mine = view(a)

        def write(values):
            mine[...] = values

        return write

    return pen


def _nditer(a):
    walk = np.nditer(a, op_flags=[["readwrite"]], order="C")

    def write(values):
        walk.reset()
        for item, value in zip(walk, values.ravel(), strict=True):
            item[...] = value

    return write


def _memoryview(a):
    memory = memoryview(a).cast("B")

    def write(values):
        memory[:] = values.tobytes()

    return write


def _ctypes(a):
    address, kept = a.ctypes.data, a

    def write(values):
        ctypes.memmove(address, values.tobytes(), kept.nbytes)

    return write


def _torch(how):
    def pen(a):
        import torch  # takes seconds, so it is imported only where it is used

        tensor = getattr(torch, how)(a)
        return lambda values: tensor.copy_(torch.from_numpy(values))

    return pen


def _other_thread(a):
    def write(values):
        errors = []

        def target():
            try:
                a[...] = values
            except REFUSED as error:
                errors.append(error)

        _run_threads(target)
        if errors:
            raise errors[0]

    return write


PENS = {
    "array": through_array(lambda a: a),
    "view of a view": through_array(lambda a: a.view()[...].reshape(a.shape)[:]),
    "transposed twice": through_array(lambda a: a.T.view().T),
    "as_strided": through_array(lambda a: np.lib.stride_tricks.as_strided(a)),
    "base": through_array(lambda a: a if a.base is None or np.shape(a.base) != a.shape else a.base),
    "frombuffer": through_array(lambda a: np.frombuffer(a, a.dtype).reshape(a.shape)),
    "nditer": _nditer,
    "memoryview": _memoryview,
    "ctypes": _ctypes,
    "torch": _torch("from_numpy"),
    "dlpack": _torch("from_dlpack"),
    "thread": _other_thread,
}
PARTS = {"all": lambda a: a, "first": lambda a: a[:1], "rest": lambda a: a[1:], "middle": lambda a: a[1:-1]}


# ---- copies of modules ----------------------------------------------------------------------------------------------

def _out_of_band(module):
    """Copies by pickle 5, with read-only buffers."""
    buffers = []
    text = pickle.dumps(module, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(text, buffers=[bytes(b.raw()) for b in buffers])


def _joblib(**options):
    def clone(module):
        import joblib

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "module"
            joblib.dump(module, path)
            return joblib.load(path, **options)

    return clone


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "pickle 5": _out_of_band,
    "joblib": _joblib(),
    "joblib, mapped": _joblib(mmap_mode="r"),
}


# ---- modules under test ---------------------------------------------------------------------------------------------

def draw_module(draw):
    """(build, inputs, gradient of the output): a function that makes modules with equal options, and their inputs."""
    kind = draw.one_of("kind", ("layer", "cell", "linear", "embedding", "model"))
    dtype = draw.one_of("dtype", ("float32", "float64"))
    I, H, B, T = (draw.size(name, 1, 5) for name in "IHBT")
    cell, seed = draw.one_of("cell", CELLS), draw.size("seed", 0, 99)
    mode, own = CELLS[cell]
    options = {"bias": draw.flag("bias"), "dtype": dtype, "seed": seed}
    tokens = draw.rng.integers(0, I, (T, B))
    if kind == "layer":
        L, both = draw.size("L", 1, 2), draw.flag("bidirectional")
        return (lambda: make(cell, I, H, L, bidirectional=both, **options),
                (draw.normal(T, B, I),), draw.normal(T, B, H * (1 + both)))
    if kind == "cell":
        return lambda: getattr(rc, mode + "Cell")(I, H, **options, **own), (draw.normal(B, I),), draw.normal(B, H)
    if kind == "linear":
        return lambda: nn.Linear(I, H, **options), (draw.normal(T, B, I),), draw.normal(T, B, H)
    if kind == "embedding":
        return lambda: nn.Embedding(I, H, dtype=dtype, seed=seed), (tokens,), draw.normal(T, B, H)

    def build():
        return nn.SequenceModel(nn.Embedding(I, H, dtype=dtype, seed=seed), make(cell, H, H, **options),
                                nn.Linear(H, I, **options))

    return build, (tokens,), draw.normal(T, B, I)


def numbers(result):
    """The arrays in the result of a call or a backward pass."""
    if isinstance(result, tuple):
        return tuple(a for part in result for a in numbers(part))
    if isinstance(result, np.ndarray):
        return (result,)
    found = [result.input, *parts(result.state), *result.parameters.values()]
    return tuple(a for a in found if a is not None)


@dataclass
class Recorded:
    tape: object
    weights: dict
    expected: tuple
    changed: bool = False  # whether the weights changed since


@dataclass
class Tracked:
    """A module, and the values that its weights must have."""

    build: object
    inputs: tuple
    grad: np.ndarray
    module: object
    truth: dict
    working: dict | None = None  # while a door is open
    doors: list = field(default_factory=list)  # (door, its dict)
    pens: list = field(default_factory=list)  # (write, part of the array), of the doors that are open
    old_pens: list = field(default_factory=list)  # kept beyond their door
    tapes: list = field(default_factory=list)
    kept: list = field(default_factory=list)  # (parameters as they were given, their values then)
    optimiser: object = None

    # ---- checks ----------------------------------------------------------------------------------------------------

    def fresh(self, state):
        other = self.build()
        other.load_state_dict(state)
        return other

    def look(self):
        """A call equals that of a fresh module, and the weights have the expected values."""
        state = self.module.state_dict()
        same_bits(numbers(self.module(*self.inputs)), numbers(self.fresh(state)(*self.inputs)),
                  "a call and a fresh module with the same state_dict()")
        self.judge_weights(state)

    def judge_weights(self, state):
        same_bits(state, self.truth, "state_dict() and what was written")
        for given, values in self.kept:
            same_bits(given, values, "parameters that were given out earlier")
        given = self.module.parameters
        same_bits(given, self.truth, "parameters and what was written")
        assert not any(a.flags.writeable for a in given.values()), "parameters can be written to"
        self.kept.append((given, {name: a.copy() for name, a in given.items()}))

    def record(self):
        fresh = self.fresh(self.module.state_dict()).record(*self.inputs)
        tape = self.module.record(*self.inputs)
        same_bits(tape.output, fresh.output, "a record and a fresh module with the same state_dict()")
        self.tapes.append(Recorded(tape, self.module.state_dict(), numbers(fresh.backward(self.grad))))

    def backward(self, recorded):
        """Correct gradients, or a refusal if the weights changed."""
        try:
            found = numbers(recorded.tape.backward(self.grad))
        except RuntimeError as error:
            assert "weights" in str(error), error
            assert recorded.changed, "a tape refused weights that did not change"
        else:
            same = all(np.array_equal(recorded.weights[name], self.truth[name]) for name in self.truth)
            assert not recorded.changed or same, "a tape went back after its weights had changed"
            same_bits(found, recorded.expected, "backward and what was recorded")

    # ---- writing ----------------------------------------------------------------------------------------------------

    def open(self):
        door = self.module.writable()
        self.doors.append((door, door.__enter__()))
        if self.working is None:
            self.working = {name: a.copy() for name, a in self.truth.items()}

    def write(self, draw, restored):
        """Write one weight, or a part of it, through one of the open doors."""
        _, opened = self.doors[draw.size("door", 0, len(self.doors) - 1)]
        name = draw.pick("name", opened)
        pen = draw.one_of("pen", (*PENS, "item"))
        if pen == "item":
            self.working[name] = self.values(draw, self.truth[name], restored and restored[name])
            opened[name] = self.working[name]
            return
        part = PARTS[draw.one_of("part", PARTS)]
        target = part(self.working[name])
        if not target.size:
            return
        write = PENS[pen](part(opened[name]))
        target[...] = self.values(draw, target, restored and part(restored[name]))
        write(np.ascontiguousarray(target))
        self.pens.append((write, target))

    def write_all(self, state):
        """Give all weights the values of an earlier state."""
        for name, a in self.working.items():
            a[...] = state[name]
            self.doors[-1][1][name][...] = a

    @staticmethod
    def values(draw, like, restored):
        return draw.normal(*like.shape, dtype=like.dtype) if restored is None else restored.copy()

    def close(self, *error):
        door, _ = self.doors.pop()
        door.__exit__(*error)
        self.truth = {name: a.copy() for name, a in self.working.items()}
        self.changed()
        if not self.doors:
            self.working, self.pens, self.old_pens = None, [], self.old_pens + self.pens

    def changed(self):
        for recorded in self.tapes:
            recorded.changed = True

    def write_late(self, draw):
        """Write with a pen of a door that has closed: it is refused, or changes nothing."""
        write, target = self.old_pens[draw.size("old pen", 0, len(self.old_pens) - 1)]
        with suppress(*REFUSED):
            write(draw.normal(*target.shape, dtype=target.dtype))

    def load(self, state):
        self.module.load_state_dict(state)
        self.become({name: np.array(a) for name, a in state.items()})

    def step(self, draw):
        """One update, of the working arrays if there are any: w − lr·g, to rounding."""
        self.optimiser = self.optimiser or rc.optim.SGD(self.module, lr=0.5)
        grads = {name: draw.normal(*a.shape, dtype=a.dtype) for name, a in self.truth.items()}
        self.optimiser.step(grads)
        before, after = self.working or self.truth, self.module.state_dict()
        for name, a in after.items():
            np.testing.assert_allclose(a, before[name] - 0.5 * grads[name], atol=TOLERANCE[str(a.dtype)])
        self.become(after)

    def become(self, weights):
        """All weights have changed, and the open working arrays with them."""
        self.truth = weights
        for name, a in (self.working or {}).items():
            a[...] = weights[name]
        self.changed()

    def write_in_thread(self, draw, restored):
        """Write in a block of another thread, which is independent of the blocks that are open in this one."""
        other = replace(self, working=None, doors=[], pens=[], old_pens=[])
        _run_threads(lambda: (other.open(), other.write(draw, restored), other.close(None, None, None)))
        self.truth = other.truth
        self.old_pens += other.old_pens


ACTIONS = ("open", "open", "write", "write", "write", "restore all", "close", "close", "close with an error",
           "write late", "write late", "load", "load earlier", "step", "look", "look", "record", "record", "backward",
           "backward", "copy", "door in a thread")


def weights(draw):
    """A random history of writes and uses; everything is checked after each."""
    build, inputs, grad = draw_module(draw)
    module = build()
    all_tracked = [Tracked(build, inputs, grad, module, module.state_dict())]
    history = [all_tracked[0].truth]  # weights seen before: they may come back
    for _ in range(draw.size("actions", 10, 40)):
        now = all_tracked[draw.size("module", 0, len(all_tracked) - 1)]
        act(draw, now, all_tracked, history)
        history.append(now.truth)
    for now in all_tracked:
        while now.doors:
            now.close(None, None, None)
        now.look()
        for recorded in now.tapes:
            now.backward(recorded)


def act(draw, now, all_tracked, history):
    action = draw.one_of("action", ACTIONS)
    earlier = history[draw.size("earlier", 0, len(history) - 1)]
    if action == "open" and len(now.doors) < 3:
        now.open()
    elif action == "write" and now.doors:
        now.write(draw, earlier if draw.flag("restore") else None)
    elif action == "restore all" and now.doors:
        now.write_all(earlier)
    elif action == "close" and now.doors:
        now.close(None, None, None)
    elif action == "close with an error" and now.doors:
        error = ZeroDivisionError("of the caller")
        now.close(type(error), error, None)
    elif action == "write late" and now.old_pens:
        now.write_late(draw)
    elif action.startswith("load"):
        now.load(earlier if action == "load earlier" else
                 {name: draw.normal(*a.shape, dtype=a.dtype) for name, a in now.truth.items()})
    elif action == "step":
        now.step(draw)
    elif action == "record":
        now.record()
    elif action == "backward" and now.tapes:
        now.backward(now.tapes[draw.size("tape", 0, len(now.tapes) - 1)])
    elif action == "copy" and len(all_tracked) < 4:
        module = COPIES[draw.one_of("copied by", COPIES)](now.module)
        all_tracked.append(Tracked(now.build, now.inputs, now.grad, module, now.truth))
        all_tracked[-1].look()
    elif action == "door in a thread":
        now.write_in_thread(draw, earlier)
    if action != "open" and draw.flag("then look"):
        now.look()


# ---- several threads ------------------------------------------------------------------------------------------------

def _run_threads(*targets):
    """Run each function in its own thread, with frequent switches; the first error is raised."""
    errors = []

    def guarded(target):
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(target,)) for target in targets]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    if errors:
        raise errors[0]


def weights_from_threads(draw):
    """While another thread exchanges the weights, every call and record uses either the old ones or the new ones."""
    layer = draw_layer(draw, layers=2)
    way = draw.one_of("way", ("load", "door", "door by parts"))
    T, B = draw.size("T", 1, 5), draw.size("B", 1, 3)
    x = draw.normal(*((B, T) if layer.batch_first else (T, B)), layer.input_size)
    states = [{name: w + k * 0.1 for name, w in layer.state_dict().items()} for k in range(2)]
    outputs, grads = [], []
    for state in states:
        layer.load_state_dict(state)
        tape = layer.record(x)
        g = np.ones_like(tape.output)
        outputs.append(tape.output.tobytes())
        grads.append([a.tobytes() for a in numbers(tape.backward(g))])
    done = threading.Event()

    def exchange():
        for k in range(10**6):
            if done.is_set():
                return
            if way == "load":
                layer.load_state_dict(states[k % 2])
                continue
            with layer.writable() as opened:
                for name, w in opened.items():
                    for row in range(len(w)) if way == "door by parts" else (...,):
                        w[row] = states[k % 2][name][row]

    def use():
        try:
            for _ in range(30):
                assert layer(x)[0].tobytes() in outputs, "a call matched neither set of weights"
                tape = layer.record(x)
                assert tape.output.tobytes() in outputs, "a record matched neither set of weights"
                which = outputs.index(tape.output.tobytes())
                try:
                    found = [a.tobytes() for a in numbers(tape.backward(g))]
                except RuntimeError as error:
                    assert "weights" in str(error), error
                else:
                    assert found == grads[which], "backward through weights that were not recorded"
        finally:
            done.set()

    _run_threads(exchange, use)


def tapes_in_threads(draw):
    """Two threads run a backward pass on one tape: each gets its own gradients, or a refusal."""
    layer = draw_layer(draw, layers=2, batch_first=False)
    T, B = draw.size("T", 1, 30), draw.size("B", 1, 4)
    every = draw.size("every", 1, 5) if draw.flag("checkpoints") else None
    tape = layer.record(draw.normal(T, B, layer.input_size), checkpoint_every=every)
    cotangents = [draw.normal(*tape.output.shape, dtype=layer.dtype) for _ in range(2)]
    expected = [[a.tobytes() for a in numbers(tape.backward(g))] for g in cotangents]

    def back(k):
        for _ in range(20):
            with suppress(RuntimeError):
                found = [a.tobytes() for a in numbers(tape.backward(cotangents[k]))]
                assert found == expected[k], "gradients of another thread's cotangents"

    _run_threads(lambda: back(0), lambda: back(1))
    same = [a.tobytes() for a in numbers(tape.backward(cotangents[0]))]
    assert same == expected[0], "after the threads"


# ---- attributes -----------------------------------------------------------------------------------------------------

SHAPES = ("input_size", "hidden_size", "num_layers", "directions", "bias", "batch_first", "bidirectional", "dtype",
          "mode", "nonlinearity", "reset_after", "in_features", "out_features", "num_embeddings", "embedding_dim")
TAPES = ("T", "B", "mode", "layer", "dtype")


def attributes(draw):
    """Attributes that determine shapes cannot be set; dropout can be set to valid values."""
    build, inputs, _ = draw_module(draw)
    module = build()
    before = numbers(module(*inputs))
    of_tape = draw.flag("of a tape") and isinstance(module, rc.RNN | rc.GRU | rc.LSTM)
    owner = module.record(*inputs) if of_tape else module
    name = draw.pick("attribute", [n for n in (TAPES if of_tape else SHAPES) if hasattr(owner, n)])
    old = getattr(owner, name)
    value = draw.one_of("value", (0, 1, 7, 10**6, "tanh", "float64", None, True, False))
    try:
        setattr(owner, name, value)
    except AttributeError:
        pass
    else:
        raise AssertionError(f"{type(owner).__name__}.{name} = {value!r} was taken")
    assert getattr(owner, name) is old or getattr(owner, name) == old
    same_bits(numbers(module(*inputs)), before, "a call after attributes were set")
    judge_dropout(draw, make("gru", 2, 3, 2))


def judge_dropout(draw, layer):
    given = draw.one_of("dropout", (0, 0.5, 1.0, -0.1, "a lot", None, float("nan"), True))
    fits = isinstance(given, int | float) and given is not True and 0 <= given < 1
    try:
        layer.dropout = given
    except (ValueError, TypeError) as error:
        assert not fits, error
        assert "dropout" in str(error), error
    else:
        assert fits, f"dropout = {given!r} was taken"
        assert layer.dropout == given
