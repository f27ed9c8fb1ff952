"""Ensembles: each net has the bits of the net alone, in calls, recorded passes and gradients, and owns its weights."""

import copy
import pickle
import signal
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import KINDS, everything, make, parts, random_input, same_bits, whole

import rnncore as rc

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def nets(cell, count, *sizes, **options):
    return rc.Ensemble([make(cell, *sizes, seed=seed, **options) for seed in range(count)])


def of_net(value, k):
    return tuple(part[k] for part in value) if isinstance(value, tuple) else value[k]


def random_states(e, B, rng):
    first = e.layers[0]
    shapes = first.structure.state_shapes(B)
    return whole(first, [rng.normal(size=(len(e), *shape)).astype(e.dtype) for shape in shapes])


def judge(e, x, states, lengths, cotangents, reset=None, **options):
    """Call, record and backward of an ensemble against those of each net alone, to the bit.

    The first pass with new weights packs them on its way, the second one packs them for good.
    """
    called, found = [e(x, states, lengths, reset)], []
    with e.writable():
        pass                            # the weights count as new
    for _ in range(2):
        tape = e.record(x, states, lengths, reset=reset, **options)
        found.append((tape, tape.backward(*cotangents)))
    called.append(e(x, states, lengths, reset))
    y = called[0][0]
    for k, layer in enumerate(e.layers):
        own = x if x.ndim == 3 else x[k]
        B = y.shape[1 if e.batch_first else 2]
        row_lengths = None if lengths is None else np.broadcast_to(lengths, (len(e), B))[k]
        state = None if states is None else of_net(states, k)
        marks = reset if reset is None or reset.ndim == 2 else reset[k]
        alone = layer(own, state, row_lengths, marks)
        for output, final in called:
            same_bits((output[k], *parts(of_net(final, k))), (alone[0], *parts(alone[1])), f"net {k}")
        single = layer.record(own, state, row_lengths, reset=marks, **options)
        grad_out, grad_state = cotangents
        expected = single.backward(grad_out[k], None if grad_state is None else of_net(grad_state, k))
        for tape, grads in found:
            same_bits((tape.output[k], *parts(of_net(tape.state, k))), (alone[0], *parts(alone[1])), f"net {k}")
            same_bits(tape.reset[k], single.reset)
            same_bits({name: array[k] for name, array in grads.parameters.items()}, expected.parameters)
            same_bits(grads.input[k], expected.input)
            same_bits(of_net(grads.state, k), expected.state)
            same_bits(everything(tape[k], expected), everything(single, expected))


@st.composite
def cases(draw):
    small = lambda lo, hi: draw(st.integers(lo, hi))  # noqa: E731
    dtype = draw(st.sampled_from(["float32", "float64"]))
    e = nets(
        draw(st.sampled_from(sorted(KINDS))), small(1, 5), small(1, 18), small(1, 20), small(1, 3),
        bias=draw(st.booleans()), bidirectional=draw(st.booleans()), batch_first=draw(st.booleans()), dtype=dtype,
    )  # fmt: skip
    T, B, rng = small(0, 7), small(0, 5), np.random.default_rng(small(0, 10**6))
    rows = (B, T) if e.batch_first else (T, B)
    shared = draw(st.booleans())
    x = rng.normal(size=(*([] if shared else [len(e)]), *rows, e.structure.input_size))
    lengths = None
    if draw(st.booleans()):
        lengths = rng.integers(0, T + 1, size=(B,) if draw(st.booleans()) else (len(e), B))
    states = random_states(e, B, rng) if draw(st.booleans()) else None
    grad_out = rng.normal(size=(len(e), *rows, e.structure.features)).astype(dtype)
    grad_state = random_states(e, B, rng) if draw(st.booleans()) else None
    every = draw(st.one_of(st.none(), st.integers(1, 8)))
    reset = None
    if draw(st.booleans()):
        reset = rng.random((*([len(e)] if draw(st.booleans()) else []), *rows)) < draw(st.sampled_from([0.1, 0.5, 1]))
    return e, x.astype(dtype), states, lengths, (grad_out, grad_state), reset, every, small(1, 3)


@QUICK
@given(cases())
def test_random_ensembles_have_the_bits_of_each_net_alone(case):
    e, x, states, lengths, cotangents, reset, every, threads = case
    with rc.threads(threads):
        judge(e, x, states, lengths, cotangents, reset, checkpoint_every=every)


