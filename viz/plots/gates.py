"""Picture of the gates: all of them, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import style
from .._door import as_tape
from .._tapes import HasTape, Recorded, gate_names, part_of
from ._claims import counted, not_finite, of_row, percent
from ._draw import axes, row_length, some_names
from ._maps import Band, Order, bands, colour_bars, gate_norm, signed_norm, units_of
from ._words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from rnncore._typing import Floats

__all__ = ["plot_gates"]

KIND = "gates"
SHARE, CANDIDATE = "gates", "candidate"  # what has a colour scale of its own
LOW, HIGH = 0.1, 0.9  # a gate is nearly shut below, and nearly open above


def plot_gates(
    tape: Recorded | HasTape,
    ax: Axes | None = None,
    *,
    names: str | Sequence[str] | None = None,
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
    names : str or sequence of str, optional
        Such as ["l0.f", "l1.f"], or patterns such as ``"*.f"``; by default all gates.
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
    names = gate_names(tape) if names is None else some_names(names, tape.names("*"))
    if not names and tape.cell.gates:
        raise ValueError('tape: got a frame without gates, expected one with some; keep them with Recorder(names="*")')
    if not names:
        raise ValueError(
            f"tape: got one of an {tape.mode}, which has no gates, expected an LSTM or a GRU "
            "(viz.plot_states draws its h)"
        )
    length = row_length(tape, row)
    values = {name: np.asarray(tape[name][:length, row], np.float64) for name in names}
    ax = axes(ax, KIND, overlays=False)
    norms: dict[str, Normalize] = {}  # by what a name is: all shares have one, and every other part its own
    parts: list[Band] = []
    kinds = [_kind(tape, name) for name in names]
    for name, kind in zip(names, kinds, strict=True):
        if kind not in norms:
            same = [v for n, v in values.items() if _kind(tape, n) == kind]
            norms[kind] = gate_norm() if kind == SHARE else signed_norm(*same, *([[1.0]] if kind == CANDIDATE else []))
        units = units_of(tape, name, order)
        parts.append((name, values[name][:, units], style.GATES if kind == SHARE else style.SIGNED, norms[kind]))
    images = bands(ax, parts, tokens=tokens, of=of_row(row, tape.B))
    labels = [f"{kind} {_parts_of(tape, names, kind)}".strip() for kind in norms]
    colour_bars(ax, [images[kinds.index(kind)] for kind in norms], labels)
    ax.set_title(_sentence(tape, values))
    return ax


def _kind(tape: Recorded, name: str) -> str:
    """What shares a colour scale: gates between 0 and 1, those from −1 to 1, and any other by its name."""
    part = part_of(name)
    if tape.cell.is_share(part):
        return SHARE
    return CANDIDATE if tape.cell.curve_of(part) else part


def _parts_of(tape: Recorded, names: Sequence[str], kind: str) -> str:
    found = dict.fromkeys(part_of(name) for name in names if _kind(tape, name) == kind)
    return "" if kind in found else ", ".join(found)


def _sentence(tape: Recorded, values: Mapping[str, Floats]) -> str:
    """For every gate, over all layers drawn: at which end of its range it is more often, and how often."""
    for name, value in values.items():
        where = not_finite(value)
        if where:
            return f"{name} is not finite {where}"
    ends = []
    for gate in dict.fromkeys(part_of(name) for name in values if tape.cell.is_share(part_of(name))):
        both = np.concatenate([value.ravel() for name, value in values.items() if part_of(name) == gate])
        low, high = float(np.mean(both < LOW)), float(np.mean(both > HIGH))
        end = f"above {HIGH}" if high >= low else f"below {LOW}"
        ends.append((low + high, f"{gate} is {end} in {percent(max(low, high))}"))
    if not ends:
        steps = len(next(iter(values.values())))
        return f"Candidates between {number(min(map(np.min, values.values())))} and " \
               f"{number(max(map(np.max, values.values())))}, over {counted(steps, 'step')}"
    if max(share for share, _ in ends) < 0.05:
        return f"Every gate is between {LOW} and {HIGH} in over 95 % of units and steps"
    return ", ".join(told for _, told in ends) + " of units and steps"
