"""Cotangents: the gradients of a loss with respect to what a pass returned, which its backward pass begins with.

Callers give one for each result, or K at once along a leading axis. The engine takes K cotangents on B rows as K·B
rows: row r belongs to row r % B of the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore._checks import as_real, as_rows

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, StateLike

    from .layout import Layout


def check_cotangents(grad_output: ArrayLike | None, grad_state: StateLike, shape: tuple[int, ...],
                     final: list[Array], names: tuple[str, ...], layout: Layout
                     ) -> tuple[Array | None, list[Array], int | None]:
    """Check the cotangents of `Tape.backward`, and convert them to the form that the engine takes.

    Parameters
    ----------
    grad_output, grad_state
        As the caller gave them.
    shape : tuple of int
        That of the output in the caller's layout.
    final : list of ndarray (layers·directions, B, H)
        The final states, of the layer's dtype.
    names : tuple of str
        The names of the states, for messages.
    layout : Layout

    Returns
    -------
    grad_out : ndarray (T, K·B, F) or None
    carry : list of ndarray (layers·directions, K·B, H)
        One for every state, a copy.
    many : int or None
        K, or None if the cotangents have no leading axis.
    """
    if grad_output is None and grad_state is None:
        raise ValueError("backward: got neither grad_output nor grad_state, expected at least one")
    leading: list[int | None] = []          # K, or None, for each array that is given
    grad_out = None
    if grad_output is not None:
        grad_out = _shaped(as_rows(grad_output, "grad_output", final[0].dtype), "grad_output", shape, leading)
    parts: list[Array | None] = [None] * len(final)
    if grad_state is not None:
        parts = _check_grad_state(grad_state, final, names, layout, leading)
    many = leading[0] if leading else None
    if leading.count(many) < len(leading):
        raise ValueError(f"grad_output, grad_state: got leading axes {set(leading)}, "
                         "expected the same K for all, or none")
    if grad_out is not None:
        grad_out = layout.time_major(grad_out)
        if many is not None:
            K, T, B, F = grad_out.shape
            grad_out = np.ascontiguousarray(grad_out.swapaxes(0, 1)).reshape(T, K * B, F)
    return grad_out, [_carry(part, like, many) for part, like in zip(parts, final, strict=True)], many


def _check_grad_state(grad_state: StateLike, final: list[Array], names: tuple[str, ...], layout: Layout,
                      leading: list[int | None]) -> list[Array | None]:
    """For each state the cotangent on its final value, checked, or None if it was not given."""
    dtype, shapes = final[0].dtype, [layout.state_shape(part.shape) for part in final]
    if len(names) == 1:
        return [_shaped(as_real(grad_state, "grad_state", dtype), "grad_state", shapes[0], leading)]
    if not isinstance(grad_state, tuple | list) or len(grad_state) != len(names):
        expected = ", ".join(f"grad_{name}" for name in names)
        raise ValueError(f"grad_state: got {type(grad_state).__name__}, expected the pair ({expected})")
    labels = [f"grad_state[{place}] ({name})" for place, name in enumerate(names)]
    return [None if part is None else _shaped(as_real(part, label, dtype), label, shape, leading)
            for part, label, shape in zip(grad_state, labels, shapes, strict=True)]


def _shaped(array: Array, name: str, shape: tuple[int, ...], leading: list[int | None]) -> Array:
    """Return the array after a check of its shape, which is `shape`, or (K, *shape) for K cotangents.

    K, or None if there is no leading axis, is appended to `leading`.
    """
    if array.shape == shape:
        leading.append(None)
    elif array.ndim == len(shape) + 1 and array.shape[1:] == shape:
        leading.append(array.shape[0])
    else:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}, or (K, *{shape}) for K cotangents")
    return array


def _carry(given: Array | None, like: Array, many: int | None) -> Array:
    """A copy of a cotangent on the final state `like`, in the engine's form, (layers·directions, K·B, H)."""
    layers, B, H = like.shape
    K = 1 if many is None else many
    if given is None:
        return np.zeros((layers, K * B, H), like.dtype)
    return np.array(given.reshape(K, layers, B, H).swapaxes(0, 1), order="C").reshape(layers, K * B, H)


def by_rows(array: Array, many: int, batch: int) -> Array:
    """A view of (T, K·B, …) as (T, K, B, …), with K = `many` and B = `batch`."""
    return array.reshape(array.shape[0], many, batch, *array.shape[2:])


def one_by_one(array: Array, many: int, batch: int) -> Array:
    """A view of (T, K·B, …) as (K, T, B, …), with K = `many` and B = `batch`."""
    return by_rows(array, many, batch).swapaxes(0, 1)
