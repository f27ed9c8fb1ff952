"""Measures: functions that compute numbers from tapes, one in each file. None of them needs matplotlib.

A measure is a function of a tape (or of a layer and its input) that returns arrays. A new measure is
a file in this folder whose ``__all__`` names it: it is then `viz.<name>`. One line in ``__init__.pyi``
makes it known to type checkers.
"""

from .._discover import public_names as _public_names

__all__ = _public_names(__name__, __path__, globals())


def __dir__() -> list[str]:
    return __all__
