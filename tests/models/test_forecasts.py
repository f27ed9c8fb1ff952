"""Forecasts of Recurrent by sampling: against closed forms, and whether the intervals contain what follows."""

import itertools
import pickle
from statistics import NormalDist

import numpy as np
import pytest
from support import same_bits

from rnncore import models
from rnncore.models import AutoRegressive, Forecast, Recurrent, SampledForecast

SIGMA = np.array([0.5, 1.0])
MATRIX = np.array([[0.8, 0.0], [0.4, 0.5]])
CENTRE = np.array([3.0, -1.0])


def process(steps, rng, start=None):
    """x_t = CENTRE + MATRIX (x_{t-1} − CENTRE) + noise, as an array (steps, 2)."""
    x, last = np.empty((steps, 2)), CENTRE if start is None else start
    for t in range(steps):
        last = x[t] = CENTRE + MATRIX @ (last - CENTRE) + SIGMA * rng.normal(size=2)
    return x


def exact(cell="rnn-relu", dtype="float64"):
    """A network that is this process: relu(z) − relu(−z) = z of the standardised input, times a matrix."""
    x = process(50, np.random.default_rng(0))
    model = Recurrent(cell, 4, epochs=1, target="value", dtype=dtype, seed=0).fit([x])
    model.shift_, model.scale_ = CENTRE.copy(), np.array([2.0, 0.5])
    step = MATRIX * model.scale_ / model.scale_[:, None]
    with model.network_.writable() as weights:
        for array in weights.values():
            array[...] = 0
        weights["layer.weight_ih_l0"][...] = np.vstack([np.eye(2), -np.eye(2)])
        weights["head.weight"][...] = np.hstack([step, -step])
    model.variance_ = np.tile(SIGMA**2, (2, 1))
    return model


def closed_form(start, steps):
    """Mean (steps, 2) and covariance (steps, 2, 2) of the process after `start`."""
    mean, covariance, means, covariances = start - CENTRE, np.zeros((2, 2)), [], []
    for _ in range(steps):
        mean, covariance = MATRIX @ mean, MATRIX @ covariance @ MATRIX.T + np.diag(SIGMA**2)
        means.append(mean + CENTRE)
        covariances.append(covariance)
    return np.array(means), np.array(covariances)


@pytest.fixture(scope="module")
def known():
    return exact()


@pytest.fixture(scope="module")
def letters():
    return Recurrent("lstm", 12, epochs=3, window=5, batch_size=3, valid_fraction=0, seed=1,
                     dtype="float64").fit([np.arange(n) % 4 for n in (0, 1, 2, 3, 40, 0, 7, 25)])


# -- against closed forms ----------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_mean_covariance_and_quantiles_are_those_of_the_process(dtype):
    model, start, N = exact(dtype=dtype), np.array([5.0, 2.0]), 20_000
    ahead = model.forecast([start], 8, paths=N, level=0.9, seed=3)
    mean, covariance = closed_form(start, 8)
    spread = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    # Errors of a mean over N paths: spread/√N; of a variance: variance·√(2/N); of the quantile q of a normal value:
    # spread·√(q(1−q)/N)/φ(z_q). 4.5 of them for 16 or 32 values each.
    assert (np.abs(ahead.mean - mean) < 4.5 * spread / np.sqrt(N)).all()
    bound = 4.5 * np.sqrt(2 / N) * spread[:, :, None] * spread[:, None]
    assert (np.abs(ahead.covariance - covariance) < bound).all()
    z = NormalDist().inv_cdf(0.95)
    error = 4.5 * np.sqrt(0.95 * 0.05 / N) / NormalDist().pdf(z) * spread
    assert (np.abs(ahead.lower - (mean - z * spread)) < error).all()
    assert (np.abs(ahead.upper - (mean + z * spread)) < error).all()
    np.testing.assert_allclose(ahead.quantile([0.05, 0.95]), [ahead.lower, ahead.upper], rtol=1e-14)
    assert (np.abs(ahead.quantile(0.5) - mean) < 4.5 * np.sqrt(np.pi / 2 / N) * spread).all()
    # the first step has no random error: it is that of predict
    first = model.predict([start])
    np.testing.assert_allclose(ahead.mean[0], first.mean, rtol=1e-12)
    np.testing.assert_allclose(np.diag(ahead.covariance[0]), first.variance, rtol=1e-12)
    assert ahead.paths.shape == (N, 8, 2)


