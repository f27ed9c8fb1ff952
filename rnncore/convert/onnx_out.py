"""Layers and sequence models of rnncore as models of ONNX."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_flag
from rnncore.io.files import write_bytes
from rnncore.nn.sequence import SequenceModel
from rnncore.recurrent.base import RecurrentLayer

from . import activations
from .formats import ONNX_FLAGS, ONNX_GATES, ONNX_PEEPHOLES, PEEPHOLES
from .optional import package
from .weights import blocks, of_layer, permuted, refuse_others

if TYPE_CHECKING:
    from rnncore._typing import Array, PathLike

    from .weights import Weights

OPSET, IR = 17, 8       # what programs of 2022 read, and all later ones


def to_onnx(model: RecurrentLayer | SequenceModel, path: PathLike | None = None, *, states: bool = False,
            lengths: bool = False) -> Any:
    """Write a layer or a sequence model as a model of ONNX.

    Parameters
    ----------
    model : LSTM, GRU, RNN, or rnncore.nn.SequenceModel
    path : path, optional
        Where the model is written.
    states : bool
        Whether the initial state is an input, "h0" (and "c0"), of (layers·directions, B, H); else it is zero.
    lengths : bool
        Whether the number of steps of each row is an input, "lengths", of (B,) int32.

    Returns
    -------
    onnx.ModelProto
        Inputs: "x", laid out as that of `model`, or "tokens" if it has an embedding. Outputs: "y", or "prediction" of a
        sequence model, then "h_n" (and "c_n"). The numbers of steps and of rows are free.

    Raises
    ------
    ImportError
        onnx is not installed.
    NotImplementedError
        ONNX has no such operator; the message names the option.

    Notes
    -----
    A projection (``proj_size``) becomes part of the recurrent weights, R = W_hh·W_hr, so that the operator's states are
    those before the projection; `states` is refused with it. ONNX Runtime has the operators in float32 alone; for a
    model of float64 write a float32 copy, as ``SequenceModel.astype`` makes it.

    Examples
    --------
    >>> import rnncore as rc
    >>> from rnncore import convert
    >>> model = convert.to_onnx(rc.LSTM(3, 4, bidirectional=True, seed=0))
    >>> [node.op_type for node in model.graph.node]
    ['LSTM', 'Transpose', 'Reshape']
    """
    onnx = package("onnx", "to_onnx")
    if not isinstance(model, RecurrentLayer | SequenceModel):
        raise TypeError(f"to_onnx: got {type(model).__name__}, expected a layer of rnncore or a SequenceModel")
    layer = model.layer if isinstance(model, SequenceModel) else model
    as_flag(states, "states")
    as_flag(lengths, "lengths")
    refuse_others(layer, "to_onnx", "ONNX", list(ONNX_GATES), reset_after=None, nonlinearity=None, proj_size=None,
                  peepholes=None, coupled=None, gate_clip=None, activations=None)
    if states and (width := getattr(layer, "proj_size", False)):
        raise NotImplementedError(f"states: got True with proj_size={width}, expected False: the operators "
                                  "have no projection, and h0 cannot be put into what replaces it")
    graph = _Graph(onnx, layer, lengths)
    if isinstance(model, SequenceModel):
        graph.sequence_model(model, states)
    else:
        name = graph.input("x", (*graph.rows, layer.input_size))
        y = graph.given_layout(graph.stack(graph.time_major(name), states))
        graph.output("y", y, (*graph.rows, layer.structure.features))
        graph.final_states()
    proto = graph.model()
    if path is not None:
        write_bytes(os.fspath(path), proto.SerializeToString())
    return proto


class _Graph:
    """The graph that is being built: its nodes, and names of values."""

    def __init__(self, onnx: Any, layer: RecurrentLayer, lengths: bool) -> None:
        self._onnx, self._layer, self._helper = onnx, layer, onnx.helper
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._initializers: dict[str, Array] = {}
        self._final: list[list[str]] = [[] for _ in layer.cell.states]
        self.rows = ("B", "T") if layer.batch_first else ("T", "B")
        self._lengths = self.input("lengths", ("B",), np.dtype(np.int32)) if lengths else ""

    # ---- parts of a graph ---------------------------------------------------------------------------

    def input(self, name: str, shape: tuple[Any, ...], dtype: Any = None) -> str:
        self._inputs.append(self._value(name, shape, dtype))
        return name

    def output(self, name: str, value: str, shape: tuple[Any, ...]) -> None:
        """Let a value be an output: the node that made it names it so."""
        for node in self._nodes:
            for names in (node.input, node.output):
                for k, one in enumerate(names):
                    if one == value:
                        names[k] = name
        self._outputs.append(self._value(name, shape, None))

    def _value(self, name: str, shape: tuple[Any, ...], dtype: Any) -> Any:
        kind = self._helper.np_dtype_to_tensor_dtype(np.dtype(self._layer.dtype if dtype is None else dtype))
        return self._helper.make_tensor_value_info(name, kind, shape)

    def constant(self, name: str, values: Any, dtype: Any = None) -> str:
        self._initializers[name] = np.asarray(values, dtype)
        return name

    def node(self, kind: str, inputs: list[str], outputs: int | list[str] = 1, name: str | None = None,
             **attributes: Any) -> str:
        """Add a node; return its first output."""
        name = f"{kind.lower()}_{len(self._nodes)}" if name is None else name
        names = [name] if outputs == 1 else outputs
        self._nodes.append(self._helper.make_node(kind, inputs, names, name=name, **attributes))
        return names[0]  # type: ignore[index]

    def model(self) -> Any:
        """The whole model, checked."""
        weights = [self._onnx.numpy_helper.from_array(array, name) for name, array in self._initializers.items()]
        graph = self._helper.make_graph(self._nodes, "rnncore", self._inputs, self._outputs, weights)
        proto = self._helper.make_model(graph, opset_imports=[self._helper.make_opsetid("", OPSET)], ir_version=IR,
                                        producer_name="rnncore")
        self._onnx.checker.check_model(proto, full_check=True)
        return proto

    # ---- layers -------------------------------------------------------------------------------------

    def time_major(self, name: str) -> str:
        return self.node("Transpose", [name], perm=[1, 0, 2]) if self._layer.batch_first else name

    given_layout = time_major           # it is its own inverse

    def reshaped(self, name: str, *shape: int) -> str:
        return self.node("Reshape", [name, self.constant(f"shape_{len(self._nodes)}", shape, np.int64)])

    def stack(self, x: str, states: bool) -> str:
        """All layers on time-major sequences; returns the name of the output (T, B, directions·H)."""
        layer, D = self._layer, self._layer.directions
        starts: list[list[str]] = []
        if states and self._lengths:
            self._none = self.node("Equal", [self._lengths, self.constant("zero", 0, np.int32)])
        for state in layer.cell.initial if states else ():
            whole = self.input(state, (layer.num_layers * D, "B", layer.hidden_size))
            each = [f"{state}_l{k}" for k in range(layer.num_layers)]
            if len(each) > 1:
                sizes = self.constant(f"{state}_sizes", [D] * len(each), np.int64)
                self.node("Split", [whole, sizes], each, name=f"{state}_split", axis=0)
            starts.append(each if len(each) > 1 else [whole])
        weights, functions = of_layer(layer), activations.of_layer(layer)
        for k in range(layer.num_layers):
            x = self._operator(k, x, weights[k * D:(k + 1) * D], functions, [names[k] for names in starts])
        return x

    def _operator(self, k: int, x: str, parts: list[Weights], functions: list[activations.Functions],
                  starts: list[str]) -> str:
        """One layer; returns the name of its output (T, B, directions·H)."""
        layer, name = self._layer, f"l{k}"
        attributes: dict[str, Any] = {"hidden_size": layer.hidden_size}
        if layer.bidirectional:
            attributes["direction"] = "bidirectional"
        for theirs, ours in ONNX_FLAGS[layer.mode].items():
            if getattr(layer, ours, False):
                attributes[theirs] = 1
        if layer.gate_clip is not None:
            attributes["clip"] = layer.gate_clip
        if activations.options(layer.mode, functions):
            attributes |= activations.to_onnx(one for each in functions for one in each)
        W, R, B, P, projections = self._weights(parts)
        names = [x, self.constant(f"{name}.W", W), self.constant(f"{name}.R", R),
                 "" if B is None else self.constant(f"{name}.B", B), self._lengths, *starts]
        if P is not None:
            names += [""] * (7 - len(names)) + [self.constant(f"{name}.P", P)]
        while not names[-1]:
            names.pop()
        outputs = [f"{name}.{one}" for one in ("Y", "Y_h", "Y_c")[:1 + len(self._final)]]
        y = self.node(layer.mode, names, outputs, name=name, **attributes)
        final = outputs[1:]
        if projections is not None:
            matrix = self.constant(f"{name}.W_hr", projections)
            y, final[0] = self.node("MatMul", [y, matrix]), self.node("MatMul", [final[0], matrix])
        for place, (kept, own) in enumerate(zip(self._final, final, strict=True)):
            if self._lengths and starts:        # ONNX Runtime has zeros for rows without steps
                rows = self.node("Unsqueeze", [self._none, self.constant("last", [1], np.int64)])
                own = self.node("Where", [rows, starts[place], own])
            kept.append(own)
        if layer.bidirectional:
            return self.reshaped(self.node("Transpose", [y], perm=[0, 2, 1, 3]), 0, 0, layer.structure.features)
        return self.node("Squeeze", [y, self.constant(f"{name}.axis", [1], np.int64)])

    def _weights(self, parts: list[Weights]) -> tuple[Array, Array, Array | None, Array | None, Array | None]:
        """W, R, B, P of the operator, and the transposed projections."""
        mode = self._layer.mode

        def theirs(array: Array) -> Array:
            return permuted(array, blocks(mode), ONNX_GATES[mode])

        def stacked(name: str) -> Array | None:
            return np.stack([part[name] for part in parts]) if name in parts[0] else None

        W, R = (np.stack([theirs(part[name]) for part in parts]) for name in ("weight_ih", "weight_hh"))
        B = P = None
        if "bias_ih" in parts[0]:
            B = np.stack([np.concatenate([theirs(part["bias_ih"]), theirs(part["bias_hh"])]) for part in parts])
        if "weight_peephole" in parts[0]:
            P = np.stack([permuted(part["weight_peephole"], PEEPHOLES, ONNX_PEEPHOLES) for part in parts])
        projections = stacked("weight_hr")
        if projections is not None:
            R = (R.astype(np.float64) @ projections).astype(R.dtype)
            projections = projections.swapaxes(1, 2)
        return W, R, B, P, projections

    def final_states(self) -> None:
        """The outputs h_n (and c_n)."""
        layer = self._layer
        widths = [layer.structure.features // layer.directions, layer.hidden_size]
        for state, each, width in zip(layer.cell.states, self._final, widths, strict=False):
            whole = each[0] if len(each) == 1 else self.node("Concat", each, axis=0)
            self.output(f"{state}_n", whole, (layer.num_layers * layer.directions, "B", width))

    # ---- models -------------------------------------------------------------------------------------

    def sequence_model(self, model: SequenceModel, states: bool) -> None:
        """The embedding, the layers, what the head reads of them, and the head."""
        layer = self._layer
        if model.embedding is None:
            x = self.input("x", (*self.rows, layer.input_size))
        else:
            tokens = self.input("tokens", self.rows, np.dtype(np.int64))
            table = self.constant("embedding.weight", model.embedding.state_dict()["weight"])
            x = self.node("Gather", [table, tokens])
        read, shape = self._read(model, self.stack(self.time_major(x), states))
        weights = model.head.state_dict()
        predicted = self.node("MatMul", [read, self.constant("head.weight", weights["weight"].T)])
        if "bias" in weights:
            predicted = self.node("Add", [predicted, self.constant("head.bias", weights["bias"])])
        self.output("prediction", predicted, (*shape, model.head.out_features))
        self.final_states()

    def _read(self, model: SequenceModel, y: str) -> tuple[str, tuple[Any, ...]]:
        """What the head reads of the outputs y (T, B, F), and the shape of the predictions without their last axis."""
        if model.readout == "steps":
            return self.given_layout(y), self.rows
        if model.readout == "last":
            last = self.node("Transpose", [self._final[0][-1]], perm=[1, 0, 2])
            return self.reshaped(last, 0, self._layer.structure.features), ("B",)
        if not self._lengths:
            return self.node("ReduceMean", [y], axes=[0], keepdims=0), ("B",)
        dtype = self._helper.np_dtype_to_tensor_dtype(self._layer.dtype)      # outputs past a row's end are zero
        total = self.node("ReduceSum", [y, self.constant("time", [0], np.int64)], keepdims=0)
        steps = self.node("Max", [self._lengths, self.constant("one", 1, np.int32)])
        steps = self.node("Cast", [self.node("Unsqueeze", [steps, self.constant("last", [1], np.int64)])], to=dtype)
        return self.node("Div", [total, steps]), ("B",)
