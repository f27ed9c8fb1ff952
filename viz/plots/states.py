"""Picture of the states: every unit over time."""

from __future__ import annotations

from .. import style
from .._tapes import part_of, state_names
from ._draw import axes, bands, colour_bars, gate_norm, row_length, signed_norm, units_of

__all__ = ["plot_states"]


def plot_states(tape, ax=None, *, names=None, row: int = 0, order="auto", tokens=None):
    """h, and for an LSTM c, of all layers: units × time, one map under the other.

    Parameters
    ----------
    tape : Tape
    ax : matplotlib Axes, optional
    names : sequence of str, optional
        Such as ["l0.h", "l1.h"]; by default all h and c.
    row : int
        Of the batch.
    order : "auto", None or sequence of int
        Units from top to bottom; "auto" sorts each layer by `viz.unit_order`, None leaves them.
    tokens : sequence of str, optional
        One a step, for the axis.

    Returns
    -------
    matplotlib Axes
        An image a name, signed and centred at 0: h of all layers share a scale, c have their own.
        The states of a sigmoid RNN are drawn as gates are, from 0 to 1.

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
    ax = axes(ax)
    names = state_names(tape) if names is None else names
    length = row_length(tape, row)
    values = {n: tape[n][:length, row] for n in names}
    norms = {
        state: signed_norm(*(v for n, v in values.items() if part_of(n) == state))
        for state in tape.cell.states
    }
    parts = []
    for name, value in values.items():
        units = units_of(tape, name, order)
        as_gate = tape.cell.is_share(part_of(name))
        norm = gate_norm() if as_gate else norms[part_of(name)]
        parts.append((name, value[:, units], style.GATES if as_gate else style.SIGNED, norm))
    images = bands(ax, parts, tokens=tokens)
    kinds = [part_of(name) for name in names]
    firsts = sorted(kinds.index(kind) for kind in set(kinds))
    colour_bars(ax, [images[i] for i in firsts], [kinds[i] for i in firsts])
    how = ""
    if isinstance(order, str):
        how = ", units sorted by τ" if tape.cell.gated else ", like units together"
    ax.set_title(f"What {values[names[0]].shape[1]} units hold over {length} steps{how}")
    return ax
