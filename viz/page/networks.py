"""What the page must know of a network: its cell, its sizes, its weights, and what its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rnncore.models import Recurrent
from rnncore.module import prefixed
from rnncore.nn import Embedding, Linear, SequenceModel
from rnncore.recurrent.base import RecurrentLayer
from rnncore.recurrent.layers import layer_class

from .._door import described, held_tape
from .._tapes import is_tape
from ..recorder import Recorder
from ..recorder.frame import Frame
from ..recorder.runfile import Run
from .diagram import diagram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rnncore._typing import Array
    from rnncore.recurrent.descriptions import Description
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

    Explored: TypeAlias = Recurrent | SequenceModel | RecurrentLayer | Tape | HasTape | Frame | Recorder | Run
    Rows: TypeAlias = list[list[float]]


ROWS = 16  # of a tape's batch that the reader can choose


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
    examples : list of rows of numbers
        Something to begin with; may be empty.
    """

    entry: dict[str, Any]
    symbols: list[str] | None
    inputs: int
    examples: list[Rows] = field(default_factory=list)


def runs_of(name: str | None, given: Explored, most: int | None) -> dict[str, Explored]:
    """The networks that something given stands for, by name: of a recorder or a run file, those that it kept.

    Parameters
    ----------
    name : str or None
        None if it is alone and was given no name.
    most : int or None
        Bytes of all their weights as float32; as many of them are chosen as fit, at equal distances, but at least the
        first and the last. None: these two.
    """
    if not isinstance(given, (Recorder, Run)):
        return {name or "network": given}
    frames = [frame for frame in given.frames if frame.weights.keys()]
    if not frames:
        raise ValueError(
            f"runs: got {described(given)} without weights{f' for {name!r}' if name else ''}, expected one "
            "made with viz.Recorder(weights=True)"
        )
    last = frames[-1]
    size = 4 * sum(part[key].size for part in (last.weights, last.around) for key in part)
    count = min(len(frames), max(2, 0 if most is None else most // size))
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int).tolist()
    return {f"{name}, update {frames[k].update}" if name else f"update {frames[k].update}": frames[k] for k in chosen}


def network_of(name: str, run: Explored, vocabulary: list[str] | None, arrays: Arrays) -> Network:
    """Describe a fitted model, a sequence model, a layer, or the layer of a tape; its weights go to `arrays`."""
    found: Any = held_tape(run)
    if isinstance(found, Frame):
        return _of_frame(name, found, vocabulary, arrays)
    if is_tape(found):
        rows = np.asarray(found.input, np.float64)
        found.packed()  # raises an error if the weights changed since the pass was recorded
        each = [rows[: found.lengths[b], b].tolist() for b in range(min(found.B, ROWS))]
        return _of_layer(name, found.layer, arrays, each)
    if isinstance(found, RecurrentLayer):
        return _of_layer(name, found, arrays)
    if isinstance(found, Recurrent):
        return _of_model(name, _network(name, found), _alphabet(name, found), arrays)
    if isinstance(found, SequenceModel):
        return _of_model(name, found, vocabulary, arrays)
    raise TypeError(
        f"runs: got {described(run)} for {name!r}, expected a fitted rnncore.models.Recurrent, a SequenceModel, a "
        "recurrent layer, a tape, a Recorder or a Run"
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


def _of_frame(name: str, frame: Frame, symbols: list[str] | None, arrays: Arrays) -> Network:
    """The network of a recorded update, from the weights that the frame holds."""
    weights, around = ({key: part[key] for key in part} for part in (frame.weights, frame.around))
    sizes: Any = frame.layer
    projected = {"proj_size": sizes.proj_size} if hasattr(sizes, "proj_size") else {}
    layer = layer_class(frame.mode)(
        sizes.input_size, sizes.hidden_size, sizes.num_layers, bias="bias_ih_l0" in weights,
        bidirectional=sizes.bidirectional, dtype=frame.dtype, **frame.cell.options, **projected,
    )  # fmt: skip
    layer.load_state_dict(weights)
    if "head.weight" not in around:
        return _of_layer(name, layer, arrays)
    table, head = around.get("embedding.weight"), around["head.weight"]
    model = SequenceModel(
        None if table is None else Embedding(*table.shape, dtype=frame.dtype), layer,
        Linear(head.shape[1], head.shape[0], bias="head.bias" in around, dtype=frame.dtype),
        loss="mse" if table is None else "cross_entropy",
    )  # fmt: skip
    model.load_state_dict({**prefixed("layer", weights), **around})
    return _of_model(name, model, symbols, arrays)


def _of_layer(name: str, layer: RecurrentLayer, arrays: Arrays, examples: Sequence[Rows] = ()) -> Network:
    weights = layer.state_dict()
    return Network(_entry(name, layer, weights, arrays), None, layer.input_size, list(examples))


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
    if layer.structure.proj_size:
        raise ValueError(f"runs: got an LSTM with projections for {name!r}, expected proj_size=0: the page has none")
    if f"{layer.cell.kernel}\0".encode() not in _kernels():
        raise ValueError(
            f"runs: got {layer!r} for {name!r}, expected a cell that the page's kernels have: after a new cell, run "
            "make page"
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


@cache
def _kernels() -> bytes:
    """The page's kernels, which contain the names of their cells."""
    return (resources.files(__package__) / "built" / "kernels.wasm").read_bytes()


def _cell(cell: Description) -> dict[str, Any]:
    return {
        "kernel": cell.kernel,
        "label": cell.label,
        "equations": cell.equations,
        "curve": cell.curve,
        "states": list(cell.states),
        "keeps": cell.keeps,
        "enters": cell.enters,
        "diagram": diagram(cell),
        "gates": [
            {"name": gate.name, "words": gate.words, "slot": gate.slot, "curve": gate.curve} for gate in cell.gates
        ],
    }
