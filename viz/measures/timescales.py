"""Time scales: how long each unit keeps its value, according to its gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._door import as_tape
from .._tapes import Recorded, layers, valid_steps

if TYPE_CHECKING:
    from rnncore._typing import Floats

    from .._tapes import HasTape

__all__ = ["timescales"]


def timescales(tape: Recorded | HasTape) -> dict[str, Floats]:
    """τ = −1/mean(ln k) of every unit, where k is the value of the gate that multiplies its old state.

    That is the forget gate of an LSTM, and the update gate of a GRU. Tallec & Ollivier (2018). In τ steps
    the gate alone would reduce the state of the unit by a factor e. The network as a whole may remember
    longer, because units also pass their values on to each other; see `jacobian_norms`.

    Parameters
    ----------
    tape : Tape or Frame
        Of an LSTM or a GRU; a plain RNN has no such gate.

    Returns
    -------
    dict of str to ndarray (H,), float64
        "l0", "l1", …, "l0.reverse": in steps; inf for a unit that never forgets.

    Examples
    --------
    A forget gate of σ(1) at every step:

    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> lstm = rc.LSTM(1, 2)
    >>> zero = {name: 0 * p for name, p in lstm.state_dict().items()}
    >>> zero["bias_ih_l0"][2:4] = 1
    >>> lstm.load_state_dict(zero)
    >>> viz.timescales(lstm.record(np.ones((4, 1, 1))))["l0"].round(2).tolist()
    [3.19, 3.19]
    """
    tape = as_tape(tape)
    cell = tape.cell
    if not cell.gated:
        raise ValueError(
            f"tape: got one of an {tape.mode}, expected an LSTM or a GRU (a plain RNN has no gate "
            "that keeps; viz.half_life and viz.decay_rate measure any cell)"
        )
    if not cell.keeps_share:
        raise ValueError(
            f"tape: got one of an {cell.label}, expected a cell whose gates keep a share between 0 and 1 of the state "
            "(viz.half_life and viz.decay_rate measure any cell)"
        )
    valid = valid_steps(tape)
    out: dict[str, Floats] = {}
    gate = cell.keeps or cell.enters
    for layer, parts in layers(tape).items():
        if gate is None or gate not in parts:  # a frame may not have recorded it
            continue
        kept = cell.kept({gate: np.asarray(tape[f"{layer}.{gate}"], np.float64)[valid]})  # (steps, H)
        assert kept is not None
        with np.errstate(divide="ignore", invalid="ignore"):
            # The mean over no steps is NaN; ln 1 = 0 gives inf, ln 0 = −inf gives 0.
            mean = np.log(kept).sum(0) / len(kept)
            out[layer] = 1 / np.abs(mean)
    return out
