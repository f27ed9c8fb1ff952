"""Descriptions agree with the kernels' table and with what the layers do, and wrong descriptions are refused."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

import rnncore as rc
from rnncore import _engine
from rnncore.recurrent import descriptions
from rnncore.recurrent.cells import cell_class
from rnncore.recurrent.layers import _made, layer_class

ALL = [descriptions.of_kernel(kernel) for kernel in _engine.cell_names()]


def layer_of(cell, *sizes, **options):
    return layer_class(cell.mode)(*sizes, **cell.options, **options)


@pytest.mark.parametrize("cell", ALL, ids=lambda cell: cell.kernel)
def test_a_layer_is_what_its_description_says(cell, rng):
    layer = layer_of(cell, 3, 5, num_layers=2, bidirectional=True, dtype="float64", seed=0)
    assert layer.cell is cell
    assert layer.mode == cell.mode
    assert {name: weight.shape for name, weight in layer.state_dict().items()} == layer.structure.shapes
    tape = layer.record(rng.standard_normal((4, 2, 3)))
    assert tape.cell is cell
    assert tape.names("l1.reverse.*") == [f"l1.reverse.{name}" for name in cell.names]
    for gate in cell.gates:
        values = tape[f"l0.{gate.name}"]
        if gate.curve == "sigmoid":
            assert (values > 0).all()
            assert (values < 1).all()
        elif gate.curve == "tanh":
            assert (np.abs(values) < 1).all()
            assert (values < 0).any()


@pytest.mark.parametrize("cell", ALL, ids=lambda cell: cell.kernel)
@pytest.mark.parametrize("kind", ["blocks_ih", "blocks_hh"])
def test_blocks_of_weights_feed_the_described_gates(cell, kind, rng):
    """Raising one block's bias changes the gate that it feeds, and what the step computes from that gate."""
    layer = layer_of(cell, 2, 4, dtype="float64", seed=0)
    x, state = rng.standard_normal((1, 3, 2)), rng.standard_normal((len(cell.states), 1, 3, 4))
    state = tuple(state) if len(state) > 1 else state[0]
    before = layer.record(x, state)
    bias = "bias_ih_l0" if kind == "blocks_ih" else "bias_hh_l0"
    for number, block in enumerate(getattr(cell, kind)):
        with layer.writable() as weights:
            weights[bias][number * 4:number * 4 + 4] += 0.25
        after = layer.record(x, state)
        with layer.writable() as weights:
            weights[bias][number * 4:number * 4 + 4] -= 0.25
        changed = {name for name in cell.names if not np.array_equal(before[f"l0.{name}"], after[f"l0.{name}"])}
        assert block in changed
        first = min(cell.order.index(name) for name in changed)
        assert cell.order[first] == block


@pytest.mark.parametrize("cell", ALL, ids=lambda cell: cell.kernel)
def test_the_kept_share_is_the_derivative_of_the_state(cell, rng):
    """With all pre-activations held fixed, the derivative of a unit's state by its old state is the kept share."""
    layer = layer_of(cell, 2, 4, dtype="float64", seed=0)
    with layer.writable() as weights:
        weights["weight_hh_l0"][...] = 0                    # the state reaches the next one by its own gate alone
    tape = layer.record(rng.standard_normal((1, 3, 2)))
    carry, eye = next(tape.pullback()), slice(-4, None)     # of the last state: c, or h
    own = np.einsum("kbk->bk", carry.value[eye, :, eye])
    kept = cell.kept({name: tape[f"l0.{name}"][0] for name in cell.names})
    np.testing.assert_allclose(own, 0 if kept is None else kept, rtol=1e-12)


def test_copies_and_pickles_refer_to_the_same_description():
    layer = rc.GRU(2, 3, reset_after=False)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.cell is layer.cell


def test_every_mode_lists_its_options_with_the_default_first():
    assert descriptions.modes()[:1] == ("RNN",)
    assert set(descriptions.choices("RNN")["nonlinearity"]) == {"tanh", "relu", "sigmoid"}
    assert descriptions.choices("LSTM") == {}
    assert descriptions.find("GRU") is descriptions.CELLS["gru"]
    assert descriptions.find("GRU", reset_after=False).kernel == "gru_reset_before"


