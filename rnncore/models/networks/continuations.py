"""What may follow a context, by a recurrent net: samples, forecasts, and the most probable continuation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np

from rnncore import _engine
from rnncore._checks import as_number, as_size
from rnncore.models.interface.base import check_fitted, generator
from rnncore.models.interface.estimator import unmoved_by_errors
from rnncore.models.interface.exog import TakesExog
from rnncore.models.interface.forecasts import SampledForecast
from rnncore.nn import log_softmax
from rnncore.nn.state import take_rows

from .feed import RealFeed

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Floats, RandomSource, State
    from rnncore.models.interface.sequences import Codes, Missing, SequenceLike
    from rnncore.nn import SequenceModel

    from .feed import SymbolFeed

# So many paths go through the network as a stream, which uses one thread; more of them as a batch. Same bits.
STREAMED = 8


class Continues(TakesExog):
    """Continuations by a network whose output at a step is the distribution of the next element.

    A subclass has the attributes below and defines `_feed`, the form of the network's input, and `_absorb`, which reads
    a context. Elements are drawn one after the other, for all paths at once.
    """

    missing: Missing
    network_: SequenceModel
    variance_: Floats

    # -- to be defined by a model ------------------------------------------------------
    def _feed(self) -> SymbolFeed | RealFeed:
        """The form of the network's input."""
        raise NotImplementedError

    def _absorb(self, context: Array, inputs: Floats) -> tuple[Array, State]:
        """``(output (1, O), state)`` after START and the whole context; the output is that of the network itself.

        `inputs` has the exogenous inputs of the context and of the step after it.
        """
        raise NotImplementedError

    # -- continuations -------------------------------------------------------------------
    def forecast(
        self,
        context: SequenceLike | None,
        steps: int,
        *,
        paths: int = 1000,
        exog: ArrayLike | None = None,
        level: float = 0.95,
        seed: RandomSource = None,
    ) -> SampledForecast:
        """Forecast `steps` elements after `context`, with intervals from sampled continuations.

        Every path draws one element after the other: the network's prediction, plus noise of the variance
        `variance_`. All paths go through the network as one batch. For the path of predictions without noise see
        `sample`, with ``temperature=0``.

        Parameters
        ----------
        context : (T, F) real array
            None is the beginning of a sequence.
        steps : int
        paths : int
            Number of continuations. The ends of an interval have the random error of quantiles of so many values.
        exog : (T + steps, E) real array
            The inputs of the context and of the steps ahead, if the model was fitted with some.
        level : float
            Probability that an interval contains its value, given the model.
        seed : int, optional
            The same seed gives the same bits.

        Returns
        -------
        SampledForecast
            Its ``quantile`` gives other intervals. Where an output of the network is NaN or infinite, all fields are.

        Examples
        --------
        >>> import numpy as np
        >>> from rnncore.models import Recurrent
        >>> x = np.sin(0.3 * np.arange(300)) + 0.1 * np.random.default_rng(0).normal(size=300)
        >>> model = Recurrent("gru", 16, epochs=20, lr=0.02, seed=0).fit([x])
        >>> ahead = model.forecast(x, 10, paths=200, level=0.9, seed=0)
        >>> ahead.mean.shape, ahead.paths.shape, bool((ahead.lower < ahead.upper).all())
        ((10, 1), (200, 10, 1), True)
        """
        if not self._real:
            raise TypeError("forecast: fitted on symbols, expected real values; forecast_proba gives the probabilities "
                            "of the symbols ahead, and sample draws a continuation")
        past = self._check(context, "context")
        steps, level = as_size(steps, "steps", least=0), as_number(level, "level", above=0, below=1)
        paths = as_size(paths, "paths", also="sample(steps, context, temperature=0) for the path without noise")
        inputs, rng = self._check_exog(exog, len(past) + steps, missing=self.missing), generator(seed)
        F = self.n_features_
        drawn, mean, covariance = np.empty((paths, steps, F)), np.empty((steps, F)), np.empty((steps, F, F))
        with unmoved_by_errors(rng):
            for t, expected in self._continue(past, steps, paths, inputs, drawn):
                variance = self._variance_after(past, t)
                mean[t] = expected.mean(axis=0)
                covariance[t] = np.diag(variance) + np.cov(expected.T, bias=True)
                drawn[:, t] = expected + np.sqrt(variance) * rng.standard_normal((paths, F))
        lower, upper = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return SampledForecast(mean, lower, upper, covariance, drawn)

    def forecast_proba(
        self, context: SequenceLike | None, steps: int, *, paths: int = 1000, seed: RandomSource = None
    ) -> Floats:
        """Probabilities of the symbols at each of the `steps` steps after `context`.

        They are the mean, over sampled continuations, of the network's probabilities at a step; those of the first
        step have no random error.

        Parameters
        ----------
        context : str or integer array
        steps : int
        paths : int
            Number of continuations.
        seed : int, optional
            The same seed gives the same bits.

        Returns
        -------
        ndarray (steps, n_symbols)

        Raises
        ------
        ValueError
            An output of the network is NaN or infinite, as where its weights are: no symbol can be drawn then.

        Examples
        --------
        >>> from rnncore.models import Recurrent
        >>> model = Recurrent("gru", 16, epochs=20, window=16, lr=0.02, seed=0).fit(["abcd" * 200])
        >>> model.forecast_proba("abcdab", 2, seed=0).argmax(axis=1)        # c, d
        array([2, 3])
        """
        if self._real:
            raise TypeError("forecast_proba: fitted on real values, expected symbols; forecast is for real values")
        past = self._check(context, "context")
        steps, paths, rng = as_size(steps, "steps", least=0), as_size(paths, "paths"), generator(seed)
        probabilities = np.empty((steps, self._alphabet.size))
        drawn = np.empty((paths, steps), np.int64)
        with unmoved_by_errors(rng):
            for t, output in self._continue(past, steps, paths, np.empty((len(past) + steps, 0)), drawn):
                each = np.exp(log_probabilities(output))
                probabilities[t] = each.mean(axis=0)
                ladder = np.cumsum(each, axis=1)
                below = ladder <= rng.random((paths, 1)) * ladder[:, -1:]
                drawn[:, t] = np.minimum(below.sum(axis=1), self._alphabet.size - 1)
        return probabilities

    def _continue(
        self, past: Array, steps: int, paths: int, inputs: Floats, drawn: Array
    ) -> Iterator[tuple[int, Array]]:
        """Yields ``(t, output)`` for every step after `past`; the caller then writes ``drawn[:, t]``.

        The output is ``(1, O)`` at the first step, and ``(paths, O)`` at the others; that of real values is what the
        network expects, in the data's units.
        """
        begin = len(past)
        if steps == 0:
            return
        output, state = self._absorb(past, inputs[: begin + 1])
        last = self._last_known(past) if self._real else None
        yield 0, output if last is None else self._in_units(output, last)
        state = take_rows(state, np.zeros(paths, np.intp))
        stream, feed = self.network_.stream(paths, state) if paths <= STREAMED else None, self._feed()
        for t in range(1, steps):
            elements = drawn[:, t - 1]
            if isinstance(feed, RealFeed):
                x = _encoded(feed, elements, inputs[begin + t], last)
            else:
                x = feed.encode(elements)
            if stream is not None:
                output = stream.step(x)
            else:
                (output,), state = self.network_(x[None], state)
            last = None if last is None else elements
            yield t, output if last is None else self._in_units(output, last)

    def sample(
        self,
        length: int,
        context: SequenceLike | None = None,
        seed: RandomSource = None,
        *,
        exog: ArrayLike | None = None,
        temperature: float = 1.0,
    ) -> str | Codes | Floats:
        """Draw `length` elements that follow `context`, reproducible from `seed`.

        Parameters
        ----------
        exog : (T + length, E) real array
            The inputs of the context and of the drawn steps, if the model was fitted with some.
        temperature : float
            Log probabilities are divided by it, and the deviation of real values is multiplied
            by it; 0 always takes the most probable element.
        """
        past = self._check(context, "context")
        length, rng = as_size(length, "length", least=0), generator(seed)
        temperature = as_number(temperature, "temperature", least=0)
        inputs = self._check_exog(exog, len(past) + length, missing=self.missing)
        drawn: Array = np.empty((1, length, *past.shape[1:]), past.dtype)
        with unmoved_by_errors(rng):
            uniforms = iter([] if self._real or temperature == 0 else rng.random(length).tolist()).__next__
            for t, outputs in self._continue(past, length, 1, inputs, drawn):
                output = outputs[0]
                if self._real:
                    deviation = np.sqrt(self._variance_after(past, t))
                    noise = rng.standard_normal(self.n_features_)
                    drawn[0, t] = output + temperature * deviation * noise
                else:
                    drawn[0, t] = _engine.draw(output, temperature, uniforms)
        return drawn[0] if self._real else self._alphabet.decode(drawn[0])

    def beam(
        self, length: int, context: SequenceLike | None = None, width: int = 8
    ) -> tuple[str | Codes, float]:
        """The most probable continuation that a beam search with `width` candidates per step finds.

        Returns
        -------
        continuation : str or integer array
        log_prob : float
            Of the continuation, given the context.

        Raises
        ------
        ValueError
            An output of the network is NaN or infinite.
        """
        if self._real:
            raise TypeError("beam: fitted on real values, expected symbols; sample(temperature=0) "
                            "gives the most probable continuation of real values")
        length, width = as_size(length, "length", least=0), as_size(width, "width")
        past = self._check(context, "context")
        output, state = self._absorb(past, np.empty((len(past) + 1, 0)))
        logs, score, feed = log_probabilities(output), np.zeros(1), self._feed()
        paths, size = np.empty((1, 0), np.int64), self._alphabet.size
        for t in range(length):
            joint = (score[:, None] + logs).ravel()
            best = np.argsort(-joint, kind="stable")[:width]
            rows, symbols = np.divmod(best, size)
            score = joint[best]
            paths = np.concatenate([paths[rows], symbols[:, None]], axis=1)
            if t < length - 1:
                (output,), state = self.network_(feed.encode(symbols)[None], take_rows(state, rows))
                logs = log_probabilities(output)
        return self._alphabet.decode(paths[0]), float(score[0])

    def _real_feed(self) -> RealFeed:
        """The form of the input of a model of real values."""
        return cast(RealFeed, self._feed())

    def _last_known(self, past: Floats) -> Floats:
        """The last known value of every feature after `past`, ``(1, F)``; NaN where there is none."""
        return self._real_feed().last_known(past, len(past), len(past) + 1)

    def _in_units(self, output: Array, last: Floats) -> Floats:
        """Real values in the data's units, from the network's outputs and the last known values ``(..., F)``."""
        return self._real_feed().in_units(output, last)

    def _variance_after(self, past: Floats, t: int = 0) -> Floats:
        """The variance ``(F,)`` of the step that is `t` steps after `past` and its next one."""
        check_fitted(self, "variance_")
        if t:
            later: Floats = self.variance_[1]
            return later
        return self._variance_of(self._last_known(past)[0])

    def _variance_of(self, last: Floats) -> Floats:
        """The variance ``(..., F)`` of steps by the last known value before them."""
        check_fitted(self, "variance_")
        variance: Floats = np.where(np.isnan(last), self.variance_[0], self.variance_[1])
        return variance


def log_probabilities(output: Array) -> Floats:
    """The log probabilities of symbols or labels; NaN is refused, of which no largest can be chosen, and none drawn."""
    with np.errstate(invalid="ignore"):
        logs = log_softmax(output)
    if np.isnan(logs).any():
        raise ValueError("logits: got NaN or infinity from the network, expected finite numbers; its weights or its "
                         "inputs are not finite")
    return logs


def _encoded(feed: RealFeed, elements: Array, inputs: Floats, before: Floats | None) -> Array:
    """The network's input for real values of one more step in every row.

    `inputs` ``(E,)`` are the exogenous inputs of the step that the output predicts. `before` ``(B, F)`` or ``(1, F)``
    are the last known values before these.
    """
    x = feed.encode(elements, before)
    if feed.exog is not None:
        known = feed.exog.encode(inputs)
        x = np.concatenate([x, np.broadcast_to(known, (len(x), len(known)))], axis=1)
    return x
