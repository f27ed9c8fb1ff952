"""Picture of which loss depends on which step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from .. import style
from .._door import array, held_tape, measured
from .._tapes import HasTape, is_tape
from ..measures._loss import Loss
from ..measures.dependency_map import dependency_map, dependency_reach
from ._draw import axes, cmap, magnitude_norm, time_axis
from ._words import count_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike
    from rnncore.recurrent.tape import Tape

__all__ = ["plot_dependency_map"]

KIND = "dependency_map"
FORM = array("T", "T", "B")


def plot_dependency_map(
    tape: Tape | HasTape | ArrayLike,
    ax: Axes | None = None,
    *,
    loss: Loss | None = None,
    row: int = 0,
    tokens: Sequence[object] | None = None,
    decades: float = 6,
) -> Axes:
    """‖∂L_s/∂s_t‖, loss step s against source step t: a triangle, in logarithmic colours.

    Parameters
    ----------
    tape : Tape, or ndarray (T, T, B)
        A tape, or the result of `viz.dependency_map`.
    ax : matplotlib Axes, optional
    loss : ndarray or callable
        As for `viz.dependency_map`; needed with a tape.
    row : int
        Row of the batch.
    tokens : sequence of str, optional
        One per step, for the axis.
    decades : float
        Decades shown below the largest number; smaller ones have the darkest colour, exact zeros are
        black.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> ax = viz.plot_dependency_map(tape, Figure().subplots(), loss=np.ones((6, 1, 4)))
    >>> ax.images[0].get_array().shape
    (6, 6)
    """
    if loss is None and is_tape(held_tape(tape)):
        raise ValueError("loss: got None, expected ∂L/∂y or a function, see viz.dependency_map")
    every = np.asarray(measured(tape, partial(dependency_map, loss=cast("Loss", loss)), FORM))
    ax = axes(ax, KIND, overlays=False)
    sizes = every[:, :, row]
    norm = magnitude_norm(sizes, decades)
    assert norm.vmin is not None
    shown = np.ma.masked_invalid(np.where(sizes == 0, norm.vmin / 10, np.maximum(sizes, norm.vmin)))
    image = ax.imshow(
        shown, norm=norm, cmap=cmap(style.MAGNITUDE, missing="white", under="black"),
        interpolation="nearest", origin="upper", aspect="auto",
    )  # fmt: skip
    time_axis(ax, len(sizes), tokens=tokens, gradient=True)
    ax.set_xlabel("source " + ax.get_xlabel())
    ax.set_ylabel("loss step s")
    ax.grid(False)
    bar = ax.figure.colorbar(image, ax=ax, extend="min", pad=0.02)
    bar.set_label("‖∂L$_s$ / ∂s$_t$‖")
    reach = float(np.nanmedian(dependency_reach(every[:, :, [row]])))
    ax.set_title(f"A typical loss depends on states up to {count_of(reach)} back (above 1 %)")
    return ax
