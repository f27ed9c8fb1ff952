"""The look of the pictures: colours that work in grey print and for colour-blind readers, and a style sheet.

Plots on your own axes keep your rcParams and take only the colours from here; whole figures
(`viz.overview`, `viz.side_by_side`, …) are made inside `context()`, which restores rcParams. There
are two style sheets, "page" for pages and notebooks and "slide" for a talk, whose text and lines are
large enough for the back of a room:

    viz.style.use("slide")                # from here on, as matplotlib's style.use
    with viz.style.context("slide"):      # for one figure
        viz.plot_jacobian_norms(tape)

>>> from rnncore import viz
>>> viz.style.SHEET.name
'rnncore.mplstyle'
"""

from __future__ import annotations

from collections.abc import Iterator as _Iterator
from contextlib import AbstractContextManager as _AbstractContextManager
from contextlib import contextmanager as _contextmanager
from pathlib import Path as _Path

__all__ = [
    "FLOOR", "GATES", "GREY", "LINES", "MAGNITUDE", "MARKERS", "MISSING", "SHEET", "SIGNED", "SLIDE", "context", "use",
]  # fmt: skip

SHEET = _Path(__file__).with_name("rnncore.mplstyle")
"""The style sheet for pages: ``plt.style.use(viz.style.SHEET)``."""
SLIDE = _Path(__file__).with_name("slide.mplstyle")
"""What a slide changes of it."""

_SHEETS: dict[str, list[_Path]] = {"page": [SHEET], "slide": [SHEET, SLIDE]}
_in_use = "page"

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


def use(name: str = "page") -> None:
    """Set the style of all plots from here on, by changing matplotlib's rcParams.

    Parameters
    ----------
    name : {"page", "slide"}
        ``use("page")`` goes back to the smaller text, and `matplotlib.rcdefaults` to matplotlib's own look.

    Raises
    ------
    ValueError
        There is no style of this name.

    Examples
    --------
    >>> import matplotlib
    >>> from rnncore import viz
    >>> with matplotlib.rc_context():
    ...     viz.style.use("slide")
    ...     matplotlib.rcParams["font.size"]
    18.0
    >>> viz.style.use("page"); matplotlib.rcdefaults()
    """
    global _in_use
    from matplotlib import style

    style.use(_sheets(name))
    _in_use = name


def context(name: str | None = None) -> _AbstractContextManager[None]:
    """A style for the duration of a with block; by default the one that is in use, or else "page".

    It is the one of whole figures within the block as well, such as `viz.overview`.

    Examples
    --------
    >>> import matplotlib
    >>> from rnncore import viz
    >>> with viz.style.context("slide"):
    ...     matplotlib.rcParams["font.size"]
    18.0
    """
    name = _in_use if name is None else name
    return _within(name, _sheets(name))


@_contextmanager
def _within(name: str, sheets: list[_Path]) -> _Iterator[None]:
    global _in_use
    from matplotlib import style

    before = _in_use
    with style.context(sheets):
        _in_use = name
        try:
            yield
        finally:
            _in_use = before


def _sheets(name: str) -> list[_Path]:
    if name not in _SHEETS:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(map(repr, _SHEETS))}")
    return _SHEETS[name]
