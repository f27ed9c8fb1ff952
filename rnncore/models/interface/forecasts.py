"""Forecasts of real values, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rnncore._checks import as_array

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats


class Forecast(NamedTuple):
    """Forecasts with intervals; all ``(steps, F)``, covariance ``(steps, F, F)``."""

    mean: Floats
    lower: Floats
    upper: Floats
    covariance: Floats


class SampledForecast(NamedTuple):
    """Forecasts from sampled continuations: the fields of `Forecast`, and the continuations.

    Attributes
    ----------
    mean : ndarray (steps, F)
        The mean over all paths of what the model expects at a step, given the path up to there. It has less random
        error than the mean of the drawn values, and none at the first step.
    lower, upper : ndarray (steps, F)
        The ends of the interval: quantiles of the drawn values. With one path both are that path.
    covariance : ndarray (steps, F, F)
        The model's variance of one step, plus the covariance over all paths of what it expects.
    paths : ndarray (paths, steps, F)
        The drawn continuations.

    Examples
    --------
    >>> from rnncore.models import SampledForecast
    >>> paths = np.arange(5.0).reshape(5, 1, 1)
    >>> ahead = SampledForecast(paths.mean(0), paths.min(0), paths.max(0), np.full((1, 1, 1), 2.0), paths)
    >>> ahead.quantile(0.5), ahead.quantile([0.25, 0.75]).shape
    (array([[2.]]), (2, 1, 1))
    """

    mean: Floats
    lower: Floats
    upper: Floats
    covariance: Floats
    paths: Floats

    def quantile(self, q: ArrayLike) -> Floats:
        """Quantiles of the drawn values at every step.

        Parameters
        ----------
        q : float or array of floats
            In [0, 1].

        Returns
        -------
        ndarray (steps, F), or (len(q), steps, F)
        """
        levels = as_array(q, "q")
        if levels.dtype.kind not in "iuf" or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"q: got {q!r:.60}, expected numbers in [0, 1]")
        found: Floats = np.quantile(self.paths, levels, axis=0)
        return found
