"""Exogenous inputs of Recurrent: which row acts on which step, standardisation, missing ones, files."""

import pickle

import numpy as np
import pytest
from crafted import save_crafted
from support import same_bits

from rnncore import models
from rnncore.io.safetensors import load_arrays
from rnncore.models import AutoRegressive, Recurrent
from rnncore.models.networks.feed import RealFeed


def driven(rng, steps):
    """A series that follows its inputs at once: x_t = 2 u_t[0] − 3 u_t[1] + noise."""
    u = rng.normal(size=(steps, 2)) * [1.0, 100.0] + [0.0, 1000.0]
    x = 2 * u[:, 0] - 0.03 * (u[:, 1] - 1000) + 0.05 * rng.normal(size=steps)
    return x[:, None], u


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    data = [driven(rng, n) for n in (300, 1, 200, 0, 150, 5)]
    xs, us = map(list, zip(*data, strict=True))
    model = Recurrent("gru", 12, epochs=60, lr=0.02, window=20, batch_size=4, seed=0, dtype="float64").fit(xs, exog=us)
    return model, xs, us


def test_inputs_of_a_step_act_on_its_element(fitted, rng):
    model, _, _ = fitted
    assert model.n_exog_ == 2
    x, u = driven(rng, 100)
    assert model.mean_squared_error([x], exog=[u]) < 0.3        # 13 without the inputs
    shifted = np.roll(u, 1, axis=0)
    assert model.mean_squared_error([x], exog=[shifted]) > 5
    assert model.score([x], exog=[u]) > model.score([x], exog=[shifted])


def test_all_methods_agree_on_the_rows(fitted, rng):
    """predict, one_step, log_prob, sample and forecast: the row of a step, whichever method asks."""
    model, _, _ = fitted
    x, u = driven(rng, 8)
    steps = model.one_step(x, exog=u)
    each = model.log_prob(x, per_step=True, exog=u)
    for t in range(8):
        mean, variance = model.predict(x[:t], exog=u[: t + 1])
        np.testing.assert_allclose(mean, steps.mean[t], rtol=1e-11)
        np.testing.assert_array_equal(variance, steps.variance[t])
        want = -0.5 * np.sum((x[t] - mean) ** 2 / variance + np.log(2 * np.pi * variance))
        assert each[t] == pytest.approx(want, rel=1e-9)
    assert model.log_prob(x, exog=u) == pytest.approx(each.sum(), rel=1e-14)

    path = model.sample(5, x[:3], exog=u, temperature=0)
    for t in range(5):          # each the prediction after those before it, with its own row
        wanted = model.predict(np.concatenate([x[:3], path[:t]]), exog=u[: 4 + t]).mean
        np.testing.assert_allclose(path[t], wanted, rtol=1e-9)
    drawn = model.sample(5, x[:3], seed=4, exog=u)
    np.testing.assert_allclose(model.forecast(x[:3], 5, paths=1, seed=4, exog=u).paths[0], drawn, rtol=1e-9)
    ahead = model.forecast(x[:3], 5, paths=50, seed=4, exog=u)
    np.testing.assert_allclose(ahead.mean[0], steps.mean[3], rtol=1e-9)
    assert np.abs(ahead.mean - x[3:]).max() < 1.5
    assert model.sample(0, x, exog=u).shape == (0, 1)
    assert model.forecast(x, 0, exog=u).mean.shape == (0, 1)


def test_windows_and_chunks_cut_the_inputs_with_the_sequence(fitted, rng, monkeypatch):
    from rnncore.models.networks import recurrent as module

    model, _, _ = fitted
    x, u = driven(rng, 30)
    whole = model.one_step(x, exog=u).mean
    ahead = model.predict(x, exog=np.vstack([u, u[:1]])).mean
    monkeypatch.setattr(module, "CHUNK", 7)
    np.testing.assert_allclose(model.one_step(x, exog=u).mean, whole, rtol=1e-10)
    np.testing.assert_allclose(model.predict(x, exog=np.vstack([u, u[:1]])).mean, ahead, rtol=1e-10)


def test_the_first_element_has_its_inputs_although_it_has_no_predecessor():
    feed = RealFeed(np.array([1.0]), np.array([2.0]), True, "float64",
                    exog=RealFeed(np.array([0.0]), np.array([10.0]), True, "float64"))
    joined = np.array([[3.0, 10.0], [np.nan, np.nan], [5.0, 30.0]])
    x, target, _, counted, *_ = feed.batch([joined], [(0, 0, 3)])
    #                          x_{t−1}, present, u_t, present
    np.testing.assert_array_equal(x[:, 0], [[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 3, 1]])
    np.testing.assert_array_equal(target[:, 0, 0], [1, 0, 2])
    np.testing.assert_array_equal(counted[:, 0, 0], [True, False, True])
    window = feed.batch([joined], [(0, 1, 3)])
    np.testing.assert_array_equal(window[0][:, 0], [[1, 1, 0, 0], [0, 0, 3, 1]])
    assert not window[4][0]


