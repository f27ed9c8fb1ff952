"""Layers and models by the names of their cells, with fresh weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rnncore._checks import as_seed, as_size
from rnncore.init import forget_bias
from rnncore.nn.layers import Dropout, Embedding, Linear
from rnncore.nn.sequence import SequenceModel
from rnncore.recurrent.descriptions import named
from rnncore.recurrent.layers import layer_class

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, DTypeLike, Seed
    from rnncore.recurrent.base import RecurrentLayer


def make_layer(cell: str, input_size: int, hidden_size: int, **options: Any) -> RecurrentLayer:
    """A recurrent layer by the name of its cell, with a forget bias of 1.

    The bias of the gate that keeps the old state is set to 1 (Gers 2000, Jozefowicz 2015), by
    `rnncore.init.forget_bias`.

    Parameters
    ----------
    cell : str
        A name of `rnncore.nn.CELLS`: "rnn-tanh", "rnn-relu", "rnn-sigmoid", "gru", "gru-reset-before", "lstm"; or
        "rnn", which is "rnn-tanh". Upper and lower case are equivalent. All functions, models, tasks and commands
        that take the name of a cell accept these.
    input_size, hidden_size : int
    **options
        More arguments of the layer's class, such as ``num_layers=2``.

    Examples
    --------
    >>> from rnncore.nn import CELLS, make_layer
    >>> list(CELLS)
    ['rnn-tanh', 'rnn-relu', 'rnn-sigmoid', 'gru', 'gru-reset-before', 'lstm']
    >>> make_layer("rnn", 3, 2)
    RNN(3, 2, dtype='float32')
    >>> make_layer("gru-reset-before", 3, 2)
    GRU(3, 2, reset_after=False, dtype='float32')
    >>> layer = make_layer("lstm", 3, 2, seed=0)
    >>> layer.parameters["bias_ih_l0"][2:4].tolist()
    [1.0, 1.0]
    """
    described = named(cell)
    layer = layer_class(described.mode)(input_size, hidden_size, **dict(described.options) | options)
    return forget_bias(layer, 1.0) if described.gated and layer.bias else layer


def make_model(
    cell: str,
    outputs: int,
    *,
    tokens: int | None = None,
    features: int | None = None,
    hidden_size: int = 128,
    embedding_size: int | None = None,
    num_layers: int = 1,
    dropout: float = 0.0,
    loss: Literal["cross_entropy", "mse"] = "cross_entropy",
    readout: Literal["steps", "last", "mean"] = "steps",
    class_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    dtype: DTypeLike = "float32",
    seed: Seed = None,
    **options: Any,
) -> SequenceModel:
    """A model by the name of its cell; each of its parts has a different seed.

    Parameters
    ----------
    cell : str
        As for `make_layer`.
    outputs : int
        The length of one prediction: the number of classes, or of values.
    tokens, features : int
        Exactly one of them: the number of different tokens, or the width of a real-valued input.
    hidden_size, num_layers : int
    embedding_size : int, optional
        The length of a token's vector. By default 64, or `hidden_size` if that is smaller.
    dropout : float
        The probability that a value is dropped between layers and before the head.
    loss, readout, class_weight, label_smoothing
        As for `SequenceModel`.
    **options
        More arguments of the layer's class, such as ``bidirectional=True`` or ``proj_size=16``.

    Examples
    --------
    >>> from rnncore.nn import make_model
    >>> model = make_model("lstm", 1, features=2, hidden_size=8, loss="mse", seed=0)
    >>> model.layer, model.head.out_features
    (LSTM(2, 8, dtype='float32'), 1)
    """
    if (tokens is None) == (features is None):
        raise ValueError(f"tokens, features: got {tokens} and {features}, expected exactly one of them")
    if embedding_size is not None and tokens is None:
        raise ValueError(f"embedding_size: got {embedding_size} with features, expected None, or tokens= instead")
    hidden_size = as_size(hidden_size, "hidden_size")
    seeds = np.random.SeedSequence(as_seed(seed)).generate_state(4, np.uint64).tolist()
    width = min(64, hidden_size) if embedding_size is None else embedding_size
    layer = make_layer(
        cell, width if features is None else features, hidden_size, num_layers=num_layers,
        dropout=dropout if num_layers > 1 else 0.0, dtype=dtype, seed=seeds[1], **options,
    )
    return SequenceModel(
        None if tokens is None else Embedding(tokens, width, dtype=dtype, seed=seeds[0]),
        layer,
        Linear(layer.structure.features, outputs, dtype=dtype, seed=seeds[2]),
        dropout=Dropout(dropout, seed=seeds[3]) if dropout else None,
        loss=loss,
        readout=readout,
        class_weight=class_weight,
        label_smoothing=label_smoothing,
    )  # fmt: skip


def sequence_model(
    cell: str,
    tokens: int,
    *,
    hidden_size: int = 128,
    embedding_size: int = 64,
    num_layers: int = 1,
    dropout: float = 0.0,
    dtype: DTypeLike = "float32",
    seed: Seed = None,
    **options: Any,
) -> SequenceModel:
    """A model that predicts the next token; arguments as for `make_model`, but for one: it cannot be bidirectional."""
    if options.get("bidirectional"):
        raise ValueError("bidirectional: got True, expected False, since the reverse direction reads the token that is "
                         f"to be predicted; a label at every step is make_model({cell!r}, labels, tokens={tokens!r}, "
                         "bidirectional=True)")
    return make_model(
        cell, tokens, tokens=as_size(tokens, "tokens"), hidden_size=hidden_size, embedding_size=embedding_size,
        num_layers=num_layers, dropout=dropout, dtype=dtype, seed=seed, **options,
    )  # fmt: skip
