"""The coefficients of an autoregression, with their standard errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rnncore.models.interface.base import check_fitted
from rnncore.models.interface.sequences import as_list, as_real
from rnncore.models.windows.autoregressive import AutoRegressive

from .._door import described

if TYPE_CHECKING:
    from rnncore._typing import Floats
    from rnncore.models.interface.sequences import SequencesLike

__all__ = ["Coefficients", "coefficients"]


class Coefficients(NamedTuple):
    """The coefficients of an autoregression, newest lag first.

    Attributes
    ----------
    value : ndarray (order, F, F)
        ``value[k, i, j]`` is the weight of feature j, k + 1 steps ago, in the prediction of feature i.
    standard_error : ndarray (order, F, F)
    """

    value: Floats
    standard_error: Floats


def coefficients(
    model: AutoRegressive, sequences: SequencesLike, *, exog: SequencesLike | None = None
) -> Coefficients:
    """The coefficients of a fitted `AutoRegressive`, with the standard errors of least squares.

    The standard errors are the usual ones: the residual variance, divided by rows minus unknowns, times the
    diagonal of the inverse of XᵀX. They hold for many rows, and if the residuals are white. With missing values
    they are those of the windows that have none, and so rather too large.

    Parameters
    ----------
    model : AutoRegressive
    sequences : list of (T, F) real arrays
        Those that the model was fitted on; the model does not keep what the standard errors depend on.
    exog : list of (T, E) real arrays, optional
        As in `fit`.

    Returns
    -------
    Coefficients

    Raises
    ------
    ValueError
        Least squares on `sequences` gives other coefficients than the model has.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> x = np.random.default_rng(0).normal(size=400)
    >>> found = viz.coefficients(rc.models.AutoRegressive(2).fit([x]), [x])
    >>> found.value.shape, found.standard_error.ravel().round(2)
    ((2, 1, 1), array([0.05, 0.05]))
    """
    if not isinstance(model, AutoRegressive):
        raise TypeError(f"model: got {described(model)}, expected a fitted rnncore.models.AutoRegressive")
    check_fitted(model, "coef_")
    value = np.array(model.coef_)
    order, width = model.order_, model.n_features_
    arrays = [
        as_real(s, width, missing=model.missing, name=f"sequences[{i}]")
        for i, s in enumerate(as_list(sequences, real=True))
    ]
    inputs = _inputs(exog, arrays, model.n_exog_)
    if model.intercept:  # coefficients of lags do not depend on the level, but their rounding would
        level = np.nanmean(np.concatenate(arrays), axis=0)
        arrays = [a - level for a in arrays]
    regressors, targets = _regression(arrays, inputs, order, intercept=bool(model.intercept))
    free = len(targets) - regressors.shape[1]
    if free <= 0:
        raise ValueError(
            f"sequences: got {len(targets)} complete windows of order {order}, expected more than the "
            f"{regressors.shape[1]} unknowns, as fit had"
        )
    # columns of one size, so that the units of the data do not matter; the least squares are those of fit
    size = np.sqrt(np.mean(np.square(regressors), axis=0))
    size[size == 0] = 1.0
    inverse = np.linalg.pinv(regressors / size)
    weights = (inverse @ targets) / size[:, None]
    first = regressors.shape[1] - order * width  # of the columns of lags
    again = weights[first:].reshape(order, width, width).transpose(0, 2, 1)
    gaps = any(np.isnan(a).any() for a in arrays)
    if not gaps and not np.allclose(again, value, rtol=1e-5, atol=1e-7 * np.abs(value).max(initial=0.0)):
        raise ValueError(
            "sequences: got data on which least squares gives other coefficients than the model has, expected "
            "the sequences (and exog) that it was fitted on"
        )
    spread = (np.sqrt(np.square(inverse).sum(1)) / size)[first:].reshape(order, 1, width)
    variance = np.square(targets - regressors @ weights).sum(0) / free
    return Coefficients(value, spread * np.sqrt(variance)[None, :, None])


def _regression(
    arrays: list[Floats], inputs: list[Floats], order: int, *, intercept: bool
) -> tuple[Floats, Floats]:
    """Regressors [1, u_t, y_{t-1}, …, y_{t-order}] and targets y_t of all steps that have a complete window."""
    rows, targets = [], []
    for series, exog in zip(arrays, inputs, strict=True):
        if len(series) <= order:
            continue
        steps = len(series) - order
        lags = [series[order - k : len(series) - k] for k in range(1, order + 1)]
        rows.append(np.hstack([np.ones((steps, int(intercept))), exog[order:], *lags]))
        targets.append(series[order:])
    x, y = np.concatenate(rows), np.concatenate(targets)
    complete = ~(np.isnan(x).any(1) | np.isnan(y).any(1))
    return x[complete], y[complete]


def _inputs(exog: SequencesLike | None, arrays: list[Floats], width: int) -> list[Floats]:
    """The inputs of every sequence, none by default."""
    if exog is None and width == 0:
        return [np.empty((len(a), 0)) for a in arrays]
    items = [] if exog is None else as_list(exog, real=True, name="exog")
    if [len(u) for u in items] != [len(a) for a in arrays]:
        raise ValueError(f"exog: got {len(items)} arrays, expected those of fit, one per sequence and of its length")
    return [as_real(u, width, name=f"exog[{i}]") for i, u in enumerate(items)]
