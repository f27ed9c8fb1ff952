"""The visual debugger: how far a network really remembers, in numbers and in pictures.

    tape ──▶ viz.measures ──▶ viz.plots
             numbers only      numbers in, Axes out

_tapes, _layers  what one asks of a tape; a layer that is run again
measures         numbers from tapes, one measure a file
plots            pictures, one public plot a file
watches          questions asked of every update of training
recorder         what is kept of a run, in memory or in a run file
diagnosis        what a tape says about its network, in sentences
reports          tapes and runs on one page
debugger         breakpoints: watches with actions
style            colours, markers and the style sheet

``viz.<measure>(tape)`` returns arrays and needs numpy alone; ``viz.plot_<measure>`` takes a tape or
the measure's numbers, draws on an axes and returns it. matplotlib is imported when the first
picture is asked for, never before.
"""

from importlib import import_module

from . import measures, plots
from .measures import *  # noqa: F403
from .plots import *  # noqa: F403

# What needs more than numpy, or is seldom needed, is imported when it is first asked for.
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
    "report": ".reports",
}  # fmt: skip

__all__ = sorted([*measures.__all__, *plots.__all__, *_LATER, "measures", "plots", "style"])


def __getattr__(name: str):
    if name in _LATER:
        value = getattr(import_module(_LATER[name], __name__), name)
        globals()[name] = value
        return value
    if name == "style":
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")


def __dir__() -> list[str]:
    return __all__
