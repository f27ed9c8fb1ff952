"""Picture of the inputs that a prediction depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import style
from .._door import array, as_numbers
from ._draw import axes, cmap, gate_norm, time_axis, visible
from ._words import number, plain
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
    "The prediction at step 4 depends most on 'e', 3 steps back"
    """
    as_numbers(connectivity, array("T", "T", "B"), name="connectivity", source="viz.connectivity")
    ax = axes(ax, KIND, overlays=False)
    sizes = np.asarray(connectivity, np.float64)[:, :, row]
    if step is None:
        return _map(ax, sizes, tokens)
    step = range(len(sizes))[step]
    seen = sizes[step]
    top = int(np.nanargmax(seen))
    if tokens is None:
        ax.bar(np.arange(len(seen)), np.nan_to_num(seen), width=0.85, color=style.LINES[0])
        ax.axvline(step, color="black", linewidth=1, linestyle="--")
        time_axis(ax, len(seen))
        ax.set_ylabel("‖∂logit$_s$ / ∂x$_t$‖, scaled")
        what = f"step {top}"
    else:
        plot_text(
            seen, ax, tokens=tokens, width=width, scale="gate", marked=step,
            label="‖∂logit / ∂x‖, scaled",
        )
        what = (
            f"{plain(repr(visible(tokens[top])))}, {step - top} steps back" if top != step else "its own input"
        )
    ax.set_title(f"The prediction at step {step} depends most on {what}")
    return ax


def _map(ax: Axes, sizes: Floats, tokens: Sequence[object] | None) -> Axes:
    image = ax.imshow(
        np.ma.masked_invalid(sizes), cmap=cmap(style.GATES, missing="white"), norm=gate_norm(),
        interpolation="nearest", aspect="auto",
    )  # fmt: skip
    time_axis(ax, len(sizes), tokens=tokens, gradient=True)
    ax.set_xlabel("input " + ax.get_xlabel())
    ax.set_ylabel("readout step s")
    ax.grid(False)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label("‖∂logit$_s$ / ∂x$_t$‖, scaled per row")
    steps = np.arange(len(sizes))
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.nan_to_num(sizes)
        mean = (weight * np.abs(steps[:, None] - steps)).sum(1) / weight.sum(1)
    ax.set_title(f"Predictions depend on inputs {number(np.nanmedian(mean))} steps away on average")
    return ax
