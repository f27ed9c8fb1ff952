"""Conditions that are checked at every update of training, and what they find.

    training step → Moment (tape, gradients, loss, weights) → watches → Hit

A watch reads buffers that training fills anyway. `viz.Debugger` checks it at every update and acts on
its hit; `watch.look(tape)` checks one tape by hand. A new watch is a subclass of `Watch` in a file
here, named below, in `_LATER` of viz/__init__.py, and in viz/__init__.pyi.
"""

from .flow import Explode, Spike, Vanish
from .moment import Hit, Moment
from .nonfinite import NaN
from .stuck import Stuck
from .watch import Watch, When

__all__ = ["Explode", "Hit", "Moment", "NaN", "Spike", "Stuck", "Vanish", "Watch", "When"]


def __dir__() -> list[str]:
    return __all__
