"""Windows of real-valued series: targets by hand, no leakage from later parts, scaling, missing values, layouts."""

import tracemalloc
import warnings

import numpy as np
import pytest
from support import run_python, same_bits

import rnncore as rc
from rnncore.data import fingerprint, windows
from rnncore.nn import Linear, SequenceModel, make_model
from rnncore.optim import SGD, Adam
from rnncore.train import Trainer, evaluate


def parts_of(w):
    return {"train": w.train, "valid": w.valid, "test": w.test}


def rows_of(part):
    """Every window of a part: ((series, first step), x, targets, counted), time first, one row each."""
    for i, window in enumerate(part):
        counted = np.ones(window.targets.shape, bool) if window.counted is None else window.counted
        time_axes = window.targets.ndim == 3
        for row, origin in enumerate(zip(*part.origin(i), strict=True)):
            pick = (slice(None), row) if time_axes else row
            yield tuple(map(int, origin)), window.x[:, row], window.targets[pick], counted[pick]


def by_hand(series, cuts, part, steps, horizon, stride, readout):
    """{first step: (targets by (step, horizon, column), counted)} of one series, with loops."""
    begin, end = cuts[part], cuts[part + 1]
    firsts = [s for s in range(len(series)) if s + steps - 1 + horizon[-1] < end
              and (part == 0 or s + steps - 1 + horizon[0] >= begin)]
    firsts = [s for s in firsts if (firsts[-1] - s) % stride == 0]
    found = {}
    for s in firsts:
        at = range(s, s + steps) if readout == "steps" else [s + steps - 1]
        targets = np.array([[series[t + h] for h in horizon] for t in at])
        counted = np.array([[t + h >= begin for h in horizon] for t in at])[..., None] & ~np.isnan(targets)
        found[s] = targets, counted
    return found


@pytest.mark.parametrize("readout", ["steps", "last", "mean"])
@pytest.mark.parametrize("horizon", [1, 3, (1, 2, 5), (4, 6)])
@pytest.mark.parametrize("stride", [1, 4, 7])
def test_windows_are_those_of_a_loop_over_the_series(readout, horizon, stride, rng):
    """Unequal series, every part, by hand; all values differ, so a wrong step or column shows."""
    steps, given = 6, [rng.normal(size=(n, 3)) for n in (60, 47)]
    w = windows(given, steps, horizon=horizon, inputs=[2, 0], targets=[0, 1], stride=stride, batch_size=4,
                valid=0.2, test=9, scale=False, readout=readout, dtype="float64")
    ahead = w.horizon
    assert ahead == ((horizon,) if isinstance(horizon, int) else horizon)
    assert (w.input_size, w.output_size) == (2, 2 * len(ahead))
    for number, part in enumerate(parts_of(w).values()):
        expected = {}
        for i, series in enumerate(given):
            n = len(series)
            cuts = [0, n - 9 - round(0.2 * n), n - 9, n]
            hand = by_hand(series[:, :2], cuts, number, steps, ahead, stride, readout)
            expected |= {(i, s): found for s, found in hand.items()}
        seen = set()
        for (i, s), x, targets, counted in rows_of(part):
            same_bits(x, given[i][s : s + steps][:, [2, 0]])
            shape = (-1, w.output_size) if readout == "steps" else (w.output_size,)
            wanted, mask = (array.reshape(shape) for array in expected[i, s])
            same_bits(counted, mask)
            same_bits(targets, np.where(mask, wanted, 0))
            seen.add((i, s))
        assert seen == expected.keys()
        assert part.size == len(expected) == sum(window.x.shape[1] for window in part)
        assert all(window.x.shape[1] == 4 for window in list(part)[:-1])


