"""`rnncore compare`: reading, measuring, reporting; the table agrees with models called directly."""

import json
import math

import numpy as np
import pytest
from sklearn.base import clone
from statsmodels import datasets

from rnncore.command.cli import main
from rnncore.command.compare import measure, report, series
from rnncore.models import (
    AutoRegressive,
    HiddenMarkov,
    Markov,
    Recurrent,
    SwitchingAutoRegressive,
)

TEXT = "the cat sat on the mat. the dog sat on the log. a cat and a dog sat. " * 40
SMALL = ["--hidden", "8", "--epochs", "3"]


@pytest.fixture(scope="module")
def sunspots(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sunspots.csv"
    datasets.sunspots.load_pandas().data.to_csv(path, index=False)
    return path


def run(capsys, *arguments):
    status = main(["compare", *map(str, arguments)])
    return status, *capsys.readouterr()


# -- the command -----------------------------------------------------------------------
def test_a_series_and_its_table_agree_with_models_called_by_hand(sunspots, tmp_path, capsys):
    status, out, _ = run(capsys, sunspots, "--out", tmp_path, *SMALL)
    assert status == 0
    assert "309 steps of SUNACTIVITY, YEAR left out" in out
    told = json.loads((tmp_path / "compare.json").read_text())
    assert told["data"]["columns"] == ["SUNACTIVITY"]

    values = datasets.sunspots.load_pandas().data[["SUNACTIVITY"]].to_numpy()
    train, valid, cut = values[:247], values[247:278], 278
    pieces = [train[i : i + 50] for i in range(0, 247, 50)]
    models = [eval(row["model"]) for row in told["models"]]
    assert [type(m) for m in models] == [
        AutoRegressive, AutoRegressive, HiddenMarkov, SwitchingAutoRegressive, *[Recurrent] * 3]
    for model, row in zip(models, told["models"], strict=True):
        if isinstance(model, (AutoRegressive, SwitchingAutoRegressive)):
            model.fit([train])
        elif isinstance(model, HiddenMarkov):
            model.fit(pieces)
        else:
            model.fit(pieces, valid=[valid])
        error = values[cut:] - model.one_step(values).mean[cut:]
        assert row["loss"] == pytest.approx(math.sqrt(np.mean(error**2)), rel=1e-12)
        nats = -model.log_prob(values, per_step=True)[cut:].mean()
        assert row["nats_per_step"] == pytest.approx(nats, rel=1e-12)
        assert row["parameters"] == model.n_parameters_
        alone = [model.predict(values[t - 2 : t]).mean - values[t] for t in range(cut, 309)]
        at = row["context_kept"].index(2)
        assert row["context_loss"][at] == pytest.approx(math.sqrt(np.mean(np.square(alone))))
        assert f"{row['loss']:.4g}" in next(line for line in out.splitlines()
                                            if line.startswith(row["name"]))
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_a_text_and_its_table_agree_with_models_called_by_hand(tmp_path, capsys):
    (tmp_path / "a.txt").write_text(TEXT)
    status, out, _ = run(capsys, tmp_path / "a.txt", "--out", tmp_path, "--limit", 1300, *SMALL)
    assert status == 0
    assert "the first 1,300 of 2,760" in out
    told = json.loads((tmp_path / "compare.json").read_text())
    text = TEXT[:1300]
    pieces, valid, held = [text[:1000], text[1000:1040]], text[1040:1170], text[170:]
    for row in told["models"]:
        model = eval(row["model"])
        model.fit(pieces, **({"valid": [valid]} if isinstance(model, Recurrent) else {}))
        bits = -model.log_prob(held, per_step=True)[1000:].mean() / math.log(2)
        assert row["loss"] == pytest.approx(bits, rel=1e-12)
        if isinstance(model, Markov) and model.order > 4:
            model = clone(model).set_params(order=4).fit(pieces)
        cut = [-math.log2(model.predict(text[t - 4 : t])[model.alphabet_.index(text[t])])
               for t in range(1170, 1300)]
        assert row["context_loss"][row["context_kept"].index(4)] == pytest.approx(np.mean(cut))
    kinds = [eval(row["model"]) for row in told["models"]]
    assert [type(m) for m in kinds] == [Markov] * 2 + [HiddenMarkov] + [Recurrent] * 3
    chosen = [Markov(k, smoothing="kneser-ney", alphabet=kinds[1].alphabet).fit(pieces)
              for k in (2, 3, 4, 5, 6, 8, 10, 12)]
    assert kinds[1].order == max(chosen, key=lambda m: m.log_prob(
        text[40:1170], per_step=True)[1000:].sum()).order


def test_the_default_text_is_read(tmp_path, capsys):
    status, out, _ = run(capsys, "--out", tmp_path, "--limit", 1500, *SMALL)
    assert status == 0
    assert "documentation topics" in out.splitlines()[0]
    assert "sha256" in (tmp_path / "compare.json").read_text()


def test_missing_values_are_masked_in_all_models(tmp_path, capsys):
    t, noise = np.arange(200), 0.1 * np.random.default_rng(0).normal(size=(2, 200))
    rows = [f"{x:.3f},{y:.3f}" for x, y in zip(np.sin(t / 5) + noise[0], np.cos(t / 7) + noise[1],
                                               strict=True)]
    rows[20], rows[150], rows[190] = ",0.5", "NA,", "0.1,"
    (tmp_path / "a.csv").write_text("left,right\n" + "\n".join(rows))
    status, out, _ = run(capsys, tmp_path / "a.csv", "--out", tmp_path, *SMALL)
    assert status == 0
    assert "200 steps of left, right" in out
    told = json.loads((tmp_path / "compare.json").read_text())
    assert all("missing='mask'" in row["model"] for row in told["models"])


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.txt", b"", "is empty"), ("a.txt", b"short", "too short"),
    ("a.txt", b"\x00\x01", "binary"), ("a.txt", b"\xff\xfe\xff" * 99, "not UTF-8"),
    ("a.csv", b"", "is empty"), ("a.csv", b"\n\n", "no rows"),
    ("a.csv", b"x,y\n1,2\n3\n", "row 3 has 1 cells"), ("a.csv", b"x\na\nb\n" * 60, "no column"),
    ("a.csv", b"x\n1\n2\n4\n", "too short: 3 steps"), ("a.csv", b"x\n" + b"inf\n" * 99, "finite"),
    ("a.csv", b"x\n" + b"\"\"\n" * 99, "no rows"),
])
def test_a_bad_file_gives_one_line_and_status_2(name, content, message, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    status, out, err = run(capsys, tmp_path / name, "--out", tmp_path / "out")
    assert status == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_wrong_arguments_give_one_line_and_status_2(sunspots, tmp_path, capsys):
    for arguments, message in [((tmp_path / "none.txt",), "none.txt"),
                               ((sunspots, "--columns", "SUN"), "it has YEAR, SUNACTIVITY"),
                               ((sunspots, "--kind", "text", "--columns", "YEAR"), "as text")]:
        status, _, err = run(capsys, *arguments, "--out", tmp_path)
        assert status == 2
        assert message in err
        assert err.count("\n") == 1


def test_a_model_that_cannot_be_fitted_is_reported_and_left_out(tmp_path, capsys, monkeypatch):
    values = np.random.default_rng(0).normal(size=100)
    (tmp_path / "a.csv").write_text("x\n" + "\n".join(map(str, values)))

    def fail(*arguments, **options):
        raise ValueError("too little of it")

    monkeypatch.setattr(HiddenMarkov, "fit", fail)
    status, out, _ = run(capsys, tmp_path / "a.csv", "--out", tmp_path, *SMALL)
    assert status == 0
    assert "HiddenMarkov cannot be fitted: too little of it" in out
    told = json.loads((tmp_path / "compare.json").read_text())
    assert told["not_fitted"] == [{"name": "HiddenMarkov", "reason": "too little of it"}]
    assert len(told["models"]) == 6
    for model in (AutoRegressive, SwitchingAutoRegressive, Recurrent):
        monkeypatch.setattr(model, "fit", fail)
    status, out, err = run(capsys, tmp_path / "a.csv", "--out", tmp_path, *SMALL)
    assert status == 2
    assert "no model can be fitted" in err


# -- what the title says ------------------------------------------------------------------
def result(name, steps, memory=8):
    class Net:
        hidden_size = 4

    return measure.Result(name, Net(), 0.0, float(np.mean(steps)), 0.0, np.asarray(steps), [0, 1, 8, 256],
                          [3.0, 2.0, 1.0, 1.0], memory)


def test_a_model_is_the_best_only_beyond_the_error_of_the_difference():
    rng = np.random.default_rng(0)
    shared = rng.exponential(1.0, 300)  # steps that are hard for all models
    near, far = shared + rng.normal(0.01, 1.0, 300), shared + rng.normal(1.0, 1.0, 300)
    assert report.sentence([result("GRU", shared), result("LSTM", near), result("RNN", far)]) == (
        "GRU, 4 units: the lowest loss, but LSTM 4 units within its error; "
        "8 steps of context give 95 % of its gain from 256")
    assert report.sentence([result("GRU", shared), result("RNN", shared + 0.01)]).startswith(
        "GRU, 4 units: the lowest loss; 8 steps")
    assert measure.is_behind(result("RNN", far), result("GRU", shared))
    assert not measure.is_behind(result("RNN", [1.0]), result("GRU", [0.5]))
    gaps = np.where(np.arange(300) % 7 == 0, np.nan, far)
    assert measure.is_behind(result("RNN", gaps), result("GRU", shared))


def test_a_memory_that_the_contexts_cut_off_has_its_at_least():
    assert "; ≥ 256 steps of context give 95 %" in report.sentence([result("GRU", [1.0, 2.0], memory=256)])
    assert "; 1 step of context gives 95 %" in report.sentence([result("GRU", [1.0, 2.0], memory=1)])
    assert report.sentence([result("GRU", [1.0, 2.0], memory=0)]).endswith("; context does not lower it")
    assert report.memory(result("GRU", [1.0], memory=8)) == "8"


def test_the_loss_of_every_step_has_the_mean_that_is_told(sunspots):
    data = series.read(sunspots)
    split = measure.Split.of(data.values)
    model = AutoRegressive(2).fit([split.values[: split.train_end]])
    loss, _, steps = measure.held_out(model, split)
    assert math.sqrt(np.mean(steps)) == pytest.approx(loss)
    text = measure.Split.of(TEXT)
    loss, _, steps = measure.held_out(Markov(2).fit(text.train), text)
    assert np.mean(steps) == pytest.approx(loss)
    assert len(steps) == len(TEXT) - text.test_begin


# -- reading ------------------------------------------------------------------------------
def test_tables_of_every_dialect_are_read():
    for text in ("a;b\n3;5\n1;4\n", "a\tb\n3\t5\n1\t4\n", '"a","b"\r\n3,5\r\n\r\n1,4'):
        values, names, _ = series.table_of(text, "f")
        assert names == ("a", "b")
        np.testing.assert_array_equal(values, [[3, 5], [1, 4]])
    values, names, _ = series.table_of("a,b\n5,2\n3,4\n4,9", "f", ["b", "a"])
    assert names == ("b", "a")
    np.testing.assert_array_equal(values, [[2, 5], [4, 3], [9, 4]])
    values, names, notes = series.table_of("day,v\n1,2\n2,4\n3,1\n", "f")
    assert names == ("v",)
    assert "day left out" in notes[0]
    values, names, _ = series.table_of("1,2\n3,4\n9,1\n", "f")  # no header
    assert names == ("column 1", "column 2")
    values, names, _ = series.table_of("1\n2\n3\n", "f")  # a single column may increase by a constant
    assert values.shape == (3, 1)


# -- measuring ------------------------------------------------------------------------------
def test_the_parts_of_a_split_follow_one_another():
    split = measure.Split.of(np.arange(100.0)[:, None])
    assert np.concatenate(split.train).ravel().tolist() == list(range(80))
    assert split.valid.ravel().tolist() == list(range(80, 90))
    values, lead = split.test
    assert lead == 90
    assert len(values) == 100
    long = measure.Split.of("x" * 30_000)
    assert long.test[1] == 1000
    assert len(long.test[0]) == 4000
    assert max(map(len, long.train)) == 1000


def test_memory_is_the_context_that_gives_most_of_the_gain():
    lags = [0, 1, 2, 4, 8]
    assert measure.memory_of(lags, [5.0, 3.0, 1.3, 1.0, 1.0]) == 4
    assert measure.memory_of(lags, [5.0, 1.1, 1.0, 1.0, 1.0]) == 1
    assert measure.memory_of(lags, [1.0, 1.2, 1.1, 1.0, 1.0]) == 0


def test_the_context_curve_shows_the_memory_of_a_chain():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, size=6)
    x = list(bits)
    while len(x) < 6000:  # the XOR of the third and second last, rarely flipped: a memory of 3 steps
        x.append(int(x[-3] ^ x[-2] ^ (rng.random() < 0.05)))
    text = "".join("ab"[b] for b in x)
    split = measure.Split.of(text)
    model = Markov(5, smoothing="kneser-ney").fit(split.train)
    lags = [0, 1, 2, 3, 4, 5, 8]
    curve = measure.context_curve(model, split, range(5400, 6000, 2), lags)
    assert curve[2] > 0.9
    assert curve[3] < 0.45
    assert measure.memory_of(lags, curve) == 3


# -- reporting -------------------------------------------------------------------------------
def test_the_figure_shows_the_numbers():
    values = np.sin(np.arange(90.0) / 3) + np.random.default_rng(0).normal(size=90)
    data = series.Data(values[:, None], "waves", "0", ("x",))
    results = list(measure.measure(measure.Split.of(data.values), hidden=4, epochs=1, positions=5))
    axes = report.figure(results, data).axes[0]
    for result, line in zip(results, axes.lines, strict=True):
        assert line.get_label() == report.label(result)
        np.testing.assert_array_equal(line.get_xdata(), result.lags)
        np.testing.assert_array_equal(line.get_ydata(), result.curve)
    assert axes.get_title() == report.sentence(results)
    assert "RMS" in axes.get_ylabel()
    rows = report.table(results, data).splitlines()
    assert len(rows) == 2 + len(results)
    assert len({len(row) for row in rows}) == 1
