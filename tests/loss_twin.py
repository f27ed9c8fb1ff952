"""Cross-entropy in plain numpy, float64: every step, its gradient, and the weighted mean."""

import numpy as np


def cross_entropy(logits, targets, counted, class_weight=None, label_smoothing=0.0, weights=None):
    """(loss of every row, gradient of the mean, sum of the weights) of logits (M, C) and targets (M,)."""
    x, (M, C) = logits.astype(np.float64), logits.shape
    of_class = np.ones(C) if class_weight is None else np.asarray(class_weight, np.float64)
    step = np.where(counted, 1.0 if weights is None else np.asarray(weights, np.float64), 0)
    x = np.where(counted[:, None], x, 0)
    classes = np.where(counted, targets, 0)
    x = x - x.max(axis=1, keepdims=True)
    minus_log = np.log(np.exp(x).sum(axis=1, keepdims=True)) - x
    p = np.exp(-minus_log)
    share = label_smoothing / C * of_class + np.zeros((M, C))       # of -log p_c in the loss of a step
    share[np.arange(M), classes] += (1 - label_smoothing) * of_class[classes]
    losses = step * (share * minus_log).sum(axis=1)
    total = (step * of_class[classes]).sum()
    grad = step[:, None] * (share.sum(axis=1, keepdims=True) * p - share) / (total or 1)
    return losses, grad, total


def squared_error(pred, target, counted, weights=None):
    """The squares times their weights, 0 where nothing counts, the gradient of their mean, and the sum of weights."""
    step = np.ones(pred.shape[:-1]) if weights is None else weights
    shares = counted * step[..., None]
    error = np.where(counted, pred.astype(float) - target, 0)
    total = shares.sum()
    return error**2 * shares, 2 * error * shares / (total or 1), total
