"""Mean field theory: whether gradients vanish, explode or keep their size in a wide network of random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .._blas import on_one_blas_thread
from .._door import as_whole_tape
from .._tapes import is_reverse, layer_input, layers, previous, refuse_projected, valid_steps, weight_name

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools, Floats
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

__all__ = ["MeanField", "mean_field", "mean_field_theory"]


class MeanField(NamedTuple):
    """The quantities of mean field theory for one layer and direction.

    Attributes
    ----------
    chi : float or ndarray
        The factor by which the squared norm of the gradient grows in one step.
    xi : float or ndarray
        −1/ln chi: the number of steps in which the squared norm falls by a factor e; negative if it grows.
    sigma_w, sigma_b : float or ndarray
        Root mean squares of √H·W, and of what is added to W·h (the biases and the product with the input).
    q : float or ndarray
        Mean square of the pre-activations. It, sigma_w and sigma_b are NaN for gated cells, where every gate
        has its own.
    """

    chi: Floats | np.float64
    xi: Floats | np.float64
    sigma_w: Floats | np.float64
    sigma_b: Floats | np.float64
    q: Floats | np.float64


@on_one_blas_thread
def mean_field(tape: Tape | HasTape) -> dict[str, MeanField]:
    """χ = σ_w²·E[φ′²] of every layer, with the expectations replaced by means over the tape.

    Chen, Pennington & Schoenholz (2018): χ is the mean squared singular value of the Jacobian of one step.
    If it is below 1, gradients vanish; if it is above 1, they explode; χ = 1 is the boundary. As random
    networks become wide, their largest Lyapunov exponent tends to ½·ln χ.

    Parameters
    ----------
    tape : Tape

    Returns
    -------
    dict of str to MeanField
        By layer: "l0", "l1", …, "l0.reverse". For an LSTM χ is that of ∂c_t/∂c_{t-1}, including the path
        through h_{t-1}: χ = E[f²] + Σ_gates σ_gate²·E[(∂c_t/∂a_gate)²]·E[(∂h/∂c)²], with a_gate the
        pre-activation of a gate, and the weights of different gates assumed independent. For a GRU it is
        that of ∂h_t/∂h_{t-1}: χ = E[z²] + Σ_gates σ_gate²·E[(∂h_t/∂a_gate)²].

    Examples
    --------
    Positive ReLU states have φ′ = 1, so χ = σ_w², which is 1 for the identity matrix:

    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> rnn = rc.RNN(1, 2, nonlinearity="relu", bias=False)
    >>> rnn.load_state_dict({"weight_ih_l0": np.ones((2, 1)), "weight_hh_l0": np.eye(2)})
    >>> float(viz.mean_field(rnn.record(np.ones((5, 1, 1))))["l0"].chi)
    1.0
    """
    tape = as_whole_tape(tape)
    refuse_projected(tape, "there is no formula of χ for it (viz.jacobian_norms and viz.lyapunov_spectrum measure any)")
    if tape.cell.gates and tape.cell.growth is None:
        raise ValueError(
            f"tape: got one of an {tape.cell.label}, for which there is no formula of χ, expected another cell "
            "(viz.jacobian_norms and viz.lyapunov_spectrum measure any)"
        )
    measure = _gated if tape.cell.gates else _ungated
    valid = valid_steps(tape)
    if not valid.any():
        nan = np.float64(np.nan)
        return dict.fromkeys(layers(tape), MeanField(nan, nan, nan, nan, nan))
    return {name: measure(tape, name, valid) for name in layers(tape)}


def mean_field_theory(
    sigma_w: ArrayLike,
    sigma_b: ArrayLike = 0.0,
    nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh",
) -> MeanField:
    """The fixed point q = σ_w²·E[φ(√q·z)²] + σ_b² of wide random RNNs, with z ~ N(0, 1), and χ and ξ there.

    Parameters
    ----------
    sigma_w, sigma_b : array_like
        W has variance σ_w²/H, and what is added to W·h has variance σ_b². The two are broadcast together.
    nonlinearity : {"tanh", "relu", "sigmoid"}

    Returns
    -------
    MeanField
        q is inf for a ReLU with σ_w² ≥ 2.

    Examples
    --------
    Without bias, χ of a tanh network is 1 at σ_w = 1:

    >>> from rnncore import viz
    >>> viz.mean_field_theory([0.5, 1.0], 0.0).chi.round(2).tolist()
    [0.25, 1.0]
    """
    if nonlinearity not in ("tanh", "relu", "sigmoid"):
        raise ValueError(
            f"nonlinearity: got {nonlinearity!r}, expected 'tanh', 'relu' or 'sigmoid'"
        )
    w, b = np.broadcast_arrays(np.asarray(sigma_w, float), np.asarray(sigma_b, float))
    if nonlinearity == "relu":
        chi = w**2 / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            q = np.where(chi < 1, b**2 / (1 - chi), np.inf)
        return MeanField(chi, _xi(chi), w, b, q)
    z, p = np.polynomial.hermite_e.hermegauss(80)
    p = p / p.sum()
    phi = np.tanh if nonlinearity == "tanh" else _sigmoid
    low, high = b**2, w**2 + b**2  # since φ² ≤ 1; the right-hand side is concave in q, so it equals q once
    for _ in range(60):
        q = (low + high) / 2
        above = w**2 * (phi(np.sqrt(q)[..., None] * z) ** 2 @ p) + b**2 > q
        low, high = np.where(above, q, low), np.where(above, high, q)
    y = phi(np.sqrt(q)[..., None] * z)
    slope = 1 - y**2 if nonlinearity == "tanh" else y * (1 - y)
    chi = w**2 * (slope**2 @ p)
    return MeanField(chi, _xi(chi), w, b, q)


def _xi(chi: Any) -> Any:
    """−1/ln χ of a number or an array."""
    with np.errstate(divide="ignore"):
        return -1 / np.log(chi)


def _sigmoid(a: Floats) -> Floats:
    return 0.5 + 0.5 * np.tanh(a / 2)


def _weight(tape: Tape, kind: str, name: str) -> Floats:
    """A parameter of a layer in float64; `kind` is "weight_ih", "bias_hh", …"""
    return np.asarray(tape.parameters[weight_name(kind, name)], np.float64)


def _variances(tape: Tape, name: str) -> dict[str, float]:
    """σ_w² = H·mean(W²) of every block W of weight_hh, by the names in `Description.blocks_hh`."""
    W, blocks = _weight(tape, "weight_hh", name), tape.cell.blocks_hh
    return dict(zip(blocks, np.square(W).reshape(len(blocks), -1).mean(1) * W.shape[1], strict=True))


def _ungated(tape: Tape, name: str, valid: Bools) -> MeanField:
    """χ of a layer without gates, h = φ(a), and the root mean squares of the terms of a."""
    h = np.asarray(tape[f"{name}.h"], np.float64)[valid]
    (variance,) = _variances(tape, name).values()
    chi = variance * np.mean(tape.cell.slope(h, is_reverse(name), np.dtype(tape.dtype)) ** 2)
    recurrent = previous(tape, name)[valid].astype(np.float64) @ _weight(tape, "weight_hh", name).T
    added = layer_input(tape, name)[valid].astype(np.float64) @ _weight(tape, "weight_ih", name).T
    if tape.layer.bias:
        added += _weight(tape, "bias_ih", name) + _weight(tape, "bias_hh", name)
    rms = [np.sqrt(variance), np.sqrt(np.mean(added**2)), np.mean((added + recurrent) ** 2)]
    return MeanField(*map(np.float64, (chi, _xi(chi), *rms)))


def _gated(tape: Tape, name: str, valid: Bools) -> MeanField:
    """χ of a gated layer, by the formula in the description of its cell."""
    assert tape.cell.growth is not None
    values: dict[str, Array] = {part: tape[f"{name}.{part}"] for part in tape.cell.names}
    values |= {f"{state}0": previous(tape, name, state) for state in tape.cell.states}
    values = {part: np.asarray(value, np.float64)[valid] for part, value in values.items()}
    chi = tape.cell.growth(values, _variances(tape, name))
    return MeanField(np.float64(chi), np.float64(_xi(chi)), *[np.float64(np.nan)] * 3)