def test_inputs_are_scaled_by_the_training_data(fitted, rng):
    """The unit of an input makes no difference: its mean and deviation in the training part are learnt."""
    _, xs, us = fitted
    options = {"epochs": 3, "window": 20, "seed": 0, "dtype": "float64", "valid_fraction": 0}
    one = Recurrent("gru", 6, **options).fit(xs, exog=us)
    other = Recurrent("gru", 6, **options).fit(xs, exog=[4 * u + 8 for u in us])
    together = np.concatenate(us)
    np.testing.assert_allclose(one.exog_shift_, together.mean(0), rtol=1e-12)
    np.testing.assert_allclose(one.exog_scale_, together.std(0), rtol=1e-12)
    x, u = driven(rng, 20)
    np.testing.assert_allclose(one.one_step(x, exog=u).mean, other.one_step(x, exog=4 * u + 8).mean, rtol=1e-6)


def test_an_input_that_is_constant_in_training_is_not_blown_up():
    """The mean of 0.1 twelve times is rounded, so its deviation is not 0; that is no unit for what follows."""
    x, u = np.random.default_rng(0).normal(size=(12, 1)), np.full((12, 1), 0.1)
    assert u.std() > 0
    model = Recurrent("rnn", 4, epochs=1, valid_fraction=0, seed=0).fit([x], exog=[u])
    assert model.exog_scale_.tolist() == [0.1]
    assert np.abs(model.predict(x, exog=np.full(13, 0.3)).mean).max() < 10


def test_integers_booleans_and_one_dimension_are_taken(rng):
    x, u = np.arange(20.0), np.arange(20) % 2
    model = Recurrent("rnn", 4, epochs=2, seed=0).fit([x], exog=[u])
    assert model.n_exog_ == 1
    wanted = model.log_prob(x, exog=u)
    for same in (u[:, None], u.astype(bool), u.astype(float).tolist()):
        assert model.log_prob(x, exog=same) == wanted
    whole_numbers = Recurrent("rnn", 4, epochs=2, seed=0).fit([np.arange(20)[:, None]], exog=[u])
    assert whole_numbers.log_prob(np.arange(20)[:, None], exog=u) == wanted


def test_missing_inputs_are_masked_or_refused(rng):
    x, u = driven(rng, 200)
    u[rng.random(u.shape) < 0.2] = np.nan
    step = int(np.flatnonzero(np.isnan(u).any(axis=1))[0])
    with pytest.raises(ValueError, match=rf"exog\[0\]: got NaN at step {step}, .*missing='mask'"):
        Recurrent("gru", 4, epochs=1).fit([x], exog=[u])
    model = Recurrent("gru", 8, epochs=5, missing="mask", seed=0, dtype="float64").fit([x], exog=[u])
    np.testing.assert_allclose(model.exog_shift_, np.nanmean(u[: 180], axis=0), rtol=1e-12)
    assert np.isfinite(model.log_prob(x, exog=u))
    # a missing input is not treated as the mean
    gone, mean = np.nan_to_num(u[:10]), np.nan_to_num(u[:10])
    gone[-1], mean[-1] = np.nan, model.exog_shift_
    assert np.abs(model.predict(x[:9], exog=gone).mean - model.predict(x[:9], exog=mean).mean) > 1e-4
    # and one that is missing throughout is refused, by name
    with pytest.raises(ValueError, match="exog: got a feature with no value at all"):
        Recurrent("gru", 4, missing="mask").fit([x], exog=[np.full((200, 1), np.nan)])
    with pytest.raises(ValueError, match=r"exog: got an infinite value at step 2"):
        model.predict(x[:9], exog=np.where(np.arange(10) == 2, np.inf, gone.T).T)