@pytest.mark.parametrize("missing", ["refuse", "mask"])
@pytest.mark.parametrize("readout", ["steps", "last"])
@pytest.mark.parametrize("horizon", [1, (2, 5)])
def test_the_future_changes_nothing_before_it(missing, readout, horizon, rng):
    """Training windows and the scaler do not see a later part, nor does validation see the test part, to the bit."""
    series = [rng.normal(size=(90, 2)), rng.normal(size=(71, 2))]
    if missing == "mask":
        for one in series:
            one[rng.random(one.shape) < 0.1] = np.nan

    def make(given):
        return windows(given, 8, horizon=horizon, valid=0.2, test=0.15, missing=missing, readout=readout)

    before = make(series)
    for cut_of, kept in (("train", ["train"]), ("valid", ["train", "valid"])):
        changed = []
        for one in series:
            n = len(one)
            tested, validated = round(0.15 * n), round(0.2 * n)
            cut = n - tested - (validated if cut_of == "train" else 0)
            other = one.copy()
            other[cut:] = rng.normal(5, 100, size=other[cut:].shape)
            changed.append(other)
        after = make(changed)
        same_bits(after.scaler.mean, before.scaler.mean)
        same_bits(after.scaler.scale, before.scaler.scale)
        for name, part in parts_of(before).items():
            same = True
            for one, other in zip(part, parts_of(after)[name], strict=True):
                for a, b in zip(one, other, strict=True):
                    same &= a is b is None or (a is not None and b is not None and a.tobytes() == b.tobytes())
            assert same == (name in kept)


def test_every_target_of_a_part_counts_once_with_a_stride_of_the_steps(rng):
    for steps, horizon in ((7, 1), (7, 3), (20, 2)):
        w = windows(np.arange(200.0) + 1, steps, horizon=horizon, stride=steps, valid=33, test=21, scale=False)
        for part, (begin, end) in ((w.valid, (146, 179)), (w.test, (179, 200))):
            told = np.concatenate([targets[counted] for _, _, targets, counted in rows_of(part)])
            assert sorted(told) == [t + 1.0 for t in range(begin, end)]


def test_training_windows_are_shuffled_by_the_seed_and_others_are_in_order(rng):
    series = rng.normal(size=(300, 1))
    one, same, other, ordered = (windows(series, 5, valid=0.2, seed=seed) for seed in (0, 0, 1, None))
    steps = [np.concatenate([w.train.origin(i)[1] for i in range(len(w.train))]) for w in (one, same, other, ordered)]
    same_bits(steps[0], steps[1])
    assert (steps[0] != steps[2]).any()
    assert steps[3].tolist() == sorted(steps[0]) == list(range(235))
    assert np.concatenate([one.valid.origin(i)[1] for i in range(len(one.valid))]).tolist() == list(range(235, 295))
    again = [one.train.shuffled(seed) for seed in (3, 3, 4)]
    assert fingerprint(again[0]) == fingerprint(again[1]) != fingerprint(again[2])
    assert fingerprint(other.train.shuffled(3)) == fingerprint(again[0])


def test_the_scale_is_that_of_the_training_part(rng):
    series = [rng.normal([5, -300, 0], [0.1, 40, 1e-9], size=(n, 3)) for n in (80, 50)]
    w = windows(series, 4, inputs=[1, 2], targets=[2, 0], valid=0.25, test=0.1, dtype="float64")
    seen = np.concatenate([one[: len(one) - round(0.25 * len(one)) - round(0.1 * len(one))] for one in series])
    assert w.scaler.columns == (1, 2, 0)
    np.testing.assert_allclose(w.scaler.mean, seen.mean(axis=0)[[1, 2, 0]], rtol=1e-12)
    np.testing.assert_allclose(w.scaler.scale, seen.std(axis=0)[[1, 2, 0]], rtol=1e-12)
    (i, s), x, targets, _ = next(rows_of(w.train))
    np.testing.assert_allclose(x, ((series[i] - seen.mean(axis=0)) / seen.std(axis=0))[s : s + 4, [1, 2]], rtol=1e-9)
    np.testing.assert_allclose(w.inverse(targets), series[i][s + 1 : s + 5, [2, 0]], rtol=1e-9)
    np.testing.assert_allclose(w.encode(series[i])[s : s + 4], x, rtol=1e-12)


def test_predictions_of_several_horizons_return_to_units(rng):
    series = rng.normal([100, 3], [20, 0.5], size=(60, 2))
    w = windows(series, 5, horizon=(1, 4), readout="last", dtype="float64")
    for (_, s), _, targets, _ in rows_of(w.train):
        units = w.inverse(targets).reshape(2, 2)            # (horizons, columns)
        np.testing.assert_allclose(units, series[[s + 5, s + 8]], rtol=1e-9)
    with pytest.raises(ValueError, match=r"prediction: got shape \(3, 2\), expected \(\.\.\., 4\)"):
        w.inverse(np.ones((3, 2)))


