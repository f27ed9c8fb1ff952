"""Losses: a number, and its gradient with respect to the prediction."""

from __future__ import annotations

import numpy as np

from rnncore._checks import as_array, as_indices, as_lengths


def cross_entropy(
    logits, targets, ignore_index: int = -100, mask=None, lengths=None
) -> tuple[float, np.ndarray]:
    """Mean of −log softmax(logits)[target] over the steps that count, in nats.

    Parameters
    ----------
    logits : array (..., C)
        Unnormalised log probabilities, float32 or float64.
    targets : integer array (...)
        Class of every step. Where it is `ignore_index` the step does not count.
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
    logits, targets, ignore_index: int = -100, mask=None, lengths=None
) -> tuple[float, np.ndarray, int]:
    """`cross_entropy`, and how many steps count."""
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


def token_nll(logits, targets, ignore_index: int = -100, mask=None, lengths=None) -> np.ndarray:
    """−log softmax(logits)[target] at every step, in nats; 0 where a step does not count.

    The arguments are those of `cross_entropy`. Summed over any text and divided by the number of
    its characters and ln 2 it is bits per character.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import token_nll
    >>> (token_nll(np.zeros((3, 8)), np.array([0, 7, -100])) / np.log(2)).round(6).tolist()
    [3.0, 3.0, 0.0]
    """
    return _softmax_nll(logits, targets, ignore_index, mask, lengths)[0]


def mse(pred, target, mask=None, lengths=None) -> tuple[float, np.ndarray]:
    """Mean squared error over the values that count.

    Parameters
    ----------
    pred : array (..., F)
    target : array, the shape of `pred`
    mask : boolean array, optional
        The shape of `pred`, or of its leading axes (a step counts with all its features).
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


def mean_square(pred, target, mask=None, lengths=None) -> tuple[float, np.ndarray, int]:
    """`mse`, and how many values count."""
    error, counted = _errors(pred, target, mask, lengths)
    count = int(counted.sum())
    loss = float(np.square(error, dtype=np.float64).sum()) / max(count, 1)
    error *= error.dtype.type(2 / max(count, 1))
    return loss, error, count


def summed_nll(logits, targets, mask=None) -> tuple[float, int]:
    """The sum of `token_nll` over the steps that count, and how many they are."""
    nll, _, counted = _softmax_nll(logits, targets, -100, mask, None)
    return float(nll.sum(dtype=np.float64)), int(counted.sum())


def summed_squares(pred, target, mask=None) -> tuple[float, int]:
    """The sum of the squared errors of the values that count, and how many they are."""
    error, counted = _errors(pred, target, mask, None)
    return float(np.square(error, dtype=np.float64).sum()), int(counted.sum())


def _errors(pred, target, mask, lengths) -> tuple[np.ndarray, np.ndarray]:
    """``(pred − target, counted)`` of every value; the error is 0 where one does not count."""
    pred = _floating(pred, "pred")
    target = np.asarray(target)
    if target.shape != pred.shape:
        raise ValueError(f"target: got shape {target.shape}, expected {pred.shape}, as pred")
    if mask is not None and np.shape(mask) == pred.shape:
        steps = _counted(pred.shape[:-1], None, lengths)
        counted = steps[..., None] & _boolean(mask)
    else:
        steps = _counted(pred.shape[:-1], mask, lengths)
        counted = np.broadcast_to(steps[..., None], pred.shape)
    error = np.zeros_like(pred)
    np.subtract(pred, target, out=error, where=counted, casting="same_kind")
    return error, counted


def length_mask(lengths, steps: int, *, batch_first: bool = False) -> np.ndarray:
    """(T, B) booleans, True where step t is inside row b: ``t < lengths[b]``.

    Examples
    --------
    >>> from rnncore.nn import length_mask
    >>> length_mask([2, 0], 3).astype(int).tolist()
    [[1, 0], [1, 0], [0, 0]]
    """
    rows = np.size(lengths)
    lengths = as_lengths(lengths, steps, rows)
    inside = np.full(rows, steps) if lengths is None else lengths  # None: all rows are full
    mask = np.arange(steps)[:, None] < inside
    return mask.T if batch_first else mask


def _softmax_nll(logits, targets, ignore_index, mask, lengths):
    """(nll, softmax, counted) of every step; steps that do not count are read as zero logits."""
    logits = _floating(logits, "logits")
    targets = as_indices(targets, "targets")
    if logits.ndim == 0 or targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets: got shape {targets.shape}, expected {logits.shape[:-1]}, "
            f"the shape of logits {logits.shape} without its last axis"
        )
    counted = _counted(targets.shape, mask, lengths) & (targets != ignore_index)
    classes = np.where(counted, targets, 0)
    if classes.size and (classes.min() < 0 or classes.max() >= logits.shape[-1]):
        raise IndexError(
            f"targets: got values from {classes.min()} to {classes.max()}, expected 0 to "
            f"{logits.shape[-1] - 1}, or ignore_index={ignore_index} for a step that does not count"
        )
    if not counted.all():
        logits = np.where(counted[..., None], logits, 0)
    shifted = logits - logits.max(axis=-1, keepdims=True, initial=-np.inf)
    at_target = np.take_along_axis(shifted, classes[..., None], axis=-1)[..., 0]
    softmax = np.exp(shifted, out=shifted)
    total = softmax.sum(axis=-1, keepdims=True)
    softmax /= total
    return np.where(counted, np.log(total[..., 0]) - at_target, 0), softmax, counted


def _counted(shape: tuple[int, ...], mask, lengths) -> np.ndarray:
    counted = np.ones(shape, bool)
    if mask is not None:
        mask = _boolean(mask)
        if mask.shape != shape:
            raise ValueError(f"mask: got shape {mask.shape}, expected {shape}, one value a step")
        counted &= mask
    if lengths is not None:
        if len(shape) != 2 or np.shape(lengths) != shape[1:]:
            raise ValueError(
                f"lengths: got shape {np.shape(lengths)} for steps {shape}, expected (B,) for "
                "time-major (T, B); for another layout give mask= (see length_mask)"
            )
        counted &= length_mask(lengths, shape[0])
    return counted


def _boolean(mask) -> np.ndarray:
    mask = as_array(mask, "mask")
    if mask.dtype != bool:
        raise TypeError(f"mask: got {mask.dtype}, expected booleans, True where a step counts")
    return mask


def _floating(values, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: got {array.dtype}, expected float32 or float64")
    return array
