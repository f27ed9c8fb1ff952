"""Training for whole epochs, with early stopping on the held-out loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rnncore._checks import as_size
from rnncore._progress import progress_bar
from rnncore.train.loop import Trainer, summed_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rnncore._typing import Progress
    from rnncore.nn import SequenceModel
    from rnncore.optim import Optimiser


def fit_epochs(
    model: SequenceModel,
    optimiser: Optimiser,
    windows: Callable[[], Sequence[Any]],
    *,
    epochs: int,
    patience: int,
    valid: Sequence[Any] | None = None,
    progress: Progress = False,
    label: str | None = None,
    **options: Any,
) -> dict[str, list[float]]:
    """Train for whole epochs with early stopping, and restore the weights with the best held-out loss.

    Ctrl-C ends training at once with a KeyboardInterrupt; the model then keeps the weights of that moment.

    Parameters
    ----------
    model : SequenceModel
    optimiser : Optimiser
    windows : callable
        Returns the windows of the next epoch, for example in a new order.
    epochs : int
        The largest number of epochs.
    patience : int
        Training stops after this many epochs without a new best held-out loss.
    valid : sequence, optional
        Windows of held-out data. Without it, training runs for all epochs.
    progress, label
        A progress bar and its label, updated once per epoch, or a function ``progress(done, epochs, info)``.
    **options
        More arguments of the `Trainer` that does the updates; its `carry` decides for `windows` and `valid`.

    Returns
    -------
    dict of lists
        ``{"train": [...], "valid": [...]}``: the mean loss of every epoch, in nats or as squared error.

    Examples
    --------
    >>> from rnncore.data import Corpus, batches
    >>> from rnncore.nn import sequence_model
    >>> from rnncore.optim import Adam
    >>> from rnncore.train import fit_epochs
    >>> corpus = Corpus("the cat sat on the mat. " * 40)
    >>> train, valid = batches(corpus.train, 4, 16), batches(corpus.valid, 2, 16)
    >>> model = sequence_model("gru", len(corpus.vocabulary), hidden_size=16, seed=0)
    >>> history = fit_epochs(model, Adam(model, 0.02), lambda: train, epochs=5, patience=2, valid=valid)
    >>> len(history["valid"]), history["valid"][-1] < history["valid"][0]
    (5, True)
    """
    epochs, patience = as_size(epochs, "epochs"), as_size(patience, "patience")
    if not callable(windows):
        raise TypeError(f"windows: got {type(windows).__name__}, expected a function that returns an epoch's windows")
    history: dict[str, list[float]] = {"train": [], "valid": []}
    best, weights, since = math.inf, None, 0
    trainer = Trainer(model, optimiser, windows(), valid=valid, **options)
    with progress_bar(progress, epochs, label) as bar:
        for epoch in range(epochs):
            if epoch:
                trainer.batches = windows()
            history["train"].append(_epoch(trainer))
            if trainer.valid is not None:
                total, count = summed_loss(model, trainer.valid, carry=trainer.carry)
                if not count:
                    raise ValueError("valid: got no step that counts, expected at least one")
                history["valid"].append(total / count)
                since += 1
                if history["valid"][-1] < best:
                    best, weights, since = history["valid"][-1], model.state_dict(), 0
            bar.update(1, **{name: f"{loss[-1]:.4f}" for name, loss in history.items() if loss})
            if since >= patience or trainer.stop:
                break
    if weights is not None:
        model.load_state_dict(weights)
    return history


def _epoch(trainer: Trainer) -> float:
    """Run one epoch, unless a callback stops it; returns the mean of the losses before each update."""
    total, count = 0.0, 0.0
    for _ in range(len(trainer.batches)):
        loss = trainer.update()
        if trainer.counted:         # else the loss is NaN
            total, count = total + loss * trainer.counted, count + trainer.counted
        for callback in trainer.callbacks:
            callback(trainer)
        if trainer.stop:
            break
    return total / (count or 1)