@pytest.mark.parametrize("every", [None, 100])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("cell", KINDS)
def test_long_passes_on_several_threads(cell, ragged, every, rng):
    """Enough work for threads, several chunks and (with 9 rows) several spans of sums."""
    e = nets(cell, 5, 3, 9, 2, bidirectional=cell == "lstm")
    T, B = 600, 9
    x = rng.normal(size=(5, T, B, 3)).astype(np.float32)
    lengths = rng.integers(0, T + 1, size=(5, B)) if ragged else None
    g = rng.normal(size=(5, T, B, e.structure.features)).astype(np.float32)
    reset = rng.random((5, T, B)) < 0.01
    with rc.threads(2):
        judge(e, x, random_states(e, B, rng), lengths, (g, random_states(e, B, rng)), reset, checkpoint_every=every)


@pytest.mark.parametrize(("threads", "count", "every"), [(1, 5, None), (1, 5, 70), (2, 9, None)])
@pytest.mark.parametrize("H", [3, 8, 13, 21, 32, 33])
@pytest.mark.parametrize("cell", KINDS)
def test_nets_of_one_row_that_take_their_steps_in_pairs(cell, H, threads, count, every, rng):
    """Five nets are two pairs and one that is left; 300 steps are two chunks."""
    e = nets(cell, count, 3, H, 2)
    x = rng.normal(size=(count, 300, 1, 3)).astype(np.float32)
    g = rng.normal(size=(count, 300, 1, e.structure.features)).astype(np.float32)
    reset = rng.random((count, 300, 1)) < 0.01
    with rc.threads(threads):
        judge(e, x, random_states(e, 1, rng), None, (g, random_states(e, 1, rng)), reset, checkpoint_every=every)


@pytest.mark.parametrize(("cell", "every"), [("gru", None), ("gru", 500), ("gru-reset-before", None)])
def test_nets_that_take_long_pause_between_stretches(cell, every, rng):
    """Their bits do not depend on where a stretch ends; the last one keeps part of a chunk in its scratch."""
    e = nets(cell, 3, 16, 128)
    x = rng.normal(size=(3, 9_000, 1, 16)).astype(np.float32)  # above LONG_NET in nets.pxi
    g = rng.normal(size=(3, 9_000, 1, 128)).astype(np.float32)
    with rc.threads(2):
        judge(e, x, None, None, (g, None), rng.random((9_000, 1)) < 0.001, checkpoint_every=every)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
