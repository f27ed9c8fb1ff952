"""The report: a single file that loads nothing from outside, with all text escaped."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz


class Page(HTMLParser):
    """Tags, text and images of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words, self.images, self.policy = [], [], [], None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(attrs)
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


@pytest.fixture(scope="module")
def tapes():
    x = np.random.default_rng(0).standard_normal((30, 2, 3))
    found = {"GRU": rc.GRU(3, 4, seed=0).record(x), "LSTM": rc.LSTM(3, 4, seed=0).record(x)}
    found["LSTM"].backward(np.ones_like(found["LSTM"].output))
    return found


@pytest.fixture(scope="module")
def compared(tapes, tmp_path_factory):
    return Page(viz.report(tapes, tmp_path_factory.mktemp("report") / "report.html"))


def test_the_page_of_one_tape_has_diagnosis_table_and_picture(tapes, tmp_path):
    path = viz.report(tapes["LSTM"], tmp_path / "report.html", title="Mine")
    page = Page(path)
    assert path == tmp_path / "report.html"
    assert "Mine" in page.text
    for finding in viz.diagnose(tapes["LSTM"]):
        assert finding.sentence in page.text
        assert finding.advice in page.text
    half_life = np.median(viz.half_life(tapes["LSTM"]))
    assert f"half-life (steps) {half_life:.3g} " in page.text
    assert f" gradient {viz.plots._decay.fate(viz.jacobian_norms(tapes['LSTM'])).short} " in page.text


def test_several_tapes_are_compared(compared):
    page = compared
    assert page.tags.count("h2") == 3
    assert page.tags.count("img") == 3
    assert "Comparison" in page.text
    text = re.sub(r"\s+", " ", page.text)
    assert "run cell layers × units" in text
    assert "GRU GRU 1 × 4" in text
    assert "LSTM LSTM 1 × 4" in text


@pytest.fixture
def without_pictures(monkeypatch):
    """Figures take seconds, and other tests draw them."""
    for name in ("_image", "overview", "side_by_side"):
        monkeypatch.setattr(f"rnncore.viz.reports.{name}", lambda *_, **__: "")


@pytest.mark.usefixtures("without_pictures")
def test_twelve_runs_are_twelve_rows_of_a_table_that_can_scroll(tapes, tmp_path):
    page = Page(viz.report({f"run {k}": tapes["GRU"] for k in range(12)}, tmp_path / "r.html"))
    table = page.source.split("</table>")[0]
    assert table.count("<tr>") == 13
    assert {row.count("<td>") for row in table.split("<tr>")[1:]} == {9}
    assert ".table { overflow-x: auto; }" in page.source


def test_what_the_recording_cuts_off_has_its_at_least(tmp_path):
    rnn = rc.init.identity(rc.RNN(1, 3, nonlinearity="relu", dtype="float64", seed=0))
    with rnn.writable() as p:
        p["weight_ih_l0"][...] = 1
    page = Page(viz.report(rnn.record(np.ones((60, 2, 1))), tmp_path / "r.html"))
    for told in ("half-life (steps) ≥ 60", "horizon (steps) ≥ 59", "centroid (steps) ≥ 30",
                 "gradient neither fades nor grows"):  # fmt: skip
        assert told in page.text
    assert "every −" not in page.text


def test_the_record_of_a_model_is_reported_by_its_tape(tmp_path):
    from rnncore.nn import sequence_model

    record = sequence_model("gru", 5, hidden_size=4, seed=0).record(np.arange(30)[:, None] % 5)
    mine, its_tape = (Page(viz.report(run, tmp_path / "r.html")).text for run in (record, record.tape))
    assert mine == its_tape


def test_nothing_comes_from_outside(compared):
    page = compared
    assert "http:" not in page.source
    assert "https:" not in page.source
    assert not {"link", "iframe", "object", "a", "form"} & set(page.tags)
    for image in page.images:
        kind, data = image["src"].split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True).startswith(b"\x89PNG")
        assert image["alt"]
    digests = {}
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL)
        digests[tag] = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        if tag == "script":
            assert "style=" not in page.source.replace(text, "")
    rules = dict(rule.split(maxsplit=1) for rule in page.policy.split("; "))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{digests['style']}'",
        "script-src": f"'sha256-{digests['script']}' 'wasm-unsafe-eval'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_names_and_titles_are_escaped(tapes, tmp_path):
    evil = '<script>alert("x")</script>&'
    page = Page(viz.report({evil: tapes["GRU"]}, tmp_path / "r.html", title=evil))
    assert page.tags.count("script") == 4  # what the page runs, its data, and nothing else
    assert page.text.count(evil) >= 2  # title and section
    assert evil not in page.source


def inside(page):
    """The networks that the page runs, and its title."""
    told = json.loads(re.search('<script id="description" type="application/json">(.*?)</script>', page.source)[1])
    return {run["name"]: run["cell"]["label"] for run in told["runs"]}, told["title"]


def test_a_report_begins_with_the_page_that_runs_its_networks(compared):
    assert inside(compared) == ({"GRU": "GRU", "LSTM": "LSTM"}, "rnncore report")


@pytest.mark.usefixtures("without_pictures")
def test_networks_that_the_page_cannot_run_are_reported_all_the_same(tapes, tmp_path):
    other = rc.GRU(2, 4, seed=0).record(np.ones((9, 1, 2)))
    page = Page(viz.report({"GRU": tapes["GRU"], "other": other}, tmp_path / "r.html", title="Two"))
    assert "script" not in page.tags
    assert "The networks cannot be run here. runs: got 'GRU', which reads 3 numbers per step, and 'other'" in page.text
    assert page.tags.count("h2") == 3
    assert page.tags.count("h1") == 1


