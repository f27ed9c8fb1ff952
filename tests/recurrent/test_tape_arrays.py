"""The tape's names and arrays: complete, ordered by input time, read-only, and independent of returned gradients."""

import numpy as np
import pytest
from support import KINDS, PROJECTED, make, parts, random_cotangents, random_input, random_state, same_bits

NAMES = {"RNN": ["h"], "GRU": ["h", "r", "z", "n", "hn"], "LSTM": ["h", "c", "i", "f", "g", "o"]}
T, B, I, H = 6, 4, 3, 5


def recorded(cell, rng, both=True, **options):
    layer = make(cell, I, H, 2, bidirectional=both)
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    return layer.record(x, s0, **options), x, s0


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("both", [False, True])
def test_a_tape_has_the_names_of_its_cell_for_every_layer(cell, both, rng):
    tape, *_ = recorded(cell, rng, both)
    own = NAMES[tape.mode]
    places = [f"l{k}{d}" for k in range(2) for d in ("", ".reverse")[: 1 + both]]
    expected = [f"{p}.{n}" for p in places for n in own]
    assert sorted(tape.names("*")) == sorted(expected)
    for n in own:  # in layer order, forward before reverse
        assert list(tape.names(f"*.{n}")) == [f"{p}.{n}" for p in places]
    assert list(tape.names("l1.h")) == ["l1.h"]
    assert set(tape.names("l1*.h")) == {p + ".h" for p in places if p.startswith("l1")}
    assert list(tape.names("*.nonsense")) == []
    for name in expected:
        assert name in tape
        assert tape[name].shape == (T, B, H // 2 if cell == PROJECTED and name.endswith(".h") else H)
        assert tape[name].dtype == np.float32
    assert "l2.h" not in tape
    assert "l0.x" not in tape


def test_a_tape_of_one_direction_has_no_reverse_names(rng):
    tape, *_ = recorded("gru", rng, both=False)
    assert "l0.reverse.h" not in tape
    with pytest.raises(KeyError):
        tape["l0.reverse.h"]


@pytest.mark.parametrize("name", ["l0.forget", "l7.h", "h", "", "l0.c"])
def test_an_unknown_name_is_refused_with_all_names(name, rng):
    tape, *_ = recorded("gru", rng)
    with pytest.raises(KeyError) as e:
        tape[name]
    assert "l0.h" in str(e.value), "the error should say what there is"
    tape.backward(tape.output)
    with pytest.raises(KeyError):
        tape.grad[name]


@pytest.mark.parametrize("cell", KINDS)
def test_input_initial_state_and_lengths_are_those_given(cell, rng):
    tape, x, s0 = recorded(cell, rng)
    assert (tape.mode, tape.dtype, tape.T, tape.B) == (tape.layer.mode, np.float32, T, B)
    same_bits(tape.input, x)
    same_bits(tape.initial, s0)
    same_bits(tape.lengths, np.full(B, T, np.int64))
    tape = tape.layer.record(x, lengths=[3, 0, 6, 1])
    same_bits(tape.lengths, np.array([3, 0, 6, 1], np.int64))
    shapes = [(4, B, H // 2 if cell == PROJECTED else H), (4, B, H)][: len(tape.cell.states)]
    assert [a.shape for a in parts(tape.initial)] == shapes
    assert not any(a.any() for a in parts(tape.initial))
    assert isinstance(tape.initial, tuple) == (tape.mode == "LSTM")


@pytest.mark.parametrize("cell", KINDS)
def test_the_arrays_of_h_and_c_equal_output_and_state(cell, rng):
    """The top layer's h is the output, and the last h and c are the final state, ordered by input time."""
    tape, *_ = recorded(cell, rng)
    same_bits(np.concatenate([tape["l1.h"], tape["l1.reverse.h"]], axis=-1), tape.output)
    for p, n in enumerate("hc"[: len(parts(tape.state))]):
        for k in range(2):
            same_bits(tape[f"l{k}.{n}"][-1], parts(tape.state)[p][2 * k])
            same_bits(tape[f"l{k}.reverse.{n}"][0], parts(tape.state)[p][2 * k + 1])


@pytest.mark.parametrize("cell", KINDS)
def test_states_past_the_end_are_zero(cell, rng):
    lengths = np.array([3, 0, 6, 1])
    tape, *_ = recorded(cell, rng, lengths=lengths)
    past = np.arange(T)[:, None] >= lengths
    assert not tape.output[past].any()
    for name in tape.names("*.h"):
        assert not tape[name][past].any(), name


@pytest.mark.parametrize("cell", KINDS)
def test_arrays_are_read_only_views(cell, rng):
    tape, *_ = recorded(cell, rng)
    tape.backward(tape.output)
    named = [(n, tape[n]) for n in tape.names("*")] + [
        (f"grad {n}", tape.grad[n]) for n in tape.names("*")
    ]
    named += [("output", tape.output), ("input", tape.input), ("lengths", tape.lengths)]
    named += [("state", a) for a in parts(tape.state)] + [
        ("initial", a) for a in parts(tape.initial)
    ]
    for name, a in named:
        assert not a.flags.writeable, name
        with pytest.raises(ValueError, match="read-only"):
            a[...] = 0
    for n in tape.names("*"):
        assert np.shares_memory(tape[n], tape[n]), "asking twice copies nothing"


@pytest.mark.parametrize("cell", KINDS)
def test_grad_is_empty_before_backward(cell, rng):
    tape, *_ = recorded(cell, rng)
    with pytest.raises(KeyError, match="backward"):
        tape.grad["l0.h"]


@pytest.mark.parametrize("cell", KINDS)
def test_backward_overwrites_grad_but_not_returned_gradients(cell, rng):
    tape, *_ = recorded(cell, rng)
    a, b = (random_cotangents(tape.layer, T, B, rng) for _ in range(2))
    first = tape.backward(*a)
    on_tape = {n: tape.grad[n].copy() for n in tape.names("*")}
    kept = [v.copy() for v in (first.input, *parts(first.state), *first.parameters.values())]
    second = tape.backward(*b)
    assert not any(np.array_equal(tape.grad[n], on_tape[n]) for n in on_tape)
    same_bits(tuple(kept), (first.input, *parts(first.state), *first.parameters.values()))
    own = [second.input, *parts(second.state), *second.parameters.values()]
    lent = [tape.grad[n] for n in on_tape] + [tape.input, *parts(tape.initial)]
    assert not any(np.shares_memory(v, w) for v in own for w in lent)
    assert all(v.flags.writeable for v in own)
    tape.backward(*a)
    same_bits({n: tape.grad[n] for n in on_tape}, on_tape)


@pytest.mark.parametrize("cell", KINDS)
def test_backward_does_not_change_the_recorded_values(cell, rng):
    tape, *_ = recorded(cell, rng)
    before = {n: tape[n].copy() for n in tape.names("*")} | {"output": tape.output.copy()}
    tape.backward(*random_cotangents(tape.layer, T, B, rng))
    same_bits({n: tape[n] for n in tape.names("*")} | {"output": tape.output}, before)


@pytest.mark.parametrize("cell", KINDS)
def test_parameters_can_be_left_out(cell, rng):
    tape, *_ = recorded(cell, rng)
    cot = random_cotangents(tape.layer, T, B, rng)
    full, lean = tape.backward(*cot), tape.backward(*cot, parameters=False)
    same_bits((full.input, full.state), (lean.input, lean.state))
    assert not lean.parameters
    assert set(full.parameters) == set(tape.layer.state_dict())


def test_two_tapes_of_one_layer_are_independent(rng):
    """Recording again does not change an earlier tape."""
    layer = make("lstm", I, H, 2)
    x = [random_input(layer, T, B, rng) for _ in range(2)]
    g = random_cotangents(layer, T, B, rng)
    alone = layer.record(x[0]).backward(*g)
    a = layer.record(x[0])
    b = layer.record(x[1])
    b.backward(*g)
    same_bits(a.backward(*g).input, alone.input)
    same_bits(a.backward(*g).parameters, alone.parameters)


def test_the_tape_keeps_a_copy_of_lengths(rng):
    layer = make("gru", 3, 5)
    x, g = rng.standard_normal((6, 2, 3)), rng.standard_normal((6, 2, 5))
    lengths = np.array([6, 2], np.intp)
    expected = layer.record(x, lengths=[6, 2]).backward(g).input
    tape = layer.record(x, lengths=lengths)
    lengths[:] = 1
    np.testing.assert_array_equal(tape.backward(g).input, expected)
    assert tape.lengths.tolist() == [6, 2]
