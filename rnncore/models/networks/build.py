"""What the recurrent models share: building the network from the settings, and keeping it in a file."""

from __future__ import annotations

from rnncore._checks import as_dtype, as_number, as_probability, as_size
from rnncore.io.fields import Field
from rnncore.models.interface.estimator import check_fitted, check_option
from rnncore.models.interface.sequences import MISSING
from rnncore.nn import SequenceModel, make_model
from rnncore.recurrent.descriptions import named

from .feed import RealFeed, SymbolFeed


def check_network(model):
    """The settings that `Recurrent` and `SequenceClassifier` share."""
    named(model.cell)
    as_dtype(model.dtype)
    check_option("missing", model.missing, MISSING)
    if model.embedding_size is not None:
        as_size(model.embedding_size, "embedding_size", also="None")
    for name in ("hidden_size", "num_layers", "batch_size", "epochs", "patience"):
        as_size(getattr(model, name), name)
    for name in ("dropout", "valid_fraction"):
        as_probability(getattr(model, name), name)
    for name in ("lr", "max_norm"):
        as_number(getattr(model, name), name, least=0)


def feed_of(model):
    """What the network of a fitted model reads: symbols, or real values as `learn_feed` or a file standardises them."""
    if not model._real:
        return SymbolFeed(model._alphabet.size)
    check_fitted(model, "scale_")
    return RealFeed(model.shift_, model.scale_, model.missing == "mask", model.dtype)


def learn_feed(model, arrays):
    """The same for training; how real values are standardised is learnt from `arrays` and kept in the model."""
    if model._real:
        feed = RealFeed.learn(arrays, model.missing == "mask", model.dtype)
        model.shift_, model.scale_ = feed.shift, feed.scale
    return feed_of(model)


def build_network(model, feed, outputs, loss, readout, seed):
    """The network that a model's settings and its feed ask for, with fresh weights.

    Parameters
    ----------
    model : Recurrent or SequenceClassifier
        Has cell, hidden_size, num_layers, embedding_size, dropout and dtype.
    feed : SymbolFeed or RealFeed
    outputs : int
    loss, readout : str
        Of the `SequenceModel`.
    seed : int

    Returns
    -------
    SequenceModel
    """
    size = {"features": feed.inputs}
    if feed.symbols:
        size = {"tokens": feed.inputs, "embedding_size": model.embedding_size}
    return make_model(
        model.cell, outputs, **size, hidden_size=model.hidden_size, num_layers=model.num_layers, dropout=model.dropout,
        loss=loss, readout=readout, dtype=model.dtype, seed=seed)


def network_state(network):
    """A network as plain values, for a file."""
    return {"config": network.config, "weights": network.state_dict()}


def network_from(state, feed, outputs, loss, readout):
    """The network that `network_state` described in a file, one that reads `feed`.

    Parameters
    ----------
    state : Field
    feed : SymbolFeed or RealFeed
    outputs : int
    loss, readout : str
        What the model's own settings say; in files from before the network had a readout, its
        loss has no meaning either.
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
            feed.symbols, feed.inputs, outputs) or layer.bidirectional or layer.batch_first):
        raise config.refuse(f"{feed.inputs} inputs and {outputs} outputs of one direction, "
                            "time first, as the model's sequences have")
    if (network.loss_name, network.readout) != (loss, readout):
        raise config.refuse(f"the loss {loss} and the readout {readout}, as the model's settings say")
    return network


def history_from(field):
    """The losses of every epoch that a file holds."""
    return {name: [loss.number(finite=False) for loss in losses.items()]
            for name, losses in field.entries().items()}


def scale_from(model, state):
    """Take over how a file's model standardises real values."""
    shape = (model.n_features_,)
    model.shift_, model.scale_ = state["shift_"].array(shape), state["scale_"].array(shape)
    if (model.scale_ <= 0).any():
        raise state["scale_"].refuse("deviations above 0")
