"""Functions that read a tape: its names, steps, states, gradients, and the carry.

Measures, plots, watches, the recorder and reports all use them. Those that read only names, values and
gradients also work on a frame of a run file (see `Recorded`). A name on a tape, such as "l0.f" or
"l1.reverse.h", consists of a layer and a part. Here "layer" means one layer of the stack in one
direction: "l0", "l1.reverse". A part is either a state, which is passed from one step to the next, or
a gate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np

from rnncore.recurrent.layout import Layout, parts_of, past_end

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from rnncore._typing import Array, Bools, Floats, State
    from rnncore.recurrent.base import RecurrentLayer
    from rnncore.recurrent.descriptions import Description
    from rnncore.recurrent.tape import Tape

Direction: TypeAlias = Literal["forward", "reverse"]


class Sizes(Protocol):
    """The sizes of the layer from which a tape, or a frame, was recorded."""

    @property
    def mode(self) -> str: ...
    @property
    def input_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def bidirectional(self) -> bool: ...


class ByName(Protocol):
    """Arrays by name."""

    def __contains__(self, name: str, /) -> bool: ...
    def __getitem__(self, name: str, /) -> Array: ...


class Recorded(ByName, Protocol):
    """What can be read both from a `Tape` and from a `Frame` of a run file: arrays and gradients by name.

    Functions that also walk back through time need a `Tape`. A frame raises an error that explains what
    to do instead.
    """

    @property
    def layer(self) -> Sizes: ...
    @property
    def cell(self) -> Description: ...
    @property
    def mode(self) -> str: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def T(self) -> int: ...
    @property
    def B(self) -> int: ...
    @property
    def lengths(self) -> Array: ...
    @property
    def grad(self) -> ByName: ...
    def names(self, pattern: str = "*") -> list[str]: ...


class HasTape(Protocol):
    """The record of a model, or a moment of training: it has the tape of a recurrent layer."""

    @property
    def tape(self) -> Tape: ...


def is_tape(data: object) -> TypeIs[Tape]:
    """Whether this is a tape, or a frame of one in a run file, rather than the numbers of a measure.

    A frame counts as a tape because plots can draw what can be read from it. For the rest it has a
    `pullback` that raises an error, which explains what to do instead.
    """
    return hasattr(data, "pullback")


# ---------------------------------------------------------------- names


def layer_of(name: str) -> str:
    """ "l1.reverse.h" -> "l1.reverse" """
    return name.rpartition(".")[0]


def part_of(name: str) -> str:
    """ "l1.reverse.h" -> "h" """
    return name.rpartition(".")[2]


def layer_number(name: str) -> int:
    """ "l1.reverse" or "l1.reverse.h" -> 1 """
    return int(name.split(".")[0][1:])


def is_reverse(name: str) -> bool:
    """Whether a layer, or a name on it, runs from later to earlier steps."""
    return "reverse" in name.split(".")


def weight_name(kind: str, layer: str) -> str:
    """ "weight_hh", "l1.reverse" -> "weight_hh_l1_reverse" """
    return f"{kind}_{layer.replace('.', '_')}"


def layers(tape: Recorded) -> dict[str, list[str]]:
    """The layers and their parts, the lowest layer first: {"l0": ["h", "c", "i", …], "l0.reverse": …}."""
    found: dict[str, list[str]] = {}
    for name in tape.names("*"):
        layer, _, part = name.rpartition(".")
        found.setdefault(layer, []).append(part)
    return found


def state_names(tape: Recorded) -> list[str]:
    """The names of the states, of all layers: every h, and every c if the cell has one."""
    return [name for name in tape.names("*") if part_of(name) in tape.cell.states]


def gate_names(tape: Recorded) -> list[str]:
    """The names that are not of states, in all layers; empty for a plain RNN."""
    return [name for name in tape.names("*") if part_of(name) not in tape.cell.states]


# ---------------------------------------------------------------- steps and states


def valid_steps(tape: Recorded) -> Bools:
    """(T, B) booleans: True where a row has this step."""
    return ~past_end(np.asarray(tape.lengths), tape.T)


def layer_input(tape: Tape, layer: str) -> Array:
    """(T, B, ·): the input of a layer, before any dropout."""
    number = layer_number(layer)
    if number == 0:
        return np.asarray(tape.input)
    directions = ("", "reverse.") if tape.layer.bidirectional else ("",)
    return np.concatenate([tape[f"l{number - 1}.{d}h"] for d in directions], axis=-1)


def as_parts(state: Any) -> tuple[Array, ...]:
    """A state as a user has it, for a batch or one sequence -> h[, c], each (layers·directions, B, H)."""
    arrays = map(np.asarray, parts_of(state))
    return tuple(a[:, None] if a.ndim == 2 else a for a in arrays)


def as_state(parts: Iterable[Array]) -> State:
    """The inverse of `as_parts`, for a batch: h, or the pair (h, c)."""
    return Layout().states(parts)


def is_projected(tape: Recorded) -> bool:
    """Whether the layer's h is the product of a matrix with what its units put out, so that its values are no units."""
    return bool(getattr(tape.layer, "proj_size", 0))


