"""Dropout: between layers, only under record(train=True), scaled by 1/(1−p).

A mask is a function of seed, call, layer, step, row and unit.
"""

import numpy as np
import pytest
from support import (
    CELLS,
    all_close,
    close,
    make,
    parts,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
)
from twin import Twin

import rnncore as rc


@pytest.mark.parametrize("cell", CELLS)
def test_only_training_records_drop(cell, rng):
    wet, dry = make(cell, 3, 9, 3), make(cell, 3, 9, 3, dropout=0.5)
    x = random_input(wet, 5, 4, rng)
    y, _ = wet(x)
    same_bits(dry(x)[0], y)
    same_bits(dry.record(x).output, y)
    same_bits(dry.record(x, train=False).output, y)
    assert not np.array_equal(dry.record(x, train=True).output, y)
    same_bits(dry(x)[0], y)


@pytest.mark.parametrize("cell", CELLS)
def test_a_single_layer_drops_nothing(cell, rng):
    with pytest.warns(UserWarning, match="dropout: got 0.5 with num_layers=1"):
        layer = make(cell, 3, 9, 1, dropout=0.5)
    x = random_input(layer, 5, 4, rng)
    same_bits(layer.record(x, train=True).output, layer(x)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_the_first_layer_sees_all_of_x(cell, rng):
    layer = make(cell, 3, 9, 2, dropout=0.9)
    x = random_input(layer, 5, 4, rng)
    same_bits(layer.record(x, train=True)["l0.h"], layer.record(x)["l0.h"])


def visible(T, B, H, p, seed=7, both=False, layers=2, dtype="float64"):
    """A ReLU stack whose output shows its masks: the upper layers pass their positive input through."""
    layer = make("rnn-relu", 1, H, layers, dropout=p, seed=seed, bidirectional=both, dtype=dtype)
    with layer.writable() as w:
        for name, a in w.items():
            a[...] = 0
            if name.startswith("bias_ih_l0"):
                a[...] = 1
            if name.startswith("weight_ih") and "l0" not in name:
                a[:, int("reverse" in name) * H :][:, :H] = np.eye(H)
    return layer


def masks(layer, T, B, **options):
    tape = layer.record(np.zeros((T, B, 1)), train=True, **options)
    below, out = tape["l0.h"], []
    for k in range(1, layer.num_layers):
        above = tape[f"l{k}.h"]
        with np.errstate(invalid="ignore"):
            out.append(np.where(below > 0, above / below, np.nan))
        below = above
    return np.array(out)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_masks_drop_the_given_share_and_scale_the_rest(p):
    m = masks(visible(50, 8, 64, p), 50, 8)[0]
    assert set(np.round(np.unique(m), 9)) == {0, np.round(1 / (1 - p), 9)}
    for axis in [None, (0, 1), (0, 2), (1, 2)]:  # nowhere a pattern: each slice has its share
        share = (m == 0).mean(axis)
        n = m.size / np.size(share)
        # the largest of 64 deviations: 5.5 standard errors
        assert np.abs(share - p).max() <= 5.5 * np.sqrt(p * (1 - p) / n)
    for a, b in [(m[1:], m[:-1]), (m[:, 1:], m[:, :-1]), (m[..., 1:], m[..., :-1])]:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) <= 5 / np.sqrt(a.size)


def test_dropout_of_0_drops_nothing_and_of_1_is_refused():
    assert (masks(visible(5, 3, 9, 0.0), 5, 3) == 1).all()
    try:
        layer = visible(5, 3, 9, 1.0)
    except ValueError as e:  # 1/(1−p) has no answer there
        assert "dropout" in str(e)  # noqa: PT017
    else:
        assert (masks(layer, 5, 3) == 0).all()


def test_masks_differ_between_calls_layers_directions_and_seeds():
    layer = visible(6, 4, 32, 0.5, layers=3)
    first, second = masks(layer, 6, 4), masks(layer, 6, 4)
    assert not np.array_equal(first[0], second[0], equal_nan=True)
    assert not np.array_equal(first[0] == 0, first[1] == 0)
    other = masks(visible(6, 4, 32, 0.5, seed=8, layers=3), 6, 4)
    assert not np.array_equal(first[0], other[0])
    tape = visible(6, 4, 32, 0.5, both=True).record(np.zeros((6, 4, 1)), train=True)
    assert not np.array_equal(tape["l1.h"], tape["l1.reverse.h"])


def test_the_same_seed_gives_the_same_masks():
    a, b = visible(6, 4, 32, 0.5), visible(6, 4, 32, 0.5)
    for _ in range(3):
        same_bits(masks(a, 6, 4), masks(b, 6, 4))


def test_only_training_records_count_as_calls():
    """Calls between two updates do not change the masks of training."""
    a, b = visible(6, 4, 32, 0.5), visible(6, 4, 32, 0.5)
    same_bits(masks(a, 6, 4), masks(b, 6, 4))
    b(np.zeros((6, 4, 1)))
    b.record(np.zeros((6, 4, 1)))
    same_bits(masks(a, 6, 4), masks(b, 6, 4))


def test_a_mask_does_not_depend_on_batch_length_or_threads():
    """Nor does it depend on the number of steps, lengths, dtype or checkpoints."""
    full = masks(visible(9, 5, 33, 0.5), 9, 5)
    same_bits(masks(visible(9, 5, 33, 0.5), 4, 3), full[:, :4, :3])
    same_bits(masks(visible(9, 5, 33, 0.5), 9, 5, lengths=[9] * 5), full)
    same_bits(masks(visible(9, 5, 33, 0.5), 9, 5, checkpoint_every=2), full)
    single = masks(visible(9, 5, 33, 0.5, dtype="float32"), 9, 5)
    assert np.array_equal(single == 0, full == 0)
    with rc.threads(2):
        same_bits(masks(visible(9, 5, 33, 0.5), 9, 5), full)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
def test_values_and_gradients_under_the_masks(cell, both, rng):
    """The twin gives the same numbers with the masks that the ReLU stack shows."""
    T, B, H, lengths = 6, 4, 7, np.array([6, 2, 0, 5])
    layer = make(cell, 3, H, 2, dropout=0.4, bidirectional=both, dtype="float64")
    shower = visible(T, B, H, 0.4, both=both).record(np.zeros((T, B, 1)), train=True)
    shown = [shower["l1.h"]] + ([shower["l1.reverse.h"]] if both else [])
    mask = {1: np.concatenate(shown, axis=-1)}
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    cot = random_cotangents(layer, T, B, rng)
    twin = Twin.of(layer)
    run = twin.forward(x, parts(s0), lengths, mask)
    expected = twin.backward(run, cot[0], parts(cot[1]))
    tape = layer.record(x, s0, lengths=lengths, train=True)
    grads = tape.backward(*cot)
    close(tape.output, run.output, "float64")
    close(grads.input, expected.input, "float64")
    all_close(grads.state, expected.state, "float64")
    all_close(grads.parameters, expected.parameters, "float64")
    for name in tape.names("*"):
        close(tape.grad[name], expected.values[name], "float64")
