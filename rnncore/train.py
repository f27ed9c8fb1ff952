"""The training loop: truncated back-propagation through time with the state carried along.

    batches ─ window ─ model.record ─ loss ─ backward ─ clip ─ optimiser
                 ↑ state of the window before           └ checkpoint, callbacks

A run that is interrupted and resumed from its checkpoint has the bits of the run that was not:
the file holds weights, optimiser, place in the data, carried state and the dropout counters, and a
digest of the data (see `rnncore.data.fingerprint`). All of it is checked before a run takes over any
of it.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeGuard

import numpy as np

from rnncore._checks import as_flag, as_number, as_size
from rnncore.data import fingerprint
from rnncore.io.fields import DamagedFileError, Field, named_errors
from rnncore.io.files import check_target
from rnncore.io.safetensors import as_json, load_arrays, load_metadata, save_arrays
from rnncore.module import Module
from rnncore.nn import SequenceModel
from rnncore.nn.sequence import SequenceRecord, _prefixed, read_config
from rnncore.optim import Optimiser, clip_grad_norm

WINDOW = "(x, targets) or (x, targets, lengths)"
# The second says which data the run was of, and whether it carried its state.
FORMATS = ("rnncore checkpoint 1", "rnncore checkpoint 2")


class Trainer:
    """Trains a `SequenceModel` on windows of sequences.

    Parameters
    ----------
    model : SequenceModel
    optimiser : Optimiser
    batches : sequence of (x, targets) or (x, targets, lengths)
        At least one; for example `rnncore.data.batches`. Gone through in order, over and over.
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
    losses : list of float
        One an update, in nats.
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
        self.updates = 0
        self.losses: list[float] = []
        self.state: np.ndarray | tuple | None = None
        self.record: SequenceRecord | None = None
        self.grad_norm = math.nan
        self.stop = self.interrupted = False

    @property
    def batches(self) -> Sequence:
        """The windows of training."""
        return self._batches

    @batches.setter
    def batches(self, batches: Sequence) -> None:
        self._batches = _some("batches", batches)

    @property
    def valid(self) -> Sequence | None:
        """Those of `evaluate`."""
        return self._valid

    @valid.setter
    def valid(self, valid: Sequence | None) -> None:
        self._valid = None if valid is None else _some("valid", valid)

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
        """One window: forward, backward, clip, step. Returns the loss before the step."""
        position = self.updates % len(self.batches)
        x, targets, *lengths = _window("batches", position, self.batches[position])
        state = self.state if self.carry and position else None
        self.record = None  # let go of the last tape before the next is made
        record = self.model.record(x, state, *lengths, train=True)
        loss, grad = self.model.loss(record.output, targets, *lengths)
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
        self.state, self.record = record.state, record
        self.updates += 1
        self.losses.append(loss)
        return loss

    def fit(
        self,
        updates: int,
        *,
        progress: bool | None = None,
        checkpoint=None,
        every: int | None = None,
        notes=None,
    ) -> Trainer:
        """Do `updates` more updates; Ctrl-C ends it after the one it is at.

        Parameters
        ----------
        updates : int
        progress : bool, optional
            Show a bar; None shows it where stderr is a terminal.
        checkpoint : path, optional
            Saved there at the end, also at the end by Ctrl-C. A second Ctrl-C does not wait.
            A place that cannot be written to is refused at once, but for a pipe that nobody reads.
        every : int, optional
            Save after every so many updates, too.
        notes : JSON value, optional
            Kept in the checkpoint, see `save`; refused at once where a file cannot hold it.
        """
        from tqdm import tqdm

        updates = as_size(updates, "updates", least=0)
        every = None if every is None else as_size(every, "every")
        _check_notes(notes)
        if checkpoint is not None:
            check_target(checkpoint)
        elif every is not None:
            raise ValueError(f"every: got {every} without checkpoint, expected a path to save to, too")
        self.stop = self.interrupted = False
        off = None if progress is None else not progress
        with _interruptible() as interrupt, tqdm(total=updates, disable=off, leave=False) as bar:
            for _ in range(updates):
                loss = self.update()
                for callback in self.callbacks:
                    callback(self)
                if not bar.disable:
                    bar.set_postfix_str(f"{loss / math.log(2):.3f} bits", refresh=False)
                    bar.update()
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
        _check_notes(notes)
        optimiser = self.optimiser.state_dict()
        arrays = _prefixed("model", self.model.state_dict())
        arrays |= _prefixed("optimiser", optimiser.pop("buffers"))
        arrays |= {f"carry.{i}": array for i, array in enumerate(_as_tuple(self.state))}
        arrays["losses"] = np.array(self.losses, np.float64)
        metadata = {
            "format": FORMATS[-1],
            "model": self.model.config,
            "optimiser": optimiser | {"kind": type(self.optimiser).__name__},
            "updates": self.updates,
            "windows": len(self.batches),
            "carry": self.carry,
            "data": fingerprint(self.batches),
            "masks": [[int(m._mask_seed), m._calls] for m in _dropping(self.model)],
            "notes": notes,
        }
        save_arrays(path, arrays, metadata)

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
        arrays, metadata = read_checkpoint(path)
        head = Field(metadata, path)
        written = {
            "model": (metadata["model"], self.model.config),
            "optimiser": (metadata["optimiser"]["kind"], type(self.optimiser).__name__),
            "number of windows": (metadata["windows"], len(self.batches)),
        }
        if metadata["format"] != FORMATS[0]:
            written["carry"] = (metadata["carry"], self.carry)
        for what, (got, expected) in written.items():
            if got != expected:
                raise ValueError(f"{path}: its {what} is {got}, this run's is {expected}")
        if metadata["format"] != FORMATS[0]:
            self._check_data(path, metadata["data"])
        weights = _fitting(path, "model", arrays, self.model.parameters)
        buffers = _fitting(path, "optimiser", arrays, self.optimiser.buffers)
        with named_errors(head["optimiser"]):
            options, steps = metadata["optimiser"]["options"], metadata["optimiser"]["steps"]
            state = self.optimiser._checked_state(
                {"options": options, "steps": steps, "buffers": buffers}
            )
        carried = self._fitting_carry(path, arrays, metadata["updates"])
        dropping = _dropping(self.model)
        pairs = [pair.items(2) for pair in head["masks"].items(len(dropping))]
        masks = [(seed.whole(0, 2**64 - 1), calls.whole()) for seed, calls in pairs]

        self.model.load_state_dict(weights)
        self.optimiser._take(*state)
        self.state = None if not carried else carried if len(carried) > 1 else carried[0]
        self.updates, self.losses = metadata["updates"], arrays["losses"].tolist()
        for module, (seed, calls) in zip(dropping, masks, strict=True):
            module._mask_seed, module._calls = np.uint64(seed), calls
        return self

    def _check_data(self, path, written: str | None) -> None:
        own = None if written is None else fingerprint(self.batches)
        if own and written and own != written:
            raise ValueError(
                f"{path}: its training data is another (digest {written[:12]}…, this run's is "
                f"{own[:12]}…): give the batches that the run was made with"
            )

    def _fitting_carry(self, path, arrays: dict, updates: int) -> tuple[np.ndarray, ...]:
        """The state after the last window, as the model has it after that window's rows."""
        if not _under("carry", arrays):
            if self.carry and updates % len(self.batches):
                raise DamagedFileError(
                    f"{path}: the state that is carried is missing, after update {updates}, within a "
                    f"round of {len(self.batches)} windows"
                )
            return ()
        x = np.asarray(self.batches[(updates - 1) % len(self.batches)][0])
        whole_batch = x.ndim + (self.model.embedding is not None) == 3
        nothing = x[:, :0] if whole_batch and self.model.layer.batch_first else x[:0]
        states = _as_tuple(self.model(nothing)[1])
        own = {str(i): state for i, state in enumerate(states)}
        return tuple(_fitting(path, "carry", arrays, own).values())


