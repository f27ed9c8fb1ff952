"""All functions that take the name of a cell accept the same names for the same cells."""

import numpy as np
import pytest

from rnncore.command.cli import main
from rnncore.models import Recurrent, SequenceClassifier
from rnncore.nn import CELLS, make_layer, make_model, sequence_model
from rnncore.recurrent import descriptions
from rnncore.tasks import Adding
from rnncore.train import load_model

WORDS = ["abab", "baba", "aab", "bba"] * 3
# name -> the kernel of its cell
NAMES = {name: cell.kernel for name, cell in CELLS.items()} | {
    "rnn": "rnn_tanh", "RNN": "rnn_tanh", "GRU": "gru", "Lstm": "lstm", "RNN-ReLU": "rnn_relu",
    "GRU-reset-before": "gru_reset_before",
}  # fmt: skip


def by_command(name):
    """The layer that `rnncore train` creates, in a folder of its own."""
    with open("text", "w") as file:
        file.write("the cat sat on the mat. " * 20)
    small = ["--hidden", "2", "--batch", "2", "--window", "5", "--steps", "1"]
    assert main(["train", "text", "--cell", name, *small, "--out", "model"]) == 0
    return load_model("model")[0].layer


LAYERS = {
    "make_layer": lambda name: make_layer(name, 3, 2),
    "make_model": lambda name: make_model(name, 1, features=3, hidden_size=2, loss="mse").layer,
    "sequence_model": lambda name: sequence_model(name, 3, hidden_size=2).layer,
    "Task.network": lambda name: Adding(10).network(name, 2).layer,
    "Recurrent": lambda name: Recurrent(name, 2, epochs=1).fit(WORDS).network_.layer,
    "SequenceClassifier": lambda name: SequenceClassifier(name, 2, epochs=1).fit(
        WORDS, [word[0] for word in WORDS]).network_.layer,
    "rnncore train": by_command,
}  # fmt: skip


@pytest.mark.parametrize("way", LAYERS)
def test_all_functions_accept_all_names_of_cells(way, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, kernel in NAMES.items():
        assert LAYERS[way](name).cell is descriptions.of_kernel(kernel), name
        (tmp_path / "model").unlink(missing_ok=True)


@pytest.mark.parametrize("way", LAYERS)
@pytest.mark.parametrize("name", ["elman", "gru_reset_before", "rnn tanh"])
def test_all_functions_refuse_other_names(way, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, SystemExit)) as refused:
        LAYERS[way](name)
    said = str(refused.value) + capsys.readouterr().err
    assert f"got {name!r}, expected one of 'rnn', 'gru', 'lstm', 'rnn-tanh'" in said


def test_every_cell_has_a_name():
    assert {cell.kernel for cell in CELLS.values()} == set(descriptions._BY_KERNEL)
    assert [cell.name for cell in CELLS.values()] == list(CELLS)


@pytest.mark.parametrize("options", [{"proj_size": 3}, {"bidirectional": True, "proj_size": 2}, {"peepholes": True}])
def test_options_of_the_layer(options):
    model = make_model("lstm", 7, tokens=11, hidden_size=5, num_layers=2, seed=0, **options)
    assert all(getattr(model.layer, name) == value for name, value in options.items())
    assert model.head.in_features == model.layer.structure.features
    assert model(np.random.default_rng(0).integers(11, size=(4, 3)))[0].shape == (4, 3, 7)
    with pytest.raises(TypeError, match=r"GRU.*proj_size"):
        make_model("gru", 2, features=3, proj_size=2)


def test_a_model_of_the_next_token_has_no_reverse_direction():
    assert sequence_model("lstm", 11, hidden_size=5, proj_size=3, seed=0).layer.proj_size == 3
    with pytest.raises(ValueError, match=r"bidirectional: got True, .*make_model\('lstm', labels, tokens=11"):
        sequence_model("lstm", 11, bidirectional=True)
