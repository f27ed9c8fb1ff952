"""Recurrent that predicts differences from the last known value: against its definition, gaps, trends, files."""

import numpy as np
import pytest
import statsmodels.api as sm
from crafted import save_crafted
from support import same_bits

from rnncore import models
from rnncore.io.safetensors import load_arrays
from rnncore.models import Recurrent
from rnncore.models.networks.feed import CONSTANT, Differences, RealFeed

QUICK = {"epochs": 2, "window": 8, "batch_size": 3, "dtype": "float64", "seed": 0}


def last_known(x):
    """The last known value before each step and after all, (T + 1, F)."""
    found = np.full((len(x) + 1, x.shape[1]), np.nan)
    for t in range(len(x)):
        found[t + 1] = np.where(np.isnan(x[t]), found[t], x[t])
    return found


def trends(rng, steps, gaps=0.0):
    """A trend with a random walk, white noise, and a slow wave, with values missing."""
    x = np.stack([3.0 * np.arange(steps) + rng.normal(size=steps).cumsum(), 100 + rng.normal(size=steps),
                  1e-3 * np.sin(np.arange(steps) / 9)], axis=1)
    x[rng.random(x.shape) < gaps] = np.nan
    return x


@pytest.fixture(scope="module", params=[0.0, 0.3], ids=["whole", "gaps"])
def fitted(request):
    """A model of three features, of which two are differenced, with one exogenous input."""
    rng = np.random.default_rng(0)
    xs = [trends(rng, n, request.param) for n in (120, 60, 1, 0, 80)]
    us = [rng.normal(size=(len(x), 1)) for x in xs]
    return Recurrent("gru", 5, missing="mask", **QUICK).fit(xs, exog=us)


# -- the definition ----------------------------------------------------------------------
def test_inputs_and_targets_of_a_window():
    """By hand: feature 0 is differenced with mean 1 and deviation 2, feature 1 is not."""
    feed = RealFeed(np.array([10.0, 5.0]), np.array([4.0, 5.0]), True, "float64",
                    RealFeed(np.array([0.0]), np.array([1.0]), False, "float64"),
                    Differences(np.array([True, False]), np.array([1.0, 5.0]), np.array([2.0, 5.0])))
    nan = np.nan
    x = np.array([[nan, 0, 0.1], [14, 5, 0.2], [nan, nan, 0.3], [18, 15, 0.4], [19, 10, 0.5]])
    one = 1 / np.sqrt(1.25)         # 1 squashed at 2
    two = 2 / np.sqrt(2)
    wanted = np.array([
        # x_{t−1} of both, difference, present, u_t
        [0, 0, 0, 0, 0, 0.1],
        [0, -1, 0, 0, 1, 0.2],
        [one, 0, 0, 1, 1, 0.3],     # nothing before 14 was known
        [0, 0, 0, 0, 0, 0.4],
        [two, 2, 1.5, 1, 1, 0.5],   # (18 − 14 − 1) / 2
    ])
    targets = [[0, -1], [1, 0], [0, 0], [1.5, 2], [0, 1]]   # (14 − 10) / 4, then (18 − 14 − 1) / 2, (19 − 18 − 1) / 2
    for begin in range(5):
        for end in range(begin + 1, 6):
            window = feed.batch([x], [(0, begin, end)])
            np.testing.assert_allclose(window.x[:, 0], wanted[begin:end], rtol=1e-14)
            np.testing.assert_allclose(window.targets[:, 0], targets[begin:end], rtol=1e-14)
    assert feed.inputs == 6
    assert "1 by differences" in repr(feed)


def test_the_last_known_values_of_any_part_of_a_sequence(rng):
    x = rng.normal(size=(60, 3))
    x[rng.random(x.shape) < 0.7] = np.nan
    x[:40, 2] = np.nan
    feed, wanted = RealFeed(np.zeros(3), np.ones(3), True), last_known(x)
    for _ in range(300):
        begin, end = sorted(rng.integers(0, 61, 2))
        np.testing.assert_array_equal(feed.last_known(x, begin, end), wanted[begin:end])
    np.testing.assert_array_equal(feed.last_known(x, 60, 61), wanted[60:])


