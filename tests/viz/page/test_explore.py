"""viz.explore: what the file has in it, and what is refused."""

import base64
import hashlib
import json
import re
import sys
import types
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from rnncore.viz.page import notebook
from rnncore.viz.page.diagram import diagram

import rnncore as rc
from rnncore import viz
from rnncore.data import Corpus, Window, batches
from rnncore.models import Recurrent, SequenceClassifier
from rnncore.nn import Embedding, Linear, SequenceModel, sequence_model
from rnncore.optim import Adam
from rnncore.recurrent.descriptions import CELLS
from rnncore.train import Trainer

# What payload.ts calls the weights of a layer in one direction, and what their names begin with.
NAMES = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh", "w_hr": "weight_hr",
         "peepholes": "weight_peephole"}  # fmt: skip
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
    layers = {
        "a": rc.LSTM(3, 5, 2, seed=1, bidirectional=True, proj_size=2, peepholes=True),
        "b": rc.GRU(3, 4, bias=False, reset_after=False, seed=2),
    }
    assert viz.explore(layers, path) == path
    description, floats = inside(path)
    assert [run["name"] for run in description["runs"]] == ["a", "b"]
    assert [run["cell"]["kernel"] for run in description["runs"]] == ["lstm", "gru_reset_before"]
    for run, layer in zip(description["runs"], layers.values(), strict=True):
        weights = layer.state_dict()
        assert len(run["parts"]) == len(layer.structure.parts)
        for part, entry in zip(layer.structure.parts, run["parts"], strict=True):
            for short, long in NAMES.items():
                name = long + part.suffix
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


def test_a_tape_stands_for_its_layer_and_its_rows_for_examples(path, rng):
    layer = rc.RNN(2, 3, dtype="float64", seed=0)
    x = rng.normal(size=(6, 2, 2))
    description, _ = inside(viz.explore({"run": layer.record(x, lengths=[4, 6])}, path))
    assert [one["name"] for one in description["examples"]] == ["recorded row 0", "recorded row 1"]
    assert [one["input"] for one in description["examples"]] == [x[:4, 0].tolist(), x[:, 1].tolist()]
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


def of_labels(count, readout="last", **options):
    layer = rc.GRU(2, 3, seed=0, **options)
    return SequenceModel(Embedding(3, 2, seed=0), layer, Linear(layer.structure.features, count), readout=readout)


def of_two_kinds():
    return {"a": of_labels(2), "b": of_labels(4)}


def of_series():
    return SequenceClassifier("gru", 3, epochs=1).fit([[0.0, 1.0], [2.0]] * 9, list("ab" * 9))


