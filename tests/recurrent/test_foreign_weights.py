"""What a model needs whose weights another library owns: layers of given weights, and rows that others have sorted."""

import copy

import numpy as np
import pytest
from support import make, random_cotangents, random_input, random_state, same_bits, whole

import rnncore as rc
from rnncore import _engine
from rnncore.recurrent.layout import parts_of
from rnncore.recurrent.ragged import Batch

CELLS = ["lstm", "gru", "gru-reset-before", "rnn-tanh"]


def given(layer, rng):
    return [rng.normal(size=array.shape).astype(layer.dtype) for array in layer.state_dict().values()]


@pytest.mark.parametrize("transposes", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", [*CELLS, "projected"])
def test_a_layer_of_given_weights_is_one_that_loaded_them(cell, dtype, transposes, rng):
    def new():
        options = {"bidirectional": True, "dtype": dtype}
        return (rc.LSTM(3, 21, 2, proj_size=6, seed=0, **options) if cell == "projected" else
                make(cell, 3, 21, 2, **options))

    first = new()
    before, arrays = first.state_dict(), given(first, rng)
    other = first.with_weights(arrays, transposes=transposes)
    same_bits(tuple(other.state_dict().values()), tuple(arrays))
    other, loaded = first.with_weights(arrays, transposes=transposes), new()
    loaded.load_state_dict(dict(zip(before, arrays, strict=True)))
    x, cotangents = random_input(first, 6, 2, rng), random_cotangents(first, 6, 2, rng)
    same_bits(other(x), loaded(x))
    same_bits(other.record(x).backward(*cotangents).parameters, loaded.record(x).backward(*cotangents).parameters)
    same_bits(first.state_dict(), before)
    assert repr(other) == repr(first)
    assert type(other) is type(first)


def test_the_weights_are_copies(rng):
    first = make("lstm", 3, 5)
    arrays = given(first, rng)
    other = first.with_weights(arrays, transposes=False)
    kept = [array.copy() for array in arrays]
    for array in arrays:
        array[...] = 0
    same_bits(tuple(other.state_dict().values()), tuple(kept))
    same_bits(tuple(copy.deepcopy(other).state_dict().values()), tuple(kept))
    with other.writable() as weights:
        for array in weights.values():
            array[...] = 1
    assert not any((array == 1).any() for array in first.state_dict().values())


@pytest.mark.parametrize("sizes", [(3, 5, 2), (70, 300, 1)], ids=["small", "on threads"])
@pytest.mark.parametrize("cell", [*CELLS, "projected"])
def test_any_bit_that_differs_is_seen(cell, sizes, rng):
    layer = rc.LSTM(*sizes, proj_size=sizes[1] // 2, seed=0) if cell == "projected" else make(cell, *sizes)
    arrays = [array.copy() for array in layer.state_dict().values()]
    arrays[0][0, 0], arrays[1][-1, -1] = np.nan, -0.0       # NaN equals itself, and 0 is another number
    other = layer.with_weights(arrays, transposes=False)
    with rc.threads(2):
        _engine.give_way(-_engine.give_way(0))
        assert other.has_weights(arrays, transposes=False)
        for array in arrays:
            for _ in range(5):
                place = np.unravel_index(rng.integers(array.size), array.shape)
                kept = array[place]
                array[place] = np.nextafter(kept, 9, dtype=array.dtype) if kept == kept else 1
                assert not other.has_weights(arrays, transposes=False)
                array[place] = kept
        arrays[1][-1, -1] = 0.0
        assert not other.has_weights(arrays, transposes=False)
        arrays[1][-1, -1] = -0.0
        assert other.has_weights(arrays, transposes=True)
    assert other.packed().has_transposes


def test_a_layer_that_was_changed_has_other_weights(rng):
    """By its own door, as whoever has a tape can: torch's parameters are the same still."""
    layer = make("lstm", 3, 5)
    arrays = given(layer, rng)
    other = layer.with_weights(arrays, transposes=True)
    with other.writable() as weights:
        weights["bias_ih_l0"] += 1
    assert not other.has_weights(arrays, transposes=True)


def test_bytes_are_compared_and_not_numbers():
    zeros, nans = np.zeros(3), np.full(3, np.nan)
    assert not _engine.same_bytes([zeros], [-zeros])
    assert _engine.same_bytes([nans, zeros], [nans.copy(), zeros.copy()])
    assert not _engine.same_bytes([zeros], [np.zeros(2)])
    assert _engine.same_bytes([], [])
    with pytest.raises(ValueError, match="shorter"):
        _engine.same_bytes([zeros], [])


def ragged(rng, T, B):
    """Lengths, and one of the orders in which they decrease; rows of equal length are in any order."""
    lengths = rng.integers(0, T + 1, size=B)
    lengths[rng.integers(B)] = T
    order = np.lexsort((rng.permutation(B), -lengths)).astype(np.intp)
    active = np.array([(lengths > t).sum() for t in range(T)])
    return lengths, order, active


def test_a_batch_of_active_rows_is_the_batch_of_its_lengths(rng):
    for _ in range(20):
        T, B = int(rng.integers(1, 9)), int(rng.integers(1, 7))
        lengths, order, active = ragged(rng, T, B)
        if lengths.min() == 0:
            order, kept = order[lengths[order] > 0], lengths > 0
            order, lengths = np.cumsum(kept)[order] - 1, lengths[kept]
        found, expected = Batch.of_active_rows(active, order), Batch(lengths.astype(np.intp), T)
        assert found.steps == T
        assert lengths.sum() == found.N
        for name in ("lengths", "sorted_lengths", "starts"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name
        assert np.array_equal(found.order[found.rank], np.arange(len(lengths)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_active_rows_alone_give_what_padded_rows_give(cell, both, dtype, rng):
    """Calls, tapes, and gradients; those of the weights are summed in the order of the rows, which may be another."""
    layer = make(cell, 3, 5, 2, bidirectional=both, dtype=dtype)
    T, B = 7, 6
    lengths, order, active = ragged(rng, T, B)
    lengths[lengths == 0] = 1
    order = np.lexsort((rng.permutation(B), -lengths)).astype(np.intp)
    active = np.array([(lengths > t).sum() for t in range(T)])
    batch = Batch.of_active_rows(active, order)
    x, state = random_input(layer, T, B, rng), random_state(layer, B, rng)
    cotangent, of_state = random_cotangents(layer, T, B, rng)
    rows = batch.gather(x)[:, 0]

    y, final = layer.call_on(layer.packed(), rows, state, batch)
    padded, expected_final = layer(x, state, lengths)
    same_bits(batch.spread(y[:, None]), padded)
    same_bits(final, expected_final)

    tape, expected = layer.record_on(layer.packed(), rows, state, batch), layer.record(x, state, lengths)
    same_bits(batch.spread(tape.recorded_output), padded)
    assert (tape.T, tape.B) == (T, B)
    for name in ("output", "input", "state", "initial", "lengths"):
        same_bits(getattr(tape, name), getattr(expected, name), name)
    for name in tape.names():
        same_bits(tape[name], expected[name], name)

    carry = [part.copy() for part in parts_of(of_state)]
    grad_x, parameters = tape.backward_on(batch.gather(cotangent), carry, active_rows_alone=True)
    grads = expected.backward(cotangent, of_state)
    same_bits(batch.spread(grad_x), grads.input)
    same_bits(whole(layer, carry), grads.state)
    for name, array in grads.parameters.items():
        assert np.abs(parameters[name] - array).max() <= 1e-5 * np.abs(array).max() + 1e-6, name
    for name in tape.names():
        same_bits(tape.grad[name], expected.grad[name], name)


@pytest.mark.parametrize("lengths", [None, [4, 0, 6]])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_that_are_not_wanted_change_no_others(cell, lengths, rng):
    layer = make(cell, 3, 5, 2, bidirectional=True)
    x, (cotangent, of_state) = random_input(layer, 6, 3, rng), random_cotangents(layer, 6, 3, rng)
    expected = layer.record(x, lengths=lengths).backward(cotangent, of_state)
    for grad_input in (False, True):
        for parameters in (False, True):
            tape, carry = layer.record(x, lengths=lengths), [part.copy() for part in parts_of(of_state)]
            grad_x, found = tape.backward_on(cotangent, carry, grad_input=grad_input, parameters=parameters)
            same_bits(found, expected.parameters if parameters else {})
            same_bits(whole(layer, carry), expected.state)
            if grad_input:
                same_bits(grad_x, expected.input)
            else:
                assert grad_x is None


def test_rows_of_another_number_are_refused(rng):
    layer, batch = make("gru", 3, 5), Batch.of_active_rows(np.array([2, 1]), np.array([1, 0]))
    with pytest.raises(ValueError, match=r"x: got shape \(4, 3\), expected \(N, I\), with N = 3"):
        layer.call_on(layer.packed(), rng.normal(size=(4, 3)), None, batch)


def test_masks_of_a_caller_are_drawn_from(rng):
    from rnncore.recurrent.dropout import Masks

    layer = make("gru", 3, 5, 2, dropout=0.5)
    x = random_input(layer, 6, 3, rng)
    outputs = [layer.record_on(layer.packed(), x, train=True, masks=Masks(seed)).output for seed in (1, 1, 2)]
    same_bits(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])
    assert layer.masks.passes == 0
