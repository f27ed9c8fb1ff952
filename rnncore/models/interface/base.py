"""The interface that all sequence models share.

A model is made with its settings, learns from a list of sequences, and then
answers the same five questions::

    fit(sequences) ──► log_prob(sequence)     how likely is this?
                       predict(context)       what comes next?
                       sample(length)         show me one
                       perplexity(sequences)  how surprised are you, per element?
                       score(sequences)       mean log probability per element

A model defines `fit`, `log_prob`, `predict` and `sample`. The other methods are defined here, and those
that do not concern sequences in ``estimator.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, cast, overload

import numpy as np

from .estimator import (
    Estimator,
    NotFittedError,
    check_fitted,
    check_option,
    generator,
    warn_of_little_data,
)
from .plain import plain
from .sequences import KINDS, MISSING, as_codes, as_list, as_real, guess_kind, is_array, learn_symbols, symbols_of

if TYPE_CHECKING:
    from typing import Self

    from rnncore._typing import Array, Floats, Progress, RandomSource
    from rnncore.io.fields import Field

    from .sequences import Kind, Missing, SequenceLike, SequencesLike, Symbols

__all__ = ["KIND_NAMES", "Gaussian", "NotFittedError", "SequenceModelBase", "SequenceReader", "check_fitted",
           "check_option", "generator", "warn_of_little_data"]


KIND_NAMES = ("kind_", "n_features_", "alphabet_")  # the attributes that `SequenceReader` learns


class Gaussian(NamedTuple):
    """A prediction of real values: mean and variance of each feature."""

    mean: Floats
    variance: Floats


class SequenceReader(Estimator):
    """What a model has learnt about the form of its sequences, and the checks of later ones.

    Attributes
    ----------
    kind_ : {"text", "ids", "real"}
    alphabet_ : str or int
        The characters, or the number of integer symbols.
    n_features_ : int
        F of real values.
    """

    _masks_symbols: ClassVar[bool] = False      # whether missing="mask" also allows missing symbols
    kind_: Kind
    alphabet_: str | int
    n_features_: int

    @property
    def _real(self) -> bool:
        check_fitted(self, "kind_")
        return self.kind_ == "real"

    @property
    def _alphabet(self) -> Symbols:
        """The `Alphabet` or `Integers` of a model of symbols (made anew after `load`)."""
        check_fitted(self, "alphabet_")
        cached: Symbols | None = self.__dict__.get("_alphabet_cache")
        if cached is None or cached.symbols != self.alphabet_:
            cached = self.__dict__["_alphabet_cache"] = symbols_of(self.alphabet_)
        return cached

    def _read(self, sequences: SequencesLike, kinds: Sequence[Kind] = KINDS) -> list[Array]:
        """Check training sequences; sets `kind_` and `alphabet_` or `n_features_`.

        Returns the list of int64 ``(T,)`` or float64 ``(T, F)`` arrays. Subclasses name the `kinds` that
        they accept. The settings ``alphabet`` and ``missing`` are used if the model has them.
        """
        missing: Missing = getattr(self, "missing", "refuse")
        check_option("missing", missing, MISSING)
        symbols_only = "real" not in kinds
        real_only = list(kinds) == ["real"]
        given = getattr(self, "alphabet", None)
        as_rows = symbols_only or isinstance(given, int)
        if not (real_only or as_rows) and is_array(sequences):
            array = plain(sequences, "sequences")
            if array.ndim == 2 and array.dtype.kind in "iu":
                raise ValueError(
                    f"sequences: got integers of shape {array.shape}, which may be {len(array)} sequences of "
                    f"symbols, or one of real values with {array.shape[1]} features; give list(x) for symbols, or "
                    "x.astype(float) for real values")
        items = as_list(sequences, real=not as_rows)
        if not items:
            raise ValueError("sequences: got an empty list, expected at least one sequence")
        kind = "real" if real_only else guess_kind(items)
        if kind not in kinds and not (symbols_only and kind == "real"):
            raise TypeError(f"{type(self).__name__}.fit: got {kind} sequences, expected "
                            + " or ".join(kinds))
        if kind == "real" and not symbols_only:
            features = {np.shape(s)[1] if np.ndim(s) == 2 else 1 for s in items
                        if np.ndim(s) == 2 or len(s)}
            if len(features) > 1:
                raise ValueError(f"sequences: got {sorted(features)} features, expected the same "
                                 "number F in every (T, F) sequence")
            width = features.pop() if features else 1
            arrays: list[Array] = [as_real(s, width, missing=missing, name=f"sequences[{i}]")
                                   for i, s in enumerate(items)]
            self.kind_, self.n_features_ = "real", width
            self.__dict__.pop("alphabet_", None)
            return arrays
        gaps: Missing = missing if self._masks_symbols else "refuse"
        symbols = learn_symbols(items, missing=gaps) if given is None else symbols_of(given)
        codes: list[Array] = [as_codes(s, symbols, missing=gaps, name=f"sequences[{i}]") for i, s in enumerate(items)]
        self.alphabet_ = symbols.symbols
        self.kind_ = "text" if isinstance(self.alphabet_, str) else "ids"
        self.__dict__.pop("n_features_", None)
        return codes

    def _list(self, sequences: SequencesLike, name: str = "sequences") -> list[Any]:
        """Split into single sequences; a 2-D array is read as this fitted model's kind requires."""
        return as_list(sequences, real=self._real, name=name)

    def _check(self, sequence: SequenceLike | None, name: str = "sequence") -> Array:
        """One sequence (None: empty) as this fitted model's int64 or float64 array."""
        if self._real:
            return as_real([] if sequence is None else sequence, self.n_features_,
                           missing=getattr(self, "missing", "refuse"), name=name)
        return as_codes([] if sequence is None else sequence, self._alphabet, name=name,
                        missing=getattr(self, "missing", "refuse") if self._masks_symbols else "refuse")

    def _set_kind_from(self, state: Field, kinds: Sequence[Kind] = KINDS) -> None:
        """Restore, from a file, the form of the sequences that its model was fitted on."""
        self.kind_ = state["kind_"].text(kinds)
        if self.kind_ == "real":
            self.n_features_ = state["n_features_"].whole(1)
            return
        alphabet = state["alphabet_"]
        self.alphabet_ = alphabet.text() if self.kind_ == "text" else alphabet.whole(1)
        if not self.alphabet_:
            raise alphabet.refuse("at least one character")

    @property
    def n_symbols_(self) -> int:
        """The number of symbols in the alphabet of a model of text or integers."""
        return self._alphabet.size