def test_mean_and_intervals_are_near_those_of_the_linear_model(known, rng):
    """The same process in an AutoRegressive: the names of its forecast, and nearly its numbers."""
    x = process(20_000, rng)
    linear = AutoRegressive(1).fit([x]).forecast(x, 6, level=0.8)
    ours = known.forecast(x, 6, paths=4000, level=0.8, seed=0)
    assert ours._fields[:4] == Forecast._fields
    for name in Forecast._fields:       # a fit to 20,000 steps and 4,000 paths: each a few per cent
        np.testing.assert_allclose(getattr(ours, name), getattr(linear, name), atol=0.12)


def test_paths_are_as_dependent_as_the_process(known):
    """The covariance of two steps of one path: MATRIX^k Σ."""
    paths = known.forecast([CENTRE], 3, paths=20_000, seed=1).paths - CENTRE
    got = paths[:, 1].T @ paths[:, 0] / len(paths)
    np.testing.assert_allclose(got, MATRIX @ np.diag(SIGMA**2), atol=4.5 * np.sqrt(3 / 20_000))


def covered(model, contexts, futures, level, **options):
    """The share of values inside the interval, ``(steps, F)``."""
    inside = []
    for k, (context, future) in enumerate(zip(contexts, futures, strict=True)):
        ahead = model.forecast(context, len(future), level=level, seed=k, **options)
        inside.append((future >= ahead.lower) & (future <= ahead.upper))
    return np.mean(inside, axis=0)


def test_intervals_contain_their_share_of_what_follows(known, rng):
    """400 futures of the process: the count inside is binomial, also because paths and future are drawn alike.

    Of 400 paths, 19 or 20 lie below the quantile 0.05, which moves the probability by less than 1/400.
    """
    starts = process(400 * 20, rng)[::20]
    share = covered(known, [[s] for s in starts], [process(6, rng, s) for s in starts], 0.9, paths=400)
    assert (np.abs(share - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 400) + 1 / 400).all()


@pytest.mark.slow
def test_intervals_of_a_trained_network_contain_their_share(rng):
    """Trained on 20 series of an AR(1) with φ = 0.8: 90 % intervals, 600 futures."""
    def series(steps, start=0.0):
        x, last = np.empty(steps), start
        for t in range(steps):
            last = x[t] = 0.8 * last + rng.normal()
        return x

    model = Recurrent("gru", 16, epochs=15, lr=0.01, seed=0).fit([series(500) for _ in range(20)])
    contexts = [series(50) for _ in range(600)]
    futures = [series(5, c[-1])[:, None] for c in contexts]
    share = covered(model, contexts, futures, 0.9, paths=400)
    # binomial, and 2 % for a network that is not quite the process
    assert (np.abs(share - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 600) + 0.02).all()
    # the deviation of long forecasts is that of the process, 1/√(1 − φ²)
    far = model.forecast(contexts[0], 60, paths=2000, seed=0)
    assert np.sqrt(far.covariance[-1, 0, 0]) == pytest.approx(1 / 0.6, rel=0.1)


# -- the interface ------------------------------------------------------------------
def test_a_seed_fixes_every_bit(known):
    one, two, other = (known.forecast([CENTRE], 4, paths=7, seed=s) for s in (5, 5, 6))
    same_bits(tuple(one), tuple(two))
    assert (one.paths != other.paths).all()
    same_bits(known.forecast([CENTRE], 4, paths=7, seed=np.random.default_rng(5)).paths, one.paths)
    assert (known.forecast([CENTRE], 4, paths=7).paths != known.forecast([CENTRE], 4, paths=7).paths).all()


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_one_path_is_a_sample(cell, rng):
    model = Recurrent(cell, 6, 2, epochs=2, seed=0, dtype="float64").fit([process(60, rng)])
    ahead = model.forecast(process(9, rng), 5, paths=1, seed=2)
    assert np.isfinite(ahead.covariance).all()
    same_bits(ahead.lower, ahead.paths[0])
    same_bits(ahead.upper, ahead.paths[0])
    x = process(9, rng)
    np.testing.assert_allclose(model.forecast(x, 5, paths=1, seed=2).paths[0], model.sample(5, x, seed=2), rtol=1e-12)


@pytest.mark.parametrize("context", [None, [], np.empty((0, 2)), [[1, 2]], np.full((1500, 2), 3)])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_contexts_of_any_length_and_no_steps_at_all(known, context, steps):
    """Also integers, and a context that is longer than the window of training and than one forward pass."""
    ahead = known.forecast(context, steps, paths=5, seed=0)
    assert [a.shape for a in ahead] == [(steps, 2)] * 3 + [(steps, 2, 2), (5, steps, 2)]
    assert all(np.isfinite(a).all() for a in ahead)
    if steps:
        mean, variance = known.predict(context)
        np.testing.assert_allclose(ahead.mean[0], mean, rtol=1e-12)
        np.testing.assert_allclose(np.diag(ahead.covariance[0]), variance, rtol=1e-12)


