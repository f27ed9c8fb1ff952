"""The network unrolled over time, its edges coloured by the gradient that flows back on them."""

from __future__ import annotations

import numpy as np

from .. import style
from .._tapes import is_reverse, layer_number, layer_of
from ..measures.gradient_flow import gradient_flow
from ._draw import axes, cmap, magnitude_norm, row_length, time_axis, visible
from ._words import number, plain

__all__ = ["plot_unrolled"]


def plot_unrolled(
    tape, ax=None, *, row: int = 0, first: int | None = None, last: int | None = None, tokens=None
):
    """Layers upwards, steps to the right; an edge has the colour of the gradient that enters it.

    The edge from step t to t + 1 shows ‖∂L/∂h_t‖ (and ‖∂L/∂c_t‖ on an LSTM's upper lane), the edge
    from a layer to the next one up ‖∂L/∂h_t‖ of the lower.

    Parameters
    ----------
    tape : Tape
        After `backward` with one cotangent.
    ax : matplotlib Axes, optional
    row : int
        Of the batch.
    first, last : int, optional
        Steps shown, `last` included; by default the last 24 of the row.
    tokens : sequence of str, optional
        One a step of the whole tape.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.GRU(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> grads = tape.backward(np.ones((6, 1, 4)))
    >>> ax = viz.plot_unrolled(tape, Figure().subplots(), tokens="abcdef")
    >>> [edges.get_gid() for edges in ax.collections]
    ['edges']
    """
    flow = {name: size[:, row] for name, size in gradient_flow(tape).items()}
    ax = axes(ax)
    length = row_length(tape, row)
    last = length - 1 if last is None else last
    first = max(0, last - 23) if first is None else first
    if not 0 <= first <= last < length:
        raise ValueError(
            f"first, last: got {first}, {last}, expected 0 <= first <= last < {length}"
        )
    steps = np.arange(first, last + 1)
    lanes = list(dict.fromkeys(map(layer_of, flow)))
    edges, sizes = [], []
    for level, lane in enumerate(lanes):
        for part, lift in zip(tape.cell.states, (0.0, 0.3)[: len(tape.cell.states)], strict=True):
            size = flow.get(f"{lane}.{part}")
            if size is None:
                continue
            back = is_reverse(lane)
            for t in steps:
                other = t - 1 if back else t + 1
                if first <= other <= last:
                    edges.append([(t, level + lift), (other, level + lift)])
                    sizes.append(size[t])
        above = layer_number(lane) + 1
        for upper in [i for i, name in enumerate(lanes) if layer_number(name) == above]:
            edges += [_up(t, level, upper) for t in steps]
            sizes += [flow[f"{lane}.h"][t] for t in steps]
    _draw(ax, steps, lanes, edges, np.array(sizes), flow)
    time_axis(ax, length, gradient=True)
    if tokens is not None:
        ax.set_xticks(steps, [plain(visible(tokens[t])) for t in steps], family="monospace")
        ax.tick_params(axis="x", length=0)
    top = flow[f"{lanes[-1]}.h"]
    ax.set_title(_sentence(top[first], top[last], last - first))
    return ax


def _up(t, level, top):
    """From one layer to the next, past the lanes between."""
    return [(t, level), (t + 0.25, level + 0.15), (t + 0.25, top - 0.15), (t, top)]


def _sentence(start, end, steps) -> str:
    if end == 0:
        return "No gradient enters at the last step"
    if start == 0:
        return f"Nothing of the gradient arrives {steps} steps back"
    if 0.67 <= start / end <= 1.5:
        return f"As much gradient {steps} steps back as at the end"
    if start <= end:
        return f"{number(end / start)} times less gradient {steps} steps back"
    return f"{number(start / end)} times more gradient {steps} steps back"


def _draw(ax, steps, lanes, edges, sizes, flow):
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    norm = magnitude_norm(sizes, 8)
    # dark where much flows; without the palest third, which a thin line on white would lose
    shades = cmap(style.GATES + "_r")(np.linspace(0.3, 1, 256))
    colours = LinearSegmentedColormap.from_list("edges", shades).with_extremes(under=style.MISSING)
    shown = np.where(sizes > 0, np.maximum(sizes, norm.vmin), norm.vmin / 10)
    width = 2.0 + 3.0 * np.clip(norm(np.maximum(shown, norm.vmin)), 0, 1)
    lines = LineCollection(edges, array=shown, norm=norm, cmap=colours, linewidths=width, zorder=1)
    lines.set_gid("edges")
    ax.add_collection(lines)
    for level, lane in enumerate(lanes):
        ax.plot(
            steps, np.full(len(steps), level), linestyle="none", marker="o", markersize=9,
            markerfacecolor="white", markeredgecolor="#333333", markeredgewidth=1.2, zorder=3,
        )  # fmt: skip
        if f"{lane}.c" in flow:
            ax.plot(
                steps, np.full(len(steps), level + 0.3), linestyle="none", marker="s", markersize=6,
                markerfacecolor="white", markeredgecolor="#333333", markeredgewidth=1, zorder=3,
            )  # fmt: skip
    ticks = [(level, f"{lane}.h") for level, lane in enumerate(lanes)]
    ticks += [(level + 0.3, f"{lane}.c") for level, lane in enumerate(lanes) if f"{lane}.c" in flow]
    ax.set_yticks([t for t, _ in ticks], [n for _, n in ticks])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.45, len(lanes) - 1 + (0.75 if f"{lanes[-1]}.c" in flow else 0.45))
    ax.set_xlim(steps[0] - 0.6, steps[-1] + 0.6)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = ax.figure.colorbar(lines, ax=ax, pad=0.02, extend="min")
    bar.set_label("‖∂L / ∂state‖ on the edge")
