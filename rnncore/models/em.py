"""Expectation over many ragged sequences: what the models with a hidden chain share.

Sequences lie end to end (`Rows`) and are worked off in blocks of whole sequences, a
block a thread. Where the blocks begin depends on the data alone, and their sums are
added in their order, so nothing depends on the number of threads.

An *emission* says how likely a row is in every state. It has

``exact``                       a likelihood of 0 is a zero, not an underflow
``likelihood(x, out, top)``     rows over their largest, whose log goes to `top`
``log_likelihood(x)``           the same in logarithms, (rows, width)
``new_sums()``                  zeros, for the sums that its M-step needs
``add(x, gamma, sums)``         add a block's share, gamma is (rows, width)
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

# Rows of a block times padded states: three arrays of 512 KiB each, which stay in a core's L2.
BLOCK_CELLS = 1 << 16


class Rows(NamedTuple):
    """Sequences end to end: `values` (N, …), sequence s is ``offsets[s]:offsets[s + 1]``."""

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def pack(cls, arrays):
        """From a list of arrays with one kind of rows."""
        offsets = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([len(a) for a in arrays], out=offsets[1:])
        return cls(np.ascontiguousarray(np.concatenate(arrays)), offsets)

    def blocks(self, width):
        """``(first, last)`` sequences of every block: one, or about equal shares for 4 threads."""
        rows = int(self.offsets[-1])
        shares = max(1, -(-rows * width // BLOCK_CELLS))
        shares = shares if shares == 1 else 4 * -(-shares // 4)
        ends = np.searchsorted(self.offsets[1:], rows * np.arange(1, shares + 1) // shares) + 1
        ends[-1] = len(self.offsets) - 1
        ends = np.unique(ends).tolist()
        return list(zip([0, *ends], ends, strict=False))


class Expectation(NamedTuple):
    """What an E-step knows: log probabilities and the sums over all steps of all sequences."""

    log_prob: np.ndarray  # (sequences,)
    starts: np.ndarray  # (n,) posterior of the first states
    pairs: np.ndarray  # (n, n) expected number of transitions
    sums: np.ndarray  # what the emission adds up


class Workers:
    """The threads of one call, `rnncore.num_threads` of them, this one included.

    Use as a context manager: no thread outlives it.
    """

    def __init__(self):
        try:
            from rnncore import num_threads

            self.threads = num_threads()
        except ImportError:
            self.threads = 1
        self._pool = None

    def __enter__(self):
        if self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads - 1, thread_name_prefix="rnncore-em")
        return self

    def __exit__(self, *error):
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, task, items, take):
        """``take(task(item))`` of every item, taken one at a time and in the items' order."""
        if self._pool is None or len(items) < 2:
            for item in items:
                take(task(item))
            return
        lock, todo, done, turn = threading.Lock(), iter(enumerate(items)), {}, 0

        def work():
            nonlocal turn
            while True:
                with lock:
                    i, item = next(todo, (None, None))
                if i is None:
                    return
                result = task(item)
                with lock:
                    done[i] = result
                    while turn in done:
                        take(done.pop(turn))
                        turn += 1

        helpers = [self._pool.submit(work) for _ in range(min(self.threads, len(items)) - 1)]
        work()
        for helper in helpers:
            helper.result()


class Space(threading.local):
    """Working arrays of one thread, as large as the largest block it has met."""

    def __init__(self):
        self._arrays = np.empty((3, 0)), np.empty((2, 0))
        self._cut = (0, 0), ()

    def get(self, rows, width):
        """b, u, gamma (rows, width) and norm, top (rows,), with anything in them."""
        if self._cut[0] == (rows, width):
            return self._cut[1]
        wide, narrow = self._arrays
        if wide.shape[1] < rows * width or narrow.shape[1] < rows:
            wide, narrow = self._arrays = np.empty((3, rows * width)), np.empty((2, rows))
        cut = (*(a[: rows * width].reshape(rows, width) for a in wide),
               *(a[:rows] for a in narrow))
        self._cut = (rows, width), cut
        return cut


def expect(chain, emission, rows, workers, space):
    """The E-step: an `Expectation`. A sequence that is impossible has log probability -inf."""
    n = chain.n_states
    starts, pairs, sums = np.zeros(n), np.zeros((n, n)), emission.new_sums()
    log_prob = []

    def add(block):
        nonlocal starts, pairs, sums
        log_prob.append(block.log_prob)
        starts += block.starts
        pairs += block.pairs
        sums += block.sums

    workers.run(lambda block: _smooth(chain, emission, rows, *block, space)[0],
                rows.blocks(chain.width), add)
    return Expectation(np.concatenate(log_prob), starts, pairs, sums)


def posteriors(chain, emission, x):
    """gamma (T, n) of one sequence, and its log probability."""
    block, gamma = _smooth(chain, emission, Rows.pack([x]), 0, 1, Space())
    return gamma[:, : chain.n_states].copy(), float(block.log_prob[0])


def _smooth(chain, emission, rows, first, last, space):
    """`Expectation` of one block, and its gamma (in `space`)."""
    low, high = rows.offsets[first], rows.offsets[last]
    x, offsets = rows.values[low:high], rows.offsets[first : last + 1] - low
    n, width = chain.n_states, chain.width
    b, u, gamma, norm, top = space.get(high - low, width)
    starts, pairs, sums = np.empty(width), np.empty((width, width)), emission.new_sums()
    log_prob, lost = np.empty(last - first), np.empty(last - first, np.uint8)
    emission.likelihood(x, b, top)
    chain.smooth(offsets, b, u, norm, top, gamma, pairs, starts, log_prob, lost, emission.exact)
    for s in np.flatnonzero(lost) if lost.any() else ():
        part = slice(offsets[s], offsets[s + 1])
        if chain.smooth_log(emission.log_likelihood(x[part]), u[part], gamma[part], pairs,
                            norm[part]):
            starts += gamma[offsets[s]]
        else:
            gamma[part] = 0
        log_prob[s] = norm[part].sum()
    emission.add(x, gamma, sums)
    return Expectation(log_prob, starts[:n], pairs[:n, :n], sums), gamma


def filtered(chain, emission, rows):
    """Log p(x_t | x_<t) of every row and p(state | x_≤t), lists with an item a sequence."""
    space, logs, alphas = Space(), [], []

    def take(block):
        logs.extend(block[0])
        alphas.extend(block[1])

    with Workers() as workers:
        workers.run(lambda block: _filter(chain, emission, rows, *block, space),
                    rows.blocks(chain.width), take)
    return logs, alphas


def _filter(chain, emission, rows, first, last, space):
    low, high = rows.offsets[first], rows.offsets[last]
    x, offsets = rows.values[low:high], rows.offsets[first : last + 1] - low
    b, u, gamma, norm, top = space.get(high - low, chain.width)
    lost = np.empty(last - first, np.uint8)
    emission.likelihood(x, b, top)
    chain.forward(offsets, b, u, norm, lost, emission.exact)
    logs, alphas = [], []
    for s in range(last - first):
        part = slice(offsets[s], offsets[s + 1])
        if lost[s]:
            log_norm, pairs = np.empty(part.stop - part.start), np.zeros((chain.width,) * 2)
            chain.smooth_log(emission.log_likelihood(x[part]), u[part], gamma[part], pairs,
                             log_norm)
            logs.append(log_norm)
            with np.errstate(under="ignore"):
                alphas.append(np.exp(u[part, : chain.n_states]))
        else:
            logs.append(np.log(norm[part]) + top[part])
            alphas.append(u[part, : chain.n_states] / norm[part, None])
    return logs, alphas
