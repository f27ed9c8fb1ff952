"""A pass on plain arrays is recorded, and walked back, as one call of the engine; any other goes through Python.

A pass with resets takes the way through Python, which is the judge here, with resets that mark no step.
"""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import KINDS, everything, make, parts, random_cotangents, random_input, random_state, same_bits, whole

import rnncore as rc
from rnncore import _engine
from rnncore.nn import Embedding, Linear, SequenceModel
from rnncore.recurrent import lookup
from rnncore.recurrent.dropout import Masks
from rnncore.recurrent.passes import Walk

VARIANTS = {
    "peepholes": lambda **o: rc.LSTM(3, 5, 2, seed=1, peepholes=True, cell_clip=0.4, **o),
    "coupled": lambda **o: rc.LSTM(3, 5, 2, seed=1, coupled=True, **o),
    "hard sigmoid": lambda **o: rc.GRU(3, 5, 2, seed=1, activations=("hardsigmoid", "tanh"), **o),
    "softsign": lambda **o: rc.RNN(3, 5, 2, seed=1, activations=("softsign",), **o),
    "no bias": lambda **o: rc.LSTM(3, 5, 2, seed=1, bias=False, **o),
}


def stack(kind, rng):
    """Two layers in both directions, an input of 7 steps and 3 rows, and cotangents."""
    layer = make(kind, 3, 6, 2, bidirectional=True)
    return layer, random_input(layer, 7, 3, rng), *random_cotangents(layer, 7, 3, rng)


def both_ways(layer, x, state, g, grad_state, lengths=None):
    """The tapes of the two ways, and their gradients."""
    judge = layer.record(x, state, lengths, reset=np.zeros(x.shape[:-1], bool))
    tape = layer.record(x, state, lengths)
    assert tape._recorded is not None
    assert judge._recorded is None
    return (tape, tape.backward(g, grad_state)), (judge, judge.backward(g, grad_state))


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from([*KINDS, *VARIANTS]), layout=st.sampled_from(["time first", "batch first", "one row"]),
       both=st.booleans(), dtype=st.sampled_from(["float32", "float64"]), T=st.integers(1, 70), B=st.integers(1, 9),
       starts=st.booleans(), ends=st.sampled_from(["output", "state", "both"]),
       rows=st.sampled_from(["full", "unequal", "unequal", "mostly padding"]), seed=st.integers(0, 999))
