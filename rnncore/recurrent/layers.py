"""RNN, GRU and LSTM, and a class of layers for every other mode that has a description."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from rnncore._checks import as_size
from rnncore._typing import Array

from . import descriptions
from .base import RecurrentLayer

if TYPE_CHECKING:
    from rnncore._typing import DTypeLike, Seed


class RNN(RecurrentLayer[Array]):
    """The simple recurrent network: h_t = φ(W x_t + b + U h_{t-1} + b'), with φ the nonlinearity.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
    bias : bool
    batch_first : bool
        If true, input and output are (B, T, ·) instead of (T, B, ·). States are (layers·directions, B, H) in any case.
    dropout : float
        The probability that a value between two layers of the stack is dropped, by ``record(x, train=True)`` only.
    bidirectional : bool
    nonlinearity : {"tanh", "relu", "sigmoid"}
    dtype : {"float32", "float64"}
    seed : int, optional
        Weights and biases are drawn uniformly from ±1/√H, with numpy's PCG64.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> y, h = rc.RNN(3, 4, seed=0)(np.ones((5, 2, 3)))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    mode = "RNN"
    _fixed = frozenset({"nonlinearity"})
    nonlinearity: Literal["tanh", "relu", "sigmoid"]

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *,
                 nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh", dtype: DTypeLike = "float32",
                 seed: Seed = None) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         dtype=dtype, seed=seed, nonlinearity=nonlinearity)


class GRU(RecurrentLayer[Array]):
    """Gated recurrent unit (Cho et al. 2014): h_t = (1 − z)·n + z·h_{t-1}, where z is the update gate.

    Parameters
    ----------
    reset_after : bool
        Whether the reset gate r is applied after the product with the recurrent weights or before it. True: the
        candidate is n = tanh(W x + b + r·(U h + b')), as in torch, cuDNN and Keras. False: n = tanh(W x + b + U (r·h) +
        b'), as in the paper.
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
    reset_after: bool

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *,
                 reset_after: bool = True, dtype: DTypeLike = "float32", seed: Seed = None) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         dtype=dtype, seed=seed, reset_after=reset_after)


class LSTM(RecurrentLayer[tuple[Array, Array]]):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    c_t = f·c_{t-1} + i·g and h_t = o·tanh(c_t). The rows of the weights are in the order i f g o: input gate, forget
    gate, cell candidate, output gate.

    Parameters
    ----------
    proj_size : int
        If not 0, the width P of h, smaller than H: h_t = W_hr (o·tanh(c_t)), with weights ``weight_hr_l{k}`` of (P, H),
        as in torch (Sak, Senior & Beaufays 2014). The output and h are P wide, c stays H wide, ``weight_hh`` is (4·H,
        P), and layers above the lowest read directions·P values.
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, seed
        As in `RNN`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> lstm = rc.LSTM(3, 4, seed=0)
    >>> y, (h, c) = lstm(np.ones((5, 2, 3)))
    >>> y.shape, h.shape, c.shape
    ((5, 2, 4), (1, 2, 4), (1, 2, 4))
    >>> y, (h, c) = rc.LSTM(3, 4, proj_size=2, seed=0)(np.ones((5, 2, 3)))
    >>> y.shape, h.shape, c.shape
    ((5, 2, 2), (1, 2, 2), (1, 2, 4))
    """

    mode = "LSTM"
    own_options: ClassVar[dict[str, Any]] = {"proj_size": 0}
    _fixed = frozenset({"proj_size"})
    proj_size: int

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *,
                 proj_size: int = 0, dtype: DTypeLike = "float32", seed: Seed = None) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         dtype=dtype, seed=seed, proj_size=proj_size)

    def _check_option(self, name: str, value: Any) -> int:
        size = as_size(value, name, least=0)
        if size >= self.hidden_size:
            raise ValueError(f"{name}: got {size}, expected less than hidden_size = {self.hidden_size}, or 0 for no "
                             "projection")
        return size


def layer_class(mode: str) -> type[RecurrentLayer]:
    """The class of layers of a mode: one of this module, or one that is created from the mode's description.

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
        globals().setdefault(mode, _made(mode))         # another thread may have created it meanwhile
    return cast("type[RecurrentLayer]", globals()[mode])


def __getattr__(name: str) -> Any:          # pickle looks here for a class that was created from a description
    if name in descriptions.modes():
        return layer_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _made(mode: str) -> type[RecurrentLayer]:
    """Create the class of layers of a mode that has a description, but no class of its own in this file."""
    described, choices = descriptions.first(mode), descriptions.choices(mode)
    shared = list(inspect.signature(RecurrentLayer).parameters.values())[:-1]      # without **options
    own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=described.options[name]) for name in choices]
    told = "".join(f"{name} : one of {values}\n    " for name, values in choices.items())

    def __init__(self: RecurrentLayer, *arguments: Any, **options: Any) -> None:
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
