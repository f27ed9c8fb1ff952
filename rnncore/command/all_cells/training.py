"""Trains the cells with one budget and measures how far back each one's gradient reaches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rnncore.data import Corpus, batches
from rnncore.nn import SequenceModel, sequence_model
from rnncore.nn.record import SequenceRecord
from rnncore.optim import Adam
from rnncore.recurrent.descriptions import CELLS
from rnncore.train import Trainer

if TYPE_CHECKING:
    from rnncore._typing import Floats

LATER = 20  # the lag whose Jacobian norm the table and the figure show
NORM_TITLES = ("norm at lag 1", "its half-life", f"norm at lag {LATER}")
# What the columns of the table mean.
NORMS = f"""\
norm at lag k: a gradient that goes back k steps is multiplied by at most this; below 1 it shrinks, above 1 it can grow.
its half-life: the first lag at which the norm is less than half of that at lag 1. Norms that fall at first and then
stay level have a short half-life, and much is left at lag {LATER}. All are medians over stretches of held-out text."""
# All cells except the GRU that resets before the product: its gates are those of the other GRU, and it would take
# as long again to train.
TRAINED = {name: cell for name, cell in CELLS.items() if name != "gru-reset-before"}


@dataclass(frozen=True)
class Budget:
    """The settings of training and measuring, which are the same for every cell."""

    updates: int = 1500
    hidden_size: int = 128
    embedding_size: int = 64
    batch_size: int = 32
    window: int = 64
    lr: float = 5e-3
    max_norm: float = 1.0
    seed: int = 0
    # Of the backward pass after training: steps and rows of held-out text.
    lags: int = 80
    rows: int = 8


@dataclass
class TrainedCell:
    """One trained cell and its measurements.

    Attributes
    ----------
    bits : float
        Bits per character on held-out text; NaN if training diverged.
    seconds : float
        Duration of training, without evaluation and measurements.
    record : SequenceRecord
        `lags` steps of held-out text in float64, with the gradient of the loss at the last step.
    jacobian_norms : ndarray (lags, rows)
        Element k is ‖∂s_T/∂s_{T−k}‖₂.
    text : str
        The text of row 0 of the record.
    """

    cell: str
    model: SequenceModel
    losses: list[float]
    bits: float
    seconds: float
    record: SequenceRecord
    jacobian_norms: Floats
    text: str

    def __repr__(self) -> str:
        return f"TrainedCell({self.label}, {self.parameters:,} parameters, {self.bits_text} bits per character)"

    @property
    def label(self) -> str:
        return TRAINED[self.cell].label

    @property
    def parameters(self) -> int:
        return sum(values.size for values in self.model.parameters.values())

    @property
    def decay(self) -> Floats:
        """The median of the norms over the rows, one per lag."""
        decay: Floats = np.median(self.jacobian_norms, axis=1)
        return decay

    @property
    def half_life(self) -> int | None:
        """The half-life of the norm at lag 1, in steps; None if it is longer than the recorded stretch."""
        from rnncore import viz

        steps = viz.half_life(self.decay)[0]
        return int(steps) if np.isfinite(steps) else None

    @property
    def half_life_text(self) -> str:
        if self.half_life is None:
            return f"over {len(self.jacobian_norms) - 1} steps"
        return f"{self.half_life} steps"

    @property
    def remaining(self) -> tuple[float, float, float]:
        """The smallest, the median and the largest norm of the rows at lag `LATER`, where that at lag 0 is 1.

        For curves that fall at first and then stay level, as a GRU's does, it describes more than the half-life.
        """
        norms = self.jacobian_norms[min(LATER, len(self.jacobian_norms) - 1)]
        return float(norms.min()), float(np.median(norms)), float(norms.max())

    @property
    def norm_texts(self) -> tuple[str, str, str]:
        """What the table says of the norms: at lag 1, the half-life from there, and at lag `LATER`; medians.

        The norm at lag 1 may be above 1, and a GRU's or an LSTM's usually is. Without it the half-life, which counts
        from there, and the norm at a later lag seem to contradict each other: 4.5, 7 steps and 1.6.
        """
        from rnncore.viz.plots._words import number

        return number(self.decay[min(1, len(self.decay) - 1)]), self.half_life_text, number(self.remaining[1])

    @property
    def bits_text(self) -> str:
        return "diverged" if np.isnan(self.bits) else f"{self.bits:.3f}"


def train_cells(corpus: Corpus, budget: Budget, *, progress: bool | None = None) -> Iterator[TrainedCell]:
    """Train and measure one cell after the other.

    Raises
    ------
    TextError
        `corpus` is too short for the budget.
    KeyboardInterrupt
        Ctrl-C, after the update at which it came.
    """
    corpus.require(budget.batch_size, budget.window)
    windows = batches(corpus.train, budget.batch_size, budget.window)
    rows = min(budget.batch_size, len(corpus.valid) - 1)
    valid = batches(corpus.valid, rows, budget.window, drop_last=False)
    for cell in TRAINED:
        model = sequence_model(
            cell,
            len(corpus.vocabulary),
            hidden_size=budget.hidden_size,
            embedding_size=budget.embedding_size,
            seed=budget.seed,
        )
        trainer = Trainer(
            model, Adam(model, budget.lr), windows, valid=valid, max_norm=budget.max_norm
        )
        start = time.perf_counter()
        with contextlib.suppress(FloatingPointError):  # training diverged; the last finite weights are kept
            trainer.fit(budget.updates, progress=progress)
        seconds = time.perf_counter() - start
        if trainer.interrupted:
            raise KeyboardInterrupt
        bits = trainer.evaluate() if trainer.updates == budget.updates else np.nan
        record, norms, text = look_back(model, corpus, budget)
        yield TrainedCell(cell, model, trainer.losses, bits, seconds, record, norms, text)


def look_back(model: SequenceModel, corpus: Corpus, budget: Budget) -> tuple[SequenceRecord, Floats, str]:
    """A recorded stretch of held-out text, its Jacobian norms, and the text of its first row.

    It is computed in float64, since in float32 the gradient of a sigmoid RNN underflows to zero. The
    loss is that of the last step alone, so the gradient at a step is all that has reached that step.
    """
    from rnncore import viz

    model = model.astype("float64")
    rows = max(1, min(budget.rows, (len(corpus.valid) - 1) // budget.lags))
    x, targets = batches(corpus.valid, rows, budget.lags, drop_last=False)[0]
    record = model.record(x)
    last_only = np.full(targets.shape, -100)
    last_only[-1] = targets[-1]
    _, grad = model.loss(record.output, last_only)
    record.backward(grad)
    return record, viz.jacobian_norms(record.tape), corpus.decode(x[:, 0])


def table(trained: list[TrainedCell]) -> str:
    """The trained cells as aligned text, one per line."""
    lines: list[tuple[str, ...]] = [("cell", "parameters", "bits per char", *NORM_TITLES, "seconds")]
    lines += [
        (
            one.label,
            f"{one.parameters:,}",
            one.bits_text,
            *one.norm_texts,
            f"{one.seconds:.1f}",
        )
        for one in trained
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    rows = "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return f"{rows}\n\n{NORMS}\n"
