"""ONNX models whose recurrent operators are layers of rnncore."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_array

from .formats import ONNX_GATES
from .onnx_nodes import WEIGHTS, RecurrentNode, only_there
from .optional import package

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike
    from rnncore.recurrent.base import RecurrentLayer
    from rnncore.recurrent.tape import Tape


def from_onnx(source: Any) -> OnnxModel:
    """A model of ONNX whose RNN, GRU and LSTM operators are run by layers of rnncore.

    Parameters
    ----------
    source : path, onnx.ModelProto or bytes

    Returns
    -------
    OnnxModel
        With ``.run({input: array})``, ``.layers`` and ``.record({input: array})``.

    Raises
    ------
    ImportError
        onnx is not installed.
    NotImplementedError
        An operator, or an attribute of a recurrent one, cannot be run; the message names it.
    ValueError, TypeError
        It is no such model, or a weight does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import convert
    >>> model = convert.from_onnx(convert.to_onnx(rc.GRU(3, 4, seed=0)))
    >>> model.run({"x": np.ones((5, 2, 3))})["y"].shape
    (5, 2, 4)
    >>> model.layers
    {'l0': GRU(3, 4, dtype='float32')}
    >>> model.record({"x": np.ones((5, 2, 3))})["l0"]["l0.z"].shape
    (5, 2, 4)
    """
    onnx = package("onnx", "from_onnx")
    if isinstance(source, onnx.ModelProto):
        return OnnxModel(source)
    if not isinstance(source, str | os.PathLike | bytes):
        raise TypeError(f"source: got {type(source).__name__}, expected the path of a model, a ModelProto or its bytes")
    what = "these bytes" if isinstance(source, bytes) else os.fspath(source)
    try:
        if isinstance(source, bytes):
            model = onnx.load_from_string(source)
        else:
            with Path(source).open("rb"):       # the plain OSError, with its file name
                pass
            model = onnx.load(os.fspath(source))
    except package("google.protobuf.message", "from_onnx").DecodeError as error:
        raise ValueError(f"source: got {what}, expected a model of ONNX ({error})") from None
    if not model.graph.output:
        raise ValueError(f"source: got {what}, which has no graph with outputs; expected a model of ONNX")
    return OnnxModel(model)


class OnnxModel:
    """A graph of ONNX: its RNN, GRU and LSTM operators are layers of rnncore, the rest is run by onnx's evaluator.

    `from_onnx` makes one. A pickle has the graph and the layers, with the weights that they have then. A shallow copy
    uses the same layers; a deep copy and a pickle contain copies.

    Attributes
    ----------
    inputs, outputs : list of str
        Their names, in the graph's order. Inputs that have a value in the model are left out.
    """

    def __init__(self, proto: Any) -> None:
        onnx = package("onnx", "from_onnx")
        reference = package("onnx.reference", "from_onnx")
        if proto.functions:             # the evaluator would run what is inside by its own operators
            proto = package("onnx.inliner", "from_onnx").inline_local_functions(proto)
        self._proto = proto
        graph = proto.graph
        self._defaults = {one.name for one in graph.initializer} | {one.values.name for one in graph.sparse_initializer}
        self._types = {one.name: one.type for one in graph.input}
        self.inputs = [name for name in self._types if name not in self._defaults]
        self.outputs = [one.name for one in graph.output]
        self._now = _Now()
        self._nodes: dict[tuple[str, ...], RecurrentNode] = {}
        for one in _graphs(onnx, graph):
            for node in one.node:
                if node.domain in ("", "ai.onnx") and node.op_type in ONNX_GATES:
                    self._nodes[tuple(node.output)] = RecurrentNode(onnx, node)
        self._name_nodes()
        try:
            self._evaluator = reference.ReferenceEvaluator(proto, new_ops=self._operators())
        except Exception as error:      # the evaluator raises errors of many kinds about operators that it lacks
            raise NotImplementedError(f"from_onnx: got an operator that cannot be run: {error}") from error
        constants = _Constants(onnx, reference, proto, self._defaults & set(self._types))
        for node in self._nodes.values():
            found = [constants.find(name) for key, name in node.inputs.items() if key in WEIGHTS]
            if all(one is not None for one in found):
                keys = [key for key in node.inputs if key in WEIGHTS]
                node.layer = node.make_layer({key: one[0] for key, one in zip(keys, found, strict=True) if one})
                node.constant, node.depends = True, {name for one in found if one for name in one[1]}

    def __repr__(self) -> str:
        return f"<OnnxModel: {', '.join(self.inputs)} → {', '.join(self.outputs)}; {self.layers}>"

    def __getstate__(self) -> dict[str, Any]:
        return {"proto": self._proto.SerializeToString(),
                "layers": {outputs: node.layer for outputs, node in self._nodes.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        OnnxModel.__init__(self, package("onnx", "from_onnx").load_from_string(state["proto"]))
        for outputs, layer in state["layers"].items():
            self._nodes[outputs].layer = layer

    def _name_nodes(self) -> None:
        """Names of nodes need not be different: of several with one name, each is called by its first output."""
        names = [node.name for node in self._nodes.values()]
        for outputs, node in self._nodes.items():
            if names.count(node.name) > 1:
                node.name = next(filter(None, outputs))

    def _operators(self) -> list[type]:
        """Classes for the evaluator: each of its nodes is an instance, and calls `_run`."""
        base = package("onnx.reference.op_run", "from_onnx").OpRun

        def run(operator: Any, *inputs: Any, **attributes: Any) -> tuple[Array, ...]:
            return self._run_node(self._nodes[tuple(operator.onnx_node.output)], inputs)

        loop = package("onnx.reference.ops.op_loop", "from_onnx").Loop

        def run_loop(operator: Any, times: Any, condition: Any, *inputs: Any, **options: Any) -> Any:
            # The evaluator takes a condition that is left out for one that is false.
            return loop._run(operator, times, np.array(True) if condition is None else condition, *inputs, **options)

        return [type(loop.__name__, (loop,), {"op_domain": "", "_run": run_loop}),
                *(type(name, (base,), {"op_domain": "", "_run": run}) for name in ONNX_GATES)]

    def _run_node(self, node: RecurrentNode, inputs: tuple[Any, ...]) -> tuple[Array, ...]:
        given, now = only_there(inputs), self._now
        try:
            layer = node.layer
            if layer is None or not node.constant or node.depends & now.replaced:
                layer = node.make_layer({key: as_array(given[key], key) for key in WEIGHTS if key in given})
                if not node.constant:
                    node.layer = layer
            outputs, tape = node.run(layer, given, now.tapes is not None)
        except TypeError as error:      # which the evaluator would take for one of its own, and hide what it says
            raise ValueError(f"{error}") from error
        if now.tapes is not None and tape is not None:
            now.tapes[node.name] = tape
        return outputs

    @property
    def layers(self) -> dict[str, RecurrentLayer]:
        """The layers by the names of their nodes, or of the first outputs of nodes without a name.

        A change of a layer's weights changes what the model computes. A node whose weights come with the inputs has a
        layer after the first run, that of the last one.
        """
        return {node.name: node.layer for node in self._nodes.values() if node.layer is not None}

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, Any]:
        """Run the model.

        Parameters
        ----------
        inputs : mapping of str to array_like
            Values of other types are converted to those of the graph.

        Returns
        -------
        dict of str to ndarray
            The outputs, in the graph's order.
        """
        return self._run(inputs, None)

    def record(self, inputs: Mapping[str, ArrayLike]) -> dict[str, Tape]:
        """Run the model, and keep what the debugger and a backward pass need.

        Returns
        -------
        dict of str to Tape
            The tape of each recurrent node that was run, by the names of `layers`; that of the last time for a node in
            a loop. A node with direction "reverse" has one layer, whose steps are counted from a row's end.
        """
        tapes: dict[str, Tape] = {}
        self._run(inputs, tapes)
        return tapes

    def _run(self, inputs: Mapping[str, ArrayLike], tapes: dict[str, Tape] | None) -> dict[str, Any]:
        given = self._checked(inputs)
        before = self._now.replaced, self._now.tapes
        self._now.replaced, self._now.tapes = self._defaults & set(given), tapes
        try:
            return dict(zip(self.outputs, self._evaluator.run(None, given), strict=True))
        finally:
            self._now.replaced, self._now.tapes = before

    def _checked(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(inputs, Mapping):
            raise TypeError(f"inputs: got {type(inputs).__name__}, expected a dict of arrays by the names "
                            f"{', '.join(self.inputs)}")
        missing = [name for name in self.inputs if name not in inputs]
        unknown = [name for name in inputs if name not in self._types]
        if missing or unknown:
            raise KeyError(f"inputs: got {', '.join(map(repr, inputs)) or 'nothing'}, expected "
                           f"{', '.join(map(repr, self.inputs)) or 'nothing'}")
        return {name: self._converted(name, value) for name, value in inputs.items()}

    def _converted(self, name: str, value: Any) -> Any:
        """An input in the type that the graph declares for it."""
        declared = self._types[name].tensor_type.elem_type
        if not declared:                # a sequence, or an input without a type
            return value
        array = as_array(value, name)
        dtype = package("onnx", "from_onnx").helper.tensor_dtype_to_np_dtype(declared)
        if array.dtype == dtype:
            return array
        if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and dtype.kind in "biu"):
            raise TypeError(f"{name}: got {array.dtype} values, expected {dtype}, which the graph declares")
        return array.astype(dtype)


class _Now(threading.local):
    """What the run of a thread has given and wants: a run calls the operators in its own thread."""

    def __init__(self) -> None:
        self.replaced: set[str] = set()         # initializers for which the inputs have other values
        self.tapes: dict[str, Tape] | None = None


def _graphs(onnx: Any, graph: Any) -> Iterator[Any]:
    """A graph and all graphs inside it, which are attributes of nodes such as Loop and If."""
    waiting = [graph]
    while waiting:
        one = waiting.pop()
        yield one
        for node in one.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else list(attribute.graphs)


class _Constants:
    """Values in a model that do not depend on its inputs, such as weights that are sliced or transposed at first."""

    def __init__(self, onnx: Any, reference: Any, proto: Any, replaceable: set[str]) -> None:
        self._onnx, self._reference, self._proto, self._replaceable = onnx, reference, proto, replaceable
        graphs = list(_graphs(onnx, proto.graph))
        self._initializers = {one.name: one for graph in graphs for one in graph.initializer}
        self._in_order = [node for graph in graphs for node in graph.node]
        self._producers = {name: k for k, node in enumerate(self._in_order) for name in node.output if name}

    def find(self, name: str) -> tuple[Array, set[str]] | None:
        """The value of this name, and the graph's inputs that may replace it; None if it is not a constant."""
        nodes: set[int] = set()
        needed: dict[str, Any] = {}
        waiting = [name]
        while waiting:
            one = waiting.pop()
            if one in self._initializers:
                needed[one] = self._initializers[one]
            elif one in self._producers:
                node = self._in_order[self._producers[one]]
                if node.op_type.startswith("Random") or any(
                        attribute.type in (self._onnx.AttributeProto.GRAPH, self._onnx.AttributeProto.GRAPHS)
                        for attribute in node.attribute):
                    return None
                if self._producers[one] not in nodes:
                    waiting += [source for source in node.input if source]
                nodes.add(self._producers[one])
            else:
                return None             # an input of the graph, or of a graph inside it
        if name in needed:
            return self._onnx.numpy_helper.to_array(needed[name]), self._replaceable & {name}
        helper = self._onnx.helper
        small = helper.make_graph([self._in_order[k] for k in sorted(nodes)], "constant", [],
                                  [helper.make_empty_tensor_value_info(name)], list(needed.values()))
        model = helper.make_model(small, opset_imports=self._proto.opset_import)
        value = self._reference.ReferenceEvaluator(model).run([name], {})[0]
        return np.asarray(value), self._replaceable & set(needed)
