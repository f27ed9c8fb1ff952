"""Streams: one step per call with the bits of the whole sequence, a state of their own, and rows that can be reset."""

import copy
import pickle

import numpy as np
import pytest
from support import KINDS, make, parts, random_input, same_bits

from rnncore.nn import Linear, SequenceModel

REFUSED = (ValueError, TypeError)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize(
    ("I", "H", "B", "layers"), [(3, 5, 1, 1), (8, 32, 1, 2), (17, 33, 7, 3), (1, 100, 37, 1)]
)
def test_steps_have_the_bits_of_the_sequence(cell, I, H, B, layers, dtype, rng):
    layer = make(cell, I, H, layers, dtype=dtype)
    x = random_input(layer, 9, B, rng)
    y, s = layer(x)
    stream = layer.stream(batch_size=B)
    out = np.empty((B, layer.structure.output_size), dtype)
    for t in range(9):
        got = stream.step(x[t]) if t % 2 else stream.step(x[t], out=out)
        same_bits(got, y[t], f"step {t}")
        assert (got is out) == (t % 2 == 0)
    same_bits(stream.state, s)


def test_the_default_batch_size_is_one(rng):
    layer = make("gru", 3, 5)
    assert layer.stream().step(np.ones((1, 3))).shape == (1, 5)


@pytest.mark.parametrize("cell", KINDS)
def test_every_step_returns_a_new_array(cell, rng):
    layer = make(cell, 3, 5)
    x = random_input(layer, 3, 2, rng)
    stream = layer.stream(2)
    outs = [stream.step(a) for a in x]
    same_bits(np.array(outs), layer(x)[0])
    outs[-1][:] = 99  # what was given out is not the state
    same_bits(stream.step(x[0]), layer(np.concatenate([x, x[:1]]))[0][-1])


@pytest.mark.parametrize("cell", KINDS)
def test_writing_to_out_does_not_change_the_state(cell, rng):
    layer = make(cell, 3, 5)
    x = random_input(layer, 2, 2, rng)
    stream, out = layer.stream(2), np.empty((2, layer.structure.output_size), np.float32)
    stream.step(x[0], out=out)
    out[:] = 99
    same_bits(stream.step(x[1], out=out), layer(x)[0][1])


@pytest.mark.parametrize("cell", KINDS)
def test_the_state_is_that_of_the_layers_call(cell, rng):
    """It has torch's shape, a call can continue from it, and later steps do not change it."""
    layer = make(cell, 3, 5, 2)
    x = random_input(layer, 8, 3, rng)
    y, s = layer(x)
    stream = layer.stream(3)
    assert [a.shape for a in parts(stream.state)] == [a.shape for a in parts(s)]
    assert not any(a.any() for a in parts(stream.state))
    for t in range(5):
        stream.step(x[t])
    mid = stream.state
    assert isinstance(mid, tuple) == (layer.mode == "LSTM")
    kept = [a.copy() for a in parts(mid)]
    rest, end = layer(x[5:], mid)
    same_bits(rest, y[5:])
    same_bits(end, s)
    stream.step(x[5])
    same_bits(tuple(parts(mid)), tuple(kept))


@pytest.mark.parametrize("cell", KINDS)
def test_reset_sets_rows_to_zero(cell, rng):
    layer = make(cell, 3, 5, 2)
    x = random_input(layer, 6, 4, rng)
    y, _ = layer(x)
    stream = layer.stream(4)
    for t in range(3):
        stream.step(x[t])
    stream.reset()
    same_bits(stream.step(x[0]), y[0])
    stream.step(x[1])
    stream.reset(rows=[1, 3])
    got = stream.step(x[2])
    anew, _ = layer(x[2:3])
    same_bits(got[[0, 2]], y[2][[0, 2]])
    same_bits(got[[1, 3]], anew[0][[1, 3]])
    stream.reset(rows=np.array([True, False, False, False]))
    assert not any(a[:, 0].any() for a in parts(stream.state))
    assert all(a[:, 1].any() for a in parts(stream.state))


@pytest.mark.parametrize("rows", [[4], [-5], [0.5], ["a"], [True, False]])
def test_reset_refuses_rows_that_do_not_exist(rows):
    stream = make("gru", 3, 5).stream(4)
    with pytest.raises((*REFUSED, IndexError), match="rows"):
        stream.reset(rows=rows)


def test_two_streams_of_a_layer_are_independent(rng):
    layer = make("lstm", 3, 5)
    x = random_input(layer, 4, 2, rng)
    a, b = layer.stream(2), layer.stream(2)
    a.step(x[3])
    same_bits(np.array([b.step(v) for v in x]), layer(x)[0])


def test_bidirectional_layers_refuse_to_stream():
    with pytest.raises(
        (ValueError, RuntimeError, NotImplementedError, TypeError), match=r"(?i)bidirectional"
    ):
        make("gru", 3, 5, bidirectional=True).stream()


@pytest.mark.parametrize("size", [0, -1, 1.5, "2", None])
def test_wrong_batch_sizes_are_refused(size):
    if size == 0:  # an empty stream is as good as B = 0 elsewhere, or refused: both are clear
        try:
            stream = make("gru", 3, 5).stream(0)
        except ValueError as e:
            assert "batch_size" in str(e)  # noqa: PT017
        else:
            assert stream.step(np.ones((0, 3))).shape == (0, 5)
        return
    with pytest.raises(REFUSED, match="batch_size"):
        make("gru", 3, 5).stream(size)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (3,), (1, 2, 3)])
def test_x_t_of_a_wrong_shape_is_refused(shape):
    with pytest.raises(REFUSED) as e:
        make("gru", 3, 5).stream(2).step(np.ones(shape))
    assert all(text in str(e.value) for text in ("x_t", str(shape), "(2, 3)"))


