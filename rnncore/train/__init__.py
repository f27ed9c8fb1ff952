"""Training: truncated back-propagation through time with the state carried along.

    batches ─ window ─ model.record ─ loss ─ backward ─ clip ─ optimiser
                 ↑ state of the window before           └ checkpoint, callbacks

loop        one update after the other, and the loss on held-out data
epochs      rounds of data in a new order each, until the held-out loss is best
checkpoint  a run as a file, to go on from
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
