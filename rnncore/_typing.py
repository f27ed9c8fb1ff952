"""Types that the signatures of many functions share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]                 # of a layer's type, float32 or float64, unless a docstring says otherwise
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]
State: TypeAlias = Array | tuple[Array, ...]    # h, or (h, c) where the cell has both
StateLike: TypeAlias = ArrayLike | tuple[ArrayLike, ...] | None
PathLike: TypeAlias = str | os.PathLike[str]
Seed: TypeAlias = int | Sequence[int] | None
Progress: TypeAlias = bool | Callable[[int, int, dict[str, Any]], object] | None    # see rnncore._progress

__all__ = ["Array", "ArrayLike", "Bools", "DTypeLike", "Floats", "Ints", "PathLike", "Progress", "Seed", "State",
           "StateLike"]
