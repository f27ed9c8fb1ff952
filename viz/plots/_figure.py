"""Whole figures: made by pyplot, so that scripts can show them, and shown once in a notebook."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
