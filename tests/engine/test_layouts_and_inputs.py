"""Inputs in all layouts, without a batch axis, with strides, read-only, of other types; they are never written to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import (
    CELLS,
    KINDS,
    make,
    parts,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
    state_shape,
    weights_of,
    whole,
)

from rnncore import _engine


def twins(cell, **options):
    """The same weights, time-major and batch first."""
    a = make(cell, 3, 5, 2, **options)
    return a, make(cell, 3, 5, 2, batch_first=True, **options)


def swap(a):
    return np.ascontiguousarray(np.swapaxes(a, -3, -2))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("K", [(), (2,)])
def test_batch_first_swaps_axes_of_x_y_and_their_gradients(cell, both, K, rng):
    """x, y, grad_output and grads.input follow it; states and the tape's arrays do not."""
    major, first = twins(cell, bidirectional=both)
    x, s0 = random_input(major, 6, 4, rng), random_state(major, 4, rng)
    g, gs = random_cotangents(major, 6, 4, rng, K)
    lengths = np.array([6, 2, 0, 3])
    y, s = major(x, s0, lengths=lengths)
    y2, s2 = first(swap(x), s0, lengths=lengths)
    same_bits(y2, swap(y))
    same_bits(s2, s)
    tape, tape2 = major.record(x, s0, lengths=lengths), first.record(swap(x), s0, lengths=lengths)
    same_bits(tape2.output, y2)
    same_bits(tape2.state, s2)
    grads, grads2 = tape.backward(g, gs), tape2.backward(swap(g), gs)
    same_bits(grads2.input, swap(grads.input))
    same_bits(grads2.state, grads.state)
    same_bits(weights_of(grads2), weights_of(grads))
    for name in tape.names("*"):
        assert tape2[name].shape == (6, 4, 5)
        same_bits(tape2.grad[name], tape.grad[name], name)
    assert (tape2.T, tape2.B) == (6, 4)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_one_sequence_without_a_batch_axis_equals_a_batch_of_one(cell, batch_first, both, rng):
    """As in torch: x (T, I), states (layers·directions, H), y (T, D·H)."""
    layer = make(cell, 3, 5, 2, bidirectional=both, batch_first=batch_first)
    plain = make(cell, 3, 5, 2, bidirectional=both)
    x, s0 = random_input(plain, 6, 1, rng), random_state(plain, 1, rng)
    g, gs = random_cotangents(plain, 6, 1, rng)
    one = lambda s: whole(layer, [a[..., 0, :] for a in parts(s)])  # noqa: E731
    y, s = plain(x, s0)
    y1, s1 = layer(x[:, 0], one(s0))
    same_bits(y1, y[:, 0])
    same_bits(s1, one(s))
    same_bits(layer(x[:, 0])[0], plain(x)[0][:, 0])
    tape = layer.record(x[:, 0], one(s0))
    same_bits(tape.output, y1)
    same_bits(tape.state, s1)
    assert all(tape[n].shape == (6, 1, 5) for n in tape.names("*"))
    grads, expected = tape.backward(g[:, 0], one(gs)), plain.record(x, s0).backward(g, gs)
    same_bits(grads.input, expected.input[:, 0])
    same_bits(grads.state, one(expected.state))
    same_bits(weights_of(grads), weights_of(expected))
    many = tape.backward(
        np.stack([g[:, 0]] * 2), whole(layer, [np.stack([a] * 2) for a in parts(one(gs))])
    )
    same_bits(many.input[1], expected.input[:, 0])


def strange(a):
    """The same numbers in arrays with other memory layouts."""
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1] + 1), np.nan, a.dtype)
    wide[..., 1::2] = a
    yield "fortran", np.asfortranarray(a)
    yield "strided", wide[..., 1::2]
    yield "backwards", np.ascontiguousarray(a[::-1])[::-1]
    yield "swapped bytes", a.astype(a.dtype.newbyteorder())
    frozen = a.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    raw = np.zeros(a.nbytes + 1, np.uint8)
    odd = raw[1:].view(a.dtype).reshape(a.shape)
    odd[...] = a
    yield "unaligned", odd


def compiled_call(layer, x, state, lengths=None):
    """What `call_on` asks the engine for first; None: Python has to look at the arguments."""
    return _engine.call(layer.packed().weights, x, state, lengths, layer.directions, layer.batch_first)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("T", [0, 1, 6])
