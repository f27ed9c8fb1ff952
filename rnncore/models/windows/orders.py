"""The regression of one order, and the criterion that compares all of them, of series with or without gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import gaps
from .regression import Standard, Triangle, information, parameters

if TYPE_CHECKING:
    from rnncore._progress import progress_bar
    from rnncore._typing import Floats

    from .gaps import Solutions
    from .regression import Criterion

# When expectation maximisation ends: for the model, and as a share of a standard error, 1/√N, to compare orders.
CLOSE, ROUGH = 1e-8, 0.1


def solve(
    standard: Standard, arrays: Sequence[Floats], inputs: Sequence[Floats], order: int
) -> tuple[int, Solutions]:
    """The number of steps that were regressed, and the solutions of order 0 … `order`; all of standardised values."""
    if not _have_gaps(arrays):
        triangle = Triangle(standard, arrays, inputs, order)
        triangle.check(order)
        return triangle.rows, [triangle.solve(k) for k in range(order + 1)]
    rows = count_steps(arrays, order)
    standard.check(rows, order)
    return rows, gaps.fit(standard, arrays, inputs, order, order, CLOSE)


def criteria(
    standard: Standard, arrays: Sequence[Floats], inputs: Sequence[Floats], top: int, name: Criterion, bar: progress_bar
) -> Floats:
    """AIC or BIC of order 0 … `top`, in the data's units, of the steps that have `top` steps before them."""
    if not _have_gaps(arrays):
        triangle = Triangle(standard, arrays, inputs, top)
        return np.array([triangle.criterion(k, name) for k in range(top + 1)])
    rows, values = count_steps(arrays, top), np.concatenate([a[top:] for a in arrays])
    log_unit = float(np.sum(~np.isnan(values) * np.log(standard.series.scale)))
    found, solutions = np.full(top + 1, math.inf), None
    for k in range(top + 1):
        standard.check(rows, k)
        if rows < standard.unknowns(k) + standard.width:
            break
        solutions = gaps.fit(standard, arrays, inputs, k, top, ROUGH / math.sqrt(rows), solutions)
        log_likelihood = sum(gaps.expect(a, u, solutions).log_likelihood
                             - gaps.expect(a[:top], u[:top], solutions).log_likelihood
                             for a, u in zip(arrays, inputs, strict=True))
        count = parameters(standard.unknowns(k), standard.width)
        found[k] = information(log_likelihood - log_unit, rows, count, name)
        bar.update()
    return found


def default_top(arrays: Sequence[Floats], unknowns: int) -> int:
    """The largest order that is tried: 10·log₁₀ of the number of steps, as in R, or less.

    It leaves at least twice as many steps as unknowns, of which there are `unknowns` without lags.
    """
    width, longest = arrays[0].shape[1], max(map(len, arrays))
    top = int(10 * math.log10(max(count_steps(arrays), 1)))
    while top > 0 and (top >= longest or count_steps(arrays, top) < 2 * (top * width + unknowns)):
        top -= 1
    return top


def count_steps(arrays: Sequence[Floats], first: int = 0) -> int:
    """The number of steps with a value, from step `first` of every series on."""
    return sum(int(np.sum(~np.isnan(a[first:]).all(axis=1))) for a in arrays)


def _have_gaps(arrays: Sequence[Floats]) -> bool:
    return any(bool(np.isnan(a).any()) for a in arrays)
