"""ONNX Runtime, a second judge of forward: gate orders, sigmoid RNN, GRU with reset before."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support import CELLS, close, make, parts, whole
from twin import OWN

import rnncore as rc

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

# Where ONNX's rows come from in ours: LSTM i o f c from i f g o, GRU z r h from r z n.
ROWS = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}
NAMES = [
    *("Sigmoid", "Tanh", "Relu", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh"),
    *("HardSigmoid", "Elu", "Softsign", "Softplus"),
]
CURVE = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}


def session(layer):
    """A model of one node, for a layer of one level."""
    D, H, G = 1 + layer.bidirectional, layer.hidden_size, len(ROWS[layer.mode])
    p = layer.state_dict()

    def stacked(name, axis_shape):
        each = [p[f"{name}_l0{end}"].reshape(G, H, *axis_shape) for end in ("", "_reverse")[:D]]
        return np.stack([a[ROWS[layer.mode]].reshape(G * H, *axis_shape) for a in each]).astype(
            "float32"
        )

    constants = {
        "W": stacked("weight_ih", (layer.input_size,)),
        "R": stacked("weight_hh", (H,)),
        "B": np.concatenate([stacked("bias_ih", ()), stacked("bias_hh", ())], axis=1),
    }
    options = {"hidden_size": H, "direction": "bidirectional" if D == 2 else "forward"}
    if layer.mode == "RNN":
        options["activations"] = [CURVE[layer.nonlinearity]] * D
    if layer.activations is not None:
        every = layer.activations * (D if len(layer.activations) == len(OWN[layer.mode]) else 1)
        listed = [(each,) if isinstance(each, str) else each for each in every]
        options["activations"] = [next(n for n in NAMES if n.lower() == each[0]) for each in listed]
        for n, name in ((1, "activation_alpha"), (2, "activation_beta")):
            if values := [each[n] for each in listed if len(each) > n]:
                options[name] = values
    if layer.gate_clip is not None:
        options["clip"] = layer.gate_clip
    if getattr(layer, "coupled", False):
        options["input_forget"] = 1
    if layer.mode == "GRU":
        options["linear_before_reset"] = int(layer.reset_after)
    states = ["h", "c"] if layer.mode == "LSTM" else ["h"]
    inputs = ["x", "W", "R", "B", "lengths", *(f"{s}0" for s in states)]
    if "weight_peephole_l0" in p:  # P has the order i o f
        each = [p[f"weight_peephole_l0{end}"].reshape(3, H) for end in ("", "_reverse")[:D]]
        constants["P"] = np.stack([a[[0, 2, 1]].reshape(3 * H) for a in each])
        inputs.append("P")
    outputs = ["y", *states]
    info = lambda n, kind: helper.make_tensor_value_info(n, kind, None)  # noqa: E731
    graph = helper.make_graph(
        [helper.make_node(layer.mode, inputs, outputs, **options)],
        "one",
        [info("lengths", TensorProto.INT32)]
        + [info(n, TensorProto.FLOAT) for n in ("x", *inputs[5:]) if n != "P"],
        [info(n, TensorProto.FLOAT) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    one = ort.SessionOptions()
    one.intra_op_num_threads = one.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), one, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_forward_equals_onnxruntime(cell, both, ragged, rng):
    T, B, I, H = 9, 4, 5, 12
    layer = make(cell, I, H, bidirectional=both)
    x = rng.normal(size=(T, B, I)).astype("float32")
    s0 = [rng.normal(size=(1 + both, B, H)).astype("float32") for _ in range(1 + (cell == "lstm"))]
    lengths = np.array([4, 9, 1, 7] if ragged else [T] * B, np.int32)
    feed = {"x": x, "lengths": lengths} | {f"{n}0": a for n, a in zip("hc", s0, strict=False)}
    y, *state = session(layer).run(None, feed)  # y (T, D, B, H)
    out, own = layer(x, whole(layer, s0), lengths=lengths)
    # both in float32, and ONNX Runtime's curves are good to some 1e-6
    close(out, y.transpose(0, 2, 1, 3).reshape(T, B, -1), 1e-5)
    for a, b in zip(parts(own), state, strict=True):
        close(a, b, 1e-5)


ACTIVATIONS = [
    *("sigmoid", "tanh", "relu", "softsign", "softplus", ("affine", 0.6, 0.2), ("leakyrelu", 0.3)),
    *(("thresholdedrelu", 0.4), ("scaledtanh", 1.3, 0.7), ("hardsigmoid", 0.3, 0.4), ("elu", 0.7)),
]


@given(st.data())
def test_any_options_equal_those_of_onnxruntime(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    mode, both = data.draw(st.sampled_from(list(OWN))), data.draw(st.booleans())
    chosen = {"gate_clip": data.draw(st.sampled_from([None, 0.3, 1.0]))}
    if mode == "LSTM":
        chosen |= {flag: data.draw(st.booleans()) for flag in ("peepholes", "coupled")}
    elif mode == "GRU":
        chosen["reset_after"] = data.draw(st.booleans())
    count = len(OWN[mode]) * data.draw(st.integers(0, 1 + both))
    if count:
        kinds = st.sampled_from(ACTIVATIONS)
        chosen["activations"] = data.draw(st.lists(kinds, min_size=count, max_size=count))
    layer = getattr(rc, mode)(3, 5, bidirectional=both, seed=1, **chosen)
    T, B = 5, 2
    x = rng.normal(size=(T, B, 3)).astype("float32")
    s0 = [rng.normal(size=(1 + both, B, 5)).astype("float32") for _ in layer.cell.states]
    feed = {"x": x, "lengths": np.full(B, T, np.int32)}
    feed |= {f"{n}0": a for n, a in zip("hc", s0, strict=False)}
    y, *state = session(layer).run(None, feed)
    assume(all(np.isfinite(one).all() for one in (y, *state)))    # its softplus is infinite above 88
    out, own = layer(x, whole(layer, s0))
    close(out, y.transpose(0, 2, 1, 3).reshape(T, B, -1), 1e-5)
    for a, b in zip(parts(own), state, strict=True):
        close(a, b, 1e-5)
