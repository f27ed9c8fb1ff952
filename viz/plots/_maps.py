"""Maps of units over time, one below the other, and the limits and colours of maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from rnncore._typing import Array, ArrayLike, Ints

from .. import style
from .._tapes import Recorded, layer_of
from ..measures.unit_order import is_narrow, unit_order
from ._draw import time_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, LogNorm, Normalize, SymLogNorm
    from matplotlib.image import AxesImage

Order: TypeAlias = Literal["auto"] | Sequence[int] | Ints | None
"""The units from top to bottom: sorted, as listed, or None: as they are."""


def band_order(order: ArrayLike, units: int) -> Ints:
    """The units from top to bottom, each exactly once."""
    order = np.asarray(order)
    if not np.array_equal(np.sort(order), np.arange(units)):
        raise ValueError(
            f"order: got {order.tolist()}, expected the units 0 … {units - 1} once each"
        )
    return order


def units_of(tape: Recorded, name: str, order: Order) -> Ints:
    """The units of a named array from top to bottom: "auto", None, or the caller's order."""
    units = tape[name].shape[-1]  # a frame may have some of them
    if order is None:
        return np.arange(units)
    if isinstance(order, str):
        if order != "auto":
            raise ValueError(f"order: got {order!r}, expected 'auto', None or the units' numbers")
        return np.arange(units) if is_narrow(tape, name) else unit_order(tape, layer_of(name))
    return band_order(order, units)


Band: TypeAlias = "tuple[str, Array, str | Colormap, Normalize]"  # name, values (T, H), colour map, its limits


def bands(
    ax: Axes,
    parts: Sequence[Band],
    *,
    tokens: Iterable[object] | None = None,
    gradient: bool = False,
    of: str = "",
) -> list[AxesImage]:
    """Draw maps of units over time, one below the other.

    Every part is an image of its own, so that gates keep the limits 0 … 1 while states are centred at 0.
    Where there are more units than dots, neighbours are averaged, so that none is left out.
    """
    gap = 0.12  # between parts, relative to their height
    total = len(parts) * (1 + gap) - gap
    images = []
    for index, (name, values, cmap, norm) in enumerate(parts):
        values = np.ma.masked_invalid(np.asarray(values, np.float64).T)
        top = index * (1 + gap)
        image = ax.imshow(
            values,
            cmap=cmap,
            norm=norm,
            aspect="auto",
            interpolation="antialiased" if _is_fine(ax, values.shape, total) else "nearest",
            origin="upper",
            extent=(-0.5, values.shape[1] - 0.5, top + 1, top),
        )
        image.set_gid(name)
        images.append(image)
    ax.set_ylim(total, 0)
    names = [name for name, *_ in parts]
    ax.set_yticks([i * (1 + gap) + 0.5 for i in range(len(parts))], names, fontsize=name_size(ax, names, total))
    ax.tick_params(axis="y", length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_facecolor("white")
    steps = parts[0][1].shape[0]
    ax.set_xlim(-0.5, steps - 0.5)
    time_axis(ax, steps, tokens=tokens, gradient=gradient, of=of)
    return images


def _is_fine(ax: Axes, shape: tuple[int, ...], total: float) -> bool:
    """Whether a map has more units, or more steps, than there are dots for them."""
    box = ax.get_window_extent()
    return bool(shape[0] > box.height / total or shape[1] > box.width)


def name_size(ax: Axes, names: Sequence[str], total: float) -> float:
    """The font size at which the names of parts fit their height and, where no layout makes room, their margin."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    largest = FontProperties(size=rcParams["ytick.labelsize"]).get_size_in_points()
    dot = 72 / ax.figure.dpi
    box = ax.get_window_extent()
    room = [largest, 0.9 * dot * float(box.height) / total]
    figure = ax.get_figure(root=True)
    if figure is not None and figure.get_layout_engine() is None:
        beside = [other.bbox.x1 for other in ax.figure.axes if other.bbox.x1 < box.x0]
        margin = dot * (float(box.x0) - max(beside, default=0.0)) - rcParams["ytick.major.pad"] - 2
        room.append(margin / (0.62 * max(map(len, names))))
    return max(min(room), 0.5 * largest)


def colour_bars(ax: Axes, images: Sequence[AxesImage], labels: Sequence[str]) -> None:
    """Draw narrow colour bars beside the axes without changing its width, so that panels stay aligned in time."""
    from matplotlib import rcParams
    from matplotlib.colors import SymLogNorm
    from matplotlib.ticker import FixedLocator, MaxNLocator

    n = len(images)
    inches = float(ax.get_window_extent().width) / ax.figure.dpi
    size = float(rcParams["font.size"])
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        height = 1 / n
        box = ax.inset_axes((1.01, 1 - (i + 1) * height + 0.05 * (n > 1), max(0.012, 0.08 / inches), height * 0.9))
        bar = ax.figure.colorbar(image, cax=box)
        bar.set_label(label, fontsize="small", labelpad=1)
        bar.ax.tick_params(labelsize="x-small", length=2, pad=2)
        points = 72 * float(ax.get_window_extent().height) / ax.figure.dpi * height * 0.9
        ticks = int(np.clip(points / (2.2 * size), 2, 5))  # as many as the bar has room for
        if isinstance(image.norm, SymLogNorm):
            bar.set_ticks(FixedLocator(_decades(image.norm, ticks)))
            bar.ax.minorticks_off()
        else:
            bar.set_ticks(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
        cast(Any, bar.outline).set_visible(False)


def _decades(norm: SymLogNorm, count: int) -> list[float]:
    """Ticks at powers of ten on both sides of 0, about `count` in all."""
    assert norm.vmax is not None
    low, high = np.log10(norm.linthresh), np.floor(np.log10(norm.vmax))
    gap = max(1, int(np.ceil((high - low) / max(1, count // 2))))
    powers = [10.0**power for power in np.arange(high, low, -gap)]
    return [-power for power in powers] + [0.0, *powers[::-1]]


def signed_norm(*arrays: ArrayLike) -> Normalize:
    """Limits that are symmetric about 0, the same for all arrays."""
    from matplotlib.colors import Normalize

    sizes = [float(np.abs(a[np.isfinite(a)]).max(initial=0.0)) for a in map(np.asarray, arrays)]
    limit = max(sizes, default=0.0) or 1.0
    return Normalize(-limit, limit)


def gate_norm() -> Normalize:
    """The limits of a gate, 0 and 1."""
    from matplotlib.colors import Normalize

    return Normalize(0.0, 1.0)


def magnitude_norm(a: ArrayLike, decades: float | None = None) -> LogNorm:
    """Logarithmic limits around all positive numbers, or at most some decades from the largest down."""
    from matplotlib.colors import LogNorm

    known = np.asarray(a)
    known = known[np.isfinite(known) & (known > 0)]
    if not known.size:
        return LogNorm(0.1, 1.0)
    low, high = float(known.min()), float(known.max())
    if decades is not None:
        low = max(low, high * 10.0**-decades)
    return LogNorm(low, high if high > low else low * 10)


def cmap(name: str, *, missing: str | None = None, under: str | None = None) -> Colormap:
    """A copy of a colour map with colours for missing numbers and for those below the range."""
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=missing or style.MISSING, under=under)