@pytest.mark.parametrize(("count", "T"), [(1200, 600), (2, 200_000)])
def test_a_signal_stops_a_call(count, T, rng):
    """Between groups of small nets, or between stretches of long ones; nothing is changed by it."""

    class Struck(Exception):
        pass

    def handler(number, frame):
        raise Struck

    e = nets("lstm", count, 4, 32)
    x = rng.normal(size=(T, 1, 4)).astype(np.float32)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Struck):
            e(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    y = e(x[:20])[0]
    same_bits(y[-1], e.layers[-1](x[:20])[0])


def test_dropout_is_that_of_each_net(rng):
    e = nets("lstm", 3, 4, 5, 3, dropout=0.5)
    alone = [copy.deepcopy(layer) for layer in e.layers]
    x = rng.normal(size=(3, 6, 2, 4)).astype(np.float32)
    for lengths in (None, [6, 2]):
        tape = e.record(x, lengths=lengths, train=True)
        grads = tape.backward(tape.output)
        for k, layer in enumerate(alone):
            single = layer.record(x[k], lengths=lengths, train=True)
            same_bits(tape.output[k], single.output)
            same_bits({n: a[k] for n, a in grads.parameters.items()}, single.backward(single.output).parameters)
    assert not np.array_equal(tape.output[0], e(x, lengths=lengths)[0][0])


def test_read_only_strided_and_other_types_of_input(rng):
    e = nets("gru", 3, 4, 5)
    x = rng.normal(size=(3, 6, 2, 4)).astype(np.float32)
    expected = e(x)
    x.flags.writeable = False
    wide = np.zeros((3, 12, 4, 8), np.float32)
    wide[:, ::2, 1::2, ::2] = x
    for given_x in (x, np.asfortranarray(x), wide[:, ::2, 1::2, ::2], x.astype(np.float64)):
        same_bits(e(given_x), expected)
        tape = e.record(given_x)
        g = np.asfortranarray(tape.output)
        same_bits(tape.backward(g).parameters, e.record(x).backward(expected[0]).parameters)
    many = e(x[0])
    for k in range(3):
        same_bits(of_net(many, k), of_net((*many,), k))
        same_bits(many[0][k], e.layers[k](x[0])[0])


def test_it_owns_the_weights_of_its_layers(rng):
    layers = [make("lstm", 3, 4, seed=seed) for seed in range(3)]
    before = [layer.state_dict() for layer in layers]
    e = rc.Ensemble(iter(layers))
    assert all(own is layer for own, layer in zip(e.layers, layers, strict=True))
    same_bits(e.state_dict(), {f"{k}.{name}": a for k, d in enumerate(before) for name, a in d.items()})
    x = rng.normal(size=(3, 5, 2, 3)).astype(np.float32)
    tape, y = e.record(x), e(x)[0]
    kept = [weights[0] for weights in e.packed().weights], e.packed().weights[0][1]
    with layers[1].writable() as w:         # a change of a layer is one of the ensemble, which packs it alone
        w["weight_hh_l0"] *= 2
    assert not np.array_equal(e(x)[0][1], y[1])
    assert [weights[0] for weights in e.packed().weights] == kept[0]
    assert e.packed().weights[0][1] is not kept[1]
    same_bits(e(x)[0][[0, 2]], y[[0, 2]])
    same_bits(layers[1].state_dict()["weight_hh_l0"], 2 * before[1]["weight_hh_l0"])
    with pytest.raises(RuntimeError, match="changed since"):
        tape.backward(y)
    tape[0].backward(y[0])                  # whose weights are as they were
    with pytest.raises(RuntimeError, match="changed since"):
        tape[1].backward(y[1])
    with e.writable() as w:
        w["2.bias_ih_l0"] += 1
    assert not np.array_equal(e(x)[0][2], y[2])
    layers[2].load_state_dict(before[0])
    same_bits(e(x[0])[0][2], e(x[0])[0][0])
    e.load_state_dict({f"{k}.{name}": a for k, d in enumerate(before) for name, a in d.items()})
    same_bits(e(x)[0], y)
    layers[0].__setstate__(make("lstm", 3, 4, seed=9).__getstate__())       # which gives it other arrays
    same_bits(e(x)[0][0], make("lstm", 3, 4, seed=9)(x[0])[0])
    rc.optim.SGD(e, lr=1.0).step(e.record(x).backward(y).parameters)
    same_bits(e(x)[0][0], layers[0](x[0])[0])


@pytest.mark.parametrize("make_optimiser", [
    lambda m: rc.optim.Adam(m, lr=0.01, weight_decay=0.1), lambda m: rc.optim.AdamW(m, lr=0.01),
    lambda m: rc.optim.SGD(m, lr=0.1, momentum=0.9, nesterov=True),
])
def test_an_optimiser_updates_each_net_as_it_would_alone(make_optimiser, rng):
    e = nets("gru", 4, 3, 7, 2)
    alone = [copy.deepcopy(layer) for layer in e.layers]
    together, apart = make_optimiser(e), [make_optimiser(layer) for layer in alone]
    x = rng.normal(size=(4, 9, 2, 3)).astype(np.float32)
    for step in range(3):
        tape = e.record(x)
        grads = tape.backward(np.ones_like(tape.output)).parameters
        if step == 1:                       # an open block gets the update, too
            with e.writable() as w:
                together.step(grads)
                w["0.bias_hh_l1"][:] = 0.5
        else:
            together.step(grads)
        for k, (layer, optimiser) in enumerate(zip(alone, apart, strict=True)):
            single = layer.record(x[k])
            optimiser.step(single.backward(np.ones_like(single.output)).parameters)
            if step == 1 and k == 0:
                with layer.writable() as w:
                    w["bias_hh_l1"][:] = 0.5
            same_bits(e.layers[k].state_dict(), layer.state_dict())
    again = make_optimiser(e)
    again.load_state_dict(together.state_dict())
    same_bits(again.buffers, together.buffers)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e, 5))])
def test_a_copy_owns_its_weights(again, rng):
    e = nets("lstm", 3, 3, 4)
    x = rng.normal(size=(3, 5, 2, 3)).astype(np.float32)
    y = e(x)[0]
    other = again(e)
    same_bits(other(x)[0], y)
    with other.layers[1].writable() as w:
        w["bias_ih_l0"] += 1
    assert not np.array_equal(other(x)[0][1], y[1])
    same_bits(e(x)[0], y)
    rc.optim.SGD(other, lr=1.0).step({name: np.ones_like(a) for name, a in other._updated().items()})
    assert not np.array_equal(other(x)[0][0], y[0])
    same_bits(other(x)[0][2], other.layers[2](x[2])[0])


