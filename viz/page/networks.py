"""What the page must know of a network: its cell, its sizes, its weights, and what its numbers mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from rnncore import _engine
from rnncore.models import Recurrent, SequenceClassifier
from rnncore.module import prefixed
from rnncore.nn import Embedding, Linear, SequenceModel
from rnncore.recurrent.base import RecurrentLayer
from rnncore.recurrent.layers import layer_class

from .._door import described, held_tape
from .._tapes import as_parts, is_tape
from ..recorder import Recorder
from ..recorder.frame import Frame
from ..recorder.runfile import Run
from .diagram import diagram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rnncore._typing import Array
    from rnncore.recurrent.descriptions import Description
    from rnncore.recurrent.structure import Structure
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

    Explored: TypeAlias = (
        Recurrent | SequenceClassifier | SequenceModel | RecurrentLayer | Tape | HasTape | Frame | Recorder | Run
    )
    Rows: TypeAlias = list[list[float]]


EXAMPLES = 16  # of a tape that the reader can choose


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


class Recorded(NamedTuple):
    """A recorded sequence, or the part of one between two resets.

    Attributes
    ----------
    name : str
    rows : list of rows of numbers
    initial : ndarray or None
        The state from which a network begins: h of all layers and directions, then c of an LSTM. None: it is zero.
    """

    name: str
    rows: Rows
    initial: Array | None


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
    labels : list of str or None
        What its labels are called; None if it predicts none.
    examples : list of Recorded
        Something to begin with; may be empty.
    """

    entry: dict[str, Any]
    symbols: list[str] | None
    inputs: int
    labels: list[str] | None = None
    examples: list[Recorded] = field(default_factory=list)


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
        found.packed()  # raises an error if the weights changed since the pass was recorded
        return _of_layer(name, found.layer, arrays, list(islice(_sequences(found), EXAMPLES)))
    if isinstance(found, RecurrentLayer):
        return _of_layer(name, found, arrays)
    if isinstance(found, (Recurrent, SequenceClassifier)):
        labels = [str(label) for label in getattr(found, "classes_", ())]
        return _of_model(name, _network(name, found), _alphabet(name, found), arrays, labels)
    if isinstance(found, SequenceModel):
        return _of_model(name, found, vocabulary, arrays)
    raise TypeError(
        f"runs: got {described(run)} for {name!r}, expected a fitted rnncore.models.Recurrent or SequenceClassifier, a "
        "SequenceModel, a recurrent layer, a tape, a Recorder or a Run"
    )


def _network(name: str, model: Recurrent | SequenceClassifier) -> SequenceModel:
    if not hasattr(model, "network_"):
        raise ValueError(f"runs: got a model that is not fitted for {name!r}, expected a fitted one: call fit first")
    return model.network_


def _alphabet(name: str, model: Recurrent | SequenceClassifier) -> list[str]:
    alphabet = getattr(model, "alphabet_", None)
    if not isinstance(alphabet, str):
        raise ValueError(
            f"runs: got a model of {model.kind_} values for {name!r}, expected one of text; give its layer, "
            "network_.layer, to explore that alone"
        )
    return list(alphabet)


# ---------------------------------------------------------------- tapes and frames


def _sequences(tape: Tape) -> Iterator[Recorded]:
    """The rows of a tape. A row is cut where it was reset, since no state crosses a reset."""
    x = np.asarray(tape.input, np.float64)
    for row in range(tape.B):
        length = int(tape.lengths[row])
        reset = np.flatnonzero(tape.reset[:length, row])
        for start, stop in pairwise([0, *reset[reset > 0].tolist(), length]):
            name = "the recorded sequence" if tape.B == 1 else f"recorded row {row}"
            if stop - start < length:
                name += f", steps {start} to {stop - 1}"
            yield Recorded(name, x[start:stop, row].tolist(), _initial(tape, row, start, stop))


def _initial(tape: Tape, row: int, start: int, stop: int) -> Array | None:
    """The state from which a part of a row was computed; None if it is zero.

    The forward direction comes from the initial state at the beginning of the row, the reverse one at its end.
    """
    found = [part[:, row].copy() for part in as_parts(tape.initial)]
    directions = tape.layer.directions
    for part in found:
        if start > 0 or tape.reset[:1, row].any():
            part[::directions] = 0
        if directions == 2 and stop < tape.lengths[row]:
            part[1::2] = 0
    initial = np.concatenate([part.ravel() for part in found])
    return initial if initial.any() else None


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
        **({"loss": "mse" if table is None else "cross_entropy"} | frame.model),
    )  # fmt: skip
    model.load_state_dict({**prefixed("layer", weights), **around})
    return _of_model(name, model, symbols, arrays)


# ---------------------------------------------------------------- layers and models


