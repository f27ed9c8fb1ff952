"""A fixed window of the past, linear: the vector autoregression.

    y_t = c + Σ_{k=1..τ} A_k y_{t-k} + B u_t + ε_t,      ε_t ~ N(0, Σ)

One QR (``regression.py``) gives the least-squares solution of this order and of every
smaller one on the same rows. Order selection compares these solutions (``orders.py``), and those of smaller order
predict the first τ elements of a sequence, which have fewer than τ elements before them. Where values are missing,
the regression is of expected values (``gaps.py``).
"""

from __future__ import annotations

import warnings
from statistics import NormalDist
from typing import TYPE_CHECKING, ClassVar, Literal, cast, overload

import numpy as np

from rnncore._checks import as_number, as_size
from rnncore._progress import progress_bar
from rnncore.models.interface.base import (
    KIND_NAMES,
    Gaussian,
    check_fitted,
    generator,
    warn_of_little_data,
)
from rnncore.models.interface.exog import TakesExog
from rnncore.models.interface.forecasts import Forecast
from rnncore.models.interface.scale import positive
from rnncore.models.interface.sequences import MISSING

from .gaps import trim
from .orders import criteria, default_top, solve
from .regression import BLOCK, Standard, design, log_normal, parameters

if TYPE_CHECKING:
    from typing import Self

    from rnncore._typing import Array, ArrayLike, Floats, Progress, RandomSource
    from rnncore.io.fields import Field
    from rnncore.models.interface.estimator import Names
    from rnncore.models.interface.sequences import Missing, SequenceLike, SequencesLike

    from .regression import Criterion

# The attributes that `fit` learns, and those that are computed from them.
LEARNT = ("order_", "n_exog_", "n_rows_", "weights_", "covariances_", "criterion_")
DERIVED = ("intercept_", "exog_coef_", "coef_", "covariance_", "spectral_radius_", "stationary_")


def _check_order(order: object) -> None:
    """Refuse a string that names no criterion; `fit` checks numbers."""
    if isinstance(order, str) and order not in ("aic", "bic"):
        as_size(order, "order", least=0, also="'aic' or 'bic'")


