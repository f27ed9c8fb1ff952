"""Initialisers for recurrent weights, which decide how long a network can remember.

Each function changes every recurrent layer that it finds in a module, in place, and returns the module:

    lstm = rc.init.chrono(rc.LSTM(8, 64, seed=0), 200)

The module may be a layer, a cell, or a model that contains them. The weights are changed through `module.writable()`,
and the description of a layer's cell tells which block of them belongs to which gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rnncore._checks import as_number
from rnncore.recurrent.base import RecurrentLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rnncore._typing import ArrayLike, Floats, RandomSource
    from rnncore.module import Module
    from rnncore.recurrent.descriptions import Description

    AnyModule = TypeVar("AnyModule", bound=Module)

__all__ = ["chrono", "forget_bias", "identity", "orthogonal"]


def __dir__() -> list[str]:
    return sorted(__all__)


@dataclass(frozen=True)
class _Part:
    """One layer and direction, with the names that its weights and biases have in a `writable` block of the module."""

    cell: Description
    hidden_size: int
    output_size: int
    weight_hh: str
    biases: list[str]


def orthogonal(module: AnyModule, gain: float = 1.0, *, seed: RandomSource = None) -> AnyModule:
    """Set the recurrent weights of each gate to a random orthogonal matrix times `gain`.

    An orthogonal matrix preserves the norm of what it multiplies, so that gradients in a linear network neither vanish
    nor explode (Saxe et al. 2014). The factor Q of the QR decomposition of a Gaussian matrix, with the signs
    of R's diagonal, is uniformly distributed over the orthogonal matrices (Mezzadri 2007). Where an LSTM has
    projections, these weights have fewer columns than rows, and the columns are orthonormal.

    Parameters
    ----------
    module : Module
        A recurrent layer, a cell, or a model that contains some.
    gain : float, default 1.0
        The singular values of each gate's recurrent weights.
    seed : int or numpy.random.Generator, optional

    Returns
    -------
    Module
        The same module.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> rnn = rc.init.orthogonal(rc.RNN(3, 8, dtype="float64"), gain=0.9, seed=0)
    >>> W = rnn.parameters["weight_hh_l0"]
    >>> bool(np.allclose(W @ W.T, 0.81 * np.eye(8)))
    True
    """
    gain = as_number(gain, "gain")
    rng = np.random.default_rng(seed)
    with module.writable() as parameters:
        for part in _recurrent(module):
            size = part.hidden_size
            for gate in part.cell.blocks_ih:
                q, r = np.linalg.qr(rng.standard_normal((size, part.output_size)))
                signs = np.where(np.diag(r) < 0, -1.0, 1.0)
                parameters[part.weight_hh][part.cell.rows(gate, size)] = gain * q * signs
    return module


def identity(module: AnyModule, scale: float = 1.0) -> AnyModule:
    """Set the candidate's recurrent weights to `scale` times the identity matrix, and its biases to 0.

    The candidate is h of an RNN, n of a GRU, g of an LSTM; the other gates keep their weights. With `scale=1` a ReLU
    RNN copies its state, and the gradient, from step to step as long as the state is positive (Le, Jaitly &
    Hinton 2015, the "IRNN").

    Parameters
    ----------
    module : Module
        A recurrent layer, a cell, or a model that contains some.
    scale : float, default 1.0

    Returns
    -------
    Module
        The same module.

    Examples
    --------
    >>> import rnncore as rc
    >>> rnn = rc.init.identity(rc.RNN(3, 4, nonlinearity="relu"), 0.9)
    >>> rnn.parameters["weight_hh_l0"].diagonal().tolist() == [rnn.dtype.type(0.9)] * 4
    True
    """
    scale = as_number(scale, "scale")
    with module.writable() as parameters:
        for part in _recurrent(module):
            if part.output_size != part.hidden_size:
                raise ValueError(f"identity: got the layer of {part.weight_hh!r} with projections, which make its "
                                 "recurrent weights not square, expected proj_size=0")
            rows = part.cell.rows(part.cell.candidate, part.hidden_size)
            parameters[part.weight_hh][rows] = scale * np.eye(part.hidden_size)
            for bias in part.biases:
                parameters[bias][rows] = 0.0
    return module


def forget_bias(module: AnyModule, value: ArrayLike = 1.0) -> AnyModule:
    """Set the bias of the gate that keeps the old state: the forget gate of an LSTM, the update gate of a GRU.

    If the rest of the gate's input is 0, the gate is σ(value), and the memory lasts −1/ln σ(value) steps: 3.2 at 1,
    7.9 at 2. `value = ln(T − 1)` gives a gate of (T − 1)/T, a memory of T steps. The value is written to `bias_ih` and
    0 to `bias_hh`: the cell adds the two, so setting each to 1 would make a forget bias of 2.

    Parameters
    ----------
    module : Module
        An LSTM or a GRU, one of their cells, or a model that contains some.
    value : float or array (H,), default 1.0

    Returns
    -------
    Module
        The same module.

    Examples
    --------
    >>> import math, rnncore as rc
    >>> lstm = rc.init.forget_bias(rc.LSTM(3, 4), math.log(100 - 1))
    >>> lstm.parameters["bias_ih_l0"][4:8].round(2).tolist() == [lstm.dtype.type(4.6)] * 4
    True
    """
    return _set_keep_bias(module, lambda size: value, "forget_bias")


def chrono(module: AnyModule, steps: float, *, seed: RandomSource = None) -> AnyModule:
    """Spread the memory of the units over 1 … `steps` steps (Tallec & Ollivier 2018).

    The bias of the gate that keeps the old state (f of an LSTM, z of a GRU) is set to ln u, with u drawn uniformly
    from [1, steps − 1]. The gate is then u/(u + 1), a memory of u + 1 steps. The bias of an LSTM's input gate is
    set to −ln u, so that what is added balances what is forgotten.

    Parameters
    ----------
    module : Module
        An LSTM or a GRU, one of their cells, or a model that contains some.
    steps : float
        The longest dependency expected, more than 2.
    seed : int or numpy.random.Generator, optional

    Returns
    -------
    Module
        The same module.

    Examples
    --------
    >>> import rnncore as rc
    >>> lstm = rc.init.chrono(rc.LSTM(3, 64), 100, seed=0)
    >>> b = lstm.parameters["bias_ih_l0"][64:128]
    >>> bool(b.min() >= 0), bool(b.max() <= 4.6)
    (True, True)
    """
    steps = as_number(steps, "steps")
    if steps <= 2:
        raise ValueError(
            f"steps: got {steps:g}, expected the longest dependency, more than 2 steps"
        )
    rng = np.random.default_rng(seed)

    def draw(size: int) -> Floats:
        return np.log(rng.uniform(1.0, steps - 1.0, size))

    return _set_keep_bias(module, draw, "chrono", balanced=True)


def _set_keep_bias(
    module: AnyModule, draw: Callable[[int], ArrayLike], caller: str, balanced: bool = False
) -> AnyModule:
    """Set the bias of the gate that keeps the old state to draw(H), in all layers that have gates for this.

    The gate that admits new values is given the negative of it if `balanced`, and also in a cell that has no gate that
    keeps.
    """
    with module.writable() as parameters:
        parts = list(_recurrent(module))
        if not any(part.cell.gated for part in parts):
            raise ValueError(
                f"{caller}: got {type(module).__name__} without a gate that keeps a state, "
                "expected an LSTM or a GRU (for an RNN see rnncore.init.identity and orthogonal)"
            )
        for part in parts:
            keeps, enters = part.cell.keeps, part.cell.enters
            if not part.cell.gated:
                continue
            if not part.biases:
                raise ValueError(
                    f"{caller}: got the layer of {part.weight_hh!r} made with bias=False, expected bias=True"
                )
            value = draw(part.hidden_size)
            values: dict[str, Any] = {} if keeps is None else {keeps: value}
            if enters is not None and (balanced or keeps is None):
                values[enters] = np.negative(value)
            for gate, bias in values.items():
                rows = part.cell.rows(gate, part.hidden_size)
                # the gate's input contains the sum of both biases: the value goes into the first, and 0 into the second
                for name, share in zip(part.biases, (bias, 0.0), strict=True):
                    parameters[name][rows] = share
    return module


def _recurrent(module: Module) -> Iterator[_Part]:
    """Every layer and direction in `module`."""
    found = False
    for owner, names in module.owned():
        if not isinstance(owner, RecurrentLayer):
            continue
        outer = {own: name for name, own in names.items()}
        for own in owner.structure.shapes_by_part:
            found = True
            _, weight_hh, *others = own
            biases = [outer[name] for name in others if name.startswith("bias")]
            yield _Part(owner.cell, owner.hidden_size, owner.structure.output_size, outer[weight_hh], biases)
    if not found:
        raise ValueError(
            f"module: got {type(module).__name__} without recurrent weights (it has "
            f"{', '.join(module.parameters) or 'no weights'}), expected an RNN, a GRU, an LSTM, a cell, "
            "or a model that contains one"
        )
