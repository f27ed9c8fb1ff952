"""Memory that is kept between passes, and how to let go of it."""

from . import _engine
from ._checks import as_size


def kept_memory():
    """Bytes that are kept for the next passes.

    Fresh memory costs up to 40 % of a training step, so what a dropped tape held serves the next one, of any layer.

    Returns
    -------
    int
    """
    return _engine.get_kept_bytes()


def set_kept_memory(limit):
    """Set how many bytes may be kept; what is above is given back to the system now.

    Parameters
    ----------
    limit : int
        512 MiB at import; 0 keeps nothing.

    Examples
    --------
    >>> import rnncore as rc
    >>> rc.set_kept_memory(2**28)
    """
    _engine.set_kept_limit(as_size(limit, "limit", least=0))


def release_memory():
    """Give what is kept back to the system now; the next passes keep theirs again.

    Examples
    --------
    >>> import rnncore as rc
    >>> rc.release_memory()
    >>> rc.kept_memory()
    0
    """
    _engine.release_kept()
