"""Pictures of measures. One public plot a file; none of them computes.

A plot takes a tape, or the numbers of its measure, draws on ``ax`` (None: pyplot's current axes)
and returns it. It never calls show and leaves rcParams alone. A new one is a file in this folder
whose ``__all__`` names it: it is then `viz.<name>`, with no change elsewhere.
"""

from .._discover import public_names

__all__ = public_names(__name__, __path__, globals())
