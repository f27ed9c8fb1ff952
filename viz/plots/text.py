"""Text coloured by any value per step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from rnncore._checks import as_size

from .. import style
from .._door import array, as_numbers
from ._claims import and_others, counted, largest, named_step
from ._draw import axes, visible
from ._maps import cmap, magnitude_norm, signed_norm
from ._words import number, plain

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
    "The value is largest at 'e' at step 1 (0.9)"
    """
    as_numbers(values, array("T"), name="values", source="a measure of every token")
    shown, width = [visible(token) for token in tokens], as_size(width, "width")
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
        rgba = colours(norm(_within(norm, value))) if np.isfinite(value) else (1, 1, 1, 1)
        _cell(ax, column, row, token, cast("tuple[float, float, float, float]", rgba), size, framed=step == marked)
        column += len(token)
    ax.set_xlim(-0.3, (width if row else column) + 0.3)
    ax.set_ylim(row + 1.15, -0.15)
    ax.set_axis_off()
    ax.set_aspect(1.9, adjustable="box", anchor="C")
    bar = ax.figure.colorbar(
        mappable, cax=ax.inset_axes(_below(ax)), orientation="horizontal",
        extend="min" if (values < (-np.inf if norm.vmin is None else norm.vmin)).any() else "neither",
    )  # fmt: skip
    bar.set_label(plain(label))
    bar.ax.minorticks_off()
    cast(Any, bar.outline).set_visible(False)
    ax.set_title(_sentence(values, shown, plain(label)))
    return ax


def _below(ax: Axes) -> tuple[float, float, float, float]:
    """The place of a colour bar under the text, an eighth of an inch high."""
    (left, right), (foot, head) = ax.get_xlim(), ax.get_ylim()
    box, dots = ax.get_window_extent(), ax.figure.dpi
    height = min(float(box.height), float(box.width) * 1.9 * (foot - head) / (right - left)) / dots
    return 0.25, -0.3 / height, 0.5, 0.12 / height


def _sentence(values: Floats, shown: list[str], label: str) -> str:
    """At which token the value is largest, of those that have one."""
    what = label or "The value"
    known = values[~np.isnan(values)]
    if not known.size:
        return f"No token has a value{' of ' + label if label else ''}"
    without = len(values) - len(known)
    some = f"; {without} of {counted(len(values), 'token')} without a value" if without else ""
    if len(known) > 1 and known.min() == known.max():
        return f"{what} is {number(known[0])} at every token{some}"
    top = largest(np.abs(values))
    signed = " in size" if (known < 0).any() else ""
    place = f"{named_step(int(top[0]), shown)} ({number(values[top[0]])})"
    return f"{what} is largest{signed} at {place}{and_others(top)}{some}"


def _within(norm: Normalize, value: float) -> float:
    """A value at the lower limit, which rounding could put below it, where the colour is another."""
    return norm.vmin if norm.vmin is not None and np.isclose(value, norm.vmin, rtol=1e-9, atol=0) else value


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