def test_both_ways_have_the_same_bits(kind, layout, both, dtype, T, B, starts, ends, rows, seed):
    rng = np.random.default_rng(seed)
    options = {"bidirectional": both, "dtype": dtype, "batch_first": layout == "batch first"}
    layer = VARIANTS[kind](**options) if kind in VARIANTS else make(kind, 3, 5, 2, **options)
    B = 1 if layout == "one row" else B
    x, state, (g, grad_state) = random_input(layer, T, B, rng), None, random_cotangents(layer, T, B, rng)
    if starts:
        state = random_state(layer, B, rng)
    if layout == "batch first":
        x, g = (np.ascontiguousarray(a.swapaxes(0, 1)) for a in (x, g))
    if layout == "one row":
        x, g = x[:, 0].copy(), g[:, 0].copy()
        state, grad_state = (None if s is None else whole(layer, [part[:, 0].copy() for part in parts(s)])
                             for s in (state, grad_state))
    lengths = None if rows == "full" else rng.integers(0, (T if rows == "unequal" else T // 9) + 1, B)
    if lengths is not None:
        lengths[0] = max(lengths[0], 1)             # without a step at all it is left to Python
        lengths = int(lengths[0]) if layout == "one row" else lengths.tolist() if rows == "unequal" else lengths
    ours, judge = both_ways(layer, x, state, None if ends == "state" else g, None if ends == "output" else grad_state,
                            lengths)
    x[...] = np.nan                                 # the tape has its own copy
    assert ours[1].input.shape == x.shape
    same_bits(everything(*ours), everything(*judge))
    same_bits(ours[0].input, judge[0].input)
    same_bits(ours[0].lengths, judge[0].lengths)
    assert (ours[0].T, ours[0].B) == (judge[0].T, judge[0].B)
    same_bits(parts(ours[0].initial), parts(judge[0].initial))
    for name, array in ours[1].parameters.items():
        assert array.flags.c_contiguous, name
        assert array.flags.writeable, name


@pytest.mark.parametrize("lengths", [None, [4, 7, 0]])
@pytest.mark.parametrize("kind", KINDS)
def test_what_else_a_tape_can_do(kind, lengths, rng):
    """Passes after the first one, without parameters, for several cotangents, pickled, copied, and the pullback."""
    layer, x, g, grad_state = stack(kind, rng)
    (tape, first), (judge, expected) = both_ways(layer, x, None, g, grad_state, lengths)
    one = pickle.loads(pickle.dumps(tape))          # before anything is read by name
    same_bits(one.backward(g, grad_state).parameters, expected.parameters)
    assert one.nbytes > 0
    assert abs(tape.nbytes / judge.nbytes - 1) < 0.2
    for again in (tape.backward(g, grad_state), tape.backward(g.tolist(), list(parts(grad_state)) if isinstance(
            grad_state, tuple) else grad_state), layer.record(x, lengths=lengths).backward(g[:], grad_state)):
        same_bits(everything(judge, again) | {"input": again.input}, everything(judge, expected))
        same_bits(again.parameters, first.parameters)
    without = layer.record(x, lengths=lengths)
    found = without.backward(g, grad_state, parameters=False)
    assert found.parameters == {}
    same_bits(found.input, expected.input)
    same_bits(without.grad["l0.reverse.h"], judge.grad["l0.reverse.h"])
    many = np.stack([g, 2 * g])
    for parameters in (None, True):
        a, b = (one.backward(many, parameters=parameters) for one in (layer.record(x, lengths=lengths), judge))
        same_bits(a.input, b.input)
        same_bits(a.parameters, b.parameters)
    for other in (pickle.loads(pickle.dumps(tape)), copy.deepcopy(tape)):
        same_bits(other["l1.h"], judge["l1.h"])
        same_bits(other.backward(g, grad_state).parameters, expected.parameters)
    for one, other in zip(layer.record(x, lengths=lengths).pullback(every=3), judge.pullback(every=3), strict=True):
        same_bits(one.value, other.value)


@pytest.mark.parametrize("lengths", [None, [4, 7, 0]])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_on_arrays_of_the_engine_s_form(kind, lengths, rng):
    """What the layers of torch and the models call."""
    layer, x, g, grad_state = stack(kind, rng)
    judge = layer.record(x, lengths=lengths, reset=np.zeros(x.shape[:2], bool))
    wide = np.full((*g.shape[:2], 2 * g.shape[2]), np.nan, g.dtype)
    wide[:, :, :g.shape[2]] = g
    for grad_input in (True, False):
        for parameters in (True, False):
            found = []
            for tape, cotangent in ((layer.record(x, lengths=lengths), wide[:, :, :g.shape[2]]), (judge, g)):
                carry = [part.copy() for part in parts(grad_state)]
                found.append((tape.backward_on(cotangent, carry, grad_input=grad_input, parameters=parameters), carry))
            (ours, carry), (expected, expected_carry) = found
            same_bits(tuple(carry), tuple(expected_carry))
            same_bits(ours[1], expected[1])
            assert (ours[0] is None) == (not grad_input)
            if grad_input:
                same_bits(ours[0], expected[0])
    if lengths is not None:
        tape = layer.record(x, lengths=lengths)
        carry = [part.copy() for part in parts(grad_state)]
        active, _ = tape.backward_on(tape.batch.gather(g), carry, active_rows_alone=True)
        same_bits(tape.batch.spread(active), expected_input := judge.backward(g, grad_state).input)
        assert expected_input.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_models_that_look_up_their_tokens(kind, batch_first, ragged, monkeypatch, rng):
    monkeypatch.setattr(lookup, "LEAST_SAVED", 0)
    layer = make(kind, 4, 6, 2, bidirectional=True, batch_first=batch_first)
    model = SequenceModel(Embedding(5, 4, seed=1), layer, Linear(layer.structure.features, 3, seed=2))
    tokens, targets = (rng.integers(0, n, (8, 9)) for n in (4, 3))
    lengths = rng.integers(4, 9, 8 if batch_first else 9) if ragged else None
    found = []
    for reset in (None, np.zeros(tokens.shape, bool)):
        record = model.record(tokens, lengths=lengths, reset=reset)
        assert record.tape.has_lookup
        assert (record.tape._recorded is None) == (reset is not None)
        found.append((record, record.backward(model.loss(record.output, targets)[1])))
    (ours, grads), (judge, expected) = found
    same_bits(ours.output, judge.output)
    same_bits(grads.parameters, expected.parameters)
    same_bits(ours.tape["l1.reverse.h"], judge.tape["l1.reverse.h"])
    same_bits(ours.tape.grad["l0.h"], judge.tape.grad["l0.h"])


def test_dropout_goes_through_python(rng):
    layer = rc.GRU(3, 5, 2, dropout=0.5, seed=0)
    x = random_input(layer, 6, 2, rng)
    assert layer.record(x)._recorded is not None
    assert layer.record(x, train=True)._recorded is None
    same_bits(layer.record_on(layer.packed(), x, train=True, masks=Masks(3)).output,
              layer.record_on(layer.packed(), x, train=True, masks=Masks(3), lengths=[6, 6]).output)


@pytest.mark.parametrize("wrong", [
    {"x": np.ones((4, 2, 4), "f")}, {"x": np.ones((4, 2, 3))}, {"x": np.ones((4, 2, 6), "f")[:, :, ::2]},
    {"x": np.ones((0, 2, 3), "f")}, {"x": np.ones((4, 0, 3), "f")}, {"x": np.ones(3, "f")}, {"x": [[[1.0, 2, 3]]]},
    {"x": np.ma.masked_array(np.ones((4, 2, 3), "f"))}, {"state": [np.ones((1, 2, 5), "f")] * 2},
    {"state": (np.ones((1, 2, 5), "f"),)}, {"state": (np.ones((1, 3, 5), "f"), None)},
    {"state": (None, np.ones((1, 2, 5)))}])
def test_the_engine_leaves_to_python_what_it_cannot_take(wrong):
    layer = rc.LSTM(3, 5, seed=0)
    given = {"x": np.ones((4, 2, 3), "f"), "state": None} | wrong
    assert _engine.record(layer.packed().weights, given["x"], given["state"], 1, False, None, None) is None


@pytest.mark.parametrize("wrong", [
    {"g": np.ones((4, 2, 6), "f")}, {"g": np.ones((4, 2, 5))}, {"g": np.ones((2, 4, 5), "f")},
    {"g": np.ones((8, 5), "f")}, {"g": np.ones((1, 4, 2, 5), "f")}, {"g": np.ones((5, 2, 4), "f").T},
    {"state": np.ones((1, 2, 5), "f")}, {"state": (np.ones((2, 2, 5), "f"), None)}])
def test_so_it_does_with_cotangents(wrong):
    layer = rc.LSTM(3, 5, seed=0)
    tape, structure = layer.record(np.ones((4, 2, 3), "f")), layer.structure
    given = {"g": np.ones((4, 2, 5), "f"), "state": None} | wrong
    assert _engine.backward_recorded(tape.packed(), tape._recorded, None, given["g"], given["state"], True, False,
                                     structure.engine_order, structure.shapes) is None


@pytest.mark.parametrize("wrong", [{"parameters": 1}, {"parameters": "yes"}])
def test_a_flag_is_checked(wrong):
    tape = rc.GRU(3, 5, seed=0).record(np.ones((4, 2, 3), "f"))
    with pytest.raises(TypeError, match="parameters"):
        tape.backward(np.ones((4, 2, 5), "f"), **wrong)
    with pytest.raises(ValueError, match="neither"):
        tape.backward()
    assert not tape._last


def test_a_walk_refuses_sums_that_are_not_set_up():
    tape = rc.GRU(3, 5, seed=0).record(np.ones((4, 2, 3), "f"))
    walk = Walk(tape.packed()[0], tape._passes[0], [np.zeros((1, 2, 5), "f")], 0, np.ones((4, 2, 5), "f"), None)
    walk.sums = _engine.Sums()
    with pytest.raises(ValueError, match="not set up"):
        _engine.backward(walk)
