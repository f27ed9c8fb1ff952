"""Baselines of real values that a model has to beat, and the units in which errors are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore.models.interface.base import Gaussian
from rnncore.models.interface.scale import CONSTANT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from rnncore._typing import Floats

LONGEST_SEASON = 400    # steps: a year of days, with some to spare
SIMILAR = 1.5           # times the smallest mean squared error
SEARCHED = 5000         # the last steps of the training part, in which the season is looked for


class Persistence:
    """The value of `period` steps before, as the prediction of the next one.

    Where the value is missing, or where there are fewer steps before, it is the last value that is known; at the
    beginning it is the mean of the training data.

    Parameters
    ----------
    period : int

    Attributes
    ----------
    mean_, variance_, start_variance_ : ndarray (F,)
        Of the training data: the mean, and the mean squared error of predictions and of the mean.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.command.compare.baselines import Persistence
    >>> values = np.array([[1.0], [5.0], [1.0], [5.0], [1.0], [6.0]])
    >>> Persistence(2).fit([values]).one_step(values).mean.ravel().tolist()[2:]
    [1.0, 5.0, 1.0, 5.0]
    """

    mean_: Floats
    variance_: Floats
    start_variance_: Floats

    def __init__(self, period: int = 1) -> None:
        self.period = period

    def __repr__(self) -> str:
        return f"Persistence({self.period})"

    def fit(self, sequences: Sequence[Floats], progress: Any = False) -> Self:
        """Learn means and variances; returns self."""
        values = np.concatenate(list(sequences))
        self.mean_ = np.nanmean(values, axis=0)
        self.start_variance_ = _positive(np.nanmean(np.square(values - self.mean_), axis=0), values)
        errors = np.concatenate([(s - self._means(s))[1:] for s in sequences])
        there = ~np.isnan(errors)
        squares = np.where(there, np.square(errors), 0.0).sum(0)
        self.variance_ = _positive(squares / np.maximum(there.sum(0), 1), values)
        return self

    def _means(self, values: Floats) -> Floats:
        """The prediction of each step, (T, F)."""
        steps = np.arange(len(values))[:, None]
        last = np.maximum.accumulate(np.where(np.isnan(values), -1, steps), axis=0)     # the last step with a value
        padded = np.concatenate([last[:1] * 0 - 1, last[:-1]])
        before = steps - self.period
        chosen = np.where(before >= 0, last[np.maximum(before, 0), np.arange(values.shape[1])], padded)
        known = np.take_along_axis(values, np.maximum(chosen, 0), axis=0)
        means: Floats = np.where(chosen >= 0, known, self.mean_)
        return means

    def one_step(self, values: Floats) -> Gaussian:
        """Mean and variance of every step, (T, F) each, from its own past."""
        values = np.asarray(values, float).reshape(-1, len(self.mean_))
        first = np.arange(len(values))[:, None] == 0
        return Gaussian(self._means(values), np.where(first, self.start_variance_, self.variance_))

    def predict(self, context: Any) -> Gaussian:
        """Mean and variance of the next step, (F,) each."""
        context = np.asarray(context, float).reshape(-1, len(self.mean_))
        ahead = self.one_step(np.concatenate([context, self.mean_[None]]))
        return Gaussian(ahead.mean[-1], ahead.variance[-1])

    def log_prob(self, values: Any, per_step: bool = False) -> Any:
        """Log density, of the sequence or of each step (T,); missing values do not count."""
        ahead = self.one_step(values)
        density = -0.5 * ((values - ahead.mean) ** 2 / ahead.variance + np.log(2 * np.pi * ahead.variance))
        steps = np.nansum(density, axis=1)
        return steps if per_step else float(steps.sum())

    @property
    def n_parameters_(self) -> int:
        """The mean and two variances of each column, and the period if it was chosen."""
        return 3 * len(self.mean_) + (self.period > 1)


def _positive(variance: Floats, values: Floats) -> Floats:
    """A variance with a floor that is relative to the data, for columns that persistence predicts exactly."""
    largest = np.nanmax(np.abs(values), axis=0)
    positive: Floats = np.maximum(variance, np.maximum(1e-12 * largest**2, np.finfo(float).tiny))
    return positive


def season(values: Floats) -> int:
    """The period, of 2 steps or more, with the smallest error of seasonal persistence on `values` (T, F).

    Multiples of a period are as good but for noise, so a divisor of the best one is preferred if its error is similar.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.command.compare.baselines import season
    >>> season(np.sin(2 * np.pi * np.arange(200.0) / 12)[:, None] + np.random.default_rng(0).normal(0, 0.1, (200, 1)))
    12
    """
    values = values[-SEARCHED:]
    largest = max(min(LONGEST_SEASON, len(values) // 3), 2)
    errors = {}
    for period in range(2, largest + 1):
        error = np.square(values[largest:] - values[largest - period : len(values) - period])  # the same steps for all
        errors[period] = float(np.nanmean(error)) if not np.isnan(error).all() else np.inf
    best = min(errors, key=lambda period: (errors[period], period))
    return next(period for period in errors if best % period == 0 and errors[period] <= SIMILAR * errors[best])


@dataclass(frozen=True)
class Units:
    """The units of the columns: models are fitted to standardised values, so that no unit changes their ranking.

    Attributes
    ----------
    shift, scale : ndarray (F,)
        Mean and standard deviation of the training part.
    naive : ndarray (F,)
        Root mean squared error of persistence in the training part, in the data's units.
    """

    shift: Floats
    scale: Floats
    naive: Floats

    @classmethod
    def of(cls, values: Floats, train_end: int) -> Units:
        """The units of `values` (T, F), of which the first `train_end` are for training."""
        with np.errstate(invalid="ignore"):
            largest = np.nanmax(np.abs(values), axis=0)
        largest = np.where(largest > 0, largest, 1.0)
        small = values / largest                    # squares of large values would be infinite
        shift, scale, naive = (np.empty(values.shape[1]) for _ in range(3))
        for i, column in enumerate(small.T):
            known = column[:train_end][~np.isnan(column[:train_end])]
            shift[i], scale[i] = known.mean(), known.std()
            for part in (column[:train_end], column):       # a column may be constant in the training part
                steps = np.diff(part)
                steps = steps[~np.isnan(steps)]
                naive[i] = np.sqrt(np.mean(np.square(steps))) if len(steps) else 0.0
                if naive[i] > 0:
                    break
            if scale[i] <= CONSTANT:
                scale[i] = np.nanstd(column) or 1.0
            naive[i] = naive[i] or scale[i]
        return cls(shift * largest, scale * largest, naive * largest)

    def standardised(self, values: Floats) -> Floats:
        """The same values without a unit."""
        return values / self.scale - self.shift / self.scale

    @property
    def factor(self) -> Floats:
        """What the error of a standardised value is multiplied by before columns are averaged.

        An only column has its own unit, and several ones the error of persistence as theirs.
        """
        return self.scale if len(self.scale) == 1 else self.scale / self.naive
