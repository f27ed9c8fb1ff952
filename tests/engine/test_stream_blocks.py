"""Blocks of steps: any division of a sequence has the bits of one call, and nothing is allocated for an output."""

import copy
import pickle
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import KINDS, make, parts, random_input, same_bits

from rnncore import _engine

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def divided(draw):
    """A layer, an input, and where its steps and blocks begin."""
    small = lambda lo, hi: draw(st.integers(lo, hi))  # noqa: E731
    layer = make(
        draw(st.sampled_from(sorted(KINDS))), small(1, 18), small(1, 20), small(1, 3), bias=draw(st.booleans()),
        batch_first=draw(st.booleans()), dtype=draw(st.sampled_from(["float32", "float64"])),
    )  # fmt: skip
    T, B = small(0, 130), small(1, 9)
    cuts = sorted(draw(st.lists(st.integers(0, T), max_size=6)))
    x = random_input(layer, T, B, np.random.default_rng(small(0, 10**6)))
    return layer, x, list(zip([0, *cuts], [*cuts, T], strict=True)), draw(st.booleans())


@QUICK
@given(divided())
def test_any_division_has_the_bits_of_one_call(case):
    layer, x, blocks, give_out = case
    y, final = layer(x.swapaxes(0, 1) if layer.batch_first else x)
    y = y.swapaxes(0, 1) if layer.batch_first else y
    stream, got = layer.stream(x.shape[1]), np.empty_like(y, order="C")
    for start, stop in blocks:
        if stop - start == 1:
            got[start] = stream.step(x[start])
        elif give_out:
            out = got[start:stop]
            assert stream.block(x[start:stop], out) is out
        else:
            got[start:stop] = stream.block(x[start:stop])
    same_bits(got, y)
    same_bits(stream.state, final)


@pytest.mark.parametrize("cell", KINDS)
def test_long_blocks_are_divided_between_signals(cell, rng):
    layer = make(cell, 8, 64, 2)
    x = random_input(layer, 20_000, 1, rng)
    stream = layer.stream()
    same_bits(stream.block(x), layer(x)[0])
    same_bits(stream.state, layer(x)[1])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
def test_an_interrupted_block_leaves_the_state_as_it_was(rng):
    class Struck(Exception):
        pass

    def handler(number, frame):
        with pytest.raises(RuntimeError, match="one call at a time"):
            stream.step(x[0])
        raise Struck

    layer = make("lstm", 8, 64, 2)
    x = random_input(layer, 100_000, 1, rng)
    stream = layer.stream()
    stream.block(x[:10])
    kept = stream.state
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Struck):
            stream.block(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    same_bits(stream.state, kept)
    same_bits(stream.block(x[10:20]), layer(x[:20])[0][10:])


def test_input_may_be_read_only_strided_or_of_another_type(rng):
    layer = make("gru", 3, 5)
    x = random_input(layer, 7, 2, rng)
    expected = layer(x)[0]
    x.flags.writeable = False
    wide = np.zeros((14, 4, 6), np.float32)
    wide[::2, 1::2, ::2] = x
    for given_x in (x, wide[::2, 1::2, ::2], np.asfortranarray(x), x.astype(np.float64), x.tolist()):
        for out in (None, np.empty((7, 2, 5), np.float32)):
            same_bits(layer.stream(2).block(given_x, out), expected)


def test_out_may_be_x_itself_or_overlap_it(rng):
    layer = make("lstm", 5, 5)
    memory = random_input(layer, 101, 2, rng)
    expected = layer(memory[:100])[0]
    for start in (0, 1):
        own = memory.copy()
        layer.stream(2).block(own[:100], own[start : 100 + start])
        same_bits(own[start : 100 + start], expected)


@pytest.mark.parametrize(("I", "H"), [(2, 6), (6, 2)])
def test_out_of_another_width_may_begin_where_x_does(I, H, rng):
    """Then the outputs of a chunk of steps would be written over the x of later ones, or over that of earlier ones."""
    layer, N = make("gru", I, H), 300
    memory = np.zeros(N * 2 * 6, np.float32)
    x, out = memory[: N * 2 * I].reshape(N, 2, I), memory[: N * 2 * H].reshape(N, 2, H)
    x[...] = random_input(layer, N, 2, rng)
    expected = layer(x)[0]
    same_bits(layer.stream(2).block(x, out), expected)


def test_nothing_is_allocated_for_a_given_output(rng):
    import tracemalloc

    layer = make("lstm", 8, 64, 2)
    x, out, stream = random_input(layer, 200, 2, rng), np.empty((200, 2, 64), np.float32), layer.stream(2)
    stream.block(x, out)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    stream.block(x, out)
    stream.step(x[0], out[0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - before < 1000  # views and numbers, no array of a step


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s, 5))])
def test_copies_go_on_from_the_same_state(again, rng):
    layer = make("lstm", 3, 9, 2)
    x = random_input(layer, 80, 2, rng)
    stream = layer.stream(2)
    stream.block(x[:30])
    other = again(stream)
    same_bits(other.block(x[30:]), layer(x)[0][30:])
    same_bits(stream.block(x[30:]), layer(x)[0][30:])


def test_new_weights_take_effect(rng):
    layer = make("gru", 3, 5)
    x = random_input(layer, 6, 1, rng)
    stream = layer.stream()
    stream.block(x)
    with layer.writable() as w:
        w["weight_hh_l0"] *= 2
    stream.reset()
    same_bits(stream.block(x), layer(x)[0])


@pytest.mark.parametrize(("x", "out", "said"), [
    (np.ones((4, 2, 4)), None, r"x: got shape \(4, 2, 4\), expected \(N, B, I\) = \(N, 2, 3\)"),
    (np.ones((2, 3)), None, r"x: got shape \(2, 3\)"),
    (np.ones((4, 1, 3)), None, "batch_size"),
    (np.ones((4, 2, 3)), np.ones((4, 2, 5)), r"out: got float64 \(4, 2, 5\), expected a writable C-contiguous float32"),
    (np.ones((4, 2, 3)), np.ones((3, 2, 5), "f4"), r"of shape \(4, 2, 5\)"),
    (np.ones((4, 2, 3)), np.ones((4, 2, 10), "f4")[..., ::2], "non-contiguous"),
    (np.ones((4, 2, 3)), np.frombuffer(bytearray(161), "f4", 40, 1).reshape(4, 2, 5), "out: got unaligned float32"),
    (np.ones((4, 2, 3)), [[1.0]], "out: got list"),
])  # fmt: skip
def test_wrong_blocks_are_refused_and_are_no_steps(x, out, said):
    stream = make("gru", 3, 5).stream(2)
    with pytest.raises(ValueError, match=said):
        stream.block(x, out)
    assert not any(part.any() for part in parts(stream.state))


def test_new_weights_are_not_bound_while_a_block_runs(rng):
    """The handler of a signal loads weights and steps: the block keeps what it reads, and the step is refused."""
    layer = make("lstm", 8, 64, 2)
    x = random_input(layer, 100_000, 1, rng)
    stream = layer.stream()
    weights = layer.state_dict()
    refused = []

    def handler(number, frame):
        layer.load_state_dict(weights)
        try:
            stream.step(x[0])
        except RuntimeError as error:
            refused.append(str(error))
        _engine.release_kept()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        y = stream.block(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(refused) == 1
    assert "one call at a time" in refused[0]
    same_bits(y, layer(x)[0])