class AutoRegressive(TakesExog):
    """Linear regression of the next element on the last `order` elements.

    Parameters
    ----------
    order : int, "aic" or "bic"
        The window τ in steps, or the criterion that chooses it.
    max_order : int, optional
        The largest order that a criterion may choose. The default is 10·log₁₀ of the number
        of elements, or less if that leaves fewer than twice as many rows as unknowns.
    intercept : bool
    missing : {"refuse", "mask"}
        Whether NaN is an error or marks a missing value. With "mask", `fit` maximises the likelihood of the
        values that are there (expectation maximisation), and all other methods are exact under the Gaussian
        model (a Kalman filter). Masked entries of numpy's masked arrays are missing values too.

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
    n_rows_ : int
        The number of steps that were predicted in `fit`: those with `order` steps before them, and with a value.
    criterion_ : ndarray (max_order + 1,)
        The criterion of every order, if a criterion chose the order: −2 log L + penalty · parameters, where the
        likelihood L is that of the elements that have `max_order` elements before them, in the data's units, and the
        covariance's entries count as parameters. These are R's and statsmodels' values.
    spectral_radius_ : float
        Largest modulus among the eigenvalues of the companion matrix.
    stationary_ : bool
        Whether the spectral radius is below 1. `fit` warns if it is not.

    Notes
    -----
    ``log_prob(x, per_step=True)[order:]`` sums to the conditional log-likelihood
    that statsmodels reports. Each of the first `order` elements is predicted from the elements
    before it by a nested model of smaller order, so the joint
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

    _exog_gaps = ("an autoregression needs its inputs at every step, also with missing='mask': fill them in before, or "
                  "cut the sequences there")
    _names: ClassVar[Names] = {"order": _check_order, "missing": MISSING}

    order_: int
    n_rows_: int
    weights_: list[Floats]      # of every order 0 … order_
    covariances_: list[Floats]
    criterion_: Floats
    intercept_: Floats
    exog_coef_: Floats
    coef_: Floats
    covariance_: Floats
    spectral_radius_: float
    stationary_: bool

    def __init__(
        self,
        order: int | Literal["aic", "bic"] = 1,
        *,
        max_order: int | None = None,
        intercept: bool = True,
        missing: Missing = "refuse",
    ) -> None:
        self.order = order
        self.max_order = max_order
        self.intercept = intercept
        self.missing = missing

    # -- learning -----------------------------------------------------------
    def fit(
        self,
        sequences: SequencesLike,
        y: None = None,
        *,
        exog: SequencesLike | None = None,
        progress: Progress = False,
    ) -> Self:
        """Least squares over all windows of all sequences, or maximum likelihood if values are missing; returns self.

        Parameters
        ----------
        sequences : list of (T, F) real arrays, any lengths
        exog : list of (T, E) real arrays, optional
            Known inputs; the row of step t acts on the element of step t.
        progress : bool or callable
            Updated once per order that a criterion compares. Only series with missing values take long.

        Warns
        -----
        RuntimeWarning
            The fitted process is not stationary, or there are fewer values than parameters.
        """
        order, most = self._orders()
        self._check_no_targets(y)
        arrays = self._read(sequences, kinds=("real",))
        inputs = self._learn_exog(arrays, exog)
        unknowns, longest = self.n_exog_ + bool(self.intercept), max(map(len, arrays))
        top = default_top(arrays, unknowns) if most is None else most
        if longest <= top:
            raise ValueError(f"{'order' if top == order else 'max_order'}: got {top}, expected "
                             f"less than the length of the longest sequence, {longest}")
        if any(np.isnan(a).any() for a in arrays):
            arrays, inputs = map(list, zip(*map(trim, arrays, inputs), strict=True))
        standard = Standard(arrays, inputs, self.intercept)
        arrays, inputs = standard.apply(arrays, inputs)
        self.__dict__.pop("criterion_", None)
        if order is None:
            with progress_bar(progress, top + 1, "AutoRegressive") as bar:
                self.criterion_ = criteria(standard, arrays, inputs, top, cast("Criterion", self.order), bar)
                bar.update(bar.total - bar.done)
            order = int(np.argmin(self.criterion_))
        rows, solutions = solve(standard, arrays, inputs, order)
        self.order_, self.n_rows_ = order, rows
        self.weights_, self.covariances_ = map(list, zip(*(standard.in_units(*s) for s in solutions), strict=True))
        self._unpack_weights()
        warn_of_little_data(self, sum(int(np.sum(~np.isnan(a[order:]))) for a in arrays))
        if not self.stationary_:
            warnings.warn(f"AutoRegressive: the fitted process is not stationary (spectral radius "
                          f"{self.spectral_radius_:.4f} >= 1); forecasts do not return to a mean. "
                          "Difference the series, or lower order", RuntimeWarning, stacklevel=2)
        return self

    def _orders(self) -> tuple[int | None, int | None]:
        """``(order or None, largest order or None)`` from the settings."""
        top = self.max_order
        if top is not None:
            top = as_size(top, "max_order", least=0, also="None")
        if isinstance(self.order, str):
            return None, top
        order = as_size(self.order, "order", least=0, also="'aic' or 'bic'")
        return order, order

    def _unpack_weights(self) -> None:
        """Set the named attributes from the weights ``(1 + E + order·F, F)`` of this order."""
        weights, width = self.weights_[self.order_], self.n_features_
        extra = 1 + self.n_exog_
        self.intercept_ = weights[0]
        self.exog_coef_ = weights[1:extra].T
        lags = weights[extra:].reshape(self.order_, width, width)
        self.coef_ = np.ascontiguousarray(lags.transpose(0, 2, 1))
        self.covariance_ = self.covariances_[self.order_]
        self.spectral_radius_ = float(np.abs(np.linalg.eigvals(self._companion())).max(initial=0))
        self.stationary_ = bool(self.spectral_radius_ < 1)

    def _set_state(self, state: Field) -> None:
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

    def _check_settings(self) -> None:
        self._orders()

    def _companion(self) -> Floats:
        """The matrix that shifts the window by one step, ``(order·F, order·F)``, in units of the deviations."""
        size, width = self.order_ * self.n_features_, self.n_features_
        companion = np.eye(size, k=-width)
        in_units = self.coef_ * self._unit / self._unit[:, None]
        companion[:width] = in_units.transpose(1, 0, 2).reshape(width, size)[:size]
        return companion

    @property
    def _unit(self) -> Floats:
        """The deviation of every feature, (F,): arithmetic in these units neither overflows nor loses digits."""
        return np.sqrt(np.diagonal(self.covariances_[0]))

    @property
    def n_parameters_(self) -> int:
        """Number of free parameters: coefficients, intercept and the covariance's triangle."""
        check_fitted(self, "coef_")
        unknowns = bool(self.intercept) + self.n_exog_ + self.order_ * self.n_features_
        return parameters(unknowns, self.n_features_)

    # -- answering ------------------------------------------------------------
    @overload
    def log_prob(
        self, sequence: SequenceLike, per_step: Literal[False] = False, *, exog: ArrayLike | None = None
    ) -> float: ...
    @overload
    def log_prob(
        self, sequence: SequenceLike, per_step: Literal[True], *, exog: ArrayLike | None = None
    ) -> Floats: ...
    @overload
    def log_prob(
        self, sequence: SequenceLike, per_step: bool, *, exog: ArrayLike | None = None
    ) -> float | Floats: ...
    def log_prob(
        self, sequence: SequenceLike, per_step: bool = False, *, exog: ArrayLike | None = None
    ) -> float | Floats:
        """Log density of a sequence, joint or ``(T,)`` per step (missing steps count 0)."""
        series = self._check(sequence)
        mean, covariance = self._walk(series, self._check_exog(exog, len(series)))
        steps = log_normal(series - mean, covariance)
        return steps if per_step else float(steps.sum())

    def one_step(self, sequence: SequenceLike, *, exog: ArrayLike | None = None) -> Gaussian:
        """`Gaussian` prediction of every element from its own past, ``(T, F)`` each."""
        series = self._check(sequence)
        mean, covariance = self._walk(series, self._check_exog(exog, len(series)))
        return Gaussian(mean, np.diagonal(covariance, axis1=1, axis2=2).copy())

    def predict(self, context: SequenceLike | None = None, *, exog: ArrayLike | None = None) -> Gaussian:
        """`Gaussian` prediction ``(F,)`` of the element that follows `context`.

        `exog` has ``len(context) + 1`` rows: the context's and the next step's.
        """
        ahead = self.forecast(context, 1, exog=exog)
        return Gaussian(ahead.mean[0], np.diagonal(ahead.covariance[0]).copy())

    def forecast(
        self, context: SequenceLike | None, steps: int, *, exog: ArrayLike | None = None, level: float = 0.95
    ) -> Forecast:
        """Forecast `steps` elements after `context`, with intervals.

        Parameters
        ----------
        context : (T, F) real array
        steps : int
        exog : (T + steps, E) real array
            The inputs of the context and of the steps ahead.
        level : float
            Probability that an interval contains its value, given the model.

        Returns
        -------
        Forecast
        """
        series = self._check(context, "context")
        steps = as_size(steps, "steps", least=0)
        level = as_number(level, "level", above=0, below=1)
        inputs = self._check_exog(exog, len(series) + steps)
        # Only the window matters if no value in it is missing; otherwise the filter starts at the beginning.
        skip = max(len(series) - self.order_, 0)
        if np.isnan(series[skip:]).any():
            skip = 0
        ahead = np.concatenate([series[skip:], np.full((steps, self.n_features_), np.nan)])
        mean, covariance = self._filter(ahead, inputs[skip:], started=skip)
        mean, covariance = mean[len(ahead) - steps:], covariance[len(ahead) - steps:]
        deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        half = NormalDist().inv_cdf(0.5 + level / 2) * deviation
        return Forecast(mean, mean - half, mean + half, covariance)

    def sample(
        self,
        length: int,
        context: SequenceLike | None = None,
        seed: RandomSource = None,
        *,
        exog: ArrayLike | None = None,
    ) -> Floats:
        """Draw ``(length, F)`` values that follow `context`, reproducible from `seed`."""
        past = self._check(context, "context")
        length, start = as_size(length, "length", least=0), len(past)
        inputs = self._check_exog(exog, start + length)
        if np.isnan(past[max(start - self.order_, 0):]).any():
            raise ValueError("context: got NaN within the last `order` steps, expected values; "
                             "sample after a complete window")
        noise = generator(seed).standard_normal((length, self.n_features_))
        roots = [np.linalg.cholesky(positive(c)) for c in self.covariances_]
        series = np.concatenate([past, np.empty((length, self.n_features_))])
        for t in range(start, start + length):
            order = min(t, self.order_)
            mean = self._row(series, inputs, t, order) @ self.weights_[order]
            series[t] = mean + roots[order] @ noise[t - start]
        drawn: Floats = series[start:]
        return drawn

    def _row(self, series: Array, exog: Floats, t: int, order: int) -> Floats:
        """The regressors of step t: [1, u_t, y_{t-1}, y_{t-2}, …]."""
        window = series[t - order : t][::-1].ravel()
        return np.concatenate([[1.0], exog[t], window])

    def _walk(self, series: Array, exog: Floats) -> tuple[Floats, Floats]:
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

    def _filter(self, series: Array, exog: Floats, started: int = 0) -> tuple[Floats, Floats]:
        """`_walk` with missing values: a Kalman filter over the window, newest first.

        The sequence has `started` steps before the first row, which only choose the order of the first
        predictions.
        """
        width, top, unit = self.n_features_, self.order_, self._unit
        size, known = top * width, 1 + self.n_exog_
        mean = np.empty_like(series)
        covariance = np.empty((len(series), width, width))
        window, spread = np.zeros(size), np.zeros((size, size))
        noise = [c / np.outer(unit, unit) for c in self.covariances_]
        for t, value in enumerate(series / unit):
            order = min(t + started, top)
            weights = self.weights_[order] / unit
            lags = np.zeros((width, size))
            lags[:, : order * width] = (weights[known:] * np.tile(unit, order)[:, None]).T
            level = weights[:known].T @ np.concatenate([[1.0], exog[t]])
            joint = np.concatenate([level + lags @ window, window])  # of [y_t, window]
            cross = lags @ spread
            full = np.block([[cross @ lags.T + noise[order], cross],
                             [cross.T, spread]])
            mean[t], covariance[t] = joint[:width], full[:width, :width]
            seen = np.flatnonzero(~np.isnan(value))
            if seen.size:
                gain = np.linalg.solve(positive(full[np.ix_(seen, seen)]), full[seen]).T
                joint = joint + gain @ (value[seen] - joint[seen])
                left = np.eye(len(full))  # Joseph's form: errors of the gain cannot make a variance negative
                left[:, seen] -= gain
                full = left @ full @ left.T
                joint[seen], full[seen], full[:, seen] = value[seen], 0.0, 0.0
            window, spread = joint[:size], full[:size, :size]
        return mean * unit, covariance * np.outer(unit, unit)


def _covariance(field: Field, width: int) -> Floats:
    """A covariance from a file: symmetric, and without a negative variance in any direction, up to rounding."""
    found = field.array((width, width))
    largest = np.abs(found).max(initial=0)
    if not np.allclose(found, found.T, rtol=0, atol=1e-9 * largest) \
            or np.linalg.eigvalsh(found).min(initial=0) < -1e-9 * largest:
        raise field.refuse("a covariance, symmetric and without negative variances")
    return found