@pytest.mark.parametrize(
    ("runs", "options", "error", "message"),
    [
        ({}, {}, ValueError, "runs: got none, expected at least one network"),
        ({"a": 3}, {}, TypeError, "runs: got the number 3 for 'a', expected a fitted .*, a SequenceModel"),
        (of_two_kinds, {"vocabulary": "abc"}, ValueError, "runs: got 'a' and 'b', whose labels differ, expected"),
        (lambda: Recurrent("gru", 3), {}, ValueError, "runs: got a model that is not fitted .*call fit first"),
        (of_series, {}, ValueError, "runs: got a model of real values for 'network', .* give its layer"),
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


@pytest.mark.parametrize(
    ("model", "predicts"),
    [
        (lambda: of_labels(3, "steps"), "symbol"),
        (lambda: of_labels(2, "steps"), "label"),  # fewer than there are symbols
        (lambda: of_labels(3, "steps", bidirectional=True), "label"),  # it has read the next symbol
        (lambda: of_labels(3, "last"), "label"),
        (lambda: of_labels(5, "mean", bidirectional=True), "label"),
    ],
)
def test_what_a_model_predicts(path, model, predicts):
    model = model()
    description, _ = inside(viz.explore(model, path, vocabulary="abc"))
    (run,) = description["runs"]
    assert (run["predicts"], run["readout"]) == (predicts, model.readout)
    count = model.head.out_features
    assert description["labels"] == ([str(label) for label in range(count)] if predicts == "label" else None)


def test_numbers_for_a_sequence_have_no_loss(path):
    model = SequenceModel(None, rc.GRU(2, 3, seed=0), Linear(3, 2), loss="mse", readout="last")
    (run,) = inside(viz.explore(model, path))[0]["runs"]
    assert (run["predicts"], run["readout"]) == (None, "last")


def test_a_classifier_brings_its_alphabet_and_its_labels(path):
    words = ["ab" * k for k in range(1, 9)] + ["ba" * k for k in range(1, 9)]
    model = SequenceClassifier("gru", 4, epochs=1, seed=0, readout="mean").fit(words, ["no", "yes"] * 8)
    description, floats = inside(viz.explore(model, path, examples={"": "ab"}))
    assert "".join(description["symbols"]) == model.alphabet_
    assert description["labels"] == ["no", "yes"]
    (run,) = description["runs"]
    assert (run["predicts"], run["readout"]) == ("label", "mean")
    weights = model.network_.state_dict()
    np.testing.assert_array_equal(at(floats, run["head"]["weight"]), weights["head.weight"].ravel())


def test_initial_states_of_tapes_go_with_their_examples(path, rng):
    x, y = (rng.normal(size=(4, 2, 2)).astype("float32") for _ in range(2))
    both = rc.LSTM(2, 3, bidirectional=True, seed=0)
    h, c = (rng.normal(size=(2, 2, 3)).astype("float32") for _ in range(2))
    h[:, 1] = c[:, 1] = 0
    runs = {"zeros": rc.GRU(2, 3, seed=0).record(x), "both": both.record(x, (h, c)), "other": both.record(y, (h, c))}
    description, floats = inside(viz.explore(runs, path))
    first, second = description["examples"]
    none, found, of_another_input = first["initial"]
    assert none is of_another_input is None
    np.testing.assert_array_equal(at(floats, found), np.concatenate([h[:, 0].ravel(), c[:, 0].ravel()]))
    assert "initial" not in second  # both begin with zeros


def test_a_row_is_cut_where_it_was_reset(path, rng):
    layer = rc.GRU(2, 3, bidirectional=True, seed=0)
    x, state = rng.normal(size=(8, 2, 2)).astype("float32"), rng.normal(size=(2, 2, 3)).astype("float32")
    marks = np.zeros((8, 2), bool)
    marks[[0, 3, 7], 0] = marks[2, 1] = True
    description, floats = inside(viz.explore(layer.record(x, state, lengths=[6, 8], reset=marks), path))
    found = {one["name"]: one for one in description["examples"]}
    assert list(found) == ["recorded row 0, steps 0 to 2", "recorded row 0, steps 3 to 5",
                           "recorded row 1, steps 0 to 1", "recorded row 1, steps 2 to 7"]  # fmt: skip
    cut = [one["input"] for one in found.values()]
    assert cut == [x[:3, 0].tolist(), x[3:6, 0].tolist(), x[:2, 1].tolist(), x[2:, 1].tolist()]
    zeros = np.zeros(3, "float32")
    # the forward direction has the initial state at the beginning, unless it is reset there, the reverse one at the end
    for one, row, forward, reverse in zip(found.values(), (0, 0, 1, 1), (0, 0, 1, 0), (0, 1, 0, 1), strict=True):
        expected = np.concatenate([state[0, row] if forward else zeros, state[1, row] if reverse else zeros])
        if not expected.any():
            assert "initial" not in one
        else:
            np.testing.assert_array_equal(at(floats, one["initial"][0]), expected)


def test_many_rows_of_a_tape_are_not_all_written(path):
    description, _ = inside(viz.explore(rc.GRU(1, 2, seed=0).record(np.ones((3, 40, 1))), path))
    assert len(description["examples"]) == 16


def test_five_cells_of_128_units_fit_into_the_size_that_is_promised(path):
    runs = {name: sequence_model(name, 96, hidden_size=128, embedding_size=64, seed=0)
            for name in ("rnn-tanh", "rnn-relu", "rnn-sigmoid", "gru", "lstm")}
    viz.explore(runs, path, vocabulary="".join(chr(32 + k) for k in range(96)))
    assert path.stat().st_size <= 2_500_000


# ---------------------------------------------------------------- recorders, notebooks, no path


@pytest.fixture
def trained():
    """A model of text, and the recorder of its training."""
    corpus = Corpus("the (old (tree)) and the (new (tree)) " * 10)
    model = sequence_model("lstm", len(corpus.vocabulary), hidden_size=4, seed=0)
    before = model.state_dict()
    recorder = viz.Recorder(every=1, weights=True, rows=1, measures={})
    Trainer(model, Adam(model, 1e-2), batches(corpus.train, 4, 16), callbacks=[recorder]).fit(5, progress=False)
    return corpus, before, recorder


def weights_of(floats, run):
    (layer,) = run["parts"]
    return {
        "layer.weight_hh_l0": at(floats, layer["w_hh"]),
        "layer.bias_ih_l0": at(floats, layer["b_ih"]),
        "embedding.weight": at(floats, run["embedding"]),
        "head.weight": at(floats, run["head"]["weight"]),
        "head.bias": at(floats, run["head"]["bias"]),
    }


def test_a_recorder_stands_for_the_network_before_and_after_training(path, trained):
    corpus, before, recorder = trained
    description, floats = inside(viz.explore(recorder, path, vocabulary=corpus.vocabulary))
    assert [run["name"] for run in description["runs"]] == ["update 1", "update 5"]
    first, last = (weights_of(floats, run) for run in description["runs"])
    for name, values in first.items():
        np.testing.assert_array_equal(values, before[name].ravel(), err_msg=name)
        assert not np.array_equal(values, last[name])


@pytest.mark.parametrize(("count", "updates"), [(1, [1, 5]), (3, [1, 3, 5]), (100, [1, 2, 3, 4, 5])])
def test_more_updates_are_shown_as_far_as_they_fit(path, trained, count, updates):
    corpus, before, recorder = trained
    size = 4 * sum(values.size for values in before.values())
    page = viz.explore({"a": recorder}, path, vocabulary=corpus.vocabulary, max_bytes=count * size)
    assert [run["name"] for run in inside(page)[0]["runs"]] == [f"a, update {update}" for update in updates]


def test_a_run_file_of_a_layer_alone(path, tmp_path, rng):
    layer = rc.GRU(3, 5, 2, bias=False, reset_after=False, dtype="float64", seed=0)
    with viz.Recorder(tmp_path / "a.run", every=1, weights=True, measures={}) as recorder:
        recorder.record(layer.record(rng.normal(size=(4, 1, 3))))
        recorder.record(layer.record(rng.normal(size=(4, 1, 3))))
    description, floats = inside(viz.explore({"kept": viz.Run(tmp_path / "a.run")}, path))
    assert [run["name"] for run in description["runs"]] == ["kept, update 1", "kept, update 2"]
    run = description["runs"][1]
    assert (run["cell"]["kernel"], run["dtype"], len(run["parts"])) == ("gru_reset_before", "float64", 2)
    expected = layer.state_dict()["weight_hh_l1"].astype("float32").ravel()
    np.testing.assert_array_equal(at(floats, run["parts"][1]["w_hh"]), expected)
    assert run["parts"][0]["b_ih"] is None


def test_a_recorder_of_options_and_projections(path, rng):
    recorder = viz.Recorder(every=1, weights=True, measures={})
    layer = rc.LSTM(2, 4, proj_size=3, bidirectional=True, gate_clip=0.5, seed=0)
    recorder.record(layer.record(rng.normal(size=(4, 1, 2))))
    (run,) = inside(viz.explore({"a": recorder.frames[0]}, path))[0]["runs"]
    assert (run["outputSize"], run["directions"], run["variant"][1][:3]) == (3, 2, [0.5, None, 0])


def test_a_recorder_knows_what_its_model_predicts(path, tmp_path):
    model = of_labels(2, "mean")
    window = Window(np.array([[0, 1], [1, 2], [2, 0]]), np.array([0, 1]))
    with viz.Recorder(tmp_path / "a.run", every=1, weights=True, measures={}) as recorder:
        Trainer(model, Adam(model, 1e-2), [window], callbacks=[recorder]).fit(2, progress=False)
    description, _ = inside(viz.explore(viz.Run(tmp_path / "a.run"), path, vocabulary="abc"))
    assert [(run["predicts"], run["readout"]) for run in description["runs"]] == [("label", "mean")] * 2


def test_a_recorder_without_weights_is_refused(path, rng):
    recorder = viz.Recorder(every=1, measures={})
    recorder.record(rc.GRU(2, 3, seed=0).record(rng.normal(size=(4, 1, 2))))
    with pytest.raises(ValueError, match=r"runs: got a Recorder without weights for 'a', .*Recorder\(weights=True\)"):
        viz.explore({"a": recorder}, path)


def test_without_a_path_the_page_is_opened(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    found = viz.explore(rc.GRU(2, 3, seed=0))
    assert opened == [found.as_uri()]
    assert inside(found)[0]["runs"][0]["name"] == "network"
    found.unlink()
    found.parent.rmdir()


def test_in_a_notebook_the_page_is_the_result_of_the_cell(monkeypatch):
    kernel = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=None))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setattr("webbrowser.open", None)
    model = sequence_model("gru", 3, hidden_size=4, seed=0)
    found = viz.explore({HOSTILE: model}, vocabulary="abc", title=HOSTILE)
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(found._repr_html_())
    ((tag, attributes),) = tags
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts allow-downloads"  # neither the notebook nor other pages are reached
    assert attributes["srcdoc"] == found.html
    assert re.fullmatch("<NotebookPage of [0-9,]+ bytes>", repr(found))


def test_in_a_terminal_of_ipython_it_is_opened(monkeypatch):
    terminal = types.SimpleNamespace(get_ipython=lambda: object())
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert not notebook.in_notebook()


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_drawn_with_its_gates_and_states(cell):
    """The page's picture of a cell has the parts of `viz.plot_cell`, which its description draws."""
    described = CELLS[cell]
    drawing = diagram(described)
    boxes = {part[3]: part for part in drawing["parts"] if part[0] == "box"}
    shown = {"h0", "h", *(f"{state}{when}" for state in described.states for when in ("", "0")), *described.slots}
    assert boxes.keys() == shown - {"hn"}
    assert boxes["h0"][4] == "hₜ₋₁"
    assert all(drawing["low"] <= part[2] <= drawing["high"] for part in boxes.values())
    assert not any("$" in str(value) for part in drawing["parts"] for value in part)


def test_a_cell_that_the_built_page_does_not_have_is_refused(path, monkeypatch):
    monkeypatch.setattr("rnncore.viz.page.networks._kernels", lambda: b"gru\0")
    with pytest.raises(ValueError, match=r"runs: got LSTM\(.*\) for 'network', expected a cell .* run make page"):
        viz.explore(rc.LSTM(2, 3), path)
    viz.explore(rc.GRU(2, 3), path)
