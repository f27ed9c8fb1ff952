"""Layers, streams, cells and pullbacks: they give the numbers of the float64 twin, and the bits that are promised."""

import copy
import pickle
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from support import (
    CELLS,
    KINDS,
    close,
    everything,
    judge_results,
    make,
    parts,
    random_cotangents,
    random_state,
    results,
    same_bits,
    whole,
)
from twin import Twin

import rnncore as rc


def _misaligned(a):
    return np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)


def _read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


# How an array of given values may lie in memory.
LAYOUTS = {
    "plain": lambda a: a,
    "read-only": _read_only,
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "every second feature": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "mirrored": lambda a: a[..., ::-1].copy()[..., ::-1],
    "column-major": np.asfortranarray,
    "swapped bytes": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned": _misaligned,
    "list": lambda a: a.tolist() if a.size else a,
    "one row, repeated": lambda a: np.broadcast_to(a[:1], a.shape) if (a == a[:1]).all() else a,
}
X_TYPES = ("float32", "float64", "float16", "longdouble", "int8", "int64", "uint8", "bool")


ACTIVATIONS = ("sigmoid", "tanh", "relu", "softsign", "softplus", "hardsigmoid", ("affine", 0.6, 0.2),
               ("leakyrelu", 0.3), ("thresholdedrelu", 0.4), ("scaledtanh", 1.3, 0.7), ("elu", 0.7))  # fmt: skip


def draw_variant(draw, cell):
    """Options that make a variant of a cell; in float64, since at a bound a rounding decides about the gradient."""
    found = {"dtype": "float64", "gate_clip": draw.one_of("gate_clip", (None, 0.37, 2.1))}
    own = {"rnn": 1, "gru": 2}.get(cell.partition("-")[0], 3)
    if own == 3:
        found |= {name: draw.flag(name) for name in ("peepholes", "coupled")}
        found["cell_clip"] = draw.one_of("cell_clip", (None, 0.43, 1.9))
    if draw.flag("activations") and cell not in ("rnn-relu", "rnn-sigmoid"):
        # gates multiply values: those without bounds would make states that grow faster than exponentially
        bounded = ("sigmoid", "tanh", "softsign", "hardsigmoid")
        found["activations"] = [draw.pick(f"activation {n}", bounded if n == 0 and own > 1 else ACTIVATIONS)
                                for n in range(own)]
    return found


def draw_layer(draw, layers=3, variants=False, **fixed):
    """A layer of any kind whose weights are larger or smaller than its initial ones."""
    options = {name: draw.flag(name) for name in ("bias", "bidirectional", "batch_first")}
    options["dtype"] = draw.one_of("dtype", ("float32", "float64"))
    I, H = (draw.size(name, 1, draw.one_of(f"largest {name}", (3, 20, 40))) for name in "IH")
    L = draw.size("L", 1, layers)
    if draw.flag("dropout") and L > 1:
        options["dropout"] = 0.5
    cell = draw.one_of("cell", KINDS)
    if variants and draw.flag("variant"):
        fixed |= draw_variant(draw, cell)
    layer = make(cell, I, H, L, seed=draw.size("seed", 0, 10**6), **(options | fixed))
    gain = draw.one_of("gain", (0.3, 1, 2))
    layer.load_state_dict({name: gain * w for name, w in layer.state_dict().items()})
    return layer


@dataclass
class Pass:
    """The arrays of one pass, time-major, in the layer's dtype, 0 past a row's end; and the caller's layout."""

    layer: object
    x: np.ndarray  # (T, B, I)
    state: tuple | None
    lengths: np.ndarray | None
    grad: np.ndarray | None  # (T, B, D·H)
    grad_state: tuple | None
    batched: bool
    marks: np.ndarray | None = None  # (T, B): the steps before which a row is reset

    @property
    def reset(self):
        """The marks in the caller's layout."""
        return None if self.marks is None else self.laid_out(self.marks[..., None])[..., 0]

    def laid_out(self, a):
        """An array (…, T, B, F) in the caller's layout."""
        if not self.batched:
            return a[..., 0, :]
        return a.swapaxes(-3, -2) if self.layer.batch_first else a

    def state_laid_out(self, state):
        if state is None:
            return None
        return whole(self.layer, [a if self.batched else a[..., 0, :] for a in state])

    @property
    def valid(self):
        T, B, _ = self.x.shape
        return np.arange(T)[:, None] < (np.full(B, T) if self.lengths is None else self.lengths)


