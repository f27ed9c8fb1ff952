"""Norms: of vectors, and of the gradients of all weights together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from rnncore._typing import Array

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats


class HasParameters(Protocol):
    """Anything with the gradients of the weights as ``parameters``, such as what `tape.backward` returns."""

    @property
    def parameters(self) -> Mapping[str, Array]: ...


Grads: TypeAlias = HasParameters | Mapping[str, Array]
"""The gradients of the weights: what `tape.backward` returned, or ∂L/∂W by name."""


def norm(a: ArrayLike, axis: int = -1) -> Floats:
    """The 2-norm along `axis` in float64, computed so that squares neither underflow nor overflow."""
    a = np.asarray(a)
    if a.dtype == np.float32:  # the squares are within the range of float64: 1e-45² = 1e-90
        squares: Floats = np.square(a, dtype=np.float64).sum(axis)
        return np.sqrt(squares)
    a = np.abs(a.astype(np.float64))
    largest = a.max(axis, keepdims=True, initial=0.0)
    scale: Floats = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    scaled: Floats = np.square(a / scale).sum(axis)
    return np.sqrt(scaled) * scale.squeeze(axis)


def weight_gradients(grads: Grads | None) -> Mapping[str, Array] | None:
    """The gradients of the weights by name, from what `tape.backward` returned, or from such a mapping."""
    return grads if grads is None or isinstance(grads, Mapping) else grads.parameters


def gradient_norm(grads: Grads | None) -> float | None:
    """The norm of the gradients of all weights together, √Σ‖∂L/∂W‖²; None if there are none."""
    grads = weight_gradients(grads)
    if not grads:
        return None
    return float(np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in grads.values())))
