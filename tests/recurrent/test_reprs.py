"""What people see: the repr of every object, completion of names, and the public names of each package."""

import numpy as np
import pytest

import rnncore as rc
from rnncore.nn import Dropout, Embedding, Linear, sequence_model
from rnncore.optim import SGD, Adam
from rnncore.train import Trainer


@pytest.fixture
def tape():
    return rc.LSTM(3, 4, 2, seed=0).record(np.ones((5, 2, 3)), lengths=[5, 3])


def test_a_tape_shows_its_layer_sizes_and_names(tape):
    shown = "<Tape of LSTM(3, 4, num_layers=2, dtype='float32'): T=5, B=2, ragged; h, c, i, f, g, o of l0, l1; "
    assert repr(tape) == shown + "no gradients yet>"
    tape.backward(np.ones_like(tape.output))
    assert repr(tape) == shown + "gradients in .grad>"


def test_the_tapes_gradients_show_their_names(tape):
    assert repr(tape.grad) == "<arrays by name: no gradient yet; call tape.backward(grad_output) first>"
    tape.backward(np.ones_like(tape.output))
    assert repr(tape.grad) == "<arrays by name: h, c, i, f, g, o of l0, l1>"


def test_gradients_show_shapes_and_no_values(tape):
    assert repr(tape.backward(np.ones_like(tape.output))) == (
        "<Gradients: input (5, 2, 3); state (2, 2, 4), (2, 2, 4); parameters weight_ih_l0 (16, 3), "
        "weight_hh_l0 (16, 4), bias_ih_l0 (16,), bias_hh_l0 (16,) and 4 more>")
    assert repr(tape.backward(np.ones_like(tape.output), parameters=False)).endswith("parameters not requested>")


def test_a_pullback_and_its_carry_show_their_sizes():
    pullback = rc.GRU(3, 4).record(np.ones((5, 2, 3))).pullback(np.ones((1, 2, 4)), every=2)
    assert repr(pullback) == "<Pullback: T=5, K=1 cotangents, B=2, S=4, every=2>"
    assert repr(next(pullback)) == "<Carry before step 3: K=1 cotangents, B=2, S=4>"


def test_layers_cells_and_streams_show_their_settings():
    assert repr(rc.RNN(3, 4, nonlinearity="relu")) == "RNN(3, 4, nonlinearity='relu', dtype='float32')"
    assert repr(rc.GRUCell(3, 4, bias=False)) == "GRUCell(3, 4, bias=False, dtype='float32')"
    assert repr(rc.LSTM(3, 4).stream(2)) == "<Stream of LSTM(3, 4, dtype='float32'): batch_size=2>"
    assert repr(rc.RNNCell(3, 4).record(np.ones((2, 3)))) == (
        "<CellTape of RNN(3, 4, dtype='float32'): B=2; h; no gradients yet>")
    assert repr(rc.GRU(3, 4).cell).startswith("<Description of GRU: h_t = ")


def test_writable_weights_show_names_and_shapes():
    with rc.RNN(3, 4, bias=False).writable() as weights:
        assert repr(weights) == "<writable weights: weight_ih_l0 (4, 3), weight_hh_l0 (4, 4)>"


def test_layers_of_nn_and_their_records_show_their_sizes():
    assert repr(Embedding(5, 3)) == "Embedding(5, 3, dtype='float32')"
    assert repr(Linear(3, 2, bias=False)) == "Linear(3, 2, bias=False, dtype='float32')"
    assert repr(Dropout(0.25)) == "Dropout(0.25)"
    assert repr(Linear(3, 2).record(np.ones((7, 3)))) == "<Record of Linear(3, 2, dtype='float32'): output (7, 2)>"


def test_a_model_an_optimiser_and_a_trainer_show_what_they_are_made_of():
    model = sequence_model("gru", 5, hidden_size=4, embedding_size=3, seed=0)
    assert repr(model) == (
        "SequenceModel(Embedding(5, 3, dtype='float32'), GRU(3, 4, dtype='float32'), Linear(4, 5, dtype='float32'), "
        "loss='cross_entropy', readout='steps')")
    tokens = np.arange(10).reshape(5, 2) % 5
    assert repr(model.record(tokens)).startswith("<SequenceRecord: output (5, 2, 5); <Tape of GRU(3, 4, ")
    optimiser = SGD(model, lr=0.5)
    shown = ("<SGD of SequenceModel with 148 weights: lr=0.5, momentum=0.0, nesterov=False, weight_decay=0.0; "
             "0 steps done>")
    assert repr(optimiser) == shown
    trainer = Trainer(model, optimiser, [(tokens, tokens)])
    told = "0 updates done; 1 windows, state not carried, max_norm=1"
    assert repr(trainer) == f"<Trainer of SequenceModel: {told}; {shown}>"
    trainer.fit(1, progress=False)
    assert "1 updates done, last loss " in repr(trainer)
    assert "1 steps done" in repr(optimiser)
    assert repr(Adam(model)).startswith("<Adam of SequenceModel with 148 weights: lr=0.001, betas=(0.9, 0.999), ")


def test_names_in_brackets_are_completed(tape):
    assert tape._ipython_key_completions_() == tape.names()
    assert tape.grad._ipython_key_completions_() == []
    tape.backward(np.ones_like(tape.output))
    assert tape.grad._ipython_key_completions_() == tape.names()
    step = rc.GRUCell(3, 4).record(np.ones((2, 3)))
    assert step._ipython_key_completions_() == ["h", "r", "z", "n", "hn"]
    with tape.layer.writable() as weights:
        assert weights._ipython_key_completions_() == list(tape.layer.state_dict())


@pytest.mark.parametrize("package", [rc, rc.init, rc.nn, rc.optim, rc.train])
def test_dir_lists_public_names_only(package):
    assert dir(package) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)
