"""Picture of how the estimates of Lyapunov exponents converge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, as_numbers, pair
from ..measures.lyapunov_spectrum import lyapunov_error
from ._draw import axes, line
from ._legend import legend
from ._words import with_error
from .lyapunov_spectrum import sentence, show_small

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats, Ints

__all__ = ["plot_lyapunov_convergence"]

KIND = "lyapunov_convergence"
FORM = pair(array("N"), array("N", "n"), "(steps, estimate)")


def plot_lyapunov_convergence(
    convergence: tuple[ArrayLike, ArrayLike], ax: Axes | None = None, *, n: int = 6, **line_kw: Any
) -> Axes:
    """The running estimate of the exponents against the number of steps.

    Parameters
    ----------
    convergence : (steps, estimate)
        The result of `viz.lyapunov_convergence`.
    ax : matplotlib Axes, optional
    n : int
        How many of the exponents to draw, evenly spaced from the first to the last. The legend gives the last
        estimate of each, with twice its error (`viz.lyapunov_error`).
    **line_kw
        For the lines, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> steps = np.arange(1, 33)
    >>> estimate = -0.4 + 0.1 / steps[:, None]
    >>> viz.plot_lyapunov_convergence((steps, estimate), Figure().subplots()).get_title()
    'λ₁ = −0.397 ± 0.010: a perturbation halves every 1.7 to 1.8 steps'
    """
    from matplotlib import colormaps

    as_numbers(convergence, FORM, name="convergence", source="viz.lyapunov_convergence")
    ax = axes(ax, KIND, overlays=False)
    counted, estimate = (np.asarray(a, np.float64) for a in convergence)
    error = lyapunov_error((counted, estimate))
    which: Ints = np.unique(np.linspace(0, estimate.shape[1] - 1, n).round().astype(int))
    shades: Floats = np.asarray(colormaps[style.MAGNITUDE](np.linspace(0, 0.85, len(which))))
    for i, shade in zip(which, shades, strict=True):
        told = f"λ$_{{{i + 1}}}$ = {with_error(estimate[-1, i], 2 * error[i])}"
        shown = np.where(np.isfinite(estimate[:, i]), estimate[:, i], np.nan)
        drawn_line = line(ax, KIND, counted, shown, **{"color": shade} | line_kw)
        drawn_line.set_label(told)
    ax.axhline(0, color=style.GREY, linewidth=1, linestyle="--", zorder=1, gid="zero")
    show_small(ax, estimate[-1], error)
    ax.set_xscale("log")
    if not np.isfinite(estimate[:, which]).any():  # no line gives the axis its range
        ax.set_xlim(0.9 * counted[0], 1.1 * counted[-1])
    ax.set_xlabel("number of steps")
    ax.set_ylabel("estimate of λ$_i$   (nats per step)")
    ax.set_title(sentence(estimate[-1], error, counted[-1]))
    legend(ax)
    return ax
