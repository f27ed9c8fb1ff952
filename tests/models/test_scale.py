"""What counts as zero: constant columns, dependent columns, singular covariances, in any unit."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from rnncore.models import Recurrent, SequenceClassifier
from rnncore.models.interface.scale import CONSTANT, EPSILON, learn_scale, least_squares, positive
from rnncore.models.networks.feed import RealFeed

SEEDS = st.integers(0, 2**32 - 1)
POWERS = st.integers(-150, 150)  # of ten


def a_constant(rng, kind, steps, power):
    """A column that is constant but for rounding, each kind rounded in another way."""
    value = rng.uniform(0.1, 9) * rng.choice([-1, 1]) * 10.0**power
    column = np.full(steps, value)
    if kind == "noise":
        column *= 1 + 4 * EPSILON * rng.normal(size=steps)
    elif kind == "running mean":
        column = np.cumsum(column) / np.arange(1, steps + 1)
    elif kind == "unit":
        there = column * (1.8 + rng.random(steps))
        column = there / (there / column)
    return column


@given(SEEDS, st.sampled_from(["exact", "noise", "running mean", "unit"]), st.integers(1, 3000), POWERS)
@settings(max_examples=80, deadline=None)
def test_a_column_that_is_constant_but_for_rounding_has_its_own_size_as_scale(seed, kind, steps, power):
    column = a_constant(np.random.default_rng(seed), kind, steps, power)
    shift, scale, rounding = learn_scale(column[:, None])
    np.testing.assert_allclose(shift, column[0], rtol=CONSTANT)
    np.testing.assert_allclose(scale, abs(column[0]), rtol=CONSTANT)
    assert rounding == CONSTANT


@given(SEEDS, st.integers(2, 300), POWERS, st.floats(-9, 11))
@settings(max_examples=80, deadline=None)
def test_mean_and_deviation_are_those_of_numpy_in_any_unit(seed, steps, power, offset):
    """An offset of 10¹¹ deviations leaves 5 digits of each value, and so of the deviation."""
    rng = np.random.default_rng(seed)
    column = rng.normal(size=steps) + 10.0**offset
    shift, scale, rounding = learn_scale(column[:, None] * 10.0**power)
    exact = column.astype(np.longdouble)
    size = np.abs(column).max()
    np.testing.assert_allclose(shift / 10.0**power, float(exact.mean()), atol=4 * EPSILON * size)
    np.testing.assert_allclose(scale / 10.0**power, float(exact.std()), atol=4 * EPSILON * size, rtol=1e-13)
    np.testing.assert_allclose(rounding, max(EPSILON * size / column.std(), EPSILON), rtol=1e-4)


def test_weights_and_missing_values_are_those_of_repeated_and_removed_rows(rng):
    values = rng.normal(size=(40, 3))
    values[rng.random((40, 3)) < 0.3] = np.nan
    times = rng.integers(0, 4, size=40)
    shift, scale, _ = learn_scale(values, times.astype(float))
    again = np.repeat(values, times, axis=0)
    np.testing.assert_allclose(shift, np.nanmean(again, axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale, np.nanstd(again, axis=0), rtol=1e-12)
    plain = learn_scale(again, centre=False)
    np.testing.assert_allclose(plain.scale, np.sqrt(np.nanmean(again**2, axis=0)), rtol=1e-12)
    assert not plain.shift.any()
    values[times > 0, 1] = np.nan
    with pytest.raises(ValueError, match="x: got a feature with no value"):
        learn_scale(values, times.astype(float), name="x")


@given(SEEDS, st.integers(8, 400), st.integers(1, 4), st.integers(0, 4), POWERS)
@settings(max_examples=80, deadline=None)
def test_least_squares_fit_what_independent_columns_fit_with_the_same_predictions_in_any_unit(
    seed, rows, independent, dependent, power
):
    """Columns that are combinations of others change nothing, and neither do the units of all columns."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(rows, independent)) + rng.normal(size=independent) * 10.0 ** rng.integers(-2, 5, independent)
    both = np.hstack([np.ones((rows, 1)), own])
    target = rng.normal(size=(rows, 2)) + own[:, :1]
    columns = np.hstack([both, both @ rng.normal(size=(1 + independent, dependent))])
    columns = columns[:, rng.permutation(columns.shape[1])]
    wanted = both @ np.linalg.lstsq(both, target, rcond=None)[0]
    error = 1e-8 * np.abs(target).max()  # columns at 10⁵ deviations from 0 are nearly parallel to the ones
    found = least_squares(columns, target)
    np.testing.assert_allclose(columns @ found, wanted, atol=error)
    unit = 10.0 ** rng.integers(-150, 151, columns.shape[1])
    other = least_squares(columns * unit, target * 10.0**power)
    np.testing.assert_allclose(columns @ (other / 10.0**power * unit[:, None]), wanted, atol=error)
    R = np.linalg.qr(np.hstack([columns, target]), mode="r")
    triangle = least_squares(R[:, :-2], R[:, -2:], EPSILON * np.abs(columns).max(axis=0), rows)
    np.testing.assert_allclose(columns @ triangle, wanted, atol=error)
    # no coefficient is blown up: the sizes of the parts are those of the target and the offsets
    assert np.abs(columns * found[:, :1].T).max() < 1e9 * np.abs(target).max()


