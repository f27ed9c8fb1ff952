"""Attributes that determine the shape of a layer or a tape are fixed; attributes that may be set are checked."""

import numpy as np
import pytest
from support import make, random_input, same_bits

import rnncore as rc
from rnncore.nn import Dropout, Embedding, Linear, SequenceModel, sequence_model
from rnncore.recurrent.tape import Tape

SHAPES = {"input_size": 9, "hidden_size": 9, "num_layers": 2, "bias": False, "batch_first": True, "bidirectional": True,
          "directions": 2, "dtype": np.dtype("float64"), "mode": "SRU", "seed": 3}  # fmt: skip


def things():
    for mode in ("RNN", "GRU", "LSTM"):
        own = {"RNN": {"nonlinearity": "relu"}, "GRU": {"reset_after": False}}.get(mode, {})
        yield getattr(rc, mode)(3, 5, seed=0), SHAPES | own
        fixed = ("input_size", "hidden_size", "bias", "dtype", "mode")
        yield getattr(rc, mode + "Cell")(3, 5, seed=0), {name: SHAPES[name] for name in fixed}
    yield Linear(3, 5, seed=0), {"in_features": 4, "out_features": 4, "bias": False, "dtype": np.dtype("float64")}
    yield Embedding(3, 5, seed=0), {"num_embeddings": 4, "embedding_dim": 4, "dtype": np.dtype("float64")}
    model = sequence_model("gru", 7, hidden_size=4, embedding_size=3, dropout=0.5, seed=0)
    yield model, {"embedding": None, "layer": rc.GRU(3, 4), "dropout": None, "head": Linear(4, 7), "loss_name": "mse"}
    tape = rc.GRU(3, 5, seed=0).record(np.ones((4, 2, 3)))
    yield tape, {"T": 99, "B": 99, "layer": rc.GRU(30, 50), "mode": "LSTM", "dtype": np.dtype("float64")}


@pytest.mark.parametrize("thing", things(), ids=lambda pair: type(pair[0]).__name__)
def test_what_is_fixed_cannot_be_set_or_deleted(thing):
    thing, fixed = thing
    for name, other in fixed.items():
        before = getattr(thing, name)
        said = "has no setter" if isinstance(thing, Tape) else f"fixed when the {type(thing).__name__} is created"
        with pytest.raises(AttributeError, match=rf"{name}.*{said}"):
            setattr(thing, name, other)
        with pytest.raises(AttributeError, match=name):
            delattr(thing, name)
        assert getattr(thing, name) is before


def test_dropout_may_be_set_and_is_checked(rng):
    layer = make("gru", 3, 9, 2)
    x = random_input(layer, 5, 2, rng)
    for wrong in (-0.1, 1, 1.5, np.nan, "0.5", True, None):
        with pytest.raises(ValueError, match="dropout: got"):
            layer.dropout = wrong
        assert layer.dropout == 0
    layer.dropout = 0.5
    same_bits(layer.record(x, train=True).output, make("gru", 3, 9, 2, dropout=0.5).record(x, train=True).output)
    part = Dropout(0.25, seed=0)
    with pytest.raises(ValueError, match="p: got 2"):
        part.p = 2
    part.p = 0.75
    kept = part.record(np.ones(4000), train=True).output
    assert set(kept.tolist()) == {0.0, 4.0}


def test_dropout_on_one_layer_is_warned_of():
    with pytest.warns(UserWarning, match="dropout: got 0.3 with num_layers=1") as said:
        layer = rc.LSTM(3, 5, dropout=0.3)
    assert said[0].filename == __file__
    layer = rc.LSTM(3, 5)
    with pytest.warns(UserWarning, match="num_layers=1") as said:
        layer.dropout = 0.5
    assert said[0].filename == __file__


def test_a_subclass_keeps_what_its_bases_fixed():
    class Mine(SequenceModel):
        _fixed = frozenset({"more"})

        def __init__(self):
            super().__init__(None, rc.GRU(2, 3), Linear(3, 1), loss="mse")
            self.more = 1

    mine = Mine()
    for name in ("more", "layer", "dtype"):
        with pytest.raises(AttributeError, match=name):
            setattr(mine, name, 0)
