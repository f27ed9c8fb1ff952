"""Text coloured by any value per step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from .. import style
from .._door import array, as_numbers
from ._draw import axes, cmap, magnitude_norm, signed_norm, visible
from ._words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize

    from rnncore._typing import ArrayLike, Floats

__all__ = ["plot_text"]

KIND = "text"

Scale: TypeAlias = Literal["auto", "signed", "gate", "magnitude"]


def plot_text(
    values: ArrayLike,
    ax: Axes | None = None,
    *,
    tokens: Iterable[object],
    width: int = 60,
    scale: Scale = "auto",
    marked: int | None = None,
    label: str = "",
) -> Axes:
    """Tokens on a coloured background, in lines.

    Parameters
    ----------
    values : ndarray (T,)
        One per token: a gate, a gradient, a loss, … NaN has no colour.
    ax : matplotlib Axes, optional
        Its frame and ticks are removed.
    tokens : sequence of str
    width : int
        Characters per line.
    scale : {"auto", "signed", "gate", "magnitude"}
        Diverging around 0, sequential from 0 to 1, or logarithmic. "auto" takes the first if there
        are negative numbers, the second if all are between 0 and 1, otherwise the third.
    marked : int, optional
        A step to draw a frame around, such as the one that is read out.
    label : str
        For the colour bar.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> values = np.array([0.1, 0.9, 0.2, 0.2, 0.5])
    >>> viz.plot_text(values, Figure().subplots(), tokens="hello").get_title()
    "The value is largest at 'e', step 1"
    """
    as_numbers(values, array("T"), name="values", source="a measure of every token")
    shown = [visible(token) for token in tokens]
    values = np.asarray(values, np.float64)
    if values.shape != (len(shown),):
        raise ValueError(
            f"values: got shape {values.shape}, expected ({len(shown)},), one per token"
        )
    norm, colours = _scale(values, scale)
    ax = axes(ax, KIND, overlays=False)
    from matplotlib.cm import ScalarMappable

    mappable = ScalarMappable(norm, colours)
    size = _font_size(ax, width)
    column, row = 0, 0
    for step, (token, value) in enumerate(zip(shown, values, strict=True)):
        if column + len(token) > width and column:
            column, row = 0, row + 1
        rgba = mappable.to_rgba(value) if np.isfinite(value) else (1, 1, 1, 1)
        _cell(ax, column, row, token, cast("tuple[float, float, float, float]", rgba), size, framed=step == marked)
        column += len(token)
    ax.set_xlim(-0.3, (width if row else column) + 0.3)
    ax.set_ylim(row + 1.15, -0.15)
    ax.set_axis_off()
    ax.set_aspect(1.9, adjustable="box", anchor="N")
    bar = ax.figure.colorbar(mappable, ax=ax, pad=0.02, fraction=0.03, aspect=12)
    bar.set_label(plain(label))
    if np.isfinite(values).any():
        top = int(np.nanargmax(np.abs(values)))
        ax.set_title(plain(f"{label or 'The value'} is largest at {shown[top]!r}, step {top}"))
    cast(Any, bar.outline).set_visible(False)
    return ax


def _font_size(ax: Axes, width: int) -> float:
    """The font size at which `width` characters fit the axes; a monospaced character is 0.6 wide."""
    from matplotlib import rcParams

    inches = float(ax.get_window_extent().width) / ax.figure.dpi
    return min(1.2 * float(rcParams["font.size"]), 72 * inches / width / 0.62)


def _cell(
    ax: Axes,
    column: int,
    row: int,
    token: str,
    rgba: tuple[float, float, float, float],
    size: float,
    framed: bool,
) -> None:
    """Draw one token on its background."""
    from matplotlib.patches import Rectangle

    edge: dict[str, Any] = {"edgecolor": "black", "linewidth": 2, "zorder": 3} if framed else {"linewidth": 0}
    ax.add_patch(Rectangle((column, row), len(token), 1, facecolor=rgba, **edge))
    light = 0.2126 * rgba[0] + 0.7152 * rgba[1] + 0.0722 * rgba[2] > 0.5
    look: dict[str, Any] = {"ha": "center", "va": "center", "family": "monospace", "zorder": 4, "clip_on": True}
    look["color"] = "black" if light else "white"
    for i, character in enumerate(token):
        ax.text(column + i + 0.5, row + 0.54, plain(character), fontsize=size, **look)


def _scale(values: Floats, scale: Scale) -> tuple[Normalize, Colormap]:
    """The limits and the colours."""
    from matplotlib.colors import Normalize

    known = values[np.isfinite(values)]
    if scale == "auto":
        within: Scale = "gate" if (known <= 1).all() else "magnitude"
        scale = "signed" if (known < 0).any() else within
    if scale == "signed":
        return signed_norm(values), cmap(style.SIGNED)
    if scale == "gate":
        return Normalize(0, 1), cmap(style.GATES)
    if scale == "magnitude":
        return magnitude_norm(values, 6), cmap(style.MAGNITUDE, under="black")
    raise ValueError(f"scale: got {scale!r}, expected 'auto', 'signed', 'gate' or 'magnitude'")
