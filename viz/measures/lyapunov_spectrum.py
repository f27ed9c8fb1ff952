"""Lyapunov spectrum: how fast nearby states part, along every direction of the state."""

from __future__ import annotations

import numpy as np

from rnncore._checks import as_size

from .._layers import in_float64, record, rows_of
from .._tapes import check_direction
from ._orthonormal import orthonormalise_rows

__all__ = [
    "entropy_rate",
    "kaplan_yorke_dimension",
    "lyapunov_convergence",
    "lyapunov_spectrum",
]

# Up to WIDE directions a QR costs less than the step before it, and is made every step. Beyond,
# when the exponents have spread the rows by about e^23 = 1e10 (R's smallest diagonal elements keep
# some 5 digits then, the leading ones all), at the latest after 4 steps.
WIDE, BUDGET, LONGEST = 128, 23.0, 4


def lyapunov_spectrum(
    layer, x, warmup: int = 0, *, n: int | None = None, state=None, direction: str = "forward"
) -> np.ndarray:
    """λ_1 ≥ … ≥ λ_n of the driven network, in nats per step.

    Engelken, Wolf & Abbott (2020), Vogt et al. (2020), on the joint state of the stack (h of all
    layers, for LSTM c of all). Negative: a perturbation dies at this rate, and so does the
    gradient; positive: chaos, and the gradient explodes.

    Parameters
    ----------
    layer : RNN, GRU or LSTM
    x : ndarray
        Input in the layer's layout; exponents are averaged over the rows of the batch.
    warmup : int
        Steps that do not count. The first `warmup` ones bring the state onto the attractor. The
        walk goes back in time, so as many at the end (at most half of the rest) align it.
    n : int, optional
        How many exponents; all S by default. Fewer are cheaper.
    state : optional
        Initial state, as for the layer.
    direction : {"forward", "reverse"}
        Of a bidirectional layer: the carry that is followed; the other direction is held fixed.

    Returns
    -------
    ndarray (n,), float64
        Descending; −inf for directions that are lost at once (dead ReLU units).

    Notes
    -----
    Q_{t-1}·R_t = J_tᵀ·Q_t, backward in time with the adjoint steps of the tape: the transposed
    product has the same exponents. λ_i is the mean of ln R_ii. The walk is made in float64 whatever
    the layer's dtype, and Q is orthogonalised every step, for more than 128 directions every 1 to 4
    steps, before float64 cannot tell the rows apart. The directions are random at first, always the
    same ones.

    Examples
    --------
    The exponents of a linear network are ln|eigenvalues|:

    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> rnn = rc.RNN(1, 2, nonlinearity="relu", bias=False)
    >>> rnn.load_state_dict({"weight_ih_l0": np.ones((2, 1)),
    ...                      "weight_hh_l0": np.array([[0.5, 0.25], [0.0, 0.25]])})
    >>> np.exp(viz.lyapunov_spectrum(rnn, np.ones((200, 1, 1)), warmup=60)).round(6).tolist()
    [0.5, 0.25]
    """
    steps, sums = _growth(layer, x, warmup, n, state, direction)
    return np.sort(sums[-1] / steps[-1])[::-1]


def lyapunov_convergence(
    layer, x, warmup: int = 0, *, n: int | None = None, state=None, direction: str = "forward"
) -> tuple[np.ndarray, np.ndarray]:
    """The running estimate of `lyapunov_spectrum`, to see whether enough steps were walked.

    The arguments are those of `lyapunov_spectrum`.

    Returns
    -------
    steps : ndarray (N,), int
        Steps counted so far.
    estimate : ndarray (N, n), float64
        Columns in the order of the last row, which is `lyapunov_spectrum`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> steps, estimate = viz.lyapunov_convergence(rc.GRU(1, 4, seed=0), np.ones((40, 1, 1)), n=2)
    >>> int(steps[-1]), estimate.shape[1]
    (40, 2)
    """
    steps, sums = _growth(layer, x, warmup, n, state, direction)
    with np.errstate(invalid="ignore"):
        estimate = sums / steps[:, None]
    return steps, estimate[:, np.argsort(-estimate[-1])]