def test_tapes_of_single_nets(rng):
    e = nets("lstm", 3, 3, 4)
    x = rng.normal(size=(3, 5, 2, 3)).astype(np.float32)
    tape = e.record(x)
    first = tape[-3]
    assert tape[0] is first
    assert not first.grad
    tape.backward(tape.output)
    assert first.grad["l0.h"].shape == (5, 2, 4)
    assert np.shares_memory(first["l0.f"], tape[0]["l0.f"])
    assert [one.layer for one in tape] == list(e.layers)
    assert rc.viz.jacobian_norms(tape[1]).shape == (5, 2)
    for wrong, error in ((3, IndexError), (-4, IndexError), ("l0.h", TypeError), (1.0, TypeError)):
        with pytest.raises(error, match="tape: got"):
            tape[wrong]


@pytest.mark.parametrize(("call", "said"), [
    (lambda e, x: e(x[:2]), r"x: got shape \(2, 5, 2, 3\), expected \(N, T, B, I\).*N = 3 nets"),
    (lambda e, x: e(x[..., :2]), "input_size = 3"),
    (lambda e, x: e(x[0, 0]), "x: got shape"),
    (lambda e, x: e(x, np.zeros((3, 1, 2, 4))), r"state: got ndarray, expected the pair \(h0, c0\)"),
    (lambda e, x: e(x, (np.zeros((1, 2, 4)), None)), r"h0: got shape \(1, 2, 4\), expected \(3, 1, 2, 4\)"),
    (lambda e, x: e(x, lengths=[[1, 2]]), r"lengths: got shape \(1, 2\), expected \(N, B\) = \(3, 2\)"),
    (lambda e, x: e(x, lengths=[6, 1]), "lengths: got 6 in row 0, expected 2 whole numbers from 0 to 5, one per row"),
    (lambda e, x: e(x, lengths=[[1, 2], [3, 4], [5, 6]]), r"lengths: got 6 in row 1 of net 2, .* of each net"),
    (lambda e, x: e.record(x, lengths=np.float32([[1, 2], [3.5, 4], [5, 5]])), "lengths: got 3.5 in row 0 of net 1"),
    (lambda e, x: e(x, lengths=[[1, 2], [3, -1], [5, 6]]), "lengths: got -1 in row 1 of net 1, .* length 0"),
    (lambda e, x: e(x, reset=np.zeros((2, 5), bool)), r"reset: got shape \(2, 5\), expected \(5, 2\): \(T, B\)"),
    (lambda e, x: e(x, reset=np.zeros((2, 5, 2), bool)), r"reset: got shape .*, expected \(3, 5, 2\): \(N, T, B\)"),
    (lambda e, x: e.record(x, checkpoint_every=0), "checkpoint_every"),
    (lambda e, x: e.record(x).backward(), "neither grad_output nor grad_state"),
    (lambda e, x: e.record(x).backward(np.ones((5, 2, 4))), r"grad_output: got shape \(5, 2, 4\), expected \(3, 5, 2"),
    (lambda e, x: e.record(x).backward(None, (np.ones((1, 2, 4)), None)), r"grad_state \(h\): got shape"),
])  # fmt: skip
def test_wrong_arguments(call, said, rng):
    e = nets("lstm", 3, 3, 4)
    with pytest.raises(ValueError, match=said):
        call(e, rng.normal(size=(3, 5, 2, 3)))


@pytest.mark.parametrize("cell", KINDS)
def test_no_gradient_of_a_net_crosses_its_reset(cell, rng):
    e = nets(cell, 2, 2, 3, dtype="float64")
    x, marks = rng.normal(size=(2, 9, 1, 2)), np.zeros((2, 9, 1), bool)
    marks[1, 4] = True
    tape = e.record(x, reset=marks)
    g = np.zeros(tape.output.shape)
    g[:, 8] = rng.normal(size=(2, 1, g.shape[-1]))
    grads = tape.backward(g)
    assert grads.input[0].all()
    assert grads.input[1, 4:].all()
    assert not grads.input[1, :4].any()
    name, step = "weight_hh_l0", 1e-6
    direction, losses = rng.normal(size=e.layers[1].parameters[name].shape), []
    for sign in (1, -2):
        with e.writable() as w:
            w[f"1.{name}"] += sign * step * direction
        losses.append((e(x, reset=marks)[0] * g).sum())
    measured = (losses[0] - losses[1]) / (2 * step)
    assert measured == pytest.approx((grads.parameters[name][1] * direction).sum(), rel=1e-7)


