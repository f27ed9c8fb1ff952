"""Picture of a Lyapunov spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_size

from .. import style
from .._door import array, as_numbers, narrowed
from ..measures.lyapunov_spectrum import entropy_rate, kaplan_yorke_dimension
from ._draw import axes, drawn, line, say
from ._legend import legend
from ._words import between, number, pace_between, with_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_lyapunov_spectrum"]

KIND = "lyapunov_spectrum"
EXPONENTS = narrowed(array("n"), "in descending order", lambda found: not (found[1:] > found[:-1]).any())
SMALLEST = 1e-3  # half of the smallest range of the axis, in nats per step
LEVEL = 1e-4  # a pace slower than this neither fades nor grows


def plot_lyapunov_spectrum(
    spectrum: ArrayLike,
    ax: Axes | None = None,
    *,
    error: ArrayLike | None = None,
    size: int | None = None,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """λ_i against i/N, or against i/n if only the n exponents are known and not the number N of all.

    Parameters
    ----------
    spectrum : ndarray (n,)
        The result of `viz.lyapunov_spectrum`.
    ax : matplotlib Axes, optional
    error : ndarray (n,), optional
        The result of `viz.lyapunov_error`: twice of it is drawn as a band. Without it the title says nothing about
        the sign of λ₁, because an estimate alone does not show it. It calls growth chaos only if λ₁ is more than
        twice as far above 0 as the band is wide on either side.
    size : int, optional
        N, the number of all exponents, which is the width of the state of all layers; `spectrum` may be the first
        of them. Without it the axis is that of the exponents that are given.
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
    >>> spectrum = np.array([-0.1, -0.5])
    >>> viz.plot_lyapunov_spectrum(spectrum, Figure().subplots()).get_title()
    'The largest of 2 exponents is λ₁ = −0.1'
    >>> viz.plot_lyapunov_spectrum(spectrum, Figure().subplots(), error=np.array([0.02, 0.1])).get_title()
    'λ₁ = −0.10 ± 0.04: a perturbation halves every 5 to 12 steps'
    """
    as_numbers(spectrum, EXPONENTS, name="spectrum", source="viz.lyapunov_spectrum")
    spectrum = np.asarray(spectrum, np.float64)
    if not spectrum.size:
        raise ValueError("spectrum: got no exponents, expected at least one, as from viz.lyapunov_spectrum")
    n = len(spectrum)
    if error is not None:
        as_numbers(error, array("n"), name="error", source="viz.lyapunov_error")
        error = np.asarray(error, np.float64)
        if error.shape != spectrum.shape:
            raise ValueError(f"error: got {len(error)} numbers, expected {n}, one per exponent")
    ax = axes(ax, KIND)
    size = size if size is None else as_size(size, "size", least=n)
    share = (np.arange(n) + 1) / (size or n)
    shown = np.where(np.isfinite(spectrum), spectrum, np.nan)
    found = line(ax, KIND, share, shown, label, **line_kw)
    if error is not None:
        band: dict[str, Any] = {"color": found.get_color(), "alpha": 0.2, "linewidth": 0}
        ax.fill_between(share, shown - 2 * error, shown + 2 * error, **band)
    if not drawn(ax, "zero"):
        ax.axhline(0, color=style.GREY, linewidth=1, linestyle="--", zorder=1, gid="zero")
    show_small(ax, spectrum, error)
    ax.set_xlim(0, 1.01)
    directions = "1 exponent given" if n == 1 else f"{n} exponents given, the largest first"
    ax.set_xlabel(f"i / n   ({directions})" if size is None else "i / N   (directions of the state, slowest first)")
    ax.set_ylabel("λ$_i$   (nats per step)" + ("" if error is None else "\n± 2 errors, 95 %"))
    several = "How fast nearby states diverge (above 0) or converge (below)"
    say(ax, KIND, sentence(spectrum, error), several)
    legend(ax)
    return ax


def show_small(ax: Axes, spectrum: Floats, error: Floats | None) -> None:
    """Make the axis logarithmic on both sides of 0 if λ₁ or its error could not be seen beside the other exponents.

    The axis reaches to ±SMALLEST, so that what rounding leaves of 0 does not look like growth.
    """
    finite = spectrum[np.isfinite(spectrum)]
    if ax.get_yscale() != "linear" or not finite.size:
        return
    low, high = ax.get_ylim()
    if max(-low, high) < SMALLEST:
        ax.set_ylim(-SMALLEST, SMALLEST)
    first = max(abs(finite[0]), 0.0 if error is None or np.isnan(error[0]) else 2 * error[0], 1e-3)
    if np.abs(finite).max() > 20 * first:
        ax.set_yscale("symlog", linthresh=2 * first)


def sentence(spectrum: Floats, error: Floats | None, steps: float = np.inf) -> str:
    """What a spectrum shows: the sign of λ₁ only if it is beyond twice the error.

    Growth is called chaos if it is beyond four times the error, and if in a quarter of the steps, which is the
    longest block that the error is computed from, it is e-fold or more.
    """
    first = f"λ₁ = {number(spectrum[0])}"
    if np.isneginf(spectrum[0]):
        return f"{first}: every perturbation vanishes within the recorded steps"
    if error is None or np.isnan(error[0]):
        count = f"of {len(spectrum)} exponents " if len(spectrum) > 1 else "exponent "
        return f"The largest {count}is {first}" + ("" if error is None else ", from too few steps for an error")
    with np.errstate(invalid="ignore"):
        low, high = (np.where(np.isnan(error), spectrum, spectrum + side * error) for side in (-2, 2))
    first = f"λ₁ = {with_error(spectrum[0], 2 * error[0])}"
    does = pace_between(low[0], high[0])
    if does is None and max(-low[0], high[0]) < LEVEL:
        return f"{first}, indistinguishable from 0: a perturbation neither fades nor grows"
    if does is None:
        return f"{first}: the recorded steps do not show its sign"
    if high[0] < 0:
        return f"{first}: a perturbation {does}"
    if spectrum[0] < 4 * error[0] or low[0] * steps < 4:
        return f"{first}: within the recorded steps a perturbation {does}"
    least, most = kaplan_yorke_dimension(low), kaplan_yorke_dimension(high)
    more = "≥ " if most >= len(spectrum) else ""  # more exponents than these may count
    dimension = f"{more}{number(least)}" if more else between(least, most)
    rate = between(entropy_rate(low), entropy_rate(high))
    return f"{first}: a perturbation {does}; chaos of dimension {dimension}, {rate} nats per step"
