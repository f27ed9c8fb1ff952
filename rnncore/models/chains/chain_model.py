"""The base class of models with a hidden Markov chain: parameters that may be set, EM, paths, posteriors.

A row is what the emission, the distribution of a step in each hidden state, needs to know of a step: its symbol or its
vector, or for an autoregression also those of the steps before. Values are parameters by name.

A subclass takes the arguments n_states, n_iter, n_init, tol, warm_start, random_state and missing, declares its
`Parameter`\\ s, has `n_parameters_`, and defines

``_parameters()``            the names of the parameters that a model with its arguments has
``_read_rows(sequences)``    check the training sequences, and convert each to an array of rows
``_rows(sequence)``          convert a checked sequence to an array of rows
``_shapes(values)``          check the values, and return each in the shape in which it is used
``_set_kind(values)``        set the kind of sequences (text, real vectors, …) of a model whose parameters were set, and
                             which was not fitted
``_check_kind(values)``      raise an error if the values do not suit the kind of sequences
``_build(values)``           create its `Chain` and its emission (see `em`)
``_begin(rows, rng, given)`` initial values of a fit; `given` are the values that are prescribed
``_maximise(values, emission, found)``   the M-step: new values from an `em.Expectation`

It also defines ``_all_steps(steps, sequence)`` if a sequence has steps without a row, and ``_known(array)`` if steps
may be missing. A model whose recursions are not those of `em` overrides ``_log_steps``, ``posteriors``, ``decode`` and
``_climb`` instead of defining ``_build`` and ``_maximise``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import numpy as np

from rnncore._checks import as_seed, as_size
from rnncore._progress import progress_bar
from rnncore.io.fields import named_errors
from rnncore.models.interface.base import KIND_NAMES, SequenceModelBase, check_fitted, warn_of_little_data

from .em import EmissionModel, Expectation, Rows, Workers, expect, filtered, posteriors

if TYPE_CHECKING:
    from typing import Self, TypeAlias

    from rnncore._hidden_markov import Chain
    from rnncore._typing import Array, ArrayLike, Floats, Progress
    from rnncore.io.fields import Field
    from rnncore.models.interface.sequences import Codes, Missing, SequenceLike, SequencesLike

    Values: TypeAlias = dict[str, Floats]       # parameters by name

Emission = TypeVar("Emission", bound=EmissionModel)


class Parameter:
    """A descriptor for an array of numbers that `fit` learns, and that the user may also set.

    `fit` starts from the values that the user has set. From values that an earlier `fit` has learnt it starts only if
    ``warm_start`` is true. Arrays are copied when they are set.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, model: None, owner: type) -> Self: ...
    @overload
    def __get__(self, model: object, owner: type | None = None) -> Floats: ...
    def __get__(self, model: object | None, owner: type | None = None) -> Self | Floats:
        if model is None:
            return self
        try:
            value: Floats = model.__dict__["_values"][self.name]
        except KeyError:
            raise AttributeError(
                f"{type(model).__name__} has no {self.name} yet; set it or call fit") from None
        return value

    def __set__(self, model: object, value: ArrayLike) -> None:
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"{self.name}: got {value!r}, expected an array of numbers") from None
        if not np.isfinite(array).all():
            raise ValueError(f"{self.name}: got values that are not finite, expected finite ones")
        model.__dict__.setdefault("_values", {})[self.name] = array
        model.__dict__.setdefault("_given", {})[self.name] = array.copy()


