"""Losses: a number, and its gradient with respect to the prediction."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rnncore._checks import REAL_KINDS, as_array, as_indices, as_lengths, as_probability

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools, Floats


def cross_entropy(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int = -100, mask: ArrayLike | None = None,
    lengths: ArrayLike | None = None, *, class_weight: ArrayLike | None = None, label_smoothing: float = 0.0,
    weights: ArrayLike | None = None,
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
    class_weight : array (C,), optional
        The weight w_c of each class, finite and >= 0; all 1 by default.
    label_smoothing : float
        The share ε in [0, 1) of the target's probability that all classes get in equal parts.
    weights : array (...), optional
        The weight s of each step, finite and >= 0; all 1 by default.

    Returns
    -------
    loss : float
        Divide by ln 2 for bits. 0.0 when no step counts.
    grad : ndarray (..., C)
        ∂loss/∂logits; exactly 0 at steps that do not count, whatever their logits are.

    Notes
    -----
    With p = softmax(logits) and the target y_i of step i,

        loss = Σ_i s_i [(1 − ε) w_{y_i} (−log p_{i,y_i}) + ε/C Σ_c w_c (−log p_{i,c})] / Σ_i s_i w_{y_i},

    the weighted mean. Without `weights` this is ``torch.nn.CrossEntropyLoss(weight=, label_smoothing=)``.

    Examples
    --------
    >>> import math
    >>> import numpy as np
    >>> from rnncore.nn import cross_entropy
    >>> loss, grad = cross_entropy(np.zeros((2, 4)), np.array([3, -100]))
    >>> round(loss / math.log(2), 6), grad.tolist()
    (2.0, [[0.25, 0.25, 0.25, -0.75], [0.0, 0.0, 0.0, 0.0]])
    """
    return mean_nll(logits, targets, ignore_index, mask, lengths, class_weight=class_weight,
                    label_smoothing=label_smoothing, weights=weights)[:2]


def mean_nll(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int = -100, mask: ArrayLike | None = None,
    lengths: ArrayLike | None = None, *, class_weight: ArrayLike | None = None, label_smoothing: float = 0.0,
    weights: ArrayLike | None = None,
) -> tuple[float, Array, float]:
    """As `cross_entropy`, followed by the number of steps that count, or the sum of their weights."""
    loss, softmax, counted, share = _weighted_nll(
        logits, targets, ignore_index, mask, lengths, class_weight, label_smoothing, weights)
    total = share.total(counted)
    if total == 0:
        return 0.0, np.zeros_like(softmax), 0
    grad, classes = softmax, np.where(counted, targets, 0)[..., None]
    if share.plain:
        at_target = np.take_along_axis(grad, classes, axis=-1) - 1
        np.put_along_axis(grad, classes, at_target, axis=-1)  # p − onehot
    else:  # Σ_c q_c (−log p_c) has the gradient (Σ_c q_c) p − q
        grad *= (share.own + share.every.sum())[..., None]
        at_target = np.take_along_axis(grad, classes, axis=-1) - share.own[..., None]
        np.put_along_axis(grad, classes, at_target, axis=-1)
        grad -= share.every
        grad *= share.step[..., None]
    grad *= grad.dtype.type(1 / total)
    if not counted.all():
        grad[~counted] = 0
    return float(loss.sum(dtype=np.float64)) / total, grad, total


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
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None, lengths: ArrayLike | None = None, *,
    weights: ArrayLike | None = None,
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
    weights : array, the shape of `pred` without its last axis, optional
        The weight s of each step, finite and >= 0; all 1 by default. The loss is then the weighted mean
        Σ_i s_i Σ_f e²_{i,f} / Σ_i s_i n_i, where step i has n_i values that count.

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
    return mean_square(pred, target, mask, lengths, weights=weights)[:2]


def mean_square(
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None, lengths: ArrayLike | None = None, *,
    weights: ArrayLike | None = None,
) -> tuple[float, Array, float]:
    """As `mse`, followed by the number of values that count, or the sum of their weights."""
    error, squares, total = _weighted_squares(pred, target, mask, lengths, weights)
    error *= error.dtype.type(2 / (total or 1))
    return squares / (total or 1), error, total


def summed_nll(
    logits: ArrayLike, targets: ArrayLike, mask: ArrayLike | None = None, *, class_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0, weights: ArrayLike | None = None,
) -> tuple[float, float]:
    """The numerator of `cross_entropy`, and the number of steps that count, or the sum of their weights."""
    loss, _, counted, share = _weighted_nll(
        logits, targets, -100, mask, None, class_weight, label_smoothing, weights)
    return float(loss.sum(dtype=np.float64)), share.total(counted)


def summed_squares(
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None, *, weights: ArrayLike | None = None
) -> tuple[float, float]:
    """The numerator of `mse`, and the number of values that count, or the sum of their weights."""
    _, squares, total = _weighted_squares(pred, target, mask, None, weights)
    return squares, total


def _weighted_squares(
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None, lengths: ArrayLike | None, weights: ArrayLike | None
) -> tuple[Array, float, float]:
    """Each error times its weight, the sum of squared errors times their weights, and the sum of the weights."""
    error, counted = _errors(pred, target, mask, lengths)
    if weights is None:
        return error, float(np.square(error, dtype=np.float64).sum()), int(counted.sum())
    step = as_weights(weights, error.shape[:-1])[..., None]
    squares = float((np.square(error, dtype=np.float64) * step).sum())
    error *= step.astype(error.dtype)
    return error, squares, float((counted * step).sum())