def test_wrong_layers():
    lstm = make("lstm", 3, 4)
    for layers, error, said in (
        ([], ValueError, "layers: got none"),
        (lstm, ValueError, "layers: got LSTM"),
        ([lstm, lstm], ValueError, "the same layer in place 1"),
        ([lstm, make("lstm", 3, 5)], ValueError, "in place 1 after"),
        ([lstm, make("lstm", 3, 4, dtype="float64")], ValueError, "in place 1 after"),
        ([lstm, rc.nn.Linear(3, 4)], TypeError, "a Linear in place 1"),
    ):
        with pytest.raises(error, match=said):
            rc.Ensemble(layers)
    e = rc.Ensemble([lstm])
    with pytest.raises(ValueError, match="of another ensemble"):
        rc.Ensemble([make("lstm", 3, 4, seed=1), lstm])
    del e
    rc.Ensemble([lstm])                     # nobody owns it any more
    with pytest.raises(TypeError, match=r"rnncore\.Ensemble"):
        rc.optim.Adam([lstm])


def test_interrupted_passes_do_not_use_up_masks(rng, monkeypatch):
    from rnncore import _engine

    e = nets("gru", 2, 3, 4, 2, dropout=0.5)
    x = rng.normal(size=(2, 5, 2, 3)).astype(np.float32)

    def struck(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_engine, "forward_nets", struck)
        with pytest.raises(KeyboardInterrupt):
            e.record(x, train=True)
    assert [layer.masks.passes for layer in e.layers] == [0, 0]


@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_weights_that_another_thread_changes_during_a_pass(checkpoint_every, rng, monkeypatch):
    """A pass that packs weights on its way is computed again, or refused; one that has packed weights goes on."""
    from rnncore import _engine
    from rnncore.recurrent import ensemble, ensemble_tape

    e = nets("lstm", 3, 2, 4, 2, dtype="float64")
    x = rng.normal(size=(3, 5, 2, 2))
    seen = []

    def change():
        with e.writable() as weights:
            for name in weights:
                weights[name] += 1

    def then_change(function):
        def changed(*arguments, **options):
            found = function(*arguments, **options)
            seen.append(e.version)
            if len(seen) == 1:
                change()
            return found

        return changed

    with monkeypatch.context() as patch:
        patch.setattr(_engine, "forward_nets", then_change(_engine.forward_nets))
        y, state = e(x)
    assert len(seen) == 4                               # two layers, twice
    same_bits((y, *state), (e(x)[0], *e(x)[1]))
    change()
    seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr(ensemble, "record_nets", then_change(ensemble.record_nets))
        tape = e.record(x, checkpoint_every=checkpoint_every)
    assert len(seen) == (2 if checkpoint_every is None else 1)
    if checkpoint_every is None:
        same_bits(tape.output, e(x)[0])                 # packed now
    else:
        with pytest.raises(RuntimeError, match="changed since"):
            tape.backward(tape.output)
    for kept in (True, False):
        if not kept:
            change()
        tape = e.record(x, checkpoint_every=checkpoint_every)
        expected = tape.backward(tape.output)
        tape = e.record(x, checkpoint_every=checkpoint_every) if kept or checkpoint_every else tape
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(ensemble_tape, "walk_nets", then_change(ensemble_tape.walk_nets))
            if kept or checkpoint_every:
                same_bits(tape.backward(tape.output).parameters, expected.parameters)
            else:
                single = tape[1]
                assert "gradients in" in repr(single)
                with pytest.raises(RuntimeError, match="changed since"):
                    tape.backward(tape.output)
                assert "no gradients" in repr(tape)
                assert "no gradients" in repr(single)


def test_weights_that_stay_are_packed_by_the_second_pass_that_is_recorded(rng):
    e = nets("gru", 3, 2, 3)
    x = rng.normal(size=(3, 4, 1, 2)).astype(np.float32)
    kept = []
    for change in ("", "", "", "all", "", "one of three"):
        with e.writable() if change == "all" else e.layers[1].writable() if change else nullcontext() as weights:
            for name in weights or ():
                weights[name][...] += 1
        e.record(x).backward(np.ones((3, 4, 1, 3), np.float32))
        kept.append(e._packed is not None and e._packed.version == e.version)
    assert kept == [False, True, True, False, True, True]


def test_random_inputs_of_the_support_module_fit(rng):
    """The same net twice has the same results as one net on both batches."""
    layer = make("lstm", 3, 4)
    e = rc.Ensemble([layer, copy.deepcopy(layer)])
    x = random_input(layer, 6, 4, rng)
    y, _ = e(np.stack([x[:, :2], x[:, 2:]]))
    same_bits(np.concatenate([y[0], y[1]], axis=1), layer(x)[0])
