"""Mean field: whether gradients vanish, explode or keep their size in a random network of this variance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .._tapes import layer_input, layers, previous, valid_steps, weight_name

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools, Floats
    from rnncore.recurrent.tape import Tape

__all__ = ["MeanField", "mean_field", "mean_field_theory"]


class MeanField(NamedTuple):
    """chi: growth of the squared gradient per step; xi = −1/ln chi: steps in which it changes by a factor e.

    sigma_w, sigma_b: standard deviations of √H·W and of everything that is added to W·h (bias and
    input); q: second moment of the pre-activations. These three are NaN for gated cells, where each
    gate has its own.
    """

    chi: Floats | np.float64
    xi: Floats | np.float64
    sigma_w: Floats | np.float64
    sigma_b: Floats | np.float64
    q: Floats | np.float64


def mean_field(tape: Tape) -> dict[str, MeanField]:
    """χ = σ_w²·E[φ′²] of every layer, with the moments measured on the tape.

    Chen, Pennington & Schoenholz (2018): χ is the mean squared singular value of one step's
    Jacobian. Below 1 gradients vanish, above 1 they explode, and χ = 1 is the edge between; in wide
    random networks the largest Lyapunov exponent tends to ½·ln χ.

    Parameters
    ----------
    tape : Tape

    Returns
    -------
    dict of str to MeanField
        "l0", "l1", …, "l0.reverse". For an LSTM χ is that of ∂c_t/∂c_{t-1} (also through h_{t-1}),
        for a GRU that of ∂h_t/∂h_{t-1}, with the weights of different gates taken as independent:
        χ = E[f²] + Σ_gates σ_gate²·E[(∂c_t/∂a_gate)²]·E[(∂h/∂c)²], and accordingly with z.

    Examples
    --------
    Positive ReLU states have φ′ = 1, so χ = σ_w², and the identity is at the edge:

    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> rnn = rc.RNN(1, 2, nonlinearity="relu", bias=False)
    >>> rnn.load_state_dict({"weight_ih_l0": np.ones((2, 1)), "weight_hh_l0": np.eye(2)})
    >>> float(viz.mean_field(rnn.record(np.ones((5, 1, 1))))["l0"].chi)
    1.0
    """
    if tape.cell.gates and tape.cell.growth is None:
        raise ValueError(
            f"tape: got one of an {tape.mode}, for which there is no formula of χ, expected another cell "
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
    """The fixed point of wide random RNNs: q = σ_w²·E[φ(√q·z)²] + σ_b², and χ and ξ at it.

    Parameters
    ----------
    sigma_w, sigma_b : array_like
        Broadcast together. W has variance σ_w²/H; what is added to W·h has variance σ_b².
    nonlinearity : {"tanh", "relu", "sigmoid"}

    Returns
    -------
    MeanField
        q is inf for a ReLU with σ_w² ≥ 2.

    Examples
    --------
    Without bias, tanh has its edge at σ_w = 1:

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
    low, high = b**2, w**2 + b**2  # φ² ≤ 1; the right side is concave in q: one crossing inside
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
    return np.asarray(tape.parameters[weight_name(kind, name)], np.float64)


def _variances(tape: Tape, name: str) -> dict[str, float]:
    """σ_w² of every block of weight_hh: H·mean W²."""
    W, blocks = _weight(tape, "weight_hh", name), tape.cell.blocks_hh
    return dict(zip(blocks, np.square(W).reshape(len(blocks), -1).mean(1) * W.shape[1], strict=True))


def _ungated(tape: Tape, name: str, valid: Bools) -> MeanField:
    """A layer with h = φ(a), together with the moments of a."""
    h = np.asarray(tape[f"{name}.h"], np.float64)[valid]
    (variance,) = _variances(tape, name).values()
    chi = variance * np.mean(tape.cell.slope(h) ** 2)
    recurrent = previous(tape, name)[valid].astype(np.float64) @ _weight(tape, "weight_hh", name).T
    added = layer_input(tape, name)[valid].astype(np.float64) @ _weight(tape, "weight_ih", name).T
    if tape.layer.bias:
        added += _weight(tape, "bias_ih", name) + _weight(tape, "bias_hh", name)
    rms = [np.sqrt(variance), np.sqrt(np.mean(added**2)), np.mean((added + recurrent) ** 2)]
    return MeanField(*map(np.float64, (chi, _xi(chi), *rms)))


def _gated(tape: Tape, name: str, valid: Bools) -> MeanField:
    """A gated layer, by the formula in the description of its cell."""
    assert tape.cell.growth is not None
    values: dict[str, Array] = {part: tape[f"{name}.{part}"] for part in tape.cell.names}
    values |= {f"{state}0": previous(tape, name, state) for state in tape.cell.states}
    values = {part: np.asarray(value, np.float64)[valid] for part, value in values.items()}
    chi = tape.cell.growth(values, _variances(tape, name))
    return MeanField(np.float64(chi), np.float64(_xi(chi)), *[np.float64(np.nan)] * 3)