def _errors(
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None, lengths: ArrayLike | None
) -> tuple[Array, Bools]:
    """``(pred − target, counted)`` of every value; the error is 0 for values that do not count."""
    predicted = _floating(pred, "pred")
    expected = as_array(target, "target")
    if expected.dtype.kind not in REAL_KINDS:
        raise TypeError(f"target: got {expected.dtype}, expected real numbers")
    if expected.shape != predicted.shape:
        raise ValueError(f"target: got shape {expected.shape}, expected {predicted.shape}, as pred")
    if mask is not None and as_array(mask, "mask").shape == predicted.shape:
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


class _Share(NamedTuple):
    """What each −log p_c is multiplied by in the loss of a step: ``step · (own · [c = target] + every[c])``."""

    own: Array          # (...), by the target of the step
    every: Array        # (C,)
    step: Array         # (...)
    weight: Array       # (...), the weight of the step in the mean
    plain: bool         # Whether own and step are 1, and every is 0

    def total(self, counted: Bools) -> float:
        """The number of steps that count, or the sum of their weights."""
        if self.plain:
            return int(counted.sum())
        return float(self.weight.sum(where=counted, dtype=np.float64))


def _weighted_nll(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int, mask: ArrayLike | None, lengths: ArrayLike | None,
    class_weight: ArrayLike | None, label_smoothing: float, weights: ArrayLike | None,
) -> tuple[Array, Array, Bools, _Share]:
    """(loss, softmax, counted, share) of every step; see `cross_entropy` for the formula."""
    smoothing = as_probability(label_smoothing, "label_smoothing")
    every = None
    if smoothing:
        classes = _floating(logits, "logits").shape[-1] if np.ndim(logits) else 0
        every = smoothing / max(classes, 1) * as_weights(class_weight, (classes,), "class_weight")
    nll, softmax, counted, others = _softmax_nll(logits, targets, ignore_index, mask, lengths, every)
    dtype, shape, C = softmax.dtype, counted.shape, softmax.shape[-1]
    if class_weight is None and weights is None and every is None:
        one = np.ones((), dtype)
        return nll, softmax, counted, _Share(one, np.zeros(C, dtype), one, one, plain=True)
    of_class = as_weights(class_weight, (C,), "class_weight")
    of_target = of_class[np.where(counted, targets, 0)] if C else np.ones(shape)
    step, own = as_weights(weights, shape), (1 - smoothing) * of_target
    loss = np.where(counted, step * (own * nll + others), 0)
    share = _Share(own.astype(dtype), (np.zeros(C) if every is None else every).astype(dtype), step.astype(dtype),
                   step * of_target, plain=False)
    return loss, softmax, counted, share


def _softmax_nll(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int, mask: ArrayLike | None, lengths: ArrayLike | None,
    every: Floats | None = None,
) -> tuple[Array, Array, Bools, Array | float]:
    """(nll, softmax, counted, Σ_c every_c · −log p_c) of every step.

    The logits of steps that do not count are replaced by zeros.
    """
    scores = _floating(logits, "logits")
    classes = as_indices(targets, "targets")
    if not isinstance(ignore_index, numbers.Integral) or isinstance(ignore_index, bool):
        raise TypeError(f"ignore_index: got {ignore_index!r:.60}, expected a whole number")
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
    others = 0.0 if every is None else -(shifted @ every)
    softmax = np.exp(shifted, out=shifted)
    total = softmax.sum(axis=-1, keepdims=True)
    softmax /= total
    log_total = np.log(total[..., 0])
    if every is not None:
        others = others + every.sum() * log_total
    return np.where(counted, log_total - at_target, 0), softmax, counted, others


def _counted(shape: tuple[int, ...], mask: ArrayLike | None, lengths: ArrayLike | None) -> Bools:
    counted = np.ones(shape, bool)
    if mask is not None:
        given = _boolean(mask)
        if given.shape != shape:
            raise ValueError(f"mask: got shape {given.shape}, expected {shape}, one value per step")
        counted &= given
    if lengths is not None:
        rows = as_array(lengths, "lengths").shape
        if len(shape) != 2 or rows != shape[1:]:
            raise ValueError(
                f"lengths: got shape {rows} for steps {shape}, expected (B,) for "
                "time-major (T, B); for another layout pass mask= (see length_mask)"
            )
        counted &= length_mask(lengths, shape[0])
    return counted


def _boolean(mask: ArrayLike) -> Bools:
    found = as_array(mask, "mask")
    if found.dtype != bool:
        raise TypeError(f"mask: got {found.dtype}, expected booleans, True where a step counts")
    return found


def as_weights(weights: ArrayLike | None, shape: tuple[int, ...], name: str = "weights") -> Floats:
    """Weights of this shape as float64, all 1 for None; negative ones, NaN and infinity are refused."""
    if weights is None:
        return np.ones(shape)
    found = as_array(weights, name)
    if found.dtype.kind not in REAL_KINDS:
        raise TypeError(f"{name}: got {found.dtype}, expected numbers >= 0")
    if found.shape != shape:
        raise ValueError(f"{name}: got shape {found.shape}, expected {shape}, "
                         f"one per {'step' if name == 'weights' else 'class'}")
    wrong = ~((found >= 0) & np.isfinite(found))
    if wrong.any():
        raise ValueError(f"{name}: got {found[wrong][0]}, expected finite numbers >= 0")
    return found.astype(np.float64)


def _floating(values: ArrayLike, name: str) -> Array:
    array = as_array(values, name)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: got {array.dtype}, expected float32 or float64")
    return array