def draw_pass(draw, layer, T=9, B=6, scales=(1e-3, 1, 10)):
    """A `Pass` and the arguments that the caller gives: (x, state, lengths), (grad_output, grad_state)."""
    T, batched = draw.size("T", 0, T), draw.one_of("batched", (True, True, False))
    B = draw.size("B", 0, draw.one_of("most rows", (1, B))) if batched else 1
    kind = draw.one_of("x type", X_TYPES)
    x = (draw.normal(T, B, layer.input_size) * draw.pick("scale", scales)).astype("float32")
    x = (np.abs(x) if kind in ("uint8", "bool") else x).astype(kind)
    lengths = draw.one_of("lengths", ("none", "ragged", "full"))
    lengths = {"none": None, "ragged": draw.rng.integers(0, T + 1, B), "full": np.full(B, T)}[lengths]
    grad, grad_state = random_cotangents(layer, T, B, draw.rng)
    given = draw.one_of("cotangents", ("both", "output", "state"))
    p = Pass(layer, x.astype(layer.dtype), None, lengths, None, None, batched)
    if draw.one_of("resets", (False, False, True)):
        p.marks = draw.rng.random((T, B)) < draw.one_of("share of resets", (0.1, 0.5, 1))
    past = ~p.valid[..., None]
    p.x = np.where(past, 0, p.x)
    if draw.flag("initial state"):
        p.state = parts(random_state(layer, B, draw.rng))
    if given != "state":
        p.grad = np.where(past, 0, grad)
    if given != "output":
        p.grad_state = parts(grad_state)
    if draw.flag("NaN past the end"):
        grad = np.where(past, np.nan, grad).astype(layer.dtype)
        x = np.where(past, np.nan, x).astype(x.dtype) if x.dtype.kind == "f" else x
    if lengths is not None:
        lengths = lengths.astype(draw.one_of("lengths type", ("int64", "uint8", "float32")))
        lengths = lengths if batched or draw.flag("lengths has an axis") else lengths[0]

    def lay_out(label, a):
        return LAYOUTS[draw.one_of(f"layout of {label}", LAYOUTS)](a)

    def lay_out_state(label, state):
        state = p.state_laid_out(state)
        laid = [lay_out(label, a) for a in parts(state)] if state is not None else None
        return None if laid is None else whole(layer, laid)

    cotangents = (None if p.grad is None else lay_out("grad_output", p.laid_out(grad)),
                  lay_out_state("grad_state", p.grad_state))
    return p, (lay_out("x", p.laid_out(x)), lay_out_state("state", p.state), lengths), cotangents


def draw_steps(draw, T):
    """checkpoint_every: None, or some number of steps."""
    return {"none": None, "every step": 1, "some": draw.size("every", 1, T + 2)}[
        draw.one_of("checkpoints", ("none", "every step", "some"))]


def dropout_masks(draw, layer, T, B):
    """{layer: (T, B, D·H)}: the masks of dropout, read from the outputs of ReLU nets with the same seed.

    The layers below the one in question output 1 for any input; that layer outputs its input.
    """
    D, H = 1 + layer.bidirectional, layer.structure.output_size
    masks = {}
    for shown in range(1, layer.num_layers):
        net = rc.RNN(1, H, shown + 1, nonlinearity="relu", bidirectional=layer.bidirectional,
                     dropout=layer.dropout, seed=layer.seed, dtype="float64")
        weights = {name: np.zeros_like(w) for name, w in net.state_dict().items()}
        for name, w in weights.items():
            if name.startswith("bias_ih") and f"_l{shown}" not in name:
                w[...] = 1
            if name.startswith(f"weight_ih_l{shown}"):
                w[:, (H if "reverse" in name else 0) :][:, :H] = np.eye(H)
        net.load_state_dict(weights)
        masks[shown] = net.record(np.zeros((T, B, 1)), train=True).output.astype(layer.dtype)
        assert masks[shown].shape[-1] == D * H
    return masks


