"""States, gates and gradients of a tape on one shared time axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .._door import as_tape
from .._tapes import HasTape, Recorded, has_gradients, part_of, state_gradients
from ..style import context
from ._claims import of_row
from ._draw import row_length, time_axis
from ._figure import lay_out, shown_once, text_scale
from ._words import plain
from .gates import plot_gates
from .gradient_flow import plot_gradient_flow
from .gradient_map import plot_gradient_map
from .states import plot_states

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_timeline"]


def plot_timeline(
    tape: Recorded | HasTape,
    *,
    row: int = 0,
    names: Sequence[str] | None = None,
    tokens: Iterable[object] | None = None,
    title: str | None = None,
) -> Figure:
    """Everything that a tape holds about one sequence, one panel below the other, aligned in time.

    Parameters
    ----------
    tape : Tape or Frame
        The gradients are drawn if `backward` was called with one cotangent.
    row : int
        Row of the batch.
    names : sequence of str, optional
        States and gates to draw; all by default.
    tokens : sequence of str, optional
        One per step, for the axis.
    title : str, optional

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> tape = rc.GRU(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> grads = tape.backward(np.ones((6, 1, 4)))
    >>> figure = viz.plot_timeline(tape)
    >>> len([ax for ax in figure.axes if ax.get_title()])
    4
    >>> import matplotlib.pyplot as plt; plt.close(figure)
    """
    tape = as_tape(tape)
    import matplotlib.pyplot as plt

    wanted = list(tape.names("*") if names is None else names)
    states = [n for n in wanted if part_of(n) in tape.cell.states]
    gates = [n for n in wanted if n not in states]
    back = has_gradients(tape)
    length = row_length(tape, row)
    tokens = None if tokens is None else list(tokens)[:length]
    of_states = list(state_gradients(tape)) if back else []
    chosen = [n for n in of_states if n in states] or of_states
    panels = [("states", 1.1 * len(states))] if states else []
    panels += [("gates", 1.1 * len(gates))] if gates else []
    panels += [("gradient map", 1.1 * len(chosen)), ("gradient", 2.4)] if back else []
    if not panels:
        raise ValueError('tape: got neither states nor gates, expected some; a Recorder keeps all with names="*"')
    heights = [h + 1.0 for _, h in panels]
    with context():
        scale = text_scale()
        figure, axes = plt.subplots(
            len(panels), 1, figsize=(11 * scale, sum(heights) * scale), height_ratios=heights, squeeze=False,
            sharex=True, layout="constrained",
        )  # fmt: skip
        for (kind, _), ax in zip(panels, axes[:, 0], strict=True):
            if kind == "states":
                plot_states(tape, ax, names=states, row=row)
            elif kind == "gates":
                plot_gates(tape, ax, names=gates, row=row)
            elif kind == "gradient map":
                plot_gradient_map(tape, ax, names=chosen, row=row)
            else:
                lay_out(figure)
                plot_gradient_flow(tape, ax, names=chosen, row=row)
            ax.set_xlim(-0.5, length - 0.5)
            if ax is not axes[-1, 0]:
                ax.set_xlabel("")
                ax.tick_params(axis="x", length=0)
        if tokens is not None:
            time_axis(axes[-1, 0], length, tokens=tokens, gradient=back, of=of_row(row, tape.B))
        if title:
            figure.suptitle(plain(title), wrap=True)
    return shown_once(figure)
