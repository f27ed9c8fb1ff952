"""The recursions over time on all sequences, for the models with a hidden chain.

Sequences are stored one after the other (`Rows`) and processed in portions of whole sequences. The
engine's threads do this without the GIL; each takes portions until none is left. The portions depend
on the data alone and their sums are added in a fixed order, so no result depends on the number of
threads.

An *emission* is made from a model's parameters; ``emission.on(x)`` is the
``_hidden_markov.Emission`` of one array of rows.
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

# Rows times padded states below which a second thread does not help: 0.3 ms of work.
ALONE_BELOW = 1 << 16
PORTIONS = 32
# The most numbers that the sums of all portions may have together: 128 MB.
SUMS_LIMIT = 1 << 24


class EmissionModel(Protocol):
    """The distribution of a step in every state."""

    def on(self, x: Array) -> _hidden_markov.Emission:
        """Its likelihoods of the rows of `x`, for the recursions."""


class Rows:
    """Sequences one after the other: `values` (N, …), sequence s is ``offsets[s]:offsets[s + 1]``."""

    def __init__(self, values: Array, offsets: Codes) -> None:
        self.values, self.offsets = values, offsets
        self._portions: dict[int, Codes] = {}

    @classmethod
    def pack(cls, arrays: Sequence[Array]) -> Self:
        """From a list of arrays whose rows are alike."""
        offsets = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([len(a) for a in arrays], out=offsets[1:])
        return cls(np.ascontiguousarray(np.concatenate(arrays)), offsets)

    def split(self, values: Array) -> list[Array]:
        """Rows of `values` by sequence, a list of views."""
        return np.split(values, self.offsets[1:-1])

    def portions(self, sums: int) -> Codes:
        """The first sequence of every portion, and the number of sequences; portions have about equal rows.

        `sums` is the number of sums that a portion has.
        """
        most = max(1, min(PORTIONS, SUMS_LIMIT // max(sums, 1)))
        if most not in self._portions:
            last, rows = len(self.offsets) - 1, int(self.offsets[-1])
            ends = np.searchsorted(self.offsets[1:], rows * np.arange(1, most) // most) + 1
            ends = np.concatenate([[0], np.minimum(ends, last), [last]])
            self._portions[most] = np.unique(ends).astype(np.int64)
        return self._portions[most]


class Expectation(NamedTuple):
    """The results of an E-step: log probabilities, and sums over all steps of all sequences."""

    log_prob: Floats  # (sequences,)
    starts: Floats  # (n,) posterior of the first states
    pairs: Floats  # (n, n) expected number of transitions
    sums: Floats  # the emission's own sums


class Workers:
    """Working arrays for `rnncore.num_threads` threads, reused by every pass."""

    def __init__(self) -> None:
        from rnncore import num_threads

        self._spaces = [_hidden_markov.Space() for _ in range(num_threads())]

    def run(self, work: _hidden_markov.Pass, cells: int) -> None:
        """Run `work`, on one thread if it has fewer than `ALONE_BELOW` cells."""
        work.run(self._spaces if cells >= ALONE_BELOW else self._spaces[:1])


def expect(chain: Chain, emission: EmissionModel, rows: Rows, workers: Workers) -> Expectation:
    """The E-step. The log probability of a sequence that is impossible is -inf."""
    found = _smooth(chain, emission, rows, workers)
    n = chain.n_states
    return Expectation(found.log_prob, found.starts[:n], found.pairs[:n, :n], found.sums)


def posteriors(chain: Chain, emission: EmissionModel, x: Array) -> tuple[Floats, float]:
    """gamma (T, n) of one sequence, and its log probability."""
    found = _smooth(chain, emission, Rows.pack([x]), Workers(), posteriors=True)
    assert found.gamma is not None
    return found.gamma[:, : chain.n_states].copy(), float(found.log_prob[0])


def _smooth(
    chain: Chain, emission: EmissionModel, rows: Rows, workers: Workers, posteriors: bool = False
) -> _hidden_markov.Smoothing:
    on_rows = emission.on(rows.values)
    sums = chain.width * (1 + 2 * chain.width + on_rows.n_sums)
    work = _hidden_markov.Smoothing(chain, on_rows, rows.offsets, rows.portions(sums), posteriors=posteriors)
    workers.run(work, len(rows.values) * chain.width)
    return work


def filtered(chain: Chain, emission: EmissionModel, rows: Rows) -> tuple[list[Floats], list[Floats]]:
    """Log p(x_t | x_<t) of every row and p(state | x_≤t): two lists with one item per sequence."""
    work = _hidden_markov.Filtering(chain, emission.on(rows.values), rows.offsets, rows.portions(0))
    Workers().run(work, len(rows.values) * chain.width)
    return rows.split(work.log_norm), rows.split(work.alpha[:, : chain.n_states])
