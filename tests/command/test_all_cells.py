"""`rnncore debug`: five cells with one budget, and a self-contained folder with the report."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from rnncore.viz.plots._words import number
from support import close

from rnncore.command.all_cells import figures
from rnncore.command.all_cells.training import Budget, train_cells
from rnncore.command.cli import main
from rnncore.data import Corpus

TEXT = 'the <cat> sat on the mat & the rat sat on the "cat".\n' * 100


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """One small run of the command, for all tests here: (folder, stdout)."""
    folder = tmp_path_factory.mktemp("debug")
    (folder / "a <b>.txt").write_text(TEXT)
    patch, capture = pytest.MonkeyPatch(), []
    patch.chdir(folder)
    patch.setattr("builtins.print", lambda *a, file=None, **_: file or capture.append(a))
    try:
        arguments = ["--out", "deep/out", "--steps", "40", "--hidden", "12", "--seed", "3"]
        assert main(["debug", "a <b>.txt", *arguments]) == 0
    finally:
        patch.undo()
    return folder / "deep" / "out", "\n".join(" ".join(map(str, line)) for line in capture)


def test_the_table_shows_the_measured_numbers(report):
    out, printed = report
    results = json.loads((out / "results.json").read_text())
    cells = results["cells"]
    assert [row["cell"] for row in cells] == ["rnn-tanh", "rnn-relu", "rnn-sigmoid", "gru", "lstm"]
    for row in cells:
        steps = row["gradient_half_life"]
        half_life = f"{steps} steps" if steps else f"over {len(row['jacobian_norms']) - 1} steps"
        line = (
            f"{row['label']} +{row['parameters']:,} +{row['bits_per_character']:.3f} "
            f"+{number(row['jacobian_norms'][1])} +{half_life} +{number(row['jacobian_norms'][20])} "
            f"+{row['seconds']:.1f}"
        )
        assert re.search(line, printed), line
    assert str((out / "index.html").resolve()) in printed
    for text in (printed, (out / "index.html").read_text()):
        text = re.sub(r"\s+", " ", text)
        for said in ("norm at lag 1", "its half-life", "norm at lag 20", "above 1 it can grow",
                     "the first lag at which the norm is less than half of that at lag 1"):
            assert said in text


def test_the_numbers_are_those_of_the_text_and_the_budget(report):
    results = json.loads((report[0] / "results.json").read_text())
    text = results["text"]
    assert text["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert text["sha256"] in report[1]
    assert (text["characters"], text["held_out"]) == (len(TEXT), len(TEXT) // 10)
    assert results["budget"]["updates"] == 40
    vocabulary, hidden, embedding = text["vocabulary"], 12, results["budget"]["embedding_size"]
    for row, gates in zip(results["cells"], (1, 1, 1, 3, 4), strict=True):
        recurrent = gates * hidden * (embedding + hidden + 2)
        assert row["parameters"] == vocabulary * embedding + recurrent + vocabulary * (hidden + 1)
        assert 0 < row["bits_per_character"] < np.log2(vocabulary) + 0.1
        assert len(row["losses_in_nats"]) == 40
        norms = np.array(row["jacobian_norms"])
        assert norms[0] == 1
        under = np.flatnonzero(norms[2:] < norms[1] / 2)
        assert row["gradient_half_life"] == (under[0] + 2 if len(under) else None)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.links, self.tags, self.words = [], [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.images += [value for name, value in attributes if name == "src"]
        self.links += [value for name, value in attributes if name == "href"]

    def handle_data(self, data):
        self.words += data


def test_the_page_shows_every_figure_and_needs_no_network(report):
    out, _ = report
    html = (out / "index.html").read_text()
    page = Page(html)
    assert "://" not in html
    assert "script" not in page.tags
    assert "b" not in page.tags  # the file's name has one, which is escaped
    assert "a <b>.txt" in page.words
    assert set(page.images) == {path.name for path in out.glob("*.png")}
    assert all((out / link).exists() for link in page.links)
    assert "jacobian_norms.png" in page.images
    for path in out.glob("*.png"):
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_page_of_networks_has_the_trained_ones_and_begins_with_held_out_text(report):
    html = (report[0] / "networks.html").read_text(encoding="utf-8")
    description = json.loads(re.search(r'<script id="description"[^>]*>(.*?)</script>', html, re.DOTALL)[1])
    assert [run["name"] for run in description["runs"]] == ["RNN tanh", "RNN ReLU", "RNN sigmoid", "GRU", "LSTM"]
    assert {run["hiddenSize"] for run in description["runs"]} == {12}
    assert description["symbols"] == sorted(set(TEXT))
    assert description["examples"][0]["input"] == TEXT[-len(TEXT) // 10:][:240]
    assert "://" not in html


def test_the_jacobian_norms_are_those_of_the_product_of_jacobians():
    """Lag by lag against numpy in f64, for the plain cell: J = diag(1 − h²)·W."""
    budget = Budget(updates=2, hidden_size=5, batch_size=2, window=10, lags=6, rows=2)
    trained = {one.cell: one for one in train_cells(Corpus("abcdefg hijk " * 40), budget)}
    tape = trained["rnn-tanh"].record.tape
    weight = tape.layer.parameters["weight_hh_l0"]
    assert weight.dtype == np.float64
    for row in range(2):
        product = np.eye(5)
        for lag in range(1, 6):
            product = product @ ((1 - tape["l0.h"][6 - lag, row] ** 2)[:, None] * weight)
            norm = np.linalg.norm(product, 2)
            close(trained["rnn-tanh"].jacobian_norms[lag, row], norm, 1e-9)
    # The loss is that of the last step alone: it has no gradient at later steps, and agrees with the logits.
    assert tape.grad["l0.h"][-1].any()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a" * 3000, id="one character, so no gradient at all"),
        pytest.param("".join(chr(0x4E00 + i * i % 300) for i in range(3000)), id="no such font"),
        pytest.param("$x_1$ \\frac{\x01\r\n" * 200, id="what matplotlib could take for a formula"),
    ],
)
def test_unusual_texts_have_figures_too(tmp_path, monkeypatch, text):
    """No warning is given, for example of missing characters in a font: warnings are errors in the tests."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text(text, newline="")
    assert main(["debug", "text", "--steps", "2", "--hidden", "4"]) == 0
    assert len(list((tmp_path / "rnncore-debug").glob("*.png"))) == 10