def test_a_small_signal_beside_a_large_one_is_kept(rng):
    """Columns whose difference is a ten-millionth of their size are not dependent: numpy's solution, to 1e-16/1e-7."""
    x = rng.normal(size=(300, 1))
    near = np.hstack([x, x + 1e-7 * rng.normal(size=(300, 1))])
    target = near @ [[2e7], [-2e7]] + rng.normal(size=(300, 1))
    np.testing.assert_allclose(least_squares(near, target), np.linalg.lstsq(near, target, rcond=None)[0], rtol=1e-7)


@given(SEEDS, st.integers(1, 6), st.integers(1, 6), POWERS)
@settings(max_examples=80, deadline=None)
def test_a_singular_covariance_gets_a_factor_and_keeps_its_variances(seed, width, rank, power):
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(width, rank)) * 10.0 ** rng.uniform(-3, 3, size=(width, 1))
    covariance = half @ half.T * 10.0**power
    found = positive(np.stack([covariance, np.diag(np.diagonal(covariance))]))
    assert np.isfinite(np.linalg.cholesky(found)).all()
    np.testing.assert_allclose(np.diagonal(found[0]), np.diagonal(covariance), rtol=1e-12)
    root = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose(found[0], covariance, atol=1e-9 * np.outer(root, root).max())
    np.testing.assert_array_equal(found[1], np.diag(np.diagonal(covariance)))


# -- the models that use it ---------------------------------------------------------
@pytest.mark.parametrize("kind", ["exact", "noise", "running mean", "unit"])
def test_a_constant_column_does_not_move_a_forecast(rng, kind):
    """Rounding in a constant column, in fit or later, is not a signal."""
    x = np.stack([rng.normal(size=200), a_constant(rng, kind, 200, 1)], axis=1)
    model = Recurrent("gru", 4, epochs=2, seed=0).fit([x])
    moved = x.copy()
    moved[:, 1] += 1e-12
    np.testing.assert_allclose(model.predict(moved).mean, model.predict(x).mean, rtol=1e-5, atol=1e-6)
    pieces, labels = np.split(x, 20), [0, 1] * 10
    whole = SequenceClassifier("rnn", 4, epochs=1, seed=0).fit(pieces, labels)
    np.testing.assert_allclose(whole.predict_proba(np.split(moved, 20)), whole.predict_proba(pieces), rtol=1e-5)


def test_equal_numbers_to_predict_have_no_tiny_scale():
    """The mean of 0.1 twelve times is rounded, and so its deviation is not exactly 0."""
    y = np.full(12, 0.1)
    assert y.std() > 0
    model = SequenceClassifier("rnn", 3, task="number", epochs=1, seed=0).fit([[1.0, 2.0]] * 12, y)
    assert model.y_scale_ == pytest.approx(0.1)
    np.testing.assert_allclose(model.predict([[1.0, 2.0]]), 0.1, atol=0.1)


def test_the_standardisation_of_nets_does_not_overflow(rng):
    x = rng.normal(size=(30, 2))
    for unit in (1e150, 1e-150):
        feed = RealFeed.learn([x * unit], False)
        np.testing.assert_allclose(feed.encode(x * unit), RealFeed.learn([x], False).encode(x), rtol=1e-9)
