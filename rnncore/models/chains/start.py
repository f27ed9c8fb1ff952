"""Initial values of a fit: k-means++ (Arthur & Vassilvitskii 2007), then a few of Lloyd's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Floats

SAMPLE = 10_000  # the largest number of rows that are used; initial values need not be more precise than that


def centres(x: Floats, k: int, rng: np.random.Generator, steps: int = 20) -> Floats:
    """`k` cluster centres (k, F) of the rows of `x` (N, F), after at most `steps` of Lloyd's steps.

    Examples
    --------
    >>> x = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> np.sort(centres(x, 2, np.random.default_rng(0)), axis=0).ravel().round(2)
    array([0.05, 5.05])
    """
    if len(x) > SAMPLE:
        x = x[np.sort(rng.choice(len(x), SAMPLE, replace=False))]
    found = np.empty((k, x.shape[1]))
    found[0] = x[rng.integers(len(x))]
    nearest = np.full(len(x), np.inf)
    for c in range(1, k):
        nearest = np.minimum(nearest, ((x - found[c - 1]) ** 2).sum(axis=1))
        total = nearest.sum()
        chosen = rng.choice(len(x), p=nearest / total) if total > 0 else rng.integers(len(x))
        found[c] = x[chosen]
    for _ in range(steps):
        distance = np.stack([((x - c) ** 2).sum(axis=1) for c in found])
        label = distance.argmin(axis=0)
        counts = np.bincount(label, minlength=k)
        sums = np.stack([np.bincount(label, column, k) for column in x.T], axis=1)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], found)
        if np.array_equal(moved, found):
            break
        found = moved
    return found
