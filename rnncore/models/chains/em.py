"""The recursions over time on all sequences, for the models with a hidden Markov chain.

Sequences are stored one after the other (`Rows`), and divided into portions of whole sequences. The engine's threads
process these without the GIL; each thread takes one portion after the other until none is left. No result depends on
the number of threads, because the division into portions does not, and the portions' sums are added in a fixed order.

An *emission* is the distribution of a step in each hidden state, made from a model's parameters. ``emission.on(x)`` is
a ``_hidden_markov.Emission``: the likelihoods of the rows of one array in each state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from rnncore import _hidden_markov

if TYPE_CHECKING:
    from typing import Self

    from rnncore._hidden_markov import Chain
    from rnncore._typing import Array, Floats
    from rnncore.models.interface.sequences import Codes

# With fewer rows times states (rounded up to whole vectors) than this a second thread does not help: 0.3 ms of work.
ALONE_BELOW = 1 << 16
PORTIONS = 32       # the largest number of portions
# Every portion has sums of its own. This is the largest number of float64 values for all of them together: 128 MB.
SUMS_LIMIT = 1 << 24


class EmissionModel(Protocol):
    """The distribution of a step in every state."""

    def on(self, x: Array) -> _hidden_markov.Emission:
        """The likelihoods of the rows of `x` in every state, for the recursions."""


class Rows:
    """The rows of several sequences in one array.

    Attributes
    ----------
    values : ndarray (N, …)
    offsets : ndarray of int64 (sequences + 1,)
        Sequence s has the rows ``offsets[s]:offsets[s + 1]``.
    """

    def __init__(self, values: Array, offsets: Codes) -> None:
        self.values, self.offsets = values, offsets
        self._portions: dict[int, Codes] = {}

    @classmethod
    def pack(cls, arrays: Sequence[Array]) -> Self:
        """From one array for each sequence; all have the same shape except for the first axis, and the same dtype."""
        offsets = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([len(a) for a in arrays], out=offsets[1:])
        return cls(np.ascontiguousarray(np.concatenate(arrays)), offsets)

    def split(self, values: Array) -> list[Array]:
        """Split an array (N, …) with one item for each row into a list of views, one for each sequence."""
        return np.split(values, self.offsets[1:-1])

    def portions(self, sums: int) -> Codes:
        """Divide the sequences into portions of about equally many rows.

        Parameters
        ----------
        sums : int
            The number of values that the sums of one portion have.

        Returns
        -------
        ndarray of int64 (portions + 1,)
            Portion p has the sequences ``result[p]:result[p + 1]``.
        """
        most = max(1, min(PORTIONS, SUMS_LIMIT // max(sums, 1)))
        if most not in self._portions:
            last, rows = len(self.offsets) - 1, int(self.offsets[-1])
            ends = np.searchsorted(self.offsets[1:], rows * np.arange(1, most) // most) + 1
            ends = np.concatenate([[0], np.minimum(ends, last), [last]])
            self._portions[most] = np.unique(ends).astype(np.int64)
        return self._portions[most]


class Expectation(NamedTuple):
    """The results of an E-step, for n states.

    Attributes
    ----------
    log_prob : ndarray (sequences,)
        Of each sequence.
    starts : ndarray (n,)
        The posterior probabilities of the first state, summed over sequences.
    pairs : ndarray (n, n)
        The expected number of transitions from each state to each state.
    sums : ndarray (n_sums, n rounded up to whole vectors)
        What the emission needs for its M-step: for symbols the expected counts, and for vectors the moments, weighted
        by the posteriors.
    """

    log_prob: Floats
    starts: Floats
    pairs: Floats
    sums: Floats


class Workers:
    """Working arrays for as many threads as `rnncore.num_threads` returns, which every pass uses again."""

    def __init__(self) -> None:
        from rnncore import num_threads

        self._spaces = [_hidden_markov.Space() for _ in range(num_threads())]

    def run(self, work: _hidden_markov.Pass, size: int) -> None:
        """Run `work`. `size` is rows times states; if it is less than `ALONE_BELOW`, only one thread runs."""
        work.run(self._spaces if size >= ALONE_BELOW else self._spaces[:1])


def expect(chain: Chain, emission: EmissionModel, rows: Rows, workers: Workers) -> Expectation:
    """The E-step. The log probability of an impossible sequence is -inf."""
    found = smoothed(chain, emission, rows, workers)
    n = chain.n_states
    return Expectation(found.log_prob, found.starts[:n], found.pairs[:n, :n], found.sums)


def posteriors(chain: Chain, emission: EmissionModel, x: Array) -> tuple[Floats, float]:
    """The posterior probabilities of the states (T, n) of one sequence, and its log probability."""
    found = smoothed(chain, emission, Rows.pack([x]), Workers(), posteriors=True)
    assert found.gamma is not None
    return found.gamma[:, : chain.n_states].copy(), float(found.log_prob[0])


def smoothed(
    chain: Chain, emission: EmissionModel, rows: Rows, workers: Workers, posteriors: bool = False
) -> _hidden_markov.Smoothing:
    """Run the forward and backward recursions on all sequences; `posteriors` of every step are kept on request."""
    on_rows = emission.on(rows.values)
    sums = chain.width * (1 + 2 * chain.width + on_rows.n_sums)
    work = _hidden_markov.Smoothing(chain, on_rows, rows.offsets, rows.portions(sums), posteriors=posteriors)
    workers.run(work, len(rows.values) * chain.width)
    return work


def filtered(chain: Chain, emission: EmissionModel, rows: Rows) -> tuple[list[Floats], list[Floats]]:
    """Run the forward recursion on all sequences.

    Returns
    -------
    log_prob : list of ndarray (T,)
        For each sequence log p(x_t | x_<t).
    alpha : list of ndarray (T, n)
        For each sequence p(z_t | x_≤t).
    """
    work = _hidden_markov.Filtering(chain, emission.on(rows.values), rows.offsets, rows.portions(0))
    Workers().run(work, len(rows.values) * chain.width)
    return rows.split(work.log_norm), rows.split(work.alpha[:, : chain.n_states])
