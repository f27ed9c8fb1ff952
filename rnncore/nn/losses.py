"""Losses: a number, and its gradient with respect to the prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore._checks import as_array, as_indices, as_lengths

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools


def cross_entropy(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int = -100, mask: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
) -> tuple[float, Array]:
    """Mean of −log softmax(logits)[target] over the steps that count, in nats.

    Parameters
    ----------
    logits : array (..., C)
        Unnormalised log probabilities, float32 or float64.
    targets : integer array (...)
        The class of every step. A step whose target is `ignore_index` does not count.
    ignore_index : int
    mask : boolean array (...), optional
        True where a step counts.
    lengths : integer array (B,), optional
        For time-major logits (T, B, C): step t of row b counts when ``t < lengths[b]``.

    Returns
    -------
    loss : float
        Divide by ln 2 for bits. 0.0 when no step counts.
    grad : ndarray (..., C)
        ∂loss/∂logits; exactly 0 at steps that do not count, whatever their logits are.

    Examples
    --------
    >>> import math
    >>> import numpy as np
    >>> from rnncore.nn import cross_entropy
    >>> loss, grad = cross_entropy(np.zeros((2, 4)), np.array([3, -100]))
    >>> round(loss / math.log(2), 6), grad.tolist()
    (2.0, [[0.25, 0.25, 0.25, -0.75], [0.0, 0.0, 0.0, 0.0]])
    """
    return mean_nll(logits, targets, ignore_index, mask, lengths)[:2]


def mean_nll(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int = -100, mask: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
) -> tuple[float, Array, int]:
    """As `cross_entropy`, followed by the number of steps that count."""
    nll, grad, counted = _softmax_nll(logits, targets, ignore_index, mask, lengths)
    count = int(counted.sum())
    if count == 0:
        return 0.0, np.zeros_like(grad), 0
    classes = np.where(counted, targets, 0)[..., None]
    at_target = np.take_along_axis(grad, classes, axis=-1) - 1
    np.put_along_axis(grad, classes, at_target, axis=-1)  # p − onehot
    grad *= grad.dtype.type(1 / count)
    if count < counted.size:
        grad[~counted] = 0
    return float(nll.sum(dtype=np.float64)) / count, grad, count


def token_nll(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int = -100, mask: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
) -> Array:
    """−log softmax(logits)[target] at every step, in nats; 0 where a step does not count.

    The arguments are those of `cross_entropy`. The sum over a text, divided by the number of its characters and by
    ln 2, is bits per character.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import token_nll
    >>> (token_nll(np.zeros((3, 8)), np.array([0, 7, -100])) / np.log(2)).round(6).tolist()
    [3.0, 3.0, 0.0]
    """
    return _softmax_nll(logits, targets, ignore_index, mask, lengths)[0]


def mse(
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None, lengths: ArrayLike | None = None
) -> tuple[float, Array]:
    """Mean squared error over the values that count.

    Parameters
    ----------
    pred : array (..., F)
    target : array, the shape of `pred`
    mask : boolean array, optional
        Of the shape of `pred`, or of its leading axes; then all features of a step count, or none.
    lengths : integer array (B,), optional
        For time-major (T, B, F): step t of row b counts when ``t < lengths[b]``.

    Returns
    -------
    loss : float
        0.0 when nothing counts.
    grad : ndarray, the shape of `pred`
        ∂loss/∂pred; exactly 0 where nothing counts, even if the values there are NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import mse
    >>> loss, grad = mse(np.array([[1.0], [np.nan]]), np.zeros((2, 1)), mask=[True, False])
    >>> loss, grad.tolist()
    (1.0, [[2.0], [0.0]])
    """
    return mean_square(pred, target, mask, lengths)[:2]


def mean_square(
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None, lengths: ArrayLike | None = None
) -> tuple[float, Array, int]:
    """As `mse`, followed by the number of values that count."""
    error, counted = _errors(pred, target, mask, lengths)
    count = int(counted.sum())
    loss = float(np.square(error, dtype=np.float64).sum()) / max(count, 1)
    error *= error.dtype.type(2 / max(count, 1))
    return loss, error, count


def summed_nll(logits: ArrayLike, targets: ArrayLike, mask: ArrayLike | None = None) -> tuple[float, int]:
    """The sum of `token_nll` over the steps that count, and the number of these steps."""
    nll, _, counted = _softmax_nll(logits, targets, -100, mask, None)
    return float(nll.sum(dtype=np.float64)), int(counted.sum())


def summed_squares(pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> tuple[float, int]:
    """The sum of the squared errors of the values that count, and the number of these values."""
    error, counted = _errors(pred, target, mask, None)
    return float(np.square(error, dtype=np.float64).sum()), int(counted.sum())


def _errors(
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None, lengths: ArrayLike | None
) -> tuple[Array, Bools]:
    """``(pred − target, counted)`` of every value; the error is 0 for values that do not count."""
    predicted = _floating(pred, "pred")
    expected = np.asarray(target)
    if expected.shape != predicted.shape:
        raise ValueError(f"target: got shape {expected.shape}, expected {predicted.shape}, as pred")
    if mask is not None and np.shape(mask) == predicted.shape:
        steps = _counted(predicted.shape[:-1], None, lengths)
        counted = steps[..., None] & _boolean(mask)
    else:
        steps = _counted(predicted.shape[:-1], mask, lengths)
        counted = np.broadcast_to(steps[..., None], predicted.shape)
    error = np.zeros_like(predicted)
    np.subtract(predicted, expected, out=error, where=counted, casting="same_kind")
    return error, counted


def length_mask(lengths: ArrayLike, steps: int, *, batch_first: bool = False) -> Bools:
    """(T, B) booleans, True where step t is inside row b: ``t < lengths[b]``.

    Examples
    --------
    >>> from rnncore.nn import length_mask
    >>> length_mask([2, 0], 3).astype(int).tolist()
    [[1, 0], [1, 0], [0, 0]]
    """
    rows = np.size(lengths)
    row_lengths = as_lengths(lengths, steps, rows)
    inside = np.full(rows, steps) if row_lengths is None else row_lengths  # None: all rows are full
    mask = np.arange(steps)[:, None] < inside
    return mask.T if batch_first else mask


def _softmax_nll(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int, mask: ArrayLike | None, lengths: ArrayLike | None
) -> tuple[Array, Array, Bools]:
    """(nll, softmax, counted) of every step; the logits of steps that do not count are replaced by zeros."""
    scores = _floating(logits, "logits")
    classes = as_indices(targets, "targets")
    if scores.ndim == 0 or classes.shape != scores.shape[:-1]:
        raise ValueError(
            f"targets: got shape {classes.shape}, expected {scores.shape[:-1]}, "
            f"the shape of logits {scores.shape} without its last axis"
        )
    counted: Bools = _counted(classes.shape, mask, lengths) & (classes != ignore_index)
    classes = np.where(counted, classes, 0)
    if classes.size and (classes.min() < 0 or classes.max() >= scores.shape[-1]):
        raise IndexError(
            f"targets: got values from {classes.min()} to {classes.max()}, expected 0 to "
            f"{scores.shape[-1] - 1}, or ignore_index={ignore_index} for a step that does not count"
        )
    if not counted.all():
        scores = np.where(counted[..., None], scores, 0)
    shifted = scores - scores.max(axis=-1, keepdims=True, initial=-np.inf)
    at_target = np.take_along_axis(shifted, classes[..., None], axis=-1)[..., 0]
    softmax = np.exp(shifted, out=shifted)
    total = softmax.sum(axis=-1, keepdims=True)
    softmax /= total
    return np.where(counted, np.log(total[..., 0]) - at_target, 0), softmax, counted


def _counted(shape: tuple[int, ...], mask: ArrayLike | None, lengths: ArrayLike | None) -> Bools:
    counted = np.ones(shape, bool)
    if mask is not None:
        given = _boolean(mask)
        if given.shape != shape:
            raise ValueError(f"mask: got shape {given.shape}, expected {shape}, one value per step")
        counted &= given
    if lengths is not None:
        if len(shape) != 2 or np.shape(lengths) != shape[1:]:
            raise ValueError(
                f"lengths: got shape {np.shape(lengths)} for steps {shape}, expected (B,) for "
                "time-major (T, B); for another layout pass mask= (see length_mask)"
            )
        counted &= length_mask(lengths, shape[0])
    return counted


def _boolean(mask: ArrayLike) -> Bools:
    found = as_array(mask, "mask")
    if found.dtype != bool:
        raise TypeError(f"mask: got {found.dtype}, expected booleans, True where a step counts")
    return found


def _floating(values: ArrayLike, name: str) -> Array:
    array = np.asarray(values)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: got {array.dtype}, expected float32 or float64")
    return array
