"""The legend of a plot, placed where nothing is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rnncore._typing import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

def legend(ax: Axes, **options: Any) -> None:
    """Add a legend if a line has a label: where nothing is drawn, or else in room made for it above the lines."""
    handles, labels = ax.get_legend_handles_labels()
    if not labels:
        return
    if len(labels) > 6:
        options.setdefault("fontsize", "x-small")
    look: dict[str, Any] = {"frameon": True, "framealpha": 0.85, "edgecolor": "none"}
    options = look | options
    if "loc" in options or "bbox_to_anchor" in options:
        ax.legend(handles, labels, **options)
        return
    ax.get_ylim()  # applies limits that are still to be computed from the data
    taken, guides = _taken(ax)
    shapes = {}
    for columns in range(options.pop("ncols", 1), 5):
        options |= {"loc": "upper right", "ncols": columns}
        made = ax.legend(handles, labels, **options)
        wide, high = shapes[columns] = _shape(ax, made)
        if wide > 1:
            continue
        for obstacles in (np.concatenate([taken, guides]), taken):
            for place, (left, foot) in _PLACES.items():
                x, y = left * (1 - wide), foot * (1 - high)
                across, along = obstacles.T
                if not ((across > x) & (across < x + wide) & (along > y) & (along < y + high)).any():
                    made.set_loc(cast(Any, place))
                    _hide_covered_guides(ax, made)
                    return
    # No place is free: room is made above the lines for the flattest that is not wider than the axes.
    columns = min(shapes, key=lambda n: (shapes[n][0] > 1, shapes[n][1], n))
    high = shapes[columns][1]
    if high > TALLEST and ax.figure.get_layout_engine() is not None:  # beside the axes, which the layout makes narrower
        beside = {"ncols": 1, "loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        ax.legend(handles, labels, **options | beside)
        return
    ax.legend(handles, labels, **options | {"ncols": columns})
    high = min(high, TALLEST)
    scale = ax.yaxis.get_transform()
    low, top = scale.transform(np.array(ax.get_ylim(), float))
    raised = scale.inverted().transform(np.array([low + (top - low) / (1 - high)]))
    ax.set_ylim(top=float(raised[0]), auto=None)


def _shape(ax: Axes, made: Legend) -> tuple[float, float]:
    """Width and height of a legend, with a margin, as shares of those of the axes."""
    box, size = ax.get_window_extent(), made.get_window_extent()
    margin = 1.2 * made.prop.get_size_in_points() * cast(Any, ax.figure).dpi / 72  # twice its distance to the axes
    return (size.width + margin) / box.width, (size.height + margin) / box.height


def _hide_covered_guides(ax: Axes, made: Legend) -> None:
    """Hide labels of guides behind the legend: half a number would be read as another one."""
    covered = made.get_window_extent()
    for text in ax.texts:
        if text.get_gid() == "guide" and covered.overlaps(text.get_window_extent()):
            text.set_visible(False)


TALLEST = 0.5  # a legend within the axes, as a share of their height
_PLACES = {
    "upper right": (1, 1), "lower left": (0, 0), "upper left": (0, 1), "lower right": (1, 0),
    "center right": (1, 0.5), "center left": (0, 0.5), "upper center": (0.5, 1), "lower center": (0.5, 0),
}  # fmt: skip


def _taken(ax: Axes) -> tuple[Floats, Floats]:
    """(points, 2): where lines, bands and texts are, and where guides are, in shares of the axes' width and height."""
    from matplotlib.collections import PolyCollection
    from matplotlib.contour import ContourSet

    found: dict[bool, list[Floats]] = {False: [np.empty((0, 2))], True: [np.empty((0, 2))]}
    for one in ax.lines:
        points = one.get_transform().transform(np.array(one.get_xydata(), float))
        if one.get_visible() and len(points):
            found[one.get_gid() == "guide"].append(points if one.get_linestyle() == "None" else _between(points))
    for band in ax.collections:
        for path in band.get_paths() if isinstance(band, (PolyCollection, ContourSet)) else ():
            found[False].append(_between(band.get_transform().transform(path.vertices)))
    for text in ax.texts:
        if text.get_text():
            (x0, y0), (x1, y1) = text.get_window_extent().get_points()
            corners = [[x, y] for x in np.linspace(x0, x1, 9) for y in (y0, (y0 + y1) / 2, y1)]
            found[text.get_gid() == "guide"].append(np.array(corners))
    taken, guides = (ax.transAxes.inverted().transform(np.concatenate(found[kind])) for kind in (False, True))
    return taken[np.isfinite(taken).all(1)], guides[np.isfinite(guides).all(1)]


def _between(points: Floats) -> Floats:
    """A polygon's points and eight more on each of its edges."""
    part = np.linspace(0, 1, 9)[:, None, None]
    if len(points) < 2:
        return points
    with np.errstate(invalid="ignore"):  # at points that are not finite
        return np.asarray(((1 - part) * points[:-1] + part * points[1:]).reshape(-1, 2))
