"""Pictures of measures. One public plot per file; none of them computes.

A plot takes a tape, or the numbers of its measure, draws on ``ax`` (None: pyplot's current axes)
and returns it. It never calls show and leaves rcParams alone. A new plot is a file in this folder
whose ``__all__`` names it: it is then `viz.<name>`. One line in ``__init__.pyi`` makes it known to
type checkers.
"""

from .._discover import public_names as _public_names

__all__ = _public_names(__name__, __path__, globals())


def __dir__() -> list[str]:
    return __all__