def twin_results(p, judge, masks=None):
    """All numbers of a pass by a twin, in the caller's layout."""
    run = judge.forward(p.x, p.state, p.lengths, masks, p.marks)
    back = judge.backward(run, p.grad, p.grad_state)
    seen = SimpleNamespace(output=p.laid_out(run.output), state=p.state_laid_out(run.state))
    grads = SimpleNamespace(input=p.laid_out(back.input), state=p.state_laid_out(back.state),
                            parameters=back.parameters)
    named = {f"value {n}": np.where(p.valid[..., None], run.values[n], 0) for n in run.values}
    return results(seen, grads) | named | {f"grad {n}": back.values[n] for n in run.values}


def our_results(tape, grads):
    named = {f"value {n}": tape[n] for n in tape.names()} | {f"grad {n}": tape.grad[n] for n in tape.names()}
    return results(tape, grads) | named


def layers(draw):
    """Every number of a recorded pass agrees with the twin."""
    layer = draw_layer(draw, variants=True)
    p, call, cotangents = draw_pass(draw, layer)
    T, B, _ = p.x.shape
    train = draw.flag("train")
    with rc.threads(draw.size("threads", 1, 3)):
        tape = layer.record(*call, train=train, checkpoint_every=draw_steps(draw, T), reset=p.reset)
        got = our_results(tape, tape.backward(*cotangents))
    masks = dropout_masks(draw, layer, T, B) if train and layer.dropout else None
    judge_results(layer, got, lambda judge: twin_results(p, judge, masks))


def bits(draw):
    """No bit changes with recording, checkpoints, threads, other rows of the batch, padding, or K cotangents."""
    layer = draw_layer(draw, variants=True)
    p, call, cotangents = draw_pass(draw, layer)
    T, B, _ = p.x.shape
    before = pickle.dumps((call, cotangents))
    y, state = layer(*call, reset=p.reset)
    tape = layer.record(*call, reset=p.reset)
    grads = tape.backward(*cotangents)
    expected = everything(tape, grads)
    same_bits((tape.output, tape.state), (y, state), "record and call")
    assert pickle.dumps((call, cotangents)) == before, "the caller's arrays were written to"
    same_bits(everything(tape, tape.backward(*cotangents)), expected, "backward again")

    every, threads = draw_steps(draw, T), draw.size("threads", 1, 3)
    clone = {"the layer": lambda a: a, "pickled": lambda a: pickle.loads(pickle.dumps(a)),
             "deep copy": copy.deepcopy}
    other = clone[draw.one_of("who", clone)](layer)
    mine = pickle.loads(before)  # arrays that may be overwritten
    with rc.threads(threads):
        again = other.record(*mine[0], checkpoint_every=every, reset=p.reset)
        scribble(mine[0])
        grads = again.backward(*mine[1])
        scribble(mine[1])
        same_bits(everything(again, grads), expected, f"checkpoint_every={every}, {threads} threads")
    if B and p.batched:
        judge_row(draw, p, tape, expected)
    if draw.flag("many cotangents"):
        judge_many(draw, p, tape)


def scribble(arrays):
    """Overwrite all writable arrays, so that code that reads the caller's arrays later gives other results."""
    for a in arrays:
        if isinstance(a, tuple | list):
            scribble(a)
        elif isinstance(a, np.ndarray) and a.flags.writeable:
            a[...] = 77


def judge_row(draw, p, tape, expected):
    """One row alone, without its padding, gives the same bits as in the batch."""
    layer, b = p.layer, draw.size("row", 0, p.x.shape[1] - 1)
    n = len(p.x) if p.lengths is None else int(p.lengths[b])
    row = slice(b, b + 1)

    def state(arrays):
        return None if arrays is None else tuple(a[:, row] for a in arrays)

    alone = Pass(layer, p.x[:n, row], state(p.state), None, None if p.grad is None else p.grad[:n, row],
                 state(p.grad_state), True, None if p.marks is None else p.marks[:n, row])
    other = layer.record(alone.laid_out(alone.x), alone.state_laid_out(alone.state), reset=alone.reset)
    grad = None if alone.grad is None else alone.laid_out(alone.grad)
    grads = other.backward(grad, alone.state_laid_out(alone.grad_state))
    names = ("output", "input", *(f"value {m}" for m in tape.names()), *(f"grad {m}" for m in tape.names()))
    for name, array in everything(other, grads).items():
        if name not in names and "state" not in name:
            continue  # sums over rows
        mine = expected[name]
        if name in ("output", "input"):
            mine, array = p.laid_out(mine), p.laid_out(array)
        same_bits(array, mine[:, row] if "state" in name else mine[:n, row], f"row {b} alone: {name}")


