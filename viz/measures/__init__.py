"""Numbers from tapes. One measure a file; none of them needs matplotlib.

A measure is a function of a tape (or of a layer and its input) that returns arrays. A new one is a
file in this folder whose ``__all__`` names it: it is then `viz.<name>`, with no change elsewhere.
"""

from .._discover import public_names

__all__ = public_names(__name__, __path__, globals())