def test_a_call_on_plain_arrays_equals_one_that_python_prepares(cell, batch_first, both, T, rng):
    """The first runs as one compiled function; `lengths` of full rows take the way through Python."""
    layer = make(cell, 3, 5, 2, batch_first=batch_first, bidirectional=both)
    for B in (0, 1, 4):
        x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
        x = np.ascontiguousarray(x.swapaxes(0, 1)) if batch_first else x
        cases = [(x, s0, [T] * B), (x, None, [T] * B)]
        if B == 1:
            flat = whole(layer, [part[:, 0] for part in parts(s0)])
            cases += [(x.reshape(T, 3), flat, T), (x.reshape(T, 3), None, T)]
        for x_given, state, lengths in cases:
            y, s = layer(x_given, state, lengths)
            y2, s2 = compiled_call(layer, x_given, state)
            assert type(s) is type(s2)
            same_bits((y2, *parts(s2)), (y, *parts(s)))
            same_bits(layer(x_given, state)[0], y)
            for array in (y2, *parts(s2)):
                assert array.flags.c_contiguous
                assert array.flags.owndata
                assert array.flags.writeable


@pytest.mark.parametrize("cell", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), batch_first=st.booleans(), both=st.booleans(), seed=st.integers(0, 999))
def test_a_compiled_call_with_lengths_equals_one_that_python_prepares(cell, data, batch_first, both, seed):
    """Lengths of 32 bits take the way through Python; 40 steps with a few short rows are mostly padding."""
    rng = np.random.default_rng(seed)
    T, B = data.draw(st.sampled_from([1, 3, 40])), data.draw(st.integers(1, 9))
    layer = make(cell, data.draw(st.integers(1, 20)), 5, data.draw(st.integers(1, 2)), batch_first=batch_first,
                 bidirectional=both)
    lengths = data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    x = np.ascontiguousarray(x.swapaxes(0, 1)) if batch_first else x
    cases = [(x, s0), (x, None)]
    if B == 1:
        cases.append((x.reshape(T, -1), whole(layer, [part[:, 0] for part in parts(s0)])))
    for x_given, state in cases:
        y, s = layer(x_given, state, np.array(lengths, "i4"))
        before = [part.copy() for part in parts(state)] if state is not None else []
        found = compiled_call(layer, x_given, state, np.array(lengths))
        assert (found is None) == (sum(lengths) == 0)
        y2, s2 = layer(x_given, state, lengths)
        assert type(s) is type(s2)
        same_bits((y2, *parts(s2)), (y, *parts(s)))
        same_bits(tuple(before), tuple(parts(state)) if state is not None else ())
        for array in (y2, *parts(s2)):
            assert array.flags.c_contiguous
            assert array.flags.writeable


