"""`rnncore compare`: reading, measuring, reporting; the table agrees with models called directly."""

import json
import math
import sys

import numpy as np
import pytest
from sklearn.base import clone
from statsmodels import datasets

from rnncore.command.cli import main
from rnncore.command.compare import measure, report, series
from rnncore.command.compare.baselines import Persistence, season
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
    assert "309 steps of SUNACTIVITY, sha256" in out
    assert "index: YEAR\n  YEAR left out: it increases by a constant per row" in out
    told = json.loads((tmp_path / "compare.json").read_text())
    assert told["data"]["columns"] == ["SUNACTIVITY"]
    assert told["data"]["index"] == "YEAR"
    assert list(told["data"]["left_out"]) == ["YEAR"]

    spots = datasets.sunspots.load_pandas().data[["SUNACTIVITY"]].to_numpy()
    scaling = {name: value[0] for name, value in told["data"]["scaling"].items()}
    assert scaling["shift"] == pytest.approx(spots[:247].mean())
    assert scaling["scale"] == pytest.approx(spots[:247].std())
    assert scaling["naive"] == pytest.approx(math.sqrt(np.mean(np.diff(spots[:247, 0]) ** 2)))
    unit = scaling["scale"]
    values = measure.Units.of(spots, 247).standardised(spots)
    np.testing.assert_allclose(values, (spots - scaling["shift"]) / unit, rtol=1e-9, atol=1e-12)
    train, valid, cut = values[:247], values[247:278], 278
    pieces = [train[i : i + 50] for i in range(0, 247, 50)]
    models = [eval(row["model"]) for row in told["models"]]
    assert [type(m) for m in models] == [
        Persistence, Persistence, AutoRegressive, AutoRegressive, HiddenMarkov, SwitchingAutoRegressive,
        *[Recurrent] * 3]
    for model, row in zip(models, told["models"], strict=True):
        if isinstance(model, (AutoRegressive, Persistence, SwitchingAutoRegressive)):
            model.fit([train])
        elif isinstance(model, HiddenMarkov):
            model.fit(pieces)
        else:
            model.fit(pieces, valid=[valid])
        error = unit * (values[cut:] - model.one_step(values).mean[cut:])
        assert row["loss"] == pytest.approx(math.sqrt(np.mean(error**2)), rel=1e-12)
        assert row["errors"] == {"SUNACTIVITY": pytest.approx(row["loss"], rel=1e-12)}
        assert row["scaled_error"] == pytest.approx(row["loss"] / scaling["naive"], rel=1e-12)
        nats = -model.log_prob(values, per_step=True)[cut:].mean() + math.log(unit)
        assert row["nats_per_step"] == pytest.approx(nats, rel=1e-12)
        assert row["parameters"] == model.n_parameters_
        alone = [unit * (model.predict(values[t - 2 : t]).mean - values[t]) for t in range(cut, 309)]
        at = row["context_kept"].index(2)
        assert row["context_loss"][at] == pytest.approx(math.sqrt(np.mean(np.square(alone))))
        assert f"{row['loss']:.4g}" in next(line for line in out.splitlines()
                                            if line.startswith(row["name"]))
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore:.*parameters to")     # so little text
def test_a_text_and_its_table_agree_with_models_called_by_hand(tmp_path, capsys):
    (tmp_path / "a.txt").write_text(TEXT)
    status, out, _ = run(capsys, tmp_path / "a.txt", "--out", tmp_path, "--limit", 1300, *SMALL)
    assert status == 0
    assert "the first 1,300 characters" in out
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
    assert [row["name"] for row in told["not_fitted"]] == ["SwitchingAutoRegressive"]
    assert "SwitchingAutoRegressive cannot be fitted: it cannot predict after missing values" in out
    assert all("missing='mask'" in row["model"] for row in told["models"] if "Persistence" not in row["model"])


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.txt", b"", "is empty"), ("a.txt", b"short", "too short"),
    ("a.txt", b"\x00\x01", "binary"), ("a.txt", b"\xff\xfe\xff" * 99, "not UTF-8"),
    ("a.csv", b"", "is empty"), ("a.csv", b"\n\n", "no rows"),
    ("a.csv", b"x,y\n" + b"1,2\n" * 99 + b"3,4,5\n", "row 101 has more cells"),
    ("a.csv", b"x\na\nb\n" * 60, "no column"),
    ("a.csv", b"x\n1\n2\n4\n", "too short: 3 steps, expected at least 60"),
    ("a.csv", b"x\n" + b"inf\n" * 99, "infinite"),
    ("a.csv", b"x\n" + b"\"\"\n" * 99, "no column"),
    ("a.csv", b"x\n" + b"5\n" * 99, "x left out: it is always 5"),
    ("a.csv", b"x,y\n" + b"5,1\n7,1\n4,1\n" * 30 + b"NA,1\n" * 10,
     "x left out: no values in the last 10 % of the rows; y left out: it is always 1"),
    ("a.csv", b"x\n" + b"NA\n" * 85 + b"5\n7\n4\n" * 5, "x left out: no values in the first 80 %"),
    ("a.csv", b",".join([b"1"] * 70) + b"\n", "if time runs along its columns, exchange rows and columns"),
])
def test_a_bad_file_gives_one_line_and_status_2(name, content, message, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    status, out, err = run(capsys, tmp_path / name, "--out", tmp_path / "out")
    assert status == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_table_without_pandas_is_refused_with_what_to_install(sunspots, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    status, out, err = run(capsys, sunspots, "--out", tmp_path)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'rnncore[tables]'" in err


def test_wrong_arguments_give_one_line_and_status_2(sunspots, tmp_path, capsys):
    for arguments, message in [((tmp_path / "none.txt",), "none.txt"),
                               ((sunspots, "--columns", "SUN"), "it has YEAR, SUNACTIVITY"),
                               ((sunspots, "--index", "DAY"), "--index: "),
                               ((sunspots, "--limit", "59"), "too short: 59 steps because of --limit 59, expected at"),
                               ((sunspots, "--kind", "text", "--missing", "x"), "as text"),
                               (("--kind", "series"), "give a table"),
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
    assert len(told["models"]) == 8
    for model in (Persistence, AutoRegressive, SwitchingAutoRegressive, Recurrent):
        monkeypatch.setattr(model, "fit", fail)
    status, out, err = run(capsys, tmp_path / "a.csv", "--out", tmp_path, *SMALL)
    assert status == 2
    assert "no model can be fitted" in err


# -- units and baselines -----------------------------------------------------------------
def waves(rng, steps=150):
    t = np.arange(steps)
    x = np.stack([np.sin(t / 4), np.cos(t / 9) + t / 50, np.cumsum(rng.normal(size=steps))], 1)
    return x + 0.1 * rng.normal(size=x.shape)


@pytest.mark.parametrize("scale", [1e-200, 3e-4, 1e200])
def test_no_unit_changes_the_ranking(rng, scale):
    values = waves(rng, 100)[:, :2]
    units = np.array([scale, 1.0])
    shift = np.array([5 * scale, 300.0])
    mine, other = (list(measure.measure(measure.Split.of(v), hidden=4, epochs=3, positions=5))
                   for v in (values, shift + units * values))
    assert [r.name for r in mine] == [r.name for r in other]
    for one, two in zip(mine, other, strict=True):
        assert two.scaled == pytest.approx(one.scaled, rel=1e-3), one.name
        assert two.loss == pytest.approx(one.loss, rel=1e-3)
        np.testing.assert_allclose(two.errors, np.array(one.errors) * units, rtol=1e-3)
        assert two.log_loss == pytest.approx(one.log_loss + math.log(scale), rel=1e-3, abs=1e-3)
        np.testing.assert_allclose(two.curve, one.curve, rtol=1e-3)


def test_the_error_over_several_columns_is_relative_to_persistence(rng):
    values = waves(rng)
    naive = np.sqrt(np.mean(np.diff(values[:120], axis=0) ** 2, axis=0))
    result = next(measure.measure(measure.Split.of(values)))
    assert result.name == "Persistence"
    errors = np.sqrt(np.mean((values[135:] - values[134:-1]) ** 2, axis=0))
    np.testing.assert_allclose(result.errors, errors, rtol=1e-9)
    assert result.scaled == pytest.approx(math.sqrt(np.mean((errors / naive) ** 2)))
    assert result.loss == result.scaled


def test_persistence_predicts_the_last_value_that_is_known():
    nan = math.nan
    values = np.array([[1, nan], [2, 5], [nan, nan], [4, 7], [nan, 8], [6, nan]])
    model = Persistence().fit([np.array([[1.0, 5.0], [3.0, 7.0]])])
    mean = model.one_step(values).mean
    np.testing.assert_array_equal(mean, [[2, 6], [1, 6], [2, 5], [2, 5], [4, 7], [4, 8]])
    np.testing.assert_array_equal(model.predict(values).mean, [6, 8])
    np.testing.assert_array_equal(model.predict(values[:0]).mean, [2, 6])
    np.testing.assert_array_equal(Persistence(3).fit([values[:4]]).one_step(values).mean[3:], [[1, 6], [2, 5], [2, 5]])
    assert model.variance_.tolist() == [4, 4]
    steps = model.log_prob(values, per_step=True)
    assert steps[1] == pytest.approx(-0.5 * (1 / 4 + math.log(2 * math.pi * 4)) - 0.5 * (
        1 / 4 + math.log(2 * math.pi * 4)))
    assert model.log_prob(values) == pytest.approx(steps.sum())
    for t in range(6):
        np.testing.assert_array_equal(model.predict(values[:t]).mean, mean[t])


@pytest.mark.parametrize("period", [2, 7, 12, 24, 52])
def test_the_season_is_found(rng, period):
    pattern = rng.normal(size=(period, 2))
    values = np.tile(pattern, (240 // period + 1, 1)) + 0.1 * rng.normal(size=((240 // period + 1) * period, 2))
    values[rng.random(values.shape) < 0.1] = np.nan
    assert season(values) == period


def test_the_table_says_what_is_gained_over_persistence(rng):
    walk = np.cumsum(rng.normal(size=(200, 1)), axis=0)
    back = np.zeros((200, 1))       # a value pulls the next one to the other side
    for t in range(1, 200):
        back[t] = -0.8 * back[t - 1] + rng.normal()
    for values in (walk, back):
        data = series.Data(values, "f", "0", ("x",))
        results = list(measure.measure(measure.Split.of(values), hidden=2, epochs=1, positions=5))
        told = report.verdict(results, data)
        least = {kind: min(r.loss for r in results if (r.name in measure.BASELINES) == kind) for kind in (False, True)}
        assert (least[False] < least[True]) == ("predicts best" in told[0])
        if values is back:
            assert "predicts best: its error is " in told[0]
        assert told[0] in report.table(results, data)
        worse = [r for r in results if r.loss > least[True] and r.name not in measure.BASELINES]
        if "predicts best" in told[0]:
            assert all(f"({r.loss / least[True]:.3g} times)" in told[1] for r in worse)


def test_a_held_out_loss_that_is_not_finite_is_a_failure(rng, monkeypatch):
    monkeypatch.setattr(HiddenMarkov, "log_prob", lambda *_, **__: np.full(100, math.inf))
    results = list(measure.measure(measure.Split.of(waves(rng, 100)), hidden=2, epochs=1, positions=2))
    failed = {r.name: r.reason for r in results if isinstance(r, measure.Failure)}
    assert failed["HiddenMarkov"] == "its held-out loss is not finite"


# -- progress and interruption ---------------------------------------------------------------
def test_a_model_shows_its_progress(rng):
    seen = []
    split = measure.Split.of(waves(rng, 100))
    for result in measure.measure(split, hidden=2, epochs=4, positions=2,
                                  progress=lambda done, total, info: seen.append((done, total))):
        if result.name == "GRU":
            assert (4, 4) in seen       # epochs
            assert (len(result.lags), len(result.lags)) in seen
        seen.clear()


def test_an_interrupt_keeps_the_models_that_are_done(tmp_path, capsys, rng, monkeypatch):
    np.savetxt(tmp_path / "a.csv", waves(rng, 100), delimiter=",")

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(HiddenMarkov, "fit", interrupt)
    status, out, err = run(capsys, tmp_path / "a.csv", "--out", tmp_path, *SMALL)
    assert status == 130
    assert "interrupted after 4 models; the others are not in the table" in out
    assert "Persistence  " in out
    assert len(json.loads((tmp_path / "compare.json").read_text())["models"]) == 4
    monkeypatch.setattr(Persistence, "fit", interrupt)
    status, _, err = run(capsys, tmp_path / "a.csv", "--out", tmp_path, *SMALL)
    assert (status, err) == (130, "rnncore compare: interrupted\n")


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
def table_of(tmp_path, content, **options):
    (tmp_path / "a.csv").write_text(content)
    return series.read(tmp_path / "a.csv", **options)


def test_columns_that_cannot_be_modelled_are_left_out_with_the_reason(tmp_path, rng):
    x = rng.normal(size=(100, 4)).round(3).astype(str)
    x[:, 1] = "7"
    x[90:, 2] = "NA"
    x[80:90, 3] = ""
    content = "a,b,c,d\n" + "\n".join(map(",".join, x))
    data = table_of(tmp_path, content)
    assert data.columns == ("a",)
    assert data.left_out == {"b": "it is always 7", "c": "no values in the last 10 % of the rows",
                             "d": "no values in the 10 % for choices of the rows"}
    assert "b left out: it is always 7\n" in str(data)
    assert table_of(tmp_path, content, columns="a, b").columns == ("a", "b")
    data = table_of(tmp_path, content, limit=90)
    assert data.columns == ("a", "c")       # the last tenth of 90 steps has none of d
    assert len(data.values) == 90


def test_a_wide_table_is_cut_with_a_message(tmp_path, rng):
    x = rng.normal(size=(60, 250)).round(3).astype(str)
    data = table_of(tmp_path, "\n".join(map(",".join, x)))
    assert len(data.columns) == 100
    assert "the first 100 of 250 columns are modelled" in str(data)
    assert "and 90 more" in str(data)
    names = [f"column {i + 1}" for i in range(150)]
    assert len(table_of(tmp_path, "\n".join(map(",".join, x)), columns=names).columns) == 150


def test_a_text_is_read_no_further_than_the_limit(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("héllo wörld. ".encode() * 100 + b"\xff\x00")     # what is behind the limit may be anything
    data = series.read(path, limit=1300)
    assert data.values == "héllo wörld. " * 100
    assert data.notes == ("the first 1,300 characters",)


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
    axes.set_title(40 * "long words ")
    axes.figure.draw_without_rendering()
    assert axes.title.get_window_extent().width <= axes.figure.bbox.width, "the title is cut"
    assert "RMS" in axes.get_ylabel()
    rows = report.table(results, data).splitlines()[: 2 + len(results)]
    assert len({len(row) for row in rows}) == 1
    assert [row.split("  ")[0] for row in rows[2:]] == list(map(report.label, results))
