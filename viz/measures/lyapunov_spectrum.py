"""Lyapunov spectrum: how fast nearby states diverge, along every direction of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore._checks import as_size

from .._blas import on_one_blas_thread
from .._door import array, as_layer, as_numbers, pair
from .._layers import in_float64, record, rows_of
from .._tapes import Direction, check_direction
from ._orthonormal import orthonormalise_rows

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Floats, Ints, StateLike
    from rnncore.recurrent.base import RecurrentLayer
    from rnncore.recurrent.pullback import Carry

__all__ = [
    "entropy_rate",
    "kaplan_yorke_dimension",
    "lyapunov_convergence",
    "lyapunov_error",
    "lyapunov_spectrum",
]

# Up to WIDE directions a QR decomposition takes less time than a step, so there is one after every step.
# For more, there is one at the latest after LONGEST steps, and before that as soon as the rows differ in
# size by a factor of about e^BUDGET = 1e10. The smallest diagonal elements of R are then exact to some
# 5 digits, and the leading ones to all.
WIDE, BUDGET, LONGEST = 128, 23.0, 4
_CONVERGENCE = pair(array("N"), array("N", "n"), "(steps, estimate)")
# lyapunov_error: numbers of blocks, with the 97.5 % quantile of Student's t for one degree of freedom less, and the
# fewest estimates in a block.
BLOCKS, SHORTEST = {4: 3.182, 8: 2.365, 16: 2.131}, 4
EPS = float(np.finfo(np.float64).eps)


def lyapunov_spectrum(
    layer: RecurrentLayer,
    x: ArrayLike,
    warmup: int = 0,
    *,
    n: int | None = None,
    state: StateLike = None,
    direction: Direction = "forward",
) -> Floats:
    """λ_1 ≥ … ≥ λ_n of the driven network, in nats per step.

    Engelken, Wolf & Abbott (2020), Vogt et al. (2020), for the carry of the whole stack (h of all layers,
    for an LSTM also c of all). Along a direction with a negative exponent a perturbation, and so the
    gradient, decays at this rate. A positive exponent means chaos: the gradient explodes.

    Parameters
    ----------
    layer : RNN, GRU or LSTM
    x : ndarray
        Input in the layer's layout; exponents are averaged over the rows of the batch.
    warmup : int
        The number of steps at the beginning that do not count, because the state has not reached the
        attractor. The directions are propagated backward in time, from random ones. So as many steps at
        the end (but at most half of the rest) do not count either, until the directions have aligned.
    n : int, optional
        The number of exponents, the largest ones; all S by default. Fewer take less time.
    state : array_like or tuple, optional
        Initial state, as for the layer.
    direction : {"forward", "reverse"}
        As in `jacobian_norms`.

    Returns
    -------
    ndarray (n,), float64
        In descending order; −inf for directions in which a perturbation vanishes within one step, such as
        those of dead ReLU units, or is too small beside the largest for float64 (a factor of n·2e-16). Each is an
        estimate from the recorded steps; `lyapunov_error` gives its error, without which not even its sign is certain.

    Notes
    -----
    Directions Q are propagated backward in time with `Tape.pullback`, Q_{t-1}·R_t = J_tᵀ·Q_t, because the
    product of the transposed Jacobians has the same exponents. λ_i is the mean of ln R_ii. All of it is
    computed in float64, for any dtype of the layer. Q is orthonormalised after every step, and for more
    than 128 directions after every 1 to 4 steps, before the directions become indistinguishable in
    float64. The initial directions are random, but the same in every call.

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
    layer: RecurrentLayer,
    x: ArrayLike,
    warmup: int = 0,
    *,
    n: int | None = None,
    state: StateLike = None,
    direction: Direction = "forward",
) -> tuple[Ints, Floats]:
    """The running estimate of `lyapunov_spectrum`, to see whether the sequence is long enough.

    The arguments are those of `lyapunov_spectrum`.

    Returns
    -------
    steps : ndarray (N,), int
        Steps counted so far.
    estimate : ndarray (N, n), float64
        The columns are ordered by the last row, which equals `lyapunov_spectrum`.

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


def lyapunov_error(convergence: tuple[ArrayLike, ArrayLike]) -> Floats:
    """Half of the 95 % interval of every exponent, from how much its estimate differs between parts of the sequence.

    The steps are divided into blocks of equal length. An exponent is the mean of its values on the blocks, and
    these are nearly independent if a block is longer than the network's memory. So the standard error is
    their standard deviation divided by √blocks (the method of batch means). Few blocks leave the standard
    deviation itself uncertain, for which Student's t corrects: the standard error is multiplied by t/2, where t is
    the 97.5 % quantile (3.18 for 4 blocks), so that the exponent is within twice the result in 95 % of cases. It is
    computed for 4, 8 and 16 blocks, as far as each has at least four estimates, and the largest of the results is
    returned, because blocks that are too short give too small an error. A state that has not reached its attractor
    makes the blocks differ, and the error large.

    Parameters
    ----------
    convergence : (steps, estimate)
        The result of `lyapunov_convergence`.

    Returns
    -------
    ndarray (n,), float64
        In nats per step, in the order of `lyapunov_spectrum`. NaN where the sequence is too short for four
        blocks of four estimates, and for exponents of −inf.

    Notes
    -----
    It is never less than 4·eps·(√n + ``|λ|``), with eps = 2.2e-16, because the exponents of a network whose steps are
    all alike do not differ between blocks, and are inexact all the same. R_ii is the length of a vector, each
    component of which is a sum of products; rounding changes its logarithm by some eps·√n. The running sum of N
    logarithms is about ``N·|λ|`` and every addition rounds it by up to eps/2 of that, so its mean is known to some
    ``eps·|λ|``. All these errors may have the same sign in every step, so more steps do not make them smaller. The
    factor 4 is for the operations of a step, one after the other: the products with the Jacobian, the
    decomposition, the logarithm and the sum.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> x = np.random.default_rng(0).standard_normal((200, 1, 1))
    >>> convergence = viz.lyapunov_convergence(rc.GRU(1, 4, seed=0), x, warmup=20, n=2)
    >>> error = viz.lyapunov_error(convergence)
    >>> bool((convergence[1][-1] + 2 * error < 0).all())
    True
    """
    as_numbers(convergence, _CONVERGENCE, name="convergence", source="viz.lyapunov_convergence")
    steps, estimate = np.asarray(convergence[0], np.float64), np.asarray(convergence[1], np.float64)
    error = np.full(estimate.shape[1], np.nan)
    with np.errstate(invalid="ignore"):
        sums = np.concatenate([np.zeros((1, estimate.shape[1])), estimate * steps[:, None]])
        at = np.concatenate([[0.0], steps])
        for blocks, t in BLOCKS.items():
            if len(steps) < blocks * SHORTEST:
                break
            ends = np.searchsorted(at, np.linspace(0, at[-1], blocks + 1))
            means = np.diff(sums[ends], axis=0) / np.diff(at[ends])[:, None]
            error = np.fmax(error, t / 2 * means.std(0, ddof=1) / np.sqrt(blocks))
        rounding = 4 * EPS * (np.sqrt(estimate.shape[1]) + np.abs(estimate[-1]))
        return np.where(np.isnan(error), np.nan, np.maximum(error, rounding))


def kaplan_yorke_dimension(spectrum: ArrayLike) -> float:
    """The dimension of the attractor, by Kaplan & Yorke (1979).

    D = j + Σ_{i≤j} λ_i / ``|λ_{j+1}|``, where j is the largest number of leading exponents whose sum is not
    negative. It is 0 for a fixed point, and n if the sum of all n exponents is not negative.

    Examples
    --------
    >>> from rnncore import viz
    >>> viz.kaplan_yorke_dimension([0.5, 0.0, -1.0, -2.0])
    2.5
    """
    spectrum = _sorted(spectrum)
    sums = np.cumsum(spectrum)
    j = int((sums >= 0).sum())  # the exponents descend, so the sums that are not negative come first
    if j == 0:
        return 0.0
    return float(j if j == len(sums) else j + sums[j - 1] / abs(spectrum[j]))


def entropy_rate(spectrum: ArrayLike) -> float:
    """The sum of the positive exponents, in nats per step: the rate at which chaos creates uncertainty.

    This is Pesin's identity. In general the sum is only an upper bound of that rate.

    Examples
    --------
    >>> from rnncore import viz
    >>> viz.entropy_rate([0.5, 0.25, -1.0])
    0.75
    """
    spectrum = _sorted(spectrum)
    return float(spectrum[spectrum > 0].sum())


def _sorted(spectrum: ArrayLike) -> Floats:
    """The exponents in descending order, after a check of their shape."""
    spectrum = np.asarray(spectrum, np.float64)
    if spectrum.ndim != 1 or np.isnan(spectrum).any():
        raise ValueError(
            f"spectrum: got shape {spectrum.shape}, expected (n,) without NaN, as from "
            "viz.lyapunov_spectrum"
        )
    return np.sort(spectrum)[::-1]


@on_one_blas_thread
def _growth(
    layer: RecurrentLayer,
    x: ArrayLike,
    warmup: int,
    n: int | None,
    state: StateLike,
    direction: Direction,
) -> tuple[Ints, Floats]:
    """After each QR: the number of steps counted so far (N,), and Σ ln R_ii over these, mean of the batch (N, n)."""
    layer = as_layer(layer)
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
    align = min(warmup, (T - warmup) // 2)  # the number of steps at the end that do not count
    stop = T - warmup  # after so many steps, backward, only the warmup remains
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


def _orthonormalise(carry: Carry) -> Floats:
    """Make the carry's rows orthonormal in place; returns ln|R_ii| (n, B)."""
    growth = np.array(carry.log_scale)
    for b in range(growth.shape[1]):
        size = orthonormalise_rows(carry.value[:, b])
        # Smaller elements are what rounding leaves of rows that depend on the others (as in numpy's matrix_rank).
        size[size < len(size) * EPS * size.max()] = 0
        with np.errstate(divide="ignore"):
            growth[:, b] += np.log(size)
    carry.log_scale[...] = 0
    return growth


def _interval(n: int, spread: float) -> int:
    """The number of steps until the next QR of n rows. `spread` is largest minus smallest exponent, per step."""
    if n <= WIDE or not np.isfinite(spread):
        return 1
    return int(np.clip(BUDGET / max(spread, 1e-9), 1, LONGEST))
