"""Fits the models that suit the data, and measures their loss with the whole context and with less."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numpy as np

from rnncore._progress import progress_bar
from rnncore.models import (
    AutoRegressive,
    HiddenMarkov,
    Markov,
    Recurrent,
    SwitchingAutoRegressive,
)
from rnncore.recurrent.descriptions import modes

from .baselines import Persistence, Units, season

if TYPE_CHECKING:
    from rnncore._typing import Floats, Progress
    from rnncore.models import Gaussian

Model: TypeAlias = AutoRegressive | HiddenMarkov | Markov | Persistence | Recurrent | SwitchingAutoRegressive
Fit: TypeAlias = "Callable[[Progress], Model]"
M = TypeVar("M", bound=Model)
S = TypeVar("S")

LEAD = 1000  # the most steps before the held-out part that are given to a model as context
PIECE = {False: 1000, True: 50}  # steps of a piece of a text, of a series
LAGS = (0, 1, 2, 3, 4, 5, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256)
BLOCKS = 10  # of the held-out steps, for the error of a difference
GAINED = 0.95  # a model's memory is the context that gives this share of the gain of the whole context
BASELINES = ("Persistence", "Seasonal persistence")
UNKNOWNS = 300  # the largest order × columns of an autoregression: its time grows with the square, or faster
SWITCHING = 36  # the same of one whose regimes switch


@dataclass(frozen=True)
class Split:
    """A sequence in three parts, one after the other: 80 % for training, 10 % for choices, 10 % held out.

    Attributes
    ----------
    values : str or ndarray (T, F)
    train_end, test_begin : int
    """

    values: str | Floats
    train_end: int
    test_begin: int

    @classmethod
    def of(cls, values: str | Floats) -> Split:
        """The split of `values`."""
        return cls(values, int(0.8 * len(values)), int(0.9 * len(values)))

    def __repr__(self) -> str:
        kind = "text" if isinstance(self.values, str) else f"values {self.values.shape}"
        return f"Split({kind}, train_end={self.train_end}, test_begin={self.test_begin}, steps={len(self.values)})"

    @property
    def real(self) -> bool:
        """Whether it is a series of real values."""
        return not isinstance(self.values, str)

    @property
    def train(self) -> list[str | Floats]:
        """The training part in pieces, at whose beginnings models learn to predict without a context."""
        whole, size = self.values[: self.train_end], PIECE[self.real]
        return [whole[i : i + size] for i in range(0, len(whole), size)]

    @property
    def valid(self) -> str | Floats:
        """The part for choices."""
        return self.values[self.train_end : self.test_begin]

    @property
    def test(self) -> tuple[str | Floats, int]:
        """The held-out part with at most `LEAD` steps before it, and the number of those steps."""
        lead = min(self.test_begin, LEAD)
        return self.values[self.test_begin - lead :], lead

    def choose(self, models: Sequence[M]) -> M:
        """The model with the highest likelihood of the part for choices, given the steps before it."""
        lead = min(self.train_end, LEAD)
        values = self.values[self.train_end - lead : self.test_begin]
        return max(models, key=lambda m: float(np.sum(m.log_prob(values, per_step=True)[lead:])))


@dataclass(frozen=True)
class Failure:
    """A model that could not be fitted to the data, and the reason."""

    name: str
    reason: str


@dataclass
class Result:
    """One model's row of the table.

    Attributes
    ----------
    name : str
    model : the fitted model
    seconds : float
        Duration of the fit, the choice of its order included.
    loss : float
        Held-out bits per symbol; or the root mean squared error of one-step predictions, in the data's unit for one
        column, and `scaled` for several.
    log_loss : float
        Held-out nats per step; for real values of a density.
    steps : ndarray
        The held-out loss of every step: bits, or the mean squared error over the columns, without a unit; NaN where
        values are missing.
    lags, curve : lists
        Lengths of context, and the loss with each.
    memory : int
        Steps of context that give 95 % of the gain of the whole context.
    notes : list of str
        The model's warnings.
    errors : list of float
        The root mean squared error of each column in its own unit.
    scaled : float
        The root mean squared error relative to that of persistence in the training part, over all columns.
    """

    name: str
    model: Model
    seconds: float
    loss: float
    log_loss: float
    steps: Floats
    lags: list[int] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    memory: int = 0
    notes: list[str] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    scaled: float = math.nan

    @property
    def parameters(self) -> int:
        """Number of parameters of the model."""
        return self.model.n_parameters_

    def __repr__(self) -> str:
        return (f"Result({self.name}, loss={self.loss:.4g}, parameters={self.parameters:,}, memory={self.memory}, "
                f"seconds={self.seconds:.1f})")


def candidates(
    split: Split, *, hidden: int, epochs: int, seed: int, missing: Mapping[str, str]
) -> list[tuple[str, Fit]]:
    """``(name, fit)`` of all models for the data; ``fit(progress)`` returns a fitted model.

    Models with a window of real values are fitted to the training part as one sequence, since the first
    steps of every piece would be lost; all others are fitted to the pieces.
    """
    pieces, whole = split.train, [split.values[: split.train_end]]
    rows: list[tuple[str, Fit]]
    options: dict[str, Any]
    if isinstance(split.values, np.ndarray):
        options = dict(missing)
        train, width = split.values[: split.train_end], split.values.shape[1]
        orders = [k for k in (1, 2, 3) if k * width <= SWITCHING]
        most, steps = None, len(train)      # by default an order of 10·log₁₀ of the steps
        if width * 10 * math.log10(steps) > UNKNOWNS:
            most = max(min(UNKNOWNS // width, (steps - 2) // (2 * width + 1)), 1)
        rows = [
            ("Persistence", lambda bar: Persistence().fit([train])),
            ("Seasonal persistence", lambda bar: Persistence(season(train)).fit([train])),
            ("AutoRegressive, order 1", lambda bar: _narrow(
                AutoRegressive(1, **options), width).fit(whole, progress=bar)),
            ("AutoRegressive, BIC", lambda bar: _narrow(
                AutoRegressive("bic", max_order=most, **options), width).fit(whole, progress=bar)),
            ("HiddenMarkov", lambda bar: split.choose([
                HiddenMarkov(n, "gaussian", random_state=seed, n_init=3, **options).fit(pieces, progress=bar)
                for n in (2, 4, 8)])),
            ("SwitchingAutoRegressive", lambda bar: split.choose([
                _narrow(SwitchingAutoRegressive(2, order=k, random_state=seed), width, SWITCHING).fit(
                    _complete(whole, bool(missing)), progress=bar)
                for k in orders or [1]])),
        ]
    else:
        options = {"alphabet": "".join(sorted(set(split.values)))}
        rows = [
            ("Markov, order 1", lambda bar: Markov(1, smoothing="kneser-ney", **options).fit(pieces, progress=bar)),
            ("Markov", lambda bar: split.choose([
                Markov(k, smoothing="kneser-ney", **options).fit(pieces, progress=bar)
                for k in (2, 3, 4, 5, 6, 8, 10, 12)])),
            ("HiddenMarkov", lambda bar: HiddenMarkov(
                32, n_iter=30, random_state=seed, emissionprob_prior=1.01, **options).fit(pieces, progress=bar)),
        ]

    def net(mode: str) -> Fit:
        return lambda bar: Recurrent(mode.lower(), hidden, epochs=epochs, seed=seed, **options).fit(
            pieces, valid=[split.valid], progress=bar)

    return rows + [(mode, net(mode)) for mode in modes()]


def _narrow(model: M, width: int, most: int = UNKNOWNS) -> M:
    """A regression, refused if it has too many columns."""
    if width > most:
        raise ValueError(f"a step of {width:,} columns has {width * width:,} coefficients, which would take too long: "
                         f"name up to {most} with --columns")
    return model


def _complete(sequences: S, missing: bool) -> S:
    """The sequences, refused for a model that does not predict after a window with missing values."""
    if missing:
        raise ValueError("it cannot predict after missing values, which the data have")
    return sequences


def held_out(model: Model, split: Split, factor: Floats | float = 1.0) -> tuple[float, float, Floats]:
    """``(loss, nats per step, loss of every step)`` on the held-out part, given the steps before it.

    The errors of real values are multiplied by `factor`, one for each column; the loss of every step has no unit.
    """
    values, lead = split.test
    steps = model.log_prob(values, per_step=True)[lead:]
    nats = -float(np.mean(steps))
    if isinstance(values, str):
        return nats / math.log(2), nats, -steps / math.log(2)
    error = _errors(model, values)[lead:]
    known = ~np.isnan(error)
    relative = factor / np.max(factor)      # the squares of large values would be infinite
    with np.errstate(invalid="ignore"):
        by_step: Floats = np.square(np.where(known, relative * error, 0.0)).sum(1) / known.sum(1)
    return _rms(factor * error), nats, by_step


def _errors(model: Model, values: Floats) -> Floats:
    """The errors of one-step predictions, (T, F)."""
    errors: Floats = values - cast("Gaussian", model.one_step(values)).mean
    return errors


def is_behind(result: Result, best: Result) -> bool:
    """Whether a model's held-out loss is larger than another's by more than twice the standard error of the difference.

    The differences of neighbouring steps depend on each other, so the error is that of the means of `BLOCKS` blocks.
    """
    difference = result.steps - best.steps
    difference = difference[~np.isnan(difference)]
    if len(difference) < 2:
        return False
    blocks = [block.mean() for block in np.array_split(difference, min(BLOCKS, len(difference)))]
    return float(np.mean(blocks)) > 2 * float(np.std(blocks, ddof=1)) / math.sqrt(len(blocks))


def context_curve(
    model: Model, split: Split, positions: Sequence[int], lags: Sequence[int], factor: Floats | float = 1.0,
    progress: Progress = False,
) -> list[float]:
    """The held-out loss of predictions from only the last `lag` steps, one per lag.

    For a Markov chain of a higher order than the lag, it is the loss of a chain whose order is the lag. The errors of
    real values are multiplied by `factor`.
    """
    values, whole = split.values, model
    losses: list[float] = []
    for lag in _shown(lags, progress, "shorter contexts"):
        if isinstance(whole, Markov) and lag <= whole.order:
            model = Markov(**whole.get_params() | {"order": lag}).fit(split.train)
        ahead = [model.predict(values[max(t - lag, 0) : t]) for t in positions]
        if isinstance(values, str):
            alphabet = cast(str, cast(Any, model).alphabet_)
            at = [alphabet.index(values[t]) for t in positions]
            losses.append(-float(np.mean([math.log2(max(p[k], 1e-300)) for p, k in
                                          zip(cast("list[Floats]", ahead), at, strict=True)])))
        else:
            losses.append(_rms(factor * np.stack([values[t] - p.mean for t, p in
                                                  zip(positions, cast("list[Gaussian]", ahead), strict=True)])))
    return losses


def memory_of(lags: Sequence[int], curve: Sequence[float]) -> int:
    """The shortest context that gives `GAINED` of the gain of the whole context; 0 if there is no gain."""
    none, whole = curve[0], curve[-1]
    if none <= whole:
        return 0
    enough = [lag for lag, loss in zip(lags, curve, strict=True)
              if none - loss >= GAINED * (none - whole)]
    return enough[0]


def measure(
    split: Split,
    *,
    hidden: int = 128,
    epochs: int = 12,
    seed: int = 0,
    positions: int = 300,
    missing: Mapping[str, str] | None = None,
    progress: Progress = False,
) -> Iterator[Result | Failure]:
    """Yields a `Result` for every model of the data, or a `Failure` if it cannot be fitted.

    Models of real values are fitted to standardised ones, see `Units`; losses are those of the data's units.

    Parameters
    ----------
    split : Split
    hidden, epochs : int
        Of the recurrent nets.
    seed : int
    positions : int
        The largest number of held-out steps, evenly spaced, that are predicted from a shorter context; of many columns
        fewer steps are.
    missing : dict
        ``{"missing": "mask"}`` if values are missing.
    progress : bool, None or callable
        Updated while a model is fitted, and while its contexts are cut.
    """
    units, given, factor = None, split, np.ones(1)
    if isinstance(split.values, np.ndarray):
        units = Units.of(split.values, split.train_end)
        given, factor = replace(split, values=units.standardised(split.values)), units.factor
        width = split.values.shape[1]
        positions = min(positions, max(9000 // (width * width if missing else width), 5))
    ends = np.linspace(split.test_begin, len(split.values) - 1, num=min(
        positions, len(split.values) - split.test_begin)).astype(int).tolist()
    lags = [lag for lag in LAGS if lag <= split.test_begin]
    for name, fit in candidates(given, hidden=hidden, epochs=epochs, seed=seed, missing=missing or {}):
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                with _Bars(progress, name) as bar:
                    model = fit(bar)
                result = Result(name, model, time.perf_counter() - start, *held_out(model, given, factor))
                result.lags = lags
                result.curve = context_curve(model, given, ends, lags, factor, progress)
            except (ValueError, ArithmeticError, MemoryError) as error:
                yield Failure(name, str(error) or type(error).__name__)
                continue
        if not np.isfinite([result.loss, result.log_loss, *result.curve]).all():
            yield Failure(name, "its held-out loss is not finite")
            continue
        result.notes = list(dict.fromkeys(str(warning.message) for warning in warned))
        result.memory = memory_of(lags, result.curve)
        if units is not None:
            _in_units(result, given, units)
        yield result


def _in_units(result: Result, split: Split, units: Units) -> None:
    """Add what depends on the units of real values: the error of each column, and the density in these units."""
    values, lead = cast("tuple[Floats, int]", split.test)
    errors = _errors(result.model, values)[lead:]
    squares = np.nanmean(np.square(errors), axis=0)
    result.errors = (np.sqrt(squares) * units.scale).tolist()
    result.scaled = _rms(errors * units.scale / units.naive)
    there = ~np.isnan(values[lead:])
    result.log_loss += float((there * np.log(units.scale)).sum() / len(there))


class _Bars:
    """One bar after the other for the fits of one model: a callable for their `progress`, or False for none."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label
        self._bar: progress_bar | None = None
        self._done = 0

    def __enter__(self) -> Progress:
        return False if self._progress is False else self._update

    def _update(self, done: int, total: int, info: dict[str, Any]) -> None:
        if self._bar is None or done <= self._done:     # the next fit
            self.__exit__()
            self._bar = progress_bar(self._progress, total, self._label, leave=False)
            self._done = 0
        self._bar.update(done - self._done, **info)
        self._done = done

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.__exit__()
        self._bar = None


def _shown(items: Sequence[int], progress: Progress, label: str) -> Iterator[int]:
    with progress_bar(progress, len(items), label, leave=False) as bar:
        for item in items:
            yield item
            bar.update()


def _rms(error: Floats) -> float:
    """The root mean square of what is known; of large values, too."""
    largest = float(np.nanmax(np.abs(error), initial=0.0))
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(np.nanmean(np.square(error / largest)))
