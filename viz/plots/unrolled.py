"""The network unrolled over time, its edges coloured by the gradient that flows back on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .. import style
from .._door import as_tape
from .._tapes import HasTape, Recorded, is_reverse, layer_number, layer_of
from ..measures.gradient_flow import gradient_flow
from ._claims import compared, larger_of, not_finite, of_row
from ._draw import axes, row_length, time_axis
from ._maps import cmap, magnitude_norm, name_size
from ._words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Array, Floats, Ints

__all__ = ["plot_unrolled"]

KIND = "unrolled"

Points: TypeAlias = list[tuple[float, float]]


def plot_unrolled(
    tape: Recorded | HasTape,
    ax: Axes | None = None,
    *,
    row: int = 0,
    first: int | None = None,
    last: int | None = None,
    tokens: Sequence[object] | None = None,
) -> Axes:
    """The unrolled network, steps to the right and layers upwards; edges are coloured by the gradient on them.

    The edge from step t to t + 1 shows ‖∂L/∂h_t‖ (and in an LSTM the one above it ‖∂L/∂c_t‖); the
    edge from a layer to the next one up shows ‖∂L/∂h_t‖ of the lower layer.

    Parameters
    ----------
    tape : Tape or Frame
        After `backward` with one cotangent.
    ax : matplotlib Axes, optional
    row : int
        Row of the batch.
    first, last : int, optional
        Steps to show, `last` included; by default the last 24 of the row.
    tokens : sequence of str, optional
        One per step of the whole tape.

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
    tape = as_tape(tape)
    length = row_length(tape, row)
    flow = {name: size[:, row] for name, size in gradient_flow(tape).items()}
    last = length - 1 if last is None else last
    first = max(0, last - 23) if first is None else first
    if not 0 <= first <= last < length:
        raise ValueError(
            f"first, last: got {first}, {last}, expected 0 <= first <= last < {length}"
        )
    ax = axes(ax, KIND, overlays=False)
    steps = np.arange(first, last + 1)
    lanes = list(dict.fromkeys(map(layer_of, flow)))
    edges: list[Points] = []
    sizes: list[float] = []
    for level, lane in enumerate(lanes):
        for part, lift in zip(tape.cell.states, (0.0, 0.3)[: len(tape.cell.states)], strict=True):
            size = flow.get(f"{lane}.{part}")
            if size is None:
                continue
            back = is_reverse(lane)
            for t in steps.tolist():
                other = t - 1 if back else t + 1
                if first <= other <= last:
                    edges.append([(t, level + lift), (other, level + lift)])
                    sizes.append(size[t])
        above = layer_number(lane) + 1
        for upper in [i for i, name in enumerate(lanes) if layer_number(name) == above]:
            edges += [_up(t, level, upper) for t in steps.tolist()]
            sizes += [flow[f"{lane}.h"][t] for t in steps.tolist()]
    _draw(ax, steps, lanes, edges, np.array(sizes), flow)
    shown = None if tokens is None else [tokens[t] if t < len(tokens) else "" for t in range(length)]
    time_axis(ax, length, tokens=shown, gradient=True, of=of_row(row, tape.B))
    ax.set_title(_sentence({name: size[first : last + 1] for name, size in flow.items()}, first))
    return ax


def _up(t: float, level: float, top: float) -> Points:
    """The edge from one layer to the next, around what is drawn between."""
    return [(t, level), (t + 0.25, level + 0.15), (t + 0.25, top - 0.15), (t, top)]


def _sentence(sizes: dict[str, Floats], first: int) -> str:
    """How large the gradient is at the first of the steps shown, relative to the last, over all states shown."""
    size = np.max(list(sizes.values()), axis=0)
    where = not_finite(size)
    last = first + len(size) - 1
    if where:
        told = where if first == 0 else "at a step shown here"
        return f"The gradient is not finite {told}"
    if not size.any():
        return "No gradient reaches any step shown here"
    about = larger_of(list(sizes))
    about = f" ({about})" if about else ""
    if len(size) == 1:
        return f"The gradient at step {first} is {number(size[0])}{about}"
    met = first + np.flatnonzero(size)
    if size[0] == 0:
        return f"The gradient is exactly 0 before step {met[0]}"
    there = f"step {met[-1]}" + ("" if met[-1] == last else ", the last that has one")
    return compared([size[0] / size[met[-1] - first]], f"step {first}", there) + about


def _draw(
    ax: Axes,
    steps: Ints,
    lanes: list[str],
    edges: list[Points],
    sizes: Floats,
    flow: dict[str, Array],
) -> None:
    from matplotlib import rcParams
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    norm = magnitude_norm(sizes, 8)
    assert norm.vmin is not None
    # dark where the gradient is large; without the palest third, invisible as a thin line on white
    shades = cmap(style.GATES + "_r")(np.linspace(0.3, 1, 256))
    colours = LinearSegmentedColormap.from_list("edges", shades).with_extremes(under=style.MISSING)
    shown = np.where(sizes > 0, np.maximum(sizes, norm.vmin), norm.vmin / 10)
    box, dot = ax.get_window_extent(), 72 / ax.figure.dpi
    lane, step = dot * float(box.height) / (len(lanes) + 0.1), dot * float(box.width) / (len(steps) + 0.2)
    scale = min(rcParams["lines.markersize"] / 5, 0.3 * lane / 8, 0.7 * step / 9)  # circles and squares lie apart
    width = scale * (2.0 + 3.0 * np.clip(norm(np.maximum(shown, norm.vmin)), 0, 1))
    lines = LineCollection(edges, array=shown, norm=norm, cmap=colours, linewidths=width, zorder=1)
    lines.set_gid("edges")
    ax.add_collection(lines)
    for level, name in enumerate(lanes):
        ax.plot(
            steps, np.full(len(steps), level), linestyle="none", marker="o", markersize=9 * scale,
            markerfacecolor="white", markeredgecolor="#333333", markeredgewidth=1.2, zorder=3,
        )  # fmt: skip
        if f"{name}.c" in flow:
            ax.plot(
                steps, np.full(len(steps), level + 0.3), linestyle="none", marker="s", markersize=6 * scale,
                markerfacecolor="white", markeredgecolor="#333333", markeredgewidth=1, zorder=3,
            )  # fmt: skip
    ticks: list[tuple[float, str]] = [(level, f"{lane}.h") for level, lane in enumerate(lanes)]
    ticks += [(level + 0.3, f"{lane}.c") for level, lane in enumerate(lanes) if f"{lane}.c" in flow]
    names = [name for _, name in ticks]
    ax.set_yticks([t for t, _ in ticks], names, fontsize=name_size(ax, names, 3.5 * len(lanes)))
    ax.tick_params(length=0)
    ax.set_ylim(-0.35, len(lanes) - 1 + (0.75 if f"{lanes[-1]}.c" in flow else 0.45))
    ax.set_xlim(steps[0] - 0.6, steps[-1] + 0.6)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = ax.figure.colorbar(lines, ax=ax, pad=0.02, extend="min")
    bar.set_label("‖∂L / ∂state‖ on the edge")
