"""What callers give an `Ensemble`, checked and converted: layers, and sequences and states with an axis of N nets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_array, as_lengths, as_marks, as_real, as_rows

from .base import RecurrentLayer
from .layout import Layout

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools, Ints, StateLike

    from .structure import Structure


def check_layers(layers: Any) -> tuple[RecurrentLayer, ...]:
    """The layers of an ensemble, all of one kind and shape."""
    expected = "expected layers of one class, with the same options and dtype"
    found = tuple(layers) if hasattr(layers, "__iter__") else ()
    if not found:
        got = "none" if hasattr(layers, "__iter__") else type(layers).__name__
        raise ValueError(f"layers: got {got}, {expected}, as in "
                         "Ensemble([LSTM(3, 8, seed=seed) for seed in range(10)])")
    for k, layer in enumerate(found):
        if not isinstance(layer, RecurrentLayer):
            raise TypeError(f"layers: got a {type(layer).__name__} in place {k}, {expected}; of a SequenceModel, take "
                            "model.layer")
        if any(layer is other for other in found[:k]):
            raise ValueError(f"layers: got the same layer in place {k} as before, {expected}, each once; "
                             "copy.deepcopy(layer) has weights of its own")
        first = found[0]
        if (layer.cell, layer.dtype, layer.options) != (first.cell, first.dtype, first.options):
            raise ValueError(f"layers: got {layer!r} in place {k} after {first!r}, {expected}")
    return found


def check_input(x: ArrayLike, nets: int, structure: Structure, batch_first: bool) -> tuple[Array, Layout]:
    """Check x; return it as (N, T, B, I) in the layers' dtype, and its layout."""
    given, layout = as_rows(x, "x", structure.dtype), Layout(batch_first)
    if given.ndim not in (3, 4) or given.shape[-1] != structure.input_size or (
            given.ndim == 4 and given.shape[0] != nets):
        raise ValueError(f"x: got shape {given.shape}, expected {_axes(layout)}, or without N for the same input of "
                         f"all nets, with N = {nets} nets and I = input_size = {structure.input_size}")
    if given.ndim == 3:
        given = np.broadcast_to(given, (nets, *given.shape))
    return layout.time_major(given), layout


def _axes(layout: Layout) -> str:
    return "(N, B, T, I)" if layout.batch_first else "(N, T, B, I)"


def check_lengths(lengths: ArrayLike | None, nets: int, T: int, B: int) -> Ints | None:
    """The lengths (N, B), or None where every row is full."""
    if lengths is None:
        return None
    given = as_array(lengths, "lengths")
    if given.ndim == 2 and given.shape != (nets, B):
        raise ValueError(f"lengths: got shape {given.shape}, expected (N, B) = {(nets, B)}, or (B,) for all nets")
    found = as_lengths(given.reshape(-1), T, nets * B, nets) if given.ndim == 2 else as_lengths(given, T, B)
    if found is None:
        return None
    return found.reshape(nets, B) if given.ndim == 2 else np.tile(found, (nets, 1))


def check_reset(reset: ArrayLike | None, nets: int, T: int, B: int, layout: Layout) -> Bools | None:
    """The marks (N, T, B), a copy."""
    if reset is None:
        return None
    rows = (B, T) if layout.batch_first else (T, B)
    given: Any = reset if hasattr(reset, "detach") else as_array(reset, "reset")
    shared = given.ndim == 2
    axes = _axes(layout).replace(", I", "")
    if shared:
        axes = axes.replace("N, ", "")
    marks = as_marks(given, "reset", rows if shared else (nets, *rows), axes)
    return np.array(np.broadcast_to(marks.swapaxes(-1, -2) if layout.batch_first else marks, (nets, T, B)))


def check_state(state: StateLike, nets: int, structure: Structure, B: int, what: str = "state") -> list[Array]:
    """Check the states, or cotangents on them; return copies, each (N, layers·directions, B, H). None is zeros."""
    cell = structure.cell
    names = cell.initial if what == "state" else tuple(f"{what} ({name})" for name in cell.states)
    shapes = [(nets, *shape) for shape in structure.state_shapes(B)]
    parts: Any = (state,) if len(names) == 1 or state is None else state
    if state is not None and len(names) > 1 and (not isinstance(state, tuple | list) or len(state) != len(names)):
        got = f"{len(state)} values" if isinstance(state, tuple | list) else type(state).__name__
        raise ValueError(f"{what}: got {got}, expected the pair ({', '.join(names)}), of shapes "
                         f"{' and '.join(map(str, shapes))}")
    found = []
    for name, part, shape in zip(names, parts if state is not None else [None] * len(names), shapes, strict=True):
        array = np.zeros(shape, structure.dtype) if part is None else as_real(part, name, structure.dtype)
        if array.shape != shape:
            raise ValueError(f"{name}: got shape {array.shape}, expected {shape}: (N, layers·directions, B, H)")
        found.append(array if part is None else np.array(array, order="C"))
    return found
