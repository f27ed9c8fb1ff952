"""A whole sequence model: (embedding) → recurrent layer → (dropout) → linear head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rnncore._checks import as_probability, as_size
from rnncore.io.fields import Field, named_errors
from rnncore.module import LOCK, Module
from rnncore.nn.configuration import build, check_sizes, config_of, read_config
from rnncore.nn.counted import counted_steps, step_weights
from rnncore.nn.layers import Dropout, Embedding, Linear
from rnncore.nn.losses import LOSSES, as_floating, as_weights
from rnncore.nn.readout import READOUTS, read_out
from rnncore.nn.record import SequenceRecord
from rnncore.nn.stream import ModelStream
from rnncore.recurrent.base import RecurrentLayer
from rnncore.recurrent.lookup import Lookup, pays

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rnncore._typing import Array, ArrayLike, Bools, DTypeLike, Floats, State, StateLike
    from rnncore.nn.losses import Loss
    from rnncore.nn.readout import Readout
    from rnncore.nn.record import Record


class SequenceModel(Module):
    """Predictions from tokens or real vectors; the caller carries the state from one call to the next.

    Parameters
    ----------
    embedding : Embedding or None
        None if the input is real-valued, (T, B, I), and goes into the layer directly.
    layer : RNN, GRU or LSTM
        It determines the layout of the model: (T, B) tokens, or (B, T) if it is ``batch_first``.
    head : Linear
    dropout : Dropout, optional
        Applied between layer and head, in training.
    loss : {"cross_entropy", "mse"}
    readout : {"steps", "last", "mean"}
        What the head reads. "steps": the output of every step, for one prediction per step, (T, B, O). "last" and
        "mean": the state after the last step, or the mean of the outputs, for one prediction per sequence, (B, O).
    class_weight : array (O,), optional
        The weight of each class in a cross-entropy, see `rnncore.nn.cross_entropy`.
    label_smoothing : float
        Of a cross-entropy, in [0, 1).

    Notes
    -----
    Parameters are named as torch names those of a module with these three attributes:
    ``embedding.weight``, ``layer.weight_ih_l0`` …, ``head.weight``, ``head.bias``.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import sequence_model
    >>> model = sequence_model("gru", 10, hidden_size=8, embedding_size=4, seed=0)
    >>> tokens = np.arange(6).reshape(3, 2)
    >>> logits, state = model(tokens)
    >>> logits.shape, state.shape
    ((3, 2, 10), (1, 2, 8))
    >>> loss, grads, state = model.loss_and_grads(tokens, tokens + 1, state)
    >>> grads.keys() == model.parameters.keys()
    True
    """

    _fixed = frozenset({"embedding", "layer", "dropout", "head", "loss_name", "readout", "class_weight",
                        "label_smoothing"})
    loss_name: Loss
    readout: Readout
    class_weight: Floats | None
    label_smoothing: float

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "loss" in vars(cls) and "mean_loss" not in vars(cls):
            raise TypeError(f"{cls.__name__}: got a method loss, expected mean_loss, which training calls and which "
                            "loss uses (and summed_loss, which evaluation calls)")

    def __init__(
        self,
        embedding: Embedding | None,
        layer: RecurrentLayer,
        head: Linear,
        *,
        dropout: Dropout | None = None,
        loss: Loss = "cross_entropy",
        readout: Readout = "steps",
        class_weight: ArrayLike | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(layer.dtype)
        features = layer.structure.features
        if head.in_features != features:
            raise ValueError(
                f"head: got in_features={head.in_features}, expected {features}, the layer's output"
            )
        if embedding is not None and embedding.embedding_dim != layer.input_size:
            raise ValueError(
                f"embedding: got embedding_dim={embedding.embedding_dim}, expected "
                f"{layer.input_size}, the layer's input_size"
            )
        for name, part in (("embedding", embedding), ("head", head)):
            if part is not None and part.dtype != layer.dtype:
                raise ValueError(f"{name}: got dtype {part.dtype}, expected {layer.dtype}, the layer's")
        if loss not in LOSSES:
            raise ValueError(f"loss: got {loss!r}, expected one of {sorted(LOSSES)}")
        if not isinstance(readout, str) or readout not in READOUTS:
            raise ValueError(f"readout: got {readout!r}, expected one of {', '.join(READOUTS)}")
        self.embedding, self.layer, self.dropout, self.head = embedding, layer, dropout, head
        self.loss_name, self.readout = loss, readout
        self.label_smoothing = as_probability(label_smoothing, "label_smoothing")
        self.class_weight = None if class_weight is None else as_weights(
            class_weight, (head.out_features,), "class_weight")
        if loss != "cross_entropy" and (class_weight is not None or label_smoothing):
            name, value = ("label_smoothing", label_smoothing) if class_weight is None else (
                "class_weight", class_weight)
            raise ValueError(f"{name}: got {value!r:.60} with the loss {loss!r}, expected the loss 'cross_entropy'")
        modules = {"embedding": embedding, "layer": layer, "dropout": dropout, "head": head}
        self._modules = {name: module for name, module in modules.items() if module is not None}

    def __repr__(self) -> str:
        parts = [f"{module!r}" for module in self._modules.values()]
        return f"{type(self).__name__}({', '.join(parts)}, loss={self.loss_name!r}, readout={self.readout!r})"

    def __call__(
        self, x: ArrayLike, state: StateLike = None, lengths: ArrayLike | None = None, reset: ArrayLike | None = None
    ) -> tuple[Array, State]:
        """Predictions, and the state after the last step; nothing is kept.

        Parameters
        ----------
        x : array_like
            Integer tokens (T, B), or real values (T, B, I); with ``batch_first`` the first two axes are swapped.
        state, lengths, reset
            As in a call of the layer.

        Returns
        -------
        prediction : ndarray, (T, B, O), or (B, O) for one prediction per sequence
        state : ndarray or tuple
        """
        with LOCK:  # the weights of all parts at one moment
            layer, head = self.layer.packed(), self.head.packed()
            x, _, given = self._embed(x)
        y, state = self.layer.call_on(layer, x, state, lengths, reset, **given)
        read, _ = read_out(self.readout, self.layer, y, state, lengths)
        return self.head.call_on(head, read), state

    forward = __call__

    @property
    def _may_look_up(self) -> bool:
        """Whether embedding and layer are rnncore's own, so that the layer's input is rows of the embedding's table."""
        layer = type(self.layer)
        return (type(self.embedding) is Embedding and layer.call_on is RecurrentLayer.call_on
                and layer.record_on is RecurrentLayer.record_on)

    def _embed(self, x: ArrayLike, *, record: bool = False) -> tuple[ArrayLike, Record[None] | None, dict[str, Any]]:
        """The layer's input, the recorded call of the embedding, and an argument of the layer where looking up pays.

        Without `record`, a recorded call may be missing.
        """
        embedding = self.embedding
        if embedding is None:
            return x, None, {}
        if not self._may_look_up:
            if not record:
                return embedding(x), None, {}
            embedded = embedding.record(x)
            return embedded.output, embedded, {}
        own = embedding.checked(x)
        embedded, table = embedding.record_checked(own), embedding._parameters["weight"]
        if not pays(own.size, table, self.layer.structure.input_slots):
            return embedded.output, embedded, {}
        return embedded.output, embedded, {"lookup": Lookup(table.copy(), own)}

    def owned(self) -> Iterator[tuple[Module, dict[str, str]]]:
        if self._all_owned is None:             # found once, since every update of an optimiser asks several times
            self.__dict__["_all_owned"] = list(super().owned())
        return iter(self._all_owned or ())

    _all_owned: list[tuple[Module, dict[str, str]]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_all_owned"}

    def stream(self, batch_size: int = 1, state: StateLike = None) -> ModelStream:
        """An object that runs the model some steps at a time and holds its state.

        Parameters
        ----------
        batch_size : int
        state : array_like or tuple, optional
            The state before the first step; zeros by default.

        Returns
        -------
        ModelStream

        Raises
        ------
        ValueError
            The model needs the whole sequence before its first prediction: its layer is bidirectional, or it reads the
            mean of all outputs.

        Examples
        --------
        >>> import numpy as np
        >>> from rnncore.nn import sequence_model
        >>> model = sequence_model("gru", 10, hidden_size=8, embedding_size=4, seed=0)
        >>> tokens = np.array([[3], [1], [4], [1]])
        >>> s = model.stream()
        >>> predictions = np.concatenate([s.step(tokens[0])[None], s.block(tokens[1:])])
        >>> bool((predictions == model(tokens)[0]).all())
        True
        """
        if self.layer.bidirectional:
            raise ValueError("stream: a bidirectional layer needs the whole sequence before its first output; "
                             "use bidirectional=False, or call the model on a window")
        if self.readout == "mean":
            raise ValueError("stream: a model with readout='mean' needs the outputs of the whole sequence; "
                             "use readout='steps' or 'last', or call the model on a window")
        return ModelStream(self, as_size(batch_size, "batch_size"), state)

    def record(
        self,
        x: ArrayLike,
        state: StateLike = None,
        lengths: ArrayLike | None = None,
        *,
        train: bool = False,
        reset: ArrayLike | None = None,
    ) -> SequenceRecord:
        """As a call, keeping what the backward pass needs; ``train=True`` applies dropout."""
        dropping = [module.masks for module in (self.layer, self.dropout) if module is not None]
        before = [masks.passes for masks in dropping]
        try:
            return self._record(x, state, lengths, train, reset)
        except BaseException:  # an interrupted pass must not use up a mask
            for masks, passes in zip(dropping, before, strict=True):
                masks.take_back(passes + 1)
            raise

    def _record(self, x: ArrayLike, state: StateLike, lengths: ArrayLike | None, train: bool, reset: ArrayLike | None
                ) -> SequenceRecord:
        with LOCK:  # the weights of all parts at one moment
            layer, head = self.layer.packed(), self.head.packed()
            x, embedded, given = self._embed(x, record=True)
        tape = self.layer.record_on(layer, x, state, lengths, train, reset=reset, **given)
        read, spread = read_out(self.readout, self.layer, tape.output, tape.state, lengths)
        kept = None if self.dropout is None else self.dropout.record(read, train=train)
        predicted = self.head.record_on(head, read if kept is None else kept.output)
        return SequenceRecord(embedded, tape, spread, kept, predicted)

    def loss(
        self,
        prediction: ArrayLike,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        counted: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> tuple[float, Array]:
        """The mean loss and ∂loss/∂prediction.

        Parameters
        ----------
        prediction : array_like of float32 or float64
        targets : array_like
            Integer classes for cross-entropy, or values of the shape of `prediction` for squared error.
        lengths : array_like of int, (B,), optional
            Only steps inside the lengths are part of the loss.
        counted : array_like of bool, optional
            True for each step, or each value of a squared error, that is part of the loss. With `lengths`, only those
            inside the lengths are.
        weights : array_like, (B,) or one for each step, optional
            The weights of the rows or of the steps in the mean, finite and >= 0.
        """
        return self.mean_loss(prediction, targets, lengths, counted, weights)[:2]

    def mean_loss(
        self,
        prediction: ArrayLike,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        counted: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> tuple[float, Array, float]:
        """As `loss`, followed by the number of steps (for squared error: of values) in the mean.

        With weights, of classes or of rows or steps, it is followed by the sum of the weights.
        """
        (mean, _), prediction = LOSSES[self.loss_name], as_floating(prediction, "prediction")
        return mean(prediction, targets, mask=self._counted(prediction.shape, lengths, counted),
                    **self._weighing(prediction.shape, weights))

    def summed_loss(
        self,
        prediction: ArrayLike,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        counted: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> tuple[float, float]:
        """The sum of the loss, in nats for cross-entropy, and the number of steps or values in it.

        With weights it is the sum of the weighted losses, and the sum of the weights.
        """
        (_, summed), prediction = LOSSES[self.loss_name], as_floating(prediction, "prediction")
        return summed(prediction, targets, mask=self._counted(prediction.shape, lengths, counted),
                      **self._weighing(prediction.shape, weights))

    def _weighing(self, shape: tuple[int, ...], weights: ArrayLike | None) -> dict[str, Any]:
        """The arguments of a loss that concern weights, for a prediction of this shape."""
        options: dict[str, Any] = {}
        if self.class_weight is not None:
            options["class_weight"] = self.class_weight
        if self.label_smoothing:
            options["label_smoothing"] = self.label_smoothing
        if weights is not None:
            options["weights"] = step_weights(weights, shape[:-1], self.layer.batch_first)
        return options

    def _counted(self, shape: tuple[int, ...], lengths: ArrayLike | None, counted: ArrayLike | None) -> Bools | None:
        """Booleans for a prediction of this shape, True for each step or value that is part of the loss; None: all."""
        return counted_steps(shape, lengths if self.readout == "steps" else None, counted, self.layer.batch_first,
                             by_value=self.loss_name == "mse")

    def loss_and_grads(
        self,
        x: ArrayLike,
        targets: ArrayLike,
        state: StateLike = None,
        lengths: ArrayLike | None = None,
        *,
        train: bool = True,
        reset: ArrayLike | None = None,
    ) -> tuple[float, dict[str, Array], State]:
        """One window of truncated BPTT.

        Returns
        -------
        loss : float
        grads : dict of str to ndarray
            By the names of ``parameters``.
        state : ndarray or tuple
            The layer's state after the window, to be passed to the next window.
        """
        record = self.record(x, state, lengths, train=train, reset=reset)
        loss, grad = self.loss(record.output, targets, lengths)
        return loss, record.backward(grad).parameters, record.state

    @property
    def config(self) -> dict[str, Any]:
        """The configuration from which `from_config` builds such a model again; plain JSON values."""
        return config_of(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], *, dtype: DTypeLike | None = None) -> Self:
        """A model with this configuration and new weights; `dtype` overrides the configured one.

        Raises
        ------
        ValueError
            Something is missing, unknown or invalid; the message names it.
        """
        options = read_config(Field(config, "from_config", "config", ValueError))
        if dtype is not None:
            options["dtype"] = dtype
        return build(cls, **options)

    @classmethod
    def from_file(cls, config: Field, weights: Mapping[str, Array]) -> Self:
        """The model of a file, from the configuration and the weights in it.

        No network is created before the weights have been found to have the declared sizes.
        """
        options = read_config(config)
        for name, array in weights.items():
            Field(array, config.source, name).array(dtype=options["dtype"], finite=False)
        check_sizes(config, options, weights)
        model = build(cls, **options)
        with named_errors(config):
            model.load_state_dict(weights)
        return model

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy in another precision, for example in float64 to examine what was learned in float32."""
        copy = self.from_config(self.config, dtype=dtype)
        copy.load_state_dict(self.state_dict())
        return copy
