"""Least squares on windows of the past, for all orders at once.

The design matrix is reduced block by block to one triangle R by Householder
QR. The size of R does not depend on the length of the data, and the condition number is not
squared, as it would be in the normal equations. The columns are ordered [1, u, lag 1, lag 2, …], so
the leading columns of R are also the design of every smaller order on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np

from rnncore.models.interface.scale import EPSILON, learn_scale, least_squares, positive

if TYPE_CHECKING:
    from rnncore._typing import Floats

Criterion: TypeAlias = Literal["aic", "bic"]
BLOCK = 4096  # rows of the design matrix that are held at a time
BLUR = 1e-7  # rounding of expected values: singular covariances are raised to about the square of this, see `positive`
LEAST = 1e-8  # the smallest deviation of a residual, as a share of the data's deviation


class Standard:
    """Series and inputs scaled to mean 0 and deviation 1 (without an intercept: to a mean square of 1), and back.

    Parameters
    ----------
    arrays, inputs : lists of ``(T, F)`` and ``(T, E)`` arrays
    intercept : bool
    """

    def __init__(self, arrays: Sequence[Floats], inputs: Sequence[Floats], intercept: bool) -> None:
        self.intercept = intercept
        self.series = learn_scale(np.concatenate(arrays), centre=intercept)
        self.inputs = learn_scale(np.concatenate(inputs), centre=intercept, name="exog")
        self.width, self.known = len(self.series.scale), 1 + len(self.inputs.scale)

    def apply(self, arrays: Sequence[Floats], inputs: Sequence[Floats]) -> tuple[list[Floats], list[Floats]]:
        """The series and the inputs, standardised."""
        return [self.series.standardise(a) for a in arrays], [self.inputs.standardise(u) for u in inputs]

    def unknowns(self, order: int) -> int:
        """Number of weights that each feature has at this order."""
        return self.known - (not self.intercept) + order * self.width

    def check(self, rows: int, order: int) -> None:
        """Refuse an order that has as many unknowns as rows, or more."""
        if rows <= self.unknowns(order):
            raise ValueError(f"sequences: got {rows} steps with {order} steps before them, expected more than the "
                             f"{self.unknowns(order)} unknowns of each feature at order {order}; give more data "
                             "or a lower order")

    def rounding(self, order: int) -> Floats:
        """The rounding error of an entry in each column of the design."""
        return np.concatenate([[EPSILON], self.inputs.rounding, np.tile(self.series.rounding, order)])

    def positive(self, covariance: Floats) -> Floats:
        """A covariance of residuals, kept away from singular."""
        least = np.maximum(LEAST, self.series.rounding) ** 2
        raised = np.maximum(least - np.diagonal(covariance), 0.0)
        return positive(covariance + np.diag(raised))

    @property
    def log_volume(self) -> float:
        """What ln det Σ has in the data's units beyond its value for standardised data."""
        return float(2 * np.log(self.series.scale).sum())

    def in_units(self, weights: Floats, covariance: Floats) -> tuple[Floats, Floats]:
        """Weights ``(known + order·F, F)`` and covariance in the data's units."""
        shift, scale, _ = self.series
        weights = weights * scale
        inputs, lags = weights[1 : self.known], weights[self.known :].reshape(-1, self.width, self.width)
        inputs /= self.inputs.scale[:, None]
        lags /= scale[:, None]
        if self.intercept:
            weights[0] += shift - np.einsum("kif,i->f", lags, shift) - self.inputs.shift @ inputs
        return weights, covariance * np.outer(scale, scale)


