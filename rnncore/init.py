"""Starts for recurrent weights that decide how long a network can remember.

Each function changes every recurrent layer it finds in a module, in place, through the module's
one door for writing (`module.writable()`), and returns the module:

    lstm = rc.init.chrono(rc.LSTM(8, 64, seed=0), 200)

Layers are recognised by the names and shapes of their weights (`weight_hh_l0` of shape
`(gates·H, H)`: one block for an RNN, three for a GRU (r z n), four for an LSTM (i f g o)), so that
layers, cells and models made of them are all served.
"""

import math
import re

import numpy as np

__all__ = ["chrono", "forget_bias", "identity", "orthogonal"]

_GATES = {1: ("h",), 3: ("r", "z", "n"), 4: ("i", "f", "g", "o")}
_KEEP = {3: "z", 4: "f"}  # the gate that multiplies the old state: h = (1-z)·n + z·h, c = f·c + i·g
_CANDIDATE = {1: "h", 3: "n", 4: "g"}
_RECURRENT = re.compile(r"(?P<prefix>.*\.)?weight_hh(?P<suffix>_l\d+(_reverse)?)?$")


def orthogonal(module, gain=1.0, *, seed=None):
    """Make each gate's recurrent block a random orthogonal matrix times `gain`.

    An orthogonal W keeps the norm of what it multiplies, so a linear network with it neither
    vanishes nor explodes (Saxe et al. 2014). The factor Q of a Gaussian matrix, with the signs of
    R's diagonal, is uniform over the orthogonal matrices (Mezzadri 2007).

    Parameters
    ----------
    module : Module
        A recurrent layer, a cell, or a model that holds some.
    gain : float, default 1.0
        All singular values of each block.
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
    gain = _number("gain", gain)
    rng = np.random.default_rng(seed)
    with module.writable() as parameters:
        for key, _, gates in _recurrent(module, parameters):
            weight = parameters[key]
            size = weight.shape[1]
            for block in range(len(gates)):
                q, r = np.linalg.qr(rng.standard_normal((size, size)))
                signs = np.where(np.diag(r) < 0, -1.0, 1.0)
                weight[block * size : (block + 1) * size] = gain * q * signs
    return module


def identity(module, scale=1.0):
    """Make the candidate's recurrent block `scale` times the identity, and its biases 0.

    The candidate is h for an RNN, n for a GRU, g for an LSTM; the other gates keep their weights.
    With `scale=1` a ReLU RNN copies its state from step to step as long as it stays positive, and
    the gradient with it (Le, Jaitly & Hinton 2015, the "IRNN").

    Parameters
    ----------
    module : Module
        A recurrent layer, a cell, or a model that holds some.
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
    scale = _number("scale", scale)
    with module.writable() as parameters:
        for key, biases, gates in _recurrent(module, parameters):
            weight = parameters[key]
            rows = _rows(gates, _CANDIDATE[len(gates)], weight)
            weight[rows] = scale * np.eye(weight.shape[1])
            for bias in biases:
                parameters[bias][rows] = 0.0
    return module


def forget_bias(module, value=1.0):
    """Set the bias of the gate that keeps the old state: f of an LSTM, z of a GRU.

    With all else 0 the gate is σ(value), and the memory lasts −1/ln σ(value) steps: 3.2 at 1, 7.9
    at 2. `value = ln(T − 1)` gives (T − 1)/T, a memory of T steps. The value is put into `bias_ih`
    and 0 into `bias_hh`: torch adds both, so setting each to 1 would make a forget bias of 2.

    Parameters
    ----------
    module : Module
        An LSTM or a GRU, one of their cells, or a model that holds some.
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
    return _set_keep_bias(module, lambda size: (value, None), "forget_bias")


def chrono(module, steps, *, seed=None):
    """Spread the memory of the units over 1 … `steps` steps (Tallec & Ollivier 2018).

    The bias of the gate that keeps the old state (f of an LSTM, z of a GRU) is ln u with u drawn
    uniformly from [1, steps − 1]: a gate of u/(u + 1), which holds for u + 1 steps. An LSTM's input
    gate gets −ln u, so that what comes in balances what goes.

    Parameters
    ----------
    module : Module
        An LSTM or a GRU, one of their cells, or a model that holds some.
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
    steps = _number("steps", steps)
    if steps <= 2:
        raise ValueError(
            f"steps: got {steps:g}, expected the longest dependency, more than 2 steps"
        )
    rng = np.random.default_rng(seed)

    def draw(size):
        bias = np.log(rng.uniform(1.0, steps - 1.0, size))
        return bias, -bias

    return _set_keep_bias(module, draw, "chrono")


def _set_keep_bias(module, draw, caller):
    """Write draw(H) = (keep bias, LSTM input bias or None) into every gated layer of `module`."""
    with module.writable() as parameters:
        layers = _recurrent(module, parameters)
        if not any(len(gates) in _KEEP for _, _, gates in layers):
            raise ValueError(
                f"{caller}: got {type(module).__name__} without a gate that keeps a state, "
                "expected an LSTM or a GRU (for an RNN see rnncore.init.identity and orthogonal)"
            )
        for key, biases, gates in layers:
            if len(gates) not in _KEEP:
                continue
            if not biases:
                raise ValueError(
                    f"{caller}: got the layer of {key!r} made with bias=False, expected bias=True"
                )
            weight = parameters[key]
            keep, enter = draw(weight.shape[1])
            _write(parameters, biases, _rows(gates, _KEEP[len(gates)], weight), keep)
            if enter is not None and "i" in gates:
                _write(parameters, biases, _rows(gates, "i", weight), enter)
    return module


def _write(parameters, biases, rows, value):
    """The first bias gets the value, the other 0: their sum is what the gate sees."""
    for bias, part in zip(biases, (value, 0.0), strict=True):
        parameters[bias][rows] = part


def _recurrent(module, parameters):
    """[(key of weight_hh, keys of its biases, gates)] of every recurrent layer in `module`."""
    found = []
    for key, weight in parameters.items():
        match = _RECURRENT.match(key)
        if not match or weight.ndim != 2 or weight.shape[0] % weight.shape[1]:
            continue
        gates = _GATES.get(weight.shape[0] // weight.shape[1])
        if gates:
            prefix, suffix = match["prefix"] or "", match["suffix"] or ""
            biases = [f"{prefix}{name}{suffix}" for name in ("bias_ih", "bias_hh")]
            found.append((key, [b for b in biases if b in parameters], gates))
    if not found:
        raise ValueError(
            f"module: got {type(module).__name__} without recurrent weights (it has "
            f"{', '.join(parameters) or 'no weights'}), expected an RNN, a GRU, an LSTM, a cell, "
            "or a model that holds one"
        )
    return found


def _rows(gates, gate, weight):
    size = weight.shape[1]
    start = gates.index(gate) * size
    return slice(start, start + size)


def _number(name, value):
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name}: got {value!r}, expected a finite number")
    return number
