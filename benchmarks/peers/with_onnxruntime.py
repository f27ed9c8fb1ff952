"""ONNX Runtime: the ONNX operators LSTM, GRU and RNN, time-major, forward only.

Weights are initialisers of the ONNX graph, so the session packs them once. Inputs are bound once and
outputs stay where the session puts them, so that no call copies anything.

Threads: ``intra_op_num_threads``. As by default, its pool keeps spinning for a while after a run,
which makes it fast on short calls; the next library is timed only when the pool sleeps.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ..cases import Arrays, Case
from ..twin import Numbers
from . import Unsupported

# torch's gate order → ONNX's: LSTM i f g o → i o f g; GRU r z n → z r n
ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


class Peer:
    """ONNX Runtime in this process."""

    def __init__(self, threads: int):
        import onnx  # the models are built with it
        import onnxruntime

        self.ort, self.threads = onnxruntime, threads
        self.version = f"{onnxruntime.__version__} (onnx {onnx.__version__})"

    def prepare(self, case: Case, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers it returns."""
        if mode != "forward":
            raise Unsupported("it does not train")
        arrays = Arrays.draw(case)
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = self.ort.InferenceSession(
                model(case, arrays), options, providers=["CPUExecutionProvider"]
            )
            bound = session.io_binding()
            for name, value in inputs(case, arrays).items():
                bound.bind_cpu_input(name, value)
            names = [output.name for output in session.get_outputs()]
            for name in names:
                bound.bind_output(name)
            session.run_with_iobinding(bound)
        except Exception as error:  # its exception types are not public
            if case.dtype == "float64" and re.search("NOT_IMPLEMENTED|support double", str(error)):
                raise Unsupported(f"it has no {case.cell} in float64") from None
            raise

        def read(result: Any) -> Numbers:
            values = dict(zip(names, bound.copy_outputs_to_cpu(), strict=True))
            carries = "hc" if case.cell == "LSTM" else "h"
            final = {
                f"state.{k}": np.concatenate([values[f"{k}_{n}"] for n in range(case.layers)])
                for k in carries
            }
            return {"output": values["output"], **final}

        return lambda: session.run_with_iobinding(bound), read


def inputs(case: Case, arrays: Arrays) -> dict[str, np.ndarray]:
    """x, the lengths of rows of unequal length, and the initial states of each layer."""
    D, named = case.directions, {"x": arrays.x}
    if case.lengths is not None:
        named["lengths"] = case.lengths.astype(np.int32)
    for name, part in zip("hc", arrays.state, strict=False):
        for layer in range(case.layers):
            named[f"{name}0_{layer}"] = np.ascontiguousarray(part[layer * D : layer * D + D])
    return named


def model(case: Case, arrays: Arrays) -> bytes:
    """The case as an ONNX model; outputs are output (T, B, D·H), h_0, c_0, h_1, ..."""
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(case.dtype))
    D, H = case.directions, case.H
    carries = "hc" if case.cell == "LSTM" else "h"
    constants = {"merged": np.array([case.T, case.B, D * H], np.int64)}
    nodes, states, below = [], [], "x"
    for layer in range(case.layers):
        suffixes = case.suffixes[layer * D : layer * D + D]
        weights = {f"{key}_{layer}": stacked(case, arrays, key, suffixes) for key in "WRB"}
        constants.update(weights)
        initial = [f"{name}0_{layer}" for name in carries]
        final = [f"{name}_{layer}" for name in carries]
        states += final
        nodes.append(
            helper.make_node(
                case.cell,
                [below, *weights, "lengths" if case.ragged else "", *initial],
                [f"Y_{layer}", *final],
                hidden_size=H,
                direction="bidirectional" if D == 2 else "forward",
                **({"linear_before_reset": 1} if case.cell == "GRU" else {}),
            )
        )
        # Y is (T, D, B, H); the layer above reads (T, B, D·H)
        below = "output" if layer == case.layers - 1 else f"y_{layer}"
        turned = f"Y_{layer}"
        if D == 2:
            turned = f"turned_{layer}"
            nodes.append(helper.make_node("Transpose", [f"Y_{layer}"], [turned], perm=[0, 2, 1, 3]))
        nodes.append(helper.make_node("Reshape", [turned, "merged"], [below]))

    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        case.cell,
        [
            info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in inputs(case, arrays).items()
        ],
        [
            info("output", kind, (case.T, case.B, D * H)),
            *(info(name, kind, (D, case.B, H)) for name in states),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 14)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def stacked(case: Case, arrays: Arrays, key: str, suffixes: list[str]) -> np.ndarray:
    """W (D, G·H, I), R (D, G·H, H) or B (D, 2·G·H) of a layer, in ONNX's gate order."""

    def reordered(name: str) -> np.ndarray:
        gates = np.split(arrays.parameters[name], len(ORDER[case.cell]))
        return np.concatenate([gates[k] for k in ORDER[case.cell]])

    if key == "B":
        return np.stack(
            [
                np.concatenate([reordered(f"bias_ih_{s}"), reordered(f"bias_hh_{s}")])
                for s in suffixes
            ]
        )
    name = {"W": "weight_ih", "R": "weight_hh"}[key]
    return np.stack([reordered(f"{name}_{s}") for s in suffixes])
