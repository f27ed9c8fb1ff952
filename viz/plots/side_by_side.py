"""One plot of several tapes, side by side or overlaid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rnncore._checks import as_size

from .._door import described
from .._tapes import part_of
from ..style import context
from ._figure import shown_once, text_scale
from ._words import plain
from .jacobian_norms import plot_jacobian_norms
from .states import plot_states

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["side_by_side"]


def side_by_side(
    runs: Mapping[str, Any],
    plot: Callable[..., Axes] = plot_states,
    *,
    overlay: bool | None = None,
    columns: int = 3,
    title: str | None = None,
    **options: Any,
) -> Figure:
    """One picture per run with common limits, or all runs in one picture.

    Parameters
    ----------
    runs : dict of str to Tape
        Or to anything else that `plot` takes.
    plot : callable
        A ``viz.plot_*`` that returns Axes, such as `viz.plot_gradient_flow`.
    overlay : bool, optional
        Draw all runs on one axes; by default only for `viz.plot_jacobian_norms`.
    columns : int
        The largest number of pictures side by side.
    title : str, optional
    **options
        Passed to every call of `plot`.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore import viz
    >>> runs = {"short": 0.5 ** np.arange(9.0), "long": 0.9 ** np.arange(9.0)}
    >>> figure = viz.side_by_side(runs, viz.plot_jacobian_norms)
    >>> figure.axes[0].get_title()
    'How much of the gradient remains k steps back'
    >>> import matplotlib.pyplot as plt; plt.close(figure)
    """
    import matplotlib.pyplot as plt

    if not isinstance(runs, Mapping):
        raise TypeError(f"runs: got {described(runs)}, expected a dict of name -> tape, such as {{'a': tape}}")
    if not callable(plot):
        raise TypeError(f"plot: got {described(plot)}, expected a function such as viz.plot_gates")
    runs = dict(runs)
    if not runs:
        raise ValueError("runs: got none, expected a dict of name -> tape")
    overlay = plot is plot_jacobian_norms if overlay is None else overlay
    with context():
        scale = text_scale()
        if overlay:
            figure, ax = plt.subplots(figsize=(8 * scale, 5 * scale), layout="constrained")
            for name, run in runs.items():
                plot(run, ax=ax, label=name, **options)
        else:
            wide = min(as_size(columns, "columns"), len(runs))
            rows = -(-len(runs) // wide)
            figure, grid = plt.subplots(
                rows,
                wide,
                figsize=((1 + 4.6 * wide) * scale, (0.6 + 3.6 * rows) * scale),
                squeeze=False,
                layout="constrained",
            )
            for ax, (name, run) in zip(grid.flat, runs.items(), strict=False):
                plot(run, ax=ax, **options)
                ax.set_title(f"{plain(name)}\n{ax.get_title()}", fontsize="medium")
            for ax in grid.flat[len(runs) :]:
                ax.set_visible(False)
            _same_limits(grid.flat[: len(runs)])
        if title:
            figure.suptitle(plain(title), wrap=True)
    return shown_once(figure)


def _same_limits(axes: Iterable[Axes]) -> None:
    """Give all pictures of lines the same axes, and all maps of the same part, such as c, the same colours."""
    from matplotlib.colors import SymLogNorm

    axes = list(axes)
    with_lines = [ax for ax in axes if ax.lines and not ax.images and ax.axison]
    if len(with_lines) > 1:
        for axis in ("x", "y"):
            limits = [getattr(ax, f"get_{axis}lim")() for ax in with_lines]
            both = min(map(min, limits)), max(map(max, limits))
            for ax in with_lines:
                getattr(ax, f"set_{axis}lim")(both)
    parts: dict[tuple[str, type], list[Any]] = {}
    for image in [image for ax in axes if ax.axison for image in ax.images]:
        parts.setdefault((part_of(image.get_gid() or ""), type(image.norm)), []).append(image.norm)
    for norms in parts.values():
        low, high = min(norm.vmin for norm in norms), max(norm.vmax for norm in norms)
        linear = max(getattr(norm, "linthresh", 0) for norm in norms)
        for norm in norms:
            if isinstance(norm, SymLogNorm):
                norm.linthresh = linear
            norm.vmin, norm.vmax = low, high