def evaluate(model: SequenceModel, batches: Sequence, *, carry: bool = True) -> float:
    """The mean loss a step over `batches`, each looked at once: in bits if it is cross-entropy."""
    total, count, state = 0.0, 0, None
    for i, window in enumerate(batches):
        x, targets, *lengths = _window("batches", i, window)
        prediction, after = model(x, state, *lengths)
        losses, counted = model.step_losses(prediction, targets, *lengths)
        total += float(losses.sum(dtype=np.float64))
        count += counted
        state = after if carry else None
    if not count:
        raise ValueError("batches: got no step that counts, expected at least one")
    unit = math.log(2) if model.loss_name == "cross_entropy" else 1.0
    return total / count / unit


def read_checkpoint(path) -> tuple[dict[str, np.ndarray], dict]:
    """``(arrays, metadata)`` of a checkpoint; anything else is refused.

    What stands in it on its own is checked here; whether it fits a run, `Trainer.resume` knows.
    """
    arrays, metadata = load_arrays(path)
    if not _is_ours(metadata):
        raise DamagedFileError(f"{path} is no checkpoint of this version of rnncore")
    head = Field(metadata, path)
    read_config(head["model"])
    optimiser = head["optimiser"]
    optimiser["kind"].text()
    optimiser["options"].keys()
    optimiser["steps"].whole()
    head["windows"].whole(1)
    head["masks"].items()
    head.require(["notes"])  # anything
    if metadata["format"] != FORMATS[0]:
        head["carry"].flag()
        if head["data"].value is not None:
            head["data"].text()
    Field(arrays, path)["losses"].array((head["updates"].whole(),), np.float64)
    return arrays, metadata


