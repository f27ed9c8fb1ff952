"""The training loop: truncated back-propagation through time with the state carried along.

    batches ─ window ─ model.record ─ loss ─ backward ─ clip ─ optimiser
                 ↑ state of the window before           └ checkpoint, callbacks

A run that is interrupted and resumed from its checkpoint has the bits of the run that was not:
the file holds weights, optimiser, place in the data, carried state and the dropout counters.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager

import numpy as np

from rnncore.io.safetensors import DamagedFileError, load_arrays, save_arrays
from rnncore.module import Module
from rnncore.nn import SequenceModel
from rnncore.nn.sequence import SequenceRecord
from rnncore.optim import Optimiser, clip_grad_norm

_FORMAT = "rnncore checkpoint 1"


class Trainer:
    """Trains a `SequenceModel` on windows of sequences.

    Parameters
    ----------
    model : SequenceModel
    optimiser : Optimiser
    batches : sequence of (x, targets) or (x, targets, lengths)
        For example `rnncore.data.batches`. Gone through in order, over and over.
    valid : sequence, optional
        The same of held-out text, for `evaluate`.
    max_norm : float or None
        Gradients are clipped to this joint norm (Pascanu 2013); None does not clip.
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
        self.max_norm, self.carry, self.callbacks = max_norm, carry, list(callbacks)
        self.updates = 0
        self.losses: list[float] = []
        self.state: np.ndarray | tuple | None = None
        self.record: SequenceRecord | None = None
        self.grad_norm = math.nan
        self.stop = self.interrupted = False

    def update(self) -> float:
        """One window: forward, backward, clip, step. Returns the loss before the step."""
        position = self.updates % len(self.batches)
        x, targets, *lengths = self.batches[position]
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
        every : int, optional
            Save after every so many updates, too.
        notes : JSON value, optional
            Kept in the checkpoint, see `save`.
        """
        from tqdm import tqdm

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
                if checkpoint and every and self.updates % every == 0:
                    self.save(checkpoint, notes)
            if checkpoint:
                self.save(checkpoint, notes)
        return self

    def evaluate(self) -> float:
        """The mean loss a step on `valid`; for text, bits per character."""
        if self.valid is None:
            raise ValueError("valid: got None, expected held-out batches; give Trainer(valid=…)")
        return evaluate(self.model, self.valid, carry=self.carry)

    def save(self, path, notes=None) -> None:
        """Write everything that `resume` needs, and a JSON value of yours."""
        optimiser = self.optimiser.state_dict()
        arrays = _prefixed("model", self.model.state_dict())
        arrays |= _prefixed("optimiser", optimiser.pop("buffers"))
        arrays |= {f"carry.{i}": array for i, array in enumerate(_as_tuple(self.state))}
        arrays["losses"] = np.array(self.losses, np.float64)
        metadata = {
            "format": _FORMAT,
            "model": self.model.config,
            "optimiser": optimiser | {"kind": type(self.optimiser).__name__},
            "updates": self.updates,
            "windows": len(self.batches),
            "masks": [[int(m._mask_seed), m._calls] for m in _dropping(self.model)],
            "notes": notes,
        }
        save_arrays(path, arrays, metadata)

    def resume(self, path) -> Trainer:
        """Go on where the run that wrote `path` was; the same data has to be given.

        Raises
        ------
        DamagedFileError
            The file is damaged or no checkpoint.
        ValueError
            It is of another model, another optimiser or other data.
        """
        arrays, metadata = read_checkpoint(path)
        kind = type(self.optimiser).__name__
        for what, got, expected in (
            ("model", metadata["model"], self.model.config),
            ("optimiser", metadata["optimiser"]["kind"], kind),
            ("number of windows", metadata["windows"], len(self.batches)),
        ):
            if got != expected:
                raise ValueError(f"{path}: its {what} is {got}, this run's is {expected}")
        self.model.load_state_dict(_under("model", arrays))
        self.optimiser.load_state_dict(
            metadata["optimiser"] | {"buffers": _under("optimiser", arrays)}
        )
        carry = _under("carry", arrays)
        carried = tuple(carry[str(i)] for i in range(len(carry)))
        self.state = None if not carried else carried if len(carried) > 1 else carried[0]
        self.updates, self.losses = metadata["updates"], arrays["losses"].tolist()
        for module, (seed, calls) in zip(_dropping(self.model), metadata["masks"], strict=True):
            module._mask_seed, module._calls = np.uint64(seed), calls
        return self


def evaluate(model: SequenceModel, batches: Sequence, *, carry: bool = True) -> float:
    """The mean loss a step over `batches`, each looked at once: in bits if it is cross-entropy."""
    total, count, state = 0.0, 0, None
    for x, targets, *lengths in batches:
        prediction, after = model(x, state, *lengths)
        losses, counted = model.step_losses(prediction, targets, *lengths)
        total += float(losses.sum(dtype=np.float64))
        count += counted
        state = after if carry else None
    unit = math.log(2) if model.loss_name == "cross_entropy" else 1.0
    return total / max(count, 1) / unit


def read_checkpoint(path) -> tuple[dict[str, np.ndarray], dict]:
    """``(arrays, metadata)`` of a checkpoint; anything else is refused."""
    arrays, metadata = load_arrays(path)
    if not isinstance(metadata, dict) or metadata.get("format") != _FORMAT:
        raise DamagedFileError(f"{path} is no checkpoint of this version of rnncore")
    return arrays, metadata


def load_model(path) -> tuple[SequenceModel, dict]:
    """The trained model of a checkpoint, and the checkpoint's metadata (``["notes"]`` is yours)."""
    arrays, metadata = read_checkpoint(path)
    model = SequenceModel.from_config(metadata["model"])
    model.load_state_dict(_under("model", arrays))
    return model, metadata


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


def _as_tuple(state) -> tuple:
    return () if state is None else state if isinstance(state, tuple) else (state,)


def _prefixed(prefix: str, arrays: dict) -> dict:
    return {f"{prefix}.{name}": values for name, values in arrays.items()}


def _under(prefix: str, arrays: dict) -> dict:
    start = prefix + "."
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}
