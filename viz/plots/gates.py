"""Picture of the gates: all of them, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import style
from .._door import as_tape
from .._tapes import HasTape, Recorded, gate_names, part_of
from ..measures.saturation import saturation
from ._draw import Band, Order, axes, bands, colour_bars, gate_norm, row_length, signed_norm, units_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_gates"]

KIND = "gates"


def plot_gates(
    tape: Recorded | HasTape,
    ax: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
    row: int = 0,
    order: Order = "auto",
    tokens: Sequence[object] | None = None,
) -> Axes:
    """Every gate of every layer: units × time, one map below the other.

    Parameters
    ----------
    tape : Tape or Frame
        Of an LSTM or a GRU.
    ax : matplotlib Axes, optional
    names : sequence of str, optional
        Such as ["l0.f", "l1.f"] or ``tape.names("*.f")``; by default all gates.
    row : int
        Row of the batch.
    order : "auto", None or sequence of int
        Units from top to bottom; "auto" sorts each layer by `viz.unit_order`, None does not sort.
    tokens : sequence of str, optional
        One per step, for the axis.

    Returns
    -------
    matplotlib Axes
        With one image per gate. Gates between 0 and 1 always have these limits; candidates (g, n,
        hn) are centred at 0.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> ax = viz.plot_gates(tape, Figure().subplots())
    >>> [image.get_gid() for image in ax.images]
    ['l0.i', 'l0.f', 'l0.g', 'l0.o']
    """
    tape = as_tape(tape)
    names = gate_names(tape) if names is None else names
    if not names:
        raise ValueError(
            f"tape: got one of an {tape.mode}, which has no gates, expected an LSTM or a GRU "
            "(viz.plot_states draws its h)"
        )
    ax = axes(ax, KIND, overlays=False)
    length = row_length(tape, row)
    parts: list[Band] = []
    signed = []
    for name in names:
        gate = part_of(name)
        units = units_of(tape, name, order)
        value = tape[name][:length, row][:, units]
        is_signed = not tape.cell.is_share(gate)
        signed.append(is_signed)
        norm = signed_norm([1.0] if tape.cell.curve_of(gate) else value) if is_signed else gate_norm()
        parts.append((name, value, style.SIGNED if is_signed else style.GATES, norm))
    images = bands(ax, parts, tokens=tokens)
    kinds = [(s, w) for s, w in ((False, "gate"), (True, "candidate")) if s in signed]
    colour_bars(ax, [images[signed.index(s)] for s, _ in kinds], [w for _, w in kinds])
    ax.set_title(_sentence(tape, names))
    return ax


def _sentence(tape: Recorded, names: Sequence[str]) -> str:
    shares = {n: s for n, s in saturation(tape).items() if n in names}
    if not shares:
        return "Candidates over time"
    stuck = {n: float(np.mean(np.maximum(s.low, s.high))) for n, s in shares.items()}
    worst = max(stuck, key=stuck.__getitem__)
    if stuck[worst] < 0.05:
        return "All gates work in their middle range"
    end = "shut" if shares[worst].low.mean() > shares[worst].high.mean() else "wide open"
    return f"{worst} is {end} on {100 * stuck[worst]:.0f} % of steps"
