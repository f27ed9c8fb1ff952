"""Sizes: of vectors, and of all gradients of the weights together."""

from __future__ import annotations

import numpy as np


def norm(a, axis: int = -1) -> np.ndarray:
    """2-norm along `axis` in float64; squares neither under- nor overflow."""
    a = np.asarray(a)
    if a.dtype == np.float32:  # its squares fit float64: 1e-45² = 1e-90
        return np.sqrt(np.square(a, dtype=np.float64).sum(axis))
    a = np.abs(a.astype(np.float64))
    largest = a.max(axis, keepdims=True, initial=0.0)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return np.sqrt(np.square(a / scale).sum(axis)) * scale.squeeze(axis)


def gradient_norm(grads) -> float | None:
    """√Σ‖∂L/∂W‖² over all weights, of Gradients or of a dict by name; None without them."""
    grads = getattr(grads, "parameters", grads)
    if not grads:
        return None
    return float(np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in grads.values())))
