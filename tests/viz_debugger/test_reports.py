"""The report: a single file that loads nothing from outside, with all text escaped."""

import base64
import hashlib
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


def test_several_tapes_are_compared(compared):
    page = compared
    assert page.tags.count("h2") == 3
    assert page.tags.count("img") == 3
    assert "Comparison" in page.text
    assert "GRU LSTM" in re.sub(r"\s+", " ", page.text)


def test_nothing_comes_from_outside(compared):
    page = compared
    assert "http:" not in page.source
    assert "https:" not in page.source
    assert not {"script", "link", "iframe", "object", "a", "form"} & set(page.tags)
    for image in page.images:
        kind, data = image["src"].split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True).startswith(b"\x89PNG")
        assert image["alt"]
    (style,) = re.findall("<style>(.*?)</style>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.split(maxsplit=1) for rule in page.policy.split("; "))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "style=" not in page.source


def test_names_and_titles_are_escaped(tapes, tmp_path):
    evil = '<script>alert("x")</script>&'
    page = Page(viz.report({evil: tapes["GRU"]}, tmp_path / "r.html", title=evil))
    assert "script" not in page.tags
    assert page.text.count(evil) >= 3  # title, heading, section


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
    with pytest.raises(TypeError, match="runs: got int for 'a', expected a Tape, a Recorder"):
        viz.report({"a": 3}, tmp_path / "r.html")
    with pytest.raises(ValueError, match="runs: got none"):
        viz.report({}, tmp_path / "r.html")