class Triangle:
    """R of the design matrix [1, u, lag 1 … lag top | y] of standardised series.

    Parameters
    ----------
    standard : Standard
    arrays, inputs : lists of ``(T, F)`` and ``(T, E)`` arrays
        Standardised. Rows with a NaN are left out.
    top : int
        The largest order that will be asked for.
    spread : ndarray ``(top·F + F, top·F + F)``, optional
        The sum over all rows of the covariance of [lag 1 … lag top | y], if the values are expected ones.
    first : int, optional
        The first step of a sequence that has a row; `top` by default.
    """

    def __init__(
        self, standard: Standard, arrays: Sequence[Floats], inputs: Sequence[Floats], top: int,
        spread: Floats | None = None, first: int | None = None,
    ) -> None:
        self.standard, self.width, self.known = standard, standard.width, standard.known
        triangle: Floats = np.empty((0, self.known + top * self.width + self.width))
        self.rows = 0
        for series, exog in zip(arrays, inputs, strict=True):
            for begin in range(top if first is None else first, len(series), BLOCK):
                end = min(begin + BLOCK, len(series))
                rows: Floats = np.hstack([design(series, exog, begin, end, top), series[begin:end]])
                rows = rows[~np.isnan(rows).any(axis=1)]
                self.rows += len(rows)
                triangle = _reduced(triangle, rows)
        if spread is not None:
            values, vectors = np.linalg.eigh(spread)
            rows = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
            triangle = _reduced(triangle, np.hstack([np.zeros((len(rows), self.known)), rows]))
        if not standard.intercept:
            triangle[:, 0] = 0.0
        self._least_rounding = 0.0 if spread is None else BLUR
        self.lead, self.target = triangle[:, : -self.width], triangle[:, -self.width :]

    def check(self, order: int) -> None:
        """Refuse an order that has as many unknowns as rows, or more."""
        self.standard.check(self.rows, order)

    def solve(self, order: int) -> tuple[Floats, Floats]:
        """Weights ``(known + order·F, F)`` and residual covariance of an order, of standardised values."""
        columns = self.known + order * self.width
        lead = self.lead[:, :columns]
        rounding = np.maximum(self.standard.rounding(order), self._least_rounding)
        weights = least_squares(lead, self.target, rounding, self.rows)
        residual = self.target - lead @ weights
        return weights, self.standard.positive(residual.T @ residual / self.rows)

    def criterion(self, order: int, name: Criterion) -> float:
        """AIC or BIC of an order: −2 log likelihood + penalty · parameters, in the data's units.

        It is infinite where the residuals have too few degrees of freedom for their covariance.
        """
        self.check(order)
        if self.rows < self.standard.unknowns(order) + self.width:
            return math.inf
        log_det = float(np.linalg.slogdet(self.solve(order)[1])[1]) + self.standard.log_volume
        log_likelihood = -0.5 * self.rows * (log_det + self.width * (1 + math.log(2 * math.pi)))
        return information(log_likelihood, self.rows, parameters(self.standard.unknowns(order), self.width), name)


def parameters(unknowns: int, width: int) -> int:
    """Free parameters of a regression of `width` features: the weights, and the covariance of the residuals."""
    return unknowns * width + width * (width + 1) // 2


def information(log_likelihood: float, rows: int, count: int, name: Criterion) -> float:
    """AIC or BIC of a model with `count` parameters.

    Examples
    --------
    >>> information(-10.0, 100, 3, "aic")
    26.0
    """
    return -2 * log_likelihood + count * (2.0 if name == "aic" else math.log(rows))


def design(series: Floats, exog: Floats, begin: int, end: int, order: int) -> Floats:
    """Regressor rows [1, u_t, y_{t-1}, …, y_{t-order}] of steps begin … end - 1."""
    lags = [series[begin - k : end - k] for k in range(1, order + 1)]
    return np.hstack([np.ones((end - begin, 1)), exog[begin:end], *lags])


def _reduced(triangle: Floats, rows: Floats) -> Floats:
    """The triangle R of earlier rows and more rows."""
    stacked = np.concatenate([triangle, rows])
    return cast("Floats", np.linalg.qr(stacked, mode="r"))  # numpy's stub has no mode "r"


def log_normal(error: Floats, covariance: Floats) -> Floats:
    """Log N(error; 0, covariance) of every step, over the entries that are not NaN; ``(T,)``."""
    seen = ~np.isnan(error)
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    error = np.where(seen, error, 0.0) / deviation
    correlation = positive(covariance / deviation[:, :, None] / deviation[:, None, :])
    both = seen[:, :, None] & seen[:, None, :]
    root = np.linalg.cholesky(np.where(both, correlation, np.eye(error.shape[1])))  # missing: a factor of 1
    white = np.linalg.solve(root, error[:, :, None])[:, :, 0]
    log_det = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1) + (np.log(deviation) * seen).sum(axis=1)
    count = seen.sum(axis=1)
    log_density: Floats = -0.5 * (white**2).sum(axis=1) - log_det - 0.5 * math.log(2 * math.pi) * count
    return log_density