def test_given_validation_sequences_have_inputs_too(rng):
    (x, u), (held, inputs) = driven(rng, 100), driven(rng, 50)
    model = Recurrent("gru", 6, epochs=4, seed=0, dtype="float64").fit(
        [x], exog=[u], valid=[held], valid_exog=[inputs])
    error = (held - model.one_step(held, exog=inputs).mean) / model.scale_
    assert min(model.history_["valid"]) == pytest.approx(np.mean(error**2), rel=1e-9)
    for options, message in [
        ({"valid": [held]}, r"valid_exog: got None, expected \(50, 2\), as in fit"),
        ({"valid": [held], "valid_exog": [inputs[1:]]}, r"valid_exog\[0\]: got shape \(49, 2\), expected \(50, E\)"),
        ({"valid": [held], "valid_exog": [inputs[:, 1:]]}, r"valid_exog\[0\]: got shape \(50, 1\), expected \(50, 2\)"),
        ({"valid_exog": [inputs]}, "valid_exog: got inputs without valid"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.fit([x], exog=[u], **options)


@pytest.mark.parametrize("missing", ["refuse", "mask"])
def test_files_and_pickles_keep_the_inputs(missing, rng, tmp_path):
    x, u = driven(rng, 60)
    model = Recurrent("lstm", 5, epochs=2, missing=missing, seed=0).fit([x], exog=[u])
    model.save(tmp_path / "m.safetensors")
    for again in (models.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model))):
        assert again.n_exog_ == 2
        same_bits(again.one_step(x, exog=u).mean, model.one_step(x, exog=u).mean)
        same_bits(again.forecast(x[:50], 10, paths=5, exog=u, seed=0).paths,
                  model.forecast(x[:50], 10, paths=5, exog=u, seed=0).paths)


def change(path, name, value=None):
    """Remove a learnt value from a file, or replace it."""
    arrays, head = load_arrays(path)
    pairs = head["state"]["dict"]
    pairs[:] = [[own, value if own == name else old] for own, old in pairs if own != name or value is not None]
    save_crafted(path, arrays, head)


@pytest.mark.parametrize("data", [["abab"], [np.arange(20.0)]])
def test_files_without_the_number_of_inputs_are_read(data, tmp_path):
    """Those of models that were saved before there were inputs."""
    path = tmp_path / "m.safetensors"
    model = Recurrent("gru", 4, epochs=1, seed=0).fit(data)
    model.save(path)
    change(path, "n_exog_")
    again = models.load(path)
    assert again.n_exog_ == 0
    assert again.log_prob(data[0]) == model.log_prob(data[0])


def test_files_whose_inputs_do_not_fit_are_refused(rng, tmp_path):
    path = tmp_path / "m.safetensors"
    x, u = driven(rng, 40)
    for data, options, value, message in [
        ([x], {"exog": [u]}, 3, "exog_shift_ is an array of float64 with shape .2,., expected"),
        ([x], {"exog": [u]}, 0, "config is a dict of .*, expected 1 inputs"),
        ([x], {"exog": [u]}, -1, "n_exog_ is -1"), (["abab"], {}, 1, "n_exog_ is 1, expected 0"),
    ]:
        Recurrent("gru", 4, epochs=1, seed=0).fit(data, **options).save(path)
        change(path, "n_exog_", value)
        with pytest.raises(ValueError, match=message):
            models.load(path)


