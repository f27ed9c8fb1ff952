"""The look of the pictures: colours that work in grey print and for colour-blind readers, and a style sheet.

Plots on your own axes keep your rcParams and take only the colours from here; whole figures
(`viz.overview`, `viz.side_by_side`, …) are made inside `context()`, which restores rcParams.

>>> from rnncore import viz
>>> viz.style.SHEET.name
'rnncore.mplstyle'
"""

from __future__ import annotations

from contextlib import AbstractContextManager as _AbstractContextManager
from pathlib import Path as _Path

__all__ = ["FLOOR", "GATES", "GREY", "LINES", "MAGNITUDE", "MARKERS", "MISSING", "SHEET", "SIGNED", "context"]

SHEET = _Path(__file__).with_name("rnncore.mplstyle")
"""The style sheet: ``plt.style.use(viz.style.SHEET)``."""

# Okabe & Ito (2008), without the yellow (contrast 1.3:1 on white), the dark colours first, in an order
# that keeps neighbours far apart for every kind of colour blindness (tests/viz/test_palette.py).
# Lines have markers as well, so that no information is in the colour alone.
LINES = ("#0072B2", "#D55E00", "#000000", "#009E73", "#E69F00", "#56B4E9", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

SIGNED = "RdBu_r"  # diverging; always centred at 0
GATES = "cividis"  # sequential; always 0 … 1
MAGNITUDE = "viridis"  # sequential; log norm
GREY = "#767676"  # guides and notes: 4.5:1 on white
MISSING = "#E4E4E4"  # where there is no number
FLOOR = 1.1754943508222875e-38  # float32's smallest normal number


def __dir__() -> list[str]:
    return __all__


def context() -> _AbstractContextManager[None]:
    """The style sheet, for the duration of a with block."""
    from matplotlib import style

    return style.context(SHEET)
