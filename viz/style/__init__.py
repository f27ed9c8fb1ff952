"""How pictures look: colours that survive grey print and colour blindness, and a style sheet.

Plots on your own axes keep your rcParams and take only the colours from here; whole figures
(`viz.overview`, `viz.side_by_side`, …) are made inside `context()`, which is undone afterwards.

>>> from rnncore import viz
>>> viz.style.SHEET.name
'rnncore.mplstyle'
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

__all__ = ["FLOOR", "GATES", "GREY", "LINES", "MAGNITUDE", "MARKERS", "MISSING", "SHEET", "SIGNED"]

SHEET = Path(__file__).with_name("rnncore.mplstyle")
"""The style sheet: ``plt.style.use(viz.style.SHEET)``."""

# Okabe & Ito (2008), without the yellow (1.3:1 on white), the dark ones first and in an order in
# which neighbours stay far apart for every kind of colour blindness (tests/viz/test_palette.py).
# Lines carry markers as well, so that nothing rests on colour alone.
LINES = ("#0072B2", "#D55E00", "#000000", "#009E73", "#E69F00", "#56B4E9", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

SIGNED = "RdBu_r"  # diverging; always centred at 0
GATES = "cividis"  # sequential; always 0 … 1
MAGNITUDE = "viridis"  # sequential; log norm
GREY = "#767676"  # guides and notes: 4.5:1 on white
MISSING = "#E4E4E4"  # where there is no number
FLOOR = 1.1754943508222875e-38  # float32's smallest normal number


def context() -> AbstractContextManager[None]:
    """The style sheet for the length of a with block."""
    from matplotlib import style

    return style.context(SHEET)
