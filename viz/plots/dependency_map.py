"""Picture of which loss depends on which step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import style
from .._door import array, held_tape, measured
from .._tapes import HasTape, is_tape
from ..measures._loss import Loss
from ..measures.dependency_map import dependency_map, dependency_reach
from ._claims import at_most, counted, of_row
from ._draw import axes, check_row, time_axis
from ._maps import cmap, magnitude_norm
from ._words import count_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Bools, Floats, Ints
    from rnncore.recurrent.tape import Tape

__all__ = ["plot_dependency_map"]

KIND = "dependency_map"
FORM = array("T", "T", "B")
EPS = 0.01  # the share of a loss's dependence on its own state that counts


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

    A dot marks the earliest state on which a loss depends with at least 1 % of ‖∂L_s/∂s_s‖, unless that is
    the first state there is.

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
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    from ._artists import Steps

    every = np.asarray(measured(tape, partial(dependency_map, loss=cast("Loss", loss)), FORM))
    check_row(row, every.shape[2])
    ax = axes(ax, KIND, overlays=False)
    sizes = every[:, :, row]
    norm = magnitude_norm(sizes, decades)
    assert norm.vmin is not None
    shown = np.ma.masked_invalid(np.where(sizes == 0, norm.vmin / 10, np.maximum(sizes, norm.vmin)))
    image = ax.imshow(
        shown, norm=norm, cmap=cmap(style.MAGNITUDE, missing="white", under="black"),
        interpolation="nearest", origin="upper", aspect="auto",
    )  # fmt: skip
    _mark_reach(ax, sizes)
    time_axis(ax, len(sizes), tokens=tokens, gradient=True, of=of_row(row, every.shape[2]))
    ax.set_xlabel("source " + ax.get_xlabel())
    ax.set_ylabel("loss step s")
    ax.yaxis.set_major_locator(Steps(len(sizes)))
    ax.grid(False)
    below = bool((sizes < norm.vmin).any())
    bar = ax.figure.colorbar(image, ax=ax, extend="min" if below else "neither", pad=0.02)
    bar.set_label("‖∂L$_s$ / ∂s$_t$‖")
    assert norm.vmax is not None
    if norm.vmax < 30 * norm.vmin:  # too few powers of ten for ticks
        bar.set_ticks(MaxNLocator(5, steps=[1, 2, 5, 10]))
        bar.minorticks_off()
        bar.formatter = ScalarFormatter()
    ax.set_title(_sentence(sizes))
    return ax


def _reach(sizes: Floats) -> tuple[Ints, Ints, Bools]:
    """The losses that could depend on earlier states, how far back each does, and whether the data ends there.

    A loss of 0 gradient, or without a state before it, says nothing.
    """
    own = np.diagonal(sizes)
    lag = np.abs(np.subtract.outer(np.arange(len(sizes)), np.arange(len(sizes))))
    possible = np.where(np.isnan(sizes), 0, lag).max(1, initial=0)
    losses = np.flatnonzero((own > 0) & (possible > 0))
    reach = dependency_reach(sizes[:, :, None], EPS)[losses, 0].astype(int)
    return losses, reach, reach == possible[losses]


def _mark_reach(ax: Axes, sizes: Floats) -> None:
    """Mark for each loss the earliest state on which it depends, unless that is the first that there is."""
    from matplotlib import rcParams

    losses, reach, ends = _reach(sizes)
    if ends.all():
        return
    back = -1 if np.isnan(sizes[np.triu_indices(len(sizes), 1)]).all() else 1
    look: dict[str, Any] = {"color": "white", "markeredgecolor": "black", "markeredgewidth": 0.6}
    look["markersize"] = 0.7 * rcParams["lines.markersize"]
    ax.plot(
        (losses + back * reach)[~ends], losses[~ends], linestyle="none", marker="o", gid="reach",
        label="earliest state above 1 %", clip_on=False, **look,
    )  # fmt: skip
    if not ends.all():
        ax.legend(loc="upper right" if back < 0 else "lower left", frameon=False, fontsize="small", handletextpad=0.1)


def _sentence(sizes: Floats) -> str:
    losses, reach, ends = _reach(sizes)
    if np.isinf(sizes).any():
        return "The gradient of a loss is infinite"
    if not losses.size:
        alone = np.nanmax(np.diagonal(sizes), initial=0) > 0
        return "No loss has an earlier state to depend on" if alone else "No loss depends on any state"
    who = f"The loss at step {losses[0]}" if losses.size == 1 else "Every loss"
    if ends.all():
        shares = sizes[losses] / np.diagonal(sizes)[losses, None]
        least = np.nanmin(shares)
        if least >= EPS:
            return f"{who} depends on all earlier states, at least {at_most(100 * least)} % as much as on its own"
        return f"{who} depends on the earliest state there is (above 1 % of its own)"
    if not reach.any():
        return f"{who} depends on its own state alone (above 1 %)"
    if losses.size == 1:
        return f"{who} depends on states up to {count_of(reach[0])} back (above 1 %)"
    if ends.mean() > 0.5:
        some = f"{ends.sum()} of {losses.size} losses depend on the earliest state there is"
        return f"{some}, the others on states up to {count_of(np.median(reach[~ends]))} back (above 1 %)"
    low, middle, high = (_quantile(reach, ends, q) for q in (0.25, 0.5, 0.75))
    half = "" if low == middle == high else f"; half of them {_steps(low, reach)} to {_steps(high, reach)}"
    return f"A typical loss depends on states up to {counted(int(middle), 'step')} back (above 1 %{half})"


def _quantile(reach: Ints, ends: Bools, q: float) -> float:
    """A quantile of how far the losses reach, by Kaplan and Meier's estimate; ∞ if the data ends before it.

    A loss that depends on the earliest state there is might reach further, so it counts only up to there.
    """
    remain = 1.0
    for steps in np.unique(reach[~ends]):
        remain *= 1 - (reach[~ends] == steps).sum() / (reach >= steps).sum()
        if remain <= 1 - q + 1e-12:
            return float(steps)
    return np.inf


def _steps(quantile: float, reach: Ints) -> str:
    return f"{quantile:.0f}" if np.isfinite(quantile) else f"≥ {reach.max()}"
