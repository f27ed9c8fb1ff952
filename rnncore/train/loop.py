"""The training loop: truncated back-propagation through time with the state carried along."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager

import numpy as np

from rnncore._checks import as_flag, as_number, as_size
from rnncore._progress import progress_bar
from rnncore.data.windows import as_window, as_windows
from rnncore.io.files import check_target
from rnncore.nn import SequenceModel
from rnncore.nn.sequence import SequenceRecord
from rnncore.nn.state import zero_rows
from rnncore.optim import Optimiser, clip_grad_norm
from rnncore.train.checkpoint import check_notes, take_checkpoint, write_checkpoint


class Trainer:
    """Trains a `SequenceModel` on windows of sequences.

    Parameters
    ----------
    model : SequenceModel
    optimiser : Optimiser
    batches : sequence of (x, targets), (x, targets, lengths) or rnncore.data.Window
        At least one; for example `rnncore.data.batches`. Gone through in order, over and over. Others
        may be set between two updates, and are then begun with their first.
    valid : sequence, optional
        The same of held-out text, for `evaluate`.
    max_norm : float or None
        Gradients are clipped to this joint norm, above 0 (Pascanu 2013); None does not clip.
    carry : bool
        The state after one window is where the next begins, but for the first of each round.
        False for batches that have nothing to do with each other.
    callbacks : sequence of callables
        Each is called with the trainer after every update. It may read `losses`, `grad_norm` and
        `record` (the update's tape with its gradients), set ``optimiser.lr``, or set ``stop``.
        One that has a method ``before_step(trainer, record, loss, grads)`` is called between the
        backward pass and the update, too, while the tape's weights are still those it was made
        with; `viz.Debugger` and `viz.Recorder` look there.

    Attributes
    ----------
    updates : int
        Done so far.
    position : int
        Which of the batches is next.
    losses : list of float
        One an update, in nats.
    counted : int
        Steps, or values of squared error, that the last loss is the mean of.
    interrupted : bool
        The last `fit` was ended by Ctrl-C.

    Examples
    --------
    >>> from rnncore.data import Corpus, batches
    >>> from rnncore.nn import sequence_model
    >>> from rnncore.optim import Adam
    >>> from rnncore.train import Trainer
    >>> corpus = Corpus("the cat sat on the mat. " * 40)
    >>> model = sequence_model("gru", len(corpus.vocabulary), hidden_size=16, seed=0)
    >>> windows = batches(corpus.train, batch_size=4, steps=16)
    >>> trainer = Trainer(model, Adam(model, lr=0.02), windows)
    >>> trainer.fit(30, progress=False).updates
    30
    >>> trainer.losses[-1] < trainer.losses[0]
    True
    """

    def __init__(
        self,
        model: SequenceModel,
        optimiser: Optimiser,
        batches: Sequence,
        *,
        valid: Sequence | None = None,
        max_norm: float | None = 1.0,
        carry: bool = True,
        callbacks: Sequence[Callable[[Trainer], None]] = (),
    ):
        if optimiser.module is not model:
            raise ValueError("optimiser: got one of another module, expected one made for model")
        self.model, self.optimiser, self.batches, self.valid = model, optimiser, batches, valid
        self.max_norm, self.carry = max_norm, as_flag(carry, "carry")
        self.callbacks = _callables(callbacks)
        self.updates = self.position = 0
        self.losses: list[float] = []
        self.state: np.ndarray | tuple | None = None
        self.record: SequenceRecord | None = None
        self.counted = 0
        self.grad_norm = math.nan
        self.stop = self.interrupted = False

    @property
    def batches(self) -> Sequence:
        """The windows of training."""
        return self._batches

    @batches.setter
    def batches(self, batches: Sequence) -> None:
        self._batches, self.position = as_windows(batches, "batches"), 0

    @property
    def valid(self) -> Sequence | None:
        """Those of `evaluate`."""
        return self._valid

    @valid.setter
    def valid(self, valid: Sequence | None) -> None:
        self._valid = None if valid is None else as_windows(valid, "valid")

    @property
    def max_norm(self) -> float | None:
        """What gradients are clipped to."""
        return self._max_norm

    @max_norm.setter
    def max_norm(self, max_norm: float | None) -> None:
        if max_norm is not None:
            max_norm = as_number(max_norm, "max_norm", above=0, finite=False, also="None, which does not clip")
        self._max_norm = max_norm

    def update(self) -> float:
        """One window: forward, backward, clip, step. Returns the loss before the step.

        Raises
        ------
        FloatingPointError
            The loss or its gradient is not finite; the weights are left as they were.
        """
        window = as_window(self.batches[self.position], f"batches[{self.position}]")
        state = self.state if self.carry and self.position else None
        self.record = None  # let go of the last tape before the next is made
        state = zero_rows(state, window.fresh)
        record = self.model.record(window.x, state, lengths=window.lengths, train=True)
        loss, grad, counted = self.model.mean_loss(
            record.output, window.targets, window.lengths, window.counted
        )
        grads = record.backward(grad).parameters
        for callback in self.callbacks:
            if hasattr(callback, "before_step"):
                callback.before_step(self, record, loss, grads)
        self.grad_norm = clip_grad_norm(grads, math.inf if self.max_norm is None else self.max_norm)
        if not (math.isfinite(loss) and math.isfinite(self.grad_norm)):
            raise FloatingPointError(
                f"update {self.updates + 1}: the loss is {loss} and its gradient's norm "
                f"{self.grad_norm}; the weights are left as they were: lower lr or max_norm"
            )
        self.optimiser.step(grads)
        self.state, self.record, self.counted = record.state, record, counted
        self.updates += 1
        self.position = (self.position + 1) % len(self.batches)
        self.losses.append(loss)
        return loss

    def fit(
        self,
        updates: int,
        *,
        progress: bool | Callable | None = None,
        checkpoint=None,
        every: int | None = None,
        notes=None,
    ) -> Trainer:
        """Do `updates` more updates; Ctrl-C ends it after the one it is at.

        Parameters
        ----------
        updates : int
        progress : bool or callable, optional
            Show a bar; None shows it where stderr is a terminal. A function is called as
            ``progress(done, updates, info)`` after every update.
        checkpoint : path, optional
            Saved there at the end, also at the end by Ctrl-C. A second Ctrl-C does not wait.
            A place that cannot be written to is refused at once, but for a pipe that nobody reads.
        every : int, optional
            Save after every so many updates, too.
        notes : JSON value, optional
            Kept in the checkpoint, see `save`; refused at once where a file cannot hold it.
        """
        updates = as_size(updates, "updates", least=0)
        every = None if every is None else as_size(every, "every")
        check_notes(notes)
        if checkpoint is not None:
            check_target(checkpoint)
        elif every is not None:
            raise ValueError(f"every: got {every} without checkpoint, expected a path to save to, too")
        self.stop = self.interrupted = False
        name, unit = ("bits", math.log(2)) if self.model.loss_name == "cross_entropy" else ("loss", 1.0)
        with _interruptible() as interrupt, progress_bar(progress, updates, leave=False) as bar:
            for _ in range(updates):
                loss = self.update()
                for callback in self.callbacks:
                    callback(self)
                bar.update(1, **{name: f"{loss / unit:.3f}"})
                self.interrupted = interrupt.is_set()
                if self.stop or self.interrupted:
                    break
                if every and self.updates % every == 0:
                    self.save(checkpoint, notes)
            if checkpoint is not None:
                self.save(checkpoint, notes)
        return self

    def evaluate(self) -> float:
        """The mean loss a step on `valid`; for text, bits per character."""
        if self.valid is None:
            raise ValueError("valid: got None, expected held-out batches; give Trainer(valid=…)")
        return evaluate(self.model, self.valid, carry=self.carry)

    def save(self, path, notes=None) -> None:
        """Write everything that `resume` needs, and a JSON value of yours.

        Raises
        ------
        TypeError, ValueError
            `notes` is something that a file cannot hold; the file at `path` stays.
        """
        write_checkpoint(self, path, notes)

    def resume(self, path) -> Trainer:
        """Go on where the run that wrote `path` was; the same data has to be given.

        Data that differs is refused where both runs can tell: of `rnncore.data.batches`, a list or
        a tuple. Of sequences that compute their windows only the number is known.

        The whole file is checked first: a trainer that refuses one is as it was.

        Raises
        ------
        DamagedFileError
            The file is damaged or no checkpoint.
        ValueError
            It is of another model, another optimiser or other data, or of a run that carried its
            state where this one does not, or the other way round.
        """
        take_checkpoint(self, path)
        return self


def evaluate(model: SequenceModel, batches: Sequence, *, carry: bool = True) -> float:
    """The mean loss a step over `batches`, each looked at once: in bits if it is cross-entropy."""
    total, count = summed_loss(model, batches, carry=carry)
    if not count:
        raise ValueError("batches: got no step that counts, expected at least one")
    return total / count / (math.log(2) if model.loss_name == "cross_entropy" else 1.0)


def summed_loss(model: SequenceModel, batches: Sequence, *, carry: bool = True) -> tuple[float, int]:
    """The sum of the loss over `batches`, each looked at once, and how many steps or values count."""
    total, count, state = 0.0, 0, None
    for i, given in enumerate(batches):
        window = as_window(given, f"batches[{i}]")
        prediction, after = model(window.x, zero_rows(state, window.fresh), window.lengths)
        part, counted = model.summed_loss(prediction, window.targets, window.lengths, window.counted)
        total, count = total + part, count + counted
        state = after if carry else None
    return total, count


@contextmanager
def _interruptible():
    """An event that the first Ctrl-C sets; the second one acts as it did before."""
    interrupt = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield interrupt  # signals are the main thread's affair; or they are ignored on purpose
        return

    def handler(number, frame):
        interrupt.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handler)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


def _callables(callbacks) -> list:
    found = list(callbacks) if isinstance(callbacks, Iterable) else [None]
    if not all(map(callable, found)):
        raise TypeError(
            f"callbacks: got {callbacks!r:.60}, expected a list of functions of the trainer"
        )
    return found
