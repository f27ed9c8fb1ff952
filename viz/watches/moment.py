"""What a watch looks at, and what it says: a moment of training, and a hit."""

import copy
from dataclasses import dataclass, field

import numpy as np

from .._layers import record_rows
from .._tapes import part_of

LEAD_UP = 5  # steps before the event that a hit carries


@dataclass(frozen=True)
class Hit:
    """One watch that fired: what, where, and in which words.

    Fields that do not apply are None: a weight has no step, a loss has no unit.
    """

    watch: str  #: name of the watch
    update: int | None  #: number of the training update, from 1
    tensor: str | None  #: "l0.f", "grad l0.h", "weight_hh_l0", "loss"
    sentence: str  #: all of it in words
    layer: str | None = None  #: "l0", "l1.reverse"
    gate: str | None = None  #: "i", "f", …, "c", "h"
    step: int | None = None  #: time step within the tape
    row: int | None = None  #: row of the batch
    unit: int | None = None
    value: float | None = None
    before: np.ndarray | None = field(default=None, compare=False)
    """The value on the steps that were computed just before, oldest first."""

    def __str__(self):
        return self.sentence if self.update is None else f"update {self.update}: {self.sentence}"


@dataclass
class Moment:
    """One update of training as the debugger keeps it, before the optimiser changes the weights.

    All but the tape may be None.
    """

    tape: object
    grads: dict | None = None  #: ∂L/∂W by name; clipping may scale them in place later
    loss: float | None = None
    update: int | None = None  #: from 1, as `Trainer.updates` after it
    output: np.ndarray | None = None  #: the model's prediction
    module: object = None  #: the model around the layer
    weights: dict | None = None  #: the layer's weights of that time

    def __post_init__(self):
        self.grads = getattr(self.grads, "parameters", self.grads)

    @property
    def parameters(self):
        """The weights of the model, or of the layer alone."""
        return (self.tape.layer if self.module is None else self.module).parameters

    def snapshot(self):
        """Copy the layer's weights, so that the moment can be reopened when they have changed."""
        self.weights = self.tape.layer.state_dict()
        return self

    def reopen(self):
        """Record the same batch again with the weights of that time.

        A kept tape shows its values and gradients as they were, but refuses to walk back again once
        the weights have changed. The tape returned here belongs to a copy of the layer that holds
        the old weights: `backward`, `pullback` and every measure work on it, and its values have
        the same bits (without dropout, which is off here).

        Returns
        -------
        Tape
        """
        if self.weights is None:
            raise ValueError(
                "reopen: this moment has no weights; those that a Debugger keeps have them"
            )
        layer = copy.deepcopy(self.tape.layer)
        layer.load_state_dict(self.weights)
        return record_rows(self.tape, slice(None), layer)


def where(tape, name, step=None, row=None, unit=None):
    """ "l0.h (hidden state) at step 3, row 0, unit 17" """
    part = part_of(name)
    text = f"{name} ({tape.cell.words_of(part)})" if part in tape.cell.names else name
    places = (("step", step), ("row", row), ("unit", unit))
    parts = [f"{label} {n}" for label, n in places if n is not None]
    return f"{text} at {', '.join(parts)}" if parts else text


def lead_up(array, t, row, unit, descending=False):
    """The values at the steps computed just before t, oldest first; `descending` walks back."""
    if descending:
        return array[t + 1 : t + 1 + LEAD_UP, row, unit][::-1].copy()
    return array[max(0, t - LEAD_UP) : t, row, unit].copy()


def numbers(values):
    """ "0.51 0.52 inf" """
    return " ".join(f"{v:.3g}" for v in values)