def _of_layer(name: str, layer: RecurrentLayer, arrays: Arrays, examples: Sequence[Recorded] = ()) -> Network:
    entry = _entry(name, layer, layer.state_dict(), arrays)
    return Network(entry, None, layer.input_size, examples=list(examples))


def _of_model(
    name: str, model: SequenceModel, symbols: list[str] | None, arrays: Arrays, labels: Sequence[str] = ()
) -> Network:
    """`labels`: what the outputs are called; by default their numbers."""
    layer, head = model.layer, model.head
    weights = model.state_dict()
    within = {key.removeprefix("layer."): value for key, value in weights.items() if key.startswith("layer.")}
    entry = _entry(name, layer, within, arrays)
    entry["head"] = {
        "weight": arrays.add(weights["head.weight"]),
        "bias": arrays.add(weights["head.bias"]) if "head.bias" in weights else None,
        "outputs": head.out_features,
    }
    entry["readout"] = model.readout
    if model.embedding is None:
        symbols, inputs = None, layer.input_size
    else:
        symbols = _checked_symbols(name, symbols, model.embedding)
        inputs = len(symbols)
        entry["embedding"] = arrays.add(weights["embedding.weight"])
    entry["predicts"] = _predicts(model, symbols)
    called = list(labels) or [str(label) for label in range(head.out_features)]
    return Network(entry, symbols, inputs, called if entry["predicts"] == "label" else None)


def _checked_symbols(name: str, symbols: list[str] | None, embedding: Embedding) -> list[str]:
    if symbols is None:
        raise ValueError(
            f"vocabulary: got None, expected the symbols that {name!r} reads, in the order of its tokens (of a Corpus: "
            "corpus.vocabulary)"
        )
    if len(symbols) > embedding.num_embeddings:
        raise ValueError(
            f"vocabulary: got {len(symbols)} symbols, expected at most {embedding.num_embeddings}, the tokens that "
            f"{name!r} reads"
        )
    return symbols


def _predicts(model: SequenceModel, symbols: list[str] | None) -> str | None:
    """What the outputs are taken for.

    The output of a step is taken for the next symbol or row if it has a number for each symbol, or for each number of a
    row, and if the network does not read ahead; other outputs of a cross-entropy are taken for labels.
    """
    next_alone = model.readout == "steps" and model.layer.directions == 1
    if model.loss_name == "cross_entropy":
        return "symbol" if next_alone and symbols and model.head.out_features >= len(symbols) else "label"
    next_row = next_alone and symbols is None and model.head.out_features == model.layer.input_size
    return "row" if next_row else None


def _entry(name: str, layer: RecurrentLayer, weights: Mapping[str, Array], arrays: Arrays) -> dict[str, Any]:
    structure: Structure = layer.structure
    if f"{layer.cell.kernel}\0".encode() not in _kernels():
        raise ValueError(
            f"runs: got {layer!r} for {name!r}, expected a cell that the page's kernels have: after a new cell, run "
            "make page"
        )

    def place(key: str) -> list[int] | None:
        return arrays.add(weights[key]) if key in weights else None

    return {
        "name": name,
        "cell": _cell(layer.cell),
        "inputSize": layer.input_size,
        "hiddenSize": layer.hidden_size,
        "outputSize": structure.output_size,
        "directions": structure.directions,
        "dtype": layer.dtype.name,
        "parts": [
            {
                "w_ih": place(f"weight_ih{part.suffix}"),
                "w_hh": place(f"weight_hh{part.suffix}"),
                "b_ih": place(f"bias_ih{part.suffix}"),
                "b_hh": place(f"bias_hh{part.suffix}"),
                "w_hr": place(f"weight_hr{part.suffix}"),
                "peepholes": place(f"weight_peephole{part.suffix}"),
            }
            for part in structure.parts
        ],
        "variant": _variant(layer.cell, structure.directions),
        "embedding": None,
        "head": None,
        "readout": "steps",
        "predicts": None,
    }


def _variant(cell: Description, directions: int) -> list[list[float | None]] | None:
    """What makes the cell a variant in each direction, as `layer_vary` in src/kernels/page.c takes it."""
    if cell.variant is None:
        return None
    found = []
    for direction in range(directions):
        activations, gate_clip, cell_clip, coupled = cell.variant.for_engine(direction)
        numbers = [gate_clip, cell_clip, float(coupled)]
        for activation, alpha, beta in activations:
            numbers += [_engine.ACTIVATIONS[activation], alpha, beta]
        numbers += [0] * (_NUMBERS - len(numbers))
        found.append([None if math.isinf(number) else number for number in numbers])
    return found


_NUMBERS = 12  # of `_variant`: three, and three of each activation, of which a cell has at most three


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
