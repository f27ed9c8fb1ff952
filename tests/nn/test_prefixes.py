"""Weights under other names: prefixes, files of other programs, and messages about names that do not fit."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from support import close, same_bits

import rnncore as rc
from rnncore.nn import Embedding, Linear, SequenceModel

TOKENS, WIDTH, HIDDEN, OUT = 7, 4, 5, 3
PREFIX = {"words.": "embedding.", "rnn.": "layer.", "fc.": "head."}


class Theirs(torch.nn.Module):
    """A tagger with names of its own."""

    def __init__(self, cell, **options):
        super().__init__()
        self.words = torch.nn.Embedding(TOKENS, WIDTH)
        self.rnn = getattr(torch.nn, cell)(WIDTH, HIDDEN, **options)
        self.fc = torch.nn.Linear(HIDDEN * (2 if options.get("bidirectional") else 1), OUT)

    def forward(self, tokens):
        return self.fc(self.rnn(self.words(tokens))[0])


def ours(cell, dtype="float32", **options):
    layer = getattr(rc, cell)(WIDTH, HIDDEN, dtype=dtype, seed=0, **options)
    head = Linear(HIDDEN * layer.directions, OUT, dtype=dtype, seed=1)
    return SequenceModel(Embedding(TOKENS, WIDTH, dtype=dtype, seed=2), layer, head)


def outputs(theirs, tokens):
    with torch.no_grad():
        return theirs(torch.from_numpy(tokens)).numpy()


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}])
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("way", ["tensors", "file"])
def test_a_torch_model_of_other_names_gives_the_same_outputs(cell, options, way, tmp_path, rng):
    torch.manual_seed(1)
    theirs, model = Theirs(cell, **options), ours(cell, **options)
    state = theirs.state_dict()
    if way == "file":
        save_torch(state, tmp_path / "theirs")
        state = rc.io.read_safetensors(tmp_path / "theirs")
    model.load_state_dict(state, prefix=PREFIX)
    tokens = rng.integers(TOKENS, size=(6, 6))
    close(model(tokens)[0], outputs(theirs, tokens), "float32")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("way", ["tensors", "file"])
def test_weights_of_other_precisions_are_loaded_exactly(kind, way, tmp_path, rng):
    theirs, model = Theirs("LSTM").to(kind), ours("LSTM", dtype="float64")
    state = theirs.state_dict()
    if way == "file":
        save_torch(state, tmp_path / "theirs", metadata={"format": "pt"})
        state = rc.io.read_safetensors(tmp_path / "theirs")
    model.load_state_dict(state, prefix=PREFIX)
    tokens = rng.integers(TOKENS, size=(6, 3))
    close(model(tokens)[0], outputs(theirs.double(), tokens), "float64")


def test_the_longest_prefix_is_replaced_and_other_names_stay():
    model = ours("GRU")
    new = ours("GRU", num_layers=1).state_dict()
    given = {
        name.replace("embedding.", "net.words.").replace("layer.", "net."): array + 1 for name, array in new.items()
    }
    assert "head.weight" in given
    model.load_state_dict(given, prefix={"net.": "layer.", "net.words.": "embedding."})
    same_bits(model.state_dict(), {name: array + 1 for name, array in new.items()})
    with pytest.raises(KeyError, match=r"unexpected: 'layer\.words\.weight'"):
        model.load_state_dict(given, prefix={"net.": "layer."})


@pytest.mark.parametrize("make", [
    lambda: ours("LSTM"), lambda: rc.GRU(2, 3, num_layers=2, seed=0), lambda: rc.LSTMCell(2, 3, seed=0),
    lambda: Linear(2, 3, seed=0), lambda: Embedding(4, 2, seed=0),
])
def test_every_module_takes_a_prefix(make):
    """One string is removed."""
    module = make()
    state = {name: array + 1 for name, array in module.state_dict().items()}
    module.load_state_dict({f"module.{name}": array for name, array in state.items()}, prefix="module.")
    same_bits(module.state_dict(), state)


def test_a_layer_is_loaded_into_a_model_by_the_empty_prefix():
    model, layer = ours("LSTM"), rc.LSTM(WIDTH, HIDDEN, seed=9)
    rest = {name: array for name, array in model.state_dict().items() if not name.startswith("layer.")}
    given = {**layer.state_dict(), **rest}
    model.load_state_dict(given, prefix={"": "layer.", "embedding.": "embedding.", "head.": "head."})
    same_bits(model.layer.state_dict(), layer.state_dict())


@pytest.mark.parametrize(
    ("prefix", "error", "message"),
    [
        ({"lstm.": "layer.", "fc.": "head.", "words.": "embedding."}, ValueError,
         r"prefix: got 'lstm\.', which replaces nothing: .*the names are 'words\.weight', 'rnn\.weight_ih_l0'"),
        ("module.", ValueError, r"prefix: got 'module\.', which replaces nothing"),
        (PREFIX | {"fc.": "embedding."}, ValueError,
         r"with which 'words\.weight' and 'fc\.weight' both become 'embedding\.weight'; expected a name of its own"),
        ({"fc.": "words."}, ValueError, r"'words\.weight' and 'fc\.weight' both become 'words\.weight'"),
        (PREFIX | {"fc": "x", "fc.": "head."}, ValueError, "got 'fc', which replaces nothing"),
        (3, TypeError, "prefix: got 3, expected a string, or a dict"),
        ({"rnn.": 1}, TypeError, "prefix: got .*, expected a string, or a dict"),
        ([("rnn.", "layer.")], TypeError, "prefix: got"),
    ],
)
def test_prefixes_that_do_not_fit_are_refused_and_change_nothing(prefix, error, message):
    model, theirs = ours("LSTM"), Theirs("LSTM")
    before = model.state_dict()
    with pytest.raises(error, match=message):
        model.load_state_dict(theirs.state_dict(), prefix=prefix)
    same_bits(model.state_dict(), before)


def test_unknown_names_are_told_with_the_nearest_missing_ones():
    model, theirs = ours("LSTM"), Theirs("LSTM")
    told = r"'rnn\.weight_ih_l0' \(the nearest missing one: 'layer\.weight_ih_l0'\)"
    with pytest.raises(KeyError, match=r"missing: 'embedding\.weight', .*unexpected: .*" + told):
        model.load_state_dict(theirs.state_dict())
    state = model.state_dict()
    state["head.weights"] = state.pop("head.weight")
    with pytest.raises(KeyError, match=r"'head\.weights' \(the nearest missing one: 'head\.weight'\)"):
        model.load_state_dict(state)
    with pytest.raises(KeyError, match=r"unexpected: 'head\.bias2'; expected"):   # nothing is missing
        model.load_state_dict(model.state_dict() | {"head.bias2": np.ones(3)})


def test_long_and_many_names_are_told_without_comparing_all(rng):
    """Names of a file may be anything; the message is made in a time that a user does not notice."""
    model = ours("LSTM")
    names = ["".join(rng.choice(list("ab.l_0"), size=3000)) for _ in range(20)]
    names += [f"layer.weight_{i}" for i in range(5000)] + ["head.weight" * 10**5, 7]
    with pytest.raises(KeyError, match=r"missing: .*unexpected: .*'layer\.weight_0' \(the nearest"):
        model.load_state_dict(dict.fromkeys(names, np.ones(1)))


def test_a_file_without_metadata_is_loaded(tmp_path):
    model = ours("GRU")
    state = {f"net.{name}": array + 1 for name, array in model.state_dict().items()}
    save_file(state, tmp_path / "a")
    model.load_state_dict(rc.io.read_safetensors(tmp_path / "a"), prefix="net.")
    same_bits(model.state_dict(), {name.removeprefix("net."): array for name, array in state.items()})


def test_a_layer_is_taken_out_of_a_whole_model():
    """Names that are mapped to None are left out; without that the error says how."""
    theirs, layer = Theirs("LSTM"), rc.LSTM(WIDTH, HIDDEN, seed=0)
    state = theirs.state_dict()
    for prefix in ({"rnn.": "", "words.": None, "fc.": None}, {"rnn.": "", "": None}):
        layer = rc.LSTM(WIDTH, HIDDEN, seed=0)
        layer.load_state_dict(state, prefix=prefix)
        same_bits(layer.state_dict(), {name: value.detach().numpy() for name, value in theirs.rnn.state_dict().items()})
    told = r"leave names out by None, as in prefix=\{'rnn\.': '', 'words\.': None, 'fc\.': None\}"
    with pytest.raises(KeyError, match=told):
        layer.load_state_dict(state, prefix="rnn.")
    with pytest.raises(ValueError, match=r"got 'tok\.', which replaces nothing"):
        layer.load_state_dict(state, prefix={"rnn.": "", "": None, "tok.": None})


def test_the_nearest_name_has_the_shape_of_the_value():
    """``words.weight`` is the embedding, though the head's name has more letters in common."""
    model, theirs = ours("LSTM"), Theirs("LSTM")
    state = {f"w.{name}" if name.startswith("fc") else name: value for name, value in theirs.state_dict().items()}
    with pytest.raises(KeyError) as error:
        model.load_state_dict(state)
    assert "'words.weight' (the nearest missing one: 'embedding.weight')" in str(error.value)
    assert "'w.fc.weight' (the nearest missing one: 'head.weight')" in str(error.value)
    assert "'w.fc.bias' (the nearest missing one: 'head.bias')" in str(error.value)