def test_x_t_of_other_types_is_converted_or_refused(rng):
    layer = make("gru", 3, 5)
    x = rng.integers(0, 5, size=(2, 3))
    expected = layer(x[None])[0][0]
    for kind in ("int64", "float64", "float16", "uint8"):
        same_bits(layer.stream(2).step(x.astype(kind)), expected)
    same_bits(layer.stream(2).step(np.asfortranarray(x.astype("float32"))), expected)
    for kind in ("complex64", "object"):
        with pytest.raises(REFUSED, match=kind):
            layer.stream(2).step(x.astype(kind))


def bad_outs():
    frozen = np.zeros((2, 5), np.float32)
    frozen.flags.writeable = False
    yield "shape", np.zeros((2, 6), np.float32)
    yield "rows", np.zeros((1, 5), np.float32)
    yield "type", np.zeros((2, 5))
    yield "read-only", frozen
    yield "list", [[0.0] * 5] * 2


@pytest.mark.parametrize("kind", [k for k, _ in bad_outs()])
def test_out_that_cannot_be_written_is_refused(kind):
    stream = make("gru", 3, 5).stream(2)
    x = np.ones((2, 3), np.float32)
    with pytest.raises(REFUSED, match="out"):
        stream.step(x, out=dict(bad_outs())[kind])
    same_bits(stream.step(x), make("gru", 3, 5)(x[None])[0][0])  # the refused step was no step


def test_out_with_strides_is_refused(rng):
    """It is written in place or refused, and never silently ignored."""
    layer = make("gru", 3, 5)
    x = random_input(layer, 1, 2, rng)
    wide = np.zeros((2, 10), np.float32)
    try:
        layer.stream(2).step(x[0], out=wide[:, ::2])
    except ValueError as e:
        assert "out" in str(e)  # noqa: PT017
    else:
        same_bits(wide[:, ::2], layer(x)[0][0])
        assert not wide[:, 1::2].any()


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s, 5))])
def test_a_copy_owns_its_state(cell, again, rng):
    layer = make(cell, 3, 9, 2)
    x = random_input(layer, 8, 2, rng)
    whole, _ = layer(x)
    stream = layer.stream(2)
    for t in range(4):
        stream.step(x[t])
    other = again(stream)
    same_bits([other.step(x[t]) for t in range(4, 8)], whole[4:])
    same_bits([stream.step(x[t]) for t in range(4, 8)], whole[4:])
    other.reset()
    same_bits(stream.state, layer(x)[1])
    same_bits(other.step(x[0]), whole[0])


def test_a_shallow_copy_shares_the_layer_and_a_deep_one_copies_it(rng):
    """A shallow copy sees new weights of the layer; a deep copy keeps the weights from before."""
    layer = make("gru", 3, 5)
    x = random_input(layer, 1, 1, rng)[0]
    stream = layer.stream()
    shallow, deep = copy.copy(stream), copy.deepcopy(stream)
    before = stream.step(x)
    with layer.writable() as p:
        p["weight_ih_l0"] *= 2
    after = make("gru", 3, 5).load_state_dict(layer.state_dict()) or layer(x[None])[0][0]
    same_bits(shallow.step(x), after)
    same_bits(deep.step(x), before)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s, 5))])
def test_a_layer_or_a_model_that_has_its_own_stream_is_copied_with_it(again, rng):
    """Then the stream of the copy exists before the copy of its layer has weights."""
    layer = make("gru", 3, 5)
    x = random_input(layer, 4, 2, rng)
    model = SequenceModel(None, layer, Linear(5, 2, seed=0))
    for owner in (layer, model):
        owner.live = owner.stream(2)
        owner.live.step(x[0])
        other = again(owner)
        del owner.live
        same_bits([other.live.step(x[1]), *other.live.block(x[2:])], other(x)[0][1:])


def test_rows_to_reset_are_indices_or_a_mask(rng):
    layer = make("lstm", 3, 5)
    x = random_input(layer, 3, 4, rng)

    def left(rows):
        stream = layer.stream(4)
        for x_t in x:
            stream.step(x_t)
        stream.reset(rows)
        h, c = stream.state
        assert (h == 0).all(axis=(0, 2)).tolist() == (c == 0).all(axis=(0, 2)).tolist()
        return np.flatnonzero((h != 0).any(axis=(0, 2))).tolist()

    assert left([]) == left(np.array([], bool)) == left(()) == [0, 1, 2, 3]
    assert left([2, 0]) == left([True, False, True, False]) == left(np.array([-2, 0])) == [1, 3]
    assert left(1) == left(np.int64(1)) == [0, 2, 3]
    assert left(None) == left(range(4)) == []


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        ([0, 0, 1, 1], ValueError, "row 0 more than once.*bool"),
        ([-1, 3], ValueError, "row 3 more than once"),
        ([4], IndexError, "got 4, expected indices of rows from 0 to 3"),
        ([-5], IndexError, "got -5"),
        ([True, False], ValueError, r"bool of shape \(2,\)"),
        (True, ValueError, r"bool of shape \(\)"),
        ([0.0, 1.0], TypeError, "float64"),
        ([[0, 1]], TypeError, r"shape \(1, 2\)"),
        ("01", TypeError, "rows: got"),
    ],
)
def test_wrong_rows_are_refused_by_reset(rows, error, said, rng):
    stream = make("gru", 3, 5).stream(4)
    stream.step(rng.normal(size=(4, 3)))
    before = stream.state
    with pytest.raises(error, match=f"rows: .*{said}|{said}"):
        stream.reset(rows)
    same_bits(stream.state, before)