def refuse_projected(tape: Recorded, why: str) -> None:
    """Raise a ValueError for a tape of a layer with projections; `why` ends its sentence."""
    if is_projected(tape):
        raise ValueError(f"tape: got one of an {tape.mode} with projections, expected proj_size=0: {why}")


def previous(tape: Tape, layer: str, part: str = "h") -> Array:
    """(T, B, H): the h (or c) from which a layer computes each step, in its direction."""
    state = np.asarray(tape[f"{layer}.{part}"])
    initial = as_parts(tape.initial)[tape.cell.states.index(part)]
    first = initial[list(layers(tape)).index(layer)]
    out = np.empty_like(state)
    if not is_reverse(layer):
        out[1:] = state[:-1]
        out[:1] = first
        out[tape.reset] = 0
        return out
    out[:-1] = state[1:]
    for b, length in enumerate(np.asarray(tape.lengths)):
        if length:
            out[length - 1, b] = first[b]  # the reverse direction starts at the row's own end
            out[: length - 1, b][tape.reset[1:length, b]] = 0
    return out


# ---------------------------------------------------------------- gradients


def gradient(tape: Recorded, name: str) -> Array | None:
    """The array of `tape.grad` for a name; None before `tape.backward`, or if a frame lacks it."""
    try:
        return tape.grad[name]
    except KeyError:
        return None


def _state_gradient(tape: Recorded) -> Array | None:
    """The gradient of the lowest h; if there are any gradients, it is there."""
    names = tape.names("*.h")
    return gradient(tape, names[0]) if names else None


def state_gradients(tape: Recorded) -> dict[str, Array]:
    """The gradients of all states, by name, in the order of the layers; a frame may lack some."""
    found = {name: gradient(tape, name) for name in state_names(tape)}
    return {name: grad for name, grad in found.items() if grad is not None}


def has_gradients(tape: Recorded) -> bool:
    """Whether the tape has gradients of a single cotangent, without a leading axis."""
    found = _state_gradient(tape)
    return found is not None and found.ndim == 3


def check_backward(tape: Recorded) -> None:
    """Raise a ValueError that names the missing call, unless the tape has gradients of one cotangent."""
    found = _state_gradient(tape)
    if found is None:
        if not hasattr(tape, "backward"):
            raise ValueError(
                f"tape: got the recorded frame of update {getattr(tape, 'update', None)}, which has no gradients of h, "
                'expected one with them; keep them with Recorder(gradients="*")'
            )
        raise ValueError(
            "tape: got one without gradients, expected one after backward; call "
            "tape.backward(grad_output) first"
        )
    if found.ndim != 3:
        raise ValueError(
            f"tape: got gradients of several cotangents, shape {found.shape}, expected (T, B, H); "
            "call tape.backward with one cotangent"
        )


# ---------------------------------------------------------------- the carry, and the backward walk
# The carry s is what one direction of the stack passes from one step to the next: h of every layer,
# and then for an LSTM c of every layer; S numbers.


def top_of_carry(layer: RecurrentLayer) -> slice:
    """The position of the top layer's h within the carry."""
    return layer.structure.carry_slice(0, layer.num_layers - 1)


def carry_of(state: Any) -> Floats:
    """(B, ·) float64: the arrays of a state, joined: h of all layers and directions, then c of all."""
    parts = as_parts(state)
    return np.concatenate([rows for part in parts for rows in part.astype(np.float64)], axis=-1)


def carry_by_step(tape: Tape) -> Array:
    """(T, B, S): the carry after every step, for a tape of one direction."""
    names = [name for part in tape.cell.states for name in tape.names(f"*.{part}")]
    return np.concatenate([tape[name] for name in names], axis=-1)


def check_direction(tape: Tape, direction: str) -> bool:
    """Whether `direction` is "reverse"; raises a ValueError if the layer does not have it."""
    if direction not in ("forward", "reverse"):
        raise ValueError(f"direction: got {direction!r}, expected 'forward' or 'reverse'")
    if direction == "reverse" and not tape.layer.bidirectional:
        raise ValueError(
            "direction: got 'reverse' for a layer of one direction, expected 'forward' "
            "(or make the layer with bidirectional=True)"
        )
    return direction == "reverse"


def steps_back(tape: Tape, reverse: bool) -> range:
    """The steps in the order in which a backward pass goes through them."""
    return range(tape.T) if reverse else range(tape.T - 1, -1, -1)
