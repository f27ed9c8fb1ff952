"""What counts as zero: the scale and the rank of data, judged by the rounding of the data themselves.

A column that is constant but for rounding has no scale of its own, and columns that depend on each other exactly do
so only up to rounding. Both are judged here, relative to the largest value of each column, so that a model gives the
same answer in any unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Floats

EPSILON = float(np.finfo(np.float64).eps)

# A column is constant if its deviation is at most this share of its largest value: 450 roundings, which is more than
# a change of unit or a running mean leaves, and a thousandth of the smallest signal in a clock of nanoseconds.
CONSTANT = 1e-13

# Dependent columns leave singular values of up to 7 roundings of the data after a QR of 10⁵ rows in blocks, and this
# grows with the square root of the number of rows; independent ones are at 10⁹ and more (60 random designs).
DEPENDENT = 50.0


class Scale(NamedTuple):
    """How columns are standardised: ``(values - shift) / scale``.

    Attributes
    ----------
    shift, scale : ndarray ``(F,)``
        Mean and deviation. The scale of a constant column is its absolute value, or 1 if it is 0.
    rounding : ndarray ``(F,)``
        The rounding error of a standardised value, which is large where the mean is large beside the deviation. That
        of a constant column is the largest deviation with which it counts as constant.
    """

    shift: Floats
    scale: Floats
    rounding: Floats

    def standardise(self, values: Floats) -> Floats:
        """``(values - shift) / scale``."""
        standard: Floats = (values - self.shift) / self.scale
        return standard


def learn_scale(
    values: Floats, weights: Floats | None = None, *, centre: bool = True, name: str = "sequences"
) -> Scale:
    """Mean and deviation of every column, over the values that are not NaN.

    Sizes from 1e-300 to 1e300 neither overflow nor underflow.

    Parameters
    ----------
    values : ndarray ``(N, ...)``
    weights : ndarray ``(N,)``, optional
        The weight of every row.
    centre : bool
        False keeps the shift at 0, and the scale is then the root of the mean square.
    name : str
        The argument's name, for errors.

    Returns
    -------
    Scale

    Raises
    ------
    ValueError
        A column has no value, or none with a weight above 0.

    Examples
    --------
    >>> shift, scale, _ = learn_scale(np.array([[0.0, 0.1], [4.0, 0.1], [np.nan, 0.1]]), np.array([3.0, 1.0, 1.0]))
    >>> shift, scale.round(6)
    (array([1. , 0.1]), array([1.732051, 0.1     ]))
    """
    present = ~np.isnan(values)
    share: Floats = present.astype(np.float64)
    if weights is not None:
        share *= weights.reshape(-1, *[1] * (values.ndim - 1))
    total = share.sum(axis=0)
    if not np.all(total > 0):
        raise ValueError(f"{name}: got a feature with no value at all, expected some")
    share /= total
    filled = np.where(present, values, 0.0)
    largest = np.abs(filled).max(axis=0, where=share > 0, initial=0.0)
    power = np.frexp(largest)[1]
    unit: Floats = np.ldexp(filled, -power)  # below 1 in size, without any rounding
    shift: Floats = np.zeros(unit.shape[1:])
    if centre:
        # The mean of what is left beyond one of the values: exact for a constant column.
        base = np.take_along_axis(unit, (share > 0).argmax(axis=0)[None], axis=0)[0]
        shift = base + (share * (unit - base)).sum(axis=0)
    deviation = np.sqrt((share * (unit - shift) ** 2).sum(axis=0))
    size = np.ldexp(largest, -power)
    constant = deviation <= CONSTANT * size
    deviation = np.where(constant, np.where(size > 0, size, 1.0), deviation)
    scale = np.maximum(np.ldexp(deviation, power), np.finfo(np.float64).tiny)
    rounding = np.where(constant, CONSTANT, np.maximum(EPSILON * size / deviation, EPSILON))
    return Scale(np.ldexp(shift, power), scale, rounding)


def least_squares(left: Floats, right: Floats, rounding: Floats | None = None, rows: int | None = None) -> Floats:
    """The solution B of left · B = right of least squares; where several are equally good, the smallest.

    What the data do not determine is left at zero: directions in which a change of all columns within their rounding
    could account for their whole length. Coefficients are compared in units of the columns, so that the smallest
    solution does not depend on the unit of any column.

    Parameters
    ----------
    left : ndarray ``(M, n)``
        The regressors, or the triangle R of their QR decomposition.
    right : ndarray ``(M, F)``
        The targets, in the second case those multiplied by Q'.
    rounding : ndarray ``(n,)``, optional
        The rounding error of one entry of every column; by default that of its largest entry.
    rows : int, optional
        Number of rows of the regressors, if `left` is a triangle.

    Returns
    -------
    ndarray ``(n, F)``

    Examples
    --------
    >>> celsius = np.array([3.1, 14.7, 8.2, -4.4, 21.9])
    >>> both = np.stack([celsius, 1.8 * celsius + 32, np.ones(5)], axis=1)
    >>> B = least_squares(both, 2 * celsius[:, None])
    >>> bool(np.allclose(both @ B, 2 * celsius[:, None]))
    True
    >>> least_squares(np.ones((5, 2)) * [1, 10], 3 * np.ones((5, 1))).round(12)
    array([[1.5 ],
           [0.15]])
    """
    if rounding is None:
        rounding = EPSILON * np.abs(left).max(axis=0, initial=0.0)
    size = np.sqrt(len(left) if rows is None else rows)
    power = np.frexp(np.abs(left).max(axis=0, initial=0.0))[1]
    unit = np.ldexp(left, -power)
    length = np.sqrt((unit**2).sum(axis=0))
    rounding = np.ldexp(np.maximum(rounding, 0.0), -power) * size
    known = length > DEPENDENT * rounding
    length = np.where(known, length, 1.0)
    unit = np.where(known, unit / length, 0.0)
    U, singular, V = np.linalg.svd(unit, full_matrices=False)
    limit = DEPENDENT * np.sqrt(np.maximum(V**2 @ (rounding / length * known) ** 2, len(V) * EPSILON**2))
    counts = singular > limit
    inverse = np.where(counts, 1.0 / np.where(counts, singular, 1.0), 0.0)
    power_right = np.frexp(np.abs(right).max(axis=0, initial=0.0))[1]
    solution = V.T @ (inverse[:, None] * (U.T @ np.ldexp(right, -power_right)))
    solution = np.where(known[:, None], solution / length[:, None], 0.0)
    found: Floats = np.ldexp(solution, power_right - power[:, None])
    return found


def positive(covariance: Floats) -> Floats:
    """Covariances ``(..., F, F)`` whose Cholesky factor exists in spite of rounding, with the same variances.

    A Cholesky factor exists in floating point if the smallest eigenvalue of the matrix of correlations exceeds its
    largest one times F·ε (Demmel 1989). Smaller eigenvalues are raised to a hundred times that, which leaves room
    for a change of units and for sums of such matrices. Other matrices are returned as they are.

    Parameters
    ----------
    covariance : ndarray ``(..., F, F)``
        Symmetric, with variances above 0.

    Examples
    --------
    >>> np.linalg.cholesky(positive(np.array([[1.0, 2.0], [2.0, 4.0]]))).round(5)
    array([[1., 0.],
           [2., 0.]])
    """
    F = covariance.shape[-1]
    if F == 1:
        return covariance
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    correlation = covariance / deviation[..., :, None] / deviation[..., None, :]
    values, vectors = np.linalg.eigh(correlation)
    least = 100 * F * EPSILON * values[..., -1:]
    low = (values < least).any(axis=-1)
    if not low.any():
        return covariance
    raised = (vectors * np.maximum(values, least)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    again = np.sqrt(np.diagonal(raised, axis1=-2, axis2=-1))
    raised = raised / again[..., :, None] / again[..., None, :] * deviation[..., :, None] * deviation[..., None, :]
    found: Floats = np.where(low[..., None, None], (raised + np.swapaxes(raised, -1, -2)) / 2, covariance)
    return found
