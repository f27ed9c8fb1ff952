"""RNN, GRU and LSTM, and a class of layers for every other mode that has a description."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from rnncore._checks import as_size
from rnncore._typing import Array

from . import descriptions
from .base import RecurrentLayer
from .variants import DEFAULTS

if TYPE_CHECKING:
    from rnncore._typing import DTypeLike, Seed

    from .variants import ActivationsLike


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
    gate_clip : float, optional
        A bound: the sums that go into activations are limited to ±gate_clip (ONNX's ``clip``).
    activations : sequence, optional
        Activations in place of the cell's own, one of ONNX's for each of its functions: φ, which replaces
        `nonlinearity`. Each is a name or, for an activation with parameters, (name, alpha) or (name, alpha, beta).
        The names, in any case: sigmoid, tanh, relu, affine, leakyrelu, thresholdedrelu, scaledtanh, hardsigmoid, elu,
        softsign, softplus. A bidirectional layer takes one sequence for both directions, or twice as many
        activations, first those of the forward direction.
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
                 nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh", gate_clip: float | None = None,
                 activations: ActivationsLike | None = None, dtype: DTypeLike = "float32", seed: Seed = None) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         dtype=dtype, seed=seed, nonlinearity=nonlinearity, gate_clip=gate_clip,
                         activations=activations)


class GRU(RecurrentLayer[Array]):
    """Gated recurrent unit (Cho et al. 2014): h_t = (1 − z)·n + z·h_{t-1}, where z is the update gate.

    Parameters
    ----------
    reset_after : bool
        Whether the reset gate r is applied after the product with the recurrent weights or before it. True: the
        candidate is n = tanh(W x + b + r·(U h + b')), as in torch, cuDNN and Keras. False: n = tanh(W x + b + U (r·h) +
        b'), as in the paper.
    activations : sequence, optional
        As in `RNN`: f, g in place of the sigmoid of r and z, and of the tanh of n.
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, gate_clip, dtype, seed
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
                 reset_after: bool = True, gate_clip: float | None = None,
                 activations: ActivationsLike | None = None, dtype: DTypeLike = "float32", seed: Seed = None) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         dtype=dtype, seed=seed, reset_after=reset_after, gate_clip=gate_clip, activations=activations)


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
    peepholes : bool
        Whether the gates see the cell state through weights of their own, ``weight_peephole_l{k}`` of (3·H,) for i, f
        and o: i and f see c_{t-1}, and o sees c_t (Gers & Schmidhuber 2000).
    coupled : bool
        Whether f = 1 − i (ONNX's ``input_forget``). The rows of f in the weights stay, and do nothing.
    cell_clip : float, optional
        A bound: c_t is limited to ±cell_clip.
    activations : sequence, optional
        As in `RNN`: f, g, h in place of the sigmoid of i, f and o, of the tanh of g, and of the tanh of c_t.
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, gate_clip, dtype, seed
        As in `RNN`. `gate_clip` limits what goes into the gates, and not c_t on its way into h_t, as in ONNX Runtime.

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
    peepholes: bool
    coupled: bool
    cell_clip: float | None

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *,
                 proj_size: int = 0, peepholes: bool = False, coupled: bool = False, cell_clip: float | None = None,
                 gate_clip: float | None = None, activations: ActivationsLike | None = None,
                 dtype: DTypeLike = "float32", seed: Seed = None) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         dtype=dtype, seed=seed, proj_size=proj_size, peepholes=peepholes, coupled=coupled,
                         cell_clip=cell_clip, gate_clip=gate_clip, activations=activations)

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
    own += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS[name])
            for name in described.variants]
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
