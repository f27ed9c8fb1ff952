"""What a watch reads, and what it returns: a moment of training, and a hit."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from .._layers import record_rows
from .._norms import Grads, weight_gradients
from .._tapes import Recorded, part_of

if TYPE_CHECKING:
    from rnncore._typing import Array
    from rnncore.recurrent.tape import Tape

LEAD_UP = 5  # steps before the event that a hit keeps


class HasWeights(Protocol):
    """A layer, or the model around it."""

    @property
    def parameters(self) -> Mapping[str, Array]: ...


@dataclass(frozen=True)
class Hit:
    """One watch that fired: what it found and where, in fields and in a sentence.

    Fields that do not apply are None: a weight has no step, a loss has no unit.
    """

    watch: str  #: name of the watch
    update: int | None  #: number of the training update, from 1
    tensor: str | None  #: "l0.f", "grad l0.h", "weight_hh_l0", "loss"
    sentence: str  #: the finding in words
    layer: str | None = None  #: "l0", "l1.reverse"
    gate: str | None = None  #: "i", "f", …, "c", "h"
    step: int | None = None  #: time step within the tape
    row: int | None = None  #: row of the batch
    unit: int | None = None
    value: float | None = None
    before: Array | None = field(default=None, compare=False, repr=False)
    """The values at the steps that were computed just before, oldest first."""

    def __str__(self) -> str:
        return self.sentence if self.update is None else f"update {self.update}: {self.sentence}"


@dataclass(init=False, repr=False)
class Moment:
    """One update of training as the debugger keeps it, before the optimiser changes the weights.

    All but the tape may be None.
    """

    tape: Tape
    grads: Mapping[str, Array] | None  #: ∂L/∂W by name; clipping may scale them in place later
    loss: float | None
    update: int | None  #: from 1, as `Trainer.updates` after it
    output: Array | None  #: the model's prediction
    module: HasWeights | None  #: the model around the layer
    weights: dict[str, Array] | None  #: the layer's weights at that time

    def __init__(
        self,
        tape: Tape,
        grads: Grads | None = None,
        loss: float | None = None,
        update: int | None = None,
        output: Array | None = None,
        module: HasWeights | None = None,
        weights: dict[str, Array] | None = None,
    ) -> None:
        self.tape, self.grads = tape, weight_gradients(grads)
        self.loss, self.update = loss, update
        self.output, self.module, self.weights = output, module, weights

    def __repr__(self) -> str:
        given = [name for name in ("grads", "output", "module", "weights") if getattr(self, name) is not None]
        loss = "" if self.loss is None else f", loss {self.loss:.4g}"
        return (
            f"<Moment of update {self.update}{loss}: {self.tape.mode} tape of {self.tape.T} steps, "
            f"{self.tape.B} rows{', with ' * bool(given)}{', '.join(given)}>"
        )

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The weights of the model, or of the layer if there is no model."""
        return self.tape.layer.parameters if self.module is None else self.module.parameters

    def snapshot(self) -> Moment:
        """Copy the layer's weights, so that the moment can be reopened after they have changed."""
        self.weights = self.tape.layer.state_dict()
        return self

    def reopen(self) -> Tape:
        """Record the same batch again with the weights of that time.

        A kept tape still shows its values and gradients, but it cannot be walked back again once the
        weights have changed. The tape returned here belongs to a copy of the layer that holds the old
        weights: `backward`, `pullback` and every measure work on it, and its values have the same
        bits (without dropout, which is off here).

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


def where(
    tape: Recorded, name: str, step: int | None = None, row: int | None = None, unit: int | None = None
) -> str:
    """ "l0.h (hidden state) at step 3, row 0, unit 17" """
    part = part_of(name)
    text = f"{name} ({tape.cell.words_of(part)})" if part in tape.cell.names else name
    places = (("step", step), ("row", row), ("unit", unit))
    parts = [f"{label} {n}" for label, n in places if n is not None]
    return f"{text} at {', '.join(parts)}" if parts else text


def lead_up(array: Array, t: int, row: int, unit: int, descending: bool = False) -> Array:
    """The values at the steps computed just before t, oldest first; `descending`: from later to earlier steps."""
    if descending:
        return array[t + 1 : t + 1 + LEAD_UP, row, unit][::-1].copy()
    return array[max(0, t - LEAD_UP) : t, row, unit].copy()


def numbers(values: Iterable[float]) -> str:
    """ "0.51 0.52 inf" """
    return " ".join(f"{v:.3g}" for v in values)
