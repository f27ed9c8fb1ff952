"""Embedding, Linear and Dropout, each with its forward computation and its adjoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore import _engine
from rnncore._checks import as_array, as_flag, as_indices, as_probability, as_real, as_seed, as_size
from rnncore.module import LOCK, Module, Packed
from rnncore.nn.product import outer, rows_times
from rnncore.nn.record import Record
from rnncore.recurrent.dropout import Masks
from rnncore.recurrent.tape import Gradients

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, DTypeLike, Seed


class Embedding(Module):
    """A table of vectors: token k becomes row k of the table.

    This equals a linear layer without bias that is given one-hot vectors. It is the usual input layer for text.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        The number of tokens, V, and the length of their vectors, E.
    dtype : {"float32", "float64"}
    seed : int, optional
        The weights are drawn from N(0, 1), as in torch, with numpy's PCG64.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import Embedding
    >>> table = Embedding(5, 3, seed=0)
    >>> record = table.record(np.array([[4, 0], [4, 1]]))
    >>> record.output.shape
    (2, 2, 3)
    >>> record.backward(np.ones((2, 2, 3))).parameters["weight"][:, 0].tolist()
    [1.0, 1.0, 0.0, 0.0, 2.0]
    """

    _fixed = frozenset({"num_embeddings", "embedding_dim"})

    def __init__(self, num_embeddings: int, embedding_dim: int, *, dtype: DTypeLike = "float32",
                 seed: Seed = None) -> None:
        super().__init__(dtype)
        self.num_embeddings = as_size(num_embeddings, "num_embeddings")
        self.embedding_dim = as_size(embedding_dim, "embedding_dim")
        rows = np.random.default_rng(as_seed(seed)).standard_normal((num_embeddings, embedding_dim))
        self._parameters = {"weight": rows.astype(self.dtype)}

    def __repr__(self) -> str:
        return f"Embedding({self.num_embeddings}, {self.embedding_dim}, dtype={self.dtype.name!r})"

    def __call__(self, tokens: ArrayLike) -> Array:
        """The vectors of integer tokens of any shape, as an array ``(*shape, E)``."""
        return self._rows(self._checked(tokens))[0]

    def record(self, tokens: ArrayLike, *, train: bool = False) -> Record[None]:
        """As a call; ``backward`` of the record gives no input gradient, since tokens are integers."""
        own = self._checked(np.array(as_array(tokens, "tokens")))

        def adjoint(grad_output: Array) -> Gradients[None, None]:
            return Gradients(None, None, {"weight": self._grad_weight(own, grad_output)})

        return Record(self, *self._rows(own), adjoint)

    def _rows(self, tokens: Array) -> tuple[Array, int]:
        """Rows of the table, and its version."""
        with LOCK:
            return self._parameters["weight"][tokens], self._version

    def _grad_weight(self, tokens: Array, grad_output: Array) -> Array:
        """The sum of grad_output's rows by token: in C order of `tokens`, one reduction per token.

        Sorting first is 5× faster than np.add.at at 2,048 × 64 and gives the same bits.
        """
        grad: Array = np.zeros((self.num_embeddings, self.embedding_dim), grad_output.dtype)
        flat = tokens.ravel()
        if not flat.size:
            return grad
        order = np.argsort(flat, kind="stable")
        rows = grad_output.reshape(-1, self.embedding_dim)[order]
        used, starts = np.unique(flat[order], return_index=True)
        ends = np.append(starts[1:], flat.size)
        for token, start, end in zip(used.tolist(), starts.tolist(), ends.tolist(), strict=True):
            np.add.reduce(rows[start:end], axis=0, out=grad[token])
        return grad

    def _checked(self, tokens: ArrayLike) -> Array:
        found = as_indices(tokens, "tokens")
        if found.size and (found.min() < 0 or found.max() >= self.num_embeddings):
            raise IndexError(
                f"tokens: got values from {found.min()} to {found.max()}, expected 0 to "
                f"{self.num_embeddings - 1} (num_embeddings={self.num_embeddings})"
            )
        return found


class PackedLinear(Packed):
    """The weights of a `Linear`: packed for the engine, and by rows for the backward pass."""

    def __init__(self, version: int, weight: Array, bias: Array | None) -> None:
        super().__init__(version)
        self.rows, self.matrix = weight.copy(), _engine.Matrix(weight, bias)


class Linear(Module):
    """y = x·Wᵀ + b on the last axis. A row of y has the same bits whatever other rows there are.

    Parameters
    ----------
    in_features, out_features : int
        W is (out_features, in_features), as in torch.
    bias : bool
    dtype : {"float32", "float64"}
    seed : int, optional
        The weights are drawn from U(±1/√in_features), as in torch, with numpy's PCG64.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import Linear
    >>> linear = Linear(3, 2, seed=0)
    >>> record = linear.record(np.ones((7, 4, 3)))
    >>> grads = record.backward(np.ones((7, 4, 2)))
    >>> grads.input.shape, grads.parameters["bias"].tolist()
    ((7, 4, 3), [28.0, 28.0])
    """

    _fixed = frozenset({"in_features", "out_features", "bias"})

    if TYPE_CHECKING:
        def packed(self) -> PackedLinear: ...

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, dtype: DTypeLike = "float32",
                 seed: Seed = None) -> None:
        super().__init__(dtype)
        self.in_features = as_size(in_features, "in_features")
        self.out_features = as_size(out_features, "out_features")
        self.bias = as_flag(bias, "bias")
        rng, bound = np.random.default_rng(as_seed(seed)), in_features**-0.5
        shapes: dict[str, tuple[int, ...]] = {"weight": (out_features, in_features), "bias": (out_features,)}
        if not bias:
            del shapes["bias"]
        self._parameters = {
            name: rng.uniform(-bound, bound, shape).astype(self.dtype)
            for name, shape in shapes.items()
        }

    def __repr__(self) -> str:
        bias = "" if self.bias else ", bias=False"
        return f"Linear({self.in_features}, {self.out_features}{bias}, dtype={self.dtype.name!r})"

    def __call__(self, x: ArrayLike) -> Array:
        """y, ``(..., out_features)``, of x, ``(..., in_features)``."""
        return self.call_on(self.packed(), self._checked(x))

    def record(self, x: ArrayLike, *, train: bool = False) -> Record[Array]:
        """As a call, keeping a copy of `x` for the backward pass."""
        return self.record_on(self.packed(), self._checked(np.array(as_array(x, "x"))))

    def record_on(self, packed: PackedLinear, x: Array) -> Record[Array]:
        """As `record`, on packed weights that were taken before."""

        def adjoint(grad_output: Array) -> Gradients[None, Array]:
            rows = grad_output.reshape(-1, self.out_features)
            parameters = {"weight": outer(rows, x.reshape(-1, self.in_features))}
            if self.bias:
                parameters["bias"] = rows.sum(axis=0)
            grad_x = rows_times(rows, packed.rows)
            return Gradients(grad_x.reshape(x.shape), None, parameters)

        return Record(self, self.call_on(packed, x), packed.version, adjoint)

    def call_on(self, packed: PackedLinear, x: Array) -> Array:
        """As a call, on packed weights that were taken before."""
        rows = np.ascontiguousarray(x.reshape(-1, self.in_features))
        y = np.empty((len(rows), self.out_features), self.dtype)
        packed.matrix.times(rows, y)
        return y.reshape(*x.shape[:-1], self.out_features)

    def _pack(self) -> PackedLinear:
        return PackedLinear(self._version, self._parameters["weight"], self._parameters.get("bias"))

    def _checked(self, x: ArrayLike) -> Array:
        found = as_real(x, "x", self.dtype)
        if found.ndim == 0 or found.shape[-1] != self.in_features:
            raise ValueError(
                f"x: got shape {found.shape}, expected (..., {self.in_features}): the last axis is "
                f"in_features"
            )
        return np.ascontiguousarray(found)


class Dropout(Module):
    """In training, sets values to zero with probability `p` and scales the others by 1/(1−p).

    The mask of the n-th training record comes from PCG64 seeded with (seed, n), so that a resumed run draws the same
    masks as an uninterrupted one.

    Parameters
    ----------
    p : float
        0 ≤ p < 1.
    seed : int, optional

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import Dropout
    >>> dropout = Dropout(0.5, seed=0)
    >>> bool((dropout(np.ones(8)) == 1).all())                  # a call drops nothing
    True
    >>> sorted(set(dropout.record(np.ones(8), train=True).output.tolist()))
    [0.0, 2.0]
    """

    def __init__(self, p: float = 0.5, *, seed: Seed = None) -> None:
        super().__init__()
        self.p = p
        self.masks = Masks(as_seed(seed))

    def __repr__(self) -> str:
        return f"Dropout({self.p})"

    @property
    def p(self) -> float:
        """The probability that a value is dropped; may be set."""
        return self._p

    @p.setter
    def p(self, value: float) -> None:
        self._p = as_probability(value, "p")

    def __call__(self, x: ArrayLike) -> Array:
        """`x` itself: values are dropped in training only, by ``record(x, train=True)``."""
        return np.asarray(x)

    def record(self, x: ArrayLike, *, train: bool = False) -> Record[Array]:
        """With ``train=True`` drop values; otherwise pass `x` and its gradient through unchanged."""
        values: Array = np.asarray(x)
        if not train or self.p == 0:
            return Record(self, values, self._version, lambda grad_output: Gradients(grad_output.copy(), None, {}))
        values = as_real(values, "x", values.dtype if values.dtype.kind == "f" else np.dtype("float32"))
        rng = np.random.Generator(np.random.PCG64([int(self.masks.seed), self.masks.next() - 1]))
        keep = rng.random(values.shape, dtype=np.float32) >= self.p
        mask = keep * values.dtype.type(1 / (1 - self.p))
        return Record(self, values * mask, self._version, lambda grad_output: Gradients(grad_output * mask, None, {}))
