"""RNN, GRU and LSTM; and a class of layers for every other mode that is described."""

from __future__ import annotations

import inspect
from typing import Any

from . import descriptions
from .base import RecurrentLayer


class RNN(RecurrentLayer):
    """The simple recurrent net, h_t = phi(W x_t + b + U h_{t-1} + b').

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
    bias : bool
    batch_first : bool
        x and y are (B, T, ·); states stay (layers·directions, B, H).
    dropout : float
        Between layers, applied by ``record(x, train=True)`` alone.
    bidirectional : bool
    nonlinearity : {"tanh", "relu", "sigmoid"}
    dtype : {"float32", "float64"}
    seed : int, optional
        Weights are U(±1/√H) from numpy's PCG64.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> y, h = rc.RNN(3, 4, seed=0)(np.ones((5, 2, 3)))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    mode = "RNN"
    _fixed = frozenset({"nonlinearity"})

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, *, nonlinearity="tanh", dtype="float32", seed=None):
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         dtype=dtype, seed=seed, nonlinearity=nonlinearity)


class GRU(RecurrentLayer):
    """Gated recurrent unit (Cho et al. 2014): h_t = (1 − z)·n + z·h_{t-1}.

    Parameters
    ----------
    reset_after : bool
        True: n = tanh(W x + b + r·(U h + b')), as torch, cuDNN and Keras. False: n = tanh(W x + b + U (r·h) + b'),
        the paper's.
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, seed
        As in `RNN`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> gru = rc.GRU(3, 4, batch_first=True, seed=0)
    >>> y, h = gru(np.ones((2, 5, 3)), lengths=[5, 3])
    >>> y.shape, bool((y[1, 3:] == 0).all())
    ((2, 5, 4), True)
    """

    mode = "GRU"
    _fixed = frozenset({"reset_after"})

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, *, reset_after=True, dtype="float32", seed=None):
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         dtype=dtype, seed=seed, reset_after=reset_after)


class LSTM(RecurrentLayer):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    c_t = f·c_{t-1} + i·g, h_t = o·tanh(c_t); gates in the order i f g o.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, seed
        As in `RNN`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> lstm = rc.LSTM(3, 4, seed=0)
    >>> y, (h, c) = lstm(np.ones((5, 2, 3)))
    >>> y.shape, h.shape, c.shape
    ((5, 2, 4), (1, 2, 4), (1, 2, 4))
    """

    mode = "LSTM"

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, *, dtype="float32", seed=None):
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         dtype=dtype, seed=seed)


def layer_class(mode: str) -> type[RecurrentLayer]:
    """The class of layers of a mode: one of this module, or one that is made of the mode's description.

    Raises
    ------
    ValueError
        No cell has this mode.

    Examples
    --------
    >>> from rnncore.recurrent.layers import layer_class
    >>> layer_class("GRU")
    <class 'rnncore.recurrent.layers.GRU'>
    """
    if mode not in descriptions.modes():
        raise ValueError(f"mode: got {mode!r}, expected one of {', '.join(descriptions.modes())}")
    if mode not in globals():
        globals().setdefault(mode, _made(mode))         # another thread may have been quicker
    return globals()[mode]


def __getattr__(name: str) -> Any:          # where pickle looks for a class that was made
    if name in descriptions.modes():
        return layer_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _made(mode: str) -> type[RecurrentLayer]:
    """A class of layers that has nothing of its own but its description."""
    described, choices = descriptions.first(mode), descriptions.choices(mode)
    shared = list(inspect.signature(RecurrentLayer).parameters.values())[:-1]      # without **options
    own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=described.options[name]) for name in choices]
    told = "".join(f"{name} : one of {values}\n    " for name, values in choices.items())
    def __init__(self, *arguments, **options):
        RecurrentLayer.__init__(self, *arguments, **options)

    return type(mode, (RecurrentLayer,), {
        "__init__": __init__,
        "__doc__": f"""{described.label}: {described.equations}.

    Parameters
    ----------
    {told}input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, seed
        As in `RNN`.
    """,
        "__module__": __name__,
        "__signature__": inspect.Signature([*shared, *own]),
        "mode": mode,
        "_fixed": frozenset(choices),
    })
