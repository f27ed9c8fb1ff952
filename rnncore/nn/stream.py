"""Streams of whole models, which run a `SequenceModel` some steps at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _engine
from rnncore._checks import as_array
from rnncore._typing import Array, State
from rnncore.module import LOCK
from rnncore.nn.layers import Embedding
from rnncore.recurrent.stream import Stream, check_out

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, StateLike
    from rnncore.nn.layers import PackedLinear
    from rnncore.nn.sequence import SequenceModel


class ModelStream(Stream[State]):
    """Runs a model step by step, or block by block, and holds its state; `SequenceModel.stream` creates one.

    However a sequence is divided into steps and blocks, its predictions are bit-identical to those of one call of the
    model. With ``readout="last"`` each prediction is the one for a sequence that ends there. Copies, ``state`` and
    ``reset`` are as those of `Stream`.

    Attributes
    ----------
    state : ndarray or tuple
        A copy of the layer's state after the last step; may be set.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import sequence_model
    >>> model = sequence_model("gru", 10, hidden_size=8, embedding_size=4, seed=0)
    >>> tokens = np.arange(6).reshape(3, 2)
    >>> stream = model.stream(batch_size=2)
    >>> bool((np.stack([stream.step(row) for row in tokens]) == model(tokens)[0]).all())
    True
    """

    def __init__(self, model: SequenceModel, batch_size: int = 1, state: StateLike = None) -> None:
        self._model = model
        super().__init__(model.layer, batch_size)
        if state is not None:
            self.state = state

    def __repr__(self) -> str:
        return f"<ModelStream of {self._model!r}: batch_size={self._batch}>"

    def _bind(self) -> None:
        """Prepare to run with the present weights of layer and head; called again after they have changed."""
        with LOCK:
            super()._bind()
            self._head: PackedLinear = self._model.head.packed()
            # Of one step: the vectors of its tokens, its output, and the shape of its prediction.
            self._x: Array = np.empty((self._batch, self._layer.input_size), self._layer.dtype)
            self._h: Array = np.empty((self._batch, self._layer.structure.output_size), self._layer.dtype)
            self._shape = self._batch, self._model.head.out_features

    def _bind_present(self) -> None:
        """Bind the present weights, if those of the layer or of the head have changed."""
        if self._version != self._layer._version or self._head.version != self._model.head._version:
            self._bind()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_model": self._model}

    def step(self, x_t: ArrayLike, out: Array | None = None) -> Array:
        """Run one step.

        Parameters
        ----------
        x_t : array_like
            Integer tokens (B,), or real values (B, I).
        out : ndarray, (B, O), of the model's dtype, C-contiguous, optional
            The prediction is written into this array.

        Returns
        -------
        ndarray, (B, O)
        """
        embedding = self._model.embedding
        with LOCK:  # the weights of all parts at one moment, and the arrays of one step
            self._bind_present()
            if out is None:
                out = np.empty(self._shape, self._layer.dtype)
            else:
                check_out(out, self._shape, self._layer.dtype)
            head = self._head.weights
            if type(embedding) is Embedding and self._steps.predict(
                    x_t, embedding._parameters["weight"], head, self._x, self._h, out):
                return out
            values = x_t
            if embedding is not None:
                values = embedding.into(self._tokens(embedding, x_t, "x_t", 1), self._x)
            if not self._steps.step(values, self._h):
                self._convert(values, self._h, "x_t", ())
            _engine.linear_forward(head, self._h, out)
        return out

    def block(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Run N steps at once. A block that is refused, or interrupted, leaves the state as it was.

        Parameters
        ----------
        x : array_like
            Integer tokens (N, B), or real values (N, B, I).
        out : ndarray, (N, B, O), of the model's dtype, C-contiguous, optional
            The predictions are written into this array.

        Returns
        -------
        ndarray, (N, B, O)
        """
        model, embedding = self._model, self._model.embedding
        given = as_array(x, "x") if embedding is None else self._tokens(embedding, x, "x", 2)
        with LOCK:  # the weights of all parts at one moment
            self._bind_present()
            run, head = self._steps.block, self._head
            values = given if embedding is None else embedding(given)
        rows = len(values) if values.ndim == 3 else 0, self._batch       # other values are refused below
        shape = *rows, model.head.out_features
        if out is not None and values.ndim == 3:
            check_out(out, shape, model.dtype)
        before = [part.copy() for part in self._states]
        hidden: Array = np.empty((*rows, self._layer.structure.output_size), self._layer.dtype)
        if not run(values, hidden):
            self._convert(values, hidden, "x", ("N",))
        if out is None:
            out = np.empty(shape, model.dtype)
        try:
            _engine.linear_forward(head.weights, hidden.reshape(-1, hidden.shape[-1]), out.reshape(-1, out.shape[-1]))
        except BaseException:  # Ctrl-C among others
            for part, earlier in zip(self._states, before, strict=True):
                part[...] = earlier
            raise
        return out

    def _tokens(self, embedding: Embedding, given: ArrayLike, name: str, axes: int) -> Array:
        """The tokens of a step (`axes` 1) or of a block (2), checked but for whether the table has them."""
        tokens = embedding.checked(given, name)
        if tokens.ndim != axes or tokens.shape[-1] != self._batch:
            raise ValueError(f"{name}: got shape {tokens.shape}, expected tokens {'(B,)' if axes == 1 else '(N, B)'} "
                             f"with B = {self._batch}; open the stream with another batch_size, or pass such tokens")
        return tokens
