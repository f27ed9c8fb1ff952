"""Memory capacity: how much of the past input a linear readout can reconstruct from the state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_number, as_seed, as_size

from .._blas import on_one_blas_thread
from .._door import as_layer
from .._layers import record
from .._tapes import carry_by_step

if TYPE_CHECKING:
    from rnncore._typing import Floats
    from rnncore.recurrent.base import RecurrentLayer

__all__ = ["memory_capacity", "memory_curve"]


@on_one_blas_thread
def memory_curve(
    layer: RecurrentLayer,
    lags: int | None = None,
    *,
    steps: int = 4000,
    washout: int = 200,
    low: float = -1.0,
    high: float = 1.0,
    ridge: float = 1e-10,
    seed: int = 0,
) -> Floats:
    """How well a linear readout of the state predicts the input k steps ago, for every lag k: r² on held-out data.

    Jaeger (2001): the layer is driven by independent u_t, uniform between `low` and `high` (every
    input feature gets the same u_t). A ridge regression from the state to u_{t−k} is fitted on one
    half of the steps, and its squared correlation with the truth is taken on the other half.

    Parameters
    ----------
    layer : RNN, GRU or LSTM
        The state is the carry of the whole stack, [h; c] for an LSTM.
    lags : int, optional
        The number of lags, 0 … lags − 1; by default twice the size of the state. Lag 0 is included, because
        a delay line of N units contains u_t … u_{t−N+1}.
    steps : int
        The number of steps in each half. For a lag that is not remembered, r² is about 1/steps and not 0.
    washout : int
        The number of steps that are run before these; if it is smaller than `lags`, it is `lags`.
    low, high : float
        Range of u_t.
    ridge : float
        Strength of the regularisation, relative to the mean variance of a state.
    seed : int
        Seed of u_t.

    Returns
    -------
    ndarray (lags,), float64

    Examples
    --------
    A delay line of 4 units: with ReLU and positive input, u_t moves from unit to unit.

    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> line = rc.RNN(1, 4, nonlinearity="relu", bias=False, dtype="float64")
    >>> line.load_state_dict({"weight_ih_l0": np.eye(4)[:, :1], "weight_hh_l0": np.eye(4, k=-1)})
    >>> viz.memory_curve(line, 6, steps=500, low=0.0).round(1).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    layer = as_layer(layer)
    if layer.bidirectional:
        raise ValueError(
            "layer: got a bidirectional one, expected one direction: with both, the state contains "
            "future inputs"
        )
    width = layer.structure.carry_size
    lags = 2 * width if lags is None else as_size(lags, "lags")
    washout = max(as_size(washout, "washout", least=0), lags)
    steps = as_size(steps, "steps")
    if steps <= width:
        raise ValueError(
            f"steps: got {steps}, expected more than the {width} numbers of the state"
        )
    low, high = as_number(low, "low"), as_number(high, "high")
    ridge, rng = as_number(ridge, "ridge", least=0), np.random.default_rng(as_seed(seed))
    if not 0 < high - low < math.inf:
        raise ValueError(f"low, high: got {low} and {high}, expected two numbers, the first below the second")
    u = rng.uniform(low, high, washout + 2 * steps)
    x = np.repeat(u[:, None, None], layer.input_size, axis=2)
    states = carry_by_step(record(layer, x))[washout:, 0].astype(np.float64)
    wanted = np.stack([u[washout - k : len(u) - k] for k in range(lags)], axis=1)

    train, held = slice(0, steps), slice(steps, None)
    mean, wanted_mean = states[train].mean(0), wanted[train].mean(0)
    A = states[train] - mean
    gram = A.T @ A
    if not gram.any():  # a state that never changes holds nothing
        return np.zeros(lags)
    gram.flat[:: width + 1] += ridge * max(float(np.trace(gram)) / width, float(np.finfo(float).tiny))
    readout = np.linalg.solve(gram, A.T @ (wanted[train] - wanted_mean))
    return _squared_correlation((states[held] - mean) @ readout, wanted[held])


def memory_capacity(layer: RecurrentLayer, lags: int | None = None, **options: Any) -> float:
    """The sum of `memory_curve` over all lags: N for a delay line of N units.

    The arguments are those of `memory_curve`. What the state holds is at most its size (Jaeger 2001), but each lag that
    is not remembered adds about 1/steps by chance, so the sum of a state that is full is a little larger.
    The title of `plot_memory_capacity`, given `steps`, leaves this part out and has the standard error.

    Examples
    --------
    >>> import rnncore as rc
    >>> from rnncore import viz
    >>> 1 < viz.memory_capacity(rc.RNN(1, 8, seed=0), steps=500) < 8
    True
    """
    return float(memory_curve(layer, lags, **options).sum())


def _squared_correlation(a: Floats, b: Floats) -> Floats:
    """r² of the columns of two arrays; 0 where a column is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    both: Floats = np.square(a).sum(0) * np.square(b).sum(0)
    shared: Floats = (a * b).sum(0)
    return np.square(shared) / np.where(both > 0, both, 1.0)
