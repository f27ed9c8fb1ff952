"""What one asks of a tape, one function a question: names, steps, states, gradients, the carry.

Measures, plots, watches, the recorder and reports all ask here. A frame of a run file answers to
names, values and gradients, too. A name on a tape is a layer, with its direction, and a part of it:
"l0.f", "l1.reverse.h". A part is a state, which is carried from step to step, or else a gate.
"""

from __future__ import annotations

import numpy as np

from rnncore.recurrent.layout import Layout, parts_of, past_end


def is_tape(data) -> bool:
    """Whether this is a tape, or a frame of one in a run file, rather than a measure's numbers."""
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


def layers(tape) -> dict[str, list[str]]:
    """{"l0": ["h", "c", "i", …], "l0.reverse": …}: layers and their parts, from the lowest up."""
    found: dict[str, list[str]] = {}
    for name in tape.names("*"):
        layer, _, part = name.rpartition(".")
        found.setdefault(layer, []).append(part)
    return found


def state_names(tape) -> list[str]:
    """What is carried from step to step: every h, and c where the cell has it."""
    return [name for name in tape.names("*") if part_of(name) in tape.cell.states]


def gate_names(tape) -> list[str]:
    """What is no state; a plain RNN has none."""
    return [name for name in tape.names("*") if part_of(name) not in tape.cell.states]


# ---------------------------------------------------------------- steps and states


def valid_steps(tape) -> np.ndarray:
    """(T, B) booleans: True where a row has this step."""
    return ~past_end(np.asarray(tape.lengths), tape.T)


def layer_input(tape, layer: str) -> np.ndarray:
    """(T, B, ·): what a layer reads, before any dropout."""
    number = layer_number(layer)
    if number == 0:
        return np.asarray(tape.input)
    directions = ("", "reverse.") if tape.layer.bidirectional else ("",)
    return np.concatenate([tape[f"l{number - 1}.{d}h"] for d in directions], axis=-1)


def as_parts(state) -> tuple[np.ndarray, ...]:
    """A layer's state, of a batch or of one row -> h[, c], each (layers·directions, B, H)."""
    arrays = map(np.asarray, parts_of(state))
    return tuple(a[:, None] if a.ndim == 2 else a for a in arrays)


def as_state(parts):
    """The way back, for a batch: h, or the pair (h, c)."""
    return Layout().states(parts)


def previous(tape, layer: str, part: str = "h") -> np.ndarray:
    """(T, B, H): the h (or c) of a layer that each step starts from."""
    state = np.asarray(tape[f"{layer}.{part}"])
    initial = as_parts(tape.initial)[tape.cell.states.index(part)]
    first = initial[list(layers(tape)).index(layer)]
    out = np.empty_like(state)
    if not is_reverse(layer):
        out[1:] = state[:-1]
        out[:1] = first
        return out
    out[:-1] = state[1:]
    for b, length in enumerate(np.asarray(tape.lengths)):
        if length:
            out[length - 1, b] = first[b]  # the reverse direction starts at the row's own end
    return out


# ---------------------------------------------------------------- gradients


def gradient(tape, name: str) -> np.ndarray | None:
    """∂L/∂name; None before `tape.backward`, or where a frame did not record it."""
    try:
        return tape.grad[name]
    except KeyError:
        return None


def _state_gradient(tape) -> np.ndarray | None:
    """The gradient of the first h, which is there if any is."""
    names = tape.names("*.h")
    return gradient(tape, names[0]) if names else None


def has_gradients(tape) -> bool:
    """Whether `backward` was called, with one cotangent."""
    found = _state_gradient(tape)
    return found is not None and found.ndim == 3


def check_backward(tape) -> None:
    """Say what to do when a measure of gradients meets a tape without them."""
    found = _state_gradient(tape)
    if found is None:
        raise ValueError(
            "tape: has no gradients yet, expected them to be there; call "
            "tape.backward(grad_output) first"
        )
    if found.ndim != 3:
        raise ValueError(
            f"tape: its gradients have a leading axis, shape {found.shape}, expected (T, B, H); "
            "call tape.backward with one cotangent"
        )


# ---------------------------------------------------------------- the carry, and the walk back
# The carry is s = [h of every layer; for an LSTM, c of every layer], S wide, of one direction.


def top_of_carry(layer) -> slice:
    """Where the h of the top layer is within the carry."""
    return slice((layer.num_layers - 1) * layer.hidden_size, layer.num_layers * layer.hidden_size)


def carry_of(state) -> np.ndarray:
    """(B, ·) float64: a state side by side, h of all layers and directions, then c of all."""
    parts = as_parts(state)
    return np.concatenate([rows for part in parts for rows in part.astype(np.float64)], axis=-1)


def carry_by_step(tape) -> np.ndarray:
    """(T, B, S): the carry after every step, of a tape of one direction."""
    names = [name for part in tape.cell.states for name in tape.names(f"*.{part}")]
    return np.concatenate([tape[name] for name in names], axis=-1)


def check_direction(tape, direction: str) -> bool:
    """Whether the walk is that of the reverse direction."""
    if direction not in ("forward", "reverse"):
        raise ValueError(f"direction: got {direction!r}, expected 'forward' or 'reverse'")
    if direction == "reverse" and not tape.layer.bidirectional:
        raise ValueError(
            "direction: got 'reverse' for a layer of one direction, expected 'forward' "
            "(or make the layer with bidirectional=True)"
        )
    return direction == "reverse"


def steps_back(tape, reverse: bool) -> range:
    """The steps in the order in which a walk back meets them."""
    return range(tape.T) if reverse else range(tape.T - 1, -1, -1)
