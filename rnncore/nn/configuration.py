"""The configuration of a `SequenceModel` in files: written, read with every value checked, and built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from rnncore.io.fields import Field
from rnncore.io.layers import check_variant
from rnncore.nn.layers import Dropout, Embedding, Linear
from rnncore.nn.losses import LOSSES
from rnncore.nn.readout import READOUTS
from rnncore.recurrent.descriptions import choices, first, modes
from rnncore.recurrent.layers import layer_class
from rnncore.recurrent.structure import Structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rnncore._typing import Array, DTypeLike
    from rnncore.nn.losses import Loss
    from rnncore.nn.readout import Readout
    from rnncore.nn.sequence import SequenceModel

    ModelT = TypeVar("ModelT", bound=SequenceModel)

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


def config_of(model: SequenceModel) -> dict[str, Any]:
    """The configuration of a model, as plain JSON values; what has its default value at the end is left out."""
    layer = model.layer
    options: dict[str, Any] = {}
    if model.readout != READOUTS[0]:
        options["readout"] = model.readout
    if model.class_weight is not None:
        options["class_weight"] = model.class_weight.tolist()
    if model.label_smoothing:
        options["label_smoothing"] = model.label_smoothing
    return {
        "cell": layer.mode,
        "layer": layer.options,
        "dtype": layer.dtype.name,
        "num_embeddings": None if model.embedding is None else model.embedding.num_embeddings,
        "outputs": model.head.out_features,
        "head_bias": model.head.bias,
        "dropout": None if model.dropout is None else model.dropout.p,
        "loss": model.loss_name,
    } | options


def build(
    model_class: type[ModelT],
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
) -> ModelT:
    """A model of this class with new weights, from what `read_config` returns."""
    recurrent = layer_class(cell)(**layer, dtype=dtype, seed=0)
    if readout != READOUTS[0]:
        options["readout"] = readout
    return model_class(
        None if num_embeddings is None else Embedding(num_embeddings, recurrent.input_size, dtype=dtype, seed=0),
        recurrent,
        Linear(recurrent.structure.features, outputs, head_bias, dtype=dtype, seed=0),
        dropout=None if dropout is None else Dropout(dropout, seed=0),
        loss=loss,
        **options,
    )


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


def check_sizes(config: Field, options: dict[str, Any], weights: Mapping[str, Array]) -> None:
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
