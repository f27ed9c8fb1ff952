"""Dropout masks between layers, and the numbering of the passes that draw them.

The mask's value for a unit depends only on the seed, the number of the pass, the layer, the step, the row and the unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore.module import LOCK

if TYPE_CHECKING:
    from rnncore._typing import Array, Seed


class Masks:
    """The seed of a module's masks, and how many of its passes have drawn one.

    Both are saved in a checkpoint, so that a resumed run draws the same masks as an uninterrupted one.

    Attributes
    ----------
    seed : uint64
    passes : int
    """

    def __init__(self, seed: Seed = None) -> None:
        self.seed: np.uint64 = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
        self.passes = 0

    def __repr__(self) -> str:
        return f"<Masks of seed {self.seed}, drawn by {self.passes} passes>"

    def next(self) -> int:
        """The number of the next pass that draws a mask, counted from 1."""
        with LOCK:
            self.passes += 1
            return self.passes

    def take_back(self, number: int | None) -> None:
        """Reuse the number of an interrupted pass for the next one, unless another has been given out since."""
        with LOCK:
            if self.passes == number:
                self.passes -= 1


def mask(seed: np.uint64, number: int, index: int, shape: tuple[int, ...], share: float, dtype: np.dtype[Any]) -> Array:
    """The mask of a layer's input in one pass, scaled by 1 / (1 - share).

    Parameters
    ----------
    seed : uint64
    number : int
        The number of the pass.
    index : int
        The index of the layer.
    shape : (T, B, I)
    share : float
        The probability that a value is dropped.
    dtype : dtype

    Returns
    -------
    ndarray (T, B, I)
    """
    key: Array = np.atleast_1d(seed)
    golden = np.uint64(0x9E3779B97F4A7C15)
    for part in (np.uint64(number), np.uint64(index), *np.ogrid[tuple(slice(n) for n in shape)]):
        key = _mix(key * golden + np.asarray(part).astype(np.uint64) + np.uint64(1))
    uniform = (key >> np.uint64(40)).astype(np.float64) * 2.0 ** -24
    return np.where(uniform >= share, 1 / (1 - share), 0).astype(dtype)


def _mix(z: Array) -> Array:
    """The finalising hash of the splitmix64 generator (Steele, Lea & Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = z ^ (z >> np.uint64(31))
    return mixed
