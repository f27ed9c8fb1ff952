"""Streams of whole models, which run a `SequenceModel` some steps at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_array
from rnncore._typing import Array, State
from rnncore.module import LOCK
from rnncore.recurrent.stream import Stream, check_out

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike
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
    """

    def __init__(self, model: SequenceModel, batch_size: int) -> None:
        self._model = model
        super().__init__(model.layer, batch_size)

    def __repr__(self) -> str:
        return f"<ModelStream of {self._model!r}: batch_size={self._batch}>"

    def _bind(self) -> None:
        """Prepare to run with the present weights of layer and head; called again after they have changed."""
        with LOCK:
            super()._bind()
            self._head: PackedLinear = self._model.head.packed()

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
        return self._run(x_t, out, "x_t", 0)

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
        return self._run(x, out, "x", 1)

    def _run(self, x: ArrayLike, out: Array | None, name: str, axes: int) -> Array:
        """A step (`axes` 0) or a block (1)."""
        model = self._model
        given = as_array(x, name)
        if model.embedding is not None and (given.ndim != axes + 1 or given.shape[-1] != self._batch):
            raise ValueError(f"{name}: got shape {given.shape}, expected tokens {'(N, B)' if axes else '(B,)'} with "
                             f"B = {self._batch}; open the stream with another batch_size, or pass such tokens")
        with LOCK:  # the weights of all parts at one moment
            if self._version != self._layer._version or self._head.version != model.head._version:
                self._bind()
            run, head = self._steps.block if axes else self._steps.step, self._head
            values = given if model.embedding is None else model.embedding(given)
        shape = (*values.shape[:axes], self._batch) if values.ndim == axes + 2 else (self._batch,)
        if out is not None:
            check_out(out, (*shape, model.head.out_features), model.dtype)
        before = [part.copy() for part in self._states]
        hidden: Array = np.empty((*shape, self._layer.hidden_size), self._layer.dtype)
        if not run(values, hidden):
            self._convert(values, hidden, name, ("N",) if axes else ())
        if out is None:
            out = np.empty((*shape, model.head.out_features), model.dtype)
        try:
            head.matrix.times(hidden.reshape(-1, hidden.shape[-1]), out.reshape(-1, out.shape[-1]))
        except BaseException:  # Ctrl-C among others
            for part, earlier in zip(self._states, before, strict=True):
                part[...] = earlier
            raise
        return out
