"""Losses: a number, and its gradient with respect to the prediction."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rnncore import _engine
from rnncore._checks import REAL_KINDS, as_array, as_indices, as_lengths, as_probability, as_rows

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools, Floats

    Loss = Literal["cross_entropy", "mse"]

LARGEST = 2**63 - 2     # of a target, so that an `ignore_index` beyond it is still of the type of an index


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
    found = _rows_of_loss(logits, targets, ignore_index, mask, lengths, class_weight, label_smoothing, weights)
    grad: Array
    (grad,) = _engine.carve("gradients", found.logits.dtype, (found.logits.shape,))
    losses, total = found.losses(grad)
    if total == 0:
        grad[...] = 0
        return 0.0, grad.reshape(found.shape), 0
    return float(losses.sum()) / total, grad.reshape(found.shape), total


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
    found = _rows_of_loss(logits, targets, ignore_index, mask, lengths)
    return found.losses()[0].astype(found.logits.dtype).reshape(found.shape[:-1])


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
    predicted, rows, options = _squares(pred, target, mask, lengths, weights)
    grad: Array
    (grad,) = _engine.carve("gradients", predicted.dtype, (rows[0].shape,))     # of four axes it would have gaps
    squares, total = _engine.squared_error(*rows, *options, grad)
    return squares / (total or 1), grad.reshape(predicted.shape), total if weights is not None else int(total)


def summed_nll(
    logits: ArrayLike, targets: ArrayLike, mask: ArrayLike | None = None, *, class_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0, weights: ArrayLike | None = None,
) -> tuple[float, float]:
    """The numerator of `cross_entropy`, and the number of steps that count, or the sum of their weights."""
    losses, total = _rows_of_loss(
        logits, targets, -100, mask, None, class_weight, label_smoothing, weights).losses()
    return float(losses.sum()), total


def summed_squares(
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None, *, weights: ArrayLike | None = None
) -> tuple[float, float]:
    """The numerator of `mse`, and the number of values that count, or the sum of their weights."""
    _, rows, options = _squares(pred, target, mask, None, weights)
    squares, total = _engine.squared_error(*rows, *options, None)
    return squares, total if weights is not None else int(total)


def _squares(
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None, lengths: ArrayLike | None, weights: ArrayLike | None
) -> tuple[Array, tuple[Array, Array], tuple[Bools | None, Floats | None]]:
    """Check the arguments of a squared error.

    Returns
    -------
    predicted : ndarray
    rows : (ndarray, ndarray)
        Predictions and targets (M, F).
    options : (ndarray, ndarray)
        Which rows, or which of their values, count, and the weights of the rows; None: all, and 1.
    """
    predicted, expected = as_floating(pred, "pred"), as_array(target, "target")
    if expected.dtype.kind not in REAL_KINDS:
        raise TypeError(f"target: got {expected.dtype}, expected real numbers")
    if expected.shape != predicted.shape:
        raise ValueError(f"target: got shape {expected.shape}, expected {predicted.shape}, as pred")
    steps, features = predicted.shape[:-1], predicted.shape[-1] if predicted.ndim else 1
    shape = math.prod(steps), features
    wide = expected.dtype != predicted.dtype and np.result_type(expected, predicted) != predicted.dtype
    rows = (np.ascontiguousarray(as_rows(predicted.reshape(shape), "pred", predicted.dtype)),
            np.ascontiguousarray(expected.reshape(shape), np.float64 if wide else predicted.dtype))
    counted: Bools | None = None
    if mask is not None and as_array(mask, "mask").shape == predicted.shape:
        counted = np.ascontiguousarray(_boolean(mask)).reshape(shape)
        if lengths is not None:
            counted = counted & _counted(steps, None, lengths).reshape(-1)[:, None]
    elif mask is not None or lengths is not None:
        counted = _counted(steps, mask, lengths).reshape(-1)
    return predicted, rows, (counted, None if weights is None else as_weights(weights, steps).reshape(-1))


def length_mask(lengths: ArrayLike, steps: int, *, batch_first: bool = False) -> Bools:
    """(T, B) booleans, True where step t is inside row b: ``t < lengths[b]``.

    Examples
    --------
    >>> from rnncore.nn import length_mask
    >>> length_mask([2, 0], 3).astype(int).tolist()
    [[1, 0], [1, 0], [0, 0]]
    """
    rows = as_array(lengths, "lengths").size
    row_lengths = as_lengths(lengths, steps, rows)
    inside = np.full(rows, steps) if row_lengths is None else row_lengths  # None: all rows are full
    mask = np.arange(steps)[:, None] < inside
    return mask.T if batch_first else mask


class _Rows(NamedTuple):
    """The steps of a cross-entropy as rows of logits, checked, and the weights of its terms.

    The loss of a row with the target y is ``step · (own_y · −log p_y + Σ_c every_c · −log p_c)``, and its weight in the
    mean is ``step · of_class_y``. None stands for weights of 1, and for `every` of 0.
    """

    shape: tuple[int, ...]          # of the logits as they were given
    logits: Array                   # (M, C)
    targets: Array                  # (M,)
    counted: Bools | None           # (M,)
    ignore_index: int
    step: Floats | None             # (M,)
    of_class: Floats | None         # (C,)
    own: Floats | None              # (C,)
    every: Array | None             # (C,)

    def losses(self, grad: Array | None = None) -> tuple[Floats, float]:
        """The loss of every row, and the number of rows that count, or the sum of their weights; fills in `grad`.

        With a sum of 0, `grad` is left as it is.
        """
        losses = np.zeros(len(self.logits))
        total = _engine.cross_entropy(self.logits, self.targets, self.counted, self.ignore_index, self.step,
                                      self.of_class, self.own, self.every, losses, grad)
        if total < 0:
            counted = self.targets != self.ignore_index
            classes = self.targets[counted if self.counted is None else counted & self.counted]
            raise IndexError(
                f"targets: got values from {classes.min()} to {classes.max()}, expected 0 to "
                f"{self.shape[-1] - 1}, or ignore_index={self.ignore_index} for a step that does not count"
            )
        return losses, int(total) if self.step is None and self.of_class is None and self.own is None else total


def _rows_of_loss(
    logits: ArrayLike, targets: ArrayLike, ignore_index: int, mask: ArrayLike | None, lengths: ArrayLike | None,
    class_weight: ArrayLike | None = None, label_smoothing: float = 0.0, weights: ArrayLike | None = None,
) -> _Rows:
    """Check the arguments of a cross-entropy; see there for the formula."""
    smoothing, scores = as_probability(label_smoothing, "label_smoothing"), as_floating(logits, "logits")
    classes = as_indices(targets, "targets")
    if not isinstance(ignore_index, numbers.Integral) or isinstance(ignore_index, bool):
        raise TypeError(f"ignore_index: got {ignore_index!r:.60}, expected a whole number")
    if scores.ndim == 0 or classes.shape != scores.shape[:-1]:
        raise ValueError(
            f"targets: got shape {classes.shape}, expected {scores.shape[:-1]}, "
            f"the shape of logits {scores.shape} without its last axis"
        )
    shape, C = scores.shape, scores.shape[-1]
    counted = None if mask is None and lengths is None else _counted(shape[:-1], mask, lengths).reshape(-1)
    step = None if weights is None else as_weights(weights, shape[:-1]).reshape(-1)
    of_class = None if class_weight is None else as_weights(class_weight, (C,), "class_weight")
    own, every = of_class, None
    if smoothing:
        each = np.ones(C) if of_class is None else of_class
        own, every = (1 - smoothing) * each, (smoothing / max(C, 1) * each).astype(scores.dtype)
    rows = np.ascontiguousarray(as_rows(scores.reshape(math.prod(shape[:-1]), C), "logits", scores.dtype))
    if classes.dtype == np.uint64:
        classes = np.minimum(classes, LARGEST)
    ignored = min(max(int(ignore_index), -LARGEST), LARGEST + 1)    # beyond what a target can be, it ignores none
    return _Rows(shape, rows, np.ascontiguousarray(classes.reshape(-1), np.intp), counted, ignored, step, of_class, own,
                 every)


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


def as_floating(values: ArrayLike, name: str) -> Array:
    """An array of float32 or float64, in the byte order of the machine."""
    array = as_array(values, name)
    own = array.dtype.newbyteorder("=")         # of the machine
    if own not in (np.float32, np.float64):
        raise TypeError(f"{name}: got {array.dtype}, expected float32 or float64")
    return array.astype(own, copy=False)


# For each loss two functions: its mean and gradient, and its sum. Both also return how many steps or values count, or
# the sum of their weights.
LOSSES: dict[Loss, tuple[Callable[..., tuple[float, Array, float]], Callable[..., tuple[float, float]]]] = {
    "cross_entropy": (mean_nll, summed_nll),
    "mse": (mean_square, summed_squares),
}
