"""A layer that viz runs itself, and a tape that it records again.

Everything else in viz has time-major arrays, (T, B, ·); how users lay theirs out,
`rnncore.recurrent.layout` knows.
"""

from __future__ import annotations

import numpy as np

from rnncore.recurrent.layout import Layout

from ._tapes import as_parts, as_state


def time_major(tape, a) -> np.ndarray:
    """What is laid out like the input or output of a tape, (…, T, B, ·) or other -> (…, T, B, ·)."""
    return tape.layout.time_major(np.asarray(a))


def as_given(tape, a: np.ndarray) -> np.ndarray:
    """The way back: (…, T, B, ·) -> the layout of the input and output of a tape."""
    return tape.layout.as_given(a)


def batch_of(layer, a) -> np.ndarray:
    """One sequence (T, ·), or a batch in the layer's layout -> (T, B, ·)."""
    a = np.asarray(a)
    return Layout.of(a, layer.batch_first).time_major(a) if a.ndim in (2, 3) else a


def rows_of(layer, x, state=None):
    """Input and initial state as a user gives them to a layer -> (T, B, I), and that of a batch."""
    x = np.asarray(x)
    if x.ndim not in (2, 3) or x.shape[-1] != layer.input_size:
        raise ValueError(
            f"x: got shape {x.shape}, expected {Layout(layer.batch_first).axes} or (T, I) with "
            f"I = {layer.input_size}"
        )
    if x.ndim == 2 and state is not None:
        state = as_state(as_parts(state))
    return batch_of(layer, x), state


def run(layer, x, state=None, lengths=None):
    """Output (T, B, D·H) and final state of the layer on time-major x."""
    layout = Layout(layer.batch_first)
    y, final = layer(layout.as_given(x), state, lengths=lengths)
    return layout.time_major(y), final


def record(layer, x, state=None, lengths=None):
    """The tape of the layer on time-major x."""
    return layer.record(Layout(layer.batch_first).as_given(x), state, lengths=lengths)


def repeat_state(state, times: int):
    """The initial state for `times` copies of a batch, side by side: b0 b1 … b0 b1 …"""
    if state is None:
        return None
    return as_state(np.tile(part, (1, times, 1)) for part in as_parts(state))


def in_float64(layer):
    """The same layer with its weights in float64 (itself where it is float64 already)."""
    if layer.dtype == np.float64:
        return layer
    twin = type(layer)(**layer.options | {"dropout": 0.0}, dtype="float64")
    twin.load_state_dict(layer.state_dict())
    return twin


def record_again(tape):
    """A tape of the same pass, laid out as it was, whose gradients are its own."""
    again = tape.layer.record(as_given(tape, tape.input), tape.initial, lengths=tape.lengths)
    if not np.array_equal(again.output, tape.output, equal_nan=True):
        raise ValueError(
            "tape: the layer gives another output now than when this was recorded, expected the "
            "same; record again with the present weights and without dropout (train=False)"
        )
    return again


def record_rows(tape, rows, layer=None):
    """Some rows of a tape recorded again by themselves, without dropout: same bits.

    They are one batch, whatever the tape's layout, with as many steps as the longest of them has.
    `layer` is the tape's own, or a copy with the weights of the pass.
    """
    lengths = np.asarray(tape.lengths)[rows]
    state = as_state(part[:, rows] for part in as_parts(tape.initial))
    x = tape.input[: lengths.max(initial=0), rows]
    return record(layer or tape.layer, x, state, lengths)


def some_rows(tape, most: int):
    """The tape's longest rows, at most so many, as a tape that can be walked back.

    It is the tape itself where that has no more rows, unless it keeps only every k-th state and
    cannot be walked. A tape whose weights have changed since is refused.
    """
    if _walks(tape) and most >= tape.B:
        return tape
    rows = np.sort(np.argsort(-np.asarray(tape.lengths), kind="stable")[:most])
    return record_rows(tape, rows)


def _walks(tape) -> bool:
    try:
        tape.pullback()
    except ValueError:  # it was recorded with checkpoint_every
        return False
    return True
