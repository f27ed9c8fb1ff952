"""The visual debugger: how far back a network really remembers, in numbers and in pictures.

    tape ──▶ viz.measures ──▶ viz.plots
             numbers only      numbers in, Axes out

_tapes, _layers  what is read off a tape; layers that viz runs itself
_door            what measures and plots are given: a tape, a layer, or numbers; the rest is refused
measures         numbers from tapes, one measure per file
plots            pictures, one public plot per file
watches          conditions checked at every update of training
recorder         what is kept of a training run, in memory or in a run file
diagnosis        what a tape shows about its network, in sentences
reports          an HTML page about tapes and recorded runs
page             a page that runs networks on what its reader types
debugger         breakpoints: watches with actions
style            colours, markers and the style sheet

``viz.<measure>(tape)`` returns arrays and needs numpy alone; ``viz.plot_<measure>`` takes a tape or
the measure's numbers, draws on an axes and returns it. matplotlib is imported by the first plot. A plot
that is given no axes draws on pyplot's current ones if they are empty, or if they hold the same kind of
plot and the two can overlay, as the curves of several runs do. In all other cases it makes a new figure.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from . import measures, plots
from .measures import *  # noqa: F403
from .plots import *  # noqa: F403

# Names that need more than numpy, or are rarely used: imported on first access.
_LATER: dict[str, str] = {
    **dict.fromkeys(
        ["Explode", "Hit", "Moment", "NaN", "Spike", "Stuck", "Vanish", "Watch", "When"],
        ".watches",
    ),
    **dict.fromkeys(["Breakpoint", "Debugger", "replay"], ".debugger"),
    "Recorder": ".recorder",
    "Run": ".recorder.runfile",
    "diagnose": ".diagnosis",
    "Diagnosis": ".diagnosis",
    "Finding": ".diagnosis",
    "explore": ".page",
    "report": ".reports",
}  # fmt: skip

__all__ = sorted([*measures.__all__, *plots.__all__, *_LATER, "measures", "plots", "style"])


def __getattr__(name: str) -> _Any:
    if name in _LATER:
        value = getattr(_import_module(_LATER[name], __name__), name)
        globals()[name] = value
        return value
    if name == "style":
        return _import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")


def __dir__() -> list[str]:
    return __all__
