"""checkpoint_every=k keeps every k-th state and recomputes the rest, with the same bits."""

import numpy as np
import pytest
from support import (
    KINDS,
    everything,
    make,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
    weights_of,
)

import rnncore as rc

T, B = 11, 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("every", [1, 2, 3, 5, 11, 100])
def test_checkpoints_do_not_change_a_bit(cell, every, dtype, rng):
    layer = make(cell, 3, 9, 2, dtype=dtype)
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    cot = random_cotangents(layer, T, B, rng)
    full, sparse = layer.record(x, s0), layer.record(x, s0, checkpoint_every=every)
    same_bits(sparse.output, full.output)
    same_bits(everything(sparse, sparse.backward(*cot)), everything(full, full.backward(*cot)))


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("lengths", [None, [11, 0, 4, 7]])
def test_checkpoints_combine_with_all_other_options(cell, lengths, rng):
    """Both directions, ragged rows, dropout, many cotangents, two threads."""
    results = []
    x, seed = rng.normal(size=(T, B, 3)), int(rng.integers(99))
    for options, threads in [({}, 1), ({"checkpoint_every": 4}, 1), ({"checkpoint_every": 3}, 2)]:
        layer = make(cell, 3, 9, 3, bidirectional=True, dropout=0.5)
        cot = random_cotangents(layer, T, B, np.random.default_rng(seed), (3,))
        with rc.threads(threads):
            tape = layer.record(x, lengths=lengths, train=True, **options)
            grads = tape.backward(*cot, parameters=True)
        results.append((tape.output, tape.state, grads.input, grads.state, weights_of(grads)))
    for r in results[1:]:
        same_bits(r, results[0])


@pytest.mark.parametrize("cell", KINDS)
def test_arrays_by_name_are_recomputed_with_the_same_bits(cell, rng):
    layer = make(cell, 3, 9, 2, bidirectional=True)
    x = random_input(layer, T, B, rng)
    full, sparse = layer.record(x), layer.record(x, checkpoint_every=4)
    assert list(sparse.names("*")) == list(full.names("*"))
    for name in full.names("*"):
        assert name in sparse
        same_bits(sparse[name], full[name], name)
        assert not sparse[name].flags.writeable
    g, _ = random_cotangents(layer, T, B, rng)
    same_bits(sparse.backward(g).input, full.backward(g).input)
    for name in reversed(full.names("*")):
        same_bits(sparse[name], full[name], name)


@pytest.mark.parametrize("every", [0, -1, 1.5, "2", np.nan])
def test_checkpoint_every_must_be_a_positive_whole_number(every, rng):
    layer = make("gru", 3, 5)
    with pytest.raises((ValueError, TypeError)) as e:
        layer.record(np.ones((T, B, 3)), checkpoint_every=every)
    assert "checkpoint_every" in str(e.value)
    assert str(every) in str(e.value)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize(("steps", "rows"), [(0, 3), (3, 0)])
def test_empty_sequences_and_batches_can_have_checkpoints(cell, steps, rows, rng):
    layer = make(cell, 3, 5)
    tape = layer.record(random_input(layer, steps, rows, rng), checkpoint_every=2)
    assert tape.backward(tape.output).input.shape == (steps, rows, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("B", [1, 2])
def test_reversed_ragged_rows_may_span_several_windows(cell, every, B, dtype, rng):
    """A row may continue beyond a window: the state before the window's first step must not be read from there."""
    for H, lengths in ((1, [3, 2]), (1, [4, 1]), (5, [2, 4]), (5, [0, 3])):
        layer = make(cell, 2, H, bidirectional=True, dtype=dtype)
        x, s0 = random_input(layer, 4, B, rng), random_state(layer, B, rng)
        cot = random_cotangents(layer, 4, B, rng)
        full = layer.record(x, s0, lengths=lengths[:B])
        sparse = layer.record(x, s0, lengths=lengths[:B], checkpoint_every=every)
        same_bits(everything(sparse, sparse.backward(*cot)), everything(full, full.backward(*cot)))


@pytest.mark.parametrize("K", [None, 1, 3])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("steps", [1, T])
def test_recomputed_gradients_do_not_follow_changes_of_the_callers_array(K, batch_first, steps, rng):
    """They are computed when asked for, from the cotangents as they were when backward was called."""
    layer = make("lstm", 3, 9, 2, batch_first=batch_first)
    x = rng.normal(size=(B, steps, 3) if batch_first else (steps, B, 3)).astype("float32")
    full, sparse = layer.record(x), layer.record(x, checkpoint_every=3)
    g = rng.normal(size=(*(() if K is None else (K,)), *full.output.shape)).astype("float32")
    s = random_state(layer, B, rng, () if K is None else (K,))
    full.backward(g, s)
    expected = {name: full.grad[name].copy() for name in full.names()}
    sparse.backward(g, s)
    g *= -3
    for part in s:
        part += 1
    same_bits({name: sparse.grad[name] for name in full.names()}, expected)


@pytest.mark.parametrize(("K", "layers", "both"), [(1, 1, False), (1, 2, True), (3, 1, False)])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_gradients_by_name_are_right_after_weight_gradients_of_many_cotangents(cell, K, layers, both, rng):
    """Computing the weight gradients of each cotangent does not overwrite the cotangents that are kept."""
    layer = make(cell, 3, 9, layers, bidirectional=both, dtype="float64")
    x = random_input(layer, T, B, rng)
    cot = random_cotangents(layer, T, B, rng, (K,))
    full, sparse = layer.record(x), layer.record(x, checkpoint_every=3)
    for tape in (full, sparse):
        tape.backward(*cot, parameters=True)
    same_bits({n: sparse.grad[n] for n in full.names()}, {n: full.grad[n] for n in full.names()})
