"""How a switching autoregression is fitted: in standard units, from several starts, by EM whose steps are extrapolated.

All sums and limits below are those of data whose columns have mean 0 and deviation 1, so that a fit does not depend on
the unit of the data. `RegimeFit.outward` and `RegimeFit.inward` translate parameters.

A start is a division of the rows among the regimes: by clusters or limits of several features, over windows of several
widths, or by random pieces. EM ends in an optimum near its start, so a few steps from each show which are promising
(Biernacki, Celeux and Govaert 2003).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from rnncore.models.interface.scale import learn_scale, least_squares

from .acceleration import Acceleration
from .em import Rows, Workers
from .emissions import normalised
from .regimes import RegimeEmission, Sums, at_least, maximise
from .settings_passes import Recursions
from .start import centres
from .transitions import best_transitions

if TYPE_CHECKING:
    from rnncore._progress import progress_bar
    from rnncore._typing import Array, Floats
    from rnncore.models.interface.sequences import Codes

    from .chain_model import Values
    from .settings import Settings

# The least variance of a regime's residuals is a sum of three: this share of the variance, in every direction, that a
# single regression for all data leaves; this share of what it leaves in each column, for columns that depend on each
# other; and this share of the variance of the data. Without a limit the likelihood has none, because a regime may fit a
# few steps exactly.
LEAST_OF_RESIDUAL, LEAST_OF_COLUMN, LEAST_OF_DATA = 1e-6, 1e-8, 1e-10
STARTS, FIRST_STEPS = 24, 12        # the number of starts, and of steps from each
SECOND, SECOND_STEPS = 6, 30        # the number of different ones that go on, and their steps
ROWS, PIECE = 5000, 500             # how many rows are used for these steps at most, and how many of them in a row
DIFFERENT = 0.02                    # two starts with likelihoods that are less apart are taken to have met
KINDS = ("clusters", "limits", "limits", "clusters", "limits", "pieces")    # how starts divide the rows
PLAIN_STEPS = 4                     # steps of EM before extrapolation begins
LARGEST_JUMP = 10                   # of one parameter, in standard units or powers of e, by extrapolation
WIDTHS = (1, 1, 2, 4, 8, 16, 32)    # of the windows over which features are averaged


class Expected(NamedTuple):
    """An E-step: the log likelihood, and what the M-step needs."""

    log_prob: float
    emission: RegimeEmission
    sums: Sums
    pairs: Floats | None


class RegimeFit:
    """One fit: the data in standard units, and steps from some parameters to better ones.

    Parameters
    ----------
    rows : Rows
        Rows z_t, as in ``regimes.py``, of all sequences.
    settings : Settings
    level_name : {"means_", "intercept_"}
        The name of the level among the parameters; it says the form of the model.
    switching : mapping of str to bool
        As in `regimes.maximise`.
    order : int
    """

    def __init__(
        self, rows: Rows, settings: Settings, level_name: str, switching: Mapping[str, bool], order: int
    ) -> None:
        self.settings, self.level_name, self.switching, self.order = settings, level_name, switching, order
        F = self.F = rows.values.shape[1] // (order + 1)
        self._known = cast("Array", ~np.isnan(rows.values).any(axis=1))
        if not self._known.any():
            raise ValueError("sequences: got no step with a complete window of values, expected at least one")
        self._scale = learn_scale(rows.values[self._known][:, :F])
        z = (rows.values - np.tile(self._scale.shift, order + 1)) / np.tile(self._scale.scale, order + 1)
        self.rows, self._first_rows = Rows(z, rows.offsets), rows.offsets[:-1][np.diff(rows.offsets) > 0]
        self._workers = Workers()
        self._pooled, self._residual = self._one_regime()
        noise = np.maximum(LEAST_OF_DATA, (10 * self._scale.rounding) ** 2)
        left = self._pooled["covars_"][0]
        self.least = LEAST_OF_RESIDUAL * left + np.diag(LEAST_OF_COLUMN * np.diagonal(left) + noise)
        self._pooled["covars_"] = at_least(self._pooled["covars_"], self.least)

    # -- units -----------------------------------------------------------------------------
    def outward(self, values: Values) -> Values:
        """Parameters in the units of the data, from those in standard units."""
        shift, scale, _ = self._scale
        coef = values["coef_"] * (scale[:, None] / scale)
        level = values[self.level_name] * scale + shift
        if self.level_name == "intercept_":
            level = level - np.einsum("skfg,g->sf", coef, shift)
            if not self.switching["mean"]:  # equal but for rounding
                level = np.broadcast_to(level.mean(axis=0), level.shape).copy()
        return {"transmat_": values["transmat_"], self.level_name: level, "coef_": coef,
                "covars_": values["covars_"] * (scale[:, None] * scale)}

    def inward(self, values: Values) -> Values:
        """Parameters in standard units, from those in the units of the data."""
        shift, scale, _ = self._scale
        level = values[self.level_name]
        if self.level_name == "intercept_":
            level = level + np.einsum("skfg,g->sf", values["coef_"], shift)
        return {"transmat_": values["transmat_"], self.level_name: (level - shift) / scale,
                "coef_": values["coef_"] / (scale[:, None] / scale),
                "covars_": values["covars_"] / (scale[:, None] * scale)}

    @property
    def log_unit(self) -> float:
        """What is added to a log likelihood in standard units to give that of the data."""
        return -float(self._known.sum() * np.log(self._scale.scale).sum())

    @property
    def _tie(self) -> Floats:
        """What was subtracted from the data, in standard units."""
        shift, scale, _ = self._scale
        found: Floats = shift / scale
        return found

    # -- EM --------------------------------------------------------------------------------
    def expect(self, values: Values) -> Expected:
        """The E-step."""
        mean_form = self.level_name == "means_"
        emission = RegimeEmission(self.settings, values[self.level_name], values["coef_"], values["covars_"], mean_form)
        sums = Sums(self.settings, self.rows.values, self._first_rows)
        recursions = Recursions(self.settings, values["transmat_"], emission)
        log_prob, pairs = recursions.smooth(self.rows, self._workers, sums.add)
        if not np.isfinite(log_prob).all():
            worst = int(np.argmax(~np.isfinite(log_prob)))
            raise ValueError(f"sequences[{worst}]: has probability 0 under the parameters that were set; set ones that "
                             "are nearer to the data, or leave them unset")
        return Expected(float(log_prob.sum()), emission, sums, pairs)

    def maximise(self, values: Values, found: Expected) -> Values:
        """The M-step: parameters of which none is worse."""
        level, coef, covars = maximise(found.emission, found.sums, self.switching, self.least, self._tie)
        sums, settings = found.sums, self.settings
        moves = settings.moves(sums.visits, sums.starts) if found.pairs is None else found.pairs
        return {"transmat_": best_transitions(values["transmat_"], moves, settings.oldest(sums.starts)),
                self.level_name: level, "coef_": coef, "covars_": covars}

    def climb(
        self, values: Values, n_iter: int, tol: float, bar: progress_bar | None = None
    ) -> tuple[Values, list[float], bool, Expected]:
        """Raise the likelihood until two steps in a row gain less than `tol` together.

        Returns
        -------
        values : dict of str to ndarray
        history : list of float
            The log likelihood before each step, which never falls.
        converged : bool
        found : Expected
            The last E-step, before the last step.
        """
        jump, history = Acceleration(), []
        # Given covariances may be smaller than the limit, which must not make a step worse.
        self.least = min(1.0, _least_share(values["covars_"], self.least)) * self.least
        found = self.expect(values)
        while True:
            history.append(found.log_prob)
            new = self.maximise(values, found)
            if bar is not None:
                bar.update(log_prob=history[-1] + self.log_unit)
            done = len(history) > PLAIN_STEPS and history[-1] - history[-3] < tol
            if done or len(history) == n_iter:
                return new, history, done, found
            further = self._from_vector(jump(self._vector(values), self._vector(new)), new)
            if len(history) > PLAIN_STEPS and further is not None:
                tried = self.expect(further)
                if tried.log_prob >= found.log_prob:
                    values, found = further, tried
                    continue
                jump.forget()
            values, found = new, self.expect(new)

    def _vector(self, values: Values) -> Floats:
        """Parameters as one vector of numbers without limits."""
        root = np.linalg.cholesky(values["covars_"])
        diagonal = np.arange(self.F)
        root[:, diagonal, diagonal] = np.log(root[:, diagonal, diagonal])
        logs = np.log(np.maximum(values["transmat_"], 1e-100))
        return np.concatenate([each.ravel() for each in (logs, values[self.level_name], values["coef_"], root)])

    def _from_vector(self, vector: Floats, like: Values) -> Values | None:
        """The inverse of `_vector`; probabilities that are 0 in `like` stay so. None if it is too far from `like`."""
        if not np.abs(vector - self._vector(like)).max() < LARGEST_JUMP:
            return None
        parts = np.split(vector, np.cumsum([like["transmat_"].size, like[self.level_name].size, like["coef_"].size]))
        logs = parts[0].reshape(like["transmat_"].shape)
        root = np.tril(parts[3].reshape(like["covars_"].shape))
        diagonal = np.arange(self.F)
        root[:, diagonal, diagonal] = np.exp(root[:, diagonal, diagonal])
        covars = root @ root.transpose(0, 2, 1)
        chances = np.where(like["transmat_"] > 0, np.exp(logs), 0)
        return {"transmat_": normalised(chances, 0), self.level_name: parts[1].reshape(like[self.level_name].shape),
                "coef_": parts[2].reshape(like["coef_"].shape), "covars_": at_least(covars, self.least)}

    # -- starts ----------------------------------------------------------------------------
    def best_start(
        self, rng: np.random.Generator, put: Callable[[Values], Values], count: int, n_iter: int
    ) -> Values:
        """The most promising of `count` starts, after a few steps, at most `n_iter`.

        `put` puts in what is given, in the units of the data.
        """
        starts = [self.inward(put(self.outward(self._start(k, rng)))) for k in range(count)]
        if count == 1:
            return starts[0]
        part = self._part()
        for keep, steps in ((SECOND, FIRST_STEPS), (1, SECOND_STEPS)):
            ends = [part.climb(start, min(steps, n_iter), 1e-3) for start in starts]
            starts, last = [], np.inf
            for values, history, _, _ in sorted(ends, key=lambda end: (self._is_spurious(end[3]), -end[1][-1])):
                if len(starts) < keep and abs(history[-1] - last) > DIFFERENT:
                    starts.append(values)
                    last = history[-1]
        return starts[0]

    def _part(self) -> RegimeFit:
        """This fit with about `ROWS` of its rows, if there are more: pieces at equal distances, each as a sequence."""
        N = len(self.rows.values)
        if N <= ROWS:
            return self
        ends = np.unique(np.concatenate([self.rows.offsets, np.arange(0, N, PIECE)]))
        chosen = np.linspace(0, len(ends) - 2, -(-ROWS * (len(ends) - 1) // N)).astype(int)
        part = copy.copy(self)
        part.rows = Rows.pack([self.rows.values[ends[i] : ends[i + 1]] for i in chosen])
        part._first_rows = part.rows.offsets[:-1]
        return part

    def _is_spurious(self, found: Expected) -> bool:
        """Whether a regime has the least variance that is allowed, because it fits a few steps exactly."""
        if not self.switching["variance"]:
            return False
        unknowns = self.switching["mean"] + self.switching["ar"] * self.order * self.F
        few = self.settings.by_regime(found.sums.weight) <= 2 * (unknowns + 1)
        small = [_least_share(covar[None], self.least) < 1.001 for covar in found.emission.covars]
        return bool((few & small).any())

    def _start(self, number: int, rng: np.random.Generator) -> Values:
        """The parameters after a division of the rows among the regimes; the division depends on `number` and `rng`."""
        K, values = self.settings.K, {name: value.copy() for name, value in self._pooled.items()}
        label = self._labels(number, rng)
        counts = np.ones((K, K)) + K * np.eye(K)
        for begin, end in zip(self.rows.offsets[:-1], self.rows.offsets[1:], strict=True):
            np.add.at(counts, (label[begin : end - 1], label[begin + 1 : end]), 1)
        values["transmat_"] = normalised(counts, 0)
        fit, size = self._fit_to(label), (self._residual**2).mean(axis=1)
        if number % 2:      # all that switches differs at once
            return {name: 0.8 * fit[name] + 0.2 * value if name != "transmat_" else value
                    for name, value in values.items()}
        z = self.rows.values
        for s in range(K):  # levels and variances differ
            here = (label == s) & self._known
            if not here.any():
                here = self._known
            if self.switching["mean"]:
                level = z[here, : self.F].mean(axis=0)
                if self.level_name == "intercept_":
                    past = z[here, self.F :].mean(axis=0).reshape(self.order, self.F)
                    level = level - np.einsum("kfg,kg->f", values["coef_"][s], past)
                values[self.level_name][s] = level
            if self.switching["variance"]:
                share = size[here].mean() / max(size[self._known].mean(), np.finfo(float).tiny)
                values["covars_"][s] *= min(max(share, 0.1), 10)
        return values

    def _labels(self, number: int, rng: np.random.Generator) -> Codes:
        """A regime for every row."""
        K, N, known = self.settings.K, len(self.rows.values), self._known
        kind = KINDS[number % len(KINDS)]
        if kind == "pieces":
            length = rng.integers(1, max(N // (2 * K), 2) + 1)
            piece = np.cumsum(rng.random(N) < 1 / length)
            pieces: Codes = rng.integers(0, K, piece[-1] + 1)[piece]
            return pieces
        z, residual = np.where(known[:, None], self.rows.values, 0), self._residual
        y = z[:, : self.F]
        parts = [np.concatenate([y, np.abs(residual)], axis=1), y, np.abs(residual), residual, z[:, self.F :]]
        features = parts[0 if number == 0 else rng.integers(len(parts) if self.order else 4)]
        if number:
            features = self._averaged(features, int(rng.choice(WIDTHS)))
        features = learn_scale(features[known]).standardise(features)
        if kind == "clusters":
            centre = centres(features[known], K, rng)
            clusters: Codes = np.stack([((features - c) ** 2).sum(axis=1) for c in centre]).argmin(axis=0)
            return clusters
        feature = features @ rng.standard_normal(features.shape[1])
        limits = np.quantile(feature[known], np.sort(rng.random(K - 1)))
        return np.searchsorted(limits, feature)

    def _averaged(self, features: Floats, width: int) -> Floats:
        """Means over windows of `width` rows that end at, or are around, each row of a sequence."""
        out = np.empty_like(features)
        for begin, end in zip(self.rows.offsets[:-1], self.rows.offsets[1:], strict=True):
            sums = np.concatenate([np.zeros((1, features.shape[1])), np.cumsum(features[begin:end], axis=0)])
            at = np.arange(end - begin)
            low, high = np.maximum(at - width // 2, 0), np.minimum(at + (width + 1) // 2, end - begin)
            out[begin:end] = (sums[high] - sums[low]) / (high - low)[:, None]
        return out

    def _fit_to(self, label: Codes) -> Values:
        """The M-step for rows whose regimes are known."""
        settings, z = self.settings, np.where(self._known[:, None], self.rows.values, 0)
        first = np.repeat(self.rows.offsets[:-1], np.diff(self.rows.offsets))
        setting = np.zeros(len(label), np.int64)
        for k in range(settings.depth):
            setting = setting * settings.K + label[np.maximum(np.arange(len(label)) - k, first)]
        sums = Sums(settings, self.rows.values, self._first_rows)
        sums.weight = np.bincount(setting, self._known, settings.n)
        sums.first = np.stack([np.bincount(setting, column, settings.n) for column in z.T], axis=1)
        sums.second = np.stack([z[label == s].T @ z[label == s] for s in range(settings.K)])
        values = self._pooled
        emission = RegimeEmission(settings, values[self.level_name], values["coef_"], values["covars_"],
                                  self.level_name == "means_")
        level, coef, covars = maximise(emission, sums, self.switching, self.least, self._tie)
        return {self.level_name: level, "coef_": coef, "covars_": covars}

    def _one_regime(self) -> tuple[Values, Floats]:
        """The parameters of one regression, the same for every regime, and its residuals (N, F), 0 where missing."""
        K, F, order = self.settings.K, self.F, self.order
        z = self.rows.values[self._known]
        rounding = np.concatenate([[0.0], np.tile(self._scale.rounding, order)])
        weights = least_squares(np.concatenate([np.ones((len(z), 1)), z[:, F:]], axis=1), z[:, :F], rounding)
        residual = np.zeros((len(self.rows.values), F))
        residual[self._known] = z[:, :F] - weights[0] - z[:, F:] @ weights[1:]
        coef = weights[1:].reshape(order, F, F).transpose(0, 2, 1)
        level = weights[0] if self.level_name == "intercept_" else z[:, :F].mean(axis=0)
        covar = residual.T @ residual / len(z)
        return {"transmat_": np.full((K, K), 1 / K), self.level_name: np.tile(level, (K, 1)),
                "coef_": np.tile(coef, (K, 1, 1, 1)), "covars_": np.tile(covar, (K, 1, 1))}, residual


def _least_share(covars: Floats, least: Floats) -> float:
    """The smallest ratio of the variances of `covars` (K, F, F) to those of `least` (F, F), over all directions."""
    inverse = np.linalg.inv(np.linalg.cholesky(least))
    return float(np.linalg.eigvalsh(inverse @ covars @ inverse.T).min())
