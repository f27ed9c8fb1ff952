"""All sequences through the recursions over time: what the models with a hidden chain share.

Sequences lie end to end (`Rows`) and are worked off in portions of whole sequences.
Portions depend on the data alone and their sums are added in their order, so nothing
depends on the number of threads. They are the engine's, without the GIL, and each takes
portions until none is left.

An *emission* is made from a model's parameters; ``emission.on(x)`` is the
``_hidden_markov.Emission`` of one array of rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnncore import _hidden_markov

# Rows times padded states below which a second thread does not help: 0.3 ms of work.
ALONE_BELOW = 1 << 16
PORTIONS = 32
# Numbers that the sums of all portions may take together: 128 MB.
SUMS_LIMIT = 1 << 24


class Rows:
    """Sequences end to end: `values` (N, …), sequence s is ``offsets[s]:offsets[s + 1]``."""

    def __init__(self, values, offsets):
        self.values, self.offsets = values, offsets
        self._portions = {}

    @classmethod
    def pack(cls, arrays):
        """From a list of arrays with one kind of rows."""
        offsets = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([len(a) for a in arrays], out=offsets[1:])
        return cls(np.ascontiguousarray(np.concatenate(arrays)), offsets)

    def split(self, values):
        """Rows of `values` by sequence, a list of views."""
        return np.split(values, self.offsets[1:-1])

    def portions(self, sums):
        """First sequence of every portion, and the number of sequences; about equal rows.

        `sums`: how many numbers a portion adds up.
        """
        most = max(1, min(PORTIONS, SUMS_LIMIT // max(sums, 1)))
        if most not in self._portions:
            last, rows = len(self.offsets) - 1, int(self.offsets[-1])
            ends = np.searchsorted(self.offsets[1:], rows * np.arange(1, most) // most) + 1
            ends = np.concatenate([[0], np.minimum(ends, last), [last]])
            self._portions[most] = np.unique(ends).astype(np.int64)
        return self._portions[most]


class Expectation(NamedTuple):
    """What an E-step knows: log probabilities and the sums over all steps of all sequences."""

    log_prob: np.ndarray  # (sequences,)
    starts: np.ndarray  # (n,) posterior of the first states
    pairs: np.ndarray  # (n, n) expected number of transitions
    sums: np.ndarray  # what the emission adds up


class Workers:
    """Working arrays for `rnncore.num_threads` threads, used again from pass to pass."""

    def __init__(self):
        from rnncore import num_threads

        self._spaces = [_hidden_markov.Space() for _ in range(num_threads())]

    def run(self, work, cells):
        """All of a ``_hidden_markov.Pass``, on one thread if it has fewer than `ALONE_BELOW` cells."""
        work.run(self._spaces if cells >= ALONE_BELOW else self._spaces[:1])


def expect(chain, emission, rows, workers):
    """The E-step: an `Expectation`. A sequence that is impossible has log probability -inf."""
    found = _smooth(chain, emission, rows, workers)
    n = chain.n_states
    return Expectation(found.log_prob, found.starts[:n], found.pairs[:n, :n], found.sums)


def posteriors(chain, emission, x):
    """gamma (T, n) of one sequence, and its log probability."""
    found = _smooth(chain, emission, Rows.pack([x]), Workers(), posteriors=True)
    return found.gamma[:, : chain.n_states].copy(), float(found.log_prob[0])


def _smooth(chain, emission, rows, workers, posteriors=False):
    on_rows = emission.on(rows.values)
    sums = chain.width * (1 + 2 * chain.width + on_rows.n_sums)
    work = _hidden_markov.Smoothing(chain, on_rows, rows.offsets, rows.portions(sums), posteriors=posteriors)
    workers.run(work, len(rows.values) * chain.width)
    return work


def filtered(chain, emission, rows):
    """Log p(x_t | x_<t) of every row and p(state | x_≤t), lists with an item a sequence."""
    work = _hidden_markov.Filtering(chain, emission.on(rows.values), rows.offsets, rows.portions(0))
    Workers().run(work, len(rows.values) * chain.width)
    return rows.split(work.log_norm), rows.split(work.alpha[:, : chain.n_states])