@pytest.mark.parametrize("value", [0.0, 0.1, -1e300, 1e-250, 1 / 3, 123456.789])
@pytest.mark.parametrize("length", [50, 9973])
def test_a_constant_column_has_the_scale_1(value, length, rng):
    """Whatever its size: the rounded mean of equal values differs from them, so that their deviation is not 0."""
    spread = 1e-9 * (abs(value) or 1.0)
    series = np.stack([np.full(length, value), value + spread * rng.normal(size=length)], axis=1)
    w = windows(series, 4)
    assert w.scaler.scale[0] == 1
    assert 0.5 < w.scaler.scale[1] / spread < 2         # a column that varies a little is not constant
    assert not w.train[0].x[..., 0].any()
    assert w.train[0].x[..., 1].any()


def test_missing_targets_do_not_count(rng):
    series = rng.normal(size=(50, 2))
    holes = series.copy()
    holes[rng.random(50) < 0.3, 1] = np.nan
    w = windows(holes, 6, inputs=[0], targets=[1], valid=0.2, scale=False, dtype="float64")
    missing = np.isnan(holes[:, 1])
    for (_, s), _, targets, counted in rows_of(w.train):
        same_bits(counted[:, 0], ~missing[s + 1 : s + 7])
        same_bits(targets[counted], holes[s + 1 : s + 7, 1][counted[:, 0]])
        assert np.isfinite(targets).all()
    model = make_model("gru", 1, features=1, hidden_size=4, loss="mse", dtype="float64", seed=0)
    error, count = 0.0, 0
    for window in w.train:
        square = ((model(window.x)[0] - window.targets) ** 2)[window.counted]
        error, count = error + square.sum(), count + square.size
    assert evaluate(model, w.train) == pytest.approx(error / count, rel=1e-12)
    assert np.isfinite(Trainer(model, SGD(model, 0.1), w.train).fit(3, progress=False).losses).all()
    learnt = windows(holes, 6, inputs=[0], targets=[1], valid=0.2).scaler
    np.testing.assert_allclose(learnt.mean[1], np.nanmean(holes[:40, 1]), rtol=1e-12)


def test_missing_inputs_are_refused_or_masked(rng):
    series = rng.normal(size=(50, 2))
    series[[7, 30], [1, 0]] = np.nan
    with pytest.raises(ValueError, match=r"series: got nan at step 7 of column 1, .* interpolate .*missing=\"mask\""):
        windows(series, 6)
    with pytest.raises(ValueError, match=r"^series\[1\]: got nan at step 7 of column 1"):
        windows([series[:5], series], 2)
    w = windows(series, 6, missing="mask", scale=False, dtype="float64")
    assert w.input_size == 4
    present = ~np.isnan(series)
    for (_, s), x, _, _ in rows_of(w.train):
        same_bits(x, np.concatenate([np.where(present, series, 0), present], axis=1)[s : s + 6])
    same_bits(w.encode(series)[7], np.array([series[7, 0], 0, 1, 0]))
    with pytest.raises(ValueError, match=r"series: got inf at step 3 of column 0, expected finite numbers, or NaN"):
        windows(np.array([0, 1, 2, np.inf] + [1.0] * 30), 6, missing="mask")
    with pytest.raises(ValueError, match="got no value of column 0 in the training part"):
        windows(np.array([np.nan] * 20 + [1.0] * 10), 3, valid=10, missing="mask")


@pytest.mark.parametrize("missing", ["refuse", "mask"])
@pytest.mark.parametrize("readout", ["steps", "last"])
def test_batch_first_windows_are_the_same_with_other_axes(missing, readout, rng):
    """Steps, rows and outputs are equally many in the last batch, where a wrong axis would not show in a shape."""
    series = rng.normal(size=(38, 2))
    series[5:9, 1] = np.nan
    options = {"targets": [1], "horizon": (1, 2, 3, 4), "batch_size": 4, "missing": missing, "readout": readout,
               "inputs": [0] if missing == "refuse" else [0, 1], "valid": 8}
    for one, other in zip(parts_of(windows(series, 4, **options)).values(),
                          parts_of(windows(series, 4, batch_first=True, **options)).values(), strict=True):
        for a, b in zip(one or (), other or (), strict=True):
            same_bits(a.x.swapaxes(0, 1), b.x)
            for mine, theirs in ((a.targets, b.targets), (a.counted, b.counted)):
                if mine is None:
                    assert theirs is None
                else:
                    same_bits(mine.swapaxes(0, 1) if readout == "steps" else mine, theirs)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("readout", ["steps", "last", "mean"])
