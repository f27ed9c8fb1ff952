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
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, cast

import numpy as np

from rnncore._checks import as_size
from rnncore.models.interface.base import Gaussian, generator
from rnncore.models.interface.sequences import MISSING

from . import regimes
from .chain_model import ChainModel, Parameter, check_distribution, check_shape, impossible
from .em import Rows, Workers
from .regime_fit import STARTS, RegimeFit
from .regimes import RegimeEmission
from .settings import Settings
from .settings_passes import Recursions, check_memory
from .transitions import steady_state

if TYPE_CHECKING:
    from rnncore._progress import progress_bar
    from rnncore._typing import Array, Floats, RandomSource
    from rnncore.models.interface.estimator import Names
    from rnncore.models.interface.sequences import Codes, Missing, SequenceLike, SequencesLike

    from .chain_model import Values

Form: TypeAlias = Literal["mean", "intercept"]
FORMS: tuple[Form, ...] = ("mean", "intercept")


class SwitchingAutoRegressive(ChainModel[Any]):
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
        As in `HiddenMarkov`. The steps are extrapolated, and a fit ends when two of them gain less than `tol` together.
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
    ("intercept").

    EM finds the optimum that is nearest to its start. So a fit tries 24 starts for a few steps, on at most 5,000 rows,
    and goes on from the best; `n_init` repeats all of that, and `history_` has the steps from the best start on. In the
    "mean" form a step of EM updates means, coefficients and covariances one after the other. The update of the
    transition probabilities takes into account that they determine the steady state. Steps are extrapolated (Anderson
    1965), and an extrapolation is dropped if it lowers the likelihood, so that no step does, but for rounding.

    The likelihood of a regime that fits a few steps exactly has no limit. So the variance of the residuals is at least
    1e-6 of that which a single regression for all data leaves, in any direction, plus 1e-8 of that in the column, plus
    1e-10 of the variance of the data; and of several starts, one whose regimes have enough data is preferred. All of
    this is relative, so that a fit does not depend on the unit of the data.

    With K regimes, a step of EM takes a time of the order T·n·K at most, where n is the number of values of the hidden
    state: K, or ``K ** (order + 1)`` where means switch in the "mean" form. What needs more than 2 GiB is refused.

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
    _may_not_predict = True

    transmat_ = Parameter()
    means_ = Parameter()
    intercept_ = Parameter()
    coef_ = Parameter()
    covars_ = Parameter()

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
        recursions, rows = self._recursions(self._ready()), Rows.pack([self._rows(self._check(sequence))])
        by_regime = np.empty((len(rows.values), self.n_states))

        def keep(begin: int, end: int, gamma: Floats) -> None:
            by_regime[begin:end] = gamma.reshape(end - begin, self.n_states, recursions.settings.each).sum(axis=2)

        (log_prob,), _ = recursions.smooth(rows, Workers(), keep)
        if log_prob == -np.inf:
            raise impossible()
        return np.concatenate([np.full((self._skipped(sequence), self.n_states), np.nan), by_regime])

    def decode(self, sequence: SequenceLike) -> tuple[float, Codes]:
        """Log probability of the most probable path of regimes, and the path; -1 at the first `order` steps."""
        recursions = self._recursions(self._ready())
        log_prob, path = recursions.best_path(self._rows(self._check(sequence)))
        return log_prob, np.concatenate([np.full(self._skipped(sequence), -1), path // recursions.settings.each])

    def predict(self, context: SequenceLike | None = None) -> Gaussian:
        """`Gaussian` prediction of the element after `context`.

        A context of fewer than `order` elements is preceded by the overall level of the series (see `_level`).
        """
        values, past = self._ready(), self._context(context)
        self._check_window(past)
        window = past[-self.order :][None, ::-1] if self.order else past[None, :0]
        mean, variance = self._mixture(values, window, self._ahead(values, past))
        return Gaussian(mean[0], variance[0])

    def one_step(self, sequence: SequenceLike) -> Gaussian:
        """`predict` at every step of a sequence from its own past, in one pass over the sequence."""
        values, x = self._ready(), self._check(sequence)
        level = np.broadcast_to(self._level(values), (self.order, self.n_features_))
        series = np.concatenate([level, x])
        windows = np.stack([series[self.order - k : len(series) - k]
                            for k in range(1, self.order + 1)], axis=1) if self.order else (
            np.empty((len(x), 0, self.n_features_)))
        parts = []
        for rows, ahead in self._recursions(values).ahead(self._rows(x)):
            if rows.start == 0:     # before the first row nothing is known of the regime
                parts += [self._mixture(values, windows[: self.order], ahead[:1])]
            here = windows[self.order + rows.start : self.order + rows.stop]
            parts += [self._mixture(values, here, ahead[: len(here)])]
        mean, variance = zip(*parts, strict=True)
        return Gaussian(np.concatenate(mean), np.concatenate(variance))

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
        ahead = self._ahead(values, past)[0]
        moves = np.cumsum(values["transmat_"], axis=1)
        chance, noise = rng.random(length + spare), rng.standard_normal(
            (length + spare, self.n_features_))
        roots, level = np.linalg.cholesky(values["covars_"]), self._levels(values)
        constant = regimes.constants(settings, level, values["coef_"], self.form == "mean")
        series = np.concatenate([past[len(past) - order :], np.empty_like(noise)])
        states, each = np.empty(length + spare, np.int64), settings.each
        for t in range(length + spare):
            if t == 0:
                cdf = np.cumsum(ahead)
                now = min(np.searchsorted(cdf, chance[t] * cdf[-1], "right"), settings.n - 1)
            else:
                cdf = moves[now // each]
                state = min(np.searchsorted(cdf, chance[t] * cdf[-1], "right"), settings.K - 1)
                now = state * each + now // settings.K
            states[t] = state = now // each
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

    def _recursions(self, values: Values) -> Recursions:
        settings = self._settings()
        check_memory(settings, 0, 1)
        emission = RegimeEmission(settings, self._levels(values), values["coef_"], values["covars_"],
                                  self.form == "mean")
        return Recursions(settings, values["transmat_"], emission)

    def _ahead(self, values: Values, x: Array) -> Floats:
        """The probabilities (1, n) of the settings of the step after the elements x, given these."""
        *_, (_, ahead) = self._recursions(values).ahead(self._rows(x))
        return ahead[-1:]

    def _mixture(self, values: Values, windows: Floats, weights: Floats) -> tuple[Floats, Floats]:
        """Mean and variance (N, F) of the next element.

        `windows` are the past elements (N, order, F), the latest first, and `weights` the probabilities of the settings
        (N, n), or (1, n) for all.
        """
        settings, coef = self._settings(), values["coef_"]
        shape = (self.n_states, settings.each)
        constant = regimes.constants(settings, self._levels(values), coef, self.form == "mean").reshape(*shape, -1)
        weights = np.broadcast_to(weights.reshape(-1, *shape), (len(windows), *shape))
        by_regime = weights.sum(axis=2)
        # The constants vary between the settings of a regime, and the rest of the mean does not.
        lines = np.einsum("skfg,nkg->nsf", coef, windows)
        level = np.einsum("nse,sef->nsf", weights, constant)
        mean = np.einsum("ns,nsf->nf", by_regime, lines) + level.sum(axis=1)
        spread = np.empty_like(mean)
        for f, variance in enumerate(np.diagonal(values["covars_"], axis1=1, axis2=2).T):
            apart = (lines[:, :, f] - mean[:, f, None])[:, :, None] + constant[:, :, f]
            spread[:, f] = np.einsum("nse,nse->n", weights, apart**2) + by_regime @ variance
        return mean, spread

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
        share = steady_state(values["transmat_"])
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
        check_covariances(values["covars_"])
        return values

    def _check_kind(self, values: Values) -> None:
        kind = self.__dict__.get("kind_")
        if kind is None:  # the parameters were set, and the model was not fitted
            return
        if kind != "real":
            raise ValueError(f"kind_: got {kind!r}, expected 'real'")
        check_shape(self._level_name, self._levels(values), (self.n_states, self.n_features_))

    def _log_steps(self, values: Values, rows: Rows) -> list[Floats]:
        return self._recursions(values).log_steps(rows)

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
        fit = self._regime_fit(rows)
        alone = self.n_states == 1 or all(name in given for name in self._parameters())
        count = 1 if alone else STARTS
        start = fit.best_start(rng, lambda values: self._shapes(values | dict(given)), count, self.n_iter)
        return fit.outward(start)

    def _climb(
        self, rows: Rows, values: Values, workers: Workers, bar: progress_bar
    ) -> tuple[Values, list[float], bool]:
        fit = self._regime_fit(rows)
        values, history, converged, _ = fit.climb(fit.inward(values), self.n_iter, self.tol, bar)
        return fit.outward(values), [log_prob + fit.log_unit for log_prob in history], converged

    def _regime_fit(self, rows: Rows) -> RegimeFit:
        settings = self._settings()
        check_memory(settings, 0, len(rows.values))
        return RegimeFit(rows, settings, self._level_name, self._switching, self.order)


def check_covariances(covars: Floats) -> None:
    """Check that matrices (K, F, F) are symmetric and positive definite, in whatever units their columns are."""
    variances = np.diagonal(covars, axis1=1, axis2=2)
    if (variances > 0).all():
        size = np.sqrt(variances)
        unit = covars / size[:, :, None] / size[:, None, :]
        try:
            np.linalg.cholesky(unit)
        except np.linalg.LinAlgError:
            pass
        else:
            if np.allclose(unit, unit.transpose(0, 2, 1), rtol=0, atol=1e-8):
                return
    raise ValueError("covars_: got a matrix that is not symmetric positive definite")
