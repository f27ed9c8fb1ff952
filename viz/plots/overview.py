"""One figure with everything about a tape: its values, and how far its gradient reaches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._door import as_whole_tape
from .._tapes import HasTape, gate_names, has_gradients, state_names
from ..style import context
from ._claims import of_row
from ._draw import row_length, time_axis
from ._figure import lay_out, shown_once, text_scale
from ._words import plain
from .gates import plot_gates
from .gradient_flow import plot_gradient_flow
from .jacobian_norms import plot_jacobian_norms
from .saturation import plot_saturation
from .states import plot_states
from .timescales import plot_timescales

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from rnncore.recurrent.tape import Tape

__all__ = ["overview"]


def overview(
    tape: Tape | HasTape, *, row: int = 0, tokens: Iterable[object] | None = None, title: str | None = None
) -> Figure:
    """States, gates, gradient, the Jacobian norm against lag, time scales and saturation.

    Parameters
    ----------
    tape : Tape
        The gradient is drawn if `backward` was called with one cotangent.
    row : int
        Row of the batch, for the maps and the gradient; the other panels show all rows.
    tokens : sequence of str, optional
        One per step, for the axis.
    title : str, optional
        By default a description of the layer.

    Returns
    -------
    matplotlib Figure
        Without the panels for which the tape has no values.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> figure = viz.overview(tape)
    >>> figure.get_suptitle()
    'LSTM: 4 units, 6 steps, 1 row'
    >>> import matplotlib.pyplot as plt; plt.close(figure)
    """
    tape = as_whole_tape(tape)
    import matplotlib.pyplot as plt

    cell, back = tape.cell, has_gradients(tape)
    length = row_length(tape, row)
    tokens = None if tokens is None else list(tokens)[:length]
    left = {"states": 1.0 + 0.7 * len(state_names(tape))}
    if cell.gates:
        left["gates"] = 1.0 + 0.55 * len(gate_names(tape))
    if back:
        left["gradient"] = 2.3
    right = {"jacobian": 1.15}
    right |= {"timescales": 1.0} if cell.keeps_share else {}
    right |= {"saturation": 1.0} if cell.sigmoids else {}
    with context():
        scale = text_scale()
        height = min(14.0, max(5.5, 1.0 + 1.15 * sum(left.values()))) * scale
        figure = plt.figure(figsize=(15 * scale, height), layout="constrained")
        maps, curves = figure.subfigures(1, 2, width_ratios=(1.65, 1), wspace=0.02, squeeze=False)[0]
        axes = _panels(maps, left) | _panels(curves, right)
        last = list(left)[-1]
        plot_states(tape, axes["states"], row=row)
        if cell.gates:
            plot_gates(tape, axes["gates"], row=row)
        if cell.keeps_share:
            plot_timescales(tape, axes["timescales"])
        if cell.sigmoids:
            plot_saturation(tape, axes["saturation"])
            axes["saturation"].set_aspect("auto")
        if back:
            lay_out(figure)
            plot_gradient_flow(tape, axes["gradient"], row=row)
        plot_jacobian_norms(tape, axes["jacobian"])
        for name in left:
            axes[name].set_xlim(-0.5, length - 0.5)
            if name != last:
                axes[name].set_xlabel("")
        time_axis(axes[last], length, tokens=tokens, gradient=back, of=of_row(row, tape.B))
        figure.suptitle(plain(title or _describe(tape)), wrap=True)
    return shown_once(figure)


def _panels(figure: SubFigure, heights: dict[str, float]) -> dict[str, Axes]:
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=list(heights.values()))
    return dict(zip(heights, axes[:, 0], strict=True))


def _describe(tape: Tape) -> str:
    layer = tape.layer
    layers = f"{layer.num_layers} layers of " if layer.num_layers > 1 else ""
    rows = f"{tape.B} row" + ("" if tape.B == 1 else "s")
    both = ", both directions" if layer.bidirectional else ""
    return f"{tape.cell.label}: {layers}{layer.hidden_size} units{both}, {tape.T} steps, {rows}"
