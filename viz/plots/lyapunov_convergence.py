"""Picture of how the estimates of Lyapunov exponents converge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, as_numbers, pair
from ._draw import axes
from ._words import number

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
        How many of the exponents to draw, evenly spaced from the first to the last.
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
    >>> steps, estimate = np.array([1, 2, 4]), np.array([[-1.0], [-0.5], [-0.4]])
    >>> viz.plot_lyapunov_convergence((steps, estimate), Figure().subplots()).get_title()
    'λ₁ = −0.4, which changed by 0.1 over the last half'
    """
    from matplotlib import colormaps

    as_numbers(convergence, FORM, name="convergence", source="viz.lyapunov_convergence")
    ax = axes(ax, KIND)
    counted, estimate = (np.asarray(a, np.float64) for a in convergence)
    which: Ints = np.unique(np.linspace(0, estimate.shape[1] - 1, n).round().astype(int))
    shades: Floats = np.asarray(colormaps[style.MAGNITUDE](np.linspace(0, 0.85, len(which))))
    for i, shade in zip(which, shades, strict=True):
        look = {"color": shade} | line_kw
        ax.plot(counted, estimate[:, i], gid=KIND, label=f"λ{i + 1}", **look)
    _name_ends(ax, counted[-1], estimate[-1], which, shades)
    ax.set_xscale("log")
    ax.set_xlabel("number of steps")
    ax.set_ylabel("estimate of λ$_i$   (nats per step)")
    half = np.searchsorted(counted, counted[-1] / 2)
    last, before = estimate[-1, 0], estimate[half, 0]
    drift = 0.0 if last == before else abs(last - before)  # both may be −∞
    ax.set_title(f"λ₁ = {number(last)}, which changed by {number(drift)} over the last half")
    return ax


def _name_ends(ax: Axes, x: float, ends: Floats, which: Ints, shades: Floats) -> None:
    """Label each line with λ_i at its end; lines that end together share a label, and −∞ has none."""
    finite = np.isfinite(ends[which])
    which, shades = which[finite], shades[finite]
    if not len(which):
        return
    near = 0.06 * (np.ptp(ends[which]) or 1.0)
    groups: list[tuple[list[int], Floats]] = []
    for i, shade in zip(which, shades, strict=True):
        if groups and abs(ends[groups[-1][0][0]] - ends[i]) < near:
            groups[-1][0].append(i)
        else:
            groups.append(([i], shade))
    for members, shade in groups:
        text = ", ".join(f"λ$_{{{i + 1}}}$" for i in members)
        ax.annotate(
            text, (x, ends[members].mean()), xytext=(4, 0), va="center", fontsize="small",
            textcoords="offset points", color=shade, annotation_clip=False,
        )  # fmt: skip
