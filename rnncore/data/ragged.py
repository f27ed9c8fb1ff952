"""Sequences of unequal length as one array, and batches of sequences with similar lengths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_array, as_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnncore._typing import Array, ArrayLike, Ints, RandomSource


def pad(
    sequences: Iterable[ArrayLike], value: Any = 0, *, batch_first: bool = False
) -> tuple[Array, NDArray[np.int64]]:
    """Sequences of unequal length as one array, and their lengths.

    Parameters
    ----------
    sequences : sequence of arrays (T_b, ...)
        Of equal shape except for the first axis.
    value : scalar
        Fills the array past a sequence's end.
    batch_first : bool
        Whether the batch is the first axis, and time the second.

    Returns
    -------
    x : ndarray (T, B, ...), or (B, T, ...) if `batch_first`
    lengths : int64 array (B,)

    Examples
    --------
    >>> from rnncore.data import pad
    >>> x, lengths = pad([[1, 2, 3], [4]])
    >>> x.T.tolist(), lengths.tolist()
    ([[1, 2, 3], [4, 0, 0]], [3, 1])
    """
    if not isinstance(sequences, Iterable) or (isinstance(sequences, np.ndarray) and sequences.ndim == 0):
        raise TypeError(f"sequences: got {sequences!r:.60}, expected a sequence of arrays (T_b, ...)")
    arrays = [as_array(sequence, f"sequences[{i}]") for i, sequence in enumerate(sequences)]
    if not arrays:
        raise ValueError("sequences: got none, expected at least one")
    shapes = {array.shape[1:] for array in arrays}
    if any(array.ndim == 0 for array in arrays) or len(shapes) > 1:
        raise ValueError(
            f"sequences: got shapes {[array.shape for array in arrays][:5]}, expected (T_b, ...), "
            "equal except for the first axis"
        )
    lengths = np.array([len(array) for array in arrays], np.int64)
    dtype = np.result_type(*([array for array in arrays if array.size] or arrays))  # np.asarray([]) is float
    x: Array = np.empty((len(arrays), lengths.max(), *shapes.pop()), dtype)
    try:
        with np.errstate(invalid="raise"):      # NaN in an integer array
            x[...] = np.asarray(value).reshape(())
    except (TypeError, ValueError, ArithmeticError):
        raise ValueError(f"value: got {value!r:.60}, expected a single value that fits into {dtype}") from None
    for row, array in zip(x, arrays, strict=True):
        row[: len(array)] = array
    return (x if batch_first else np.ascontiguousarray(x.swapaxes(0, 1))), lengths


def buckets(lengths: ArrayLike, batch_size: int, *, seed: RandomSource = None) -> list[Ints]:
    """Row numbers in groups of similar lengths: less padding than in batches of arbitrary sequences.

    Parameters
    ----------
    lengths : integer array (N,)
    batch_size : int
        Rows of a group; the group of the longest sequences may be smaller.
    seed : int, optional
        Shuffles sequences of equal length and the order of the groups; None orders them from short to long.

    Examples
    --------
    >>> from rnncore.data import buckets
    >>> [rows.tolist() for rows in buckets([5, 1, 4, 2], 2)]
    [[1, 3], [2, 0]]
    """
    lengths, batch_size = np.asarray(lengths), as_size(batch_size, "batch_size")
    rng = None if seed is None else np.random.default_rng(seed)
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    groups = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return groups if rng is None else [groups[i] for i in rng.permutation(len(groups))]
