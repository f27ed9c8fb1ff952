"""Least squares on windows of the past, for all orders at once.

The design matrix is reduced block by block to one triangle R by Householder
QR. The size of R does not depend on the length of the data, and the condition number is not
squared, as it would be in the normal equations. The columns are ordered [1, u, lag 1, lag 2, …], so
the leading columns of R are also the design of every smaller order on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Floats

BLOCK = 4096  # rows of the design matrix that are held at a time


class Triangle:
    """R of the design matrix [1, u, lag 1 … lag top | y], of values scaled to mean 0 and deviation 1.

    Parameters
    ----------
    arrays, inputs : lists of ``(T, F)`` and ``(T, E)`` arrays
    top : int
        The largest order that will be asked for.
    intercept : bool
    """

    def __init__(self, arrays: Sequence[Floats], inputs: Sequence[Floats], top: int, intercept: bool) -> None:
        self.width: int = arrays[0].shape[1]
        self.known: int = 1 + inputs[0].shape[1]
        self.intercept = intercept
        values = np.concatenate(arrays)
        if np.isnan(values).all(axis=0).any():
            raise ValueError("sequences: got a feature with no value at all, expected some")
        self.shift = np.nanmean(values, axis=0) * bool(intercept)
        self.scale = np.sqrt(np.nanmean((values - self.shift) ** 2, axis=0))
        self.scale[self.scale == 0] = 1.0
        columns = self.known + top * self.width + self.width
        triangle: Floats = np.empty((0, columns))
        self.rows = 0
        for series, exog in zip(arrays, inputs, strict=True):
            series = (series - self.shift) / self.scale
            for begin in range(top, len(series), BLOCK):
                end = min(begin + BLOCK, len(series))
                rows: Floats = np.hstack([design(series, exog, begin, end, top), series[begin:end]])
                rows = rows[~np.isnan(rows).any(axis=1)]
                self.rows += len(rows)
                stacked = np.concatenate([triangle, rows])
                triangle = cast("Floats", np.linalg.qr(stacked, mode="r"))  # numpy's stub has no mode "r"
        if not intercept:
            triangle[:, 0] = 0.0
        self.lead, self.target = triangle[:, : -self.width], triangle[:, -self.width :]

    def unknowns(self, order: int) -> int:
        """Number of weights that each feature has at this order."""
        return self.known - (not self.intercept) + order * self.width

    def check(self, order: int) -> None:
        """Refuse an order that has as many unknowns as rows, or more."""
        if self.rows <= self.unknowns(order):
            raise ValueError(f"sequences: got {self.rows} complete windows of order {order}, "
                             f"expected more than the {self.unknowns(order)} unknowns of each "
                             "feature; give more data or a lower order")

    def _least_squares(self, order: int) -> tuple[Floats, Floats]:
        """Weights ``(known + order·F, F)`` and the residuals' products ``(F, F)``, of scaled values."""
        columns = self.known + order * self.width
        weights = cast("Floats", np.linalg.lstsq(self.lead[:, :columns], self.target, rcond=None)[0])
        residual = self.target - self.lead[:, :columns] @ weights
        return weights, residual.T @ residual

    def criterion(self, order: int, name: Literal["aic", "bic"]) -> float:
        """AIC or BIC of an order: N ln det Σ + penalty · unknowns."""
        self.check(order)
        covariance = _positive(self._least_squares(order)[1] / self.rows)
        penalty = 2.0 if name == "aic" else math.log(self.rows)
        return float(self.rows * np.linalg.slogdet(covariance)[1]
                     + penalty * self.unknowns(order) * self.width)

    def solve(self, order: int) -> tuple[Floats, Floats]:
        """Weights and residual covariance of an order, in the data's units."""
        weights, products = self._least_squares(order)
        covariance = _positive(products / self.rows) * np.outer(self.scale, self.scale)
        weights = weights * self.scale
        lags = weights[self.known :].reshape(order, self.width, self.width)
        lags /= self.scale[:, None]
        weights[0] += self.shift - np.einsum("kif,i->f", lags, self.shift)
        return weights, covariance


def design(series: Floats, exog: Floats, begin: int, end: int, order: int) -> Floats:
    """Regressor rows [1, u_t, y_{t-1}, …, y_{t-order}] of steps begin … end - 1."""
    lags = [series[begin - k : end - k] for k in range(1, order + 1)]
    return np.hstack([np.ones((end - begin, 1)), exog[begin:end], *lags])


def _positive(covariance: Floats) -> Floats:
    """A covariance of scaled values, kept away from singular: deviations of at least 1e-8."""
    values, vectors = np.linalg.eigh(covariance)
    if values[0] >= 1e-16:
        return covariance
    positive: Floats = (vectors * np.maximum(values, 1e-16)) @ vectors.T
    return positive


def log_normal(error: Floats, covariance: Floats) -> Floats:
    """Log N(error; 0, covariance) of every step, over the entries that are not NaN; ``(T,)``."""
    seen = ~np.isnan(error)
    error = np.where(seen, error, 0.0)
    both = seen[:, :, None] & seen[:, None, :]
    covariance = np.where(both, covariance, np.eye(error.shape[1]))  # missing: a factor of 1
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, error[:, :, None])[:, :, 0]
    log_det = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    count = seen.sum(axis=1)
    log_density: Floats = -0.5 * (white**2).sum(axis=1) - log_det - 0.5 * math.log(2 * math.pi) * count
    return log_density
