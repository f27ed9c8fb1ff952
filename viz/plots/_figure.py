"""Whole figures: made by pyplot, so that scripts can show them, and shown once in a notebook."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = 10.5  # font size of the style for pages


def text_scale() -> float:
    """By how much a whole figure is larger than on a page, where the style has larger words.

    Less than the words, so that they are larger in relation to the figure as well.
    """
    from matplotlib import rcParams

    return float(max(1.0, rcParams["font.size"] / PAGE) ** 0.6)


def lay_out(figure: Figure) -> None:
    """Lay the panels out as far as they are drawn, so that a plot finds its axes at their size: legends need it."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def shown_once(figure: Figure) -> Figure:
    """The same figure, which a notebook shows once.

    A notebook shows every open figure at the end of a cell, and the value of the cell's last line as well,
    so a figure that is both would appear twice. This one does nothing as a value while it is open.
    """
    setattr(figure, "_ipython_display_", partial(_display, figure))  # noqa: B010  type checkers do not know the name
    return figure


def _display(figure: Figure) -> None:
    import matplotlib.pyplot as plt

    if plt.fignum_exists(getattr(figure, "number", -1)):
        return
    ipython, tools = import_module("IPython.display"), import_module("IPython.core.pylabtools")
    ipython.display(ipython.Image(tools.print_figure(figure)))
