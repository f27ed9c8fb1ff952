"""Dropout masks between layers, and the numbering of the passes that draw them.

A mask is computed by a hash and not drawn from a stream of random numbers. So its value for a unit depends only on the
seed, the number of the pass, the layer, the step, the row and the unit, and any pass can be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore.module import LOCK

if TYPE_CHECKING:
    from rnncore._typing import Array, Seed


class Masks:
    """The seed of a module's masks, and the number of its passes that have drawn masks so far.

    Both are saved in a training checkpoint, so that a resumed run draws the same masks as an uninterrupted one.

    Attributes
    ----------
    seed : uint64
    passes : int
        How many passes have drawn masks; one pass draws a mask for each gap between two layers.
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
        """Give the number of an interrupted pass to the next pass, unless a later number has been given out since.

        None, for a pass without a mask, has no effect.
        """
        with LOCK:
            if self.passes == number:
                self.passes -= 1


def mask(seed: np.uint64, number: int, index: int, shape: tuple[int, ...], share: float, dtype: np.dtype[Any]) -> Array:
    """The mask by which a layer's input is multiplied in one pass: 0 where a value is dropped, else 1 / (1 - share).

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
    golden = np.uint64(0x9E3779B97F4A7C15)      # 2**64 divided by the golden ratio, as in splitmix64
    for part in (np.uint64(number), np.uint64(index), *np.ogrid[tuple(slice(n) for n in shape)]):
        key = _mix(key * golden + np.asarray(part).astype(np.uint64) + np.uint64(1))
    uniform = (key >> np.uint64(40)).astype(np.float64) * 2.0 ** -24       # from the 24 highest bits, in [0, 1)
    return np.where(uniform >= share, 1 / (1 - share), 0).astype(dtype)


def _mix(z: Array) -> Array:
    """The finalising hash of the splitmix64 generator (Steele, Lea & Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = z ^ (z >> np.uint64(31))
    return mixed