@pytest.mark.parametrize("cell", ["rnn-tanh", "lstm"])
def test_the_compiled_call_leaves_everything_else_to_python(cell, rng):
    layer = make(cell, 3, 5, 2)
    x, s0 = random_input(layer, 6, 4, rng), random_state(layer, 4, rng)
    assert compiled_call(layer, x, s0) is not None
    lengths = np.array([6, 2, 0, 3])
    assert compiled_call(layer, x, s0, lengths) is not None
    assert compiled_call(layer, x, s0, lengths.tolist()) is not None
    not_whole = [6, 2, 0, 3.0], [6, 2, 0, True], [6, 2, 0, 2**70], lengths.astype("i4"), lengths.astype("f8")
    out_of_range = np.array([6, 2, -1, 3]), np.array([7, 2, 0, 3])
    of_another_shape = [6, 2, 0], [], lengths[:3], lengths[None], lengths[::-1], np.array(6)
    for wrong_lengths in (*not_whole, *out_of_range, *of_another_shape, lengths * 0):
        assert compiled_call(layer, x, s0, wrong_lengths) is None
    not_plain = [a for kind, a in strange(x) if kind != "read-only"]
    wrong = [x[..., :2].copy(), x[0, 0], x[None], x.astype("f8"), x.tolist(), None, x.view(np.memmap)]
    for x2 in not_plain + wrong:
        assert compiled_call(layer, x2, s0) is None
    for part in range(len(parts(s0))):
        for a in ([], 0, parts(s0)[part][:1], parts(s0)[part][0], parts(s0)[part].astype("f8")):
            states = list(parts(s0))
            states[part] = a
            assert compiled_call(layer, x, whole(layer, states)) is None
    if cell == "lstm":
        for state in (list(s0), s0[:1], (*s0, s0[0]), s0[0]):
            assert compiled_call(layer, x, state) is None
        y, (h, _) = layer(x, (s0[0], np.zeros_like(s0[1])))
        same_bits(compiled_call(layer, x, (s0[0], None))[0], y)
        assert not np.shares_memory(h, s0[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["rnn-tanh", "gru", "lstm"])
def test_any_memory_layout_gives_the_same_bits(cell, dtype, rng):
    layer = make(cell, 3, 5, 2, dtype=dtype)
    x, s0 = random_input(layer, 6, 4, rng), random_state(layer, 4, rng)
    g, gs = random_cotangents(layer, 6, 4, rng)
    y = layer(x, s0)
    grads = layer.record(x, s0).backward(g, gs)
    inputs = zip(
        strange(x), strange(g), *(strange(a) for a in (*parts(s0), *parts(gs))), strict=True
    )
    for (kind, x2), (_, g2), *states in inputs:
        states = [a for _, a in states]
        n = len(states) // 2
        same_bits(layer(x2, whole(layer, states[:n])), y, kind)
        again = layer.record(x2, whole(layer, states[:n])).backward(g2, whole(layer, states[n:]))
        same_bits(again.input, grads.input, kind)
        same_bits(again.state, grads.state, kind)
        same_bits(weights_of(again), weights_of(grads), kind)


@pytest.mark.parametrize("cell", ["rnn-relu", "gru-reset-before", "lstm"])
@pytest.mark.parametrize(
    "kind", ["int8", "uint8", "int32", "int64", "float16", "float32", "float64", "longdouble"]
)
def test_real_numbers_of_other_types_are_converted(cell, kind, rng):
    x = rng.integers(0, 9, size=(4, 2, 3)).astype(kind)
    for dtype in ("float32", "float64"):
        layer = make(cell, 3, 5, dtype=dtype)
        s0 = whole(
            layer,
            [rng.integers(0, 3, size=state_shape(layer, 2)).astype(kind)] * (1 + (cell == "lstm")),
        )
        as_own = whole(layer, [a.astype(dtype) for a in parts(s0)])
        y, s = layer(x, s0)
        assert y.dtype == parts(s)[0].dtype == np.dtype(dtype)
        same_bits((y, *parts(s)), (lambda y, s: (y, *parts(s)))(*layer(x.astype(dtype), as_own)))
        g = rng.integers(0, 9, size=(4, 2, 5)).astype(kind)
        same_bits(
            layer.record(x).backward(g).input,
            layer.record(x.astype(dtype)).backward(g.astype(dtype)).input,
        )


@pytest.mark.parametrize("cell", CELLS)
def test_inputs_are_never_written(cell, rng):
    layer = make(cell, 3, 5, 2, bidirectional=True, dropout=0.5)
    x, s0 = random_input(layer, 6, 4, rng), random_state(layer, 4, rng)
    cot = random_cotangents(layer, 6, 4, rng)
    lengths = np.array([6, 0, 3, 4])
    given = [x, *parts(s0), cot[0], *parts(cot[1]), lengths, *layer.parameters.values()]
    before = [a.copy() for a in given]
    layer(x, s0, lengths=lengths)
    tape = layer.record(x, s0, lengths=lengths, train=True)
    tape.backward(*cot)
    same_bits(tuple(given), tuple(before))


@pytest.mark.parametrize("cell", CELLS)
def test_results_share_no_memory_with_inputs(cell, rng):
    layer = make(cell, 3, 5, 2)
    for T in (0, 4):
        x, s0 = random_input(layer, T, 4, rng), random_state(layer, 4, rng)
        cot = random_cotangents(layer, T, 4, rng)
        y, s = layer(x, s0)
        grads = layer.record(x, s0).backward(*cot)
        got = [y, *parts(s), grads.input, *parts(grads.state), *grads.parameters.values()]
        given = [x, *parts(s0), cot[0], *parts(cot[1]), *layer.parameters.values()]
        assert not any(np.shares_memory(a, b) for a in got for b in given)


@pytest.mark.parametrize("cell", CELLS)
def test_the_tape_does_not_follow_later_changes_of_the_input(cell, rng):
    """Reusing the input's buffer after `record` does not change the gradients."""
    layer = make(cell, 3, 5)
    x, s0 = random_input(layer, 6, 4, rng), random_state(layer, 4, rng)
    g = random_cotangents(layer, 6, 4, rng)[0]
    expected = layer.record(x, s0).backward(g)
    x2, s2 = x.copy(), whole(layer, [a.copy() for a in parts(s0)])
    tape = layer.record(x2, s2)
    x2[:], parts(s2)[0][:] = 7, 7
    got = tape.backward(g)
    same_bits(weights_of(got), weights_of(expected))
    same_bits(got.input, expected.input)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("as_kind", [list, tuple, np.int8, np.uint64, np.int64])
def test_lengths_may_have_any_integer_type(cell, as_kind, rng):
    layer = make(cell, 3, 5)
    x = random_input(layer, 6, 3, rng)
    lengths = np.array([2, 6, 0])
    given = as_kind(lengths.tolist()) if as_kind in (list, tuple) else lengths.astype(as_kind)
    same_bits(layer(x, lengths=given), layer(x, lengths=lengths))
