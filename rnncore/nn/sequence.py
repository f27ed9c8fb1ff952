"""A whole sequence model: (embedding) → recurrent layer → (dropout) → linear head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from rnncore._checks import as_array, as_probability, as_size
from rnncore.io.fields import Field, named_errors
from rnncore.io.layers import check_variant
from rnncore.module import LOCK, Module, prefixed
from rnncore.nn.layers import Dropout, Embedding, Linear
from rnncore.nn.losses import as_weights, length_mask, mean_nll, mean_square, summed_nll, summed_squares
from rnncore.nn.readout import READOUTS, read_out
from rnncore.nn.stream import ModelStream
from rnncore.recurrent.base import RecurrentLayer
from rnncore.recurrent.descriptions import choices, first, modes
from rnncore.recurrent.gradients import Gradients
from rnncore.recurrent.layers import layer_class
from rnncore.recurrent.layout import Layout
from rnncore.recurrent.lookup import Lookup, pays
from rnncore.recurrent.structure import Structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rnncore._typing import Array, ArrayLike, Bools, DTypeLike, Floats, State, StateLike
    from rnncore.nn.readout import Adjoint, Readout
    from rnncore.nn.record import Record
    from rnncore.recurrent.tape import Tape

    Loss = Literal["cross_entropy", "mse"]

# For each loss two functions: its mean and gradient, and its sum. Both also return how many steps or values count, or
# the sum of their weights.
LOSSES: dict[Loss, tuple[Callable[..., tuple[float, Array, float]], Callable[..., tuple[float, float]]]] = {
    "cross_entropy": (mean_nll, summed_nll),
    "mse": (mean_square, summed_squares),
}
# The options that a configuration has for a layer of any class, each with its check.
LAYER_OPTIONS: dict[str, Callable[[Field], object]] = {
    "input_size": lambda field: field.whole(1),
    "hidden_size": lambda field: field.whole(1),
    "num_layers": lambda field: field.whole(1),
    "bias": Field.flag,
    "batch_first": Field.flag,
    "dropout": lambda field: field.number(0, 1),
    "bidirectional": Field.flag,
}


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
        given: dict[str, Any] = {}
        with LOCK:  # the weights of all parts at one moment
            layer, head = self.layer.packed(), self.head.packed()
            if self._may_look_up:
                embedded, given = self._look_up(x)
                x = embedded.output
            elif self.embedding is not None:
                x = self.embedding(x)
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

    def _look_up(self, tokens: ArrayLike) -> tuple[Record[None], dict[str, Any]]:
        """The vectors of tokens, and an argument for the layer where looking up pays."""
        assert self.embedding is not None
        own = self.embedding.checked(tokens)
        embedded, table = self.embedding.record_checked(own), self.embedding._parameters["weight"]
        if not pays(own.size, table, self.layer.structure.input_slots):
            return embedded, {}
        return embedded, {"lookup": Lookup(table.copy(), own)}

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
        embedded: Record[None] | None = None
        given: dict[str, Any] = {}
        with LOCK:  # the weights of all parts at one moment
            layer, head = self.layer.packed(), self.head.packed()
            if self._may_look_up:
                embedded, given = self._look_up(x)
            elif self.embedding is not None:
                embedded = self.embedding.record(x)
        if embedded is not None:
            x = embedded.output
        tape = self.layer.record_on(layer, x, state, lengths, train, reset=reset, **given)
        read, spread = read_out(self.readout, self.layer, tape.output, tape.state, lengths)
        kept = None if self.dropout is None else self.dropout.record(read, train=train)
        predicted = self.head.record_on(head, read if kept is None else kept.output)
        return SequenceRecord(embedded, tape, spread, kept, predicted)

    def loss(
        self,
        prediction: Array,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        counted: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> tuple[float, Array]:
        """The mean loss and ∂loss/∂prediction.

        Parameters
        ----------
        prediction : ndarray
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
        prediction: Array,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        counted: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> tuple[float, Array, float]:
        """As `loss`, followed by the number of steps (for squared error: of values) in the mean.

        With weights, of classes or of rows or steps, it is followed by the sum of the weights.
        """
        mean, _ = LOSSES[self.loss_name]
        return mean(prediction, targets, mask=self._mask(prediction.shape, lengths, counted),
                    **self._weighing(prediction.shape, weights))

    def summed_loss(
        self,
        prediction: Array,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        counted: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> tuple[float, float]:
        """The sum of the loss, in nats for cross-entropy, and the number of steps or values in it.

        With weights it is the sum of the weighted losses, and the sum of the weights.
        """
        _, summed = LOSSES[self.loss_name]
        return summed(prediction, targets, mask=self._mask(prediction.shape, lengths, counted),
                      **self._weighing(prediction.shape, weights))

    def _weighing(self, shape: tuple[int, ...], weights: ArrayLike | None) -> dict[str, Any]:
        """The arguments of a loss that concern weights, for a prediction of this shape."""
        options: dict[str, Any] = {}
        if self.class_weight is not None:
            options["class_weight"] = self.class_weight
        if self.label_smoothing:
            options["label_smoothing"] = self.label_smoothing
        if weights is None:
            return options
        given, steps = as_array(weights, "weights"), shape[:-1]
        if given.shape != steps:
            layout = Layout(self.layer.batch_first, batched=len(steps) == 2)
            rows = layout.time_major(np.empty((*steps, 0))).shape[1:-1]
            if len(steps) != 2 or given.shape != rows:
                also = f"{rows} or " if len(steps) == 2 else ""
                raise ValueError(f"weights: got shape {given.shape}, expected {also}{steps}")
            given = np.broadcast_to(given[:, None] if self.layer.batch_first else given, steps)
        return options | {"weights": given}

    def _mask(self, shape: tuple[int, ...], lengths: ArrayLike | None, counted: ArrayLike | None) -> Bools | None:
        """Booleans for a prediction of this shape, True for each step or value that is part of the loss; None: all."""
        steps = shape[:-1]
        if counted is None and (lengths is None or self.readout != "steps"):
            return None
        given: Bools = np.ones(steps, bool) if counted is None else as_array(counted, "counted")
        allowed = (steps, shape) if self.loss_name == "mse" else (steps,)       # a symbol is one value, not O of them
        if given.dtype != bool or given.shape not in allowed:
            raise ValueError(
                f"counted: got {given.dtype} values of shape {given.shape}, expected booleans "
                f"{' or '.join(map(str, allowed))}, True where something counts (the mask of a batch is counted)"
            )
        if lengths is None or self.readout != "steps":
            return given
        layout = Layout(self.layer.batch_first, batched=len(steps) == 2)
        T = len(layout.time_major(np.empty((*steps, 0))))
        inside: Bools = layout.as_given(length_mask(lengths, T)[..., None])
        return given & (inside if given.shape == shape else inside[..., 0])

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
        layer = self.layer
        return {
            "cell": layer.mode,
            "layer": layer.options,
            "dtype": layer.dtype.name,
            "num_embeddings": None if self.embedding is None else self.embedding.num_embeddings,
            "outputs": self.head.out_features,
            "head_bias": self.head.bias,
            "dropout": None if self.dropout is None else self.dropout.p,
            "loss": self.loss_name,
        } | self._loss_options()

    def _loss_options(self) -> dict[str, Any]:
        """The parts of the configuration that are left out where they have their default values."""
        options: dict[str, Any] = {} if self.readout == READOUTS[0] else {"readout": self.readout}
        if self.class_weight is not None:
            options["class_weight"] = self.class_weight.tolist()
        return options | ({"label_smoothing": self.label_smoothing} if self.label_smoothing else {})

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
        return cls._build(**options)

    @classmethod
    def from_file(cls, config: Field, weights: Mapping[str, Array]) -> Self:
        """The model of a file, from the configuration and the weights in it.

        No network is created before the weights have been found to have the declared sizes.
        """
        options = read_config(config)
        for name, array in weights.items():
            Field(array, config.source, name).array(dtype=options["dtype"], finite=False)
        _check_sizes(config, options, weights)
        model = cls._build(**options)
        with named_errors(config):
            model.load_state_dict(weights)
        return model

    @classmethod
    def _build(
        cls,
        cell: str,
        layer: dict[str, Any],
        dtype: DTypeLike,
        num_embeddings: int | None,
        outputs: int,
        head_bias: bool,
        dropout: float | None,
        loss: Loss,
        readout: Readout,
        **options: Any,
    ) -> Self:
        recurrent = layer_class(cell)(**layer, dtype=dtype, seed=0)
        rows, features = num_embeddings, recurrent.structure.features
        if readout != READOUTS[0]:
            options["readout"] = readout
        return cls(
            None if rows is None else Embedding(rows, recurrent.input_size, dtype=dtype, seed=0),
            recurrent,
            Linear(features, outputs, head_bias, dtype=dtype, seed=0),
            dropout=None if dropout is None else Dropout(dropout, seed=0),
            loss=loss,
            **options,
        )

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy in another precision, for example in float64 to examine what was learned in float32."""
        copy = self.from_config(self.config, dtype=dtype)
        copy.load_state_dict(self.state_dict())
        return copy


class SequenceRecord:
    """One recorded pass of a `SequenceModel`.

    Attributes
    ----------
    tape : Tape
        The tape of the recurrent layer.
    output, state
        What the call would have returned.
    """

    def __init__(
        self, embedded: Record[None] | None, tape: Tape, spread: Adjoint, kept: Record | None, predicted: Record
    ) -> None:
        self.tape, self.output, self.state = tape, predicted.output, tape.state
        self._embedded, self._spread, self._kept, self._predicted = embedded, spread, kept, predicted

    def __repr__(self) -> str:
        return f"<SequenceRecord: output {self.output.shape}; {self.tape!r}>"

    def backward(self, grad_output: ArrayLike) -> Gradients[State, Array | None]:
        """The gradients of all parameters, of the initial state and of the input, from ∂L/∂prediction.

        ``.input`` is None for tokens.
        """
        head = self._predicted.backward(grad_output)
        grad = head.input if self._kept is None else self._kept.backward(head.input).input
        through_table = self.tape.has_lookup
        layer = (self.tape.backward_to_table if through_table else self.tape.backward)(*self._spread(grad))
        parameters = prefixed("layer", layer.parameters) | prefixed("head", head.parameters)
        if self._embedded is None:
            return Gradients(layer.input, layer.state, parameters)
        if through_table:
            self._embedded.check_weights()
            found = {"weight": layer.input}
        else:
            found = self._embedded.backward(layer.input).parameters
        return Gradients(None, layer.state, prefixed("embedding", found) | parameters)


def read_config(config: Field) -> dict[str, Any]:
    """The configuration of a model, with every value checked; "readout" is "steps" if it is missing.

    The weights of classes and label smoothing are left out if they are missing, because a subclass need not take them.
    """
    config.only(("cell", "layer", "dtype", "num_embeddings", "outputs", "head_bias", "dropout", "loss", "readout",
                 "class_weight", "label_smoothing"))
    cell, layer = config["cell"].text(modes()), config["layer"]
    checks = LAYER_OPTIONS | {name: _check_of(values) for name, values in choices(cell).items()}
    if "proj_size" in layer_class(cell).own_options:
        checks["proj_size"] = lambda field: field.whole(1, layer["hidden_size"].whole(2) - 1)
    layer.only([*checks, *first(cell).variants])
    options = {name: checks[name](field) for name, field in layer.entries().items() if name in checks}
    options |= check_variant(cell, layer)
    options |= {name: layer[name].whole(1) for name in ("input_size", "hidden_size")}  # no defaults
    rows, dropout = config.get("num_embeddings"), config.get("dropout")
    outputs, loss = config["outputs"].whole(1), config["loss"].text(LOSSES)
    found: dict[str, Any] = {}
    if "class_weight" in config:
        found["class_weight"] = [weight.number(0) for weight in config["class_weight"].items(outputs)]
    if "label_smoothing" in config:
        found["label_smoothing"] = config["label_smoothing"].number(0, 1)
    for name in ("class_weight", "label_smoothing"):
        if name in found and loss != "cross_entropy":
            raise config[name].refuse(f"nothing with the loss {loss}")
    return {
        "cell": cell,
        "layer": options,
        "dtype": config["dtype"].text(("float32", "float64")),
        "num_embeddings": None if rows is None else rows.whole(1),
        "outputs": outputs,
        "head_bias": config["head_bias"].flag(),
        "dropout": None if dropout is None else dropout.number(0, 1),
        "loss": loss,
        "readout": config["readout"].text(READOUTS) if "readout" in config else READOUTS[0],
    } | found


def _check_of(values: tuple[Any, ...]) -> Callable[[Field], object]:
    """The check of an option that chooses one of a mode's cells."""
    return Field.flag if isinstance(values[0], bool) else lambda field: field.text(values)


def _check_sizes(config: Field, options: dict[str, Any], weights: Mapping[str, Array]) -> None:
    """Refuse declared sizes that the weights do not have, before a network of these sizes is created."""
    layer = Structure.of(options["cell"], dtype=options["dtype"], **options["layer"])

    def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
        if options["num_embeddings"] is not None:
            yield "embedding.weight", (options["num_embeddings"], layer.input_size)
        yield "head.weight", (options["outputs"], layer.features)
        for name, shape in layer.iter_shapes():  # one by one, until one is missing
            yield f"layer.{name}", shape

    for name, shape in shapes():
        got = weights[name].shape if name in weights else None
        if got != shape:
            has = "is missing" if got is None else f"has shape {got}"
            raise config.error(f"{config.source}: {name} {has}, expected {shape}, by the sizes in its {config.name}")
