"""A fixed window of symbols, counted: the Markov chain of any order.

Every level k = 0 … order is a mixture of the counts after the last k
symbols and the level below, which is conditioned on one symbol less:

    P_k(x | c) = max(N(c, x) − D_k, 0) / M(c)  +  λ(c) · P_{k−1}(x | c′)

with P_{-1} uniform. Both smoothings are this one formula:

- additive: the highest level alone, D = 0, M = N(c) + α·n and λ = α·n / M over the
  uniform distribution;
- interpolated Kneser–Ney: M = N(c), λ = D · (number of different symbols after c) / M, and below the
  highest level N(c, x) is the number of different symbols seen before (c, x), not of occurrences
  (Chen & Goodman 1999, eq. 3.4).

The contexts that occur are kept in a trie (``contexts.py``). Steps before the beginning of a sequence
count as a symbol of their own, START, which occurs in contexts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, overload

import numpy as np

from rnncore._checks import as_number, as_size
from rnncore.models.interface.base import (
    KIND_NAMES,
    SequenceModelBase,
    check_fitted,
    generator,
)

from .contexts import ContextTrie, Level, steps_before

if TYPE_CHECKING:
    from typing import Self

    from rnncore._typing import Floats, Progress, RandomSource
    from rnncore.io.fields import Field
    from rnncore.models.interface.estimator import Names
    from rnncore.models.interface.sequences import Codes, SequenceLike, SequencesLike

Smoothing: TypeAlias = Literal["additive", "kneser-ney"]
SMOOTHINGS: tuple[Smoothing, ...] = ("additive", "kneser-ney")
TABLE_LIMIT = 20_000_000  # the most entries that the table of all contexts may have


class Markov(SequenceModelBase):
    """Markov chain of any order with smoothing.

    Parameters
    ----------
    order : int
        Number of symbols on which the next one depends.
    smoothing : {"additive", "kneser-ney"}
    alpha : float
        The number that additive smoothing adds to every count, >= 0. With 0 the estimate is
        maximum likelihood, and after contexts never seen all symbols are equally likely.
    discount : float in (0, 1), optional
        D of Kneser–Ney; by default n₁ / (n₁ + 2·n₂) of every level, kept within
        0.05 … 0.95.
    alphabet : str or int, optional
        The characters, or the number of integer symbols; by default those of `fit`.

    Attributes
    ----------
    alphabet_ : str or int
        The characters, or the number of integer symbols.
    n_symbols_ : int
        The number of symbols.
    n_parameters_ : int
        Number of counts kept.

    Notes
    -----
    The contexts of the first `order` elements of a sequence are filled up with START. Therefore
    the joint log probability is exactly the sum of the conditional ones, and the probabilities of all
    sequences of one length sum to 1.

    Examples
    --------
    >>> from rnncore.models import Markov
    >>> model = Markov(order=2, smoothing="kneser-ney").fit(["abracadabra", "abba"])
    >>> model.predict("ab").round(2)                # a b c d r
    array([0.15, 0.25, 0.03, 0.03, 0.56])
    >>> model.sample(8, seed=1)
    'abrabrac'
    """

    _names: ClassVar[Names] = {"smoothing": SMOOTHINGS}

    keys_: list[Codes]
    pairs_: list[Codes]
    counts_: list[Floats]
    discounts_: list[float]

    def __init__(
        self,
        order: int = 1,
        *,
        smoothing: Smoothing = "additive",
        alpha: float = 1.0,
        discount: float | None = None,
        alphabet: str | int | None = None,
    ) -> None:
        self.order = order
        self.smoothing = smoothing
        self.alpha = alpha
        self.discount = discount
        self.alphabet = alphabet

    # -- learning --------------------------------------------------------------
    def fit(self, sequences: SequencesLike, y: None = None, *, progress: Progress = False) -> Self:
        """Count; returns self. Sequences may have any length, 0 included.

        `progress` belongs to the common interface and has no effect: counting is one sort per level.
        """
        self._check_settings()
        self._check_no_targets(y)
        arrays = self._read(sequences, kinds=("text", "ids"))
        size, order = self._alphabet.size, int(self.order)
        symbols = np.concatenate([*arrays, np.empty(0, np.int64)])
        trie, nodes = ContextTrie.grow(size, order, symbols, steps_before(list(map(len, arrays))))

        self.keys_, self.pairs_, self.counts_, self.discounts_ = trie.keys, [], [], []
        for k in range(0 if self.smoothing == "kneser-ney" else order, order + 1):
            seen = nodes[k] * size + symbols
            if k < order:  # count once for every context that is one symbol longer
                seen = seen[np.unique(nodes[k + 1] * size + symbols, return_index=True)[1]]
            pairs, counts = np.unique(seen, return_counts=True)
            self.pairs_.append(pairs)
            self.counts_.append(counts.astype(np.float64))
            self.discounts_.append(self._discount(counts))
        self._prepare()
        return self

    def _check_settings(self) -> None:
        as_size(self.order, "order", least=0)
        as_number(self.alpha, "alpha", least=0)
        if self.discount is not None:
            as_number(self.discount, "discount", above=0, below=1, also="None")

    def _discount(self, counts: Codes) -> float:
        if self.smoothing == "additive":
            return 0.0
        if self.discount is not None:
            return float(self.discount)
        once, twice = int(np.count_nonzero(counts == 1)), int(np.count_nonzero(counts == 2))
        return float(np.clip(once / max(once + 2 * twice, 1), 0.05, 0.95))

    def _prepare(self) -> None:
        """Make the trie and the levels ``(k, Level)``, lowest first, from the counts."""
        size = self._alphabet.size
        self._trie = ContextTrie(size, self.keys_)
        lowest = self._trie.order + 1 - len(self.pairs_)
        added = self.alpha * size if self.smoothing == "additive" else 0.0
        self._levels = [
            (k, Level(pairs, counts, self._trie.contexts(k), size, discount, added))
            for k, pairs, counts, discount in zip(range(lowest, self._trie.order + 1), self.pairs_,
                                                  self.counts_, self.discounts_, strict=True)]

    def _set_state(self, state: Field) -> None:
        state.only((*KIND_NAMES, "keys_", "pairs_", "counts_", "discounts_"))
        self._set_kind_from(state, ("text", "ids"))
        size, contexts, self.keys_ = self._alphabet.size, [1], []
        for field in state["keys_"].items():
            self.keys_.append(_ascending(field, contexts[-1] * (size + 1)))
            contexts.append(len(self.keys_[-1]))
        levels = state["pairs_"].items()
        if not 1 <= len(levels) <= len(contexts):
            raise state["pairs_"].refuse(f"a list of 1 to {len(contexts)}")
        contexts = contexts[-len(levels):]
        self.pairs_ = [_ascending(field, n * size)
                       for field, n in zip(levels, contexts, strict=True)]
        self.counts_ = [field.array((len(pairs),)) for field, pairs in
                        zip(state["counts_"].items(len(levels)), self.pairs_, strict=True)]
        if any((counts <= 0).any() for counts in self.counts_):
            raise state["counts_"].refuse("counts above 0")
        self.discounts_ = [d.number(0, 1) for d in state["discounts_"].items(len(levels))]
        self._prepare()

    @property
    def n_parameters_(self) -> int:
        """Number of counts kept."""
        check_fitted(self, "pairs_")
        return sum(map(len, self.pairs_))

    # -- answering ---------------------------------------------------------------
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: Literal[False] = False) -> float: ...
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: Literal[True]) -> Floats: ...
    @overload
    def log_prob(self, sequence: SequenceLike, per_step: bool) -> float | Floats: ...
    def log_prob(self, sequence: SequenceLike, per_step: bool = False) -> float | Floats:
        symbols = self._check(sequence)
        nodes = self._trie.find(symbols, np.arange(len(symbols)))
        probability = np.full(len(symbols), 1.0 / self._alphabet.size)
        for k, level in self._levels:
            probability = level.own(nodes[k], symbols) + level.rest[nodes[k]] * probability
        with np.errstate(divide="ignore"):
            steps: Floats = np.log(probability)
        return steps if per_step else float(steps.sum())

    log_prob.__doc__ = SequenceModelBase.log_prob.__doc__

    def predict(self, context: SequenceLike | None = None) -> Floats:
        """Probabilities ``(n_symbols,)`` of the symbol that follows `context`.

        A context shorter than `order` is the beginning of a sequence.
        """
        nodes = self._nodes_after(self._check(context, "context"))
        probability = np.full(self._alphabet.size, 1.0 / self._alphabet.size)
        for k, level in self._levels:
            symbols, own = level.after(nodes[k])
            probability *= level.rest[nodes[k]]
            probability[symbols] += own
        return probability

    def sample(self, length: int, context: SequenceLike | None = None, seed: RandomSource = None) -> str | Codes:
        """Draw `length` symbols that follow `context`; the cost does not grow with n."""
        before = self._check(context, "context")
        length, rng = as_size(length, "length", least=0), generator(seed)
        symbols = np.concatenate([before, np.zeros(length, np.int64)])
        for t in range(len(before), len(symbols)):
            symbols[t] = self._draw(self._nodes_after(symbols[:t]), rng)
        return self._alphabet.decode(symbols[len(before):])

    def _nodes_after(self, context: Codes) -> list[int]:
        """The node of every level for the symbol that follows `context` (codes)."""
        window = np.append(context[max(len(context) - self._trie.order, 0):], 0)
        return [int(node[-1]) for node in self._trie.find(window, np.arange(len(window)))]

    def _draw(self, nodes: Sequence[int], rng: np.random.Generator) -> int:
        """Walk down the mixture: a symbol that was counted at this level, or one of the level below."""
        for k, level in reversed(self._levels):
            if rng.random() >= level.rest[nodes[k]]:
                symbols, own = level.after(nodes[k])
                ladder = np.cumsum(own)
                step = np.searchsorted(ladder, rng.random() * ladder[-1], side="right")
                return int(symbols[min(step, len(symbols) - 1)])
        return int(rng.integers(self._alphabet.size))

    # -- in the long run ------------------------------------------------------------
    def transition_table(self) -> Floats:
        """P(x | c) of all n**order contexts, ``(n**order, n)``, oldest symbol first.

        Row ``i`` of order 2 is the context ``(i // n, i % n)``.
        """
        check_fitted(self, "pairs_")
        size, order = self._alphabet.size, self._trie.order
        if size ** (order + 1) > TABLE_LIMIT:
            raise ValueError(f"order: got {order} with {size} symbols, expected at most "
                             f"{TABLE_LIMIT:,} entries in the table of all contexts; "
                             "-score([sample(n)]) estimates the entropy rate instead")
        table: Floats = np.full((1, size), 1.0 / size)
        for k, level in self._levels:
            table = np.tile(table, (size**k // len(table), 1))
            place = self._trie.spell(k)
            inside = place >= 0
            table[place[inside]] *= level.rest[:-1][inside, None]
            node, symbol = np.divmod(level.pairs, size)
            keep = inside[node]
            table[place[node[keep]], symbol[keep]] += level.probability[keep]
        return table

    def stationary_distribution(self, tol: float = 1e-13, max_iter: int = 100_000) -> Floats:
        """How often every context occurs in the long run, ``(n,) * order``; ``(n,)`` for order 0.

        For small chains a linear system is solved; large ones are iterated, with every step averaged
        with the previous one so that periodic chains converge too.

        Parameters
        ----------
        tol : float
            Iteration ends when the sum of absolute changes in one step is at most this.
        max_iter : int

        Raises
        ------
        ValueError
            The distribution depends on the initial one (only with ``alpha=0``), does not converge in
            `max_iter` steps, or the table of all contexts is too large.
        """
        table = self.transition_table()
        size, order = self._alphabet.size, self._trie.order
        if order == 0:
            only: Floats = table[0]
            return only
        if len(table) <= 1024:
            share = self._solve(table)
        else:
            share = np.full(len(table), 1.0 / len(table))
            for _ in range(max_iter):
                last, share = share, 0.5 * (share + _push(share, table))
                if np.abs(share - last).sum() <= tol:
                    break
            else:
                raise ValueError(f"max_iter: got {max_iter}, the distribution still moves by "
                                 f"{np.abs(share - last).sum():.1e} per step; expected more "
                                 "iterations or a larger tol")
        return share.reshape((size,) * order)

    def _solve(self, table: Floats) -> Floats:
        """π with πP = π and Σπ = 1, by least squares on the two together."""
        contexts = len(table)
        moves = np.stack([_push(row, table) for row in np.eye(contexts)])
        system = np.vstack([moves.T - np.eye(contexts), np.ones(contexts)])
        share, _, rank, _ = np.linalg.lstsq(system, np.eye(contexts + 1)[-1], rcond=1e-12)
        if rank < contexts:
            raise ValueError("stationary_distribution: there is more than one, since the chain has parts "
                             "between which there are no transitions; smooth it with alpha > 0")
        distribution: Floats = np.clip(share, 0.0, None) / np.clip(share, 0.0, None).sum()
        return distribution

    def entropy_rate(self) -> float:
        """Entropy of the next symbol in the long run, nats per symbol (divide by ln 2 for bits)."""
        table = self.transition_table()
        share = self.stationary_distribution().ravel() if self._trie.order else np.ones(1)
        logs = np.log(table, out=np.zeros_like(table), where=table > 0)
        return float(-(share @ (table * logs).sum(axis=1)))


def _ascending(field: Field, bound: int) -> Codes:
    """Whole numbers of a file, from 0 to below `bound`, each larger than the one before."""
    values = field.array((None,), np.int64)
    if bound >= 2**63 or (len(values) and not (
            values[0] >= 0 and values[-1] < bound and (values[1:] > values[:-1]).all())):
        raise field.refuse(f"rising whole numbers from 0 to below {bound:,}")
    return values


def _push(share: Floats, table: Floats) -> Floats:
    """One step of the chain: the distribution of contexts after one more symbol."""
    size = table.shape[1]
    after: Floats = (share[:, None] * table).reshape(size, -1).sum(axis=0)
    return after
