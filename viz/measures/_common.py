"""What several measures share: norms that do not underflow, names, layouts, losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Loss = np.ndarray | Callable
"""∂L/∂y like `tape.output`, or a function output -> that array, or -> (value, that array)."""


def norm(a, axis: int = -1) -> np.ndarray:
    """2-norm along `axis` in float64; squares neither under- nor overflow."""
    a = np.asarray(a)
    if a.dtype == np.float32:  # its squares fit float64: 1e-45² = 1e-90
        return np.sqrt(np.square(a, dtype=np.float64).sum(axis))
    a = np.abs(a.astype(np.float64))
    largest = a.max(axis, keepdims=True, initial=0.0)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return np.sqrt(np.square(a / scale).sum(axis)) * scale.squeeze(axis)


def valid_steps(tape) -> np.ndarray:
    """(T, B) booleans: True where a row has this step."""
    return np.arange(tape.T)[:, None] < np.asarray(tape.lengths)


def check_direction(tape, direction: str) -> str:
    """The prefix of names of one direction: "" or "reverse."."""
    if direction not in ("forward", "reverse"):
        raise ValueError(f"direction: got {direction!r}, expected 'forward' or 'reverse'")
    if direction == "reverse" and not tape.layer.bidirectional:
        raise ValueError(
            "direction: got 'reverse' for a layer of one direction, expected 'forward' "
            "(or make the layer with bidirectional=True)"
        )
    return "reverse." if direction == "reverse" else ""


def layer_names(tape) -> list[str]:
    """["l0", "l0.reverse", "l1", …], in layer order."""
    return [name.removesuffix(".h") for name in tape.names("*.h")]


def layer_input(tape, name: str) -> np.ndarray:
    """(T, B, ·): what layer `name` reads, before any dropout."""
    number = int(name.split(".")[0][1:])
    if number == 0:
        return np.asarray(tape.input)
    directions = ("", "reverse.") if tape.layer.bidirectional else ("",)
    return np.concatenate([tape[f"l{number - 1}.{d}h"] for d in directions], axis=-1)


def previous(tape, name: str, part: str = "h") -> np.ndarray:
    """(T, B, H): the h (or c) of layer `name` that each step starts from."""
    state = np.asarray(tape[f"{name}.{part}"])
    initial = tape.initial["hc".index(part)] if isinstance(tape.initial, tuple) else tape.initial
    layers = layer_names(tape)
    first = np.asarray(initial).reshape(len(layers), *state.shape[1:])[layers.index(name)]
    out = np.empty_like(state)
    if not name.endswith("reverse"):
        out[1:] = state[:-1]
        out[:1] = first
        return out
    out[:-1] = state[1:]
    for b, length in enumerate(np.asarray(tape.lengths)):
        if length:
            out[length - 1, b] = first[b]  # the reverse direction starts at the row's own end
    return out


def time_major(tape, a) -> np.ndarray:
    """`a` laid out like `tape.output` (batch first, or one unbatched row) -> (T, B, ·)."""
    a = np.asarray(a)
    if np.ndim(tape.output) == 2:
        return a[..., None, :]
    return a.swapaxes(-3, -2) if tape.layer.batch_first else a


def as_output(tape, a) -> np.ndarray:
    """The way back: (…, T, B, ·) -> the layout of `tape.output`."""
    if np.ndim(tape.output) == 2:
        return a[..., 0, :]
    return a.swapaxes(-3, -2) if tape.layer.batch_first else a


def output_gradient(tape, loss: Loss, name: str = "loss") -> np.ndarray:
    """(T, B, D·H): ∂L/∂y of a loss, time-major whatever the layer's layout."""
    if callable(loss):
        loss = loss(tape.output)
        if isinstance(loss, tuple):
            loss = loss[1]
    g = np.asarray(loss)
    if g.shape != np.shape(tape.output):
        raise ValueError(
            f"{name}: got a gradient of shape {g.shape}, expected {np.shape(tape.output)}, as "
            "tape.output; pass ∂L/∂y, or a function output -> (value, ∂L/∂y) such as "
            "lambda y: rnncore.nn.mse(y, target)"
        )
    return time_major(tape, g)


def check_backward(tape) -> None:
    """Say what to do when a measure of gradients meets a tape without them."""
    names = tape.names("*.h")
    try:
        shape = np.shape(tape.grad[names[0]])
    except KeyError:
        raise ValueError(
            "tape: has no gradients yet, expected them to be there; call "
            "tape.backward(grad_output) first"
        ) from None
    if len(shape) != 3:
        raise ValueError(
            f"tape: its gradients have a leading axis, shape {shape}, expected (T, B, H); "
            "call tape.backward with one cotangent"
        )