def is_checkpoint(path) -> bool:
    """Whether a file says that it is a checkpoint of ours; the rest of it is not looked at."""
    try:
        return _is_ours(load_metadata(path))
    except (OSError, DamagedFileError):
        return False


def _is_ours(metadata) -> TypeGuard[dict]:
    return isinstance(metadata, dict) and metadata.get("format") in FORMATS


def load_model(path) -> tuple[SequenceModel, dict]:
    """The trained model of a checkpoint, and the checkpoint's metadata (``["notes"]`` is yours)."""
    arrays, metadata = read_checkpoint(path)
    config = Field(metadata, path)["model"]
    return SequenceModel.from_file(config, _under("model", arrays)), metadata


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


def _dropping(module: Module) -> list:
    """The modules in `module` that drop in training: their masks follow a seed and a counter."""
    found = [module] if hasattr(module, "_mask_seed") else []
    for child in module._modules.values():
        found += _dropping(child)
    return found


def _some(name: str, batches: Sequence) -> Sequence:
    """`batches`, refused where there are none, or where they cannot be counted."""
    counted = hasattr(batches, "__len__") and hasattr(batches, "__getitem__")
    if not counted or isinstance(batches, (str, bytes, Mapping)):
        raise TypeError(
            f"{name}: got {type(batches).__name__}, expected a sequence of {WINDOW}; make a list of what "
            "can be gone through once"
        )
    if not len(batches):
        raise ValueError(f"{name}: got none, expected at least one {WINDOW}")
    if isinstance(batches, (list, tuple)):  # others may compute it, or draw it at random
        _window(name, 0, batches[0])
    return batches


def _window(name: str, index: int, window) -> tuple | list:
    """One of some batches, refused unless it has two or three parts."""
    if not isinstance(window, (tuple, list)) or len(window) not in (2, 3):
        size = f" of {len(window)}" if isinstance(window, (tuple, list)) else ""
        raise TypeError(
            f"{name}[{index}]: got a {type(window).__name__}{size}, expected {WINDOW}, a tuple"
        )
    return window


def _callables(callbacks) -> list:
    found = list(callbacks) if isinstance(callbacks, Iterable) else [None]
    if not all(map(callable, found)):
        raise TypeError(
            f"callbacks: got {callbacks!r:.60}, expected a list of functions of the trainer"
        )
    return found


def _check_notes(notes) -> None:
    as_json({"notes": notes}, "notes")  # as deep as they will be in the file


def _fitting(path, prefix: str, arrays: dict, own: dict) -> dict[str, np.ndarray]:
    """The arrays under `prefix`, which have to be those of `own` by name, shape and dtype."""
    found = Field(_under(prefix, arrays), path, prefix)
    found.only(own)
    return {
        name: found[name].array(values.shape, values.dtype, finite=False)
        for name, values in own.items()
    }


def _as_tuple(state) -> tuple:
    return () if state is None else state if isinstance(state, tuple) else (state,)


def _under(prefix: str, arrays: dict) -> dict:
    start = prefix + "."
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}
