"""The recursions over time for a chain of settings, with a cost of K operations for each setting and step.

Up to `DENSE_STATES` settings, and where a setting is one regime, the engine's kernels run with the n × n matrix of
transitions, because the vector units of the CPU then gain more than the structure does. Beyond, the recursions below
use that a setting has only K successors (see ``settings.py``). They work with logarithms, so that nothing underflows.
With τ = (s_t, …, s_{t-d+1}), in probabilities:

    u_t(τ) = A[s_{t-1}, s_t] p_{t-1}(s_{t-1}, …, s_{t-d+1}) b_t(τ)       c_t = Σ_τ u_t(τ)       α_t = u_t / c_t
    p_t(s_t, …, s_{t-d+2}) = Σ_{s_{t-d+1}} α_t(τ)
    β_{t-1}(s_{t-1}, …, s_{t-d+1}) = Σ_{s_t} A[s_{t-1}, s_t] b_t(τ) β_t(s_t, …, s_{t-d+2}) / c_t
    γ_t(τ) = α_t(τ) β_t(s_t, …, s_{t-d+2})

p and β do not depend on the oldest regime, and have only n / K values. Steps are processed in blocks. The forward pass
keeps only what enters each block, and the backward pass computes the inside of a block again, so that the memory for T
steps is of the order n·√T at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from rnncore import _hidden_markov

from .em import Rows, Workers, filtered, smoothed

if TYPE_CHECKING:
    from rnncore._typing import Floats
    from rnncore.models.interface.sequences import Codes

    from .regimes import RegimeEmission
    from .settings import Settings

    # called with the numbers of the first row and of the row after the last, and the posterior probabilities
    Add: TypeAlias = Callable[[int, int, Floats], None]

DENSE_STATES = 200          # measured with 2 and 3 regimes: both ways take equally long between 200 and 250
BLOCK = 1 << 20             # the number of float64 values in an array of one block, if a block has more than one step
MEMORY_LIMIT = 1 << 31      # bytes that a pass may use
SPARE = 16                  # arrays of one value for each setting that exist at the same time, beside those of a block


class Recursions:
    """The recursions of one model, with the parameters that it has now.

    Parameters
    ----------
    settings : Settings
    transmat : ndarray (K, K)
    emission : RegimeEmission
    """

    def __init__(self, settings: Settings, transmat: Floats, emission: RegimeEmission) -> None:
        self.settings, self.transmat, self.emission = settings, transmat, emission
        with np.errstate(divide="ignore"):
            self._start = np.log(settings.start(transmat))
            self._moves = np.log(transmat.T)[:, :, None]    # [new regime, the one before, 1]

    # -- what models ask for --------------------------------------------------------------
    def log_steps(self, rows: Rows) -> list[Floats]:
        """log p(row | rows before) of every row, an array for each sequence; -inf where that is impossible."""
        if self._is_dense(len(rows.values)):
            return filtered(*self._dense(rows.values), rows)[0]
        found = np.full(len(rows.values), -np.inf)
        for first, last in _ranges(rows):
            for block, _, norms in self._forward(rows.values[first:last]):
                found[first + block.start : first + block.stop] = norms
        return rows.split(found)

    def ahead(self, z: Floats) -> Iterator[tuple[slice, Floats]]:
        """The probabilities of the settings at every row given the rows before, and at the row after the last.

        Yields
        ------
        rows : slice
            Some rows. All slices together are ``0:len(z) + 1``.
        p : ndarray (rows, n)
        """
        start = self.settings.start(self.transmat)[None]
        if self._is_dense(len(z)):
            _, (alpha,) = filtered(*self._dense(z), Rows.pack([z]))
            yield slice(0, len(z) + 1), np.concatenate([start, self.settings.ahead(alpha, self.transmat)])
            return
        yield slice(0, 1), start
        for block, alpha, _ in self._forward(z):
            p = self.settings.ahead(np.exp(alpha), self.transmat)
            yield slice(block.start + 1, block.stop + 1), p

    def smooth(self, rows: Rows, workers: Workers, add: Add) -> tuple[Floats, Floats | None]:
        """Call `add` with the posterior probabilities (some rows, n) of the settings, for all rows, block by block.

        Returns
        -------
        log_prob : ndarray (sequences,)
            -inf for an impossible sequence, for which the posterior probabilities are 0.
        pairs : ndarray (n, n) or None
            The expected number of transitions between settings if the depth is 1. Otherwise they are in the posteriors.
        """
        if self._is_dense(len(rows.values)):
            found = smoothed(*self._dense(rows.values), rows, workers, posteriors=True)
            assert found.gamma is not None
            n = self.settings.n
            add(0, len(rows.values), found.gamma[:, :n])
            return found.log_prob, found.pairs[:n, :n] if self.settings.depth == 1 else None
        log_prob = np.zeros(len(rows.offsets) - 1)
        for s, (first, last) in enumerate(_ranges(rows)):
            log_prob[s] = self._smooth_one(rows.values[first:last], first, add)
        return log_prob, None

    def best_path(self, z: Floats) -> tuple[float, Codes]:
        """The most probable path of settings (Viterbi), and its log probability."""
        if self._is_dense(len(z)):
            chain, given = self._dense(z)
            log_b, path = given.on(z).log_likelihood(), np.empty(len(z), np.int64)
            return chain.viterbi(log_b, np.empty_like(log_b), path), path
        return self._viterbi(z)

    def _is_dense(self, steps: int) -> bool:
        """Whether the kernels run. They need five arrays of one value for each step and setting."""
        n = self.settings.n
        return self.settings.depth == 1 or (n <= DENSE_STATES and 8 * 5 * steps * n <= MEMORY_LIMIT)

    def _dense(self, z: Floats) -> tuple[_hidden_markov.Chain, _Given]:
        s = self.settings
        return (_hidden_markov.Chain(s.start(self.transmat), s.transitions(self.transmat)), _Given(self.emission))

    # -- with the structure ----------------------------------------------------------------
    def _blocks(self, steps: int) -> list[slice]:
        """Divide steps into blocks whose arrays have about `BLOCK` values, or more where there would be too many."""
        n = self.settings.n
        size = min(max(BLOCK // n, round(np.sqrt(steps / self.settings.K)), 1), max(steps, 1))
        check_memory(self.settings, 3 * size * n + -(-steps // size) * self.settings.each, steps)
        return [slice(a, min(a + size, steps)) for a in range(0, steps, size)]

    def _forward(self, z: Floats) -> Iterator[tuple[slice, Floats, Floats]]:
        """(rows, log α (rows, n), log c (rows,)) of every block; it ends where the sequence becomes impossible."""
        entering = None
        for block in self._blocks(len(z)):
            alpha, norms = self._forward_block(self.emission.log_densities(z[block], self.settings.n), entering)
            if norms[-1] == -np.inf:
                good = int(np.argmax(norms == -np.inf))
                yield slice(block.start, block.start + good), alpha[:good], norms[:good]
                return
            yield block, alpha, norms
            entering = self._forget(alpha[-1])

    def _forward_block(self, log_b: Floats, entering: Floats | None) -> tuple[Floats, Floats]:
        """log α, in the place of `log_b`, and log c, from what entered: the log p of all regimes but the new one."""
        norms, alpha = np.full(len(log_b), -np.inf), log_b
        for t, u in enumerate(log_b):
            if entering is None:
                u += self._start
            else:
                u.reshape(self.settings.K, self.settings.K, -1)[...] += (
                    self._moves + entering.reshape(1, self.settings.K, -1))
            top = u.max()
            if top == -np.inf:
                break
            norms[t] = top + np.log(np.exp(u - top).sum())
            u -= norms[t]
            entering = self._forget(u)
        return alpha, norms

    def _forget(self, alpha: Floats) -> Floats:
        """log Σ α (n / K,) over the oldest regime."""
        by_oldest = alpha.reshape(-1, self.settings.K).T
        top = np.maximum(reduce(np.maximum, by_oldest), -1e300)     # not -inf, whose difference to itself is NaN
        with np.errstate(divide="ignore"):
            found: Floats = top + np.log(reduce(np.add, (np.exp(a - top) for a in by_oldest)))
        return found

    def _smooth_one(self, z: Floats, first: int, add: Add) -> float:
        """Smooth one sequence whose first row has the number `first`; returns its log probability."""
        blocks, entering, total = self._blocks(len(z)), [], 0.0
        alpha, norms = np.empty((0, self.settings.n)), np.empty(0)
        for i, block in enumerate(blocks):
            entering.append(self._forget(alpha[-1]) if i else None)
            log_b = self.emission.log_densities(z[block], self.settings.n)
            alpha, norms = self._forward_block(log_b, entering[-1])
            if norms[-1] == -np.inf:
                return -np.inf
            total += float(norms.sum())
        K, each = self.settings.K, self.settings.each
        beta = np.zeros(each)
        for i in range(len(blocks) - 1, -1, -1):
            log_b = self.emission.log_densities(z[blocks[i]], self.settings.n)
            if i < len(blocks) - 1:
                alpha, norms = self._forward_block(log_b.copy(), entering[i])
            for t in range(len(norms) - 1, -1, -1):
                by_oldest = alpha[t].reshape(each, K)
                by_oldest += beta[:, None]
                w = log_b[t].reshape(each, K)
                w += (beta - norms[t])[:, None]
                arriving = self._moves + w.reshape(K, K, -1)
                top = np.maximum(arriving.max(axis=0), -1e300)
                arriving -= top
                with np.errstate(divide="ignore"):
                    beta = (top + np.log(np.exp(arriving, out=arriving).sum(axis=0))).reshape(-1)
            gamma = np.exp(alpha, out=alpha)
            add(first + blocks[i].start, first + blocks[i].stop, gamma)
        return total

    def _viterbi(self, z: Floats) -> tuple[float, Codes]:
        """As the kernels do it: of equally probable paths the lowest last state and, going back, the highest one."""
        s, path = self.settings, np.empty(len(z), np.int64)
        if len(z) == 0:
            return 0.0, path
        check_memory(s, len(z) * s.each // 8 * np.min_scalar_type(s.K).itemsize, len(z))
        oldest = np.empty((len(z), s.each), np.min_scalar_type(s.K))
        best = np.empty(0)
        for block in self._blocks(len(z)):
            for t, log_b in enumerate(self.emission.log_densities(z[block], s.n), block.start):
                if t == 0:
                    best = self._start + log_b
                    continue
                backward = best.reshape(s.each, s.K)[:, ::-1]
                oldest[t] = s.K - 1 - backward.argmax(axis=1)
                best = (self._moves + backward.max(axis=1).reshape(1, s.K, -1)).reshape(-1) + log_b
        path[-1] = best.argmax()
        for t in range(len(z) - 1, 0, -1):
            kept = path[t] % s.each
            path[t - 1] = kept * s.K + oldest[t, kept]
        return float(best.max()), path


class _Given(NamedTuple):
    """The log densities of an emission, for the engine's kernels. The sums for the M-step are not theirs."""

    emission: RegimeEmission

    def on(self, z: Floats) -> _hidden_markov.Given:
        width = -(-self.emission.settings.n // 4) * 4
        return _hidden_markov.Given(np.zeros((len(z), 1)), self.emission.log_densities(z, width), np.zeros(1))


def check_memory(settings: Settings, values: int, steps: int) -> None:
    """Refuse a pass over `steps` rows that needs too much memory: `values` float64 and some for each setting."""
    needed = 8 * (values + SPARE * settings.n)
    if needed <= MEMORY_LIMIT:
        return
    K, depth = settings.K, settings.depth
    count = f"{K}**{depth}" + (f" = {settings.n:,}" if settings.n < 10**12 else "")
    size = f"{needed / 2**30:,.1f} GiB" if needed < 2**70 else "more memory than any machine has"
    raise ValueError(
        f"order: got {depth - 1} with {K} regimes that have their own means, so that the hidden state has {count} "
        f"values, and {steps:,} steps need {size}, expected at most {MEMORY_LIMIT / 2**30:.0f} GiB; use "
        f"form='intercept' or switching_mean=False, whose hidden state has {K} values at any order, or a lower order")


def _ranges(rows: Rows) -> list[tuple[int, int]]:
    """The numbers of the first row and of the row after the last, of every sequence."""
    return list(zip(rows.offsets[:-1].tolist(), rows.offsets[1:].tolist(), strict=True))
