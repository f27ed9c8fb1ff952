"""A sequence of any length to one label, or to one number.

    x_1 … x_T ─ RNN | GRU | LSTM ─ the state after the last step ─ linear ─ softmax, or a number
"""

from __future__ import annotations

import numpy as np

from rnncore.data import LazyWindows, Window, buckets
from rnncore.io.fields import named_errors
from rnncore.models.interface.base import KIND_NAMES, SequenceReader, check_fitted, check_option, generator
from rnncore.models.interface.sequences import as_list
from rnncore.nn import log_softmax
from rnncore.optim import Adam
from rnncore.train import fit_epochs

from .build import (
    build_network,
    check_network,
    feed_of,
    history_from,
    learn_feed,
    network_from,
    network_state,
    scale_from,
)

TASKS = ("auto", "label", "number")
READOUTS = ("last", "mean")
ROWS = 256  # sequences of a forward pass that are held at a time


class SequenceClassifier(SequenceReader):
    """RNN, GRU or LSTM that reads a sequence and answers with a label or a number.

    Parameters
    ----------
    cell : str
        "rnn", "gru", "lstm", or another name, see `rnncore.nn.make_layer`.
    hidden_size, num_layers : int
    task : {"auto", "label", "number"}
        What `y` is: by itself, floating-point numbers are numbers and all else labels.
    readout : {"last", "mean"}
        What the answer is read from: the state after the last step, or the mean of the
        states of all steps.
    embedding_size, dropout, batch_size, epochs, lr, max_norm, missing, alphabet, dtype, seed
        As of `Recurrent`.
    valid_fraction : float
        Share of the sequences held out for early stopping; 0 trains for all epochs.
    patience : int
        Epochs without a new best held-out loss after which training stops; the best
        weights are kept.

    Attributes
    ----------
    task_ : {"label", "number"}
    classes_ : ndarray
        The labels, sorted.
    network_ : rnncore.nn.SequenceModel
        ``network_.layer`` is the recurrent layer, for the debugger.
    history_ : dict of lists
        ``"train"`` and ``"valid"`` loss of every epoch.

    Notes
    -----
    An array ``(N, T)`` is N sequences of one feature, ``(N, T, F)`` of F; a list may be
    ragged and hold strings, integer symbols or real arrays ``(T,)`` or ``(T, F)``. A sequence
    of length 0 is answered from the initial state.

    Examples
    --------
    >>> from rnncore.models import SequenceClassifier
    >>> words = ["ab" * k for k in range(1, 20)] + ["ba" * k for k in range(1, 20)]
    >>> first = [word[0] for word in words]
    >>> model = SequenceClassifier("gru", 16, epochs=60, lr=0.02, seed=0).fit(words, first)
    >>> model.predict(["ababab", "ba"])
    array(['a', 'b'], dtype='<U1')
    """

    def __init__(self, cell="lstm", hidden_size=64, num_layers=1, *, task="auto", readout="last",
                 embedding_size=None, dropout=0.0, batch_size=32, epochs=50, lr=5e-3,
                 max_norm=1.0, valid_fraction=0.1, patience=5, missing="refuse", alphabet=None,
                 dtype="float32", seed=None):
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
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
        self.missing = missing
        self.alphabet = alphabet
        self.dtype = dtype
        self.seed = seed

    @property
    def _estimator_type(self):
        return "regressor" if self.task == "number" else "classifier"

    # -- learning --------------------------------------------------------------------
    def fit(self, X, y, *, progress=False):
        """Train on sequences `X` and their answers `y`, one each; returns self.

        Ctrl-C ends it by a KeyboardInterrupt, with the weights of that moment in `network_`.
        """
        self._check_settings()
        arrays = self._read(_one_each(X))
        target = self._learn_targets(y, len(arrays))
        seeds = np.random.SeedSequence(self.seed).generate_state(2, np.uint64).tolist()
        rng = generator(seeds[1])
        mixed = rng.permutation(len(arrays))
        cut = round(self.valid_fraction * len(arrays))
        held, rows = mixed[:cut], np.sort(mixed[cut:])
        if len(rows) == 0:
            raise ValueError(f"valid_fraction: got {self.valid_fraction}, it leaves none of "
                             f"{len(arrays)} sequences to train on; expected less")
        feed = learn_feed(self, [arrays[i] for i in rows])
        self.network_ = build_network(self, feed, *self._answer, seeds[0])
        lengths = np.array([len(a) for a in arrays])

        def epoch():
            groups = buckets(lengths[rows], self.batch_size, seed=rng)
            return self._windows(arrays, [rows[group] for group in groups], target)

        valid = [held[group] for group in buckets(lengths[held], ROWS)]
        self.history_ = fit_epochs(
            self.network_, Adam(self.network_, self.lr), epoch, carry=False,
            valid=self._windows(arrays, valid, target) if valid else None,
            epochs=self.epochs, patience=self.patience, max_norm=self.max_norm or None,
            progress=progress, label=f"SequenceClassifier {self.cell}")
        return self

    def _check_settings(self):
        check_network(self)
        check_option("readout", self.readout, READOUTS)
        check_option("task", self.task, TASKS)

    def _learn_targets(self, y, count):
        """Class numbers ``(N,)``, or standardised numbers ``(N, 1)``."""
        y = np.asarray(y)
        if y.shape != (count,):
            raise ValueError(f"y: got shape {y.shape}, expected ({count},), an answer a sequence")
        self.task_ = self.task if self.task != "auto" else "number" if y.dtype.kind == "f" else "label"
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            at = int(np.argmin(np.isfinite(y)))
            raise ValueError(f"y: got {y[at]} at {at}, expected finite numbers")
        for name in ("classes_", "y_shift_", "y_scale_"):
            self.__dict__.pop(name, None)
        if self.task_ == "label":
            self.classes_, target = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(f"y: got the label {self.classes_.tolist()} alone, expected at "
                                 "least two")
            return target
        if y.dtype.kind not in "biuf":
            raise TypeError(f"y: got dtype {y.dtype}, expected numbers, as task='number'")
        self.y_shift_, self.y_scale_ = float(y.mean()), float(y.std()) or 1.0
        return ((y - self.y_shift_) / self.y_scale_)[:, None]

    @property
    def _answer(self):
        """The network's outputs, loss and readout."""
        if self.task_ == "label":
            return len(self.classes_), "cross_entropy", self.readout
        return 1, "mse", self.readout

    def _windows(self, arrays, groups, target):
        """Whole sequences of like length together, with their targets."""
        feed = feed_of(self)

        def window(rows):
            x, lengths = feed.whole([arrays[i] for i in rows])
            return Window(x, target[rows], lengths)

        return LazyWindows(window, groups)

    def _answers(self, arrays):
        """The network's output for every sequence, ``(N, O)``."""
        feed, network = feed_of(self), self.network_
        answers = np.zeros((len(arrays), network.head.out_features), network.head.dtype)
        for rows in buckets([len(a) for a in arrays], ROWS):
            x, lengths = feed.whole([arrays[i] for i in rows])
            answers[rows], _ = network(x, None, lengths)
        return answers

    # -- answering -------------------------------------------------------------------------
    def _ask(self, X):
        check_fitted(self, "network_")
        return self._answers([self._check(x, f"X[{i}]") for i, x in enumerate(_one_each(X))])

    def predict(self, X):
        """The label or number of every sequence, ``(N,)``."""
        answers = self._ask(X)
        if self.task_ == "label":
            return self.classes_[answers.argmax(axis=1)]
        return answers[:, 0].astype(np.float64) * self.y_scale_ + self.y_shift_

    def predict_proba(self, X):
        """Probability of every label, ``(N, len(classes_))``."""
        check_fitted(self, "task_")
        if self.task_ == "number":
            raise TypeError("predict_proba: fitted on numbers, expected labels; predict answers "
                            "with the number")
        return np.exp(log_softmax(self._ask(X)))

    def score(self, X, y):
        """Share of right labels, or R² of numbers."""
        y, answers = np.asarray(y), self.predict(X)
        if y.shape != answers.shape:
            raise ValueError(f"y: got shape {y.shape}, expected {answers.shape}")
        if self.task_ == "label":
            return float(np.mean(answers == y))
        return float(1 - np.sum((y - answers) ** 2) / np.sum((y - y.mean()) ** 2))

    @property
    def n_parameters_(self):
        """Number of weights."""
        check_fitted(self, "network_")
        return sum(p.size for p in self.network_.parameters.values())

    # -- files -------------------------------------------------------------------------------
    def _get_state(self):
        state = super()._get_state()
        if "network_" in state:
            state["network_"] = network_state(state["network_"])
        if "classes_" in state:
            state["classes_"] = state["classes_"].tolist()
        return state

    def _set_state(self, state):
        own = ("classes_",) if state["task_"].text(TASKS[1:]) == "label" else ("y_shift_", "y_scale_")
        state.only((*KIND_NAMES, "network_", "shift_", "scale_", "task_", "history_", *own))
        self._set_kind_from(state)
        if self._real:
            scale_from(self, state)
        self.task_ = state["task_"].value
        if self.task_ == "label":
            self.classes_ = _labels_from(state["classes_"])
        else:
            self.y_shift_, self.y_scale_ = state["y_shift_"].number(), state["y_scale_"].number(0)
        self.network_ = network_from(state["network_"], feed_of(self), *self._answer)
        self.history_ = history_from(state["history_"])


def _labels_from(field):
    """The labels of a file: two or more, of one type."""
    labels = [label.value for label in field.items()]
    if len(labels) < 2 or {type(label) for label in labels} not in ({str}, {int}, {float}, {bool}):
        raise field.refuse("two labels or more, all texts or all numbers")
    with named_errors(field):
        found = np.array(labels)
    if found.dtype.kind not in "biufU":  # whole numbers of more than 64 bits
        raise field.refuse("labels that numpy can hold")
    return found


def _one_each(X):
    """A list of sequences; every row of an array is one."""
    if isinstance(X, np.ndarray) and X.dtype != object and X.ndim > 1:
        if X.ndim > 3:
            raise ValueError(f"X: got shape {X.shape}, expected (N, T) or (N, T, F)")
        return list(X)
    return as_list(X, name="X")
