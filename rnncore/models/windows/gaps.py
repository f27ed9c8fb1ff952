"""Missing values in a series that an autoregression is fitted to: expectation maximisation.

The E-step finds the distribution of the missing values given all others. The whitened residuals e = G y − l are
linear in the series y, and G is banded, so the missing values have the precision Λ = G_m' G_m, where G_m are the
columns of G that belong to them. Steps are taken together in blocks of at least `order`, so that only neighbouring
blocks are connected, and Λ is block tridiagonal:

    forward    S_i = D_i − C_i S_{i−1}⁻¹ C_i'
    backward   Σ_i = S_i⁻¹ + J_i Σ_{i+1} J_i',   Σ_{i+1,i} = −Σ_{i+1} J_i',   J_i = S_i⁻¹ C_{i+1}'

The M-step is the regression of ``regression.py`` on the expected values, with the covariance of every window as
further rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .regression import Standard, Triangle

if TYPE_CHECKING:
    from rnncore._typing import Bools, Floats

BLOCK = 64  # steps of a block, at least
STEPS = 500  # of expectation maximisation, at most
STALLED = 30  # steps without a new smallest change: where columns depend on each other, rounding is larger than `tol`

# (weights, covariance) of every order 0 … order, of standardised values
Solutions = list[tuple["Floats", "Floats"]]


class Expected(NamedTuple):
    """A series with expected values for the missing ones.

    Attributes
    ----------
    series : ndarray ``(T, F)``
    spread : ndarray ``(order·F + F, order·F + F)``
        The sum over steps of the covariance of [lag 1 … lag order | y].
    log_likelihood : float
        Log density of the values that are not missing.
    """

    series: Floats
    spread: Floats
    log_likelihood: float


def fill(series: Floats) -> Floats:
    """A series with its gaps filled in by straight lines; a feature without any value is filled with 0."""
    filled, steps = series.copy(), np.arange(len(series))
    for column in filled.T:
        gone = np.isnan(column)
        if gone.any():
            column[gone] = np.interp(steps[gone], steps[~gone], column[~gone]) if not gone.all() else 0.0
    return filled


def trim(series: Floats, exog: Floats) -> tuple[Floats, Floats]:
    """A series without the steps at its ends that have no value at all, which say nothing."""
    seen = np.flatnonzero(~np.isnan(series).all(axis=1))
    kept = slice(seen[0], seen[-1] + 1) if len(seen) else slice(0, 0)
    return series[kept], exog[kept]


def fit(
    standard: Standard, arrays: Sequence[Floats], inputs: Sequence[Floats], order: int, first: int, tol: float,
    start: Solutions | None = None,
) -> Solutions:
    """Expectation maximisation: the solutions of order 0 … `order`.

    Parameters
    ----------
    standard : Standard
    arrays, inputs : lists of ``(T, F)`` and ``(T, E)`` arrays
        Standardised.
    order : int
    first : int
        The first step of a sequence whose residual counts in the regression, `order` or more.
    tol : float
        Iterations end when no weight and no deviation of a residual changes by more than this.
    start : list of (weights, covariance), optional
        Solutions of this order or smaller ones; by default those of the complete windows, or, if there are few,
        those of the series with straight lines in their gaps.
    """
    if start is None:
        triangle = Triangle(standard, arrays, inputs, order, first=first)
        if triangle.rows < 2 * standard.unknowns(order) + standard.width:
            triangle = Triangle(standard, list(map(fill, arrays)), inputs, order, first=first)
        solutions = [triangle.solve(k) for k in range(order + 1)]
    else:
        weights, covariance = start[-1]
        lags = np.zeros(((order + 1 - len(start)) * standard.width, standard.width))
        longer = [(np.concatenate([weights, lags[: k * standard.width]]), covariance)
                  for k in range(1, order + 2 - len(start))]
        solutions = start + longer
    changes: list[float] = []
    while len(changes) < STEPS:
        found = [expect(a, u, solutions, first) for a, u in zip(arrays, inputs, strict=True)]
        spread: Floats = np.sum([f.spread for f in found], axis=0)
        triangle = Triangle(standard, [f.series for f in found], inputs, order, spread, first)
        before, solutions = solutions[-1], [triangle.solve(k) for k in range(order + 1)]
        changes.append(_change(before, solutions[-1]))
        lowest = int(np.argmin(changes))
        if changes[-1] <= tol or len(changes) - lowest > STALLED:
            break
    return solutions


def _change(before: tuple[Floats, Floats], after: tuple[Floats, Floats]) -> float:
    """The largest change of a weight or of a deviation of a residual."""
    deviations = [np.sqrt(np.diagonal(covariance)) for _, covariance in (before, after)]
    return float(max(np.abs(after[0] - before[0]).max(), np.abs(deviations[1] - deviations[0]).max()))


def expect(series: Floats, exog: Floats, solutions: Solutions, first: int = 0) -> Expected:
    """The E-step for one series: the distribution of its missing values given the others.

    Parameters
    ----------
    series : ndarray ``(T, F)``
        Standardised, NaN where a value is missing.
    exog : ndarray ``(T, E)``
    solutions : list of (weights, covariance)
        Of order 0 … order; those of smaller order are the model of the first steps.
    first : int
        The first step that counts in `spread`; `order` or more.
    """
    steps, width = series.shape
    order, gone = len(solutions) - 1, np.isnan(series)
    if steps == 0:
        return Expected(series, np.zeros(((order + 1) * width, (order + 1) * width)), 0.0)
    size = max(BLOCK, order)
    rows = _Rows(solutions, width, 1 + exog.shape[1], size)
    bounds = [(begin, min(begin + size, steps)) for begin in range(0, steps, size)]
    series = np.where(gone, 0.0, series)
    blocks = [_Block(rows, series, exog, gone, begin, end) for begin, end in bounds]
    log_det, covariances = _solve(blocks, series, gone)
    squares = sum(float(np.sum(block.residual(rows, series, exog) ** 2)) for block in blocks)
    log_likelihood = (-0.5 * (squares + log_det + (gone.size - gone.sum()) * math.log(2 * math.pi))
                      - sum(rows.log_root[min(t, order)] for t in range(min(order, steps)))
                      - max(steps - order, 0) * rows.log_root[order])
    spread = np.zeros((order + 1, width, order + 1, width))
    for block, covariance in zip(blocks, covariances, strict=True):
        begin = max(block.begin, first, order)
        if begin < block.end and block.around.any():
            # the covariance of the window of every step, as a view: the next step is one further along both axes
            at = covariance[begin - order - block.low :, :, begin - order - block.low :]
            a, b, c, d = at.strides
            windows = np.lib.stride_tricks.as_strided(
                at, (block.end - begin, order + 1, width, order + 1, width), (a + c, a, b, c, d), writeable=False)
            spread += windows.sum(axis=0)
    newest = spread[::-1, :, ::-1].reshape((order + 1) * width, -1)  # [y, lag 1, … lag order]
    turned = np.roll(newest, -width, axis=(0, 1))
    return Expected(series, turned, float(log_likelihood))


class _Rows:
    """The operators of the whitened residuals, of every order.

    Attributes
    ----------
    lags : list of ndarray ``(F, (k + 1)·F)``
        Of order k: the residual's part that is linear in y_{t-k} … y_t, oldest first.
    level : list of ndarray ``(known, F)``
        The weights of [1, u_t].
    log_root : list of float
        Half of ln det of the covariances.
    band : ndarray ``(size·F, (order + size)·F)``
        `size` rows of the highest order, one below the other.
    """

    def __init__(self, solutions: Solutions, width: int, known: int, size: int) -> None:
        self.order = len(solutions) - 1
        self.lags: list[Floats] = []
        self.level: list[Floats] = []
        self.log_root: list[float] = []
        for k, (weights, covariance) in enumerate(solutions):
            root = np.linalg.cholesky(covariance)
            past = weights[known:].reshape(k, width, width)[::-1].transpose(2, 0, 1).reshape(width, k * width)
            self.lags.append(np.linalg.solve(root, np.hstack([-past, np.eye(width)])))
            self.level.append(np.linalg.solve(root, weights[:known].T).T)
            self.log_root.append(float(np.log(np.diagonal(root)).sum()))
        self.band = np.zeros((size * width, (self.order + size) * width))
        for t in range(size):
            self.band[t * width : (t + 1) * width, t * width : (t + self.order + 1) * width] = self.lags[-1]


class _Block:
    """Some steps `begin` … `end` of a series: their residuals, and how these depend on its missing values.

    Attributes
    ----------
    low : int
        The first step on which the residuals depend.
    around : ndarray ``((end - low)·F,)`` of bool
        Which values from `low` on are missing.
    own, past : ndarray ``(rows, m)``
        The columns of the missing values of this block, and of those before it.
    """

    def __init__(self, rows: _Rows, series: Floats, exog: Floats, gone: Bools, begin: int, end: int) -> None:
        width, order = series.shape[1], rows.order
        self.begin, self.end, self.low = begin, end, max(begin - order, 0)
        if begin:
            self.operator = rows.band[: (end - begin) * width, : (end - self.low) * width]
        else:
            self.operator = np.zeros((end * width, end * width))
            for t in range(end):
                k = min(t, order)
                self.operator[t * width : (t + 1) * width, (t - k) * width : (t + 1) * width] = rows.lags[k]
        self.around = gone[self.low : end].ravel()
        cut = (begin - self.low) * width
        missing = np.flatnonzero(self.around)
        self.past, self.own = (self.operator[:, at] for at in (missing[missing < cut], missing[missing >= cut]))
        self.pull = -self.residual(rows, series, exog)

    def residual(self, rows: _Rows, series: Floats, exog: Floats) -> Floats:
        """The whitened residuals of all steps, one after the other."""
        level = np.hstack([np.ones((self.end - self.begin, 1)), exog[self.begin : self.end]])
        expected = level @ rows.level[-1]
        if not self.begin:
            for t in range(min(rows.order, self.end)):
                expected[t] = level[t] @ rows.level[t]
        left: Floats = self.operator @ series[self.low : self.end].ravel() - expected.ravel()
        return left


def _solve(blocks: Sequence[_Block], series: Floats, gone: Bools) -> tuple[float, list[Floats]]:
    """Write the expected values into `series`; ln det Λ, and the covariance from `low` to `end` of every block."""
    width = series.shape[1]
    precisions = [block.own.T @ block.own for block in blocks]
    right = [block.own.T @ block.pull for block in blocks]
    links = [block.own.T @ block.past for block in blocks]  # to the last of the missing values of the block before
    for i, block in enumerate(blocks[1:]):
        count = block.past.shape[1]
        last = slice(len(right[i]) - count, None)
        precisions[i][last, last] += block.past.T @ block.past
        right[i][last] += block.past.T @ block.pull
    inverses: list[Floats] = []
    log_det = 0.0
    for i, link in enumerate(links):
        if i:
            last = slice(len(right[i - 1]) - link.shape[1], None)
            gain = link @ inverses[-1][last]
            precisions[i] -= gain[:, last] @ link.T
            right[i] -= gain @ right[i - 1]
        root = np.linalg.cholesky(precisions[i])
        log_det += 2 * float(np.log(np.diagonal(root)).sum())
        half = np.linalg.solve(root, np.eye(len(root)))
        inverses.append(half.T @ half)
    found: list[Floats] = [inverse @ value for inverse, value in zip(inverses, right, strict=True)]
    full = list(inverses)  # of every block, with the last of the missing values of the block before
    own = inverses[-1]
    for i in reversed(range(len(blocks) - 1)):
        last, after = slice(len(right[i]) - links[i + 1].shape[1], None), own
        back = inverses[i][:, last] @ links[i + 1].T
        found[i] -= back @ found[i + 1]
        own = inverses[i] + back @ after @ back.T
        cross = (back @ after)[last]
        full[i + 1] = np.block([[own[last, last], -cross], [-cross.T, after]])
    full[0] = own
    covariances = []
    for i, block in enumerate(blocks):
        series[block.begin : block.end][gone[block.begin : block.end]] = found[i]
        places = np.flatnonzero(block.around)
        covariance = np.zeros((len(block.around), len(block.around)))
        covariance[np.ix_(places, places)] = full[i]
        span = block.end - block.low
        covariances.append(covariance.reshape(span, width, span, width))
    return log_det, covariances
