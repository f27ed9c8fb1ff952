"""Least squares on windows of the past, for all orders at once.

The design matrix is reduced block by block to one triangle R by Householder
QR, so its size does not depend on the length of the data and nothing is squared.
Its columns are ordered [1, u, lag 1, lag 2, …]: the leading columns of R are
the design of every smaller order too, on the same rows.
"""

from __future__ import annotations

import math

import numpy as np

BLOCK = 4096  # rows of the design matrix that are held at a time


class Triangle:
    """R of the design matrix [1, u, lag 1 … lag top | y], in units of mean 0, deviation 1.

    Parameters
    ----------
    arrays, inputs : lists of ``(T, F)`` and ``(T, E)`` arrays
    top : int
        The largest order that will be asked for.
    intercept : bool
    """

    def __init__(self, arrays, inputs, top, intercept):
        self.width, self.intercept = arrays[0].shape[1], intercept
        self.known = 1 + inputs[0].shape[1]
        values = np.concatenate(arrays)
        if np.isnan(values).all(axis=0).any():
            raise ValueError("sequences: got a feature with no value at all, expected some")
        self.shift = np.nanmean(values, axis=0) * bool(intercept)
        self.scale = np.sqrt(np.nanmean((values - self.shift) ** 2, axis=0))
        self.scale[self.scale == 0] = 1.0
        columns = self.known + top * self.width + self.width
        triangle, self.rows = np.empty((0, columns)), 0
        for series, exog in zip(arrays, inputs, strict=True):
            series = (series - self.shift) / self.scale
            for begin in range(top, len(series), BLOCK):
                end = min(begin + BLOCK, len(series))
                rows = np.hstack([design(series, exog, begin, end, top), series[begin:end]])
                rows = rows[~np.isnan(rows).any(axis=1)]
                self.rows += len(rows)
                triangle = np.linalg.qr(np.concatenate([triangle, rows]), mode="r")
        if not intercept:
            triangle[:, 0] = 0.0
        self.lead, self.target = triangle[:, : -self.width], triangle[:, -self.width :]

    def unknowns(self, order):
        return self.known - (not self.intercept) + order * self.width

    def check(self, order):
        if self.rows <= self.unknowns(order):
            raise ValueError(f"sequences: got {self.rows} complete windows of order {order}, "
                             f"expected more than the {self.unknowns(order)} unknowns of each "
                             "feature; give more data or a lower order")

    def _least_squares(self, order):
        """Weights ``(known + order·F, F)`` and the residuals' products ``(F, F)``, scaled."""
        columns = self.known + order * self.width
        weights = np.linalg.lstsq(self.lead[:, :columns], self.target, rcond=None)[0]
        residual = self.target - self.lead[:, :columns] @ weights
        return weights, residual.T @ residual

    def criterion(self, order, name):
        """AIC or BIC of an order: N ln det Σ + penalty · unknowns."""
        self.check(order)
        covariance = _positive(self._least_squares(order)[1] / self.rows)
        penalty = 2.0 if name == "aic" else math.log(self.rows)
        return (self.rows * np.linalg.slogdet(covariance)[1]
                + penalty * self.unknowns(order) * self.width)

    def solve(self, order):
        """Weights and residual covariance of an order, in the data's units."""
        weights, products = self._least_squares(order)
        covariance = _positive(products / self.rows) * np.outer(self.scale, self.scale)
        weights = weights * self.scale
        lags = weights[self.known :].reshape(order, self.width, self.width)
        lags /= self.scale[:, None]
        weights[0] += self.shift - np.einsum("kif,i->f", lags, self.shift)
        return weights, covariance


def design(series, exog, begin, end, order):
    """Regressor rows [1, u_t, y_{t-1}, …, y_{t-order}] of steps begin … end - 1."""
    lags = [series[begin - k : end - k] for k in range(1, order + 1)]
    return np.hstack([np.ones((end - begin, 1)), exog[begin:end], *lags])


def _positive(covariance):
    """Keep a covariance in unit scale away from singular: deviations of at least 1e-8."""
    values, vectors = np.linalg.eigh(covariance)
    if values[0] >= 1e-16:
        return covariance
    return (vectors * np.maximum(values, 1e-16)) @ vectors.T


def log_normal(error, covariance):
    """Log N(error; 0, covariance) a step, over the entries that are not NaN; ``(T,)``."""
    seen = ~np.isnan(error)
    error = np.where(seen, error, 0.0)
    both = seen[:, :, None] & seen[:, None, :]
    covariance = np.where(both, covariance, np.eye(error.shape[1]))  # missing: a factor of 1
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, error[:, :, None])[:, :, 0]
    log_det = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    count = seen.sum(axis=1)
    return -0.5 * (white**2).sum(axis=1) - log_det - 0.5 * math.log(2 * math.pi) * count
