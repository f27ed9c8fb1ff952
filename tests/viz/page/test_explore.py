"""viz.explore: what the file has in it, and what is refused."""

import base64
import hashlib
import json
import re
import zlib

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz
from rnncore.models import Recurrent
from rnncore.nn import Embedding, Linear, SequenceModel, sequence_model

HOSTILE = "</script><script>alert(1)</script> <!-- \u2028 ' \" & \ud800 \x00"


def element(html, name):
    return re.search(rf'<script id="{name}"[^>]*>(.*?)</script>', html, re.DOTALL)[1]


def inside(path):
    """The description of a page, and its floats."""
    html = path.read_text(encoding="utf-8")
    floats = np.frombuffer(zlib.decompress(base64.b64decode(element(html, "arrays"))), "<f4")
    return json.loads(element(html, "description")), floats


def at(floats, place):
    return floats[place[0] : place[0] + place[1]]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "page.html"


def test_weights_arrive_as_they_are(path, rng):
    layers = {"a": rc.LSTM(3, 5, 2, seed=1), "b": rc.GRU(3, 4, bias=False, reset_after=False, seed=2)}
    assert viz.explore(layers, path) == path
    description, floats = inside(path)
    assert [run["name"] for run in description["runs"]] == ["a", "b"]
    assert [run["cell"]["kernel"] for run in description["runs"]] == ["lstm", "gru_reset_before"]
    for run, layer in zip(description["runs"], layers.values(), strict=True):
        weights = layer.state_dict()
        for k, entry in enumerate(run["layers"]):
            for short, long in (("w_ih", "weight_ih"), ("w_hh", "weight_hh"), ("b_ih", "bias_ih"), ("b_hh", "bias_hh")):
                name = f"{long}_l{k}"
                assert (entry[short] is None) == (name not in weights)
                if name in weights:
                    np.testing.assert_array_equal(at(floats, entry[short]), weights[name].ravel())


def test_a_model_of_text_brings_its_alphabet(path):
    model = Recurrent("gru", 4, epochs=1, seed=0).fit(["hello world " * 10])
    description, floats = inside(viz.explore(model, path, examples={"x": "hello"}))
    assert "".join(description["symbols"]) == model.alphabet_
    assert description["examples"] == [{"name": "x", "input": "hello"}]
    (run,) = description["runs"]
    assert (run["predicts"], run["head"]["outputs"]) == ("symbol", len(model.alphabet_))
    weights = model.network_.state_dict()
    np.testing.assert_array_equal(at(floats, run["embedding"]), weights["embedding.weight"].ravel())
    np.testing.assert_array_equal(at(floats, run["head"]["weight"]), weights["head.weight"].ravel())
    np.testing.assert_array_equal(at(floats, run["head"]["bias"]), weights["head.bias"].ravel())


def test_a_tape_stands_for_its_layer_and_its_first_row(path, rng):
    layer = rc.RNN(2, 3, dtype="float64", seed=0)
    x = rng.normal(size=(6, 2, 2))
    description, _ = inside(viz.explore({"run": layer.record(x, lengths=[4, 6])}, path))
    assert description["examples"][0]["input"] == x[:4, 0].tolist()
    assert description["runs"][0]["dtype"] == "float64"


def test_a_tape_of_weights_that_changed_is_refused(path):
    layer = rc.GRU(2, 3, seed=0)
    tape = layer.record(np.ones((3, 1, 2)))
    layer.load_state_dict(rc.GRU(2, 3, seed=1).state_dict())
    with pytest.raises(RuntimeError, match="changed"):
        viz.explore(tape, path)
    assert not path.exists()


@pytest.mark.parametrize("predicts", ["row", None])
def test_a_model_of_rows(path, predicts):
    outputs = 2 if predicts else 1
    model = SequenceModel(None, rc.LSTM(2, 4, seed=0), Linear(4, outputs, seed=0), loss="mse")
    description, _ = inside(viz.explore(model, path))
    assert description["symbols"] is None
    assert description["runs"][0]["predicts"] == predicts
    assert np.shape(description["examples"][0]["input"])[1] == 2


