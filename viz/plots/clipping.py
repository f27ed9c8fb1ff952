"""Picture of the gradient's norm at every update, before and after clipping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rnncore._checks import as_number

from .. import style
from .._door import array, as_numbers, described, pair
from ._draw import axes, drawn, next_look
from ._legend import legend
from ._words import number, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

    from .series import HasSeries

__all__ = ["plot_clipping"]

KIND = "clipping"
PAIR, ALONE = pair(array("N"), array("N"), "(updates, norms)"), array("N")


def plot_clipping(
    run: HasSeries | tuple[ArrayLike, ArrayLike] | ArrayLike,
    ax: Axes | None = None,
    *,
    max_norm: float,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """The norm of the gradient at every update, and what clipping to `max_norm` leaves of it.

    Clipping keeps the direction of a gradient that is too long, and scales it to `max_norm` (Pascanu, Mikolov &
    Bengio 2013).

    Parameters
    ----------
    run : Recorder, Run, pair, or ndarray (N,)
        Norms before clipping: anything with a method ``series("gradient_norm")``, such as `viz.Recorder`,
        (updates, norms), or the norms alone.
    ax : matplotlib Axes, optional
    max_norm : float
        As of `rnncore.train.Trainer`.
    label : str, optional
        For the legend. Call the function again to overlay another run.
    **line_kw
        For the dots, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> viz.plot_clipping(np.array([0.3, 0.5, 20.0, 0.4]), Figure().subplots(), max_norm=1).get_title()
    'Clipping to 1 shortens 25 % of the updates, one of them 20-fold'
    """
    updates, norms = _numbers(run)
    max_norm = as_number(max_norm, "max_norm", above=0)
    ax = axes(ax, KIND)
    finite = np.isfinite(norms)
    long = finite & (norms > max_norm)
    share = f"{100 * long.sum() / max(finite.sum(), 1):.0f} % clipped"
    look = next_look(ax, KIND, len(norms), {"linestyle": "none", "markevery": None} | line_kw)
    look |= {} if "alpha" in line_kw else {"alpha": 0.8}
    said = "left as it is" if label is None else f"{plain(label)}: {share}"
    kept = finite & ~long & (norms > 0)
    ax.plot(updates[kept], norms[kept], label=said, zorder=3, **look)
    colour = style.LINES[1] if label is None and "color" not in line_kw else look["color"]
    # from each gradient that is too long down to what is left of it
    ax.vlines(updates[long], max_norm, norms[long], color=colour, alpha=0.6, gid="cut", zorder=2)
    if long.any():
        above = look | {"color": colour, "gid": "clipped", "marker": look["marker"] if label else style.MARKERS[2]}
        ax.plot(updates[long], norms[long], zorder=3, label=None if label else "before clipping", **above)
    if not drawn(ax, f"limit {max_norm:g}"):
        ax.axhline(
            max_norm, color=style.GREY, linestyle="--", gid=f"limit {max_norm:g}", zorder=1,
            label=f"max_norm = {max_norm:g}",
        )  # fmt: skip
    ax.set_yscale("log")
    ax.set_xlabel("update")
    ax.set_ylabel("norm of the gradient")
    bad = ~finite
    if bad.any():
        ax.plot(
            updates[bad], np.full(bad.sum(), 0.985), transform=ax.get_xaxis_transform(), linestyle="none", marker="x",
            color=colour, label="not finite", gid="not finite", clip_on=False,
        )  # fmt: skip
    several = len(drawn(ax, KIND)) > 1
    ax.set_title("Norms of gradients before clipping" if several else _sentence(norms, max_norm))
    legend(ax)
    return ax


def _numbers(run: HasSeries | tuple[ArrayLike, ArrayLike] | ArrayLike) -> tuple[Floats, Floats]:
    """(updates, norms)."""
    updates: ArrayLike
    norms: ArrayLike
    if isinstance(run, tuple):
        updates, norms = as_numbers(run, PAIR, name="run", source='Recorder.series("gradient_norm")')
    elif ALONE.fits(run):
        updates, norms = np.arange(1, np.size(cast("Floats", run)) + 1), cast("Floats", run)
    elif hasattr(run, "series"):
        updates, norms = cast("HasSeries", run).series("gradient_norm")
    else:
        raise TypeError(
            f"run: got {described(run)}, expected a Recorder, a Run, {PAIR.words} or {ALONE.words}, as from "
            'Recorder.series("gradient_norm")'
        )
    found = np.asarray(norms, np.float64)
    if not found.size:
        raise ValueError('run: got no norm, expected at least one; a Recorder has them as series("gradient_norm")')
    if (found < 0).any():
        raise ValueError(f"run: got the norm {np.nanmin(found):g}, expected norms >= 0")
    return np.asarray(updates, np.float64), found


def _sentence(norms: Floats, max_norm: float) -> str:
    finite = norms[np.isfinite(norms)]
    bad = len(norms) - len(finite)
    infinite = int(np.isinf(norms).sum())
    note = f"; {bad} {'is' if bad == 1 else 'are'} {'infinite' if infinite == bad else 'not finite'}" if bad else ""
    gradient = "finite gradient" if bad else "gradient"  # an infinite one is longer, but clipping cannot shorten it
    if not len(finite):
        return "No gradient is finite"
    long = finite[finite > max_norm]
    if not len(long):
        return f"No {gradient} is longer than {max_norm:g}{note}"
    largest = number(float(long.max() / max_norm))
    if len(long) == len(finite):
        return f"Every {gradient} is longer than {max_norm:g}, one of them {largest} times{note}"
    share = 100 * len(long) / len(finite)
    told = f"{share:.0f}" if 1 <= share <= 99 else "less than 1" if share < 1 else "more than 99"
    what = "finite gradients" if bad else "updates"
    return f"Clipping to {max_norm:g} shortens {told} % of the {what}, one of them {largest}-fold{note}"
