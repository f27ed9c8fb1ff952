"""A hidden state together with a window: the autoregression that switches between regimes.

The regime follows a Markov chain. The next element depends on the regime and on the last `order` elements, in one of
two forms:

    y_t = μ_{s_t} + Σ_k Φ_{k,s_t} (y_{t-k} − μ_{s_{t-k}}) + ε_t,  ε_t ~ N(0, Σ_{s_t})   "mean"
    y_t = ν_{s_t} + Σ_k Φ_{k,s_t} y_{t-k} + ε_t                                      "intercept"

The first is that of Hamilton (1989): past elements enter as deviations from the means of their own regimes, so the
level of the series changes at once with the regime. In the second form it approaches the level of the new regime
gradually.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, cast

import numpy as np

from rnncore._checks import as_size
from rnncore._hidden_markov import Chain
from rnncore.models.interface.base import Gaussian, generator
from rnncore.models.interface.sequences import MISSING

from . import regimes
from .chain_model import ChainModel, Parameter, check_distribution, check_shape
from .em import Rows, filtered
from .emissions import normalised
from .regimes import RegimeEmission, Settings
from .start import centres

if TYPE_CHECKING:
    from rnncore._typing import Array, Floats, RandomSource
    from rnncore.models.interface.estimator import Names
    from rnncore.models.interface.sequences import Codes, Missing, SequenceLike, SequencesLike

    from .chain_model import Values
    from .em import Expectation

Form: TypeAlias = Literal["mean", "intercept"]
FORMS: tuple[Form, ...] = ("mean", "intercept")


class SwitchingAutoRegressive(ChainModel[RegimeEmission]):
    """Autoregression whose mean, coefficients and variance depend on a hidden regime.

    Parameters
    ----------
    n_states : int
        Number of regimes K.
    order : int
        The number of past elements on which the next one depends, 0 or more.
    form : {"mean", "intercept"}
        "mean": y_t = μ_{s_t} + Σ_k Φ_{k,s_t} (y_{t-k} − μ_{s_{t-k}}) + ε_t. The hidden state then has to contain the
        regimes of the last steps too, and has ``K ** (order + 1)`` values, unless `switching_mean` is False.
        "intercept": y_t = ν_{s_t} + Σ_k Φ_{k,s_t} y_{t-k} + ε_t. The hidden state is the regime, with K values.
    switching_mean, switching_ar, switching_variance : bool
        Whether every regime has its own mean (or intercept), coefficients, covariance.
    n_iter, tol, n_init, random_state, warm_start
        As in `HiddenMarkov`.
    missing : {"refuse", "mask"}
        With "refuse", NaN raises an error. With "mask", a step is missing if it has a NaN in it or in its window.

    Attributes
    ----------
    transmat_ : ndarray (K, K)
        Row i has the probabilities of the regimes that follow regime i. The first regime is drawn from the steady state
        of the chain.
    coef_ : ndarray (K, order, F, F)
        ``coef_[s, k]`` is Φ of lag ``k + 1`` in regime s.
    means_ : ndarray (K, F)
        μ, in the "mean" form.
    intercept_ : ndarray (K, F)
        ν, in the "intercept" form.
    covars_ : ndarray (K, F, F)
        All of these parameters may be set: to use them without `fit`, or as initial values of `fit`.
    history_, converged_
        As in `HiddenMarkov`.

    Notes
    -----
    Probabilities are conditional on the first `order` elements: `log_prob` counts 0 for these. With equal parameters
    the results are those of statsmodels' MarkovAutoregression ("mean") and of its MarkovRegression on lagged elements
    ("intercept"). In the "mean" form EM updates means, coefficients and covariances one after the other. Since the
    transition probabilities also determine the steady state, their update is shortened where the full step would lower
    the likelihood. So no EM step lowers the likelihood.

    Examples
    --------
    >>> model = SwitchingAutoRegressive(2, order=1, switching_ar=False)
    >>> model.transmat_ = [[0.95, 0.05], [0.1, 0.9]]
    >>> model.means_ = [[-1.0], [3.0]]
    >>> model.coef_, model.covars_ = np.full((2, 1, 1, 1), 0.5), np.full((2, 1, 1), 0.2)
    >>> x = model.sample(300, seed=0)
    >>> fitted = SwitchingAutoRegressive(2, order=1, switching_ar=False, random_state=0).fit([x])
    >>> np.sort(fitted.means_.ravel()).round(0)
    array([-1.,  3.])
    """

    _names: ClassVar[Names] = {"form": FORMS, "missing": MISSING}

    transmat_ = Parameter()
    means_ = Parameter()
    intercept_ = Parameter()
    coef_ = Parameter()
    covars_ = Parameter()

    _centre: Floats     # the mean of the training data, see `RegimeEmission`

    def __init__(
        self,
        n_states: int = 2,
        order: int = 1,
        *,
        form: Form = "mean",
        switching_mean: bool = True,
        switching_ar: bool = True,
        switching_variance: bool = False,
        n_iter: int = 200,
        tol: float = 1e-4,
        n_init: int = 1,
        random_state: int | None = None,
        missing: Missing = "refuse",
        warm_start: bool = False,
    ) -> None:
        self.n_states = n_states
        self.order = order
        self.form = form
        self.switching_mean = switching_mean
        self.switching_ar = switching_ar
        self.switching_variance = switching_variance
        self.n_iter = n_iter
        self.tol = tol
        self.n_init = n_init
        self.random_state = random_state
        self.missing = missing
        self.warm_start = warm_start

    # -- answering -------------------------------------------------------------------
    def posteriors(self, sequence: SequenceLike) -> Floats:
        """Probability of every regime given the whole sequence, (T, K); NaN at the first `order` steps."""
        gamma = super().posteriors(sequence)
        each = self._settings().n // self.n_states
        by_regime = gamma.reshape(len(gamma), self.n_states, each).sum(axis=2)
        return np.concatenate([np.full((self._skipped(sequence), self.n_states), np.nan),
                               by_regime])

    def decode(self, sequence: SequenceLike) -> tuple[float, Codes]:
        """Log probability of the most probable path of regimes, and the path; -1 at the first `order` steps."""
        log_prob, path = super().decode(sequence)
        now = self._settings().now[path]
        return log_prob, np.concatenate([np.full(self._skipped(sequence), -1), now])

    def predict(self, context: SequenceLike | None = None) -> Gaussian:
        """`Gaussian` prediction of the element after `context`.

        A context of fewer than `order` elements is preceded by the overall level of the series (see `_level`).
        """
        values, past = self._ready(), self._context(context)
        self._check_window(past)
        ahead = self._ahead(values, past)[-1:]
        window = past[-self.order :][None, ::-1] if self.order else past[None, :0]
        mean, variance = self._mixture(values, window, ahead)
        return Gaussian(mean[0], variance[0])

    def one_step(self, sequence: SequenceLike) -> Gaussian:
        """`predict` at every step of a sequence from its own past, in one pass over the sequence."""
        values, x = self._ready(), self._check(sequence)
        level = np.broadcast_to(self._level(values), (self.order, self.n_features_))
        series = np.concatenate([level, x])
        windows = np.stack([series[self.order - k : len(series) - k]
                            for k in range(1, self.order + 1)], axis=1) if self.order else (
            np.empty((len(x), 0, self.n_features_)))
        ahead = self._ahead(values, x)
        early = np.tile(ahead[:1], (min(self.order, len(x)), 1))
        return Gaussian(*self._mixture(values, windows, np.concatenate([early, ahead])[: len(x)]))

    def sample(self, length: int, context: SequenceLike | None = None, seed: RandomSource = None) -> Floats:
        """Draw values (length, F) that follow `context`; the same seed gives the same values.

        Without a context the series starts from its overall level. Its first 50 steps are then left out, so that the
        result hardly depends on this start (with `order` 0 there is no such dependence, and none is left out).
        """
        return self.sample_states(length, context, seed)[0]

    def sample_states(
        self, length: int, context: SequenceLike | None = None, seed: RandomSource = None
    ) -> tuple[Floats, Codes]:
        """The result of `sample`, and the regimes (length,) of the drawn elements."""
        values, length, rng = self._ready(), as_size(length, "length", least=0), generator(seed)
        spare = 0 if len(self._check(context, "context")) or self.order == 0 else 50
        past = self._check_window(self._context(context))
        settings, order = self._settings(), self.order
        ahead = self._ahead(values, past)[-1]
        moves = np.cumsum(values["transmat_"], axis=1)
        chance, noise = rng.random(length + spare), rng.standard_normal(
            (length + spare, self.n_features_))
        roots, level = np.linalg.cholesky(values["covars_"]), self._levels(values)
        constant = regimes.constants(settings, level, values["coef_"], self.form == "mean")
        series = np.concatenate([past[len(past) - order :], np.empty_like(noise)])
        states, each = np.empty(length + spare, np.int64), settings.n // settings.K
        for t in range(length + spare):
            if t == 0:
                cdf = np.cumsum(ahead)
                now = min(np.searchsorted(cdf, chance[t] * cdf[-1], "right"), settings.n - 1)
            else:
                cdf = moves[settings.now[now]]
                state = min(np.searchsorted(cdf, chance[t] * cdf[-1], "right"), settings.K - 1)
                now = state * each + now // settings.K if settings.depth > 1 else state
            states[t] = state = settings.now[now]
            series[order + t] = constant[now] + roots[state] @ noise[t]
            for k in range(order):
                series[order + t] += values["coef_"][state, k] @ series[order + t - 1 - k]
        return series[order + spare :], states[spare:]

    @property
    def n_parameters_(self) -> int:
        """Number of free parameters."""
        self._ready()
        K, F = self.n_states, self.n_features_
        own = {True: K, False: 1}
        return (K * (K - 1) + own[bool(self.switching_mean)] * F
                + own[bool(self.switching_ar)] * self.order * F * F
                + own[bool(self.switching_variance)] * F * (F + 1) // 2)

    def _ahead(self, values: Values, x: Array) -> Floats:
        """The probabilities of the settings at steps `order` … T, given the elements before, (T − order + 1, n)."""
        chain, emission = self._build(values)
        _, (alpha,) = filtered(chain, emission, Rows.pack([self._rows(x)]))
        settings = emission.settings
        return np.concatenate([settings.start(values["transmat_"])[None],
                               alpha @ settings.transitions(values["transmat_"])])

    def _mixture(self, values: Values, windows: Floats, weights: Floats) -> tuple[Floats, Floats]:
        """Mean and variance (N, F) of the next element.

        `windows` are the past elements (N, order, F), the latest first, and `weights` the probabilities of the settings
        (N, n).
        """
        settings, coef = self._settings(), values["coef_"]
        constant = regimes.constants(settings, self._levels(values), coef, self.form == "mean")
        lines = np.einsum("skfg,nkg->nsf", coef, windows)[:, settings.now] + constant
        mean = np.einsum("nt,ntf->nf", weights, lines)
        variances = np.diagonal(values["covars_"], axis1=1, axis2=2)[settings.now]
        spread = (lines - mean[:, None]) ** 2 + variances
        return mean, np.einsum("nt,ntf->nf", weights, spread)

    def _context(self, context: SequenceLike | None) -> Floats:
        """Check a context, and precede it by the overall level if it has fewer than `order` elements."""
        past = self._check(context, "context")
        short = max(self.order - len(past), 0)
        level = self._level(self.__dict__["_values"])
        return np.concatenate([np.broadcast_to(level, (short, self.n_features_)), past])

    def _check_window(self, context: Floats) -> Floats:
        """Return the context after a check that its last `order` elements are not missing."""
        if np.isnan(context[len(context) - self.order :]).any():
            raise ValueError("context: got NaN within the last `order` steps, expected values; "
                             "continue from a complete window")
        return context

    def _level(self, values: Values) -> Floats:
        """The overall level (F,) of the series: the mean of the levels of the regimes, weighted by the steady state.

        In the intercept form it is the fixed point of the regression with averaged intercepts and coefficients.
        """
        values = self._shapes(values)
        share = regimes.steady_state(values["transmat_"])
        level: Floats = share @ self._levels(values)
        if self.form == "mean":
            return level
        pull = np.eye(len(level)) - np.einsum("s,skfg->fg", share, values["coef_"])
        return cast("Floats", np.linalg.lstsq(pull, level, rcond=None)[0])

    # -- what the base class requires ----------------------------------------------------
    def _parameters(self) -> tuple[str, ...]:
        as_size(self.order, "order", least=0)
        return ("transmat_", self._level_name, "coef_", "covars_")

    @property
    def _level_name(self) -> str:
        return "means_" if self.form == "mean" else "intercept_"

    def _levels(self, values: Values) -> Floats:
        return values[self._level_name]

    def _settings(self) -> Settings:
        tracked = self.form == "mean" and self.switching_mean
        return Settings(self.n_states, self.order + 1 if tracked else 1)

    def _shapes(self, values: Values) -> Values:
        K, values = self.n_states, {name: values[name] for name in self._parameters()}
        check_distribution("transmat_", values["transmat_"], (K, K))
        level = self._levels(values)
        F = level.shape[1] if level.ndim == 2 else 1
        full: dict[str, tuple[int, ...]] = {
            self._level_name: (K, F), "coef_": (K, self.order, F, F), "covars_": (K, F, F)}
        for name, shape in full.items():
            if F == 1 and values[name].shape == shape[: values[name].ndim]:
                values[name] = values[name].reshape(shape)  # (K,), (K, order) for one feature
            check_shape(name, values[name], shape)
        if self.form == "mean" and not self.switching_mean and np.ptp(values["means_"], 0).any():
            raise ValueError("means_: got rows that differ, expected equal ones with "
                             "switching_mean=False")
        covars = values["covars_"]
        if not np.allclose(covars, covars.transpose(0, 2, 1), rtol=1e-8, atol=1e-12) or (
                np.linalg.eigvalsh(covars) <= 0).any():
            raise ValueError("covars_: got a matrix that is not symmetric positive definite")
        return values

    def _check_kind(self, values: Values) -> None:
        kind = self.__dict__.get("kind_")
        if kind is None:  # the parameters were set, and the model was not fitted
            return
        if kind != "real":
            raise ValueError(f"kind_: got {kind!r}, expected 'real'")
        check_shape(self._level_name, self._levels(values), (self.n_states, self.n_features_))

    def _build(self, values: Values) -> tuple[Chain, RegimeEmission]:
        settings = self._settings()
        # An intercept that is the same in all regimes would no longer be so for the data minus a centre, because the
        # intercept of these also depends on the coefficients of the regime. So the centre is then 0.
        fixed = self.form == "intercept" and not self.switching_mean
        centre = None if fixed else self.__dict__.get("_centre")
        emission = RegimeEmission(settings, self._levels(values), values["coef_"],
                                  values["covars_"], self.form == "mean",
                                  np.zeros(self.n_features_) if centre is None else centre)
        return Chain(settings.start(values["transmat_"]),
                     settings.transitions(values["transmat_"])), emission

    def _set_kind(self, values: Values) -> None:
        self.__dict__.setdefault("kind_", "real")
        self.__dict__.setdefault("n_features_", self._levels(values).shape[1])

    # -- data ---------------------------------------------------------------------------
    def _read_rows(self, sequences: SequencesLike) -> list[Array]:
        self._parameters()
        return [self._rows(a) for a in self._read(sequences, kinds=("real",))]

    def _rows(self, sequence: Array) -> Array:
        """z_t = [y_t, y_{t-1}, …, y_{t-order}] of the steps that have a complete window."""
        steps = max(len(sequence) - self.order, 0)
        first = self.order if steps else 0
        return np.concatenate([sequence[first - k : first - k + steps] if steps else sequence[:0]
                               for k in range(self.order + 1)], axis=1)

    def _skipped(self, sequence: SequenceLike) -> int:
        """The number of first steps of a sequence that have no complete window, and so no row."""
        return min(self.order, len(self._check(sequence)))

    def _all_steps(self, steps: Floats, sequence: SequenceLike) -> Floats:
        return np.concatenate([np.zeros(self._skipped(sequence)), steps])

    def _known(self, array: Array) -> int:
        return int(np.sum(~np.isnan(self._rows(array)).any(axis=1)))

    # -- learning --------------------------------------------------------------------------
    @property
    def _switching(self) -> dict[str, bool]:
        return {"mean": self.switching_mean, "ar": self.switching_ar,
                "variance": self.switching_variance}

    def _begin(self, rows: Rows, rng: np.random.Generator, given: Mapping[str, Floats]) -> Values:
        z = rows.values[~np.isnan(rows.values).any(axis=1)]
        if len(z) == 0:
            raise ValueError("sequences: got no step with a complete window of values, expected at "
                             "least one")
        K, F = self.n_states, self.n_features_
        self._centre = z[:, :F].mean(axis=0)
        values = self._pooled(z)
        # Regimes may differ in their level, or in the size of the residuals of a common regression. So the initial
        # regimes are clusters of the elements by both.
        residual = z @ regimes.residual_maps(
            Settings(K, 1), self._levels(values), values["coef_"], self.form == "mean"
        )[0, :, 1:].T
        features = np.concatenate([z[:, :F], np.abs(residual - residual.mean(axis=0))], axis=1)
        features /= features.std(axis=0) + np.finfo(float).tiny
        centre = centres(features, K, rng)
        label = np.stack([((features - c) ** 2).sum(axis=1) for c in centre]).argmin(axis=0)
        for s in range(K):
            here = z[label == s] if (label == s).any() else z
            if self.switching_mean:
                own = here[:, :F].mean(axis=0)
                if self.form == "intercept":
                    own = own - np.einsum("kfg,kg->f", values["coef_"][s],
                                          here[:, F:].mean(axis=0).reshape(-1, F))
                self._levels(values)[s] = own
            if self.switching_variance:
                size = (residual[label == s] ** 2).mean() if (label == s).any() else 0
                share = size / max((residual**2).mean(), np.finfo(float).tiny)
                values["covars_"][s] *= min(max(share, 0.1), 10)
        values["transmat_"] = rng.dirichlet(np.ones(K), K) * 0.2 + 0.8 * np.eye(K)
        return {name: given.get(name, value) for name, value in values.items()}

    def _pooled(self, z: Floats) -> Values:
        """The parameters of one autoregression, fitted to all rows z by least squares, the same for every regime."""
        K, F = self.n_states, self.n_features_
        left = np.concatenate([np.ones((len(z), 1)), z[:, F:]], axis=1)
        weights = np.linalg.lstsq(left, z[:, :F], rcond=None)[0]
        error = z[:, :F] - left @ weights
        covar = error.T @ error / len(z)
        covar += 1e-6 * max(np.trace(covar) / F, np.finfo(float).tiny) * np.eye(F)
        coef = weights[1:].reshape(self.order, F, F).transpose(0, 2, 1)
        level = z[:, :F].mean(axis=0) if self.form == "mean" else weights[0]
        return {self._level_name: np.tile(level, (K, 1)), "coef_": np.tile(coef, (K, 1, 1, 1)),
                "covars_": np.tile(covar, (K, 1, 1))}

    def _maximise(self, values: Values, emission: RegimeEmission, found: Expectation) -> Values:
        G = regimes.grams(found.sums, emission.settings.n)
        level, coef, covars = regimes.maximise(emission, G, self._switching)
        moves, oldest = emission.settings.moves(found.pairs, found.starts)
        return {"transmat_": _transitions(values["transmat_"], moves, oldest),
                self._level_name: level, "coef_": coef, "covars_": covars}


def _transitions(old: Floats, moves: Floats, oldest: Floats) -> Floats:
    """The M-step of the transition probabilities A, from the results of `Settings.moves`.

    A should maximise Σ moves·log A + Σ oldest·log π(A), where π(A) is the steady state, from which the first regime is
    drawn. The rows of `moves`, divided by their sums, maximise the first term only. So the step from the old A to
    these is halved until the whole sum is not lower than before; after 12 attempts the old A is returned.
    """
    def worth(A: Floats) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(moves > 0, moves * np.log(A), 0).sum()
                         + np.where(oldest > 0, oldest * np.log(regimes.steady_state(A)), 0).sum())

    target, least = normalised(moves, old), worth(old)
    for halvings in range(12):
        new = old + 0.5**halvings * (target - old)
        if worth(new) >= least:
            return new
    return old