class ChainModel(SequenceModelBase, Generic[Emission]):
    """The base class of the models whose memory is a hidden Markov chain."""

    n_states: int
    n_iter: int
    n_init: int
    tol: float
    random_state: int | None
    missing: Missing
    warm_start: bool
    history_: Floats
    converged_: bool

    # -- to be defined by every model ---------------------------------------------
    def _parameters(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _read_rows(self, sequences: SequencesLike) -> list[Array]:
        raise NotImplementedError

    def _rows(self, sequence: Array) -> Array:
        raise NotImplementedError

    def _shapes(self, values: Values) -> Values:
        raise NotImplementedError

    def _set_kind(self, values: Values) -> None:
        raise NotImplementedError

    def _check_kind(self, values: Values) -> None:
        raise NotImplementedError

    def _build(self, values: Values) -> tuple[Chain, Emission]:
        raise NotImplementedError

    def _begin(self, rows: Rows, rng: np.random.Generator, given: Mapping[str, Floats]) -> Values:
        raise NotImplementedError

    def _maximise(self, values: Values, emission: Emission, found: Expectation) -> Values:
        raise NotImplementedError

    # -- learning ----------------------------------------------------------------
    def fit(self, sequences: SequencesLike, y: None = None, *, progress: Progress = False) -> Self:
        """Learn by expectation maximisation; returns self.

        EM is run `n_init` times, and the result with the highest likelihood is kept. Each run starts from the
        parameters that were set, and from random values of the others.

        Parameters
        ----------
        sequences : list of sequences
            Their lengths may differ; 0 and 1 are allowed.
        progress : bool or callable
            Whether to show a progress bar, or a function that is called as ``progress(done, total, info)``.
        """
        self._check_settings()
        self._check_no_targets(y)
        arrays = self._read_rows(sequences)
        rows = Rows.pack(arrays)
        if len(rows.values) == 0:
            raise ValueError("sequences: got no step to learn from, expected at least one; all "
                             f"{len(arrays)} sequences are too short")
        given = dict(self.__dict__.get("_given", {}))
        if self.warm_start:
            given |= self.__dict__.get("_values", {})
        seeds = np.random.SeedSequence(self.random_state).spawn(self.n_init)
        best: tuple[Values, list[float], bool] | None = None
        workers = Workers()
        with progress_bar(progress, self.n_init * self.n_iter, type(self).__name__) as bar:
            for k, seed in enumerate(seeds):
                values = self._begin(rows, np.random.default_rng(seed), given)
                found = self._climb(rows, self._shapes(values), workers, bar)
                bar.update((k + 1) * self.n_iter - bar.done)
                if best is None or found[1][-1] > best[1][-1]:
                    best = found
        assert best is not None     # n_init is 1 or more
        self.__dict__["_values"], history, self.converged_ = best
        self.history_ = np.array(history)
        known = rows.values >= 0 if rows.values.ndim == 1 else ~np.isnan(rows.values).any(axis=1)
        warn_of_little_data(self, int(np.sum(known)) * (self.n_features_ if self._real else 1))
        return self

    def _check_settings(self) -> None:
        """Check the arguments of the model."""
        for name in ("n_states", "n_iter", "n_init"):
            as_size(getattr(self, name), name)
        as_seed(self.random_state, "random_state")
        self._parameters()

    def _climb(
        self, rows: Rows, values: Values, workers: Workers, bar: progress_bar
    ) -> tuple[Values, list[float], bool]:
        """Run EM from `values`.

        Returns
        -------
        values : dict of str to ndarray
            The parameters after the last step.
        history : list of float
            The log likelihood before each step.
        converged : bool
            Whether a step raised the log likelihood by less than `tol`.
        """
        history: list[float] = []
        for _ in range(self.n_iter):
            chain, emission = self._build(values)
            found = expect(chain, emission, rows, workers)
            impossible = ~np.isfinite(found.log_prob)
            if impossible.any():
                raise ValueError(
                    f"sequences[{int(np.argmax(impossible))}]: has probability 0 under the "
                    "parameters that were set; give its symbols and transitions a probability "
                    "above 0 there, or leave the parameters unset")
            history.append(float(found.log_prob.sum()))
            values = self._maximise(values, emission, found)
            bar.update(log_prob=history[-1])
            if len(history) > 1 and history[-1] - history[-2] < self.tol:
                return values, history, True
        return values, history, False

    # -- asking --------------------------------------------------------------------
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: Literal[False] = False) -> float: ...
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: Literal[True]) -> Floats: ...
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: bool) -> float | Floats: ...
    def log_prob(self, sequence: SequenceLike, per_step: bool = False) -> float | Floats:
        """Natural logarithm of the probability (or probability density) of a sequence; see the base class.

        It is ``-inf`` for a sequence that is impossible under the model. With `per_step` it is ``-inf`` from the first
        impossible step on.
        """
        values = self._ready()
        (steps,) = self._log_steps(values, Rows.pack([self._rows(self._check(sequence))]))
        steps = self._all_steps(steps, sequence)
        return steps if per_step else float(steps.sum())

    def score(self, sequences: SequencesLike, y: None = None, **inputs: Any) -> float:
        """Mean log probability per element that is not missing, in nats; higher is better."""
        self._check_no_targets(y)
        if inputs:
            raise TypeError(f"{type(self).__name__}.score: got {', '.join(inputs)}, expected sequences alone")
        values = self._ready()
        arrays = [self._check(s, f"sequences[{i}]") for i, s in enumerate(self._list(sequences))]
        known = sum(self._known(a) for a in arrays)
        if known == 0:
            raise ValueError("sequences: got no element at all, expected at least one")
        rows = Rows.pack([self._rows(a) for a in arrays])
        return float(sum(steps.sum() for steps in self._log_steps(values, rows)) / known)

    def posteriors(self, sequence: SequenceLike) -> Floats:
        """Probability of every state at every step, given the whole sequence.

        Returns
        -------
        ndarray (T, n_states)
            Every row sums to 1.
        """
        values = self._ready()
        x = self._rows(self._check(sequence))
        gamma, log_prob = posteriors(*self._build(values), x)
        if log_prob == -np.inf:
            raise impossible()
        return gamma

    def decode(self, sequence: SequenceLike) -> tuple[float, Codes]:
        """The most probable path of states (Viterbi).

        Returns
        -------
        log_prob : float
            Joint log probability of path and sequence; ``-inf`` if it is impossible.
        path : ndarray (T,) int64
            If several paths are equally probable, it is the one that hmmlearn returns: the last state is the one with
            the lowest index, and then, backward in time, each state is the one with the highest index.
        """
        chain, emission = self._build(self._ready())
        log_b = emission.on(self._rows(self._check(sequence))).log_likelihood()
        path = np.empty(len(log_b), np.int64)
        return chain.viterbi(log_b, np.empty_like(log_b), path), path

    # -- state ----------------------------------------------------------------------
    def _ready(self) -> Values:
        """The values of the parameters, learnt or set, after checking that they are there and have the right shapes."""
        for name in self._parameters():
            check_fitted(self, name)
        values = self._shapes(self.__dict__["_values"])
        self._set_kind(values)
        return values

    def _log_steps(self, values: Values, rows: Rows) -> list[Floats]:
        """log p(x_t | x_<t) of every row, an array for each sequence."""
        return filtered(*self._build(values), rows)[0]

    def _all_steps(self, steps: Floats, sequence: SequenceLike) -> Floats:
        """The log probabilities of all steps of a sequence, from those of its rows. By default every step has a row."""
        return steps

    def _known(self, array: Array) -> int:
        """Number of elements of a sequence that are not missing."""
        return len(array)

    def _get_state(self) -> dict[str, Any]:
        return super()._get_state() | {"values": dict(self.__dict__.get("_values", {}))}

    def _set_state(self, state: Field) -> None:
        state.only((*KIND_NAMES, "values", "history_", "converged_"))
        known = [name for name in dir(type(self)) if isinstance(getattr(type(self), name), Parameter)]
        state["values"].only(known)
        values = {name: field.array() for name, field in state["values"].entries().items()}
        self.__dict__["_values"] = values
        if "kind_" in state:
            self._set_kind_from(state)
        if "history_" in state:
            self.history_ = state["history_"].array((None,), finite=False)
            self.converged_ = state["converged_"].flag()
        if all(name in values for name in self._parameters()):
            with named_errors(state["values"]):
                self._check_kind(self._shapes(values))


def impossible() -> ValueError:
    """The error for the posteriors of a sequence whose probability is 0."""
    return ValueError("sequence: has probability 0 under this model, so its states have no posterior; "
                      "log_prob(sequence, per_step=True) shows from which step on")


def check_shape(name: str, value: Floats, shape: Iterable[int]) -> Floats:
    """Return a parameter after a check of its shape."""
    if value.shape != shape:
        raise ValueError(f"{name}: got shape {value.shape}, expected {shape}")
    return value


def check_distribution(name: str, value: Floats, shape: tuple[int, ...]) -> Floats:
    """Return a parameter after a check of its shape, and that every row is a probability distribution."""
    check_shape(name, value, shape)
    if (value < 0).any():
        raise ValueError(f"{name}: got {value.min():.3g}, expected probabilities >= 0")
    total = value.sum(axis=-1)
    if not np.allclose(total, 1, atol=1e-6, rtol=0):
        worst = total.flat[np.argmax(np.abs(total - 1))]
        raise ValueError(f"{name}: got a row that sums to {worst:.6g}, expected 1; divide by the "
                         "sum")
    return value
