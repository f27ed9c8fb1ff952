"""A recurrent net as a sequence model: its state is its memory of the past.

    x_{t-1} ─ embedding ─ RNN | GRU | LSTM ─ linear ─ softmax over symbols, or mean of real values
    u_t ──────────────────┘ exogenous inputs of real values

Training is truncated back-propagation through time over ragged sequences: every
lane (see ``feed.py``) carries its state from window to window and starts from zero
at a new sequence. A long sequence is cut into pieces that fill the lanes, so the network
learns START as "nothing is known about earlier elements".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, overload

import numpy as np

from rnncore._checks import as_size
from rnncore.models.interface.base import (
    KIND_NAMES,
    Gaussian,
    check_fitted,
    generator,
)
from rnncore.models.interface.weights import as_sample_weight
from rnncore.nn import log_softmax
from rnncore.nn.state import zero_rows
from rnncore.optim import Adam
from rnncore.train import fit_epochs

from .build import (
    NAMES,
    SCALES,
    build_network,
    check_network,
    feed_of,
    history_from,
    learn_feed,
    network_from,
    network_state,
    scale_from,
)
from .continuations import Continues
from .feed import TARGETS

if TYPE_CHECKING:
    from typing import Self

    from rnncore._typing import Array, ArrayLike, Bools, Floats, Progress, State
    from rnncore.data import LazyWindows, Window
    from rnncore.io.fields import Field
    from rnncore.models.interface.estimator import Names
    from rnncore.models.interface.sequences import Missing, SequenceLike, SequencesLike
    from rnncore.train.loop import Callback

    from .feed import RealFeed, SymbolFeed, Target

    Item: TypeAlias = tuple[Array, float]       # a sequence with its exogenous inputs, and its weight

CHUNK = 1024  # steps of one forward pass


class Recurrent(Continues):
    """RNN, GRU or LSTM that predicts the next symbol or the next real values.

    Parameters
    ----------
    cell : str
        "rnn", "gru", "lstm", or another name, see `rnncore.nn.make_layer`.
    hidden_size, num_layers : int
    layer_options : dict, optional
        More arguments of the layer's class, as in ``{"peepholes": True, "proj_size": 16}``: ``bias``, and those of
        `LSTM`, `GRU` or `RNN` alone. A layer in two directions would see what it predicts, and is refused.
    embedding_size : int, optional
        Of symbols; by default the smaller of 64 and `hidden_size`.
    dropout : float
        Probability of dropout between layers and before the output, in training.
    window : int
        Steps of truncated back-propagation through time.
    batch_size : int
        Number of lanes, the rows of a batch.
    epochs : int
        The largest number of passes over the data.
    lr : float
        Adam's learning rate.
    max_norm : float
        Gradients are clipped to this joint norm; 0 does not clip.
    valid_fraction : float
        Share held out for early stopping: whole sequences if there are at least 10,
        otherwise the end of every sequence. 0 trains for all epochs.
    patience : int
        Training stops after this many epochs without a new lowest held-out loss; the weights
        with the lowest loss are kept.
    label_smoothing : float
        Of symbols, in [0, 1), in training: the share of the target's probability that all symbols get in equal parts.
    target : {"auto", "value", "difference"}
        What the network predicts of real values: the value itself, or its difference from the last known value, which
        is then added to it. Results of all methods are of the values, in the data's units, either way. With "auto" it
        is the difference for each feature whose differences have a smaller deviation than its values in the training
        data. See the notes.
    missing : {"refuse", "mask"}
        Whether NaN in real values or in exogenous inputs is an error. With "mask", NaN is a missing value: it is
        not part of the loss, and further inputs mark which values are present.
    alphabet : str or int, optional
        The symbols; by default those of `fit`.
    dtype : {"float32", "float64"}
    seed : int, optional
        Of the weights, the order of the data, dropout and the choice of held-out data.

    Attributes
    ----------
    network_ : rnncore.nn.SequenceModel
        ``network_.layer`` is the recurrent layer, for the debugger.
    variance_ : ndarray (2, F)
        Of real values: mean squared error on the held-out data (the training data if none is held out) of the
        first known value of a feature in a sequence, and of later ones. `predict`, `log_prob` and `forecast` use it.
    differenced_ : ndarray (F,) of bool
        Of real values: the features whose differences the network predicts.
    n_exog_ : int
        The number of exogenous inputs.
    history_ : dict of lists
        ``"train"`` and ``"valid"`` loss of every epoch: nats per symbol, or squared error of
        standardised values or differences; with label smoothing and weights, as in training.

    Notes
    -----
    A network that predicts values cannot follow a trend beyond the values that it was trained on: its state is bounded.
    One that predicts differences begins, untrained, as "the next value is the last one plus the mean difference". It
    reads the last difference too, and its standardised value v as v / √(1 + (v/2)²), so that its input stays bounded.
    Where a value is missing, differences are from the last value that is known.

    Held-out errors of one-step forecasts (root mean square; 32 units, trained on the first 80 % of a series, stopped
    early on the next 10 %, mean of two seeds), on data sets of statsmodels and on simulated series:

    ==================  =====  ===========  =========  =========  ==========  ==========  ===========
    series              ratio  persistence  AR by BIC  GRU value   GRU diff.  LSTM value   LSTM diff.
    ==================  =====  ===========  =========  =========  ==========  ==========  ===========
    CO₂, weekly         0.04         0.511      0.452       5.11       0.419        13.8        0.421
    US GDP              0.02           103         95      1,628         100       3,277          100
    US population       0.01         0.704     0.0297       10.7      0.0711        29.1       0.0716
    US unemployment     0.23         0.465      0.266       1.37        0.28        1.09        0.327
    US T-bill rate      0.35          0.57      0.632        1.3       0.576        1.37        0.577
    US inflation        0.74          5.03        4.3       3.99         4.1        3.87         4.15
    El Niño, monthly    0.50          1.15      0.515       0.66       0.528       0.791        0.524
    sunspots            0.62          32.5       21.5       17.7          18        22.4           18
    Nile                0.97           171        145        147         173         146          154
    random walk         0.19          1.02        1.2       15.5        1.03        18.2         1.03
    AR(1), φ = 0.8      0.59          1.01      0.945       1.04       0.952        1.15        0.958
    trend, white noise  0.57          1.29       1.05       1.12        1.05        2.13         1.04
    sine, noise         0.49         0.357      0.207       0.23       0.297       0.213        0.289
    AR(1), φ = 0.3      1.18          1.27      0.941      0.936           1       0.941         1.02
    white noise         1.42          1.47       1.07       1.08        1.13        1.08         1.11
    logistic map        1.74          0.55      0.252     0.0426      0.0621      0.0476        0.112
    ==================  =====  ===========  =========  =========  ==========  ==========  ===========

    The ratio is that of the deviations of differences and values in the training data, by which "auto" decides. Above
    1 (white noise, an AR(1) process with φ < 1/2) a prediction of values is as good or better. Below 1 one of
    differences is, by far where there is a trend. The exceptions are the 80 years of the Nile, and the sine with noise:
    a difference has twice the variance of the noise. Fit both there, and compare them on held-out data.

    Examples
    --------
    >>> from rnncore.models import Recurrent
    >>> model = Recurrent("gru", 16, epochs=20, window=16, lr=0.02, seed=0).fit(["abcd" * 200])
    >>> bool(model.perplexity(["abcd" * 10]) < 1.5)
    True
    >>> model.sample(6, "abcdab", seed=0)
    'cdabcd'
    """

    _names: ClassVar[Names] = {**NAMES, "target": TARGETS}

    shift_: Floats
    scale_: Floats
    differenced_: Bools
    step_shift_: Floats
    step_scale_: Floats
    exog_shift_: Floats
    exog_scale_: Floats
    history_: dict[str, list[float]]

    def __init__(
        self,
        cell: str = "lstm",
        hidden_size: int = 64,
        num_layers: int = 1,
        *,
        layer_options: Mapping[str, Any] | None = None,
        embedding_size: int | None = None,
        dropout: float = 0.0,
        window: int = 64,
        batch_size: int = 16,
        epochs: int = 30,
        lr: float = 5e-3,
        max_norm: float = 1.0,
        valid_fraction: float = 0.1,
        patience: int = 3,
        label_smoothing: float = 0.0,
        target: Target = "auto",
        missing: Missing = "refuse",
        alphabet: str | int | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        seed: int | None = None,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.layer_options = layer_options
        self.embedding_size = embedding_size
        self.dropout = dropout
        self.window = window
        self.batch_size = batch_size
        self.epochs = epochs
        self.lr = lr
        self.max_norm = max_norm
        self.valid_fraction = valid_fraction
        self.patience = patience
        self.label_smoothing = label_smoothing
        self.target = target
        self.missing = missing
        self.alphabet = alphabet
        self.dtype = dtype
        self.seed = seed

    # -- learning -----------------------------------------------------------------
    def fit(
        self,
        sequences: SequencesLike,
        y: None = None,
        *,
        exog: SequencesLike | None = None,
        sample_weight: ArrayLike | None = None,
        valid: SequencesLike | None = None,
        valid_exog: SequencesLike | None = None,
        callbacks: Iterable[Callback] = (),
        progress: Progress = False,
    ) -> Self:
        """Train with early stopping; returns self.

        Ctrl-C, and an exception in a callback, end training; `network_` keeps the weights of that moment.

        Parameters
        ----------
        sequences : list of strings, integer arrays or (T, F) real arrays
        exog : list of (T, E) real arrays, optional
            Known inputs of sequences of real values; the row of step t acts on the element of step t. They are
            standardised by their mean and deviation in the training data.
        sample_weight : array (N,), optional
            The weight s of every sequence, finite and >= 0. The loss of a batch is the weighted mean: Σ s·loss / Σ s
            over its symbols, or its real values. Standardisation, the held-out loss and `variance_` are weighted, too.
            The weight 0 has the effect of leaving the sequence out.
        valid : list of sequences, optional
            Held-out data for early stopping, instead of `valid_fraction`. All of them have the weight 1.
        valid_exog : list of (T, E) real arrays, optional
            The inputs of `valid`.
        callbacks : sequence of callables
            As for `rnncore.train.Trainer`, for example `rnncore.viz.Recorder` and `rnncore.viz.Debugger`. Training
            ends early, as usual, if one sets ``trainer.stop``.
        progress : bool or callable
            Updated once per epoch.
        """
        self._check_settings()
        self._check_no_targets(y)
        arrays = self._read(sequences)
        arrays = _joined(arrays, self._learn_exog(arrays, exog, self.missing))
        weights = as_sample_weight(sample_weight, len(arrays))
        items = [(a, w) for a, w in zip(arrays, np.ones(len(arrays)) if weights is None else weights, strict=True) if w]
        seeds = np.random.SeedSequence(self.seed).generate_state(2, np.uint64).tolist()
        rng = generator(seeds[1])
        if valid is None:
            if valid_exog is not None:
                raise ValueError("valid_exog: got inputs without valid, expected None, or valid= too")
            items, held = self._hold_out(items, rng)
        else:
            given = [self._check(s, f"valid[{i}]") for i, s in enumerate(self._list(valid))]
            given = _joined(given, self._read_exog(given, valid_exog, "valid_exog", self.missing))
            held = [(a, 1.0) for a in given]
        items, held = ([item for item in part if len(item[0])] for part in (items, held))
        if not items:
            raise ValueError("sequences: got no element to train on, expected at least one")

        for name in ("network_", "variance_", "history_"):  # of an earlier fit: this one may be interrupted
            self.__dict__.pop(name, None)
        arrays, shares = _split(items, weights)
        feed = learn_feed(self, arrays, shares)
        self.network_ = build_network(self, feed, feed.outputs, feed.loss, "steps", seeds[0])
        pieces, parts = _split(self._pieces(items), weights)
        others, theirs = _split(held, weights)

        def epoch() -> LazyWindows[Window]:  # all pieces in a new order
            return feed.windows(pieces, self.batch_size, self.window, rng.permutation(len(pieces)), parts)

        self.history_ = fit_epochs(
            self.network_, Adam(self.network_, self.lr), epoch,
            valid=feed.windows(others, self.batch_size, CHUNK, range(len(others)), theirs) if others else None,
            epochs=self.epochs, patience=self.patience, max_norm=self.max_norm or None,
            callbacks=callbacks, progress=progress, label=f"Recurrent {self.cell}")
        if self._real:
            self.variance_ = self._residuals(others, theirs) if others else self._residuals(arrays, shares)
        return self

    def _check_settings(self) -> None:
        check_network(self)
        as_size(self.window, "window")

    def _hold_out(self, items: list[Item], rng: np.random.Generator) -> tuple[list[Item], list[Item]]:
        """``(training, held out)``."""
        share = self.valid_fraction
        if share == 0:
            return items, []
        if len(items) >= 10:
            mixed = rng.permutation(len(items))
            cut = max(1, round(share * len(items)))
            return [items[i] for i in sorted(mixed[cut:])], [items[i] for i in mixed[:cut]]
        cuts = [len(a) - round(share * len(a)) for a, _ in items]
        return ([(a[:cut], w) for (a, w), cut in zip(items, cuts, strict=True)],
                [(a[cut:], w) for (a, w), cut in zip(items, cuts, strict=True)])

    def _pieces(self, items: Sequence[Item]) -> list[Item]:
        """Cut long sequences, to fill all lanes, into pieces of about four windows or more."""
        longest = max(math.ceil(sum(len(a) for a, _ in items) / self.batch_size), 4 * self.window)
        return [(piece, w) for a, w in items for piece in np.array_split(a, math.ceil(len(a) / longest))]

    def _outputs(
        self, arrays: Sequence[Array], weights: Sequence[float] | None = None
    ) -> Iterator[tuple[Array, Window]]:
        """Yields ``(output, window)`` over all arrays, one window at a time."""
        check_fitted(self, "network_")
        state: State | None = None
        for window in feed_of(self).windows(arrays, self.batch_size, CHUNK, range(len(arrays)), weights):
            output, state = self.network_(window.x, zero_rows(state, window.fresh), window.lengths)
            yield output, window

    def _residuals(self, arrays: Sequence[Array], weights: Sequence[float] | None) -> Floats:
        """Mean squared error of first and of later steps, in the data's units, ``(2, F)``."""
        feed = self._real_feed()
        total, count, share = np.zeros((3, 2, self.n_features_))
        plan = feed.plan(arrays, self.batch_size, CHUNK, range(len(arrays)))
        for spans, (output, window) in zip(plan, self._outputs(arrays, weights), strict=True):
            counted = window.counted
            assert counted is not None      # a feed's windows have it
            error = np.where(counted, output.astype(np.float64) - window.targets, 0.0) ** 2
            first = np.zeros(counted.shape, bool)
            for row, (item, begin, end) in enumerate(spans):
                first[: end - begin, row] = np.isnan(feed.last_known(arrays[item], begin, end))
            rows = 1.0 if window.weights is None else window.weights[:, None]
            for kind, which in enumerate((first, ~first)):
                total[kind] += (error * which * rows).sum(axis=(0, 1))
                count[kind] += (counted & which).sum(axis=(0, 1))
                share[kind] += ((counted & which) * rows).sum(axis=(0, 1))
        # With fewer than two errors it is the variance of the targets, which is 1 as they are standardised.
        variance = np.where(count > 1, total / np.where(share > 0, share, 1), 1.0)
        in_units: Floats = np.maximum(variance, 1e-12) * np.stack([self.scale_, feed.differences.scale])**2
        return in_units

    @property
    def n_parameters_(self) -> int:
        """Number of weights."""
        check_fitted(self, "network_")
        return sum(p.size for p in self.network_.parameters.values())

    # -- answering -------------------------------------------------------------------
    @overload
    def log_prob(
        self, sequence: SequenceLike, per_step: Literal[False] = False, *, exog: ArrayLike | None = None
    ) -> float: ...
    @overload
    def log_prob(
        self, sequence: SequenceLike, per_step: Literal[True], *, exog: ArrayLike | None = None
    ) -> Floats: ...
    @overload
    def log_prob(
        self, sequence: SequenceLike, per_step: bool, *, exog: ArrayLike | None = None
    ) -> float | Floats: ...
    def log_prob(
        self, sequence: SequenceLike, per_step: bool = False, *, exog: ArrayLike | None = None
    ) -> float | Floats:
        """Natural log of the probability (density) of a sequence.

        Parameters
        ----------
        sequence : str, integer array or (T, F) real array
        per_step : bool
            False gives the joint (float). True gives ``log p(x_t | x_<t)`` for
            every step, ``(T,)``; their sum is the joint. Missing values count 0.
        exog : (T, E) real array
            The inputs, if the model was fitted with some.
        """
        array = self._check(sequence)
        inputs = self._check_exog(exog, len(array), missing=self.missing)
        if self._real:
            mean, variance = self._gaussian(array, inputs)
            density = -0.5 * ((array - mean) ** 2 / variance + np.log(2 * np.pi * variance))
            steps: Floats = np.where(np.isnan(array), 0, density).sum(axis=1)   # missing values do not count
        else:
            parts = [np.take_along_axis(log_softmax(output[:, 0]), window.targets, axis=1)[:, 0]
                     for output, window in self._outputs([array])]
            steps = np.concatenate([np.empty(0), *parts])
        return steps if per_step else float(steps.sum())

    def one_step(self, sequence: SequenceLike, *, exog: ArrayLike | None = None) -> Floats | Gaussian:
        """`predict` at every step of a sequence from its own past.

        Parameters
        ----------
        sequence : str, integer array or (T, F) real array
        exog : (T, E) real array
            The inputs, if the model was fitted with some.

        Returns
        -------
        ndarray ``(T, n_symbols)``, or `Gaussian` with ``(T, F)`` mean and variance
        """
        array = self._check(sequence)
        inputs = self._check_exog(exog, len(array), missing=self.missing)
        if self._real:
            return self._gaussian(array, inputs)
        parts = [np.exp(log_softmax(output[:, 0])) for output, _ in self._outputs([array])]
        return np.concatenate([np.empty((0, self._alphabet.size)), *parts])

    def _gaussian(self, sequence: Array, inputs: Floats) -> Gaussian:
        """Mean and variance of every step, ``(T, F)`` each, in the data's units."""
        check_fitted(self, "variance_")
        last = self._real_feed().last_known(sequence, 0, len(sequence))
        parts = [output[:, 0] for output, _ in self._outputs(_joined([sequence], [inputs]))]
        mean = self._in_units(np.concatenate([np.empty((0, self.n_features_)), *parts]), last)
        return Gaussian(mean, self._variance_of(last))

    def _feed(self) -> SymbolFeed | RealFeed:
        return feed_of(self)

    def _absorb(self, context: Array, inputs: Floats) -> tuple[Array, State]:
        check_fitted(self, "network_")
        feed, network = self._feed(), self.network_
        following = np.zeros((1, *context.shape[1:]), context.dtype)
        sequence, = _joined([np.concatenate([context, following])], [inputs])
        state: State | None = None
        for begin in range(0, len(sequence), CHUNK):
            x = feed.batch([sequence], [(0, begin, min(begin + CHUNK, len(sequence)))]).x
            output, state = network.layer(x if network.embedding is None else network.embedding(x), state)
        assert state is not None        # there is always one step, START
        return network.head(output[-1]), state

    def predict(self, context: SequenceLike | None = None, *, exog: ArrayLike | None = None) -> Floats | Gaussian:
        """The next element's distribution after `context` (None: the start).

        Parameters
        ----------
        context : str, integer array or (T, F) real array
        exog : (T + 1, E) real array
            The inputs of the context and of the next step, if the model was fitted with some.

        Returns
        -------
        ndarray ``(n_symbols,)`` of probabilities, or `Gaussian` with ``(F,)`` mean
        and variance for real values
        """
        past = self._check(context, "context")
        output, _ = self._absorb(past, self._check_exog(exog, len(past) + 1, missing=self.missing))
        if not self._real:
            probabilities: Array = np.exp(log_softmax(output[0]))
            return probabilities
        last = self._last_known(past)
        return Gaussian(self._in_units(output, last)[0], self._variance_of(last)[0])

    # -- files -------------------------------------------------------------------------
    def _get_state(self) -> dict[str, Any]:
        state = super()._get_state()
        if "network_" in state:
            state["network_"] = network_state(state["network_"])
        return state

    def _set_state(self, state: Field) -> None:
        state.only((*KIND_NAMES, "network_", *SCALES, "n_exog_", "exog_shift_", "exog_scale_", "variance_", "history_"))
        self._set_kind_from(state)
        self.n_exog_ = state["n_exog_"].whole() if "n_exog_" in state else 0    # older files have none
        if self._real:
            self.shift_, self.scale_ = scale_from(state, self.n_features_)
            self._set_differences_from(state)
            self.variance_ = state["variance_"].array((2, self.n_features_))
            if (self.variance_ <= 0).any():
                raise state["variance_"].refuse("variances above 0")
            if self.n_exog_:
                self.exog_shift_, self.exog_scale_ = scale_from(state, self.n_exog_, "exog_")
        elif self.n_exog_:
            raise state["n_exog_"].refuse("0 for a model of symbols")
        feed = feed_of(self)
        self.network_ = network_from(state["network_"], feed, feed.outputs, feed.loss, "steps")
        self.history_ = history_from(state["history_"])

    def _set_differences_from(self, state: Field) -> None:
        F = self.n_features_
        if "differenced_" not in state:     # an older file
            self.target, self.differenced_ = "value", np.zeros(F, bool)
            self.step_shift_, self.step_scale_ = self.shift_, self.scale_
            return
        self.differenced_ = state["differenced_"].array((F,), bool)
        self.step_shift_, self.step_scale_ = scale_from(state, F, "step_")


def _joined(arrays: Sequence[Array], inputs: Sequence[Floats]) -> list[Array]:
    """Sequences with their exogenous inputs as the last columns; as they are where there are none."""
    return [np.hstack([a, u]) if u.shape[1] else a for a, u in zip(arrays, inputs, strict=True)]


def _split(items: Sequence[Item], weights: Floats | None) -> tuple[list[Array], list[float] | None]:
    """The arrays of the items, and their weights; None where there are no weights."""
    return [a for a, _ in items], None if weights is None else [w for _, w in items]