def judge_many(draw, p, tape):
    """K cotangents at once give the same bits as one by one, weight gradients included."""
    K = draw.size("K", 0, 3)
    T, B, _ = p.x.shape
    grad, grad_state = random_cotangents(p.layer, T, B, draw.rng, (K,))
    grad, grad_state = p.laid_out(grad), parts(p.state_laid_out(parts(grad_state)))
    which = draw.one_of("many of", ("both", "output", "state"))
    grad, grad_state = None if which == "state" else grad, None if which == "output" else grad_state

    def back(k):
        state = None if grad_state is None else whole(p.layer, [a[k] for a in grad_state])
        return tape.backward(None if grad is None else grad[k], state, parameters=True)

    at_once = everything(tape, back(...))
    for k in range(K):
        one = everything(tape, back(k))
        mine = {name: a if name.startswith(("value", "output")) or name in ("state0", "state1") else a[k]
                for name, a in at_once.items()}
        same_bits(mine, one, f"cotangent {k} of {K}")


def streams(draw):
    """A stream's steps agree with the layer, whatever happens between them."""
    layer = draw_layer(draw, bidirectional=False, batch_first=False)
    B, T = draw.size("B", 1, 5), draw.size("T", 1, 8)
    stream, state = layer.stream(B), None
    for _ in range(T):
        x = draw.normal(B, layer.input_size, dtype=layer.dtype)
        between = draw.one_of("between", ("nothing", "reset", "reset rows", "set state", "new weights"))
        if between == "reset":
            stream.reset()
            state = None
        elif between == "reset rows" and state is not None:
            rows = draw.rng.random(B) < 0.5
            stream.reset(rows if draw.flag("mask") or not rows.any() else np.flatnonzero(rows))
            state = whole(layer, [np.where(rows[:, None], 0, a) for a in parts(state)])
        elif between == "set state":
            stream.state = state = random_state(layer, B, draw.rng)
        elif between == "new weights":
            layer.load_state_dict({name: -w for name, w in layer.state_dict().items()})
        y, state = layer(x[None], state)
        out = np.full((B, layer.structure.output_size), np.nan, layer.dtype) if draw.flag("out") else None
        same_bits(stream.step(LAYOUTS[draw.one_of("layout", LAYOUTS)](x), out), y[0], "step")
        same_bits(stream.state, state, "state")


def cells(draw):
    """One step of a cell agrees with one step of the twin, forward and backward."""
    name = draw.one_of("cell", CELLS)
    mode, own = CELLS[name]
    dtype, bias = draw.one_of("dtype", ("float32", "float64")), draw.flag("bias")
    I, H, B = draw.size("I", 1, 20), draw.size("H", 1, 20), draw.size("B", 0, 5)
    cell = getattr(rc, mode + "Cell")(I, H, bias, dtype=dtype, seed=draw.size("seed", 0, 99), **own)
    layer = make(name, I, H, bias=bias, dtype=dtype)
    layer.load_state_dict({f"{n}_l0": w for n, w in cell.state_dict().items()})
    batched = draw.flag("batched")
    p, _, _ = draw_pass(draw, layer, 0, 0)
    B = B if batched else 1
    p = Pass(layer, draw.normal(1, B, I, dtype=dtype), parts(random_state(layer, B, draw.rng)), None,
             draw.normal(1, B, H, dtype=dtype), parts(random_state(layer, B, draw.rng)), batched)

    def one(arrays):  # without the axis of time or layers, and of the batch
        return whole(layer, [a[0] if batched else a[0, 0] for a in arrays])

    x = p.x[0] if batched else p.x[0, 0]
    tape = cell.record(x, one(p.state))
    same_bits(tape.state, cell(x, one(p.state)), "record and call")
    grads = tape.backward(p.grad[0] if batched else p.grad[0, 0], one(p.grad_state))
    got = results(tape, grads) | {f"value {n}": tape[n] for n in tape.names()}

    def by_twin(judge):
        run = judge.forward(p.x, p.state)
        back = judge.backward(run, p.grad, p.grad_state)
        inside = SimpleNamespace(output=one([run.output] * 2)[0] if mode == "LSTM" else one([run.output]),
                                 state=one(run.state))
        grads = SimpleNamespace(input=back.input[0] if batched else back.input[0, 0], state=one(back.state),
                                parameters={n.removesuffix("_l0"): w for n, w in back.parameters.items()})
        return results(inside, grads) | {f"value {n}": run.values[f"l0.{n}"][0] for n in tape.names()}

    judge_results(layer, got, by_twin)


