"""Steps that go on where steps of EM lead to, so that a fit reaches its optimum in a few dozen steps.

Near the optimum every step of EM goes the same small share of what remains, so a small step does not mean that little
remains. Anderson (1965) finds the combination of the last steps at which EM would change least, and goes there.
Henderson and Varadhan (2019) apply it to EM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Floats


class Acceleration:
    """Anderson acceleration of a sequence of steps, each from a vector of parameters to a better one.

    Parameters
    ----------
    memory : int
        The number of past steps that are combined.

    Examples
    --------
    >>> matrix, jump = np.array([[0.9, 0.1], [0.0, 0.8]]), Acceleration()
    >>> x = np.array([1.0, 1.0])
    >>> for _ in range(4):
    ...     x = jump(x, matrix @ x)
    >>> bool(np.abs(x).max() < 1e-9)
    True
    """

    def __init__(self, memory: int = 10) -> None:
        self.memory = memory
        self.forget()

    def forget(self) -> None:
        """Start again: the steps so far say nothing about the next ones."""
        self._before: list[tuple[Floats, Floats]] = []

    def __call__(self, old: Floats, new: Floats) -> Floats:
        """From a step ``old → new``, the point that is to be tried next."""
        self._before = [*self._before[-self.memory :], (new - old, new)]
        if len(self._before) == 1:
            return new
        steps, ends = (np.stack(each, axis=1) for each in zip(*self._before, strict=True))
        changes = np.diff(steps, axis=1)
        weights = np.linalg.lstsq(changes, steps[:, -1], rcond=1e-8)[0]
        found: Floats = new - np.diff(ends, axis=1) @ weights
        return found
