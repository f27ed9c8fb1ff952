"""A recurrent net as a sequence model: its state is its memory of the past.

    x_{t-1} ─ embedding ─ RNN | GRU | LSTM ─ linear ─ softmax over symbols, or mean of real values

Training is truncated back-propagation through time over ragged sequences: every
lane (see ``feed.py``) carries its state from window to window and starts from zero
at a new sequence. A long sequence is cut into pieces that fill the lanes, so the network
learns START as "nothing is known about earlier elements".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from rnncore._checks import as_number, as_size
from rnncore.models.interface.base import (
    KIND_NAMES,
    Gaussian,
    SequenceModelBase,
    check_fitted,
    generator,
)
from rnncore.nn import draw, log_softmax
from rnncore.nn.state import take_rows, zero_rows
from rnncore.optim import Adam
from rnncore.train import fit_epochs

from .build import (
    NAMES,
    build_network,
    check_network,
    feed_of,
    history_from,
    learn_feed,
    network_from,
    network_state,
    scale_from,
)

if TYPE_CHECKING:
    from typing import Self

    from rnncore._typing import Array, Floats, Progress, RandomSource, State
    from rnncore.data import LazyWindows, Window
    from rnncore.io.fields import Field
    from rnncore.models.interface.sequences import Codes, Missing, SequenceLike, SequencesLike
    from rnncore.nn import SequenceModel

CHUNK = 1024  # steps of one forward pass


class Recurrent(SequenceModelBase):
    """RNN, GRU or LSTM that predicts the next symbol or the next real values.

    Parameters
    ----------
    cell : str
        "rnn", "gru", "lstm", or another name, see `rnncore.nn.make_layer`.
    hidden_size, num_layers : int
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
    missing : {"refuse", "mask"}
        Whether NaN in real values is an error. With "mask", NaN is a missing value: it is not part of
        the loss, and further inputs mark which values are present.
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
        Of real values: mean squared error of a first step and of later ones on the held-out data
        (the training data if none is held out). `predict` and `log_prob` use it.
    history_ : dict of lists
        ``"train"`` and ``"valid"`` loss of every epoch: nats per symbol, or squared error of
        standardised values.

    Examples
    --------
    >>> from rnncore.models import Recurrent
    >>> model = Recurrent("gru", 16, epochs=20, window=16, lr=0.02, seed=0).fit(["abcd" * 200])
    >>> bool(model.perplexity(["abcd" * 10]) < 1.5)
    True
    >>> model.sample(6, "abcdab", seed=0)
    'cdabcd'
    """

    _names = NAMES

    shift_: Floats
    scale_: Floats
    variance_: Floats
    network_: SequenceModel
    history_: dict[str, list[float]]

    def __init__(
        self,
        cell: str = "lstm",
        hidden_size: int = 64,
        num_layers: int = 1,
        *,
        embedding_size: int | None = None,
        dropout: float = 0.0,
        window: int = 64,
        batch_size: int = 16,
        epochs: int = 30,
        lr: float = 5e-3,
        max_norm: float = 1.0,
        valid_fraction: float = 0.1,
        patience: int = 3,
        missing: Missing = "refuse",
        alphabet: str | int | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        seed: int | None = None,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.embedding_size = embedding_size
        self.dropout = dropout
        self.window = window
        self.batch_size = batch_size
        self.epochs = epochs
        self.lr = lr
        self.max_norm = max_norm
        self.valid_fraction = valid_fraction
        self.patience = patience
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
        valid: SequencesLike | None = None,
        progress: Progress = False,
    ) -> Self:
        """Train with early stopping; returns self.

        Ctrl-C ends training with a KeyboardInterrupt; `network_` keeps the weights of that moment.

        Parameters
        ----------
        sequences : list of strings, integer arrays or (T, F) real arrays
        valid : list of sequences, optional
            Held-out data for early stopping, instead of `valid_fraction`.
        progress : bool or callable
            Updated once per epoch.
        """
        self._check_settings()
        arrays = self._read(sequences)
        seeds = np.random.SeedSequence(self.seed).generate_state(2, np.uint64).tolist()
        rng = generator(seeds[1])
        if valid is None:
            arrays, held = self._hold_out(arrays, rng)
        else:
            held = [self._check(s, f"valid[{i}]") for i, s in enumerate(self._list(valid))]
        arrays, held = ([a for a in part if len(a)] for part in (arrays, held))
        if not arrays:
            raise ValueError("sequences: got no element to train on, expected at least one")

        feed = learn_feed(self, arrays)
        self.network_ = build_network(self, feed, feed.outputs, feed.loss, "steps", seeds[0])
        pieces = self._pieces(arrays)

        def epoch() -> LazyWindows[Window]:  # all pieces in a new order
            return feed.windows(pieces, self.batch_size, self.window, rng.permutation(len(pieces)))

        self.history_ = fit_epochs(
            self.network_, Adam(self.network_, self.lr), epoch,
            valid=feed.windows(held, self.batch_size, CHUNK, range(len(held))) if held else None,
            epochs=self.epochs, patience=self.patience, max_norm=self.max_norm or None,
            progress=progress, label=f"Recurrent {self.cell}")
        if self._real:
            self.variance_ = self._residuals(held or arrays)
        return self

    def _check_settings(self) -> None:
        check_network(self)
        as_size(self.window, "window")

    def _hold_out(self, arrays: list[Array], rng: np.random.Generator) -> tuple[list[Array], list[Array]]:
        """``(training, held out)``."""
        share = self.valid_fraction
        if share == 0:
            return arrays, []
        if len(arrays) >= 10:
            mixed = rng.permutation(len(arrays))
            cut = max(1, round(share * len(arrays)))
            return [arrays[i] for i in sorted(mixed[cut:])], [arrays[i] for i in mixed[:cut]]
        cuts = [len(a) - round(share * len(a)) for a in arrays]
        return ([a[:cut] for a, cut in zip(arrays, cuts, strict=True)],
                [a[cut:] for a, cut in zip(arrays, cuts, strict=True)])

    def _pieces(self, arrays: Sequence[Array]) -> list[Array]:
        """Cut long sequences, to fill all lanes, into pieces of about four windows or more."""
        longest = max(math.ceil(sum(map(len, arrays)) / self.batch_size), 4 * self.window)
        return [piece for a in arrays for piece in np.array_split(a, math.ceil(len(a) / longest))]

    def _outputs(self, arrays: Sequence[Array]) -> Iterator[tuple[Array, Window]]:
        """Yields ``(output, window)`` over all arrays, one window at a time."""
        check_fitted(self, "network_")
        state: State | None = None
        for window in feed_of(self).windows(arrays, self.batch_size, CHUNK, range(len(arrays))):
            output, state = self.network_(window.x, zero_rows(state, window.fresh), window.lengths)
            yield output, window

    def _residuals(self, arrays: Sequence[Array]) -> Floats:
        """Mean squared error of first and of later steps, in the data's units, ``(2, F)``."""
        total, count = np.zeros((2, self.n_features_)), np.zeros((2, self.n_features_))
        for output, window in self._outputs(arrays):
            counted = window.counted
            assert counted is not None      # a feed's windows have counted and fresh
            assert window.fresh is not None
            error = np.where(counted, output.astype(np.float64) - window.targets, 0.0) ** 2
            first = np.zeros(counted.shape, bool)
            first[0] = window.fresh[:, None]
            for kind, which in enumerate((first, ~first)):
                total[kind] += (error * which).sum(axis=(0, 1))
                count[kind] += (counted & which).sum(axis=(0, 1))
        # With fewer than two errors it is the variance of the data, which is 1 as they are standardised.
        variance = np.where(count > 1, total / np.maximum(count, 1), 1.0)
        in_units: Floats = np.maximum(variance, 1e-12) * self.scale_**2
        return in_units

    @property
    def n_parameters_(self) -> int:
        """Number of weights."""
        check_fitted(self, "network_")
        return sum(p.size for p in self.network_.parameters.values())

    # -- answering -------------------------------------------------------------------
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: Literal[False] = False) -> float: ...
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: Literal[True]) -> Floats: ...
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: bool) -> float | Floats: ...
    def log_prob(self, sequence: SequenceLike, per_step: bool = False) -> float | Floats:
        array = self._check(sequence)
        if self._real:
            mean, variance = self._gaussian(array)
            density = -0.5 * ((array - mean) ** 2 / variance + np.log(2 * np.pi * variance))
            steps: Floats = np.nansum(density, axis=1)  # missing values do not count
        else:
            parts = [np.take_along_axis(log_softmax(output[:, 0]), window.targets, axis=1)[:, 0]
                     for output, window in self._outputs([array])]
            steps = np.concatenate([np.empty(0), *parts])
        return steps if per_step else float(steps.sum())

    log_prob.__doc__ = SequenceModelBase.log_prob.__doc__

    def one_step(self, sequence: SequenceLike) -> Floats | Gaussian:
        array = self._check(sequence)
        if self._real:
            return self._gaussian(array)
        parts = [np.exp(log_softmax(output[:, 0])) for output, _ in self._outputs([array])]
        return np.concatenate([np.empty((0, self._alphabet.size)), *parts])

    one_step.__doc__ = SequenceModelBase.one_step.__doc__

    def _gaussian(self, sequence: Array) -> Gaussian:
        """Mean and variance of every step, ``(T, F)`` each, in the data's units."""
        parts = [output[:, 0] * self.scale_ + self.shift_
                 for output, _ in self._outputs([sequence])]
        mean = np.concatenate([np.empty((0, self.n_features_)), *parts])
        return Gaussian(mean, self.variance_[np.minimum(np.arange(len(mean)), 1)])

    def _absorb(self, context: Array) -> tuple[Array, State]:
        """``(output (O,), state)`` after START and the whole context."""
        check_fitted(self, "network_")
        feed, network = feed_of(self), self.network_
        following = np.zeros((1, *context.shape[1:]), context.dtype)
        sequence = np.concatenate([context, following])
        state: State | None = None
        for begin in range(0, len(sequence), CHUNK):
            x = feed.batch([sequence], [(0, begin, min(begin + CHUNK, len(sequence)))]).x
            output, state = network.layer(x if network.embedding is None else network.embedding(x), state)
        assert state is not None        # there is always one step, START
        return network.head(output[-1])[0], state

    def predict(self, context: SequenceLike | None = None) -> Floats | Gaussian:
        past = self._check(context, "context")
        output, _ = self._absorb(past)
        if not self._real:
            probabilities: Array = np.exp(log_softmax(output))
            return probabilities
        mean = output.astype(np.float64) * self.scale_ + self.shift_
        return Gaussian(mean, self.variance_[min(len(past), 1)].copy())

    predict.__doc__ = SequenceModelBase.predict.__doc__

    def sample(
        self, length: int, context: SequenceLike | None = None, seed: RandomSource = None, *, temperature: float = 1.0
    ) -> str | Codes | Floats:
        """Draw `length` elements that follow `context`, reproducible from `seed`.

        Parameters
        ----------
        temperature : float
            Log probabilities are divided by it, and the deviation of real values is multiplied
            by it; 0 always takes the most probable element.
        """
        past = self._check(context, "context")
        length, rng = as_size(length, "length", least=0), generator(seed)
        temperature = as_number(temperature, "temperature", least=0)
        output, state = self._absorb(past)
        drawn: Array = np.empty((length, *past.shape[1:]), past.dtype)
        for t in range(length):
            if self._real:
                deviation = np.sqrt(self.variance_[min(len(past) + t, 1)])
                noise = rng.standard_normal(self.n_features_)
                drawn[t] = output * self.scale_ + self.shift_ + temperature * deviation * noise
            else:
                drawn[t] = draw(output, temperature, rng)
            if t < length - 1:
                output, state = self._step(drawn[t : t + 1], state)
                output = output[0]
        return drawn if self._real else self._alphabet.decode(drawn)

    def beam(
        self, length: int, context: SequenceLike | None = None, width: int = 8
    ) -> tuple[str | Codes, float]:
        """The most probable continuation that a beam search with `width` candidates per step finds.

        Returns
        -------
        continuation : str or integer array
        log_prob : float
            Of the continuation, given the context.
        """
        if self._real:
            raise TypeError("beam: fitted on real values, expected symbols; sample(temperature=0) "
                            "gives the most probable continuation of real values")
        length, width = as_size(length, "length", least=0), as_size(width, "width")
        output, state = self._absorb(self._check(context, "context"))
        logs, score = log_softmax(output[None]), np.zeros(1)
        paths, size = np.empty((1, 0), np.int64), self._alphabet.size
        for t in range(length):
            joint = (score[:, None] + logs).ravel()
            best = np.argsort(-joint, kind="stable")[:width]
            rows, symbols = np.divmod(best, size)
            score = joint[best]
            paths = np.concatenate([paths[rows], symbols[:, None]], axis=1)
            if t < length - 1:
                output, state = self._step(symbols, take_rows(state, rows))
                logs = log_softmax(output)
        return self._alphabet.decode(paths[0]), float(score[0])

    def _step(self, elements: Array, state: State) -> tuple[Array, State]:
        """Output ``(B, O)`` and state after one more element in every row."""
        output, state = self.network_(feed_of(self).encode(elements)[None], state)
        return output[0], state

    # -- files -------------------------------------------------------------------------
    def _get_state(self) -> dict[str, Any]:
        state = super()._get_state()
        if "network_" in state:
            state["network_"] = network_state(state["network_"])
        return state

    def _set_state(self, state: Field) -> None:
        state.only((*KIND_NAMES, "network_", "shift_", "scale_", "variance_", "history_"))
        self._set_kind_from(state)
        if self._real:
            scale_from(self, state)
            self.variance_ = state["variance_"].array((2, self.n_features_))
            if (self.variance_ <= 0).any():
                raise state["variance_"].refuse("variances above 0")
        feed = feed_of(self)
        self.network_ = network_from(state["network_"], feed, feed.outputs, feed.loss, "steps")
        self.history_ = history_from(state["history_"])
