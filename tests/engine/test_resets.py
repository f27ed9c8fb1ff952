"""Resets inside a sequence: as if the row were cut there, and its parts run by themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import KINDS, make, parts, random_cotangents, random_input, random_state, same_bits, whole

import rnncore as rc
from rnncore import viz


def pieces(marks, length):
    """(start, stop) of the parts into which one row is cut."""
    cuts = [t for t in range(1, length) if marks[t]]
    return list(zip([0, *cuts], [*cuts, length], strict=True)) if length else []


def states_of_piece(layer, s0, b, first, last, cut_at_start):
    """The initial state of a part of row b: the given one where the direction begins with it, otherwise zero."""
    found = [np.zeros_like(part[:, b : b + 1]) for part in parts(s0)]
    for index in range(len(found[0])):
        reverse = layer.bidirectional and index % 2 == 1
        if last if reverse else first and not cut_at_start:
            for own, given_state in zip(found, parts(s0), strict=True):
                own[index] = given_state[index, b : b + 1]
    return whole(layer, found)


def assert_rows_are_as_cut(layer, x, s0, lengths, marks):
    y, state = layer(x, s0, lengths, marks)
    for b, n in enumerate(lengths):
        own = pieces(marks[:, b], n)
        for place, (start, stop) in enumerate(own):
            first, last = place == 0, place == len(own) - 1
            y1, state1 = layer(x[start:stop, b : b + 1], states_of_piece(layer, s0, b, first, last, marks[0, b]))
            same_bits(y[start:stop, b : b + 1], y1)
            for part, part1 in zip(parts(state), parts(state1), strict=True):
                for index in range(len(part)):
                    reverse = layer.bidirectional and index % 2 == 1
                    if first if reverse else last:
                        same_bits(part[index, b], part1[index, 0])


@pytest.mark.parametrize("cell", KINDS)
@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12), seed=st.integers(0, 999), both=st.booleans(),
       full=st.booleans(), share=st.sampled_from([0.02, 0.3, 1.0]))
def test_outputs_and_states_are_those_of_the_parts(cell, lengths, seed, both, full, share):
    rng = np.random.default_rng(seed)
    layer = make(cell, 3, 5, 2, bidirectional=both)
    T, B = max(*lengths, 1) + 2, len(lengths)
    lengths = [T] * B if full else lengths
    marks = rng.random((T, B)) < share
    assert_rows_are_as_cut(layer, random_input(layer, T, B, rng), random_state(layer, B, rng), lengths, marks)


@pytest.mark.parametrize(("H", "B", "T"), [(512, 5, 30), (64, 40, 120)], ids=["units", "rows"])
@pytest.mark.parametrize("cell", KINDS)
def test_threads_checkpoints_recording_and_padding_do_not_change_a_bit(cell, H, B, T, rng):
    layer = make(cell, 8, H, 2, bidirectional=True)
    lengths = rng.integers(0, T + 1, size=B)
    marks = rng.random((T + 3, B)) < 0.1
    x, s0 = random_input(layer, T + 3, B, rng), random_state(layer, B, rng)
    g, gs = random_cotangents(layer, T + 3, B, rng)
    with rc.threads(1):
        tape = layer.record(x, s0, lengths, reset=marks)
        one = tape.backward(g, gs)
        same_bits(layer(x, s0, lengths, marks)[0], tape.output)
    with rc.threads(2):
        for steps, every in ((T + 3, None), (T, None), (T + 3, 7), (T, 1)):
            tape = layer.record(x[:steps], s0, lengths, reset=marks[:steps], checkpoint_every=every)
            again = tape.backward(g[:steps], gs)
            same_bits(again.parameters, one.parameters)
            same_bits(again.input, one.input[:steps])
            for part, part1 in zip(parts(again.state), parts(one.state), strict=True):
                same_bits(part, part1)


@pytest.mark.parametrize("both", [False, True], ids=["", "both"])
@pytest.mark.parametrize("cell", KINDS)
def test_gradients_are_those_of_finite_differences(cell, both, rng):
    layer = make(cell, 2, 3, 2, bidirectional=both, dtype="float64")
    T, B = 9, 4
    lengths, marks = [9, 0, 5, 7], rng.random((T, B)) < 0.35
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    g, gs = random_cotangents(layer, T, B, rng)
    for n, b in zip(lengths, range(B), strict=True):
        g[n:, b] = 0

    def loss(x, s0):
        y, state = layer(x, s0, lengths, marks)
        return (y * g).sum() + sum((a * b).sum() for a, b in zip(parts(state), parts(gs), strict=True))

    grads = layer.record(x, s0, lengths, reset=marks).backward(g, gs)
    step = 1e-6
    for _ in range(4):
        dx, ds = rng.normal(size=x.shape), [rng.normal(size=part.shape) for part in parts(s0)]
        up, down = (whole(layer, [part + h * d for part, d in zip(parts(s0), ds, strict=True)]) for h in (step, -step))
        measured = (loss(x + step * dx, up) - loss(x - step * dx, down)) / (2 * step)
        expected = (grads.input * dx).sum() + sum((a * d).sum() for a, d in zip(parts(grads.state), ds, strict=True))
        assert measured == pytest.approx(expected, rel=1e-6, abs=1e-7)
    values = layer.state_dict()
    for name, value in values.items():
        direction = rng.normal(size=value.shape)
        found = []
        for sign in (1, -1):
            with layer.writable() as w:
                w[name][...] = value + sign * step * direction
            found.append(loss(x, s0))
        with layer.writable() as w:
            w[name][...] = value
        measured = (found[0] - found[1]) / (2 * step)
        assert measured == pytest.approx((grads.parameters[name] * direction).sum(), rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("cell", KINDS)
def test_gradients_are_those_of_the_parts(cell, rng):
    """In one row: gradients of the weights are the sums over the parts, those of the input are equal in bits."""
    layer = make(cell, 3, 6, dtype="float64")
    marks = np.zeros((30, 1), bool)
    marks[[0, 11, 12, 25]] = True
    x, g = random_input(layer, 30, 1, rng), rng.normal(size=(30, 1, layer.structure.features))
    s0 = random_state(layer, 1, rng)
    grads = layer.record(x, s0, reset=marks).backward(g)
    total = dict.fromkeys(grads.parameters, 0)
    for start, stop in pieces(marks[:, 0], 30):
        own = layer.record(x[start:stop]).backward(g[start:stop])
        same_bits(grads.input[start:stop], own.input)
        total = {name: total[name] + value for name, value in own.parameters.items()}
    for name, value in total.items():
        np.testing.assert_allclose(grads.parameters[name], value, rtol=1e-11, atol=1e-13)
    assert not any(part.any() for part in parts(grads.state))      # a reset at step 0 replaces the initial state


@pytest.mark.parametrize("cell", KINDS)
def test_many_cotangents_are_cut_as_one(cell, rng):
    layer = make(cell, 3, 5, 2, bidirectional=True)
    T, B = 20, 3
    lengths, marks = [20, 7, 13], rng.random((T, B)) < 0.2
    tape = layer.record(random_input(layer, T, B, rng), random_state(layer, B, rng), lengths, reset=marks)
    g, gs = random_cotangents(layer, T, B, rng, K=(4,))
    many = tape.backward(g, gs, parameters=True)
    for k in range(4):
        one = tape.backward(g[k], whole(layer, [part[k] for part in parts(gs)]), parameters=True)
        same_bits(many.input[k], one.input)
        same_bits({name: value[k] for name, value in many.parameters.items()}, one.parameters)


@pytest.mark.parametrize("cell", KINDS)
def test_no_jacobian_crosses_a_reset(cell, rng):
    layer = make(cell, 3, 5, 2)
    marks = np.zeros((20, 2), bool)
    marks[12, 0] = True
    tape = layer.record(random_input(layer, 20, 2, rng), reset=marks)
    norms = viz.jacobian_norms(tape)
    assert (norms[:8, 0] > 0).all()         # steps 12 .. 19
    assert not norms[8:, 0].any()
    assert (norms[:, 1] > 0).all()


def test_layouts_and_kinds_of_marks(rng):
    lstm = rc.LSTM(3, 4, batch_first=True, seed=0)
    x, marks = rng.normal(size=(2, 9, 3)).astype("f4"), rng.random((2, 9)) < 0.3
    y, _ = lstm(x, reset=marks)
    for same in (marks.astype(int), marks.astype("f4"), marks.tolist(), np.asfortranarray(marks)):
        same_bits(lstm(x, reset=same)[0], y)
    same_bits(lstm(x[1], reset=marks[1])[0], y[1])
    same_bits(lstm.record(x[1], reset=marks[1]).output, y[1])
    assert lstm(x[:, :0], reset=marks[:, :0])[0].shape == (2, 0, 4)
    assert lstm(x[:0], reset=marks[:0])[0].shape == (0, 9, 4)


@pytest.mark.parametrize(
    ("marks", "error", "says"),
    [
        (np.zeros((9, 2), bool), ValueError, r"reset: got shape \(9, 2\), expected \(2, 9\): \(B, T\)"),
        (np.full((2, 9), 2), TypeError, "reset: got int64 values, expected True or False"),
        (np.full((2, 9), np.nan), TypeError, "reset: got float64 values"),
        (np.full((2, 9), "a"), TypeError, "reset: got <U1 values"),
    ],
)
def test_wrong_marks_are_refused(marks, error, says):
    with pytest.raises(error, match=says):
        rc.LSTM(3, 4, batch_first=True)(np.ones((2, 9, 3)), reset=marks)
