"""Input that is rows of a table, such as those of an embedding: products with it are computed once for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rnncore import _engine

if TYPE_CHECKING:
    from rnncore._typing import Array

    from .layout import Layout
    from .ragged import Batch

# Looking up pays from so many inputs for each row of the table, and so many multiply-adds that it saves in each block
# of weight_ih, since it takes 20 us of its own. (A training step of an LSTM with 103 symbols, E 64, H 128, B 32, T 64,
# where a row is looked up 20 times, takes 0.78 of the time; with 60 symbols, E 16, H 32, B 8, T 32, without the second
# condition, 1.03.)
LEAST_REPEATS, LEAST_SAVED = 2, 1 << 20


class Lookup(NamedTuple):
    """Which row of a table each input of a layer is.

    The products of the table's rows with W_ih take the place of those of the inputs, with the same bits. On the way
    back the gradients of the pre-activations are added up by token first, and then go through the table as through a
    batch of V rows.

    Attributes
    ----------
    table : ndarray (V, I)
    tokens : ndarray of intp
        Rows of the table in the layout of the input; after `arranged` (N,), all rows of step 0 first, those of every
        step in the order of the batch.
    """

    table: Array
    tokens: Array

    def arranged(self, layout: Layout, batch: Batch | None, hidden_size: int) -> Lookup | None:
        """The tokens in the order in which the engine takes the inputs; None where looking up would not pay."""
        count = self.tokens.size if batch is None else batch.N
        rows, width = self.table.shape
        if count < LEAST_REPEATS * rows or (count - rows) * width * hidden_size < LEAST_SAVED:
            return None
        by_step = (self.tokens[:, None] if not layout.batched else self.tokens.T if layout.batch_first else self.tokens)
        if batch is not None:
            by_step = by_step[:, batch.order][np.arange(batch.steps)[:, None] < batch.sorted_lengths]
        return Lookup(self.table, np.ascontiguousarray(by_step).reshape(-1))

    def products(self, weights: _engine.Weights) -> tuple[Array, Array]:
        """What `_engine.forward` takes: W_ih x + bias of every row of the table, and the tokens."""
        products = _engine.room((len(self.table), weights.input_blocks * weights.hidden_size), self.table.dtype)
        _engine.project_table(weights, self.table, products)
        return products, self.tokens

    def backward(self, weights: _engine.Weights, delta: Array, grad_w_ih: Array) -> Array:
        """Fill in the gradient of weight_ih, from those of the pre-activations; returns that of the table."""
        grad: Array
        (grad,) = _engine.carve("gradients of parameters", self.table.dtype, (self.table.shape,))
        _engine.table_backward(weights, self.table, self.tokens, delta, grad, grad_w_ih)
        return grad
