"""Picture of the leading singular values of the Jacobian product."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, measured, pair
from .._tapes import HasTape
from ..measures.singular_values import singular_values
from ._draw import axes, lag_axis, mark_floor
from ._words import number, of_run, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike
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
    from matplotlib import colormaps

    found = measured(tape, partial(singular_values, n=n, every=every), FORM)
    ax = axes(ax, KIND)
    lags, sigma = np.asarray(found[0]), np.asarray(found[1])[:, row]
    n = sigma.shape[1]
    shades = np.asarray(colormaps[style.MAGNITUDE](np.linspace(0, 0.85, n)))
    for i in range(n):
        named = i in (0, n - 1)
        name = f"σ{_subscript(i + 1)}"
        look: dict[str, Any] = {
            "color": shades[i],
            "marker": style.MARKERS[i % len(style.MARKERS)],
            "markersize": 4,
        }
        look |= {"markevery": (i * max(1, len(lags) // 60), max(1, len(lags) // 10))}
        ax.plot(
            lags, np.where(sigma[:, i] > 0, sigma[:, i], np.nan), gid=KIND,
            label=plain(of_run(label, name)) if named else None, **look | line_kw,
        )  # fmt: skip
    ax.set_yscale("log")
    mark_floor(ax)
    lag_axis(ax)
    ax.set_ylabel("singular values of ∂s$_T$ / ∂s$_{T-k}$")
    valid = np.flatnonzero(~np.isnan(sigma[:, 0]) & (sigma[:, 0] > 0))
    if valid.size:
        last = valid[-1]
        kept = int((sigma[last] >= 0.01 * sigma[last, 0]).sum())
        more = " or more" if kept == n else ""
        directions = "direction has" if kept == 1 else "directions have"
        ax.set_title(
            f"At lag {number(lags[last])}, {kept}{more} {directions} at least 1 % of the largest"
        )
    ax.legend()
    return ax


def _subscript(i: int) -> str:
    return str(i).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
