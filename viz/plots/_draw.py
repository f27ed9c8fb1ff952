"""What plots share: whose axes, the next colour, bands of units over time, the floor and zeros."""

from __future__ import annotations

import numpy as np

from .. import style
from .._tapes import is_tape, layer_of
from ..measures.unit_order import unit_order
from ._words import plain


def axes(ax):
    """`ax`, or pyplot's current axes."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()


def numbers(data, measure, *args, **options):
    """The measure of a tape; anything else is taken to be its numbers already."""
    return measure(data, *args, **options) if is_tape(data) else data


def some_names(names, among) -> list:
    """Those to draw: all, or some of them."""
    found = list(among) if names is None else list(names)
    if not found or any(name not in among for name in found):
        raise ValueError(f"names: got {found}, expected some of {', '.join(among)}")
    return found


def columns(a) -> np.ndarray:
    """(steps, rows): one row of numbers is a batch of one."""
    a = np.asarray(a, np.float64)
    return a[:, None] if a.ndim == 1 else a


def pick_row(a, row):
    """The rows of a batch to draw: one, or all."""
    a = columns(a)
    if row is None:
        return a
    if not -a.shape[1] <= row < a.shape[1]:
        raise ValueError(f"row: got {row}, expected one of {a.shape[1]} rows, or None for all")
    return a[:, row][:, None]


def row_length(tape, row: int) -> int:
    """How many steps a row of the batch has; a picture of one row needs one."""
    if not -tape.B <= row < tape.B:
        raise ValueError(f"row: got {row}, expected one of {tape.B} rows")
    length = int(tape.lengths[row])
    if not length:
        raise ValueError(f"row: got {row}, a row of no steps, expected one that has some")
    return length


def drawn(ax, kind: str) -> list:
    """Lines of one kind that are on the axes already: runs overlay."""
    return [line for line in ax.lines if line.get_gid() == kind]


def next_look(ax, kind: str, steps: int, line_kw: dict) -> dict:
    """Colour and marker of the next line of a kind; the caller's keywords win."""
    index = len(drawn(ax, kind))
    look = {
        "color": style.LINES[index % len(style.LINES)],
        # past the last colour the pairs shift, so that none comes back
        "marker": style.MARKERS[(index + index // len(style.LINES)) % len(style.MARKERS)],
        # a dozen markers, those of overlaid lines beside each other
        "markevery": (index * max(1, steps // 40) % max(1, steps), max(1, steps // 12)),
        "gid": kind,
    }
    aliases = {"c": "color", "ls": "linestyle", "lw": "linewidth", "ms": "markersize"}
    return look | {aliases.get(key, key): value for key, value in line_kw.items()}


def line(ax, kind: str, x, y, label=None, **line_kw):
    """One line; several rows of a batch become their median with the range as a band."""
    y = columns(y)
    look = next_look(ax, kind, len(y), line_kw)
    with np.errstate(invalid="ignore"):
        middle, low, high = over_rows(y)
    (found,) = ax.plot(x, middle, label=None if label is None else plain(label), **look)
    if y.shape[1] > 1:
        ax.fill_between(x, low, high, color=found.get_color(), alpha=0.15, linewidth=0)
    return found


def over_rows(y):
    """Median and range over the rows that have a number."""
    middle, low, high = (np.full(len(y), np.nan) for _ in range(3))
    some = ~np.isnan(y).all(1)
    if some.any():
        middle[some] = np.nanmedian(y[some], 1)
        low[some], high[some] = np.nanmin(y[some], 1), np.nanmax(y[some], 1)
    return middle, low, high


def magnitude_line(ax, kind: str, x, y, label=None, **line_kw):
    """A line over decades. Exact zeros are not on a log axis: they are marked at its foot."""
    y, x = columns(y), np.asarray(x)
    found = line(ax, kind, x, np.where(y > 0, y, np.nan), label, **line_kw)
    ax.set_yscale("log")
    zero = (y == 0).any(1)
    if zero.any():
        labelled = "exactly 0" if not drawn(ax, "zeros") else None
        ax.plot(
            x[zero],
            np.full(zero.sum(), 0.015),
            transform=ax.get_xaxis_transform(),
            linestyle="none",
            marker="x",
            markersize=5,
            color=found.get_color(),
            label=labelled,
            gid="zeros",
            clip_on=False,
        )
    mark_floor(ax)
    return found


def mark_floor(ax) -> None:
    """float32's smallest normal number, once the numbers come near it."""
    low = ax.dataLim.ymin if np.isfinite(ax.dataLim.ymin) else 1.0
    if 0 < low < 1e-30 and not drawn(ax, "floor"):
        ax.axhline(style.FLOOR, color=style.GREY, linestyle=(0, (6, 3)), linewidth=1, gid="floor")
        ends = [y[np.isfinite(y)][[0, -1]] for y in _heights(ax) if np.isfinite(y).any()]
        falls = all(first >= last for first, last in ends)  # then the left end is free
        ax.annotate(
            "float32 ends here",
            (0.01 if falls else 0.99, style.FLOOR),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="left" if falls else "right",
            va="bottom",
            color=style.GREY,
            fontsize="small",
        )


def _heights(ax):
    return [np.asarray(a.get_ydata(), float) for a in ax.lines if len(a.get_ydata()) > 2]


def time_axis(ax, steps: int, *, tokens=None, gradient: bool = False) -> None:
    """Time runs left to right; gradients, where shown, right to left, and it says so."""
    ax.set_xlabel("step   time →" + ("   ← gradient" if gradient else ""))
    if tokens is not None:
        tokens = [visible(token) for token in tokens]
        if len(tokens) != steps:
            raise ValueError(f"tokens: got {len(tokens)}, expected {steps}, one a step")
        if steps <= 80:
            ax.set_xticks(range(steps), map(plain, tokens), fontfamily="monospace")
            ax.tick_params(axis="x", length=0)
            ax.grid(False, axis="x")


def lag_axis(ax) -> None:
    """Lags run left to right, time right to left."""
    ax.set_xlabel("lag k   (steps back from the end; ← time)")


def visible(token) -> str:
    """Spaces and line ends as marks."""
    text = str(token)
    return {" ": "␣", "\n": "↵", "\t": "⇥"}.get(text, text.replace("\n", "↵"))


def band_order(order, units: int) -> np.ndarray:
    order = np.asarray(order)
    if not np.array_equal(np.sort(order), np.arange(units)):
        raise ValueError(
            f"order: got {order.tolist()}, expected the units 0 … {units - 1} once each"
        )
    return order


def units_of(tape, name: str, order) -> np.ndarray:
    """The units of a named array from top to bottom: "auto", None, or as the caller says."""
    if order is None:
        return np.arange(tape.layer.hidden_size)
    if isinstance(order, str):
        if order != "auto":
            raise ValueError(f"order: got {order!r}, expected 'auto', None or the units' numbers")
        return unit_order(tape, layer_of(name))
    return band_order(order, tape.layer.hidden_size)


def bands(ax, parts, *, tokens=None, gradient=False):
    """Maps of units over time, one under the other: [(name, (T, H), cmap, norm)].

    Every part is an image of its own, so that gates keep 0 … 1 while states are centred at 0.
    """
    gap = 0.12  # between parts, in parts
    images = []
    for index, (name, values, cmap, norm) in enumerate(parts):
        values = np.ma.masked_invalid(np.asarray(values, np.float64).T)
        top = index * (1 + gap)
        image = ax.imshow(
            values,
            cmap=cmap,
            norm=norm,
            aspect="auto",
            interpolation="nearest",
            origin="upper",
            extent=(-0.5, values.shape[1] - 0.5, top + 1, top),
        )
        image.set_gid(name)
        images.append(image)
    total = len(parts) * (1 + gap) - gap
    ax.set_ylim(total, 0)
    ax.set_yticks([i * (1 + gap) + 0.5 for i in range(len(parts))], [p[0] for p in parts])
    ax.tick_params(axis="y", length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_facecolor("white")
    steps = parts[0][1].shape[0]
    ax.set_xlim(-0.5, steps - 0.5)
    time_axis(ax, steps, tokens=tokens, gradient=gradient)
    return images


def colour_bars(ax, images, labels) -> None:
    """Narrow bars beside the axes, which keep its width: panels stay aligned in time."""
    n = len(images)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        height = 1 / n
        box = ax.inset_axes((1.015, 1 - (i + 1) * height + 0.04 * (n > 1), 0.018, height * 0.9))
        bar = ax.figure.colorbar(image, cax=box)
        bar.set_label(label, fontsize="small")
        bar.ax.tick_params(labelsize="x-small")
        bar.outline.set_visible(False)


def signed_norm(*arrays):
    """Centred at 0, the same on both sides; one for all arrays."""
    from matplotlib.colors import Normalize

    sizes = [np.abs(a[np.isfinite(a)]).max(initial=0.0) for a in map(np.asarray, arrays)]
    limit = max(sizes, default=0.0) or 1.0
    return Normalize(-limit, limit)


def gate_norm():
    from matplotlib.colors import Normalize

    return Normalize(0.0, 1.0)


def magnitude_norm(a, decades: float | None = None):
    """Over all positive numbers, or at most some decades from the largest down."""
    from matplotlib.colors import LogNorm

    a = np.asarray(a)
    a = a[np.isfinite(a) & (a > 0)]
    if not a.size:
        return LogNorm(0.1, 1.0)
    low, high = float(a.min()), float(a.max())
    if decades is not None:
        low = max(low, high * 10.0**-decades)
    return LogNorm(low, high if high > low else low * 10)


def cmap(name: str, *, missing: str | None = None, under: str | None = None):
    """A copy of a colour map with its colours for no number and for under the range."""
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=missing or style.MISSING, under=under)


def say(ax, kind: str, sentence: str, several: str) -> None:
    """The title: what is seen, or, once runs overlay, what is compared."""
    ax.set_title(sentence if len(drawn(ax, kind)) <= 1 else several)


def legend(ax, **options) -> None:
    """A legend, where a line has a label."""
    handles, labels = ax.get_legend_handles_labels()
    if len(labels) > 6:  # small, on its own ground
        options = {"ncols": 2, "fontsize": "x-small", "frameon": True, "framealpha": 0.85} | options
    if labels:
        ax.legend(handles, labels, **options)