def test_the_standardisation_is_that_of_the_differences_by_hand(fitted, rng):
    xs = [trends(rng, n, 0.2) for n in (90, 30, 1)]
    model = Recurrent("gru", 3, valid_fraction=0, missing="mask", **QUICK).fit(xs)
    assert model.differenced_.tolist() == [True, False, True]
    d = np.concatenate([x - last_known(x)[:-1] for x in xs])
    for f in (0, 2):
        np.testing.assert_allclose([model.step_shift_[f], model.step_scale_[f]],
                                   [np.nanmean(d[:, f]), np.nanstd(d[:, f])], rtol=1e-10)
    assert (model.step_shift_[1], model.step_scale_[1]) == (model.shift_[1], model.scale_[1])
    np.testing.assert_allclose(model.scale_, np.nanstd(np.concatenate(xs), axis=0), rtol=1e-10)


@pytest.mark.parametrize("target", ["difference", "value"])
def test_a_network_without_weights_is_a_random_walk_with_drift_or_the_mean(rng, target):
    x = trends(rng, 60)
    model = Recurrent("lstm", 3, target=target, **QUICK).fit([x])
    with model.network_.writable() as weights:
        for array in weights.values():
            array[...] = 0
    mean = model.one_step(x).mean
    if target == "value":
        np.testing.assert_allclose(mean, np.tile(model.shift_, (60, 1)), rtol=1e-14)
        return
    np.testing.assert_allclose(mean[0], model.shift_, rtol=1e-14)
    np.testing.assert_allclose(mean[1:], x[:-1] + model.step_shift_, rtol=1e-14)
    ahead = model.forecast(x, 4, paths=20_000, seed=0)
    steps = np.arange(1, 5)[:, None]
    spread = np.sqrt(steps * model.variance_[1])        # of a sum of independent steps
    assert (np.abs(ahead.mean - (x[-1] + steps * model.step_shift_)) < 5 * spread / np.sqrt(20_000)).all()
    np.testing.assert_allclose(np.sqrt(np.diagonal(ahead.covariance, axis1=1, axis2=2)), spread, rtol=0.03)
    np.testing.assert_allclose((ahead.upper - ahead.lower) / (2 * 1.96 * spread), 1, atol=0.05)


