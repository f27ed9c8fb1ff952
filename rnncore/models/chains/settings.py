"""The settings of a switching model: the regimes on which the distribution of a step depends.

In some models the next element depends on the regimes of several steps. A *setting* has these regimes,

    τ = (s_t, s_{t-1}, …, s_{t-d+1}),

for K regimes and the depth d, so that there are n = K**d of them. They are numbered so that s_t varies slowest, and the
oldest regime fastest. A setting has only K successors, which differ in the new regime, and only K predecessors, which
differ in the regime that is forgotten:

    (s_t, …, s_{t-d+1})  →  (s', s_t, …, s_{t-d+2})       with probability A[s_t, s']

Nothing here needs the n × n matrix of transitions except `Settings.transitions`, which the engine's kernels take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .transitions import steady_state

if TYPE_CHECKING:
    from rnncore._typing import Floats, Ints


class Settings:
    """The settings of K regimes at depth d: their transitions, initial distribution and marginals.

    Attributes
    ----------
    K, depth, n : int
        The number of regimes, of regimes in a setting, and of settings: n = K**depth.
    each : int
        The number of settings with the same current regime: n / K.
    """

    def __init__(self, n_states: int, depth: int) -> None:
        self.K, self.depth = n_states, depth
        self.each = n_states ** (depth - 1)
        self.n = n_states * self.each

    @property
    def now(self) -> Ints:
        """The current regime (n,) of every setting."""
        return np.repeat(np.arange(self.K), self.each)

    # -- the chain of settings ----------------------------------------------------------
    def transitions(self, transmat: Floats) -> Floats:
        """The probabilities (n, n) of the transitions between settings, from those between regimes (K, K)."""
        every = np.arange(self.n)
        moves = np.zeros((self.n, self.n))
        for new in range(self.K):
            moves[every, new * self.each + every // self.K] = transmat[self.now, new]
        return moves

    def start(self, transmat: Floats) -> Floats:
        """The probabilities (n,) of the first setting if the chain of regimes is in its steady state."""
        p: Floats = steady_state(transmat)
        for _ in range(self.depth - 1):
            p = (transmat.T[:, :, None] * p.reshape(1, self.K, -1)).reshape(-1)
        return p

    def ahead(self, p: Floats, transmat: Floats) -> Floats:
        """The probabilities (…, n) of the settings of the next step, from those of the present one (…, n)."""
        if self.depth == 1:
            found: Floats = p @ transmat
            return found
        kept = p.reshape(*p.shape[:-1], 1, self.K, self.each // self.K, self.K).sum(axis=-1)
        moved: Floats = transmat.T[:, :, None] * kept
        return moved.reshape(p.shape)

    # -- marginals ------------------------------------------------------------------------
    def by_regime(self, values: Floats) -> Floats:
        """Sums of `values` (n, …) over the settings with the same current regime, (K, …)."""
        sums: Floats = values.reshape(self.K, self.each, *values.shape[1:]).sum(axis=1)
        return sums

    def by_pair(self, values: Floats, k: int) -> Floats:
        """Sums of `values` (n, …) by the current regime and the one `k` steps before, (K, K, …)."""
        K, rest = self.K, values.shape[1:]
        if k == 0:
            out = np.zeros((K, K, *rest))
            out[range(K), range(K)] = self.by_regime(values)
            return out
        sums: Floats = values.reshape(K, K ** (k - 1), K, -1, *rest).sum(axis=(1, 3))
        return sums

    def by_triple(self, weight: Floats, k: int, m: int) -> Floats:
        """Sums of `weight` (n,) by the current regime and those `k` and `m` steps before, (K, K, K), where k ≤ m."""
        K = self.K
        if 0 < k < m:
            shape = (K, K ** (k - 1), K, K ** (m - k - 1), K, -1)
            sums: Floats = weight.reshape(shape).sum(axis=(1, 3, 5))
            return sums
        pairs, out = self.by_pair(weight, m), np.zeros((K, K, K))
        for s in range(K):
            if k == m:
                out[s, range(K), range(K)] = pairs[s]
            else:  # k is 0
                out[s, s] = pairs[s]
        return out

    def moves(self, visits: Floats, starts: Floats) -> Floats:
        """The expected number of transitions between regimes (K, K), for a depth of 2 or more.

        Parameters
        ----------
        visits, starts : ndarray (n,)
            The posterior probabilities of the settings, summed over all steps but the first of every sequence, and over
            the first ones. A first setting contains transitions too.
        """
        K = self.K
        moves = self.by_pair(visits, 1).T.copy()
        for k in range(self.depth - 1):
            moves += starts.reshape(K**k, K, K, -1).sum(axis=(0, 3)).T
        return moves

    def oldest(self, starts: Floats) -> Floats:
        """Sums (K,) of `starts` (n,) by the oldest regime, which the model draws from the steady state."""
        sums: Floats = starts.reshape(-1, self.K).sum(axis=0)
        return sums
