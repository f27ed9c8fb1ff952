"""From a sequence of any length to one label or one number.

    x_1 … x_T ─ RNN | GRU | LSTM ─ the state after the last step ─ linear ─ softmax, or a number
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from rnncore.data import LazyWindows, Window, buckets
from rnncore.io.fields import named_errors
from rnncore.models.interface.base import KIND_NAMES, SequenceReader, check_fitted, generator
from rnncore.models.interface.plain import as_targets, is_series, plain
from rnncore.models.interface.scale import learn_scale
from rnncore.models.interface.sequences import as_list, is_array
from rnncore.models.interface.weights import as_sample_weight, check_class_weight, class_weights
from rnncore.nn import log_softmax
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
from .continuations import log_probabilities

if TYPE_CHECKING:
    from typing import Self

    from rnncore._typing import Array, ArrayLike, Floats, Progress
    from rnncore.io.fields import Field
    from rnncore.models.interface.estimator import Names
    from rnncore.models.interface.sequences import Codes, Missing, SequencesLike
    from rnncore.models.interface.weights import ClassWeight
    from rnncore.nn import SequenceModel
    from rnncore.train.loop import Callback

    from .build import Loss

Task: TypeAlias = Literal["auto", "label", "number"]
Readout: TypeAlias = Literal["last", "mean"]
TASKS: tuple[Task, ...] = ("auto", "label", "number")
READOUTS: tuple[Readout, ...] = ("last", "mean")
ROWS = 256  # sequences of one forward pass


class SequenceClassifier(SequenceReader):
    """RNN, GRU or LSTM that predicts a label or a number from a sequence.

    Parameters
    ----------
    cell : str
        "rnn", "gru", "lstm", or another name, see `rnncore.nn.make_layer`.
    hidden_size, num_layers : int
    layer_options : dict, optional
        As for `Recurrent`, and ``{"bidirectional": True}`` for a layer in two directions.
    task : {"auto", "label", "number"}
        Whether `y` has labels or numbers. With "auto", floating-point numbers are numbers and
        everything else is labels.
    readout : {"last", "mean"}
        The input of the output layer: the state after the last step, or the mean of the
        states of all steps.
    class_weight : None, "balanced" or dict
        The weight w of each label in the loss. A dict has weights by label, finite and >= 0; labels without one have
        the weight 1. "balanced" gives label c the weight N / (C·N_c), where N_c of the N sequences have it, or the
        same of sums of sample weights. As in scikit-learn.
    label_smoothing : float
        Of labels, in [0, 1), in training: the share of the target's probability that all labels get in equal parts.
    embedding_size, dropout, epochs, lr, max_norm, missing, alphabet, dtype, seed
        As for `Recurrent`.
    batch_size : int
        Sequences per batch.
    valid_fraction : float
        Share of the sequences held out for early stopping; 0 trains for all epochs.
    patience : int
        Training stops after this many epochs without a new lowest held-out loss; the weights
        with the lowest loss are kept.

    Attributes
    ----------
    task_ : {"label", "number"}
    classes_ : ndarray
        The labels, sorted.
    network_ : rnncore.nn.SequenceModel
        ``network_.layer`` is the recurrent layer, for the debugger.
    class_weight_ : ndarray (C,) or None
        The weights of `classes_`.
    history_ : dict of lists
        ``"train"`` and ``"valid"`` loss of every epoch; with label smoothing and weights, as in training.

    Notes
    -----
    An array ``(N, T)`` is N sequences of one feature, ``(N, T, F)`` of F; a list may be
    ragged and have strings, integer symbols or real arrays ``(T,)`` or ``(T, F)``. For a sequence
    of length 0 the prediction is that of the initial state.

    The loss of a batch is the weighted mean Σ s·w·(−log p) / Σ s·w of its sequences, with s their sample weight and w
    the weight of their label; see `rnncore.nn.cross_entropy` for the formula with label smoothing. It is
    Σ s·e² / Σ s for numbers. The loss of held-out sequences is the same.

    Examples
    --------
    >>> from rnncore.models import SequenceClassifier
    >>> words = ["ab" * k for k in range(1, 20)] + ["ba" * k for k in range(1, 20)]
    >>> first = [word[0] for word in words]
    >>> model = SequenceClassifier("gru", 16, epochs=60, lr=0.02, seed=0).fit(words, first)
    >>> model.predict(["ababab", "ba"])
    array(['a', 'b'], dtype='<U1')
    """

    _names: ClassVar[Names] = {**NAMES, "task": TASKS, "readout": READOUTS, "class_weight": check_class_weight}

    task_: Literal["label", "number"]
    classes_: Array
    class_weight_: Floats | None
    y_shift_: float
    y_scale_: float
    shift_: Floats
    scale_: Floats
    network_: SequenceModel
    history_: dict[str, list[float]]

    def __init__(
        self,
        cell: str = "lstm",
        hidden_size: int = 64,
        num_layers: int = 1,
        *,
        layer_options: Mapping[str, Any] | None = None,
        task: Task = "auto",
        readout: Readout = "last",
        embedding_size: int | None = None,
        dropout: float = 0.0,
        batch_size: int = 32,
        epochs: int = 50,
        lr: float = 5e-3,
        max_norm: float = 1.0,
        valid_fraction: float = 0.1,
        patience: int = 5,
        class_weight: ClassWeight = None,
        label_smoothing: float = 0.0,
        missing: Missing = "refuse",
        alphabet: str | int | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        seed: int | None = None,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.layer_options = layer_options
        self.task = task
        self.readout = readout
        self.embedding_size = embedding_size
        self.dropout = dropout
        self.batch_size = batch_size
        self.epochs = epochs
        self.lr = lr
        self.max_norm = max_norm
        self.valid_fraction = valid_fraction
        self.patience = patience
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.missing = missing
        self.alphabet = alphabet
        self.dtype = dtype
        self.seed = seed

    @property
    def _estimator_type(self) -> Literal["classifier", "regressor"]:
        return "regressor" if self.task == "number" else "classifier"

    # -- learning --------------------------------------------------------------------
    def fit(
        self,
        X: SequencesLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        callbacks: Iterable[Callback] = (),
        progress: Progress = False,
    ) -> Self:
        """Train on sequences `X` with one label or number each in `y`; returns self.

        Ctrl-C, and an exception in a callback, end training; `network_` keeps the weights of that moment.

        Parameters
        ----------
        X : list of strings, integer arrays or real arrays
        y : array (N,)
        sample_weight : array (N,), optional
            The weight of every sequence, finite and >= 0, in the loss and in the standardisation of real values and
            numbers. The weight 0 has the effect of leaving the sequence out, but its label is still one of `classes_`.
            A label with the class weight 0 has the same effect on its sequences.
        callbacks : sequence of callables
            As for `rnncore.train.Trainer`, for example `rnncore.viz.Recorder` and `rnncore.viz.Debugger`. Training
            ends early, as usual, if one sets ``trainer.stop``.
        progress : bool or callable
            Updated once per epoch.
        """
        self._check_settings()
        arrays = self._read(_one_each(X))
        weights = as_sample_weight(sample_weight, len(arrays))
        target = self._learn_targets(y, len(arrays), weights)
        counted = np.ones(len(arrays), bool) if weights is None else weights > 0
        if self.class_weight_ is not None:
            counted &= self.class_weight_[target] > 0
        chosen = np.flatnonzero(counted)
        seeds = np.random.SeedSequence(self.seed).generate_state(2, np.uint64).tolist()
        rng = generator(seeds[1])
        mixed = chosen[rng.permutation(len(chosen))]
        cut = round(self.valid_fraction * len(chosen))
        held, rows = mixed[:cut], np.sort(mixed[cut:])
        if len(chosen) == 0:
            raise ValueError("sample_weight, class_weight: got weights of which one is 0 for every sequence, expected "
                             "at least one sequence to train on")
        if len(rows) == 0:
            raise ValueError(f"valid_fraction: got {self.valid_fraction}, it leaves none of "
                             f"{len(chosen)} sequences to train on; expected less")
        for name in ("network_", "history_"):  # of an earlier fit: this one may be interrupted
            self.__dict__.pop(name, None)
        feed = learn_feed(self, [arrays[i] for i in rows], None if weights is None else weights[rows].tolist())
        outputs, loss = self._output()
        self.network_ = build_network(self, feed, outputs, loss, self.readout, seeds[0], self.class_weight_)
        lengths = np.array([len(a) for a in arrays])

        def epoch() -> LazyWindows[Window]:
            groups = buckets(lengths[rows], self.batch_size, seed=rng)
            return self._windows(arrays, [rows[group] for group in groups], target, weights)

        valid = [held[group] for group in buckets(lengths[held], ROWS)]
        self.history_ = fit_epochs(
            self.network_, Adam(self.network_, self.lr), epoch,
            valid=self._windows(arrays, valid, target, weights) if valid else None,
            epochs=self.epochs, patience=self.patience, max_norm=self.max_norm or None,
            callbacks=callbacks, progress=progress, label=f"SequenceClassifier {self.cell}")
        return self

    def _check_settings(self) -> None:
        check_network(self)

    def _learn_targets(self, y: ArrayLike, count: int, weights: Floats | None) -> Array:
        """Class numbers ``(N,)``, or standardised numbers ``(N, 1)``; sets the attributes that belong to them."""
        y = _one_for_each(y, count)
        self.task_ = self.task if self.task != "auto" else "number" if y.dtype.kind == "f" else "label"
        for name in ("classes_", "y_shift_", "y_scale_"):
            self.__dict__.pop(name, None)
        self.class_weight_ = None
        if self.task_ == "label":
            self.classes_, numbers = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(f"y: got {self.classes_.tolist()} as the only labels, expected at "
                                 "least two different ones")
            self.class_weight_ = class_weights(self.class_weight, self.classes_, numbers, weights)
            return numbers
        if self.class_weight is not None:
            raise ValueError(f"class_weight: got {self.class_weight!r:.60}, expected None for numbers; sample_weight "
                             "of fit gives weights to sequences")
        if y.dtype.kind not in "biuf":
            raise TypeError(f"y: got dtype {y.dtype}, expected numbers, because of task='number'")
        shift, scale, _ = learn_scale(y.astype(np.float64), weights, name="y")
        self.y_shift_, self.y_scale_ = float(shift), float(scale)
        target: Array = ((y - self.y_shift_) / self.y_scale_)[:, None]
        return target

    def _output(self) -> tuple[int, Loss]:
        """The number of the network's outputs, and its loss."""
        return (len(self.classes_), "cross_entropy") if self.task_ == "label" else (1, "mse")

    def _windows(
        self, arrays: Sequence[Array], groups: Sequence[Codes], target: Array, weights: Floats | None
    ) -> LazyWindows[Window]:
        """One window per group of sequences, with their targets."""
        feed = feed_of(self)

        def window(rows: Codes) -> Window:
            x, lengths = feed.whole([arrays[i] for i in rows])
            return Window(x, target[rows], lengths, weights=None if weights is None else weights[rows])

        return LazyWindows(window, groups)

    # -- answering -------------------------------------------------------------------------
    def _outputs(self, X: SequencesLike) -> Array:
        """The network's output for every sequence, ``(N, O)``."""
        check_fitted(self, "network_")
        arrays = [self._check(x, f"X[{i}]") for i, x in enumerate(_one_each(X))]
        feed, network = feed_of(self), self.network_
        outputs: Array = np.zeros((len(arrays), network.head.out_features), network.head.dtype)
        for rows in buckets([len(a) for a in arrays], ROWS):
            x, lengths = feed.whole([arrays[i] for i in rows])
            outputs[rows], _ = network(x, None, lengths)
        return outputs

    def predict(self, X: SequencesLike) -> Array:
        """The label or number of every sequence, ``(N,)``.

        Raises
        ------
        ValueError
            An output of the network for labels is NaN or infinite, as where its weights are.
        """
        outputs = self._outputs(X)
        found: Array
        if self.task_ == "label":
            log_probabilities(outputs)
            found = self.classes_[outputs.argmax(axis=1)]
        else:
            found = outputs[:, 0].astype(np.float64) * self.y_scale_ + self.y_shift_
        return found

    def predict_proba(self, X: SequencesLike) -> Array:
        """Probability of every label, ``(N, len(classes_))``."""
        check_fitted(self, "task_")
        if self.task_ == "number":
            raise TypeError("predict_proba: fitted on numbers, expected labels; use predict for numbers")
        probabilities: Array = np.exp(log_softmax(self._outputs(X)))
        return probabilities

    def score(self, X: SequencesLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Share of correct labels, or R² of numbers; with `sample_weight` the weighted share, or the weighted R²."""
        found = self.predict(X)
        y = _one_for_each(y, len(found))
        if self.task_ == "number" and y.dtype.kind not in "biuf":
            raise TypeError(f"y: got dtype {y.dtype}, expected numbers, as in fit")
        weights = as_sample_weight(sample_weight, len(y))
        if self.task_ == "label":
            return float(np.average(found == y, weights=weights))
        centre = np.average(y, weights=weights)
        error, spread = (np.average((y - guess) ** 2, weights=weights) for guess in (found, centre))
        return float(1 - error / spread)

    @property
    def n_parameters_(self) -> int:
        """Number of weights."""
        check_fitted(self, "network_")
        return sum(p.size for p in self.network_.parameters.values())

    # -- files -------------------------------------------------------------------------------
    def _get_state(self) -> dict[str, Any]:
        state = super()._get_state()
        if "network_" in state:
            state["network_"] = network_state(state["network_"])
        if "classes_" in state:
            state["classes_"] = state["classes_"].tolist()
        return state

    def _set_state(self, state: Field) -> None:
        learnt: tuple[Literal["label", "number"], ...] = ("label", "number")
        task = state["task_"].text(learnt)
        own = ("classes_", "class_weight_") if task == "label" else ("class_weight_", "y_shift_", "y_scale_")
        state.only((*KIND_NAMES, "network_", "shift_", "scale_", "task_", "history_", *own))
        self._set_kind_from(state)
        if self._real:
            self.shift_, self.scale_ = scale_from(state, self.n_features_)
        self.task_, self.class_weight_ = task, None
        if task == "label":
            self.classes_ = _labels_from(state["classes_"])
            if (weights := state.get("class_weight_")) is not None:
                self.class_weight_ = weights.array((len(self.classes_),))
                if (self.class_weight_ < 0).any():
                    raise weights.refuse("weights >= 0")
        else:
            self.y_shift_, self.y_scale_ = state["y_shift_"].number(), state["y_scale_"].number(0)
            if (weights := state.get("class_weight_")) is not None:
                raise weights.refuse("null for numbers")
        outputs, loss = self._output()
        self.network_ = network_from(state["network_"], feed_of(self), outputs, loss, self.readout)
        self.history_ = history_from(state["history_"])


def _one_for_each(y: ArrayLike, count: int) -> Array:
    """Labels or numbers, one for each of `count` sequences; none is missing or not finite."""
    found = as_targets(y)
    if found.shape != (count,):
        raise ValueError(f"y: got shape {found.shape}, expected ({count},), one value per sequence")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        at = int(np.argmin(np.isfinite(found)))
        raise ValueError(f"y: got {found[at]} at {at}, expected finite numbers")
    return found


def _labels_from(field: Field) -> Array:
    """The labels of a file: two or more, of one type."""
    labels = [label.value for label in field.items()]
    if len(labels) < 2 or {type(label) for label in labels} not in ({str}, {int}, {float}, {bool}):
        raise field.refuse("two labels or more, all strings or all numbers")
    with named_errors(field):
        found: Array = np.array(labels)
    if found.dtype.kind not in "biufU":  # whole numbers of more than 64 bits
        raise field.refuse("labels that numpy can hold")
    return found


def _one_each(X: SequencesLike) -> list[Any]:
    """A list of sequences; every row of an array is one sequence."""
    array = plain(X, "X") if is_array(X) and not is_series(X) else None
    if array is None or array.ndim == 1:
        return as_list(X if array is None or array.dtype.kind not in "UST" else array.tolist(), name="X")
    if array.ndim > 3:
        raise ValueError(f"X: got shape {array.shape}, expected (N, T) or (N, T, F)")
    return list(array)
