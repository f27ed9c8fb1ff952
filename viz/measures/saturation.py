"""Saturation: how often a gate is shut or wide open."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._tapes import part_of, valid_steps

__all__ = ["Saturation", "saturation"]


class Saturation(NamedTuple):
    """Shares of steps, one number a unit: ``low`` (H,) under, ``high`` (H,) above."""

    low: np.ndarray
    high: np.ndarray


def saturation(tape, low: float = 0.1, high: float = 0.9) -> dict[str, Saturation]:
    """The share of steps at which a gate is under `low`, and above `high`.

    Karpathy, Johnson & Li (2015). A gate that is always at one end passes no gradient to its own
    weights: it is a constant.

    Parameters
    ----------
    tape : Tape
    low, high : float
        A gate lies between 0 and 1.

    Returns
    -------
    dict of str to Saturation
        "l0.i", "l0.f", "l0.o" (LSTM), "l0.r", "l0.z" (GRU), …: shares over all steps and rows. A
        plain RNN has no gates: the dict is empty.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> shares = viz.saturation(rc.GRU(2, 3, seed=0).record(np.ones((5, 1, 2))))
    >>> list(shares), shares["l0.z"].low.tolist()
    (['l0.r', 'l0.z'], [0.0, 0.0, 0.0])
    """
    if not 0 <= low < high <= 1:
        raise ValueError(f"low, high: got {low}, {high}, expected 0 <= low < high <= 1")
    valid = valid_steps(tape)
    out = {}
    for name in tape.names("*"):
        if part_of(name) in tape.cell.sigmoids:
            values = np.asarray(tape[name])[valid]
            count = max(len(values), 1)
            out[name] = Saturation((values < low).sum(0) / count, (values > high).sum(0) / count)
    return out
