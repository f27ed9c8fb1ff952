"""The training loop: truncated back-propagation through time, carrying the state from window to window."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from rnncore._checks import as_number, as_size
from rnncore._progress import progress_bar
from rnncore.data.window import as_window, as_windows
from rnncore.io.files import check_target
from rnncore.module import Module
from rnncore.optim import clip_grad_norm
from rnncore.train.carry import as_carry, begin, carry_of_run
from rnncore.train.checkpoint import check_notes, take_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType, TracebackType

    from rnncore._typing import Array, PathLike, Progress, State
    from rnncore.data import Window
    from rnncore.nn import SequenceModel
    from rnncore.nn.record import SequenceRecord
    from rnncore.optim import Optimiser

    Callback = Callable[["Trainer"], object]


class Trainer:
    """Trains a `SequenceModel` on windows of sequences.

    Parameters
    ----------
    model : SequenceModel
    optimiser : Optimiser
    batches : sequence of windows
        At least one window, each ``(x, targets)``, ``(x, targets, lengths)``, a `rnncore.data.Window`, or a named tuple
        or mapping with such names, as the batches of `rnncore.tasks` are: ``x``, ``targets`` or ``target``,
        ``lengths``, ``counted`` or ``mask``, ``fresh``, ``weights``, ``reset``. Training uses them in order, again and
        again. Other batches may be set between two updates; training then begins with their first.
    valid : sequence, optional
        Windows of held-out data, for `evaluate`.
    max_norm : float or None
        Gradients are clipped to this joint norm, above 0 (Pascanu 2013); None does not clip.
    carry : bool, optional
        Whether a window begins in the final state of the one before it; the first window of the batches never does.
        By default it does where the data says that it continues the one before: in a sequence with an attribute
        ``continues`` that is True, as `rnncore.data.batches` has, and in a `Window` whose ``fresh`` is given, apart
        from the rows that it marks. All other batches are independent of each other, and so are all windows of a
        bidirectional layer. True carries the state into every window, for example of ``list(batches(…))``, and is
        refused for a bidirectional layer; False never carries it.
    callbacks : sequence of callables
        Each is called with the trainer after every update. It may read `losses`, `grad_norm` and `record` (which has
        the tape with its gradients), set ``optimiser.lr``, or set ``stop``. If it has a method
        ``before_step(trainer, record, loss, grads)``, that is called between the backward pass and the update, too,
        when the weights are still those of the tape; `viz.Debugger` and `viz.Recorder` use it.

    Attributes
    ----------
    updates : int
        The number of updates so far.
    position : int
        The index of the next window.
    epoch : int
        The number of times that training has gone through the windows.
    losses : list of float
        The loss of every update; cross-entropy in nats. It is NaN for a window in which nothing counts.
    counted : int or float
        The number of steps (for squared error: of values) in the mean of the last loss, or the sum of their weights.
    interrupted : bool
        Whether Ctrl-C ended the last `fit`.

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
        batches: Sequence[Any],
        *,
        valid: Sequence[Any] | None = None,
        max_norm: float | None = 1.0,
        carry: bool | None = None,
        callbacks: Iterable[Callback] = (),
    ) -> None:
        _check_parts(model, optimiser, batches)
        self.model, self.optimiser, self.batches, self.valid = model, optimiser, batches, valid
        self.max_norm, self.carry = max_norm, carry
        self.callbacks = _callables(callbacks)
        self.updates = self.position = self.epoch = 0
        self._uncounted = 0     # the last updates in succession in which nothing counted
        self.losses: list[float] = []
        self.state: State | None = None
        self.record: SequenceRecord | None = None
        self.counted: float = 0
        self.grad_norm = math.nan
        self.stop = self.interrupted = False

    def __repr__(self) -> str:
        last = f", last loss {self.losses[-1]:.4g}" if self.losses else ""
        clip = "no clipping" if self.max_norm is None else f"max_norm={self.max_norm:g}"
        carried = carry_of_run(self.model, self.batches, self.carry)
        how = "carried where fresh is given" if carried is None else "carried" if carried else "not carried"
        return (f"<Trainer of {type(self.model).__name__}: {self.updates} updates done{last}; {len(self.batches)} "
                f"windows, state {how}, {clip}; {self.optimiser!r}>")

    @property
    def batches(self) -> Sequence[Any]:
        """The windows of training."""
        return self._batches

    @batches.setter
    def batches(self, batches: Sequence[Any]) -> None:
        self._batches: Sequence[Any] = as_windows(batches, "batches")
        self.position = self._uncounted = 0

    @property
    def valid(self) -> Sequence[Any] | None:
        """The windows of held-out data, for `evaluate`."""
        return self._valid

    @valid.setter
    def valid(self, valid: Sequence[Any] | None) -> None:
        self._valid: Sequence[Any] | None = None if valid is None else as_windows(valid, "valid")

    @property
    def max_norm(self) -> float | None:
        """The joint norm that gradients are clipped to, or None."""
        return self._max_norm

    @max_norm.setter
    def max_norm(self, max_norm: float | None) -> None:
        if max_norm is not None:
            max_norm = as_number(max_norm, "max_norm", above=0, finite=False, also="None, which does not clip")
        self._max_norm = max_norm

    @property
    def carry(self) -> bool | None:
        """Whether a window begins in the final state of the one before it; None: where the data says so."""
        return self._carry

    @carry.setter
    def carry(self, carry: bool | None) -> None:
        self._carry = as_carry(carry, self.model)

    def update(self) -> float:
        """Train on one window: forward, backward, clip, step. Returns the loss before the step.

        Raises
        ------
        TypeError, ValueError, IndexError
            The window does not fit the model, or its rows do not fit the state that is carried into it; the message
            names the window.
            ValueError, too: as many windows in succession as there are had no step that counts.
        FloatingPointError
            The loss or its gradient is not finite; the weights are left unchanged.

        Notes
        -----
        A window in which nothing counts, for example of a gap in a series, is passed over: its loss is NaN, and the
        weights and the optimiser are left unchanged.
        """
        name = f"batches[{self.position}]"
        window = as_window(self.batches[self.position], name)
        before = self.state if self.position else None
        self.record = None  # free the last tape before the next is recorded
        with _naming(name):
            state = begin(self.model, before, window, self.batches, self.carry)
            record = self.model.record(window.x, state, lengths=window.lengths, train=True, **_given(window, "reset"))
            loss, grad, counted = self.model.mean_loss(
                record.output, window.targets, window.lengths, window.counted, **_given(window, "weights")
            )
        self._uncounted = 0 if counted else self._uncounted + 1
        if self._uncounted >= len(self.batches):
            raise ValueError(f"{name}: got no step that counts, nor in any other of {len(self.batches)} batches, "
                             "expected at least one; a mask is True where a step counts, and lengths are above 0")
        grads = record.backward(grad).parameters
        if counted:
            self._step(record, loss, grads)
        else:
            loss = self.grad_norm = math.nan
        self.state, self.record, self.counted = record.state, record, counted
        self.updates += 1
        self.position = (self.position + 1) % len(self.batches)
        self.epoch += self.position == 0
        self.losses.append(loss)
        return loss

    def _step(self, record: SequenceRecord, loss: float, grads: dict[str, Array]) -> None:
        """Change the weights by the gradients of a recorded pass."""
        for callback in self.callbacks:
            if hasattr(callback, "before_step"):
                callback.before_step(self, record, loss, grads)
        self.grad_norm = clip_grad_norm(grads, math.inf if self.max_norm is None else self.max_norm)
        if not (math.isfinite(loss) and math.isfinite(self.grad_norm)):
            raise FloatingPointError(
                f"update {self.updates + 1}: the loss is {loss} and its gradient's norm "
                f"{self.grad_norm}; the weights are left unchanged: lower lr or max_norm"
            )
        self.optimiser.step(grads)

    def fit(
        self,
        updates: int,
        *,
        progress: Progress = None,
        checkpoint: PathLike | None = None,
        every: int | None = None,
        notes: object = None,
    ) -> Self:
        """Do `updates` more updates. Ctrl-C ends training after the current update.

        Parameters
        ----------
        updates : int
        progress : bool or callable, optional
            Whether to show a bar; None shows it if stderr is a terminal. A function is called as
            ``progress(done, updates, info)`` after every update.
        checkpoint : path, optional
            A checkpoint is saved there at the end, also after Ctrl-C. A second Ctrl-C does not wait for the update or
            the checkpoint. A path that cannot be written to is refused at once, except for a pipe without a reader.
        every : int, optional
            Also save the checkpoint every `every` updates.
        notes : JSON value, optional
            Stored in the checkpoint, see `save`; refused at once if a file cannot hold it.

        Returns
        -------
        Trainer
            Itself.
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
                if checkpoint is not None and every and self.updates % every == 0:
                    self.save(checkpoint, notes)
            if checkpoint is not None:
                self.save(checkpoint, notes)
        return self

    def evaluate(self) -> float:
        """The mean loss per step on `valid`; for text, bits per character."""
        if self.valid is None:
            raise ValueError("valid: got None, expected held-out batches; pass Trainer(valid=…)")
        return evaluate(self.model, self.valid, carry=self.carry)

    def save(self, path: PathLike, notes: object = None) -> None:
        """Write a checkpoint with everything that `resume` needs, and notes of yours.

        Parameters
        ----------
        path : path
        notes : JSON value, optional

        Raises
        ------
        TypeError, ValueError
            A file cannot hold `notes`; the file at `path` is left unchanged.
        """
        write_checkpoint(self, path, notes)

    def resume(self, path: PathLike) -> Self:
        """Continue the run that wrote the checkpoint `path`, with the same data.

        Other data is refused if it can be compared: `rnncore.data.batches`, a list or a tuple. For sequences that
        compute their windows only the number of windows is compared.

        The whole file is checked first: if it is refused, the trainer is left unchanged.

        Raises
        ------
        DamagedFileError
            The file is damaged, or is not a checkpoint.
        ValueError
            It is the checkpoint of another model, another optimiser or other data, or of a run that carried the state
            where this one does not.
        """
        take_checkpoint(self, path)
        return self


def evaluate(model: SequenceModel, batches: Sequence[Any], *, carry: bool | None = None) -> float:
    """The mean loss per step over `batches`; cross-entropy in bits.

    Parameters
    ----------
    model : SequenceModel
    batches : sequence of windows
        As for `Trainer`.
    carry : bool, optional
        As for `Trainer`: whether a window begins in the final state of the one before it; by default where the data
        says so.
    """
    total, count = summed_loss(model, batches, carry=carry)
    if not count:
        raise ValueError("batches: got no step that counts, expected at least one")
    return total / count / (math.log(2) if model.loss_name == "cross_entropy" else 1.0)


def _given(window: Window, name: str) -> dict[str, Array]:
    """A part of a window as an argument. None is left out, because the methods of a subclass need not take it."""
    value = getattr(window, name)
    return {} if value is None else {name: value}


def summed_loss(
    model: SequenceModel, batches: Sequence[Any], *, carry: bool | None = None
) -> tuple[float, float]:
    """The sum of the loss over `batches`, and the number of steps or values in it, or the sum of their weights."""
    carry = as_carry(carry, model)
    total: float = 0
    count: float = 0
    state: State | None = None
    for i, given in enumerate(batches):
        name = f"batches[{i}]"
        window = as_window(given, name)
        with _naming(name):
            state = begin(model, state, window, batches, carry)
            prediction, state = model(window.x, state, window.lengths, **_given(window, "reset"))
            part, counted = model.summed_loss(
                prediction, window.targets, window.lengths, window.counted, **_given(window, "weights")
            )
        total, count = total + part, count + counted
    return total, count


class _naming:
    """Errors of the block in what a window holds begin with the window's name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None and type(error) in (TypeError, ValueError, IndexError):
            raise type(error)(f"{self._name}: {error}") from error


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one has the effect that it had before."""
    interrupt = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield interrupt  # only the main thread can handle signals; and who ignores them, does so on purpose
        return

    def handler(number: int, frame: FrameType | None) -> None:
        interrupt.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handler)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


def _check_parts(model: Any, optimiser: Any, batches: Any) -> None:
    """Refuse arguments of a `Trainer` of the wrong kind or in the wrong order, with the way out."""
    order = "the arguments are Trainer(model, optimiser, batches)"
    if not hasattr(model, "mean_loss"):
        layer = "; put the layer into one: rnncore.nn.SequenceModel(None, layer, rnncore.nn.Linear(…))"
        raise TypeError(f"model: got {type(model).__name__}, expected a SequenceModel, which has a loss"
                        + (layer if isinstance(model, Module) else f"; {order}"))
    if not hasattr(optimiser, "step") or not hasattr(optimiser, "module"):
        raise TypeError(f"optimiser: got {type(optimiser).__name__}, expected an optimiser, such as "
                        f"rnncore.optim.Adam(model); {order}")
    if optimiser.module is not model:
        raise ValueError("optimiser: got the optimiser of another module, expected one that was made for model")
    if not hasattr(batches, "__len__") and hasattr(batches, "train"):
        raise TypeError(f"batches: got {type(batches).__name__} with all its parts, expected the batches of one; "
                        "pass Trainer(model, optimiser, w.train, valid=w.valid)")


def _callables(callbacks: Any) -> list[Any]:
    found = list(callbacks) if isinstance(callbacks, Iterable) else [None]
    if kinds := [kind for kind in found if isinstance(kind, type)]:
        raise TypeError(f"callbacks: got the class {kinds[0].__name__}, expected an object of it; call it first: "
                        f"{kinds[0].__name__}()")
    if not all(map(callable, found)):
        raise TypeError(
            f"callbacks: got {callbacks!r:.60}, expected a list of functions of the trainer"
        )
    return found