def test_wrong_inputs_are_refused_by_name(fitted, rng):
    model, _, _ = fitted
    x, u = driven(rng, 9)
    for call, message in [
        (lambda: model.log_prob(x), r"exog: got None, expected \(9, 2\), as in fit"),
        (lambda: model.log_prob(x, exog=u[1:]), r"exog: got shape \(8, 2\), expected \(9, 2\)"),
        (lambda: model.predict(x, exog=u), r"exog: got shape \(9, 2\), expected \(10, 2\): a row for every step"),
        (lambda: model.forecast(x[:4], 5, exog=u[:8]), r"exog: got shape \(8, 2\), expected \(9, 2\)"),
        (lambda: model.sample(5, x[:4], exog=u[:4]), r"exog: got shape \(4, 2\), expected \(9, 2\)"),
        (lambda: model.one_step(x, exog=u[:, :1]), r"exog: got shape \(9, 1\), expected \(9, 2\)"),
        (lambda: model.score([x], exog=[u, u]), "exog: got 2 items, expected 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("kind", [AutoRegressive, Recurrent])
def test_both_models_refuse_wrong_inputs_in_the_same_words(kind, rng):
    (x, u), (y, v) = driven(rng, 30), driven(rng, 20)
    for exog, message in [
        ([u], "exog: got 1 arrays, expected 2, one per sequence"),
        ([u, v[1:]], r"exog\[1\]: got shape \(19, 2\), expected \(20, E\), a row for every step"),
        ([u, v[:, :1]], r"exog: got \[1, 2\] inputs, expected the same number E"),
        ([u, np.where(np.arange(20) == 3, np.nan, v.T).T], r"exog\[1\]: got NaN at step 3"),
        (3, "exog: got int"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            kind().fit([x, y], exog=exog)
    plain = kind().fit([x]) if kind is AutoRegressive else kind("rnn", 3, epochs=1).fit([x])
    with pytest.raises(ValueError, match=r"exog: got shape \(30, 2\), expected None: the model was fitted without"):
        plain.log_prob(x, exog=u)
    empty = kind() if kind is AutoRegressive else kind("rnn", 3, epochs=1)
    empty.fit([x, np.empty((0, 1))], exog=[u, []])      # an empty sequence has no rows, whatever E is
    assert empty.n_exog_ == 2
    assert empty.log_prob([], exog=[]) == empty.log_prob(np.empty((0, 1)), exog=np.empty((0, 2))) == 0


def test_symbols_have_no_inputs(rng):
    with pytest.raises(TypeError, match=r"exog: got inputs for sequences of symbols \(text\), .*real values"):
        Recurrent().fit(["abc"], exog=[np.ones(3)])
    with pytest.raises(TypeError, match=r"exog: got inputs for sequences of symbols \(ids\)"):
        Recurrent().fit([[0, 1, 2]], exog=[np.ones(3)])
    model = Recurrent("rnn", 4, epochs=1, seed=0).fit(["abab"])
    for call in (model.log_prob, model.one_step, lambda s, exog: model.predict(s[1:], exog=exog)):
        with pytest.raises(ValueError, match=r"exog: got shape \(2, 1\), expected None"):
            call("ab", exog=np.ones(2))


@pytest.mark.parametrize("size", [1.0, -3e5, 1e-9])
def test_an_input_that_is_constant_but_for_rounding_does_not_move_a_forecast(rng, size):
    """Neither its own rounding in fit, nor a millionth of a millionth of it later."""
    x, u = rng.normal(size=(80, 1)).cumsum(0), rng.normal(size=(84, 2))
    u[:, 1] = size * (1 + 1e-14 * rng.uniform(-1, 1, size=84))
    model = Recurrent("gru", 5, epochs=3, seed=0, dtype="float64").fit([x], exog=[u[:80]])
    np.testing.assert_allclose(model.exog_scale_[1], abs(size), rtol=1e-12)
    moved = u + np.array([0.0, 1e-12 * size])
    one, other = (model.forecast(x, 4, paths=3, seed=0, exog=inputs).mean for inputs in (u, moved))
    np.testing.assert_allclose(other, one, rtol=1e-9)
    x[:, 0] = size * (1 + 1e-14 * rng.uniform(-1, 1, size=80))      # the series itself
    for target in ("auto", "value", "difference"):
        model = Recurrent("gru", 5, epochs=3, target=target, seed=0, dtype="float64").fit([x])
        np.testing.assert_allclose(model.predict(x * (1 + 1e-12)).mean, model.predict(x).mean, rtol=1e-9)
        np.testing.assert_allclose(model.step_scale_, abs(size), rtol=1e-12)


@pytest.mark.parametrize("form", ["masked", "nullable", "objects"])
def test_every_mark_of_a_missing_input_is_read_as_nan(rng, form):
    """In fit, in `valid`, and in every method that takes inputs; netCDF's fill value is no number."""
    import pandas as pd

    def mark(a, gone):
        if form == "masked":
            return np.ma.masked_array(np.where(gone, 9.96921e36, a), gone)
        values = np.where(gone, None, a)
        if form == "objects":
            return values
        return pd.DataFrame({str(f): pd.array(list(values[:, f]), dtype="Float64") for f in range(a.shape[1])})

    x, u = rng.normal(size=(40, 2)).cumsum(0), rng.normal(size=(43, 2))
    gone, holes = rng.random(x.shape) < 0.2, rng.random(u.shape) < 0.2
    results = []
    for data, inputs, more in (
        (np.where(gone, np.nan, x), np.where(holes, np.nan, u)[:40], np.where(holes, np.nan, u)),
        (mark(x, gone), mark(u[:40], holes[:40]), mark(u, holes)),
    ):
        model = Recurrent("gru", 3, epochs=2, missing="mask", seed=0).fit(
            [data], exog=[inputs], valid=[data], valid_exog=[inputs])
        results.append((model.log_prob(data, per_step=True, exog=inputs), model.one_step(data, exog=inputs).mean,
                        model.sample(3, data, seed=1, exog=more),
                        model.forecast(data, 3, paths=4, seed=1, exog=more).paths,
                        model.predict(data, exog=more[:41]).mean))
        refusing = Recurrent("gru", 3, epochs=1)
        with pytest.raises(ValueError, match=r"exog\[0\]: got NaN .*missing='mask'"):
            refusing.fit([x], exog=[inputs])
    same_bits(*results)
