"""Streams of whole models: one step, one prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore import _engine
from rnncore.module import LOCK

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, State, StateLike
    from rnncore.nn.sequence import SequenceModel


class ModelStream:
    """Runs a `SequenceModel` step by step and holds its state; `SequenceModel.stream` creates one.

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
        if model.readout != "steps":
            raise ValueError(f"stream: got a model with readout={model.readout!r}, expected 'steps', a prediction per "
                             "step; call this model on whole sequences")
        self._model, self._stream = model, model.layer.stream(batch_size)
        self._x = np.empty((batch_size, model.layer.input_size), model.dtype)
        self._h = np.empty((batch_size, model.layer.hidden_size), model.dtype)
        if state is not None:
            self.state = state

    def __repr__(self) -> str:
        return f"<ModelStream of {self._model!r}: batch_size={len(self._x)}>"

    def step(self, x: ArrayLike) -> Array:
        """The prediction (B, O) after one more step: tokens (B,), or real values (B, I).

        It is bit-identical to that of a call.
        """
        model = self._model
        prediction = np.empty((len(self._h), model.head.out_features), model.dtype)
        with LOCK:                              # the weights of all parts at one moment
            self._stream.step(x if model.embedding is None else self._embedded(x), self._h)
            _engine.linear_forward(model.head.packed().weights, self._h, prediction)
        return prediction

    def _embedded(self, tokens: ArrayLike) -> Array:
        embedding = self._model.embedding
        assert embedding is not None
        found = embedding.checked(tokens, "x")
        if found.shape != (len(self._x),):
            raise ValueError(f"x: got tokens of shape {found.shape}, expected (B,) = ({len(self._x)},)")
        return embedding.into(found, self._x)

    @property
    def state(self) -> State:
        return self._stream.state

    @state.setter
    def state(self, state: StateLike) -> None:
        self._stream.state = state
