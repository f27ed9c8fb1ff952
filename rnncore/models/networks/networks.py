"""What the recurrent models share: building the network, training it, keeping it in a file."""

from __future__ import annotations

import math

import numpy as np

from rnncore._checks import as_dtype, as_number, as_probability, as_size
from rnncore.models.interface.estimator import check_option, progress_bar
from rnncore.models.interface.sequences import MISSING
from rnncore.nn import Dropout, Embedding, Linear, SequenceModel, make_layer
from rnncore.optim import clip_grad_norm

CELLS = ("rnn", "gru", "lstm", "rnn-tanh", "rnn-relu", "rnn-sigmoid")


def cell_name(cell):
    """The cell's name in `rnncore.nn`: ``"RNN"`` and ``"rnn"`` are the tanh one."""
    name = cell.lower() if isinstance(cell, str) else cell
    check_option("cell", name, CELLS)
    return "rnn-tanh" if name == "rnn" else name


def check_network(model):
    """The settings that `Recurrent` and `SequenceClassifier` share."""
    cell_name(model.cell)
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


def build_network(model, feed, outputs, seed):
    """The network that a model's settings and its feed ask for, with fresh weights.

    Parameters
    ----------
    model : Recurrent or SequenceClassifier
        Has cell, hidden_size, num_layers, embedding_size, dropout and dtype.
    feed : SymbolFeed or RealFeed
    outputs : int
    seed : int

    Returns
    -------
    SequenceModel
    """
    seeds = np.random.SeedSequence(seed).generate_state(4, np.uint64).tolist()
    width = feed.inputs
    if feed.symbols:
        width = model.embedding_size or min(64, model.hidden_size)
    return SequenceModel(
        Embedding(feed.inputs, width, dtype=model.dtype, seed=seeds[0]) if feed.symbols else None,
        make_layer(cell_name(model.cell), width, model.hidden_size, num_layers=model.num_layers,
                   dropout=model.dropout if model.num_layers > 1 else 0.0, dtype=model.dtype,
                   seed=seeds[1]),
        Linear(model.hidden_size, outputs, dtype=model.dtype, seed=seeds[2]),
        dropout=Dropout(model.dropout, seed=seeds[3] >> 1) if model.dropout else None)


def network_state(network):
    """A network as plain values, for a file."""
    return {"config": network.config, "weights": network.state_dict()}


def network_from(state, feed, outputs):
    """The network that `network_state` described in a file, one that reads `feed`.

    Parameters
    ----------
    state : Field
    feed : SymbolFeed or RealFeed
    outputs : int
    """
    state.only(("config", "weights"))
    weights = {name: field.value for name, field in state["weights"].entries().items()}
    network = SequenceModel.from_file(state["config"], weights)
    layer, embedding = network.layer, network.embedding
    inputs = layer.input_size if embedding is None else embedding.num_embeddings
    if ((embedding is not None, inputs, network.head.out_features) != (
            feed.symbols, feed.inputs, outputs) or layer.bidirectional or layer.batch_first):
        raise state["config"].refuse(f"{feed.inputs} inputs and {outputs} outputs of one direction, "
                                     "time first, as the model's sequences have")
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


def descend(optimiser, loss, grads, max_norm):
    """One update with clipped gradients; a loss that is no number is refused."""
    norm = clip_grad_norm(grads, max_norm or math.inf)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise FloatingPointError(f"fit: the loss is {loss} and its gradient's norm {norm}; the "
                                 "weights are left as they were: lower lr or max_norm")
    optimiser.step(grads)


def train_epochs(network, epoch, held_loss, *, epochs, patience, progress, label):
    """Train until the held-out loss is best, and keep the weights it had there.

    Parameters
    ----------
    network : Module
    epoch : callable
        Trains one epoch and returns its mean loss.
    held_loss : callable or None
        The held-out loss; None trains for all epochs.
    epochs, patience : int
    progress, label
        Of `progress_bar`.

    Returns
    -------
    dict
        ``{"train": [...], "valid": [...]}``
    """
    history: dict[str, list[float]] = {"train": [], "valid": []}
    best, weights, since = math.inf, None, 0
    with progress_bar(progress, epochs, label) as bar:
        for _ in range(epochs):
            history["train"].append(epoch())
            if held_loss is not None:
                history["valid"].append(held_loss())
                since += 1
                if history["valid"][-1] < best:
                    best, weights, since = history["valid"][-1], network.state_dict(), 0
            bar.update(1, **{name: f"{loss[-1]:.4f}" for name, loss in history.items() if loss})
            if since >= patience:
                break
    if weights is not None:
        network.load_state_dict(weights)
    return history


def zero_rows(state, rows):
    """The state with the given batch rows (booleans) at 0; None, all zeros, stays None."""
    if state is None or not rows.any():
        return state
    if isinstance(state, tuple):
        return tuple(zero_rows(part, rows) for part in state)
    state = state.copy()
    state[:, rows] = 0
    return state


def take_rows(state, rows):
    """The state of the given batch rows, in their order."""
    if isinstance(state, tuple):
        return tuple(part[:, rows] for part in state)
    return state[:, rows]
