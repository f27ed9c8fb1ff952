"""Embedding, Linear and Dropout, each with its forward computation and its adjoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _engine
from rnncore._checks import (
    as_array,
    as_flag,
    as_indices,
    as_probability,
    as_real,
    as_rows,
    as_seed,
    as_size,
    check_fits,
)
from rnncore.module import LOCK, Module, Packed
from rnncore.nn.record import Record, changed
from rnncore.recurrent.dropout import Masks
from rnncore.recurrent.gradients import Gradients

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, DTypeLike, Seed


def _room(rows: int, width: int, dtype: np.dtype[Any]) -> Array:
    """An uninitialised array (rows, width) in memory that was freed earlier, if any: new pages are expensive."""
    room: Array
    (room,) = _engine.carve("gradients", dtype, ((rows, width),))
    return room


def _rows_of(array: Array, width: int) -> Array:
    """The rows along the last axis, (M, width), contiguous."""
    return np.ascontiguousarray(array.reshape(-1, width))


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
        check_fits(self.num_embeddings * self.embedding_dim, self.dtype, "weights",
                   num_embeddings=self.num_embeddings, embedding_dim=self.embedding_dim)
        rows = np.random.default_rng(as_seed(seed)).standard_normal((num_embeddings, embedding_dim))
        self._parameters = {"weight": rows.astype(self.dtype)}

    def __repr__(self) -> str:
        return f"Embedding({self.num_embeddings}, {self.embedding_dim}, dtype={self.dtype.name!r})"

    def __call__(self, tokens: ArrayLike) -> Array:
        """The vectors of integer tokens of any shape, as an array ``(*shape, E)``."""
        return self._rows(self.checked(tokens))[0]

    def record(self, tokens: ArrayLike, *, train: bool = False) -> Record[None]:
        """As a call; ``backward`` of the record gives no input gradient, since tokens are integers."""
        return self.record_checked(self.checked(tokens))

    def record_checked(self, own: Array) -> Record[None]:
        """As `record`, of tokens as from `checked`, which the record keeps."""
        def adjoint(grad_output: Array) -> Gradients[None, None]:
            return Gradients(None, None, {"weight": self._grad_weight(own, grad_output)})

        return Record(self, *self._rows(own), adjoint)

    def _rows(self, tokens: Array) -> tuple[Array, int]:
        """Rows of the table, and its version."""
        rows = _room(tokens.size, self.embedding_dim, self.dtype)
        with LOCK:
            self.into(tokens.reshape(-1), rows)
            version = self._version
        return rows.reshape(*tokens.shape, self.embedding_dim), version

    def into(self, tokens: Array, rows: Array) -> Array:
        """Write the vectors of tokens (M,), as from `checked`, into the contiguous array `rows`, (M, E); return it."""
        with LOCK:
            if not _engine.embed(self._parameters["weight"], tokens, rows):
                raise self._outside(tokens)
        return rows

    def _grad_weight(self, tokens: Array, grad_output: Array) -> Array:
        """The sums of grad_output's rows by token; each is added up in C order of `tokens` in float64, rounded once."""
        shape = self.num_embeddings, self.embedding_dim
        grad: Array
        (grad,) = _engine.carve("gradients of parameters", self.dtype, (shape,))
        _engine.embedding_gradient(grad, tokens.reshape(-1), _rows_of(grad_output, self.embedding_dim))
        return grad

    def checked(self, tokens: ArrayLike, name: str = "tokens") -> Array:
        """A copy of the tokens in the type that the engine reads, which the backward pass may keep."""
        found = as_indices(tokens, name)
        if found.dtype == np.uint64 and (found >= 2**63).any():
            raise self._outside(found)
        return np.array(found, np.intp, order="C")

    def _outside(self, tokens: Array) -> IndexError:
        return IndexError(f"tokens: got values from {tokens.min()} to {tokens.max()}, expected 0 to "
                          f"{self.num_embeddings - 1} (num_embeddings={self.num_embeddings})")


class PackedLinear(Packed):
    """The packed weights of a `Linear`; the backward pass adds their transpose, see `Linear.packed_at`."""

    def __init__(self, version: int, weight: Array, bias: Array | None) -> None:
        super().__init__(version)
        self.weights = _engine.LinearWeights(weight, bias)


class Linear(Module):
    """y = x·Wᵀ + b on the last axis.

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
        check_fits((self.in_features + self.bias) * self.out_features, self.dtype, "weights",
                   in_features=self.in_features, out_features=self.out_features)
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
        rows = _rows_of(x, self.in_features)

        def adjoint(grad_output: Array) -> Gradients[None, Array]:
            weights = self.packed_at(packed.version).weights
            shapes = (self.out_features, self.in_features), (self.out_features,) if self.bias else None
            grad_weight, grad_bias = _engine.carve("gradients of parameters", self.dtype, shapes)
            grad_x = _room(len(rows), self.in_features, self.dtype)
            grad_y = _rows_of(grad_output, self.out_features)
            _engine.linear_backward(weights, rows, grad_y, grad_x, grad_weight, grad_bias)
            parameters = {"weight": grad_weight} | ({"bias": grad_bias} if self.bias else {})
            return Gradients(grad_x.reshape(x.shape), None, parameters)

        return Record(self, self._times(packed, rows, x.shape), packed.version, adjoint)

    def call_on(self, packed: PackedLinear, x: Array) -> Array:
        """As a call, on packed weights that were taken before."""
        return self._times(packed, _rows_of(x, self.in_features), x.shape)

    def _times(self, packed: PackedLinear, rows: Array, shape: tuple[int, ...]) -> Array:
        """y of the rows of an x of this shape."""
        y = _room(len(rows), self.out_features, self.dtype)
        _engine.linear_forward(packed.weights, rows, y)
        return y.reshape(*shape[:-1], self.out_features)

    def packed_at(self, version: int) -> PackedLinear:
        """The packed weights, with their transpose, for the backward pass of a call that used this `version` of them.

        Raises a RuntimeError if the weights have changed since.
        """
        with LOCK:
            if version != self._version:
                raise changed(self)
            packed = self.packed()
            packed.weights.pack_backward(self._parameters["weight"])
        return packed

    def _pack(self) -> PackedLinear:
        return PackedLinear(self._version, self._parameters["weight"], self._parameters.get("bias"))

    def _checked(self, x: ArrayLike) -> Array:
        found = as_rows(x, "x", self.dtype)
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
        return as_array(x, "x")

    def record(self, x: ArrayLike, *, train: bool = False) -> Record[Array]:
        """With ``train=True`` drop values; otherwise pass `x` and its gradient through unchanged."""
        values: Array = as_array(x, "x")
        if not train or self.p == 0:
            return Record(self, values, self._version, lambda grad_output: Gradients(grad_output.copy(), None, {}))
        values = as_real(values, "x", values.dtype if values.dtype.kind == "f" else np.dtype("float32"))
        rng = np.random.Generator(np.random.PCG64([int(self.masks.seed), self.masks.next() - 1]))
        keep = rng.random(values.shape, dtype=np.float32) >= self.p
        mask = keep * values.dtype.type(1 / (1 - self.p))
        return Record(self, values * mask, self._version, lambda grad_output: Gradients(grad_output * mask, None, {}))
