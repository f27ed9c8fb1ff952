"""Fit the models that suit the data, and measure what each makes of its past."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from rnncore.models import (
    AutoRegressive,
    HiddenMarkov,
    Markov,
    Recurrent,
    SwitchingAutoRegressive,
)
from rnncore.recurrent.descriptions import modes

LEAD = 1000  # steps before the held-out part that models may read
PIECE = {False: 1000, True: 50}  # steps of a piece of text, of a series
LAGS = (0, 1, 2, 3, 4, 5, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256)
GAINED = 0.95  # share of what context gains that the memory in steps has to hold


@dataclass(frozen=True)
class Split:
    """A sequence in three parts, one after the other: 80 % to learn, 10 % to choose, 10 % held out.

    Attributes
    ----------
    values : str or ndarray (T, F)
    train_end, test_begin : int
    """

    values: str | np.ndarray
    train_end: int
    test_begin: int

    @classmethod
    def of(cls, values):
        return cls(values, int(0.8 * len(values)), int(0.9 * len(values)))

    @property
    def real(self):
        return not isinstance(self.values, str)

    @property
    def train(self):
        """What is learnt from, in pieces: so models learn what to say when nothing is known."""
        whole, size = self.values[: self.train_end], PIECE[self.real]
        return [whole[i : i + size] for i in range(0, len(whole), size)]

    @property
    def valid(self):
        return self.values[self.train_end : self.test_begin]

    @property
    def test(self):
        """The held-out part with at most `LEAD` steps before it, and how many those are."""
        lead = min(self.test_begin, LEAD)
        return self.values[self.test_begin - lead :], lead

    def choose(self, models):
        """The model that finds the validation part likeliest, given what is before it."""
        lead = min(self.train_end, LEAD)
        values = self.values[self.train_end - lead : self.test_begin]
        return max(models, key=lambda m: float(np.sum(m.log_prob(values, per_step=True)[lead:])))


@dataclass(frozen=True)
class Failure:
    """A model that the data did not allow, and why."""

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
        Of the fit, the choice of its order included.
    loss : float
        Held-out bits a symbol, or root mean squared error of one-step predictions.
    log_loss : float
        Held-out nats a step, of real values a density.
    lags, curve : lists
        Context kept, and the loss with no more than that.
    memory : int
        Steps of context that give 95 % of what context gains.
    notes : list of str
        What the model warned of.
    """

    name: str
    model: object
    seconds: float
    loss: float
    log_loss: float
    lags: list[int] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    memory: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def parameters(self):
        return self.model.n_parameters_


def candidates(split, *, hidden, epochs, seed, missing):
    """``(name, fit)`` of all models for the data; ``fit()`` returns a fitted model.

    A window of real values learns from the training part as one sequence, since every
    piece would lose its first steps; all others learn from the pieces.
    """
    pieces, whole = split.train, [split.values[: split.train_end]]
    if split.real:
        options = missing
        rows = [
            ("AutoRegressive, order 1", lambda: AutoRegressive(1, **options).fit(whole)),
            ("AutoRegressive, BIC", lambda: AutoRegressive("bic", **options).fit(whole)),
            ("HiddenMarkov", lambda: split.choose([
                HiddenMarkov(n, "gaussian", random_state=seed, n_init=3, **options).fit(pieces)
                for n in (2, 4, 8)])),
        ]
        if not missing:  # it does not predict after a window with a hole
            rows.append(("SwitchingAutoRegressive", lambda: split.choose([
                SwitchingAutoRegressive(2, order=k, random_state=seed).fit(whole)
                for k in (1, 2, 3)])))
    else:
        options = {"alphabet": "".join(sorted(set(split.values)))}
        rows = [
            ("Markov, order 1", lambda: Markov(1, smoothing="kneser-ney", **options).fit(pieces)),
            ("Markov", lambda: split.choose([
                Markov(k, smoothing="kneser-ney", **options).fit(pieces)
                for k in (2, 3, 4, 5, 6, 8, 10, 12)])),
            ("HiddenMarkov", lambda: HiddenMarkov(
                32, n_iter=30, random_state=seed, emissionprob_prior=1.01, **options).fit(pieces)),
        ]

    def net(mode):
        model = Recurrent(mode.lower(), hidden, epochs=epochs, seed=seed, **options)
        return model.fit(pieces, valid=[split.valid])

    return rows + [(mode, lambda mode=mode: net(mode)) for mode in modes()]


def held_out(model, split):
    """``(loss, nats a step)`` on the held-out part, given what is before it."""
    values, lead = split.test
    steps = model.log_prob(values, per_step=True)[lead:]
    nats = -float(np.mean(steps))
    if not split.real:
        return nats / math.log(2), nats
    return _rms(values[lead:] - model.one_step(values).mean[lead:]), nats


def context_curve(model, split, positions, lags):
    """The held-out loss when a prediction may see only the last `lag` steps; one a lag.

    A counted window that sees fewer symbols than its order is the chain of that lower order.
    """
    values, losses, whole = split.values, [], model
    for lag in lags:
        if isinstance(whole, Markov) and lag <= whole.order:
            model = Markov(**whole.get_params() | {"order": lag}).fit(split.train)
        ahead = [model.predict(values[max(t - lag, 0) : t]) for t in positions]
        if split.real:
            losses.append(_rms(np.stack([values[t] - p.mean for t, p in
                                         zip(positions, ahead, strict=True)])))
        else:
            at = [model.alphabet_.index(values[t]) for t in positions]
            losses.append(-float(np.mean([math.log2(max(p[k], 1e-300)) for p, k in
                                          zip(ahead, at, strict=True)])))
    return losses


def memory_of(lags, curve):
    """The least context that gives `GAINED` of what all of it gains; 0 where it gains nothing."""
    none, whole = curve[0], curve[-1]
    if none <= whole:
        return 0
    enough = [lag for lag, loss in zip(lags, curve, strict=True)
              if none - loss >= GAINED * (none - whole)]
    return enough[0]


def measure(split, *, hidden=128, epochs=12, seed=0, positions=300, missing=None):
    """Yields a `Result` for every model of the data, a `Failure` where it cannot be fitted.

    Parameters
    ----------
    split : Split
    hidden, epochs : int
        Of the recurrent nets.
    seed : int
    positions : int
        Held-out steps at which the context is cut, evenly spaced.
    missing : dict
        ``{"missing": "mask"}`` where values are missing.
    """
    ends = np.linspace(split.test_begin, len(split.values) - 1, num=min(
        positions, len(split.values) - split.test_begin)).astype(int).tolist()
    lags = [lag for lag in LAGS if lag <= split.test_begin]
    for name, fit in candidates(split, hidden=hidden, epochs=epochs, seed=seed,
                                missing=missing or {}):
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                model = fit()
            except (ValueError, FloatingPointError) as error:
                yield Failure(name, str(error))
                continue
        result = Result(name, model, time.perf_counter() - start, *held_out(model, split))
        result.notes = [str(warning.message) for warning in warned]
        result.lags, result.curve = lags, context_curve(model, split, ends, lags)
        result.memory = memory_of(lags, result.curve)
        yield result


def _rms(error):
    return math.sqrt(np.nanmean(np.square(error)))
