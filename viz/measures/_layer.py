"""Measures that run a layer themselves: its float64 twin, and input in either layout."""

from __future__ import annotations

import numpy as np


def in_float64(layer):
    """The same layer with its weights in float64 (itself where it is float64 already)."""
    if layer.dtype == np.float64:
        return layer
    extra = {
        key: getattr(layer, key) for key in ("nonlinearity", "reset_after") if hasattr(layer, key)
    }
    twin = type(layer)(
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        layer.bias,
        layer.batch_first,
        0.0,  # nothing is dropped here
        layer.bidirectional,
        dtype="float64",
        **extra,
    )
    twin.load_state_dict(layer.state_dict())
    return twin


def rows_of(layer, x) -> np.ndarray:
    """x in the layer's layout -> (T, B, I)."""
    x = np.asarray(x)
    if x.ndim not in (2, 3) or x.shape[-1] != layer.input_size:
        order = "(B, T, I)" if layer.batch_first else "(T, B, I)"
        raise ValueError(
            f"x: got shape {x.shape}, expected {order} or (T, I) with I = {layer.input_size}"
        )
    if x.ndim == 2:
        return x[:, None]
    return x.swapaxes(0, 1) if layer.batch_first else x


def record(layer, x, state=None, lengths=None):
    """`layer.record` for time-major x, whatever the layer's layout."""
    return layer.record(x.swapaxes(0, 1) if layer.batch_first else x, state, lengths=lengths)


def record_again(tape):
    """A tape of the same pass whose gradients are its own."""
    x = tape.input[:, 0] if np.ndim(tape.output) == 2 else tape.input
    batch_first = tape.layer.batch_first and x.ndim == 3
    again = tape.layer.record(
        x.swapaxes(0, 1) if batch_first else x, tape.initial, lengths=tape.lengths
    )
    if not np.array_equal(again.output, tape.output, equal_nan=True):
        raise ValueError(
            "tape: the layer gives another output now than when this was recorded, expected the "
            "same; record again with the present weights and without dropout (train=False)"
        )
    return again


def output_of(tape) -> np.ndarray:
    """The output of a tape made by `record`, (T, B, D·H)."""
    return tape.output.swapaxes(0, 1) if tape.layer.batch_first else tape.output


def repeat_state(layer, state, times: int):
    """The initial state for `times` copies of a batch, side by side: b0 b1 … b0 b1 …"""
    if state is None:
        return None
    if isinstance(state, tuple):
        return tuple(repeat_state(layer, part, times) for part in state)
    part = np.asarray(state)
    if part.ndim == 2:
        part = part[:, None]
    return np.tile(part, (1, times, 1))


def carry_of(layer, state) -> np.ndarray:
    """A final state -> (B, S) float64: h of all layers and directions, then c of all."""
    arrays = state if isinstance(state, tuple) else (state,)
    parts = [np.asarray(part, np.float64) for part in arrays]
    return np.concatenate([rows for part in parts for rows in part], axis=-1)
