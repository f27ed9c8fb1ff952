"""Types that the signatures of many functions share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]                 # float32 or float64, as its layer is, unless a docstring says otherwise
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]
State: TypeAlias = Array | tuple[Array, ...]    # h, or (h, c) where the cell has both
StateLike: TypeAlias = ArrayLike | tuple[ArrayLike | None, ...] | None    # None: zeros
PathLike: TypeAlias = str | os.PathLike[str]
Seed: TypeAlias = int | Sequence[int] | None
RandomSource: TypeAlias = Seed | np.random.Generator    # what numpy.random.default_rng accepts
Progress: TypeAlias = bool | Callable[[int, int, dict[str, Any]], object] | None    # see rnncore._progress

# The state of a layer, its tapes and its streams, and what gradients hold for a state and an input. The defaults let
# `Tape` stand for a tape of any layer, while a type checker knows that an `LSTM` returns a pair (h, c) and a `GRU` h.
if TYPE_CHECKING:
    from typing_extensions import TypeVar

    StateT = TypeVar("StateT", bound=State, default=State, covariant=True)
    GradStateT = TypeVar("GradStateT", default=State, covariant=True)
    InputT = TypeVar("InputT", default=Array, covariant=True)
else:
    from typing import TypeVar

    StateT, GradStateT, InputT = (TypeVar(name, covariant=True) for name in ("StateT", "GradStateT", "InputT"))

__all__ = ["Array", "ArrayLike", "Bools", "DTypeLike", "Floats", "GradStateT", "InputT", "Ints", "PathLike", "Progress",
           "RandomSource", "Seed", "State", "StateLike", "StateT"]