def test_the_policy_names_the_hashes_of_script_and_style_and_nothing_more(path):
    model = sequence_model("gru", 3, hidden_size=4, seed=0)
    viz.explore({HOSTILE: model}, path, vocabulary="abc", title=HOSTILE, examples={HOSTILE: HOSTILE})
    html = path.read_text(encoding="utf-8")
    digest = {
        kind: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in (("style", re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]),
                           ("script", re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]))
    }
    assert re.search(r'Content-Security-Policy" content="(.*?)"', html)[1] == (
        f"default-src 'none'; script-src 'sha256-{digest['script']}' 'wasm-unsafe-eval'; "
        f"style-src 'sha256-{digest['style']}'; base-uri 'none'; form-action 'none'"
    )
    assert "://" not in html
    assert len(re.findall(r"<script", html)) == 4
    assert "alert(1)</script>" not in html
    assert json.loads(element(html, "description"))["examples"][0]["name"] == HOSTILE


def bidirectional():
    return rc.LSTM(2, 3, bidirectional=True)


def of_last():
    return SequenceModel(Embedding(3, 2), rc.GRU(2, 3), Linear(3, 3), readout="last")


@pytest.mark.parametrize(
    ("runs", "options", "error", "message"),
    [
        ({}, {}, ValueError, "runs: got none, expected at least one network"),
        ({"a": 3}, {}, TypeError, "runs: got the number 3 for 'a', expected a fitted .*, a SequenceModel"),
        (bidirectional, {}, ValueError, "runs: got a bidirectional layer for 'network', expected one direction"),
        (of_last, {"vocabulary": "abc"}, ValueError, "runs: got a model with readout='last' .* give its layer"),
        (lambda: Recurrent("gru", 3), {}, ValueError, "runs: got a model that is not fitted .*call fit first"),
        (lambda: sequence_model("gru", 3), {}, ValueError, "vocabulary: got None, expected the symbols"),
        (lambda: sequence_model("gru", 3), {"vocabulary": "abcd"}, ValueError, "vocabulary: got 4 symbols.*most 3"),
        (lambda: sequence_model("gru", 3), {"vocabulary": "aab"}, ValueError, "vocabulary: got 3 symbols, of which 2"),
        (lambda: sequence_model("gru", 3), {"vocabulary": ["ab"]}, ValueError, "vocabulary: got 'ab', expected"),
        (lambda: {"a": rc.GRU(2, 3), "b": rc.GRU(3, 3)}, {}, ValueError, "runs: got 'a', which reads 2 numbers"),
        (lambda: rc.GRU(2, 3), {"examples": {"x": np.ones((4, 3))}}, ValueError, r"examples: got .*\(4, 3\) for 'x'"),
        (lambda: rc.GRU(2, 3), {"examples": {"x": np.full((4, 2), np.nan)}}, ValueError, "examples: .*finite numbers"),
        (lambda: sequence_model("gru", 3), {"vocabulary": "abc", "examples": {"x": [1]}}, TypeError, "examples: got"),
    ],
)
def test_what_is_refused(path, runs, options, error, message):
    with pytest.raises(error, match=message):
        viz.explore(runs() if callable(runs) else runs, path, **options)
    assert not path.exists()


def test_five_cells_of_128_units_fit_into_the_size_that_is_promised(path):
    runs = {name: sequence_model(name, 96, hidden_size=128, embedding_size=64, seed=0)
            for name in ("rnn-tanh", "rnn-relu", "rnn-sigmoid", "gru", "lstm")}
    viz.explore(runs, path, vocabulary="".join(chr(32 + k) for k in range(96)))
    assert path.stat().st_size <= 2_500_000
