"""Layers that viz runs itself, and tapes that it records again.

All arrays inside viz are time-major, (T, B, ·). `rnncore.recurrent.layout` converts between that and
the layout that a user's arrays have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore.recurrent.layout import Layout

from ._tapes import as_parts, as_state

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools, Ints, State, StateLike
    from rnncore.recurrent.base import RecurrentLayer
    from rnncore.recurrent.tape import Tape


def time_major(tape: Tape, a: ArrayLike) -> Array:
    """An array in the layout of the tape's input and output, perhaps with leading axes -> (…, T, B, ·)."""
    return tape.layout.time_major(np.asarray(a))


def as_given(tape: Tape, a: Array) -> Array:
    """The inverse of `time_major`: (…, T, B, ·) -> the layout of the tape's input and output."""
    return tape.layout.as_given(a)


def batch_of(layer: RecurrentLayer, a: ArrayLike) -> Array:
    """One sequence (T, ·), or a batch in the layer's layout -> (T, B, ·); other shapes are left as they are."""
    a = np.asarray(a)
    return Layout.of(a, layer.batch_first).time_major(a) if a.ndim in (2, 3) else a


def rows_of(layer: RecurrentLayer, x: ArrayLike, state: StateLike = None) -> tuple[Array, State | None]:
    """Input and initial state as a user passes them to a layer -> (T, B, I), and the state of a batch."""
    x = np.asarray(x)
    if x.ndim not in (2, 3) or x.shape[-1] != layer.input_size:
        raise ValueError(
            f"x: got shape {x.shape}, expected {Layout(layer.batch_first).axes} or (T, I) with "
            f"I = {layer.input_size}"
        )
    of_batch: Any = state
    if x.ndim == 2 and state is not None:
        of_batch = as_state(as_parts(state))
    return batch_of(layer, x), of_batch


def run(
    layer: RecurrentLayer, x: Array, state: StateLike = None, lengths: ArrayLike | None = None
) -> tuple[Array, State]:
    """Output (T, B, D·H) and final state of the layer on time-major x."""
    layout = Layout(layer.batch_first)
    y, final = layer(layout.as_given(x), state, lengths=lengths)
    return layout.time_major(y), final


def record(
    layer: RecurrentLayer,
    x: Array,
    state: StateLike = None,
    lengths: ArrayLike | None = None,
    reset: Bools | None = None,
) -> Tape:
    """The tape of the layer on x, with x and `reset` time-major."""
    layout = Layout(layer.batch_first)
    marks = None if reset is None else layout.as_given(reset[..., None])[..., 0]
    return layer.record(layout.as_given(x), state, lengths=lengths, reset=marks)


def repeat_state(state: State | None, times: int) -> State | None:
    """The initial state for `times` copies of a batch, one after the other along B: b0 b1 … b0 b1 …"""
    if state is None:
        return None
    return as_state(np.tile(part, (1, times, 1)) for part in as_parts(state))


def in_float64(layer: RecurrentLayer) -> RecurrentLayer:
    """A copy of the layer in float64 without dropout, or the layer itself if it is in float64."""
    if layer.dtype == np.float64:
        return layer
    twin = type(layer)(**layer.options | {"dropout": 0.0}, dtype="float64")
    twin.load_state_dict(layer.state_dict())
    return twin


def record_again(tape: Tape) -> Tape:
    """A second tape of the same pass, in the same layout, so that `backward` on it leaves the first unchanged."""
    reset = as_given(tape, tape.reset[..., None])[..., 0]
    again = tape.layer.record(
        as_given(tape, tape.input), tape.initial, lengths=tape.lengths, reset=reset
    )
    if not np.array_equal(again.output, tape.output, equal_nan=True):
        raise ValueError(
            "tape: the layer's output differs from the recorded one, expected the same; record "
            "again with the present weights and without dropout (train=False)"
        )
    return again


def record_rows(tape: Tape, rows: slice | Ints, layer: RecurrentLayer | None = None) -> Tape:
    """Record some rows of a tape again, by themselves and without dropout.

    The values are bit-identical to those of a tape without dropout. The new tape is a batch, whatever the
    layout of `tape`, and has as many steps as the longest of the rows. `layer` is the one to run, by
    default that of the tape; if its weights have changed since, pass a copy with the former weights.
    """
    lengths = np.asarray(tape.lengths)[rows]
    state = as_state(part[:, rows] for part in as_parts(tape.initial))
    steps = lengths.max(initial=0)
    x, reset = tape.input[:steps, rows], tape.reset[:steps, rows]
    return record(layer or tape.layer, x, state, lengths, reset)


def some_rows(tape: Tape, most: int) -> Tape:
    """A tape that has `pullback`, of the longest rows of a tape, at most `most` of them.

    If the tape has no more rows than that, it is returned itself, unless it was recorded with
    checkpoint_every, since `pullback` needs a tape without. Otherwise the rows are recorded again. If the
    weights have changed since `tape` was recorded, an error is raised.
    """
    if _walks(tape) and most >= tape.B:
        return tape
    rows = np.sort(np.argsort(-np.asarray(tape.lengths), kind="stable")[:most])
    return record_rows(tape, rows)


def _walks(tape: Tape) -> bool:
    """Whether `pullback` works on the tape; it does not if it was recorded with checkpoint_every."""
    try:
        tape.pullback()
    except ValueError:
        return False
    return True