# Values for the carry of a pullback, and whether they are accepted.
ASSIGNED = {
    "itself": (lambda v, rng: v, True),
    "other values": (lambda v, rng: rng.normal(size=v.shape).astype(v.dtype), True),
    "float32": (lambda v, rng: v.astype("float32"), True),
    "integers": (lambda v, rng: rng.integers(-3, 4, v.shape), True),
    "column-major": (lambda v, rng: np.asfortranarray(v), True),
    "backwards": (lambda v, rng: v[::-1], True),
    "read-only": (lambda v, rng: _read_only(v), True),
    "narrower": (lambda v, rng: v[..., :-1], False),
    "fewer rows": (lambda v, rng: v[:, :-1], False),
    "wider": (lambda v, rng: np.concatenate([v, v], axis=-1), False),
    "flat": (lambda v, rng: v.ravel()[:1], False),
    "complex": (lambda v, rng: v * 1j, False),
    "text": (lambda v, rng: "abc", False),
}


def pullbacks(draw):
    """A pullback is the product of explicit Jacobians, and refuses carries that do not fit."""
    layer = draw_layer(draw, layers=2, dtype="float64", batch_first=False)
    p, call, _ = draw_pass(draw, layer, T=6, B=3, scales=(1e-3, 0.3))
    T, B, _ = p.x.shape
    reverse = layer.bidirectional and draw.flag("reverse")
    direction = "reverse" if reverse else "forward"
    judge = Twin.of(layer)
    jacobians = judge.jacobians(judge.forward(p.x, p.state, p.lengths), int(reverse))[::-1]
    S = layer.structure.carry_size
    v, every = draw.normal(draw.size("K", 1, 4), B, S), draw.size("every", 1, T + 1)
    expected, walked = v, 0
    for carry in layer.record(*call).pullback(v, every=every, direction=direction):
        for J in jacobians[walked : walked + every]:
            expected = np.einsum("kbs,bsr->kbr", expected, J)
        walked = min(walked + every, T)
        scale = np.exp(carry.log_scale)[..., None]
        close(carry.value * scale, expected, 1e-7, 1e-300)  # 1 − h² of a tanh near 1 holds nine digits fewer
        close(carry.lag, np.minimum(walked, p.valid.sum(0)) if reverse
              else np.maximum(p.valid.sum(0) - (T - walked), 0), 0)
        change = draw.one_of("change", ("no", "in place", "assign"))
        if change == "in place":
            carry.value *= -0.5
            expected = expected * -0.5
        elif change == "assign":
            make_value, fits = ASSIGNED[draw.one_of("assigned", ASSIGNED)]
            before = carry.value.copy()
            given = make_value(carry.value, draw.rng)
            values = np.array(given)  # it may be a view of the carry
            fits = fits or (np.shape(given) == before.shape and values.dtype.kind in "fiu")
            try:
                carry.value = given
            except (ValueError, TypeError):
                assert not fits, "a carry of the right shape was refused"
                same_bits(carry.value, before, "after a refusal")
            else:
                assert fits, f"a carry of {np.shape(before)} took {values.shape} {values.dtype}"
                expected = values * scale
                scribble([given] if given is not before and not np.shares_memory(given, carry.value) else [])
    assert walked == T
