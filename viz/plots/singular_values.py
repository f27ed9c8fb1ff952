"""Picture of the leading singular values of the Jacobian product."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, held_tape, measured, pair
from .._tapes import HasTape, is_tape
from ..measures.singular_values import singular_values
from ._draw import axes, check_row, drawn, lag_axis, mark_floor
from ._legend import legend
from ._words import of_rows, of_run, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats, Ints
    from rnncore.recurrent.tape import Tape

__all__ = ["plot_singular_values"]

KIND = "singular_values"
FORM = pair(array("N"), array("N", "B", "n"), "(lags, sigma)")


def plot_singular_values(
    tape: Tape | HasTape | tuple[ArrayLike, ArrayLike],
    ax: Axes | None = None,
    *,
    n: int = 8,
    every: int = 1,
    row: int = 0,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """σ₁ … σ_n of ∂s_T/∂s_{T-k} against lag k: how many directions are remembered.

    Parameters
    ----------
    tape : Tape, or pair
        A tape, or (lags, sigma) from `viz.singular_values`.
    ax : matplotlib Axes, optional
    n, every
        As for `viz.singular_values`.
    row : int
        Row of the batch.
    label : str, optional
        Put in front of the names in the legend.
    **line_kw
        For the lines, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.GRU(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> ax = viz.plot_singular_values(tape, Figure().subplots(), n=3)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['σ₁', 'σ₃']
    """
    from matplotlib import colormaps, rcParams

    data = held_tape(tape)
    found = measured(data, partial(singular_values, n=n, every=every), FORM)
    lags, whole = np.asarray(found[0]), np.asarray(found[1])
    check_row(row, whole.shape[1])
    ax = axes(ax, KIND)
    sigma = whole[:, row]
    n = sigma.shape[1]
    all_of_them = is_tape(data) and n == data.layer.structure.carry_size
    earlier = len(drawn(ax, KIND))
    shades = np.asarray(colormaps[style.MAGNITUDE](np.linspace(0, 0.85, n)))
    for i in range(n):
        named = i in (0, n - 1)
        name = f"σ{_subscript(i + 1)}"
        look: dict[str, Any] = {
            "color": shades[i],
            "linestyle": "--" if earlier else "-",
            "marker": style.MARKERS[i % len(style.MARKERS)],
            "markersize": 0.8 * rcParams["lines.markersize"],
        }
        look |= {"markevery": (i * max(1, len(lags) // 60), max(1, len(lags) // 10))}
        ax.plot(
            lags, np.where(sigma[:, i] > 0, sigma[:, i], np.nan), gid=KIND,
            label=plain(of_run(label, name)) if named else None, **look | line_kw,
        )  # fmt: skip
    ax.set_yscale("log")
    mark_floor(ax)
    lag_axis(ax)
    ax.set_ylabel("\n".join(filter(None, ["singular values of ∂s$_T$ / ∂s$_{T-k}$", of_rows(whole.shape[1], row)])))
    several = "How many directions of the state a gradient can take back"
    ax.set_title(several if earlier else _sentence(lags, sigma, all_of_them))
    legend(ax)
    return ax


def _sentence(lags: Ints, sigma: Floats, all_of_them: bool) -> str:
    """How many directions are within a factor 100 of the largest, at the first and at the last lag that are drawn.

    If not all directions were computed, others than these may count too.
    """
    some = np.flatnonzero((sigma[:, 0] > 0) & np.isfinite(sigma[:, 0]) & (lags > 0))
    if not some.size:
        return "No direction of the state reaches an earlier step"
    n = np.inf if all_of_them else sigma.shape[1]
    counts = {int(lags[at]): int((sigma[at] >= 0.01 * sigma[at, 0]).sum()) for at in (some[0], some[-1])}
    told = [f"{'≥ ' if count == n else ''}{count} at lag {lag}" for lag, count in counts.items()]
    return f"Directions within a factor 100 of the largest: {', '.join(told)}"


def _subscript(i: int) -> str:
    return str(i).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