@pytest.mark.usefixtures("without_pictures")
def test_models_are_recorded_on_the_text_that_their_page_begins_with(tmp_path):
    from rnncore.models import Recurrent
    from rnncore.nn import Linear, SequenceModel, sequence_model

    fitted = Recurrent("gru", 4, epochs=1, seed=0).fit(["hello world " * 10])
    page = Page(viz.report({"of text": fitted}, tmp_path / "r.html"))
    assert inside(page)[0] == {"of text": "GRU"}
    assert "steps × rows" in page.text
    model = sequence_model("lstm", 3, hidden_size=4, seed=0)
    assert inside(Page(viz.report({"a": model}, tmp_path / "r.html", vocabulary="abc")))[0] == {"a": "LSTM"}
    with pytest.raises(ValueError, match="vocabulary: got None"):
        viz.report({"a": model}, tmp_path / "r.html")
    rows = SequenceModel(None, rc.GRU(2, 4, batch_first=True, seed=0), Linear(4, 2, seed=0), loss="mse")
    assert "120 × 1" in Page(viz.report(rows, tmp_path / "r.html")).text


def test_a_recorder_with_weights_is_run_before_and_after_training(tmp_path):
    recorder = viz.Recorder(every=1, weights=True, measures={})
    layer = rc.GRU(2, 3, seed=0)
    for loss in (2.0, 1.0):
        recorder.record(layer.record(np.ones((5, 1, 2), "float32")), loss=loss)
    page = Page(viz.report({"run": recorder}, tmp_path / "r.html"))
    assert list(inside(page)[0]) == ["run, update 1", "run, update 2"]
    assert "loss 2 1 2" in " ".join(page.words)


def test_recorded_runs_show_their_series(tapes, tmp_path):
    with viz.Recorder(tmp_path / "a.run", every=1) as recorder:
        for update in range(1, 5):
            recorder.record(tapes["LSTM"], loss=1 / update)
    for run in (recorder, viz.Run(tmp_path / "a.run")):
        page = Page(viz.report({"run": run}, tmp_path / "r.html"))
        assert "loss 1 0.25 4" in " ".join(page.words)
        assert page.tags.count("img") == 1


def test_the_page_does_not_replace_a_run_file(tapes, tmp_path):
    path, link = tmp_path / "a.run", tmp_path / "link"
    link.symlink_to(path)
    with viz.Recorder(path, every=1) as recorder:
        recorder.record(tapes["LSTM"], loss=0.5)
        for target in (path, link):
            with pytest.raises(BlockingIOError, match="somebody is writing to this file"):
                viz.report(tapes["LSTM"], target)
            with pytest.raises(ValueError, match=r"path: got .*, the run file of 'run', .*another path"):
                viz.report(recorder, target)
    before = path.read_bytes()
    for run in (recorder, viz.Run(path)):  # the recorder is closed
        for target in (path, link):
            with pytest.raises(ValueError, match=r"path: got .*, the run file of 'A', .*another path"):
                viz.report({"B": tapes["LSTM"], "A": run}, target)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_to_is_refused_before_work(tapes, tmp_path, monkeypatch):
    monkeypatch.setattr("rnncore.viz.reports.jacobian_norms", None)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        viz.report(tapes, tmp_path / "no" / "r.html")


def test_a_tape_with_nan_is_reported(tmp_path, rng):
    x = rng.standard_normal((20, 2, 3))
    x[12, 0, 1] = np.nan
    tape = rc.LSTM(3, 4, seed=0).record(x)
    page = Page(viz.report(tape, tmp_path / "r.html"))
    assert "input at step 12, row 0, unit 1 is nan" in page.text


def test_the_page_is_written_whole_or_not_at_all(tapes, tmp_path, monkeypatch):
    path = tmp_path / "r.html"
    path.write_text("before")
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        viz.report(tapes["LSTM"], path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_a_report_leaves_no_figure_open_and_no_setting_changed(tapes, tmp_path):
    import matplotlib
    import matplotlib.pyplot as plt

    before, open_before = dict(matplotlib.rcParams), plt.get_fignums()
    viz.report(tapes, tmp_path / "r.html")
    assert plt.get_fignums() == open_before
    assert dict(matplotlib.rcParams) == before


def test_other_objects_are_refused(tmp_path):
    with pytest.raises(TypeError, match="runs: got the number 3 for 'a', expected a tape, the record of a model, a"):
        viz.report({"a": 3}, tmp_path / "r.html")
    with pytest.raises(TypeError, match=r"runs: got an LSTM for 'run', .*record a pass first: tape = layer\.record"):
        viz.report(rc.LSTM(2, 3), tmp_path / "r.html")
    with pytest.raises(TypeError, match="runs: got None for 'b'"):
        viz.report({"b": None}, tmp_path / "r.html")
    with pytest.raises(ValueError, match="runs: got none"):
        viz.report({}, tmp_path / "r.html")


@pytest.mark.usefixtures("without_pictures")
def test_a_classifier_and_a_network_with_projections_are_run(tmp_path):
    from rnncore.models import SequenceClassifier

    words = ["ab" * k for k in range(1, 9)] + ["ba" * k for k in range(1, 9)]
    fitted = SequenceClassifier("gru", 4, epochs=1, seed=0).fit(words, ["no", "yes"] * 8)
    assert inside(Page(viz.report({"of text": fitted}, tmp_path / "r.html")))[0] == {"of text": "GRU"}
    projected = rc.LSTM(2, 4, proj_size=2, seed=0).record(np.ones((5, 1, 2)))
    assert inside(Page(viz.report({"a": projected}, tmp_path / "r.html")))[0] == {"a": "LSTM"}
