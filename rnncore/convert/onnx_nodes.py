"""The operators RNN, GRU and LSTM of ONNX, each run by a layer of rnncore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_array, as_lengths
from rnncore.recurrent import descriptions

from . import activations
from .formats import ONNX_FLAGS, ONNX_GATES, ONNX_PEEPHOLES, PEEPHOLES
from .keras_layer import backwards
from .weights import blocks, make_layer, permuted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rnncore._typing import Array
    from rnncore.recurrent.base import RecurrentLayer
    from rnncore.recurrent.tape import Tape

# The inputs of the operators by place; the last two belong to the LSTM.
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
WEIGHTS = ("W", "R", "B", "P")
_DIRECTIONS = ("forward", "reverse", "bidirectional")
_ATTRIBUTES = ("activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "input_forget",
               "layout", "linear_before_reset", "output_sequence")


class RecurrentNode:
    """One node of a graph: its attributes, its weights' names, and the layer that runs it.

    Attributes
    ----------
    name : str
        That of the node, or of its first output if it has none.
    inputs : dict of str to str
        The names in the graph of the operator's inputs that are there.
    layer : RecurrentLayer or None
        None as long as the weights are not known.
    constant : bool
        Whether the weights are part of the model.
    depends : set of str
        Initializers of the weights that are inputs of the graph, too, so that a run may replace them.
    """

    def __init__(self, onnx: Any, proto: Any) -> None:
        self.mode, self.outputs = proto.op_type, list(proto.output)
        self.name = proto.name or next(filter(None, self.outputs), self.mode)
        self.inputs = {key: name for key, name in zip(INPUTS, proto.input, strict=False) if name}
        self.layer: RecurrentLayer | None = None
        self.constant, self.depends = False, set[str]()
        self._attributes = {one.name: onnx.helper.get_attribute_value(one) for one in proto.attribute}
        for name in self._attributes:
            if name not in _ATTRIBUTES:
                raise NotImplementedError(f"{self}: got the attribute {name}, expected {', '.join(_ATTRIBUTES)}")
        self.direction = self._text(self._attributes.get("direction", "forward"))
        if self.direction not in _DIRECTIONS:
            raise ValueError(f"{self}: got direction={self.direction!r}, expected one of {', '.join(_DIRECTIONS)}")
        self.layout = self._attributes.get("layout", 0)
        self._options = self._read_options()

    def __str__(self) -> str:
        return f"{self.mode} {self.name!r}"

    @staticmethod
    def _text(value: str | bytes) -> str:
        return value.decode() if isinstance(value, bytes) else value

    @property
    def bidirectional(self) -> bool:
        return self.direction == "bidirectional"

    def _read_options(self) -> dict[str, Any]:
        """The options of the layer that the attributes choose."""
        given = self._attributes
        options: dict[str, Any] = {"bidirectional": self.bidirectional}
        if "clip" in given:
            options["gate_clip"] = given["clip"]
        options |= {ours: bool(given.get(name, 0)) for name, ours in ONNX_FLAGS[self.mode].items()}
        if given.get("activations"):
            names = [self._text(name) for name in given["activations"]]
            n, directions = len(descriptions.first(self.mode).activated), 1 + self.bidirectional
            if len(names) not in (n, n * directions):
                raise ValueError(f"{self}: got {len(names)} activations, expected {n * directions}")
            functions = activations.from_onnx(names, *(given.get(f"activation_{one}", []) for one in ("alpha", "beta")))
            each = [tuple(functions[k:k + n]) for k in range(0, len(functions), n)]
            options |= activations.options(self.mode, each if len(each) == directions else each * directions)
        return options

    # ---- weights ------------------------------------------------------------------------------------

    def make_layer(self, given: dict[str, Array]) -> RecurrentLayer:
        """The layer with the weights W, R, and B and P if they are there, as arrays of the operator's inputs."""
        directions, gates = 1 + self.bidirectional, len(ONNX_GATES[self.mode])
        W, R = given["W"], given["R"]
        for name, array in given.items():
            axes = 3 if name in ("W", "R") else 2
            if array.ndim != axes or len(array) != directions:
                raise ValueError(f"{self}: got {name} of shape {array.shape}, expected {axes} axes, and {directions} "
                                 f"along the first for direction={self.direction!r}")
        units = R.shape[2]
        shapes = {"W": (directions, gates * units, W.shape[2]), "R": (directions, gates * units, units),
                  "B": (directions, 2 * gates * units), "P": (directions, 3 * units)}
        for name, array in given.items():
            if array.shape != shapes[name]:
                raise ValueError(f"{self}: got {name} of shape {array.shape}, expected {shapes[name]}")
        if self._attributes.get("hidden_size", units) != units:
            raise ValueError(f"{self}: got hidden_size={self._attributes['hidden_size']} and R of shape {R.shape}, "
                             "expected the same size")

        def ours(array: Array) -> Array:
            return permuted(array, ONNX_GATES[self.mode], blocks(self.mode))

        parts = []
        for d in range(directions):
            part = {"weight_ih": ours(W[d]), "weight_hh": ours(R[d])}
            if "B" in given:
                part["bias_ih"], part["bias_hh"] = (ours(bias) for bias in np.split(given["B"][d], 2))
            if "P" in given:
                part["weight_peephole"] = permuted(given["P"][d], ONNX_PEEPHOLES, PEEPHOLES)
            parts.append(part)
        try:
            return make_layer(self.mode, parts, **self._options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self}: {error}") from None

    # ---- running ------------------------------------------------------------------------------------

    def run(self, layer: RecurrentLayer, given: dict[str, Any], record: bool) -> tuple[tuple[Array, ...], Tape | None]:
        """The outputs Y, Y_h (and Y_c), as many as the node has, and the tape of the pass if it was recorded."""
        kind = given["X"].dtype
        x = as_array(given["X"], f"{self}: X")
        if x.ndim != 3:
            raise ValueError(f"{self}: got X of shape {x.shape}, expected 3 axes")
        x = self._swapped(x)
        lengths = as_lengths(given.get("sequence_lens"), *x.shape[:2])
        if self.direction == "reverse":
            x = backwards(x, lengths)
        parts = [None if (part := given.get(name)) is None else self._swapped(as_array(part, f"{self}: {name}"))
                 for name in ("initial_h", "initial_c")][:len(layer.cell.states)]
        state: Any = None if not any(part is not None for part in parts) else tuple(parts) if parts[1:] else parts[0]
        tape = layer.record(x, state, lengths) if record else None
        y, new = (tape.output, tape.state) if tape is not None else layer(x, state, lengths)
        if self.direction == "reverse":
            y = backwards(y, lengths)
        y = y.reshape(*y.shape[:2], layer.directions, layer.structure.output_size)
        final = new if isinstance(new, tuple) else (new,)
        if lengths is not None:                 # rows without steps end in zeros, in ONNX Runtime as well
            final = tuple(np.where(lengths[:, None] == 0, part.dtype.type(0), part) for part in final)
        found = [y.swapaxes(0, 1) if self.layout else y.swapaxes(1, 2), *map(self._swapped, final)]
        return tuple(np.ascontiguousarray(array).astype(kind, copy=False) for array in found[:len(self.outputs)]), tape

    def _swapped(self, array: Array) -> Array:
        """The first two axes swapped, if the batch comes first."""
        return array.swapaxes(0, 1) if self.layout else array


def only_there(inputs: Sequence[Any]) -> dict[str, Any]:
    """The inputs of a call of the operator that are there, by their names."""
    return {key: value for key, value in zip(INPUTS, inputs, strict=False) if value is not None}