def test_a_model_learns_to_forecast(readout, batch_first):
    """A sum of two waves 3 and 4 steps ahead, by a model of each readout; a constant has a squared error of 1."""
    t = np.arange(700)
    series = 40 + 8 * np.sin(t / 5) + 3 * np.cos(t / 3)
    w = windows(series, 24, horizon=(3, 4), valid=0.2, test=0.1, readout=readout, batch_first=batch_first)
    layer = rc.GRU(w.input_size, 16, batch_first=batch_first, seed=0)
    model = SequenceModel(None, layer, Linear(16, w.output_size, seed=1), loss="mse", readout=readout)
    trainer = Trainer(model, Adam(model, 0.02), w.train, valid=w.valid).fit(150, progress=False)
    assert trainer.evaluate() < 0.1
    assert evaluate(model, w.test) < 0.1
    recent = w.encode(series[-28:-4])
    prediction = w.inverse(model(recent[None] if batch_first else recent[:, None])[0])
    if readout == "steps":
        prediction = prediction[:, -1] if batch_first else prediction[-1]
    assert np.abs(prediction[0] - series[[-2, -1]]).max() < 4       # of a series whose deviation is 6


def test_windows_are_independent_for_training(rng):
    w = windows(rng.normal(size=200), 10)
    model = make_model("gru", 1, features=1, hidden_size=4, loss="mse", seed=0)
    trainer = Trainer(model, SGD(model, 0.0), w.train)
    trainer.fit(len(w.train) + 1, progress=False)
    again = Trainer(model, SGD(model, 0.0), w.train, carry=False).fit(len(w.train) + 1, progress=False)
    assert trainer.losses == again.losses
    assert len({window.x.shape[1] for window in w.train}) == 2          # the last batch is smaller


def test_a_run_on_windows_is_resumed_with_the_same_data_only(tmp_path, rng):
    series, path = rng.normal(size=200), tmp_path / "run"

    def trainer(given=series, **options):
        model = make_model("gru", 1, features=1, hidden_size=4, loss="mse", seed=0)
        return Trainer(model, Adam(model, 0.01), windows(given, 10, **options).train)

    whole = trainer().fit(9, progress=False)
    trainer().fit(4, progress=False, checkpoint=path)
    same_bits(trainer().resume(path).fit(5, progress=False).model.state_dict(), whole.model.state_dict())
    other = series.copy()
    other[50] += 1e-3
    for changed in (trainer(other), trainer(seed=1), trainer(horizon=2, stride=1)):
        with pytest.raises(ValueError, match=r"its training data is another|its number of windows is"):
            changed.resume(path)


def test_nothing_of_the_size_of_all_windows_is_ever_made(rng):
    series = rng.normal(size=(100_000, 2)).astype("float32")
    tracemalloc.start()
    try:
        w = windows(series, 1000, valid=0.1, readout="last")
        for part in (w.train, w.valid):
            part[0], part[len(part) - 1]
        assert tracemalloc.get_traced_memory()[1] < 20 * series.nbytes      # all windows have 1000 times that
    finally:
        tracemalloc.stop()


def test_slices_and_numbers_of_batches(rng):
    part = windows(rng.normal(size=100), 5, batch_size=10, seed=None).train
    assert len(part) == 10
    for one, other in zip(part[2:8:3], [part[2], part[5]], strict=True):
        same_bits(one.x, other.x)
    same_bits(part[-1].x, part[9].x)
    for outside in (10, -11):
        with pytest.raises(IndexError):
            part[outside]
    assert repr(part) == "SeriesPart(95 windows in 10 batches)"


# ---- kinds of series -----------------------------------------------------------------------------


def same_windows(one, other):
    for a, b in zip(parts_of(one).values(), parts_of(other).values(), strict=True):
        assert fingerprint(a or ()) == fingerprint(b or ())
        for mine, theirs in zip(a or (), b or (), strict=True):
            same_bits(mine.x, theirs.x)
            same_bits(mine.targets, theirs.targets)


def test_kinds_of_arrays_are_alike(rng):
    values = rng.integers(-50, 50, size=80)
    expected = windows(values.astype(float), 5, valid=0.2)
    column = values[:, None]
    for given in (values, values.tolist(), column, [column], (column,), values.astype("int8"), values.astype("f4")):
        same_windows(windows(given, 5, valid=0.2), expected)
    masked = np.ma.array(values.astype(float), mask=values > 30)
    w = windows(masked, 5, missing="mask", scale=False, dtype="float64")
    same_windows(w, windows(np.where(values > 30, np.nan, values), 5, missing="mask", scale=False, dtype="float64"))