def kaplan_yorke_dimension(spectrum) -> float:
    """D = j + Σ_{i≤j} λ_i / |λ_{j+1}|, j the last index at which the sum is not negative.

    The dimension of the attractor, by Kaplan & Yorke (1979): 0 for a fixed point, n where volumes
    do not shrink at all.

    Examples
    --------
    >>> from rnncore import viz
    >>> viz.kaplan_yorke_dimension([0.5, 0.0, -1.0, -2.0])
    2.5
    """
    spectrum = _sorted(spectrum)
    sums = np.cumsum(spectrum)
    j = int((sums >= 0).sum())  # descending terms: the sums are concave, so these are the first j
    if j == 0:
        return 0.0
    return float(j if j == len(sums) else j + sums[j - 1] / abs(spectrum[j]))


def entropy_rate(spectrum) -> float:
    """Σ of the positive exponents, nats per step: the rate at which chaos makes uncertainty.

    Pesin's identity; an upper bound in general.

    Examples
    --------
    >>> from rnncore import viz
    >>> viz.entropy_rate([0.5, 0.25, -1.0])
    0.75
    """
    spectrum = _sorted(spectrum)
    return float(spectrum[spectrum > 0].sum())


def _sorted(spectrum) -> np.ndarray:
    spectrum = np.asarray(spectrum, np.float64)
    if spectrum.ndim != 1 or np.isnan(spectrum).any():
        raise ValueError(
            f"spectrum: got shape {spectrum.shape}, expected (n,) without NaN, as from "
            "viz.lyapunov_spectrum"
        )
    return np.sort(spectrum)[::-1]


def _growth(layer, x, warmup, n, state, direction):
    """Steps counted (N,), and Σ ln R_ii up to there, the mean over the batch (N, n)."""
    layer = in_float64(layer)
    x, state = rows_of(layer, x, state)
    T, B, _ = x.shape
    warmup = as_size(warmup, "warmup", least=0)
    if not warmup < T or not B:
        raise ValueError(
            f"warmup: got {warmup} with {T} steps of {B} rows, expected 0 <= warmup < steps"
        )
    tape = record(layer, x, state)
    check_direction(tape, direction)
    S = layer.structure.carry_size
    n = S if n is None else as_size(n, "n")
    if n > S:
        raise ValueError(f"n: got {n}, expected 1 to {S}, the width of the state")
    align = min(warmup, (T - warmup) // 2)  # steps walked before any counts
    stop = T - warmup  # steps walked when the rest is the state's own transient
    start = np.linalg.qr(np.random.default_rng(0).normal(size=(S, n)))[0]
    total, steps, sums = np.zeros(n), [], []
    last, due = 0, 1
    walk = tape.pullback(np.repeat(start.T[:, None], B, axis=1), direction=direction)
    for walked, carry in enumerate(walk, 1):
        if walked not in (due, align, stop):
            continue
        growth = _orthonormalise(carry)
        if walked > align:
            total = total + growth.mean(1)
            steps.append(walked - align)
            sums.append(total)
        if walked == stop:
            break
        with np.errstate(invalid="ignore"):
            spread = np.ptp(growth, axis=0).max() / (walked - last)
        last, due = walked, walked + _interval(n, spread)
    return np.array(steps), np.array(sums)


def _orthonormalise(carry) -> np.ndarray:
    """The carry's rows become orthonormal; (n, B): ln of what that took out."""
    growth = np.array(carry.log_scale)
    for b in range(growth.shape[1]):
        with np.errstate(divide="ignore"):
            growth[:, b] += np.log(orthonormalise_rows(carry.value[:, b]))
    carry.log_scale[...] = 0
    return growth


def _interval(n: int, spread: float) -> int:
    """Steps until the next QR of n rows, from the spread of the exponents per step."""
    if n <= WIDE or not np.isfinite(spread):
        return 1
    return int(np.clip(BUDGET / max(spread, 1e-9), 1, LONGEST))