class SequenceModelBase(SequenceReader):
    """Base of the sequence models: what they share, written once.

    A subclass defines `fit`, `log_prob`, `predict` and `sample`, calls
    `_check_no_targets` and `_read` at the start of `fit`, and `_check` on every sequence afterwards.
    """

    _may_not_predict: ClassVar[bool] = False    # whether `one_step` is NaN for steps after a missing value

    # -- to be defined by every model ----------------------------------------
    def fit(self, sequences: SequencesLike, y: None = None, *, progress: Progress = False) -> Self:
        """Learn from a list of sequences; returns self. `y` is None; scikit-learn's pipelines give it."""
        raise NotImplementedError

    @overload
    def log_prob(self, sequence: SequenceLike, per_step: Literal[False] = False) -> float: ...
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: Literal[True]) -> Floats: ...
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: bool) -> float | Floats: ...
    def log_prob(self, sequence: SequenceLike, per_step: bool = False) -> float | Floats:
        """Natural log of the probability (density) of a sequence.

        Parameters
        ----------
        sequence : str, integer array or (T, F) real array
        per_step : bool
            False gives the joint (float). True gives ``log p(x_t | x_<t)`` for
            every step, ``(T,)``; their sum is the joint.
        """
        raise NotImplementedError

    def predict(self, context: SequenceLike | None = None) -> Floats | Gaussian:
        """The next element's distribution after `context` (None: the start).

        Returns
        -------
        ndarray ``(n_symbols,)`` of probabilities, or `Gaussian` with ``(F,)`` mean
        and variance for real values
        """
        raise NotImplementedError

    def sample(self, length: int, context: SequenceLike | None = None, seed: RandomSource = None) -> str | Array:
        """Draw `length` elements that follow `context`; the same seed gives the same bits.

        Returns
        -------
        str, integer array ``(length,)`` or real array ``(length, F)``: the form of the
        training sequences. The context is not part of it.
        """
        raise NotImplementedError

    # -- shared --------------------------------------------------------------
    def perplexity(self, sequences: SequencesLike, **inputs: SequencesLike | None) -> float:
        """``exp`` of minus the mean log probability per element, over all elements.

        For symbols, 1 is certainty and `n_symbols` is a uniform guess. For real values the same
        formula is applied to densities, so the result depends on the unit of the data;
        `mean_squared_error` is usually the more useful measure there.
        """
        return float(np.exp(-self.score(sequences, None, **inputs)))

    def _check_no_targets(self, y: object) -> None:
        """Refuse a second argument of `fit` or `score`, which exists for scikit-learn's pipelines and has no effect."""
        if y is None:
            return
        inputs = "exog" in inspect.signature(type(self).fit).parameters
        raise TypeError(
            f"y: got a {type(y).__name__}, expected None: {type(self).__name__} learns from the sequences alone; "
            + ("did you mean exog=? SequenceClassifier learns labels" if inputs else
               "give several sequences as a list, [x1, x2]"))

    def score(self, sequences: SequencesLike, y: None = None, **inputs: SequencesLike | None) -> float:
        """Mean log probability per element in nats, over all elements; higher is better.

        `inputs` are further arguments of `log_prob`, each a list with one item per
        sequence (``exog=[...]`` of `AutoRegressive`).
        """
        self._check_no_targets(y)
        sequences = self._list(sequences)
        steps = sum(len(s) for s in sequences)
        if steps == 0:
            raise ValueError("sequences: got no element at all, expected at least one")
        log_prob: Callable[..., float] = self.log_prob
        pairs = zip(sequences, _each(inputs, len(sequences)), strict=True)
        return sum(log_prob(s, **each) for s, each in pairs) / steps

    def one_step(self, sequence: SequenceLike) -> Floats | Gaussian:
        """`predict` at every step of a sequence from its own past.

        Returns
        -------
        ndarray ``(T, n_symbols)``, or `Gaussian` with ``(T, F)`` mean and variance
        """
        array = self._check(sequence)
        if self._real:
            ahead = [cast(Gaussian, self.predict(array[:t])) for t in range(len(array))]
            empty = np.empty((0, self.n_features_))
            return Gaussian(np.stack([p.mean for p in ahead]) if ahead else empty,
                            np.stack([p.variance for p in ahead]) if ahead else empty)
        decode = self._alphabet.decode
        steps = [cast("Floats", self.predict(decode(array[:t]))) for t in range(len(array))]
        return np.stack(steps) if steps else np.empty((0, self._alphabet.size))

    def mean_squared_error(self, sequences: SequencesLike, **inputs: SequencesLike | None) -> float:
        """Mean squared error of the one-step predictions of real values.

        Over all sequences, steps and features; missing values are left out.
        """
        arrays = [self._check(s) for s in self._list(sequences)]
        if not self._real:
            raise TypeError(f"{type(self).__name__}.mean_squared_error: fitted on symbols, expected real "
                            "values; perplexity is the measure for symbols")
        one_step = cast(Callable[..., Gaussian], self.one_step)
        pairs = zip(arrays, _each(inputs, len(arrays)), strict=True)
        parts = [s - one_step(s, **each).mean for s, each in pairs]
        missing = parts if self._may_not_predict else arrays
        errors = np.concatenate([np.empty(0), *(p[~np.isnan(m)] for p, m in zip(parts, missing, strict=True))])
        if errors.size == 0:
            raise ValueError("sequences: got no value at all, expected at least one")
        return float(np.mean(errors**2))


def _each(inputs: dict[str, SequencesLike | None], count: int) -> list[dict[str, Any]]:
    """Further arguments, each a list over sequences, as one dict per sequence."""
    given = {name: as_list(value, real=True, name=name) for name, value in inputs.items()
             if value is not None}
    for name, items in given.items():
        if len(items) != count:
            raise ValueError(f"{name}: got {len(items)} items, expected {count}, one per sequence")
    return [{name: items[i] for name, items in given.items()} for i in range(count)]
