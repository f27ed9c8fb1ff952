"""Text coloured by any number a step."""

from __future__ import annotations

import numpy as np

from .. import style
from ._draw import axes, cmap, magnitude_norm, signed_norm, visible
from ._words import plain

__all__ = ["plot_text"]


def plot_text(
    values, ax=None, *, tokens, width: int = 60, scale: str = "auto", marked=None, label: str = "",
):  # fmt: skip
    """Tokens on coloured ground, like a page.

    Parameters
    ----------
    values : ndarray (T,)
        One a token: a gate, a gradient, a loss, … NaN is drawn without colour.
    ax : matplotlib Axes, optional
        Its frame and ticks are taken off.
    tokens : sequence of str
    width : int
        Characters in a line.
    scale : {"auto", "signed", "gate", "magnitude"}
        Diverging about 0, sequential 0 … 1, or logarithmic. "auto" takes the first where there are
        negative numbers, the second where all are within 0 … 1, else the third.
    marked : int, optional
        A step to put a frame around, such as the one that is read out.
    label : str
        Of the colour bar.

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
    "The number is largest at 'e', step 1"
    """
    ax = axes(ax)
    tokens = [visible(token) for token in tokens]
    values = np.asarray(values, np.float64)
    if values.shape != (len(tokens),):
        raise ValueError(
            f"values: got shape {values.shape}, expected ({len(tokens)},), one a token"
        )
    norm, colours = _scale(values, scale)
    from matplotlib.cm import ScalarMappable

    mappable = ScalarMappable(norm, colours)
    size = _font_size(ax, width)
    column, row = 0, 0
    for step, (token, value) in enumerate(zip(tokens, values, strict=True)):
        if column + len(token) > width and column:
            column, row = 0, row + 1
        rgba = mappable.to_rgba(value) if np.isfinite(value) else (1, 1, 1, 1)
        _cell(ax, column, row, token, rgba, size, framed=step == marked)
        column += len(token)
    ax.set_xlim(-0.3, (width if row else column) + 0.3)
    ax.set_ylim(row + 1.15, -0.15)
    ax.set_axis_off()
    ax.set_aspect(1.9, adjustable="box", anchor="N")
    bar = ax.figure.colorbar(mappable, ax=ax, pad=0.02, fraction=0.03, aspect=12)
    bar.set_label(plain(label))
    if np.isfinite(values).any():
        top = int(np.nanargmax(np.abs(values)))
        ax.set_title(plain(f"{label or 'The number'} is largest at {tokens[top]!r}, step {top}"))
    bar.outline.set_visible(False)
    return ax


def _font_size(ax, width) -> float:
    """Points at which `width` characters fit the axes; a monospaced one is 0.6 wide."""
    from matplotlib import rcParams

    inches = ax.get_window_extent().width / ax.figure.dpi
    return min(1.2 * rcParams["font.size"], 72 * inches / width / 0.62)


def _cell(ax, column, row, token, rgba, size, framed):
    from matplotlib.patches import Rectangle

    edge = {"edgecolor": "black", "linewidth": 2, "zorder": 3} if framed else {"linewidth": 0}
    ax.add_patch(Rectangle((column, row), len(token), 1, facecolor=rgba, **edge))
    light = 0.2126 * rgba[0] + 0.7152 * rgba[1] + 0.0722 * rgba[2] > 0.5
    look = {"ha": "center", "va": "center", "family": "monospace", "zorder": 4, "clip_on": True}
    look["color"] = "black" if light else "white"
    for i, character in enumerate(token):
        ax.text(column + i + 0.5, row + 0.54, plain(character), fontsize=size, **look)


def _scale(values, scale):
    from matplotlib.colors import Normalize

    known = values[np.isfinite(values)]
    if scale == "auto":
        within = "gate" if (known <= 1).all() else "magnitude"
        scale = "signed" if (known < 0).any() else within
    if scale == "signed":
        return signed_norm(values), cmap(style.SIGNED)
    if scale == "gate":
        return Normalize(0, 1), cmap(style.GATES)
    if scale == "magnitude":
        return magnitude_norm(values, 6), cmap(style.MAGNITUDE, under="black")
    raise ValueError(f"scale: got {scale!r}, expected 'auto', 'signed', 'gate' or 'magnitude'")
