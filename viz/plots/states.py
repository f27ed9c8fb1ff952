"""Picture of the states: every unit over time."""

from __future__ import annotations

from .. import style
from ..measures.unit_order import unit_order
from ._draw import axes, bands, colour_bars, signed_norm

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
    """
    ax = axes(ax)
    if names is None:
        names = [n for n in tape.names("*") if n.endswith((".h", ".c"))]
    length = int(tape.lengths[row])
    values = {n: tape[n][:length, row] for n in names}
    norms = {
        part: signed_norm(*(v for n, v in values.items() if n.endswith(part))) for part in "hc"
    }
    parts = []
    for name, value in values.items():
        if order is None:
            units = slice(None)
        else:
            units = unit_order(tape, name.rpartition(".")[0]) if isinstance(order, str) else order
        parts.append((name, value[:, units], style.SIGNED, norms[name[-1]]))
    images = bands(ax, parts, tokens=tokens)
    firsts = [
        next(i for i, n in enumerate(names) if n.endswith(p))
        for p in "hc"
        if any(n.endswith(p) for n in names)
    ]
    colour_bars(ax, [images[i] for i in firsts], [names[i][-1] for i in firsts])
    how = ""
    if isinstance(order, str):
        how = ", units sorted by τ" if tape.mode in ("LSTM", "GRU") else ", like units together"
    ax.set_title(f"What {values[names[0]].shape[1]} units hold over {length} steps{how}")
    return ax
