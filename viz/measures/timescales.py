"""Time scales of the gates: how long each unit keeps what it holds."""

from __future__ import annotations

import numpy as np

from .._tapes import layers, valid_steps

__all__ = ["timescales"]


def timescales(tape) -> dict[str, np.ndarray]:
    """τ = −1/mean ln k of every unit, k the share of what it held that its own gate keeps.

    That is the forget gate of an LSTM and the update gate of a GRU.

    Tallec & Ollivier (2018). It is the memory of a unit that only its own gate erases. The joint
    Jacobian remembers longer, as units also pass on what they hold: see `jacobian_norms`.

    Parameters
    ----------
    tape : Tape
        Of an LSTM or a GRU; a plain RNN has no gate that keeps.

    Returns
    -------
    dict of str to ndarray (H,), float64
        "l0", "l1", …, "l0.reverse": steps; inf for a unit that never forgets.

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
    cell = tape.cell
    if not cell.gated:
        raise ValueError(
            f"tape: got one of an {tape.mode}, expected an LSTM or a GRU (a plain RNN has no gate "
            "that keeps; viz.half_life and viz.decay_rate measure any cell)"
        )
    valid = valid_steps(tape)
    out = {}
    gate = cell.keeps or cell.enters
    for layer, parts in layers(tape).items():
        if gate not in parts:  # of a frame that did not record it
            continue
        kept = cell.kept({gate: np.asarray(tape[f"{layer}.{gate}"], np.float64)[valid]})  # (steps, H)
        with np.errstate(divide="ignore", invalid="ignore"):
            # the mean of no step is NaN; ln 1 = 0 gives inf, ln 0 = −inf gives 0
            mean = np.log(kept).sum(0) / len(kept)
            out[layer] = 1 / np.abs(mean)
    return out