# -- all methods ----------------------------------------------------------------------------
def test_all_methods_agree_in_the_units_of_the_data(fitted, rng):
    x, u = trends(rng, 9, 0.3 if fitted.variance_[0, 0] else 0), rng.normal(size=(9, 1))
    x[:3, 2] = np.nan
    x[-1, 0] = np.nan
    steps, each, last = fitted.one_step(x, exog=u), fitted.log_prob(x, per_step=True, exog=u), last_known(x)
    for t in range(9):
        mean, variance = fitted.predict(x[:t], exog=u[: t + 1])
        np.testing.assert_allclose(mean, steps.mean[t], rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(variance, steps.variance[t])
        np.testing.assert_array_equal(variance, np.where(np.isnan(last[t]), *fitted.variance_))
        want = -0.5 * np.nansum((x[t] - mean) ** 2 / variance + np.log(2 * np.pi * variance) * ~np.isnan(x[t]))
        assert each[t] == pytest.approx(want, rel=1e-9, abs=1e-9)
    assert fitted.log_prob(x, exog=u) == pytest.approx(each.sum(), rel=1e-13)

    after = rng.normal(size=(6, 1))
    inputs = np.concatenate([u, after])
    path = fitted.sample(6, x, exog=inputs, temperature=0)
    for t in range(6):
        wanted = fitted.predict(np.concatenate([x, path[:t]]), exog=inputs[: 10 + t]).mean
        np.testing.assert_allclose(path[t], wanted, rtol=1e-9)
    drawn = fitted.sample(6, x, seed=4, exog=inputs)
    ahead = fitted.forecast(x, 6, paths=1, seed=4, exog=inputs)
    np.testing.assert_allclose(ahead.paths[0], drawn, rtol=1e-9)
    np.testing.assert_allclose(ahead.mean[0], fitted.predict(x, exog=inputs[:10]).mean, rtol=1e-10)
    np.testing.assert_allclose(np.diag(ahead.covariance[0]), fitted.predict(x, exog=inputs[:10]).variance, rtol=1e-10)


def test_chunks_do_not_forget_the_last_known_value(fitted, rng, monkeypatch):
    from rnncore.models.networks import recurrent as module

    x, u = trends(rng, 40, 0.6), rng.normal(size=(41, 1))
    x[4:30, 0] = np.nan
    whole, ahead = fitted.one_step(x, exog=u[:40]).mean, fitted.predict(x, exog=u).mean
    monkeypatch.setattr(module, "CHUNK", 7)
    np.testing.assert_allclose(fitted.one_step(x, exog=u[:40]).mean, whole, rtol=1e-10)
    np.testing.assert_allclose(fitted.predict(x, exog=u).mean, ahead, rtol=1e-10)


def test_the_variance_is_the_error_in_the_units_of_the_data(rng):
    """The held-out sequences, errors of first known values and of later ones apart."""
    xs, held = [trends(rng, 50, 0.2) for _ in range(4)], [trends(rng, n, 0.4) for n in (30, 2, 45, 7)]
    held[2][:20, 0] = np.nan
    model = Recurrent("gru", 4, missing="mask", **QUICK).fit(xs, valid=held)
    error = np.concatenate([x - model.one_step(x).mean for x in held]) ** 2
    first = np.isnan(np.concatenate([last_known(x)[:-1] for x in held]))
    for kind, which in enumerate((first, ~first)):
        np.testing.assert_allclose(model.variance_[kind], np.nanmean(np.where(which, error, np.nan), axis=0), rtol=1e-8)


def test_a_change_of_units_and_a_shift_change_the_forecast_alike(rng):
    x = trends(rng, 150)
    one = Recurrent("gru", 5, **QUICK).fit([x])
    other = Recurrent("gru", 5, **QUICK).fit([x * 1e8 + 1e6])
    np.testing.assert_allclose(other.one_step(x * 1e8 + 1e6).mean, one.one_step(x).mean * 1e8 + 1e6, rtol=1e-7)
    np.testing.assert_allclose(other.variance_, one.variance_ * 1e16, rtol=1e-5)


# -- the choice --------------------------------------------------------------------------------
def test_auto_takes_differences_where_their_deviation_is_smaller(rng):
    """An AR(1) process has the ratio √(2(1 − φ)): 1 at φ = 1/2."""
    noise = rng.normal(size=(4000, 4))
    x = np.zeros((4000, 4))
    for t in range(1, 4000):
        x[t] = [0.0, 0.4, 0.6, 1.0] * x[t - 1] + noise[t]
    for scale in (1.0, 1e-150, 1e150):
        feed = RealFeed.learn([x * scale], False, target="auto")
        assert feed.differences.which.tolist() == [False, False, True, True]
        assert RealFeed.learn([x * scale], False, target="difference").differences.which.all()
        assert not RealFeed.learn([x * scale], False, target="value").differences.which.any()


def test_weights_choose_and_standardise_as_repeated_sequences(rng):
    walk, noise = rng.normal(size=(50, 1)).cumsum(0), rng.normal(size=(50, 1))
    for weights in ([1.0, 40.0], [40.0, 1.0]):
        feed = RealFeed.learn([walk, noise], False, weights=weights, target="auto")
        again = RealFeed.learn([walk] * int(weights[0]) + [noise] * int(weights[1]), False, target="auto")
        same_bits(feed.differences.which, again.differences.which)
        np.testing.assert_allclose(feed.differences.scale, again.differences.scale, rtol=1e-12)
    assert feed.differences.which.all()


@pytest.mark.parametrize("slope", [0.0, 0.1, -3e7])
def test_constant_differences_have_their_own_size_as_scale(slope):
    """A straight line: its differences differ by rounding alone, which is no signal. So does a constant column."""
    x = (1e6 + slope * np.arange(100.0))[:, None]
    feed = RealFeed.learn([x], False, "float64", target="difference")
    np.testing.assert_allclose(feed.differences.scale, abs(slope) or 1e6, rtol=1e-6)
    np.testing.assert_allclose(feed.differences.shift, slope, rtol=1e-6, atol=1e6 * CONSTANT)
    assert RealFeed.learn([x], False, target="auto").differences.which.tolist() == [slope != 0]
    model = Recurrent("gru", 4, **QUICK).fit([x])
    moved = x + 1e6 * CONSTANT * np.random.default_rng(0).normal(size=x.shape)
    np.testing.assert_allclose(model.predict(moved).mean, model.predict(x).mean, rtol=1e-9)


def test_sequences_of_one_step_have_no_differences():
    model = Recurrent("gru", 3, target="difference", **QUICK).fit([[1.0], [3.0], [2.0]])
    assert not model.differenced_.any()
    assert np.isfinite(model.forecast([1.0], 3, paths=4, seed=0).paths).all()


def test_symbols_have_no_differences_and_a_wrong_target_is_refused():
    model = Recurrent("gru", 3, target="difference", **QUICK).fit(["abab"])
    assert not hasattr(model, "differenced_")
    with pytest.raises(ValueError, match="target: got 'differences', expected one of 'auto', 'value', 'difference'"):
        Recurrent(target="differences")


# -- real series ----------------------------------------------------------------------------------
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize(("name", "column", "bound"), [
    ("co2", "co2", 0.95), ("macrodata", "realgdp", 1.1), ("macrodata", "unemp", 1.0), ("macrodata", "pop", 0.2),
    ("elnino", None, 0.6), ("sunspots", "SUNACTIVITY", 0.7),
])
def test_real_series_are_predicted_as_well_as_by_persistence(cell, name, column, bound):
    """The last 10 % by one-step forecasts, relative to the error of persistence."""
    table = getattr(sm.datasets, name).load_pandas().data
    x = table.iloc[:, 1:].to_numpy(float).ravel() if column is None else table[column].interpolate().to_numpy(float)
    train, test = int(0.8 * len(x)), int(0.9 * len(x))
    model = Recurrent(cell, 32, epochs=200, seed=0).fit(
        np.array_split(x[:train], -(-train // 50)), valid=[x[train:test]])
    error = (x[:, None] - model.one_step(x).mean)[test:]
    persistence = np.diff(x)[test - 1 :]
    assert np.sqrt(np.mean(error**2)) < bound * np.sqrt(np.mean(persistence**2))


def test_a_trend_is_followed_beyond_the_training_data(rng):
    x = 0.5 * np.arange(300) + rng.normal(size=300).cumsum()
    model = Recurrent("gru", 16, epochs=40, seed=0).fit(np.array_split(x[:200], 4))
    assert np.mean((x[200:, None] - model.one_step(x).mean[200:]) ** 2) < 1.3
    ahead = model.forecast(x[:200], 100, paths=300, seed=0)
    assert 0.25 < (ahead.mean[-1, 0] - x[199]) / 100 < 0.75
    values = Recurrent("gru", 16, epochs=40, target="value", seed=0).fit(np.array_split(x[:200], 4))
    assert np.mean((x[200:, None] - values.one_step(x).mean[200:]) ** 2) > 100


# -- files -----------------------------------------------------------------------------------------
def test_files_have_the_differences_and_older_ones_predict_values(fitted, rng, tmp_path):
    path, x, u = tmp_path / "m.safetensors", trends(rng, 12), rng.normal(size=(15, 1))
    fitted.save(path)
    again = models.load(path)
    same_bits(again.differenced_, fitted.differenced_)
    options = {"paths": 5, "seed": 1, "exog": u}
    same_bits(tuple(again.forecast(x, 3, **options)), tuple(fitted.forecast(x, 3, **options)))

    plain = Recurrent("gru", 4, target="value", **QUICK).fit([x])
    assert not plain.differenced_.any()
    plain.save(path)
    arrays, head = load_arrays(path)
    new = {"differenced_", "step_shift_", "step_scale_"}
    head["params"]["dict"] = [pair for pair in head["params"]["dict"] if pair[0] != "target"]
    head["state"]["dict"] = [pair for pair in head["state"]["dict"] if pair[0] not in new]
    arrays = {name: array for name, array in arrays.items() if name.removeprefix("state.") not in new}
    save_crafted(path, arrays, head)
    old = models.load(path)
    assert old.target == "value"
    same_bits(tuple(old.forecast(x, 3, paths=5, seed=1)), tuple(plain.forecast(x, 3, paths=5, seed=1)))


@pytest.mark.parametrize(("name", "value"), [
    ("differenced_", np.ones(2, bool)), ("differenced_", np.ones(3)), ("step_scale_", np.zeros(3)),
    ("step_shift_", np.full(3, np.nan)),
])
def test_damaged_differences_in_a_file_are_refused(fitted, tmp_path, name, value):
    path = tmp_path / "m.safetensors"
    fitted.save(path)
    arrays, head = load_arrays(path)
    save_crafted(path, arrays | {f"state.{name}": value}, head)
    with pytest.raises(ValueError, match=name):
        models.load(path)