def test_the_first_step_of_a_sequence_has_its_own_variance(known):
    model = exact()
    model.variance_[0] = [100.0, 400.0]
    ahead = model.forecast(None, 2, paths=10, seed=0)
    np.testing.assert_allclose(np.diag(ahead.covariance[0]), [100, 400])
    assert (np.diag(ahead.covariance[1]) > SIGMA**2).all()
    np.testing.assert_allclose(np.diag(model.forecast([CENTRE], 1, paths=10).covariance[0]), SIGMA**2)


def test_missing_values_in_the_context_are_taken_where_they_are_masked(known, rng):
    x = process(40, rng)
    x[-1, 0] = np.nan
    with pytest.raises(ValueError, match=r"context: got NaN at step 39, feature 0.*missing='mask'"):
        known.forecast(x, 3)
    model = Recurrent("gru", 6, epochs=2, missing="mask", seed=0).fit([x])
    ahead = model.forecast(x, 3, paths=20, seed=0)
    assert np.isfinite(ahead.paths).all()
    assert (ahead.mean != model.forecast(np.nan_to_num(x), 3, paths=20, seed=0).mean).any()


def test_a_forecast_is_the_same_after_a_file_and_a_pickle(known, tmp_path):
    known.save(tmp_path / "m.safetensors")
    wanted = known.forecast([CENTRE], 4, paths=9, seed=1)
    for again in (models.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(known))):
        same_bits(tuple(again.forecast([CENTRE], 4, paths=9, seed=1)), tuple(wanted))
    again = pickle.loads(pickle.dumps(wanted))
    assert isinstance(again, SampledForecast)
    same_bits(tuple(again), tuple(wanted))


@pytest.mark.parametrize(("options", "message"), [
    ({"steps": -1}, "steps: got -1, expected a whole number >= 0"), ({"steps": 2.0}, "steps: got 2.0"),
    ({"paths": 0}, "paths: got 0, expected a whole number >= 1, or sample.*temperature=0"),
    ({"paths": None}, "paths: got None"), ({"level": 1}, r"level: got 1, expected a number in \(0, 1\)"),
    ({"level": 90}, "level: got 90"), ({"context": np.ones((3, 3))}, "context: got 3 features, expected 2"),
    ({"exog": np.ones((4, 1))}, r"exog: got shape \(4, 1\), expected None"),
])
def test_wrong_arguments_are_refused_by_name(known, options, message):
    with pytest.raises(ValueError, match=message):
        known.forecast(**({"context": [CENTRE], "steps": 3} | options))


@pytest.mark.parametrize("q", [-0.1, 1.1, [0.5, np.nan], "half"])
def test_a_wrong_quantile_is_refused_by_name(known, q):
    with pytest.raises(ValueError, match="q: got"):
        known.forecast([CENTRE], 2, paths=3).quantile(q)


# -- symbols --------------------------------------------------------------------------
def test_probabilities_ahead_are_the_sum_over_all_paths(letters):
    context, N = [0, 1], 4000
    joint = np.array([np.exp(letters.log_prob([*context, *p]) - letters.log_prob(context))
                      for p in itertools.product(range(4), repeat=3)]).reshape(4, 4, 4)
    wanted = [joint.sum((1, 2)), joint.sum((0, 2)), joint.sum((0, 1))]
    got = letters.forecast_proba(context, 3, paths=N, seed=0)
    np.testing.assert_allclose(got[0], letters.predict(context), rtol=1e-12)
    assert (np.abs(got - wanted) < 4.5 * np.sqrt(0.25 / N)).all()
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=1e-12)
    same_bits(got, letters.forecast_proba(context, 3, paths=N, seed=0))


def test_probabilities_ahead_follow_the_path_that_was_drawn(letters):
    """With one path they are those after the symbols that sample draws."""
    one = letters.forecast_proba([2], 5, paths=1, seed=3)
    drawn = letters.sample(5, [2], seed=3)
    np.testing.assert_allclose(one, [letters.predict([2, *drawn[:t]]) for t in range(5)], rtol=1e-9)
    assert letters.forecast_proba(None, 0).shape == (0, 4)


def test_forecasts_are_for_real_values_and_probabilities_for_symbols(known, letters):
    with pytest.raises(TypeError, match=r"forecast: fitted on symbols, .*forecast_proba"):
        letters.forecast([0], 3)
    with pytest.raises(TypeError, match=r"forecast_proba: fitted on real values, .*forecast "):
        known.forecast_proba([CENTRE], 3)
    with pytest.raises(models.NotFittedError):
        Recurrent().forecast([1.0], 3)
