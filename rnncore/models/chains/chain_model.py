"""What models with a hidden chain share: parameters that may be set, EM, paths, posteriors.

A subclass takes the settings n_states, n_iter, n_init, tol, warm_start, random_state and missing, names its
`Parameter`\\ s, has `n_parameters_`, and writes

``_parameters()``            the names of the parameters that its settings ask for
``_read_rows(sequences)``    training sequences, checked, as arrays of rows of the emission
``_rows(sequence)``          a checked sequence as rows of the emission
``_shapes(values)``          check the values, and give each the form it is used in
``_set_kind(values)``        what sequences there are, where parameters were set and nothing was fitted
``_check_kind(values)``      refuse values that are not of the sequences it was fitted on
``_build(values)``           its `Chain` and emission (see `em`)
``_begin(rows, rng, given)`` values to begin a fit with; `given` are those that were set
``_maximise(values, emission, found)``   the M-step, from an `em.Expectation`

and, where a row is not a step or a step may be missing, ``_all_steps(steps, sequence)`` and ``_known(array)``.
"""

from __future__ import annotations

import numpy as np

from rnncore._checks import as_seed, as_size
from rnncore._progress import progress_bar
from rnncore.io.fields import named_errors
from rnncore.models.interface.base import KIND_NAMES, SequenceModelBase, check_fitted, check_option
from rnncore.models.interface.sequences import MISSING

from .em import Rows, Workers, expect, filtered, posteriors


class Parameter:
    """A learnt array that the user may also set.

    What the user sets is where `fit` starts; what `fit` learns is not, unless
    ``warm_start``. Arrays are copied in.
    """

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, model, owner=None):
        if model is None:
            return self
        try:
            return model.__dict__["_values"][self.name]
        except KeyError:
            raise AttributeError(
                f"{type(model).__name__} has no {self.name} yet; set it or call fit") from None

    def __set__(self, model, value):
        try:
            value = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"{self.name}: got {value!r}, expected an array of numbers") from None
        if not np.isfinite(value).all():
            raise ValueError(f"{self.name}: got values that are not finite, expected finite ones")
        model.__dict__.setdefault("_values", {})[self.name] = value
        model.__dict__.setdefault("_given", {})[self.name] = value.copy()


class ChainModel(SequenceModelBase):
    """Base of the models whose memory is a hidden Markov chain."""

    # -- learning ----------------------------------------------------------------
    def fit(self, sequences, y=None, *, progress=False):
        """Learn by expectation maximisation; returns self.

        Starts from the parameters that were set, and from random ones for the
        others; of `n_init` starts the one with the highest likelihood is kept.

        Parameters
        ----------
        sequences : list of sequences, ragged; lengths 0 and 1 are allowed
        progress : bool or callable
            A bar, or a function called as ``progress(done, total, info)``.
        """
        self._check_settings()
        arrays = self._read_rows(sequences)
        rows = Rows.pack(arrays)
        if len(rows.values) == 0:
            raise ValueError("sequences: got no step to learn from, expected at least one; all "
                             f"{len(arrays)} sequences are too short")
        given = dict(self.__dict__.get("_given", {}))
        if self.warm_start:
            given |= self.__dict__.get("_values", {})
        seeds = np.random.SeedSequence(self.random_state).spawn(self.n_init)
        best, workers = None, Workers()
        with progress_bar(progress, self.n_init * self.n_iter, type(self).__name__) as bar:
            for k, seed in enumerate(seeds):
                values = self._begin(rows, np.random.default_rng(seed), given)
                found = self._climb(rows, self._shapes(values), workers, bar)
                bar.update((k + 1) * self.n_iter - bar.done)
                if best is None or found[1][-1] > best[1][-1]:
                    best = found
        self.__dict__["_values"], history, self.converged_ = best
        self.history_ = np.array(history)
        return self

    def _check_settings(self):
        for name in ("n_states", "n_iter", "n_init"):
            as_size(getattr(self, name), name)
        as_seed(self.random_state, "random_state")
        check_option("missing", self.missing, MISSING)
        self._parameters()

    def _climb(self, rows, values, workers, bar):
        """EM from `values`: the last ones, log likelihoods before each step, whether it settled."""
        history = []
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
    def log_prob(self, sequence, per_step=False):
        """Natural log of the probability (density) of a sequence; see the base class.

        A sequence that the model holds for impossible gets ``-inf``, from its
        first impossible step on.
        """
        values = self._ready()
        rows = Rows.pack([self._rows(self._check(sequence))])
        (steps,), _ = filtered(*self._build(values), rows)
        steps = self._all_steps(steps, sequence)
        return steps if per_step else float(steps.sum())

    def score(self, sequences, y=None):
        """Mean log probability per element in nats, missing ones left out; higher is better."""
        values = self._ready()
        arrays = [self._check(s, f"sequences[{i}]") for i, s in enumerate(self._list(sequences))]
        known = sum(self._known(a) for a in arrays)
        if known == 0:
            raise ValueError("sequences: got no element at all, expected at least one")
        rows = Rows.pack([self._rows(a) for a in arrays])
        logs, _ = filtered(*self._build(values), rows)
        return float(sum(steps.sum() for steps in logs) / known)

    def posteriors(self, sequence):
        """Probability of every state at every step, given the whole sequence.

        Returns
        -------
        ndarray (T, n_states), rows sum to 1
        """
        values = self._ready()
        x = self._rows(self._check(sequence))
        gamma, log_prob = posteriors(*self._build(values), x)
        if log_prob == -np.inf:
            raise ValueError("sequence: has probability 0 under this model, so its states have "
                             "no posterior; log_prob(sequence, per_step=True) shows where")
        return gamma

    def decode(self, sequence):
        """The most probable path of states (Viterbi).

        Returns
        -------
        log_prob : float
            Joint log probability of path and sequence; ``-inf`` if it is impossible.
        path : ndarray (T,) int64
            Of equally probable paths hmmlearn's: the lowest last state, and from there
            back the highest.
        """
        chain, emission = self._build(self._ready())
        log_b = emission.on(self._rows(self._check(sequence))).log_likelihood()
        path = np.empty(len(log_b), np.int64)
        return chain.viterbi(log_b, np.empty_like(log_b), path), path

    # -- state ----------------------------------------------------------------------
    def _ready(self):
        """The values in use, checked; learnt or set."""
        for name in self._parameters():
            check_fitted(self, name)
        values = self._shapes(self.__dict__["_values"])
        self._set_kind(values)
        return values

    def _all_steps(self, steps, sequence):
        return steps

    def _known(self, array):
        return len(array)

    def _get_state(self):
        return super()._get_state() | {"values": dict(self.__dict__.get("_values", {}))}

    def _set_state(self, state):
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


def check_shape(name, value, shape):
    """A parameter of the wrong shape, refused by name."""
    if value.shape != shape:
        raise ValueError(f"{name}: got shape {value.shape}, expected {shape}")
    return value


def check_distribution(name, value, shape):
    """A parameter whose rows are distributions."""
    check_shape(name, value, shape)
    if (value < 0).any():
        raise ValueError(f"{name}: got {value.min():.3g}, expected probabilities >= 0")
    total = value.sum(axis=-1)
    if not np.allclose(total, 1, atol=1e-6, rtol=0):
        worst = total.flat[np.argmax(np.abs(total - 1))]
        raise ValueError(f"{name}: got a row that sums to {worst:.6g}, expected 1; divide by the "
                         "sum")
    return value