def crafted(label, *levels, lags=30):
    """A cell whose norms are the given levels at every lag from 1 on, one per row."""
    norms = np.repeat(np.array(levels)[None], lags, axis=0)
    norms[0] = 1
    return SimpleNamespace(
        label=label, jacobian_norms=norms, remaining=(min(levels), float(np.median(levels)), max(levels)))


def test_the_title_counts_from_lag_0_as_its_axis_does():
    """At lag 0 the norm is 1; an LSTM's grows by a factor at the first step, of which a later one may be 102 %."""
    cells = [crafted("LSTM", 8.0, 9.0), crafted("RNN", 0.01, 0.02)]
    assert figures.norms_title(cells) == (
        "20 steps back a gradient is multiplied by at most 8 to 9 (LSTM), 0.01 to 0.02 (RNN)")
    figure, _ = figures.draw_jacobian_norms(cells)
    (ax,) = figure.axes
    legend = [text.get_text() for text in ax.get_legend().get_texts() if "exactly" not in text.get_text()]
    assert legend == ["LSTM: 8.5", "RNN: 0.015"]
    curves = [line for line in ax.lines if line.get_gid() == "jacobian_norms"]
    assert [line.get_ydata()[20] for line in curves] == [8.5, 0.015]
    assert "median at lag 20" in ax.get_legend().get_title().get_text()
    assert not [line for line in ax.lines if line.get_gid() == "fit"]


def test_cells_that_the_texts_do_not_tell_apart_are_named_together():
    cells = [crafted("A", 0.5, 2.0), crafted("B", 1.0, 3.0), crafted("C", 1e-6, 1e-5)]
    assert figures.norms_title(cells).endswith("at most 0.5 to 3 (B or A), 1.0·10⁻⁶ to 1.0·10⁻⁵ (C)")
    assert "differs between texts more than between cells" in figures.norms_title(cells[:2])
    assert figures.norms_title(cells[:1]).endswith("by at most 1.2 (A)")
    assert "1 steps" not in figures.norms_title([crafted("A", 0.5, lags=2)])


def test_the_flow_is_told_as_a_range_over_the_texts():
    cells = [crafted("LSTM", 1.0), crafted("RNN", 1.0)]
    flows = {"LSTM h": np.array([[0.1, 0.3], [1.0, 1.0]]), "RNN h": np.array([[0.0, 1e-9], [1.0, 1.0]])}
    assert figures.flow_title(cells, flows) == (
        "‖∂L/∂h‖ at the first step, relative to the last: 10 to 30 % with LSTM, 0 to 1.0·10⁻⁹ with RNN")
    nothing = {name: 0 * flow for name, flow in flows.items()}
    assert figures.flow_title(cells, nothing) == "The last step's loss has no gradient"


def test_ctrl_c_ends_the_command_with_one_line(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    command = [sys.executable, "-m", "rnncore.command.cli", "debug", "text", "--steps", "1000000"]
    pipe = subprocess.PIPE
    run = subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
    assert run.stdout.readline().startswith("text: ")
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out, err) == (130, "", "rnncore debug: interrupted\n")


def test_a_cell_that_diverges_is_reported_not_hidden(monkeypatch):
    budget = Budget(updates=3, hidden_size=5, batch_size=2, window=10, lags=6, rows=2)
    from rnncore.train import Trainer

    update = Trainer.update

    def explode(self):
        if self.updates == 1 and self.model.layer.mode == "LSTM":
            raise FloatingPointError("update 2: the loss is nan")
        return update(self)

    monkeypatch.setattr(Trainer, "update", explode)
    trained = {one.cell: one for one in train_cells(Corpus("abcdefg hijk " * 40), budget)}
    assert trained["lstm"].bits_text == "diverged"
    assert np.isnan(trained["lstm"].bits)
    assert trained["gru"].bits_text != "diverged"
