"""Picture of a Lyapunov spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, as_numbers
from ..measures.lyapunov_spectrum import entropy_rate, kaplan_yorke_dimension
from ._draw import axes, drawn, legend, line, say
from ._words import number, pace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_lyapunov_spectrum"]

KIND = "lyapunov_spectrum"


def plot_lyapunov_spectrum(
    spectrum: ArrayLike, ax: Axes | None = None, *, label: str | None = None, **line_kw: Any
) -> Axes:
    """λ_i against i/N.

    Parameters
    ----------
    spectrum : ndarray (n,)
        The result of `viz.lyapunov_spectrum`.
    ax : matplotlib Axes, optional
    label : str, optional
        For the legend. Call the function again to overlay another run.
    **line_kw
        For the line, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> viz.plot_lyapunov_spectrum(np.array([-0.1, -0.5]), Figure().subplots()).get_title()
    'λ₁ = −0.1: a perturbation halves every 6.9 steps'
    """
    as_numbers(spectrum, array("n"), name="spectrum", source="viz.lyapunov_spectrum")
    spectrum = np.asarray(spectrum, np.float64)
    if not spectrum.size:
        raise ValueError("spectrum: got no exponents, expected at least one, as from viz.lyapunov_spectrum")
    ax = axes(ax, KIND)
    n = len(spectrum)
    share = (np.arange(n) + 1) / n
    line(ax, KIND, share, np.where(np.isfinite(spectrum), spectrum, np.nan), label, **line_kw)
    if not drawn(ax, "zero"):
        ax.axhline(0, color=style.GREY, linewidth=1, linestyle="--", zorder=1, gid="zero")
    ax.set_xlim(0, 1.01)
    ax.set_xlabel("i / N   (directions of the state, slowest first)")
    ax.set_ylabel("λ$_i$   (nats per step)")
    say(ax, KIND, _sentence(spectrum), "How fast nearby states diverge (above 0) or converge (below)")
    legend(ax)
    return ax


def _sentence(spectrum: Floats) -> str:
    first = f"λ₁ = {number(spectrum[0])}"
    if spectrum[0] <= 0:
        return f"{first}: a perturbation {pace(spectrum[0])}"
    dimension, entropy = kaplan_yorke_dimension(spectrum), entropy_rate(spectrum)
    return f"{first}: chaos of dimension {number(dimension)}, {number(entropy)} nats per step"
