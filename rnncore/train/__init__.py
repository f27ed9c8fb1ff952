"""Training: truncated back-propagation through time, carrying the state where a window continues the one before it.

    batches ─ window ─ model.record ─ loss ─ backward ─ clip ─ optimiser
                 ↑ state of the previous window         └ checkpoint, callbacks

loop        the training loop, and the loss on held-out data
carry       which windows begin in the final state of the window before them
epochs      training for whole epochs, with early stopping on the held-out loss
checkpoint  files from which a run can be resumed
"""

from rnncore.train.checkpoint import FORMATS, is_checkpoint, load_model, read_checkpoint
from rnncore.train.epochs import fit_epochs
from rnncore.train.loop import Trainer, evaluate

__all__ = [
    "FORMATS",
    "Trainer",
    "evaluate",
    "fit_epochs",
    "is_checkpoint",
    "load_model",
    "read_checkpoint",
]


def __dir__() -> list[str]:
    return sorted(__all__)
