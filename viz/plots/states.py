"""Picture of the states: every unit over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import style
from .._door import as_tape
from .._tapes import HasTape, Recorded, layer_of, part_of, state_names
from ..measures.unit_order import criteria, is_narrow
from ._claims import at_most, counted, not_finite, of_row
from ._draw import axes, row_length, some_names
from ._maps import Band, Order, bands, colour_bars, gate_norm, signed_norm, units_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Array

__all__ = ["plot_states"]

KIND = "states"


def plot_states(
    tape: Recorded | HasTape,
    ax: Axes | None = None,
    *,
    names: str | Sequence[str] | None = None,
    row: int = 0,
    order: Order = "auto",
    tokens: Sequence[object] | None = None,
) -> Axes:
    """h, and for an LSTM c, of all layers: units × time, one map below the other.

    Parameters
    ----------
    tape : Tape or Frame
    ax : matplotlib Axes, optional
    names : str or sequence of str, optional
        Such as ["l0.h", "l1.h"], or patterns such as ``"*.h"``; by default all h and c.
    row : int
        Row of the batch.
    order : "auto", None or sequence of int
        Units from top to bottom; "auto" sorts each layer by `viz.unit_order`, None does not sort.
    tokens : sequence of str, optional
        One per step, for the axis.

    Returns
    -------
    matplotlib Axes
        With one image per name, centred at 0: all h share one scale, and all c another. The states
        of a sigmoid RNN are drawn like gates, from 0 to 1.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> ax = viz.plot_states(tape, Figure().subplots(), tokens="abcdef")
    >>> [image.get_gid() for image in ax.images]
    ['l0.h', 'l0.c']
    """
    tape = as_tape(tape)
    if not (known := state_names(tape)):
        raise ValueError('tape: got no states, expected some; a Recorder keeps all with names="*"')
    names = some_names(names, known)
    length = row_length(tape, row)
    values = {n: tape[n][:length, row] for n in names}
    ax = axes(ax, KIND, overlays=False)
    norms = {
        state: signed_norm(*(v for n, v in values.items() if part_of(n) == state))
        for state in tape.cell.states
    }
    parts: list[Band] = []
    for name, value in values.items():
        units = units_of(tape, name, order)
        as_gate = tape.cell.is_share(part_of(name))
        norm = gate_norm() if as_gate else norms[part_of(name)]
        parts.append((name, value[:, units], style.GATES if as_gate else style.SIGNED, norm))
    images = bands(ax, parts, tokens=tokens, of=of_row(row, tape.B))
    kinds = [part_of(name) for name in names]
    firsts = sorted(kinds.index(kind) for kind in set(kinds))
    colour_bars(ax, [images[i] for i in firsts], [kinds[i] for i in firsts])
    ax.set_title(_sentence(tape, values, isinstance(order, str)))
    return ax


def _sentence(tape: Recorded, values: Mapping[str, Array], is_sorted: bool) -> str:
    """How large the states become in all layers drawn, and in which order the units are."""
    for name, value in values.items():
        where = not_finite(value)
        if where:
            return f"{name} is not finite {where}"
    reached = []
    for state in dict.fromkeys(map(part_of, values)):
        largest = max(float(np.abs(value).max()) for name, value in values.items() if part_of(name) == state)
        reached.append(f"|{state}| reaches {at_most(largest)}")
    steps, units = next(iter(values.values())).shape
    how = ""
    by = {criterion for name in values for criterion in criteria(tape, layer_of(name))[:1]}
    if is_sorted and units > 1 and len(by) == 1 and not any(is_narrow(tape, name) for name in values):
        how = "; slowest units on top" if by == {"timescale"} else "; similar units together"
    return f"In {counted(steps, 'step')} {' and '.join(reached)}{how}"
