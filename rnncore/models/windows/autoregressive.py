"""A fixed window of the past, linear: the vector autoregression.

    y_t = c + Σ_{k=1..τ} A_k y_{t-k} + B u_t + ε_t,      ε_t ~ N(0, Σ)

One QR (``regression.py``) gives the least squares of this order and of every
smaller one on the same rows. They are what order selection compares, and what
the first τ elements of a sequence, with less than τ elements before them, are
conditioned on.
"""

from __future__ import annotations

import math
import warnings
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from rnncore._checks import as_number, as_size
from rnncore.models.interface.base import (
    KIND_NAMES,
    Gaussian,
    SequenceModelBase,
    check_fitted,
    check_option,
    generator,
)
from rnncore.models.interface.sequences import MISSING, as_list, as_real

from .regression import BLOCK, Triangle, design, log_normal

# What `fit` finds, and what follows from it.
LEARNT = ("order_", "n_exog_", "n_rows_", "weights_", "covariances_", "criterion_")
DERIVED = ("intercept_", "exog_coef_", "coef_", "covariance_", "spectral_radius_", "stationary_")


class Forecast(NamedTuple):
    """Forecasts with intervals; all ``(steps, F)``, covariance ``(steps, F, F)``."""

    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    covariance: np.ndarray


class AutoRegressive(SequenceModelBase):
    """Linear regression of the next element on the last `order` elements.

    Parameters
    ----------
    order : int, "aic" or "bic"
        The window τ in steps, or the criterion that chooses it.
    max_order : int, optional
        The largest order a criterion may choose; by default 10·log₁₀ of the number
        of elements, as far as the data carries it.
    intercept : bool
    missing : {"refuse", "mask"}
        What NaN means. Masked: `fit` leaves out rows with a missing value in them,
        everything else is exact under the Gaussian model (a Kalman filter).

    Attributes
    ----------
    coef_ : ndarray (order, F, F)
        ``coef_[k]`` is A of lag ``k + 1``: newest lag first.
    intercept_ : ndarray (F,)
    exog_coef_ : ndarray (F, E)
        B, of the exogenous inputs.
    covariance_ : ndarray (F, F)
        Σ, maximum likelihood.
    order_ : int
        The order in use.
    criterion_ : ndarray (max_order + 1,)
        The criterion of every order, when one chose.
    spectral_radius_ : float
        Largest modulus among the eigenvalues of the companion matrix.
    stationary_ : bool
        Whether it is below 1. `fit` warns when it is not.

    Notes
    -----
    ``log_prob(x, per_step=True)[order:]`` sums to the conditional log-likelihood
    that statsmodels reports. The first `order` elements are conditioned on what
    there is before them by the nested models of smaller order, so that the joint
    is a proper density for every length.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.models import AutoRegressive
    >>> t = np.arange(200)
    >>> x = np.sin(0.3 * t) + 0.1 * np.random.default_rng(0).normal(size=200)
    >>> model = AutoRegressive(order=2).fit([x])
    >>> model.coef_.shape, model.stationary_
    ((2, 1, 1), True)
    >>> model.forecast(x, 3).mean.shape
    (3, 1)
    """

    def __init__(self, order=1, *, max_order=None, intercept=True, missing="refuse"):
        self.order = order
        self.max_order = max_order
        self.intercept = intercept
        self.missing = missing

    # -- learning -----------------------------------------------------------
    def fit(self, sequences, y=None, *, exog=None, progress=False):
        """Least squares over all windows of all sequences; returns self.

        Parameters
        ----------
        sequences : list of (T, F) real arrays, any lengths
        exog : list of (T, E) real arrays, optional
            Known inputs; the row of step t acts on the element of step t.
        progress
            Taken for the common interface; there is no long loop here.
        """
        order, top = self._orders()
        arrays = self._read(sequences, kinds=("real",))
        inputs = self._read_exog(arrays, exog)
        top = self._default_top(arrays, inputs) if top is None else top
        longest = max(map(len, arrays))
        if longest <= top:
            raise ValueError(f"{'order' if top == order else 'max_order'}: got {top}, expected "
                             f"less than the length of the longest sequence, {longest}")

        triangle = Triangle(arrays, inputs, top, self.intercept)
        if order is None:
            self.criterion_ = np.array([triangle.criterion(k, self.order) for k in range(top + 1)])
            order = int(np.argmin(self.criterion_))
            if order < top:  # use the rows that only the larger orders could not
                triangle = Triangle(arrays, inputs, order, self.intercept)
        else:
            self.__dict__.pop("criterion_", None)
        triangle.check(order)
        self.order_, self.n_rows_ = order, triangle.rows
        self.weights_, self.covariances_ = map(list, zip(
            *(triangle.solve(k) for k in range(order + 1)), strict=True))
        self._unpack_weights()
        if not self.stationary_:
            warnings.warn(f"AutoRegressive: the fitted process is not stationary (spectral radius "
                          f"{self.spectral_radius_:.4f} >= 1); forecasts do not return to a mean. "
                          "Difference the series, or lower order", RuntimeWarning, stacklevel=2)
        return self

    def _orders(self):
        """``(order or None, largest order or None)`` from the settings."""
        top = self.max_order
        if top is not None:
            top = as_size(top, "max_order", least=0, also="None")
        if isinstance(self.order, str) and self.order in ("aic", "bic"):
            return None, top
        order = as_size(self.order, "order", least=0, also="'aic' or 'bic'")
        return order, order

    def _default_top(self, arrays, inputs):
        """Largest order tried: 10·log₁₀ N, leaving twice as many rows as unknowns."""
        width, extra = self.n_features_, inputs[0].shape[1] + bool(self.intercept)
        steps, longest = sum(map(len, arrays)), max(map(len, arrays))
        top = int(10 * math.log10(max(steps, 1)))
        while top > 0 and (top >= longest or
                           sum(max(len(a) - top, 0) for a in arrays) < 2 * (top * width + extra)):
            top -= 1
        return top

    def _read_exog(self, arrays, exog):
        if exog is None:
            self.n_exog_ = 0
            return [np.empty((len(a), 0)) for a in arrays]
        items = as_list(exog, real=True, name="exog")
        if len(items) != len(arrays):
            raise ValueError(f"exog: got {len(items)} arrays, expected {len(arrays)}, one a "
                             "sequence")
        inputs = [as_real(u, name=f"exog[{i}]") for i, u in enumerate(items)]
        self.n_exog_ = inputs[0].shape[1]
        for i, (u, a) in enumerate(zip(inputs, arrays, strict=True)):
            if u.shape != (len(a), self.n_exog_):
                raise ValueError(f"exog[{i}]: got shape {u.shape}, expected "
                                 f"{(len(a), self.n_exog_)}, a row for every step")
        return inputs

    def _unpack_weights(self):
        """The named attributes, from the weights ``(1 + E + order·F, F)`` of this order."""
        weights, width = self.weights_[self.order_], self.n_features_
        extra = 1 + self.n_exog_
        self.intercept_ = weights[0]
        self.exog_coef_ = weights[1:extra].T
        lags = weights[extra:].reshape(self.order_, width, width)
        self.coef_ = np.ascontiguousarray(lags.transpose(0, 2, 1))
        self.covariance_ = self.covariances_[self.order_]
        self.spectral_radius_ = float(np.abs(np.linalg.eigvals(self._companion())).max(initial=0))
        self.stationary_ = bool(self.spectral_radius_ < 1)

    def _set_state(self, state):
        state.only((*KIND_NAMES, *LEARNT, *DERIVED))
        self._set_kind_from(state, ("real",))
        self.order_, self.n_exog_ = state["order_"].whole(), state["n_exog_"].whole()
        self.n_rows_, width = state["n_rows_"].whole(), self.n_features_
        weights = state["weights_"].items(self.order_ + 1)
        self.weights_ = [field.array((1 + self.n_exog_ + k * width, width))
                         for k, field in enumerate(weights)]
        self.covariances_ = [_covariance(field, width)
                             for field in state["covariances_"].items(self.order_ + 1)]
        if "criterion_" in state:
            self.criterion_ = state["criterion_"].array((None,), finite=False)
        self._unpack_weights()

    def _check_settings(self):
        self._orders()
        check_option("missing", self.missing, MISSING)

    def _companion(self):
        """The matrix that shifts the window by one step, ``(order·F, order·F)``."""
        size, width = self.order_ * self.n_features_, self.n_features_
        companion = np.eye(size, k=-width)
        companion[:width] = self.coef_.transpose(1, 0, 2).reshape(width, size)[:size]
        return companion

    @property
    def n_parameters_(self):
        """Free numbers: coefficients, intercept and the covariance's triangle."""
        check_fitted(self, "coef_")
        width = self.n_features_
        return int(self.coef_.size + self.exog_coef_.size + width * bool(self.intercept)
                   + width * (width + 1) // 2)

    # -- answering ------------------------------------------------------------
    def log_prob(self, sequence, per_step=False, *, exog=None):
        """Log density of a sequence, joint or ``(T,)`` per step (missing steps count 0)."""
        sequence = self._check(sequence)
        mean, covariance = self._walk(sequence, self._check_exog(exog, len(sequence)))
        steps = log_normal(sequence - mean, covariance)
        return steps if per_step else float(steps.sum())

    def one_step(self, sequence, *, exog=None):
        """`Gaussian` prediction of every element from its own past, ``(T, F)`` each."""
        sequence = self._check(sequence)
        mean, covariance = self._walk(sequence, self._check_exog(exog, len(sequence)))
        return Gaussian(mean, np.diagonal(covariance, axis1=1, axis2=2).copy())

    def predict(self, context=None, *, exog=None):
        """`Gaussian` prediction ``(F,)`` of the element that follows `context`.

        `exog` has ``len(context) + 1`` rows: the context's and the next step's.
        """
        ahead = self.forecast(context, 1, exog=exog)
        return Gaussian(ahead.mean[0], np.diagonal(ahead.covariance[0]).copy())

    def forecast(self, context, steps, *, exog=None, level=0.95):
        """Forecast `steps` elements after `context`, with intervals.

        Parameters
        ----------
        context : (T, F) real array
        steps : int
        exog : (T + steps, E) real array
            The inputs of the context and of the steps ahead.
        level : float
            Probability that an interval holds its value, given the model.

        Returns
        -------
        Forecast
        """
        context = self._check(context, "context")
        steps = as_size(steps, "steps", least=0)
        level = as_number(level, "level", above=0, below=1)
        exog = self._check_exog(exog, len(context) + steps)
        # Only the window matters when it is whole; otherwise the filter starts at the beginning.
        skip = max(len(context) - self.order_, 0)
        if np.isnan(context[skip:]).any():
            skip = 0
        ahead = np.concatenate([context[skip:], np.full((steps, self.n_features_), np.nan)])
        mean, covariance = self._filter(ahead, exog[skip:], started=skip)
        mean, covariance = mean[len(ahead) - steps:], covariance[len(ahead) - steps:]
        deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        half = NormalDist().inv_cdf(0.5 + level / 2) * deviation
        return Forecast(mean, mean - half, mean + half, covariance)

    def sample(self, length, context=None, seed=None, *, exog=None):
        """Draw ``(length, F)`` values that follow `context`, reproducible from `seed`."""
        context = self._check(context, "context")
        length, start = as_size(length, "length", least=0), len(context)
        exog = self._check_exog(exog, start + length)
        if np.isnan(context[max(start - self.order_, 0):]).any():
            raise ValueError("context: got NaN within the last `order` steps, expected values; "
                             "sample after a complete window")
        noise = generator(seed).standard_normal((length, self.n_features_))
        roots = [np.linalg.cholesky(c) for c in self.covariances_]
        series = np.concatenate([context, np.empty((length, self.n_features_))])
        for t in range(start, start + length):
            order = min(t, self.order_)
            mean = self._row(series, exog, t, order) @ self.weights_[order]
            series[t] = mean + roots[order] @ noise[t - start]
        return series[start:]

    def _check_exog(self, exog, rows):
        check_fitted(self, "n_exog_")
        if exog is None and self.n_exog_ == 0:
            return np.empty((rows, 0))
        if exog is None:
            raise ValueError(f"exog: got None, expected ({rows}, {self.n_exog_}), as in fit")
        exog = as_real(exog, name="exog")
        if exog.shape != (rows, self.n_exog_):
            raise ValueError(f"exog: got shape {exog.shape}, expected {(rows, self.n_exog_)}: a "
                             "row for every step of the sequence, of the context and ahead")
        return exog

    def _row(self, series, exog, t, order):
        """The regressors of step t: [1, u_t, y_{t-1}, y_{t-2}, …]."""
        window = series[t - order : t][::-1].ravel()
        return np.concatenate([[1.0], exog[t], window])

    def _walk(self, series, exog):
        """One-step mean ``(T, F)`` and covariance ``(T, F, F)`` of every step from its past."""
        if np.isnan(series).any():
            return self._filter(series, exog)
        steps, top = len(series), self.order_
        mean = np.empty_like(series)
        for t in range(min(top, steps)):
            mean[t] = self._row(series, exog, t, t) @ self.weights_[t]
        for begin in range(top, steps, BLOCK):
            end = min(begin + BLOCK, steps)
            mean[begin:end] = design(series, exog, begin, end, top) @ self.weights_[top]
        orders = np.minimum(np.arange(steps), top)
        return mean, np.stack(self.covariances_)[orders]

    def _filter(self, series, exog, started=0):
        """`_walk` with missing values: a Kalman filter over the window, newest first.

        `started` steps are known to lie before the first row, so that its window counts
        as longer than the rows show.
        """
        width, top = self.n_features_, self.order_
        size = top * width
        mean = np.empty_like(series)
        covariance = np.empty((len(series), width, width))
        window, spread = np.zeros(size), np.zeros((size, size))
        for t, value in enumerate(series):
            order = min(t + started, top)
            weights = self.weights_[order]
            known = 1 + self.n_exog_
            lags = np.zeros((width, size))
            lags[:, : order * width] = weights[known:].T
            level = weights[:known].T @ np.concatenate([[1.0], exog[t]])
            joint = np.concatenate([level + lags @ window, window])  # of [y_t, window]
            cross = lags @ spread
            full = np.block([[cross @ lags.T + self.covariances_[order], cross],
                             [cross.T, spread]])
            mean[t], covariance[t] = joint[:width], full[:width, :width]
            seen = np.flatnonzero(~np.isnan(value))
            if seen.size:
                gain = np.linalg.solve(full[np.ix_(seen, seen)], full[seen]).T
                joint = joint + gain @ (value[seen] - joint[seen])
                full = full - gain @ full[seen]
                joint[seen], full[seen], full[:, seen] = value[seen], 0.0, 0.0
            window, spread = joint[:size], full[:size, :size]
        return mean, covariance


def _covariance(field, width):
    """A covariance from a file: symmetric, and no direction has a variance below 0 but for rounding."""
    found = field.array((width, width))
    largest = np.abs(found).max(initial=0)
    if not np.allclose(found, found.T, rtol=0, atol=1e-9 * largest) \
            or np.linalg.eigvalsh(found).min(initial=0) < -1e-9 * largest:
        raise field.refuse("a covariance, symmetric and without negative variances")
    return found
