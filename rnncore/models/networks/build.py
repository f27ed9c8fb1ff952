"""What the recurrent models share: building the network from the settings, and its form in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from rnncore._checks import as_dtype, as_flag, as_number, as_probability, as_seed, as_size, did_you_mean
from rnncore.io.fields import Field
from rnncore.models.interface.estimator import Names, check_fitted
from rnncore.models.interface.sequences import MISSING
from rnncore.nn import SequenceModel, make_model
from rnncore.recurrent.descriptions import find, named, option_names
from rnncore.recurrent.layers import layer_class

from .feed import Differences, RealFeed, SymbolFeed

if TYPE_CHECKING:
    from rnncore._typing import Array, Floats

    from .classifier import SequenceClassifier
    from .feed import Target
    from .recurrent import Recurrent

    NetworkModel: TypeAlias = Recurrent | SequenceClassifier

Loss: TypeAlias = Literal["cross_entropy", "mse"]
Readout: TypeAlias = Literal["steps", "last", "mean"]

# How a model standardises real values, and of which it predicts differences.
SCALES = ("shift_", "scale_", "differenced_", "step_shift_", "step_scale_")

# The settings of `Recurrent` and `SequenceClassifier` that are one of a few names, see `Estimator`.
NAMES: Names = {"cell": named, "dtype": as_dtype, "missing": MISSING}


def check_network(model: NetworkModel) -> None:
    """Check the settings that `Recurrent` and `SequenceClassifier` share."""
    if model.embedding_size is not None:
        as_size(model.embedding_size, "embedding_size", also="None")
    for name in ("hidden_size", "num_layers", "batch_size", "epochs", "patience"):
        as_size(getattr(model, name), name)
    for name in ("dropout", "valid_fraction", "label_smoothing"):
        as_probability(getattr(model, name), name)
    as_seed(model.seed)
    for name in ("lr", "max_norm"):
        as_number(getattr(model, name), name, least=0)
    layer_options(model)


def layer_options(model: NetworkModel) -> dict[str, Any]:
    """The arguments of the layer that are not settings of a model themselves, checked as far as no layer is needed."""
    if model.layer_options is None:
        return {}
    if not isinstance(model.layer_options, Mapping):
        raise TypeError(f"layer_options: got {type(model.layer_options).__name__}, expected None or a dict of "
                        "arguments of the layer, as in {'bias': False}")
    options, cell = dict(model.layer_options), named(model.cell)
    flags = ("bias", "bidirectional") if hasattr(model, "readout") else ("bias",)   # see `why` below
    known = (*flags, *option_names(cell.mode), *layer_class(cell.mode).own_options)
    for name, value in options.items():
        if name not in known:
            why = f": {name} is an argument of the model" if name in model.get_params() else (
                ": the prediction of a step must not depend on later ones" if name == "bidirectional" else
                did_you_mean(name, known))
            raise ValueError(f"layer_options: got {name!r}, expected arguments of a layer of the cell {model.cell!r}, "
                             f"{', '.join(known)}{why}")
        if name in flags:
            as_flag(value, f"layer_options, {name}")
        if "-" in model.cell and value != cell.options.get(name, value):
            raise ValueError(f"layer_options, {name}: got {value!r}, expected {cell.options[name]!r}, as the name of "
                             f"the cell {model.cell!r} says; {cell.mode.lower()!r} leaves the choice")
    find(cell.mode, **dict(cell.options) | {name: options[name] for name in option_names(cell.mode) if name in options})
    return options


def feed_of(model: NetworkModel) -> SymbolFeed | RealFeed:
    """The feed of a fitted model: symbols, or real values with the standardisation that the model has learnt."""
    if not model._real:
        return SymbolFeed(model._alphabet.size)
    check_fitted(model, "scale_")
    flags, exog, differences = model.missing == "mask", None, None
    if hasattr(model, "differenced_"):
        own = cast("Recurrent", model)
        differences = Differences(own.differenced_, own.step_shift_, own.step_scale_)
    if getattr(model, "n_exog_", 0):
        own = cast("Recurrent", model)
        exog = RealFeed(own.exog_shift_, own.exog_scale_, flags, own.dtype)
    return RealFeed(model.shift_, model.scale_, flags, model.dtype, exog, differences)


def learn_feed(
    model: NetworkModel, arrays: Sequence[Array], weights: Sequence[float] | None = None
) -> SymbolFeed | RealFeed:
    """The feed for training; the standardisation of real values is learnt from `arrays` and kept in the model.

    If the model has exogenous inputs, they are the last columns of the arrays. `weights` are those of the arrays.
    """
    for name in (*SCALES, "exog_shift_", "exog_scale_"):
        model.__dict__.pop(name, None)
    if model._real:
        F, flags = model.n_features_, model.missing == "mask"
        target: Target = getattr(model, "target", "value")
        feed = RealFeed.learn([a[:, :F] for a in arrays], flags, model.dtype, weights, target=target)
        model.shift_, model.scale_ = feed.shift, feed.scale
        if hasattr(model, "target"):
            own = cast("Recurrent", model)
            own.differenced_, own.step_shift_, own.step_scale_ = feed.differences
        if getattr(model, "n_exog_", 0):
            own, exog = cast("Recurrent", model), RealFeed.learn(
                [a[:, F:] for a in arrays], flags, model.dtype, weights, "exog")
            own.exog_shift_, own.exog_scale_ = exog.shift, exog.scale
    return feed_of(model)


def build_network(
    model: NetworkModel, feed: SymbolFeed | RealFeed, outputs: int, loss: Loss, readout: Readout, seed: int,
    class_weight: Floats | None = None,
) -> SequenceModel:
    """The network that a model's settings and its feed require, with fresh weights.

    Parameters
    ----------
    model : Recurrent or SequenceClassifier
        Has cell, hidden_size, num_layers, layer_options, embedding_size, dropout, label_smoothing and dtype.
    feed : SymbolFeed or RealFeed
    outputs : int
    loss, readout : str
        Of the `SequenceModel`.
    seed : int
    class_weight : ndarray ``(outputs,)``, optional

    Returns
    -------
    SequenceModel
    """
    if model.label_smoothing and loss != "cross_entropy":
        raise ValueError(f"label_smoothing: got {model.label_smoothing}, expected 0 for "
                         "numbers: it is a share of the probability of a symbol or a label")
    return make_model(
        model.cell, outputs,
        tokens=feed.inputs if feed.symbols else None,
        features=None if feed.symbols else feed.inputs,
        embedding_size=model.embedding_size if feed.symbols else None,
        hidden_size=model.hidden_size, num_layers=model.num_layers, dropout=model.dropout,
        loss=loss, readout=readout, class_weight=class_weight, label_smoothing=model.label_smoothing,
        dtype=model.dtype, seed=seed, **layer_options(model))


def network_state(network: SequenceModel) -> dict[str, Any]:
    """A network as plain values, for a file."""
    return {"config": network.config, "weights": network.state_dict()}


def network_from(
    state: Field, feed: SymbolFeed | RealFeed, outputs: int, loss: Loss, readout: Readout
) -> SequenceModel:
    """The network that `network_state` wrote to a file, refused unless it suits `feed`.

    Parameters
    ----------
    state : Field
    feed : SymbolFeed or RealFeed
    outputs : int
    loss, readout : str
        Those of the model's settings. They replace the file's where it has no readout: such files are
        older than readouts, and their loss was not used.
    """
    state.only(("config", "weights"))
    weights = {name: field.value for name, field in state["weights"].entries().items()}
    config = state["config"]
    if "readout" not in config:
        value = config.value | {"loss": loss, "readout": readout}
        config = Field(value, config.source, config.name, config.error)
    network = SequenceModel.from_file(config, weights)
    layer, embedding = network.layer, network.embedding
    inputs = layer.input_size if embedding is None else embedding.num_embeddings
    if ((embedding is not None, inputs, network.head.out_features) != (
            feed.symbols, feed.inputs, outputs) or (layer.bidirectional and readout == "steps") or layer.batch_first):
        raise config.refuse(f"{feed.inputs} inputs and {outputs} outputs{' of one direction' * (readout == 'steps')}, "
                            "time first, as the model's sequences have")
    if (network.loss_name, network.readout) != (loss, readout):
        raise config.refuse(f"the loss {loss} and the readout {readout}, as in the model's settings")
    return network


def history_from(field: Field) -> dict[str, list[float]]:
    """The losses of every epoch, from a file."""
    return {name: [loss.number(finite=False) for loss in losses.items()]
            for name, losses in field.entries().items()}


def scale_from(state: Field, width: int, prefix: str = "") -> tuple[Floats, Floats]:
    """The standardisation of real values, mean and deviation, from a file."""
    shift, scale = (state[f"{prefix}{name}"].array((width,)) for name in ("shift_", "scale_"))
    if (scale <= 0).any():
        raise state[f"{prefix}scale_"].refuse("deviations above 0")
    return shift, scale
