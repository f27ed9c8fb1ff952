"""Picture of the loss over two weights, with the paths of a descent on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import style
from .._door import array, as_numbers, described, fields, pair
from ..measures.loss_plane import LossPlane
from ._claims import counted
from ._draw import axes
from ._legend import legend
from ._maps import cmap
from ._words import number, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_loss_plane"]

KIND = "loss_plane"
FORM = fields(LossPlane)
PATH = pair(array("N", "2"), array("N"), "(weights (N, 2), losses (N,))")


def plot_loss_plane(
    plane: LossPlane,
    ax: Axes | None = None,
    *,
    paths: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> Axes:
    """The loss over two weights as a map, and on it the steps of one or more descents.

    Pascanu, Mikolov & Bengio (2013) show with such a plane that the loss of a recurrent network has cliffs. A step
    of gradient descent that begins on one is so long that it leaves the region; if the gradient is clipped, the
    step has the same direction, but a limited length.

    Parameters
    ----------
    plane : LossPlane
        The result of `viz.loss_plane`.
    ax : matplotlib Axes, optional
    paths : dict of str to (weights, losses), optional
        Of each descent the two weights before every step and at the end, (N, 2), and the loss there, (N,). Where
        it leaves the plane, an arrow at the edge shows in which direction.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> x, y = np.linspace(-1, 1, 21), np.linspace(-1, 1, 11)
    >>> plane = viz.LossPlane(("w", "b"), x, y, np.where(x > 0.35, 4.0, 0.01 * x) + 0 * y[:, None])
    >>> viz.plot_loss_plane(plane, Figure().subplots()).get_title()
    'The steepest slope is ≥ 1900 times the median slope'
    """
    plane = as_numbers(plane, FORM, name="plane", source="viz.loss_plane")
    x, y, loss = (np.asarray(a, np.float64) for a in plane[1:])
    if loss.shape != (len(y), len(x)) or min(loss.shape) < 2 or not np.isfinite(loss).any():
        raise ValueError(
            f"plane: got losses of shape {loss.shape} for {len(x)} values of x and {len(y)} of y, expected "
            "(ny, nx), both at least 2, and some that are finite"
        )
    descents = {name: _path(name, path) for name, path in (paths or {}).items()}
    ax = axes(ax, KIND, overlays=False)
    ax.grid(False)
    image = ax.pcolormesh(
        x, y, np.ma.masked_invalid(loss), cmap=cmap(style.MAGNITUDE), shading="nearest", rasterized=True
    )
    image.set_gid(KIND)
    ax.set_xlim(x.min(), x.max())
    ax.set_ylim(y.min(), y.max())
    for k, (name, (points, losses)) in enumerate(descents.items()):
        _descent(ax, name, points, losses, k)
    bar = ax.inset_axes((1.015, 0, 0.018, 1))
    ax.figure.colorbar(image, cax=bar).set_label("loss")
    ax.set_xlabel(plain(plane.names[0]))
    ax.set_ylabel(plain(plane.names[1]))
    ax.set_title(_steepness(x, y, loss))
    legend(ax, loc="best", frameon=True, framealpha=0.9)
    return ax


def _path(name: str, path: tuple[ArrayLike, ArrayLike]) -> tuple[Floats, Floats]:
    if not PATH.fits(path) or np.shape(path[0])[1] != 2 or not len(path[1]):  # type: ignore[arg-type]
        raise TypeError(f"paths: got {described(path)} for {name!r}, expected {PATH.words} of a descent")
    points, losses = (np.asarray(a, np.float64) for a in path)
    return points, losses


def _descent(ax: Axes, name: str, points: Floats, losses: Floats, index: int) -> None:
    """Draw a path up to where it first leaves the plane, and there an arrow towards the first point outside."""
    from matplotlib import rcParams

    colour = ("#D55E00", "#FFFFFF", "#CC79A7", "#E69F00")[index % 4]
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    inside = (left <= points[:, 0]) & (points[:, 0] <= right) & (low <= points[:, 1]) & (points[:, 1] <= high)
    outside = np.flatnonzero(~inside)
    stop = int(outside[0]) if outside.size else len(points)
    how = f"ends at loss {number(float(losses[-1]))} after {counted(len(points) - 1, 'update')}"
    if outside.size:
        how = f"leaves the plane at update {stop}, " + how
    width = rcParams["lines.linewidth"]
    look: dict[str, Any] = {
        "color": colour, "linewidth": width, "markersize": 0.6 * rcParams["lines.markersize"], "zorder": 4,
        "markeredgecolor": "black", "markeredgewidth": 0.6,
    }  # fmt: skip
    # black below the line, so that it can be seen on every colour of the map
    ax.plot(points[:stop, 0], points[:stop, 1], color="black", linewidth=1.8 * width, zorder=3)
    ax.plot(
        points[:stop, 0], points[:stop, 1], marker=style.MARKERS[index % 7], label=plain(f"{name}: {how}"), gid="path",
        **look,
    )  # fmt: skip
    if outside.size and stop:
        ax.annotate(
            "", points[stop], points[stop - 1], annotation_clip=False, zorder=4, clip_on=True,
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 0, "clip_on": True},
        )  # fmt: skip


def _steepness(x: Floats, y: Floats, loss: Floats) -> str:
    """The steepest place against the median one: at least, since between the points it may be steeper."""
    with np.errstate(invalid="ignore"):
        down, across = np.gradient(loss, y, x)
        steep = np.hypot(down, across)
    steep = steep[np.isfinite(steep)]
    if not steep.size or not steep.max():
        return "The loss is the same everywhere"
    half = float(np.median(steep))
    if half == 0:
        return "The loss is flat at half of the points"
    ratio = float(steep.max()) / half * (1 + 1e-9)
    unit = 10.0 ** (np.floor(np.log10(ratio)) - 1)
    ratio = float(np.floor(ratio / unit) * unit)  # two digits, rounded down
    return f"The steepest slope is ≥ {number(ratio)} times the median slope"
