"""What the page must know of a network: its cell, its sizes, its weights, and what its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rnncore.models import Recurrent
from rnncore.nn import SequenceModel
from rnncore.recurrent.base import RecurrentLayer

from .._door import described, held_tape
from .._tapes import is_tape
from ..recorder.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rnncore._typing import Array
    from rnncore.recurrent.descriptions import Description
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

    Explored: TypeAlias = Recurrent | SequenceModel | RecurrentLayer | Tape | HasTape
    Rows: TypeAlias = list[list[float]]


class Arrays:
    """Arrays one after the other, as float32; each is known by where it begins and how many numbers it has."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._count = 0

    def add(self, array: Array) -> list[int]:
        """[start, count] of a copy of `array`, in C order."""
        part = np.ascontiguousarray(array, "<f4")
        self._parts.append(part.tobytes())
        start, self._count = self._count, self._count + part.size
        return [start, part.size]

    def content(self) -> bytes:
        """All of them, little-endian."""
        return b"".join(self._parts)


@dataclass
class Network:
    """One network of a page.

    Attributes
    ----------
    entry : dict
        What viz/page/src/payload.ts calls a RunDescription.
    symbols : list of str or None
        The alphabet; None if it reads rows of numbers.
    inputs : int
        The numbers of a row, or the number of symbols.
    example : rows of numbers or None
        Something to begin with.
    """

    entry: dict[str, Any]
    symbols: list[str] | None
    inputs: int
    example: Rows | None = field(default=None)


def network_of(name: str, run: Explored, vocabulary: list[str] | None, arrays: Arrays) -> Network:
    """Describe a fitted model, a sequence model, a layer, or the layer of a tape; its weights go to `arrays`."""
    found: Any = held_tape(run)
    if is_tape(found) and not isinstance(found, Frame):
        rows = np.asarray(found.input, np.float64)
        found.packed()  # raises an error if the weights changed since the pass was recorded
        first = rows[: found.lengths[0], 0].tolist() if found.B else None
        return _of_layer(name, found.layer, arrays, example=first)
    if isinstance(found, RecurrentLayer):
        return _of_layer(name, found, arrays)
    if isinstance(found, Recurrent):
        return _of_model(name, _network(name, found), _alphabet(name, found), arrays)
    if isinstance(found, SequenceModel):
        return _of_model(name, found, vocabulary, arrays)
    raise TypeError(
        f"runs: got {described(run)} for {name!r}, expected a fitted rnncore.models.Recurrent, a SequenceModel, a "
        "recurrent layer, or a tape"
    )


def _network(name: str, model: Recurrent) -> SequenceModel:
    if not hasattr(model, "network_"):
        raise ValueError(f"runs: got a model that is not fitted for {name!r}, expected a fitted one: call fit first")
    return model.network_


def _alphabet(name: str, model: Recurrent) -> list[str]:
    if not isinstance(model.alphabet_, str):
        raise ValueError(
            f"runs: got a model of {model.kind_} values for {name!r}, expected one of text; give its layer, "
            "network_.layer, to explore that alone"
        )
    return list(model.alphabet_)


def _of_layer(name: str, layer: RecurrentLayer, arrays: Arrays, example: Rows | None = None) -> Network:
    weights = layer.state_dict()
    return Network(_entry(name, layer, weights, arrays), None, layer.input_size, example)


def _of_model(name: str, model: SequenceModel, symbols: list[str] | None, arrays: Arrays) -> Network:
    layer, head = model.layer, model.head
    if model.readout != "steps":
        raise ValueError(
            f"runs: got a model with readout={model.readout!r} for {name!r}, expected 'steps': the page shows a "
            "prediction at every step; give its layer to explore that alone"
        )
    weights = model.state_dict()
    within = {key.removeprefix("layer."): value for key, value in weights.items() if key.startswith("layer.")}
    entry = _entry(name, layer, within, arrays)
    entry["head"] = {
        "weight": arrays.add(weights["head.weight"]),
        "bias": arrays.add(weights["head.bias"]) if "head.bias" in weights else None,
        "outputs": head.out_features,
    }
    if model.embedding is None:
        next_row = model.loss_name == "mse" and head.out_features == layer.input_size
        return Network(entry | {"predicts": "row" if next_row else None}, None, layer.input_size)
    if symbols is None:
        raise ValueError(
            f"vocabulary: got None, expected the symbols that {name!r} reads, in the order of its tokens (of a Corpus: "
            "corpus.vocabulary)"
        )
    if len(symbols) > model.embedding.num_embeddings or len(symbols) > head.out_features:
        raise ValueError(
            f"vocabulary: got {len(symbols)} symbols, expected at most {model.embedding.num_embeddings}, the tokens "
            f"that {name!r} reads, and {head.out_features}, those that it predicts"
        )
    entry["embedding"] = arrays.add(weights["embedding.weight"])
    return Network(entry | {"predicts": "symbol"}, symbols, len(symbols))


def _entry(name: str, layer: RecurrentLayer, weights: Mapping[str, Array], arrays: Arrays) -> dict[str, Any]:
    if layer.directions != 1:
        raise ValueError(
            f"runs: got a bidirectional layer for {name!r}, expected one direction: what is typed next would change "
            "all that came before"
        )
    if layer.cell.variant is not None:
        raise ValueError(
            f"runs: got {layer!r} for {name!r}, expected a layer without {', '.join(layer.cell.variant.options)}: "
            "the page computes the cells themselves only (viz.report draws any layer)"
        )

    def place(key: str) -> list[int] | None:
        return arrays.add(weights[key]) if key in weights else None

    return {
        "name": name,
        "cell": _cell(layer.cell),
        "inputSize": layer.input_size,
        "hiddenSize": layer.hidden_size,
        "dtype": layer.dtype.name,
        "layers": [
            {
                "w_ih": place(f"weight_ih_l{k}"),
                "w_hh": place(f"weight_hh_l{k}"),
                "b_ih": place(f"bias_ih_l{k}"),
                "b_hh": place(f"bias_hh_l{k}"),
            }
            for k in range(layer.num_layers)
        ],
        "embedding": None,
        "head": None,
        "predicts": None,
    }


def _cell(cell: Description) -> dict[str, Any]:
    return {
        "kernel": cell.kernel,
        "label": cell.label,
        "equations": cell.equations,
        "curve": cell.curve,
        "states": list(cell.states),
        "keeps": cell.keeps,
        "enters": cell.enters,
        "gates": [
            {"name": gate.name, "words": gate.words, "slot": gate.slot, "curve": gate.curve} for gate in cell.gates
        ],
    }
