"""Picture of the inputs that a prediction depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import style
from .._door import array, as_numbers
from ._claims import and_others, counted, largest, named_step, of_row
from ._draw import axes, check_row, time_axis
from ._maps import cmap, gate_norm
from ._words import count_of, number, plain
from .text import plot_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_connectivity"]

KIND = "connectivity"


def plot_connectivity(
    connectivity: ArrayLike,
    ax: Axes | None = None,
    *,
    step: int | None = None,
    row: int = 0,
    tokens: Sequence[object] | None = None,
    width: int = 60,
    readout: str = "logit",
) -> Axes:
    """‖∂logit_s/∂x_t‖, each readout step scaled by its own maximum.

    Parameters
    ----------
    connectivity : ndarray (T, T, B)
        The result of `viz.connectivity`.
    ax : matplotlib Axes, optional
    step : int, optional
        Show only what the readout at this step depends on, as coloured text (or one bar per step if
        there are no tokens). By default the whole map is drawn.
    row : int
        Row of the batch.
    tokens : sequence of str, optional
        One per step.
    width : int
        Characters per line of text.
    readout : str
        What is differentiated, for the scale.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> sizes = np.tril(np.ones((5, 5)))[:, :, None] * [[[0.1], [1], [0.2], [0.2], [0.5]]]
    >>> viz.plot_connectivity(sizes, Figure().subplots(), step=4, tokens="hello").get_title()
    "The prediction at step 4 depends most on 'e' at step 1, 3 steps back"
    """
    as_numbers(connectivity, array("T", "T", "B"), name="connectivity", source="viz.connectivity")
    every = np.asarray(connectivity, np.float64)
    check_row(row, every.shape[2])
    ax = axes(ax, KIND, overlays=False)
    sizes, of = _scaled(every[:, :, row]), of_row(row, every.shape[2])
    if step is None:
        return _map(ax, sizes, tokens, of, plain(readout))
    step = range(len(sizes))[step]
    seen = sizes[step]
    what = f"‖∂{readout} / ∂xₜ‖, 1 = the largest"
    if tokens is None:
        ax.bar(np.arange(len(seen)), np.nan_to_num(seen), width=0.85, color=style.LINES[0])
        ax.axvline(step, color="black", linewidth=1, linestyle="--")
        time_axis(ax, len(seen), of=of)
        ax.set_ylabel(plain(what))
    else:
        plot_text(seen, ax, tokens=tokens, width=width, scale="gate", marked=step, label=what)
    ax.set_title(_sentence(seen, step, tokens))
    return ax


def _scaled(sizes: Floats) -> Floats:
    """Each readout divided by its largest dependence, unless that is 0."""
    top = np.fmax.reduce(sizes, axis=1, initial=0.0)[:, None]
    return sizes / np.where(top > 0, top, 1.0)


def _sentence(seen: Floats, step: int, tokens: Sequence[object] | None) -> str:
    """On which input the readout of one step depends most."""
    top, who = largest(seen), f"The prediction at step {step}"
    if not top.size or not np.isfinite(seen[top[0]]):
        return f"{who} has no finite dependence on its inputs"
    if seen[top[0]] == 0:
        return f"{who} depends on no input"
    away = step - int(top[0])
    if len(top) == 1 and away == 0:
        return f"{who} depends most on its own input"
    where = f", {counted(abs(away), 'step')} {'back' if away > 0 else 'ahead'}" if away else ""
    return f"{who} depends most on {named_step(int(top[0]), tokens)}{where}{and_others(top)}"


def _map(ax: Axes, sizes: Floats, tokens: Sequence[object] | None, of: str, readout: str) -> Axes:
    from ._artists import Steps

    image = ax.imshow(
        np.ma.masked_invalid(sizes), cmap=cmap(style.GATES, missing="white"), norm=gate_norm(),
        interpolation="nearest", aspect="auto",
    )  # fmt: skip
    time_axis(ax, len(sizes), tokens=tokens, gradient=True, of=of)
    ax.set_xlabel("input " + ax.get_xlabel())
    ax.set_ylabel("readout step s")
    ax.yaxis.set_major_locator(Steps(len(sizes)))
    ax.grid(False)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label(f"‖∂{readout}$_s$ / ∂x$_t$‖, 1 = the largest of s")
    ax.set_title(_of_all(sizes))
    return ax


def _of_all(sizes: Floats) -> str:
    """How far from a readout its inputs are on average, weighted by how strongly it depends on them."""
    steps = np.arange(len(sizes))
    if np.isinf(sizes).any():
        return "The gradient of a prediction is infinite"
    weight = np.nan_to_num(sizes)
    some = weight.sum(1) > 0
    if not some.any():
        return "No prediction depends on any input"
    weight = weight[some]
    mean = (weight * np.abs(steps[some, None] - steps)).sum(1) / weight.sum(1)
    if len(mean) == 1:
        return f"The only prediction depends on inputs {count_of(mean[0])} away on average"
    low, middle, high = np.quantile(mean, (0.25, 0.5, 0.75))
    half = f"half of {len(mean)} predictions: {number(low)} to {number(high)}"
    return f"A typical prediction depends on inputs {count_of(middle)} away on average ({half})"
