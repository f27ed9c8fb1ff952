"""The transition probabilities of a chain that starts in its steady state: the steady state, and the M-step."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from .emissions import normalised

if TYPE_CHECKING:
    from rnncore._typing import Floats

STEPS = 3       # of one M-step: what they leave is gained in the next ones
HALVINGS = 30   # of one step
ENOUGH = 1e-9   # a step that gains less is the last
LEAST_MOVES = 1e-5  # a regime that is left less often has no influence on the steady state that could be told


def steady_state(transmat: Floats) -> Floats:
    """The distribution π (K,) with π A = π, by least squares; if there are several, the one of least norm.

    Examples
    --------
    >>> steady_state(np.array([[0.9, 0.1], [0.3, 0.7]])).round(3)
    array([0.75, 0.25])
    """
    K = len(transmat)
    left = np.concatenate([np.eye(K) - transmat.T, np.ones((1, K))])
    found = cast("Floats", np.linalg.lstsq(left, np.eye(K + 1)[K], rcond=None)[0])
    found = np.maximum(found, 0)
    share: Floats = found / found.sum()
    return share


def best_transitions(old: Floats, moves: Floats, oldest: Floats) -> Floats:
    """The M-step of the transition probabilities A (K, K) of a chain that starts in its steady state π(A).

    It maximises Σ moves·log A + Σ oldest·log π(A), where `moves` (K, K) are the expected transitions, and `oldest` (K,)
    are the posterior probabilities of the first regimes, summed over sequences. Without the second term the answer is
    `moves` divided by its row sums. With it, each step goes to

        (moves_ik + A_ik (c_ik − Σ_j A_ij c_ij)) / Σ_j moves_ij,      with c = ∂/∂A Σ oldest·log π(A),

    where the gradient leads if it is divided by the curvature of the first term (a natural gradient). A step is halved
    until the sum is not lower than before, so that the result is never worse than `old`.

    Examples
    --------
    >>> best_transitions(np.full((2, 2), 0.5), np.array([[8.0, 2.0], [1.0, 9.0]]), np.zeros(2))
    array([[0.8, 0.2],
           [0.1, 0.9]])
    """
    total = moves.sum(axis=1, keepdims=True)
    if not oldest.any():
        return normalised(moves, old)

    def worth(A: Floats) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(moves > 0, moves * np.log(A), 0).sum()
                         + np.where(oldest > 0, oldest * np.log(steady_state(A)), 0).sum())

    A, best = old, worth(old)
    for _ in range(STEPS):
        pull = _steady_gradient(A, oldest)
        pull = A * (pull - (A * pull).sum(axis=1, keepdims=True))
        aim = normalised(moves, A) + np.divide(pull, total, out=np.zeros_like(pull), where=total > LEAST_MOVES)
        for halvings in range(HALVINGS):
            new = normalised(A + 0.5**halvings * (aim - A), A)
            if (new >= 0).all() and (gain := worth(new) - best) >= 0:
                break
        else:
            return A
        A, best = new, best + gain
        if gain < ENOUGH:
            break
    return A


def _steady_gradient(A: Floats, oldest: Floats) -> Floats:
    """The derivatives (K, K) of Σ oldest·log π(A): dπ = π dA Z, with Z = (I − A + 1 π)⁻¹ (Schweitzer 1968)."""
    share = steady_state(A)
    ratio = np.divide(oldest, share, out=np.zeros_like(share), where=share > 0)
    Z = np.linalg.pinv(np.eye(len(A)) - A + share)
    gradient: Floats = share[:, None] * (Z @ ratio)
    return gradient
