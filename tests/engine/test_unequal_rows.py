"""Only the steps that a row has are computed and stored, whatever the lengths, their order, and what threads divide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import KINDS, make, parts, random_input, same_bits, whole

import rnncore as rc
from rnncore import _engine
from rnncore.recurrent.ragged import Batch


def states_of(layer, B, rng):
    shapes = layer.structure.state_shapes(B)
    return whole(layer, [rng.normal(size=shape).astype(layer.dtype) for shape in shapes])


def assert_rows_are_as_alone(layer, x, s0, lengths, threads=1):
    with rc.threads(threads):
        y, state = layer(x, s0, lengths)
    for b, n in enumerate(lengths):
        with rc.threads(1):
            y1, state1 = layer(x[:n, b : b + 1], whole(layer, [part[:, b : b + 1] for part in parts(s0)]))
        same_bits(y[:n, b : b + 1], y1)
        assert not y[n:, b].any()
        for part, part1 in zip(parts(state), parts(state1), strict=True):
            same_bits(part[:, b : b + 1], part1)


@pytest.mark.parametrize("cell", KINDS)
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, 70), min_size=1, max_size=30), seed=st.integers(0, 999), both=st.booleans())
def test_rows_in_any_order_are_as_alone(cell, lengths, seed, both):
    """Up to 70 steps of 30 rows are many chunks, of many sizes."""
    rng = np.random.default_rng(seed)
    layer = make(cell, 3, 5, 2, bidirectional=both)
    x = random_input(layer, max(*lengths, 1) + 2, len(lengths), rng)
    assert_rows_are_as_alone(layer, x, states_of(layer, len(lengths), rng), lengths)


@pytest.mark.parametrize(("H", "B", "T"), [(512, 5, 30), (64, 40, 120)], ids=["units", "rows"])
@pytest.mark.parametrize("cell", KINDS)
def test_rows_are_as_alone_where_threads_divide_units_or_rows(cell, H, B, T, rng):
    layer = make(cell, 8, H, bidirectional=True)
    lengths = rng.integers(0, T + 1, size=B)
    assert_rows_are_as_alone(layer, random_input(layer, T, B, rng), states_of(layer, B, rng), lengths, threads=2)


@pytest.mark.parametrize(("H", "B", "T"), [(512, 5, 40), (48, 40, 300)], ids=["units", "rows"])
@pytest.mark.parametrize("cell", KINDS)
def test_gradients_do_not_depend_on_threads_order_of_rows_or_padding(cell, H, B, T, rng):
    layer = make(cell, 8, H, 2, bidirectional=True)
    lengths = rng.permutation(np.linspace(0, T, B).astype(int))
    x, g = random_input(layer, T + 7, B, rng), rng.normal(size=(T + 7, B, layer.structure.features)).astype("f4")
    with rc.threads(1):
        one = layer.record(x, lengths=lengths).backward(g)
    with rc.threads(2):
        two = layer.record(x[:T], lengths=lengths).backward(g[:T])
        checkpointed = layer.record(x, lengths=lengths, checkpoint_every=9).backward(g)
    same_bits(one.parameters, two.parameters)
    same_bits(one.input[:T], two.input)
    same_bits(one.parameters, checkpointed.parameters)
    same_bits(one.input, checkpointed.input)
    order = np.argsort(-lengths, kind="stable")
    by_length = layer.record(x[:, order], lengths=lengths[order]).backward(g[:, order])
    same_bits(one.parameters, by_length.parameters)
    same_bits(np.ascontiguousarray(one.input[:, order]), by_length.input)


@pytest.mark.parametrize("cell", KINDS)
def test_a_tape_holds_the_steps_that_rows_have(cell, rng):
    layer = make(cell, 16, 32)
    T, B = 400, 32
    lengths = np.full(B, 4)
    lengths[11] = T
    x = random_input(layer, T, B, rng)
    padded_output, states = T * B * 32 * 4, 4 * B * 32 * 4
    full, ragged = (layer.record(x, lengths=given).nbytes for given in (None, lengths))
    assert ragged < padded_output + 1.1 * full * lengths.sum() / (T * B) + states


def test_several_cotangents_on_rows_of_unequal_length(rng):
    layer = make("gru", 4, 6, 2, bidirectional=True)
    lengths, T = [5, 0, 9, 2, 9], 9
    tape = layer.record(random_input(layer, T, 5, rng), lengths=lengths)
    g = rng.normal(size=(3, T, 5, 12)).astype("f4")
    many = tape.backward(g, parameters=True)
    of_many = {name: tape.grad[name].copy() for name in tape.names()}
    for k in range(3):
        one = tape.backward(g[k])
        same_bits(many.input[k], one.input)
        same_bits({name: array[k] for name, array in many.parameters.items()}, one.parameters)
        same_bits({name: np.ascontiguousarray(array[k]) for name, array in of_many.items()},
                  {name: tape.grad[name] for name in tape.names()})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [1, 3, 4, 5, 8, 9, 16, 21, 32, 37, 70])
def test_rows_of_every_width_are_copied_whole_and_nothing_beside_them(features, dtype, rng):
    """What lies between the rows of an array, and past the rows' ends where that is not to be cleared, stays."""
    T, lengths = 6, np.array([2, 6, 0, 5, 3])
    batch = Batch(lengths, T)
    wide = rng.normal(size=(T, len(lengths), features + 3)).astype(dtype)
    padded, before = wide[:, :, 1 : features + 1], wide.copy()
    expected = np.concatenate([padded[t, [b for b in batch.order if lengths[b] > t]] for t in range(T)])
    same_bits(batch.gather(padded)[:, 0], expected)
    past = np.arange(T)[:, None] >= lengths
    same_bits(batch.spread(expected[:, None]), np.where(past[:, :, None], 0, padded).astype(dtype))
    _engine.clear(padded, batch)
    before[:, :, 1 : features + 1][past] = 0
    same_bits(wide, before)
    state = rng.normal(size=(2, len(lengths), features)).astype(dtype)
    same_bits(batch.sorted(state), state[:, batch.order])
    same_bits(batch.in_given_order(batch.sorted(state)), state)


@pytest.mark.parametrize("kind", [int, np.int32, np.uint64, float])
def test_lengths_of_every_type_are_checked(kind, rng):
    layer = make("gru", 3, 5)
    x = random_input(layer, 4, 3, rng)
    expected = layer(x, lengths=[4, 1, 0])[0]
    same_bits(layer(x, lengths=np.array([4, 1, 0], kind))[0], expected)
    same_bits(layer(x, lengths=np.array([4, 4, 4], kind))[0], layer(x)[0])
    for wrong in ([4, 5, 0], [4, -1, 0]):
        with pytest.raises(ValueError, match=r"lengths: got .* in row 1, expected 3 whole numbers from 0 to 4"):
            layer(x, lengths=np.array(wrong).astype(kind))


def test_the_output_of_a_tape_is_spread_out_once(rng):
    """In one direction it is the top layer's h, and both are one array; in two directions it is an array of its own."""
    lengths = [3, 0, 5, 2]
    for both in (False, True):
        layer = make("gru", 3, 4, 2, bidirectional=both)
        tape = layer.record(random_input(layer, 6, 4, rng), lengths=lengths)
        before = tape.nbytes
        same_bits(tape.output, layer(tape.input, lengths=lengths)[0])
        assert tape.output.base is not None
        assert np.shares_memory(tape.output, tape.output)
        assert tape.nbytes == before + tape.output.nbytes + tape.input.nbytes
        same_bits(tape["l1.h"], tape.output[..., :4])
        assert np.shares_memory(tape["l1.h"], tape.output) is not both
