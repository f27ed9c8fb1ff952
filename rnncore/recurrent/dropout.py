"""Dropout: which pass draws which mask, and the masks between layers.

A mask depends on nothing but the seed and the number of the pass, and the layer, step, row and unit.
"""

from __future__ import annotations

import numpy as np

from rnncore.module import LOCK


class Masks:
    """The seed of a module's masks, and how many of its passes have drawn one.

    Both are in a checkpoint, so that a run that is resumed draws the masks that the whole run would have drawn.

    Attributes
    ----------
    seed : uint64
    passes : int
    """

    def __init__(self, seed=None):
        self.seed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
        self.passes = 0

    def next(self) -> int:
        """The number of a pass that draws a mask, from 1 on."""
        with LOCK:
            self.passes += 1
            return self.passes

    def take_back(self, number: int | None) -> None:
        """Give the number of a pass that was interrupted to the next, unless another has been drawn since."""
        with LOCK:
            if self.passes == number:
                self.passes -= 1


def mask(seed: np.uint64, number: int, index: int, shape: tuple[int, ...], share: float, dtype: np.dtype) -> np.ndarray:
    """The mask of a layer's input in a pass, scaled by 1 / (1 - share).

    Parameters
    ----------
    seed : uint64
    number : int
        Of the pass.
    index : int
        Of the layer.
    shape : (T, B, I)
    share : float
        That is dropped.
    dtype : dtype
    """
    key = np.atleast_1d(seed)
    golden = np.uint64(0x9E3779B97F4A7C15)
    for part in (np.uint64(number), np.uint64(index), *np.ogrid[tuple(slice(n) for n in shape)]):
        key = _mix(key * golden + np.asarray(part).astype(np.uint64) + np.uint64(1))
    uniform = (key >> np.uint64(40)).astype(np.float64) * 2.0 ** -24
    return np.where(uniform >= share, 1 / (1 - share), 0).astype(dtype)


def _mix(z: np.ndarray) -> np.ndarray:
    """splitmix64's (Steele, Lea & Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