def test_columns_of_an_array_by_number(rng):
    series = rng.normal(size=(60, 3))
    expected = windows(series, 5, inputs=[0, 2], targets=[2])
    for inputs, targets in (([0, -1], -1), ((0, 2), 2), (np.array([0, 2]), np.int64(2)), (range(0, 3, 2), [2])):
        same_windows(windows(series, 5, inputs=inputs, targets=targets), expected)
    assert windows(series, 5).inputs == windows(series, 5).targets == (0, 1, 2)


def test_data_frames_are_read_by_name(rng):
    pandas = pytest.importorskip("pandas")
    series = rng.normal(size=(60, 2))
    frame = pandas.DataFrame({"load": series[:, 0], "note": ["x"] * 60, "wind": series[:, 1]},
                             index=pandas.date_range("2024-01-01", periods=60, freq="h"))
    expected = windows(series, 5, inputs=[1, 0], targets=[0], valid=0.2)
    w = windows(frame, 5, inputs=["wind", "load"], targets="load", valid=0.2)
    same_windows(w, expected)
    assert (w.inputs, w.targets, w.scaler.columns) == (("wind", "load"), ("load",), ("wind", "load"))
    same_bits(w.encode(frame[-7:]), expected.encode(series[-7:]))
    same_windows(windows([frame, frame], 5, inputs=["wind"], targets="load"),
                 windows([series, series], 5, inputs=[1], targets=[0]))
    same_windows(windows(frame["load"], 5), windows(series[:, 0], 5))

    nullable = pandas.DataFrame({"n": pandas.array([1, None, 3] * 20, dtype="Int64"), "y": series[:, 0]})
    holes = np.stack([np.array([1, np.nan, 3] * 20), series[:, 0]], axis=1)
    same_windows(windows(nullable, 5, missing="mask"), windows(holes, 5, missing="mask"))

    with pytest.raises(TypeError, match=r"series\['note'\]: got \w+ values .*expected one column of real numbers"):
        windows(frame, 5)
    with pytest.raises(ValueError, match=r"targets: got the column 'sun', expected some of 'load', 'note', 'wind'"):
        windows(frame, 5, inputs="wind", targets="sun")
    with pytest.raises(ValueError, match=r"not in order of time, expected the oldest first; sort them with \.sort"):
        windows(frame[::-1], 5, inputs="wind", targets="load")
    with pytest.raises(ValueError, match=r"series\[1\]: got no column 'wind'"):
        windows([frame, frame[["load"]]], 5, inputs="wind", targets="load")
    with pytest.raises(TypeError, match=r"series\[1\]: got a ndarray, expected a DataFrame, as the first series is"):
        windows([frame, series], 5, inputs="wind", targets="load")


