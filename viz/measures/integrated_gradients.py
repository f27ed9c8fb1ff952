"""Integrated gradients: how much the input of each step contributed to a readout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from rnncore._checks import as_size
from rnncore._typing import Array, ArrayLike, Floats
from rnncore.recurrent.layout import past_end

from .._door import as_layer
from .._layers import as_given, batch_of, record, repeat_state, rows_of, time_major

if TYPE_CHECKING:
    from rnncore._typing import State, StateLike
    from rnncore.recurrent.base import RecurrentLayer

__all__ = ["Attribution", "integrated_gradients"]

ROWS = 256  # the number of rows in one recorded pass (copies of the batch)

Readout: TypeAlias = Callable[[Array], tuple[ArrayLike, ArrayLike]]
"""A function output (T, B, D·H) -> (F (B,), ∂F/∂output)."""


class Attribution(NamedTuple):
    """The contributions of all inputs to a readout F, relative to a baseline x′.

    Attributes
    ----------
    value : ndarray (T, B, I)
        In the unit of F. For each row the sum over steps and features is F(x) − F(x′), minus `residual`.
    residual : ndarray (B,)
        The error of the quadrature.
    """

    value: Floats
    residual: Floats

    @property
    def per_step(self) -> Floats:
        """(T, B): the sum over the features of the input."""
        total: Floats = self.value.sum(-1)
        return total


def integrated_gradients(
    layer: RecurrentLayer,
    x: ArrayLike,
    readout: Array | Readout,
    baseline: ArrayLike | None = None,
    points: int = 32,
    *,
    state: StateLike = None,
    lengths: ArrayLike | None = None,
) -> Attribution:
    """(x_t − x′_t)·∫₀¹ ∂F/∂x_t(x′ + α(x − x′)) dα for every input.

    Sundararajan, Taly & Yan (2017). The sum over all inputs of a row is F(x) − F(x′) (completeness). The
    integral is computed by quadrature; its error in that sum is returned as the residual, and should be
    reported together with the values.

    Parameters
    ----------
    layer : RNN, GRU or LSTM
    x : ndarray
        Input in the layer's layout.
    readout : ndarray, or callable
        F, one number for each row. An array v in the layout of the output stands for the linear readout
        F = Σ v·y. A function takes y (T, B, D·H), time-major, and returns F (B,) and ∂F/∂y (T, B, D·H).
    baseline : ndarray, optional
        x′, an array in the layout of x, or one that broadcasts to (T, B, I); zeros by default.
    points : int
        Number of points of the Gauss–Legendre rule. For a smooth F the residual falls exponentially
        with it.
    state, lengths : optional
        As for the layer.

    Returns
    -------
    Attribution
        ``.value`` (T, B, I), ``.residual`` (B,), ``.per_step`` (T, B), float64.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> x = np.linspace(-1, 1, 10).reshape(5, 1, 2)
    >>> v = np.zeros((5, 1, 3)); v[-1] = 1  # F: the last output, summed
    >>> parts = viz.integrated_gradients(rc.GRU(2, 3, seed=0, dtype="float64"), x, v)
    >>> parts.per_step.shape, bool(abs(parts.residual[0]) < 1e-9)
    ((5, 1), True)
    """
    layer = as_layer(layer)
    points = as_size(points, "points")
    x, state = rows_of(layer, x, state)
    x = x.astype(np.float64)
    T, B, _ = x.shape
    base = np.zeros_like(x)
    if baseline is not None:
        baseline = np.asarray(baseline, np.float64)
        if baseline.ndim == 3 or baseline.shape == (T, layer.input_size):
            baseline = batch_of(layer, baseline)
        base = np.broadcast_to(baseline, x.shape)
    read = readout if callable(readout) else _linear(layer, readout, T, B)
    nodes, weights = np.polynomial.legendre.leggauss(points)
    nodes, weights = (nodes + 1) / 2, weights / 2

    mean = np.zeros_like(x)
    at_a_time = max(1, ROWS // max(B, 1))
    for first in range(0, points, at_a_time):
        alpha = nodes[first : first + at_a_time]
        K = len(alpha)
        path = base[:, None] + alpha[:, None, None] * (x - base)[:, None]  # (T, K, B, I)
        _, grad = _differentiate(layer, path, read, state, lengths)
        mean += np.einsum("k,tkbi->tbi", weights[first : first + K], grad)
    ends, _ = _differentiate(layer, np.stack([base, x], axis=1), read, state, lengths)
    value = (x - base) * mean
    if lengths is not None:
        value[past_end(np.asarray(lengths), T)] = 0
    return Attribution(value, ends[1] - ends[0] - value.sum((0, 2)))


def _linear(layer: RecurrentLayer, v: ArrayLike, T: int, B: int) -> Readout:
    """F = Σ v·y for v laid out like the output."""
    v = batch_of(layer, np.asarray(v, np.float64))
    width = layer.structure.features
    if v.shape != (T, B, width):
        raise ValueError(
            f"readout: got shape {v.shape}, expected {(T, B, width)} (time, batch, output), the "
            "weight of every output in F"
        )
    return lambda y: ((v * y).sum((0, 2)), v)


def _differentiate(
    layer: RecurrentLayer, x: Floats, readout: Readout, state: State | None, lengths: ArrayLike | None
) -> tuple[Floats, Array]:
    """F (K, B) and ∂F/∂x (T, K, B, I) for K copies of a batch, x (T, K, B, I)."""
    T, K, B, features = x.shape
    state = repeat_state(state, K)
    lengths = None if lengths is None else np.tile(np.asarray(lengths), K)
    tape = record(layer, x.reshape(T, K * B, features), state, lengths)
    y = time_major(tape, tape.output).reshape(T, K, B, -1)
    value, cotangent = np.empty((K, B)), np.empty_like(y)
    for k in range(K):
        answer = readout(y[:, k])
        if not isinstance(answer, tuple) or np.shape(answer[1]) != y[:, k].shape:
            raise ValueError(
                f"readout: expected a function output -> (F, ∂F/∂y), shapes ({B},) and "
                f"{y[:, k].shape}, got {type(answer).__name__}"
            )
        value[k], cotangent[:, k] = answer
    grads = tape.backward(as_given(tape, cotangent.reshape(T, K * B, -1)), parameters=False)
    return value, time_major(tape, grads.input).reshape(x.shape)
