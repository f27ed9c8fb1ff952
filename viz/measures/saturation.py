"""Saturation: how often a gate is closed or fully open."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._door import as_tape
from .._tapes import Recorded, part_of, valid_steps

if TYPE_CHECKING:
    from rnncore._typing import Floats

    from .._tapes import HasTape

__all__ = ["Saturation", "saturation"]


class Saturation(NamedTuple):
    """Of each unit the share of steps, between 0 and 1, at which its gate is close to an end of its range.

    Attributes
    ----------
    low : ndarray (H,)
        The share of steps below the lower threshold.
    high : ndarray (H,)
        The share of steps above the upper threshold.
    """

    low: Floats
    high: Floats


def saturation(tape: Recorded | HasTape, low: float = 0.1, high: float = 0.9) -> dict[str, Saturation]:
    """The share of steps at which a gate is below `low`, and the share at which it is above `high`.

    Karpathy, Johnson & Li (2015). A gate that is always at one end of its range acts as a constant, and
    hardly any gradient reaches its weights.

    Parameters
    ----------
    tape : Tape or Frame
    low, high : float
        The thresholds. Only gates with a sigmoid count, which lie between 0 and 1.

    Returns
    -------
    dict of str to Saturation
        By gate: "l0.i", "l0.f", "l0.o" for an LSTM, "l0.r", "l0.z" for a GRU, …. Shares are over the steps
        of all rows together. A plain RNN has no gates, so its dict is empty.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> shares = viz.saturation(rc.GRU(2, 3, seed=0).record(np.ones((5, 1, 2))))
    >>> list(shares), shares["l0.z"].low.tolist()
    (['l0.r', 'l0.z'], [0.0, 0.0, 0.0])
    """
    tape = as_tape(tape)
    if not 0 <= low < high <= 1:
        raise ValueError(f"low, high: got {low}, {high}, expected 0 <= low < high <= 1")
    valid = valid_steps(tape)
    out: dict[str, Saturation] = {}
    for name in tape.names("*"):
        if part_of(name) in tape.cell.sigmoids:
            values = np.asarray(tape[name])[valid]
            count = max(len(values), 1)
            out[name] = Saturation((values < low).sum(0) / count, (values > high).sum(0) / count)
    return out