@pytest.mark.parametrize(("mode", "options", "error", "said"), [
    ("RNN", {"nonlinearity": "selu"}, ValueError, "nonlinearity: got 'selu', expected .*'tanh'"),
    ("RNN", {"nonlinearity": None}, ValueError, "nonlinearity: got None"),
    ("GRU", {"reset_after": 1}, TypeError, "reset_after: got 1, expected True or False"),
    ("LSTM", {"reset_after": True}, TypeError, "LSTM: got reset_after=True, expected peepholes or coupled"),
])
def test_options_that_choose_no_cell_are_refused(mode, options, error, said):
    with pytest.raises(error, match=said):
        descriptions.find(mode, **options)


LSTM, GRU, BEFORE = (descriptions.of_kernel(name) for name in ("lstm", "gru", "gru_reset_before"))
WRONG = {
    "a state is missing": (replace(LSTM, states=("h",)), "states"),
    "a state of another name": (replace(LSTM, states=("h", "m"), order=("i", "f", "g", "o", "m", "h")), "states"),
    "blocks in another order": (replace(LSTM, blocks_ih=("f", "i", "g", "o")), "blocks_ih"),
    "blocks of the state in another order": (replace(GRU, blocks_hh=("z", "r", "hn")), "blocks_hh"),
    "a block too many": (replace(GRU, blocks_hh=("r", "z", "hn", "n")), "blocks_ih"),
    "two gates in one slot": (replace(GRU, gates=(*GRU.gates[:3], GRU.gates[3]._replace(slot=0))), "slots"),
    "a gate is missing": (replace(LSTM, gates=LSTM.gates[:3]), "slots"),
    "the reset gate's product is not said": (replace(BEFORE, operands={}), "operands"),
    "... or is not there": (replace(GRU, operands={"hn": "r"}), "operands"),
    "the order forgets a gate": (replace(LSTM, order=("i", "f", "g", "c", "h")), "order"),
    "the order of the way back, too": (replace(LSTM, order_back=("h", "c")), "order_back"),
    "a gate that keeps, and is none": (replace(LSTM, keeps="q"), "keeps"),
    "a sum that keeps": (replace(GRU, keeps="hn"), "keeps"),
    "a gate that lets in, and is none": (replace(LSTM, enters="q"), "enters"),
    "a candidate that no weights make": (replace(GRU, candidate="hn"), "candidate"),
    "an operand that is no gate": (replace(BEFORE, operands={"hn": "q"}), "operands"),
    "a curve that nobody knows": (replace(LSTM, curve="selu"), "curve"),
    "a gate's curve, too": (replace(LSTM, gates=(*LSTM.gates[:3], LSTM.gates[3]._replace(curve="relu"))), "gates"),
    "capitals in a name": (replace(LSTM, name="LSTM"), "name"),
}


@pytest.mark.parametrize(("wrong", "what"), WRONG.values(), ids=WRONG.keys())
def test_a_description_that_contradicts_the_kernels_is_refused(wrong, what):
    with pytest.raises(ImportError, match=f"description of {wrong.kernel}: got {what} "):
        descriptions._check(wrong)


def test_a_class_created_from_a_description_equals_the_written_one(rng):
    """The classes of this project are written by hand for their docstrings only."""
    made, x = _made("GRU"), rng.standard_normal((5, 2, 3))
    one, other = (kind(3, 4, 2, bidirectional=True, reset_after=False, seed=1) for kind in (made, rc.GRU))
    assert repr(one) == repr(other)
    assert one.options == other.options
    np.testing.assert_array_equal(one(x)[0], other(x)[0])
    with pytest.raises(TypeError, match="nonlinearity"):
        made(3, 4, nonlinearity="tanh")
    with pytest.raises(AttributeError, match="reset_after"):
        one.reset_after = True


@pytest.mark.parametrize("factory", [layer_class, cell_class])
def test_a_mode_without_a_description_is_refused(factory):
    with pytest.raises(ValueError, match="mode: got 'QRNN', expected one of RNN, GRU, LSTM"):
        factory("QRNN")