def test_names_that_do_not_fit_are_refused_with_the_way_out(tmp_path):
    model, theirs, layer = ours("LSTM"), Theirs("LSTM"), rc.LSTM(WIDTH, HIDDEN, seed=0)
    with pytest.raises(KeyError, match=r"give prefix=, as in prefix=\{'words\.': 'embedding\.'\}"):
        model.load_state_dict(theirs.state_dict())
    with pytest.raises(KeyError, match=r"unexpected: '\.weight_ih_l0'.*a prefix ends with its dot: 'rnn\.'"):
        layer.load_state_dict({f"rnn.{name}": value for name, value in layer.state_dict().items()}, prefix="rnn")
    with pytest.raises(TypeError, match=r"got str, .*give rnncore\.io\.read_safetensors\(path\), or torch\.load"):
        model.load_state_dict("a.safetensors")
    with pytest.raises(TypeError, match=r"got Theirs, .*give its \.state_dict\(\)"):
        model.load_state_dict(theirs)
    torch.save(theirs.state_dict(), tmp_path / "theirs.bin")
    with pytest.raises(rc.io.DamagedFileError, match=r"is a file of torch, .*read it by torch\.load\(path\)"):
        rc.io.read_safetensors(tmp_path / "theirs.bin")
    symbols = rc.nn.sequence_model("gru", 5, hidden_size=4, seed=0)
    windows = rc.data.batches(np.arange(40) % 5, 2, 4)
    trainer = rc.train.Trainer(symbols, rc.optim.Adam(symbols), windows).fit(1, progress=False)
    trainer.save(tmp_path / "run.safetensors")
    with pytest.raises(KeyError, match=r"a checkpoint of a Trainer: rnncore\.train\.load_model\(path\)"):
        symbols.load_state_dict(rc.io.read_safetensors(tmp_path / "run.safetensors"))