@pytest.mark.parametrize("form", ["frame", "series"])
def test_an_index_of_times_that_is_not_regular_is_told(rng, form):
    """Steps that are left out move every later value to a wrong lag."""
    pandas = pytest.importorskip("pandas")
    values = rng.normal(size=60)

    def made(index):
        column = pandas.Series(values[:len(index)], index=index)
        return column if form == "series" else column.to_frame("load")

    hours = pandas.date_range("2024-01-01", periods=60, freq="h")
    with pytest.warns(RuntimeWarning, match=r"series: got 2 of 56 steps .*after 2024-01-01 09:00:00; .*asfreq"):
        rc.data.windows(made(hours.delete([10, 40, 41])), 5)
    with pytest.raises(ValueError, match=r"series: got the time 2024-01-01 05:00:00 twice .*a list of frames"):
        rc.data.windows(made(hours[:50].insert(5, hours[5])), 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for freq in ("h", "B", "MS", "W"):
            rc.data.windows(made(pandas.date_range("2024-01-01", periods=60, freq=freq)), 5)
        gaps = made(hours.delete([10, 40, 41])).asfreq("h")
        assert rc.data.windows(gaps, 5, missing="mask").train.size == rc.data.windows(made(hours), 5).train.size


def test_pandas_is_not_imported():
    out = run_python("""
import sys
sys.modules["pandas"] = None
import numpy as np, rnncore as rc
print(len(rc.data.windows(np.arange(50.0), 5).train))
""")
    assert out.stdout.strip() == "2"


# ---- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps: got 0"),
        ({"stride": 0}, ValueError, "stride: got 0"),
        ({"batch_size": 1.5}, ValueError, r"batch_size: got 1\.5"),
        ({"horizon": -1}, ValueError, "horizon: got -1"),
        ({"horizon": ()}, ValueError, r"horizon: got \[\], expected one number of steps, or several that increase"),
        ({"horizon": (2, 2)}, ValueError, r"horizon: got \[2, 2\]"),
        ({"horizon": 0}, ValueError, "horizon: got 0 with column 0 as input and target"),
        ({"horizon": "soon"}, ValueError, "horizon: got 'soon'"),
        ({"valid": 1.0}, ValueError, r"valid: got 1\.0, expected a number in \[0, 1\)"),
        ({"test": -1}, ValueError, r"test: got -1, expected a whole number >= 0, or a share in \[0, 1\)"),
        ({"valid": True}, ValueError, "valid: got True"),
        ({"valid": 0.5, "test": 0.5}, ValueError, "series: got 40 steps, 0 of them for training, expected at least 6"),
        ({"steps": 39, "horizon": 2}, ValueError, "got 40 steps, 40 of them for training, expected at least 41"),
        ({"valid": 0.01}, ValueError, r"valid: got 0\.01, which is 0 of the 40 steps of series, expected at least 1"),
        ({"test": 3, "horizon": range(1, 5)}, ValueError, "test: got 3, which is 3 of the 40 steps .* at least 4"),
        ({"inputs": [0, 7]}, ValueError, "inputs: got the column 7, expected some of 0, 1"),
        ({"inputs": []}, ValueError, "inputs: got no column"),
        ({"inputs": [1, -1]}, ValueError, "inputs: got the column 1 twice"),
        ({"inputs": [True]}, ValueError, "inputs: got the column True"),
        ({"inputs": "load"}, ValueError, "inputs: got the column 'load', expected some of 0, 1"),
        ({"missing": "drop"}, ValueError, "missing: got 'drop', expected one of refuse, mask"),
        ({"readout": None}, ValueError, "readout: got None, expected one of steps, last, mean"),
        ({"inputs": [[0]]}, ValueError, r"inputs: got the column \[0\]"),
        ({"inputs": np.ones((2, 2))}, ValueError, r"inputs: got the column \[1\.0, 1\.0\]"),
        ({"targets": np.array(2)}, ValueError, "targets: got the column 2"),
        ({"horizon": np.array(1.5)}, ValueError, r"horizon: got 1\.5"),
        ({"seed": -1}, ValueError, "seed: got -1"),
        ({"seed": "now"}, TypeError, "seed: got 'now'"),
        ({"scale": 1}, TypeError, "scale: got 1, expected True or False"),
        ({"batch_first": 1}, TypeError, "batch_first: got 1"),
        ({"dtype": "float16"}, ValueError, "dtype: got 'float16'"),
        ({"series": np.ones((40, 2), complex)}, TypeError, "series: got complex128 values, expected real numbers"),
        ({"series": ["a", "b"]}, TypeError, "series: got <U1 values, expected real numbers"),
        ({"series": np.ones((4, 4, 4))}, ValueError, r"series: got shape \(4, 4, 4\), expected \(T, 4\): steps"),
        ({"series": [np.ones((40, 2)), np.ones((40, 3))]}, ValueError, r"series\[1\]: got shape \(40, 3\)"),
        ({"series": [np.ones((40, 2)), np.ones((5, 2))]}, ValueError, r"series\[1\]: got 5 steps, 5 of them"),
        ({"series": []}, ValueError, "series: got 0 steps"),
    ],
)
def test_wrong_arguments_are_refused(change, error, message):
    options = {"series": np.arange(80.0).reshape(40, 2), "steps": 5} | change
    with pytest.raises(error, match=message):
        windows(options.pop("series"), options.pop("steps"), **options)


def test_the_same_step_may_be_the_target_of_other_columns(rng):
    series = rng.normal(size=(30, 2))
    w = windows(series, 4, horizon=0, inputs=0, targets=1, scale=False, dtype="float64")
    for (_, s), x, targets, _ in rows_of(w.train):
        same_bits(np.concatenate([x, targets], axis=1), series[s : s + 4])
