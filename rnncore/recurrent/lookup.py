"""Input that is rows of a table, such as those of an embedding: products with it are computed once for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rnncore import _engine

if TYPE_CHECKING:
    from rnncore._typing import Array

    from .layout import Layout
    from .ragged import Batch

# Where looking up pays, by the number of inputs for each row of the table, and by the multiply-adds that it saves,
# since it takes 20 us of its own. (A training step of an LSTM with 103 symbols, E 64, H 128, B 32, T 64, where a row is
# looked up 20 times, takes 0.79 of the time; with 60 symbols, E 16, H 32, B 8, T 32, which save too little, 1.03.)
# Products that do not stay in L2 are slower to look up, and pay for wide inputs that repeat more often (4,000 symbols,
# E 16, H 128, B 64, T 128: 1.2 of the time of a call, 1.1 of a training step).
LEAST_REPEATS, LEAST_SAVED = 2, 1 << 22
IN_CACHE = 1 << 20              # bytes
ELSE_LEAST_REPEATS, ELSE_LEAST_WIDTH = 4, 64


def pays(count: int, table: Array, slots: int) -> bool:
    """Whether to look up the products, `slots` wide, of so many inputs that are rows of this table (V, I)."""
    rows, width = map(int, table.shape)
    if count < LEAST_REPEATS * rows or (count - rows) * width * slots < LEAST_SAVED:
        return False
    in_cache: bool = rows * slots * table.itemsize <= IN_CACHE
    return in_cache or (count >= ELSE_LEAST_REPEATS * rows and width >= ELSE_LEAST_WIDTH)


class Lookup(NamedTuple):
    """Which row of a table each input of a layer is.

    The products of the table's rows with W_ih take the place of those of the inputs, with the same bits. On the way
    back the gradients of the pre-activations are added up by token first, and then go through the table as through a
    batch of V rows.

    Attributes
    ----------
    table : ndarray (V, I)
        Nobody else has it; rows that no token names may be set to zero.
    tokens : ndarray of intp
        Rows of the table in the layout of the input; after `arranged` (N,), all rows of step 0 first, those of every
        step in the order of the batch.
    """

    table: Array
    tokens: Array

    def arranged(self, layout: Layout, batch: Batch | None, slots: int) -> Lookup | None:
        """The tokens in the order in which the engine takes the inputs; None where looking up would not pay.

        `slots` is the number of rows of W_ih.
        """
        tokens = self.tokens
        if not pays(tokens.size if batch is None else batch.N, self.table, slots):
            return None
        if not layout.batched:
            tokens = tokens[:, None]
        elif layout.batch_first:
            tokens = tokens.T
        if batch is not None and tokens.ndim == 2:          # otherwise they are of its active rows alone
            tokens = tokens[:, batch.order][np.arange(batch.steps)[:, None] < batch.sorted_lengths]
        tokens = np.ascontiguousarray(tokens).reshape(-1)
        unused = np.bincount(tokens, minlength=len(self.table)) == 0
        if unused.any():                # their gradients are zero, whatever they are: zero times infinity would be NaN
            self.table[unused] = 0
        return Lookup(self.table, tokens)

    def products(self, weights: _engine.Weights) -> tuple[Array, Array]:
        """What `_engine.forward` takes: W_ih x + bias of every row of the table, and the tokens."""
        shape = len(self.table), weights.input_blocks * weights.hidden_size
        (products,) = _engine.carve("gradients", self.table.dtype, (shape,))
        _engine.project_table(weights, self.table, products)
        return products, self.tokens

    def backward(self, weights: _engine.Weights, delta: Array, grad_w_ih: Array) -> Array:
        """Fill in the gradient of weight_ih, from those of the pre-activations; returns that of the table."""
        grad: Array
        (grad,) = _engine.carve("gradients of parameters", self.table.dtype, (self.table.shape,))
        _engine.table_backward(weights, self.table, self.tokens, delta, grad, grad_w_ih)
        return grad
