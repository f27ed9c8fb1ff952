"""A hidden state that summarises the past: the hidden Markov model.

    p(x_1 … x_T) = Σ_z π(z_1) Π_t A(z_{t-1}, z_t) · b(x_t | z_t)

π are the probabilities of the first state, A those of the transitions, and b is the emission. The recursions over time
run in ``rnncore._hidden_markov``; this file has the model's arguments, checks and methods. Names, priors and the
stopping rule are those of hmmlearn, and so are the results.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, cast

import numpy as np

from rnncore._checks import as_size
from rnncore._hidden_markov import Chain
from rnncore.models.interface.base import Gaussian, generator
from rnncore.models.interface.sequences import MISSING

from .chain_model import ChainModel, Parameter, check_distribution, check_shape
from .em import Rows, filtered
from .emissions import CategoricalEmission, GaussianEmission, normalised
from .start import centres

if TYPE_CHECKING:
    from rnncore._typing import Array, Floats, RandomSource
    from rnncore.models.interface.estimator import Names
    from rnncore.models.interface.sequences import Codes, Missing, SequenceLike, SequencesLike

    from .chain_model import Values
    from .em import Expectation

EmissionName: TypeAlias = Literal["categorical", "gaussian"]
CovarianceType: TypeAlias = Literal["diag", "full"]
EMISSIONS: tuple[EmissionName, ...] = ("categorical", "gaussian")
COVARIANCES: tuple[CovarianceType, ...] = ("diag", "full")


class HiddenMarkov(ChainModel[CategoricalEmission | GaussianEmission]):
    """Hidden Markov model of symbols or of real vectors, fitted by EM.

    Parameters
    ----------
    n_states : int
    emission : {"categorical", "gaussian"}
        "categorical" for text or integer symbols, "gaussian" for (T, F) real arrays.
    covariance_type : {"diag", "full"}
    n_iter : int
        The largest number of EM steps.
    tol : float
        EM stops when a step raises the log likelihood by less than this.
    n_init : int
        The number of EM runs from different initial values; the result with the highest likelihood is kept.
        If all parameters are set, the runs do not differ, and one is enough.
    random_state : int, optional
        Seed of the initial values of parameters that are not set before `fit`.
    startprob_prior, transmat_prior, emissionprob_prior : float or array
        Parameters of Dirichlet priors; 1 means no prior.
    means_prior, means_weight : float or array
        Normal prior of the means: its mean, and the number of observations that it is worth.
    covars_prior, covars_weight : float or array
        Inverse gamma (diag) or inverse Wishart (full) prior of the covariances.
    min_covar : float
        Added to the diagonal of the covariance that `fit` starts from.
    alphabet : str or int, optional
        The characters, or the number of symbols; by default those of the sequences that `fit` gets.
    missing : {"refuse", "mask"}
        With "refuse", missing values raise an error. With "mask", a step is missing if it is a vector with a NaN in it,
        the symbol -1, or a masked entry of a numpy masked array; missing steps do not influence the result.
    warm_start : bool
        Whether `fit` starts from the parameters that the previous `fit` has learnt.

    Attributes
    ----------
    startprob_ : ndarray (n,)
    transmat_ : ndarray (n, n)
        Row i has the probabilities of the states that follow state i.
    emissionprob_ : ndarray (n, n_symbols)
    means_ : ndarray (n, F)
    covars_ : ndarray (n, F) for "diag", (n, F, F) for "full"
        All of these parameters may be set: to use them without `fit`, or as initial values of `fit`.
    history_ : ndarray
        Log likelihood before every EM step. Without priors it does not decrease from step to step.
    converged_ : bool
        Whether `tol` was met within `n_iter` steps.

    Notes
    -----
    The results are bit-identical for any number of threads. Zeros in `startprob_` and `transmat_` remain zeros, so a
    left-to-right chain remains one. A state that the data give no evidence of keeps its parameters, except where a
    prior determines them: with the default priors its diagonal covariances become ``covars_prior / 1e-5``, as in
    hmmlearn.

    Examples
    --------
    The weather is hidden; only the activity of each day is observed.

    >>> model = HiddenMarkov(2)
    >>> model.startprob_ = [0.6, 0.4]
    >>> model.transmat_ = [[0.7, 0.3], [0.4, 0.6]]              # rainy, sunny
    >>> model.emissionprob_ = [[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]  # walk, shop, clean
    >>> log_prob, path = model.decode([0, 1, 2])
    >>> float(np.exp(log_prob).round(5)), path
    (0.01344, array([1, 0, 0]))
    >>> model.posteriors([0, 1, 2])[-1].round(3)
    array([0.864, 0.136])
    """

    _masks_symbols = True
    _names: ClassVar[Names] = {"emission": EMISSIONS, "covariance_type": COVARIANCES, "missing": MISSING}

    startprob_ = Parameter()
    transmat_ = Parameter()
    emissionprob_ = Parameter()
    means_ = Parameter()
    covars_ = Parameter()

    def __init__(
        self,
        n_states: int = 2,
        emission: EmissionName = "categorical",
        covariance_type: CovarianceType = "diag",
        *,
        n_iter: int = 100,
        tol: float = 1e-2,
        n_init: int = 1,
        random_state: int | None = None,
        startprob_prior: float | Floats = 1.0,
        transmat_prior: float | Floats = 1.0,
        emissionprob_prior: float | Floats = 1.0,
        means_prior: float | Floats = 0.0,
        means_weight: float | Floats = 0.0,
        covars_prior: float | Floats = 1e-2,
        covars_weight: float = 1.0,
        min_covar: float = 1e-3,
        alphabet: str | int | None = None,
        missing: Missing = "refuse",
        warm_start: bool = False,
    ) -> None:
        self.n_states = n_states
        self.emission = emission
        self.covariance_type = covariance_type
        self.n_iter = n_iter
        self.tol = tol
        self.n_init = n_init
        self.random_state = random_state
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.emissionprob_prior = emissionprob_prior
        self.means_prior = means_prior
        self.means_weight = means_weight
        self.covars_prior = covars_prior
        self.covars_weight = covars_weight
        self.min_covar = min_covar
        self.alphabet = alphabet
        self.missing = missing
        self.warm_start = warm_start

    # -- answering ------------------------------------------------------------------
    def predict(self, context: SequenceLike | None = None) -> Floats | Gaussian:
        """The distribution of the element after `context`: probabilities (n_symbols,), or a `Gaussian` of (F,)."""
        values = self._ready()
        x = self._rows(self._check(context, "context"))
        return self._mixture(values, self._ahead(values, x)[-1])

    def one_step(self, sequence: SequenceLike) -> Floats | Gaussian:
        """`predict` at every step of a sequence from its own past, in one pass over the sequence."""
        values = self._ready()
        x = self._rows(self._check(sequence))
        return self._mixture(values, self._ahead(values, x)[:-1])

    def _ahead(self, values: Values, x: Array) -> Floats:
        """p(z_t | x_<t) for t = 0 … T, (T + 1, n)."""
        (log_prob,), (alpha,) = filtered(*self._build(values), Rows.pack([x]))
        if (log_prob == -np.inf).any():
            raise ValueError(f"step {int(np.argmax(log_prob == -np.inf))} of the sequence has "
                             "probability 0 under this model, so the steps after it cannot be "
                             "predicted; fit again with an emissionprob_prior above 1")
        return np.concatenate([values["startprob_"][None], alpha @ values["transmat_"]])

    def _mixture(self, values: Values, weights: Floats) -> Floats | Gaussian:
        """The distribution of an element if the states have the probabilities `weights` (…, n)."""
        emission = self._emission(values)
        if isinstance(emission, CategoricalEmission):
            return emission.predict(weights)
        return Gaussian(*emission.predict(weights))

    def sample(
        self, length: int, context: SequenceLike | None = None, seed: RandomSource = None
    ) -> str | Codes | Floats:
        """Draw `length` elements that follow `context`; the same seed gives the same elements."""
        return self.sample_states(length, context, seed)[0]

    def sample_states(
        self, length: int, context: SequenceLike | None = None, seed: RandomSource = None
    ) -> tuple[str | Codes | Floats, Codes]:
        """The result of `sample`, and the hidden states (length,) of the drawn elements."""
        values, length, rng = self._ready(), as_size(length, "length", least=0), generator(seed)
        weights = self._ahead(values, self._rows(self._check(context, "context")))[-1]
        rows = [np.cumsum(row).tolist() for row in values["transmat_"]]
        row, states = np.cumsum(weights).tolist(), np.empty(length, np.int64)
        for t, u in enumerate(rng.random(length).tolist()):
            states[t] = state = min(bisect.bisect_right(row, u * row[-1]), len(row) - 1)
            row = rows[state]
        emission = self._emission(values)
        if isinstance(emission, CategoricalEmission):
            return self._alphabet.decode(emission.sample(states, rng)), states
        return emission.sample(states, rng), states

    def filter(self) -> Filter:
        """Create a `Filter`, which takes one observation at a time.

        Examples
        --------
        >>> model = HiddenMarkov(2, random_state=0, n_iter=5).fit(["abbaabba" * 5])
        >>> f = model.filter()
        >>> for symbol in "abb":
        ...     p = f.step(symbol)
        >>> bool(np.allclose(f.log_prob, model.log_prob("abb"))), p.shape
        (True, (2,))
        """
        return Filter(self, self._ready())

    @property
    def n_parameters_(self) -> int:
        """Number of free parameters."""
        values, n = self._ready(), self.n_states
        if self.emission == "categorical":
            symbols: int = values["emissionprob_"].shape[1]
            return n * n - 1 + n * (symbols - 1)
        F: int = values["means_"].shape[1]
        return n * n - 1 + n * (F + (F if self.covariance_type == "diag" else F * (F + 1) // 2))

    # -- what the base class requires -----------------------------------------------------
    def _parameters(self) -> tuple[str, ...]:
        own = ("emissionprob_",) if self.emission == "categorical" else ("means_", "covars_")
        return ("startprob_", "transmat_", *own)

    def _shapes(self, values: Values) -> Values:
        n, values = self.n_states, {name: values[name] for name in self._parameters()}
        check_distribution("startprob_", values["startprob_"], (n,))
        check_distribution("transmat_", values["transmat_"], (n, n))
        if self.emission == "categorical":
            symbols = values["emissionprob_"].shape[-1] if values["emissionprob_"].ndim else 0
            check_distribution("emissionprob_", values["emissionprob_"], (n, symbols))
            return values
        F = values["means_"].shape[-1] if values["means_"].ndim == 2 else 1
        check_shape("means_", values["means_"], (n, F))
        if self.covariance_type == "diag":
            covars = check_shape("covars_", values["covars_"], (n, F))
            if (covars <= 0).any():
                raise ValueError(f"covars_: got {covars.min():.3g}, expected variances above 0")
        else:
            covars = check_shape("covars_", values["covars_"], (n, F, F))
            if not np.allclose(covars, covars.transpose(0, 2, 1), rtol=1e-8, atol=1e-10):
                raise ValueError("covars_: got a matrix that is not symmetric, expected symmetric "
                                 "positive definite ones")
        return values

    def _build(self, values: Values) -> tuple[Chain, CategoricalEmission | GaussianEmission]:
        return Chain(values["startprob_"], values["transmat_"]), self._emission(values)

    def _emission(self, values: Values) -> CategoricalEmission | GaussianEmission:
        if self.emission == "categorical":
            return CategoricalEmission(values["emissionprob_"])
        return GaussianEmission(values["means_"], values["covars_"])

    def _set_kind(self, values: Values) -> None:
        """Derive the kind of sequences from the parameters, if they were set and the model was not fitted."""
        if self.emission == "gaussian":
            self.__dict__.setdefault("kind_", "real")
            self.__dict__.setdefault("n_features_", values["means_"].shape[1])
        else:
            symbols = self.alphabet or values["emissionprob_"].shape[1]
            self.__dict__.setdefault("kind_", "text" if isinstance(symbols, str) else "ids")
            self.__dict__.setdefault("alphabet_", symbols)

    def _check_kind(self, values: Values) -> None:
        kind = self.__dict__.get("kind_")
        if kind is None:  # the parameters were set, and the model was not fitted
            return
        if (kind == "real") != (self.emission == "gaussian"):
            raise ValueError(f"kind_: got {kind!r}, with emission={self.emission!r}")
        if kind == "real":
            check_shape("means_", values["means_"], (self.n_states, self.n_features_))
        elif values["emissionprob_"].shape[1] < self._alphabet.size:
            raise ValueError(f"emissionprob_: got {values['emissionprob_'].shape[1]} columns, "
                             f"expected one for each of {self._alphabet.size} symbols")

    # -- data ------------------------------------------------------------------------------
    def _rows(self, sequence: Array) -> Array:
        return sequence

    def _known(self, array: Array) -> int:
        return int(np.sum(~np.isnan(array).any(axis=1) if self._real else array >= 0))

    def _read_rows(self, sequences: SequencesLike) -> list[Array]:
        self._parameters()
        return self._read(sequences, kinds=("real",) if self.emission == "gaussian" else ("text", "ids"))

    # -- learning ----------------------------------------------------------------------------
    def _begin(self, rows: Rows, rng: np.random.Generator, given: Mapping[str, Floats]) -> Values:
        n = self.n_states
        values = {"startprob_": rng.dirichlet(np.full(n, 10.0)),
                  "transmat_": rng.dirichlet(np.ones(n), size=n)}
        if self.emission == "categorical":
            own = self._begin_categorical(rows.values, rng, given)
        else:
            own = self._begin_gaussian(rows.values, rng, given)
        return values | own | dict(given)

    def _begin_categorical(self, x: Codes, rng: np.random.Generator, given: Mapping[str, Floats]) -> Values:
        if "emissionprob_" in given:
            self._widen(given["emissionprob_"].shape[-1])
            return {}
        symbols = self._alphabet.size
        seen = np.bincount(x[x >= 0], minlength=symbols) + 1.0
        return {"emissionprob_": normalised(seen * rng.gamma(1.0, size=(self.n_states, symbols)),
                                            1.0)}

    def _begin_gaussian(self, x: Floats, rng: np.random.Generator, given: Mapping[str, Floats]) -> Values:
        n = self.n_states
        missing = np.isnan(x)
        if missing.any():
            x = x[~missing.any(axis=1)]
        if len(x) == 0:
            raise ValueError("sequences: got only missing values, expected at least one row")
        means = given.get("means_")
        if means is None:
            means = centres(x, n, rng)
        elif means.shape[-1:] != x.shape[1:]:
            raise ValueError(f"sequences: got {x.shape[1]} features, expected as many as in the "
                             f"means_ that were set, with shape {means.shape}")
        if "covars_" in given:
            return {"means_": means}
        covar = np.atleast_2d(np.cov(x.T, bias=len(x) == 1))
        covar = covar + self.min_covar * np.eye(len(covar))
        one = np.diag(covar) if self.covariance_type == "diag" else covar
        return {"means_": means, "covars_": np.tile(one, (n,) + (1,) * one.ndim)}

    def _widen(self, symbols: int) -> None:
        """Extend the alphabet of the data to the symbols of an emissionprob_ that was set, which may be more."""
        found = self._alphabet.size
        if found > symbols or (found < symbols and self.kind_ == "text"):
            raise ValueError(f"sequences: got {found} different symbols, expected {symbols}, as in "
                             "the emissionprob_ that was set; set one with a column for every "
                             "symbol" + (", or give alphabet=" if self.kind_ == "text" else ""))
        if self.kind_ == "ids":
            self.alphabet_ = symbols

    def _maximise(
        self, values: Values, emission: CategoricalEmission | GaussianEmission, found: Expectation
    ) -> Values:
        starts = np.maximum(self.startprob_prior - 1 + found.starts, 0)
        pairs = np.maximum(self.transmat_prior - 1 + found.pairs, 0)
        start, trans = values["startprob_"], values["transmat_"]
        new = {"startprob_": normalised(np.where(start == 0, 0, starts), start),
               "transmat_": normalised(np.where(trans == 0, 0, pairs), trans)}
        if isinstance(emission, CategoricalEmission):
            new["emissionprob_"] = emission.maximise(found.sums, self.emissionprob_prior)
        else:
            new["means_"], new["covars_"] = emission.maximise(
                found.sums, self.means_prior, self.means_weight, self.covars_prior,
                self.covars_weight)
        return new


class Filter:
    """The probabilities of the states, updated with every new observation; made by `HiddenMarkov.filter`.

    Attributes
    ----------
    log_prob : float
        Log probability of all observations so far.
    n_seen : int
        Number of observations so far.
    """

    log_prob: float
    n_seen: int
    _log_alpha: Floats | None

    def __init__(self, model: HiddenMarkov, values: Values) -> None:
        self._model, self._values = model, values
        self._emission = model._emission(values)
        with np.errstate(divide="ignore"):
            self._log_start = np.log(values["startprob_"])
            self._log_trans = np.log(values["transmat_"])
        self.reset()

    def __repr__(self) -> str:
        return f"Filter({self._model!r}, n_seen={self.n_seen}, log_prob={self.log_prob:.6g})"

    def reset(self) -> None:
        """Begin a new sequence."""
        self._log_alpha, self.log_prob, self.n_seen = None, 0.0, 0

    def step(self, x: SequenceLike) -> Floats:
        """Take one observation; returns p(state | all observations so far), (n_states,)."""
        one: str | Array = x if isinstance(x, str) else np.atleast_1d(x)
        if self._model._real:
            one = np.reshape(one, (1, -1))
        row = self._model._check(one, "x")
        if len(row) != 1:
            raise ValueError(f"x: got {len(row)} elements, expected one")
        n = len(self._log_start)
        joint = self._log_ahead() + self._emission.on(row).log_likelihood()[0, :n]
        norm = _log_sum(joint)
        if norm == -np.inf:
            raise ValueError(f"x: got {x!r}, which has probability 0 after the observations so far; the "
                             "filter is left as it was")
        self._log_alpha = joint - norm
        self.log_prob += float(norm)
        self.n_seen += 1
        with np.errstate(under="ignore"):
            return np.exp(self._log_alpha)

    def predict(self) -> Floats | Gaussian:
        """The distribution of the next element, in the form of `HiddenMarkov.predict`."""
        with np.errstate(under="ignore"):
            return self._model._mixture(self._values, np.exp(self._log_ahead()))

    def _log_ahead(self) -> Floats:
        """log p(z_t | x_<t), (n,). As a logarithm, the probability of an improbable state does not underflow to 0."""
        if self._log_alpha is None:
            return self._log_start
        return _log_sum(self._log_alpha[:, None] + self._log_trans)


def _log_sum(x: Floats) -> Floats:
    """log(sum(exp(x))) over the first axis."""
    top = x.max(axis=0)
    safe = np.where(top > -np.inf, top, 0)
    with np.errstate(divide="ignore", under="ignore"):
        return cast("Floats", np.log(np.exp(x - safe).sum(axis=0)) + safe)
