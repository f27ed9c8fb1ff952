"""ONNX's recurrent operators run by our layers: the package's node tests, and random models by ONNX Runtime."""

import copy
import importlib
import pickle

import numpy as np
import pytest
from support import close, same_bits
from twin import Twin

import rnncore as rc
from rnncore import convert

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
helper = onnx.helper

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def node_tests():
    """The package's own tests of these operators, by name; importing a file of them adds them to a list."""
    from onnx.backend.test.case import node

    for kind in GATES:
        importlib.import_module(f"onnx.backend.test.case.node.{kind.lower()}")
    return {case.name: case for case in node._NodeTestCases if case.model.graph.node[0].op_type in GATES}


NODE_TESTS = node_tests()


def test_there_are_eighteen_node_tests():
    assert len(NODE_TESTS) == 18


@pytest.mark.parametrize("name", sorted(NODE_TESTS))
def test_the_node_tests_of_the_package(name):
    case = NODE_TESTS[name]
    model = convert.from_onnx(case.model)
    assert list(model.layers) == []                     # the weights are inputs
    names = [one.name for one in case.model.graph.input]
    for inputs, outputs in case.data_sets:
        got = model.run(dict(zip(names, inputs, strict=True)))
        assert list(got) == [one.name for one in case.model.graph.output]
        for a, b in zip(got.values(), outputs, strict=True):
            assert a.dtype == b.dtype
            close(a, b, 1e-5)
    assert len(model.layers) == 1


# ---- random models ------------------------------------------------------------------------------


def a_model(kind, rng, *, direction="forward", bias=True, peepholes=False, lengths=False, states=False, layout=0,
            weights="initializers", name="", outputs=None, B=3, H=3, dtype=np.float32, opset=14, scale=1, **attributes):
    """A model of one node with random weights, of the size `scale`, and random inputs for it."""
    D, G, T, I = 1 + (direction == "bidirectional"), GATES[kind], 5, 2
    arrays = {"X": rng.normal(size=(B, T, I) if layout else (T, B, I)), "W": rng.normal(size=(D, G * H, I)),
              "R": rng.normal(size=(D, G * H, H))}
    if bias:
        arrays["B"] = rng.normal(size=(D, 2 * G * H))
    if states:
        shape = (B, D, H) if layout else (D, B, H)
        arrays["initial_h"] = rng.normal(size=shape)
        if kind == "LSTM":
            arrays["initial_c"] = rng.normal(size=shape)
    if peepholes:
        arrays["P"] = rng.normal(size=(D, 3 * H))
    arrays = {key: (array * (scale if key in "WRBP" else 1)).astype(dtype) for key, array in arrays.items()}
    if lengths:
        arrays["sequence_lens"] = rng.integers(0, T + 1, B).astype(np.int32)
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    inputs = [key if key in arrays else "" for key in order]
    while not inputs[-1]:
        inputs.pop()
    found = ["Y", "Y_h", "Y_c"][:2 + (kind == "LSTM")] if outputs is None else outputs
    if layout:
        attributes["layout"] = layout
    node = helper.make_node(kind, inputs, found, name=name, hidden_size=H, direction=direction, **attributes)
    held = [key for key in ("W", "R", "B", "P") if key in arrays] if weights == "initializers" else []
    kinds = {key: helper.np_dtype_to_tensor_dtype(array.dtype) for key, array in arrays.items()}
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info(key, kinds[key], array.shape) for key, array in arrays.items()
                        if key not in held],
        [helper.make_tensor_value_info(key, kinds["X"], None) for key in found if key],
        [onnx.numpy_helper.from_array(arrays[key], key) for key in held])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model, {key: array for key, array in arrays.items() if key not in held}


def by_runtime(model, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, feeds), strict=True))


def agree(model, feeds, tolerance=1e-5):
    """Outputs of a call and of a recorded pass against ONNX Runtime's."""
    ours = convert.from_onnx(model)
    got, expected = ours.run(feeds), by_runtime(model, feeds)
    assert list(got) == list(expected)
    for name in expected:
        close(got[name], expected[name], tolerance)
    return ours


DIRECTIONS = ["forward", "reverse", "bidirectional"]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("given", ["", "lengths", "states", "lengths and states"])
@pytest.mark.parametrize("kind", GATES)
def test_inputs_of_the_operators(kind, given, bias, direction, rng):
    model, feeds = a_model(kind, rng, direction=direction, bias=bias, lengths="lengths" in given,
                           states="states" in given)
    agree(model, feeds)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("after", [0, 1])
def test_linear_before_reset(after, direction, rng):
    model, feeds = a_model("GRU", rng, direction=direction, linear_before_reset=after)
    ours = agree(model, feeds)
    assert ours.layers["Y"].reset_after is bool(after)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("forget", [0, 1])
@pytest.mark.parametrize("clip", [None, 0.6])
def test_peepholes_input_forget_and_clip(clip, forget, direction, rng):
    attributes = {} if clip is None else {"clip": clip}
    for peepholes in (True, False):
        model, feeds = a_model("LSTM", rng, direction=direction, peepholes=peepholes, input_forget=forget, states=True,
                               lengths=True, **attributes)
        layer = agree(model, feeds).layers["Y"]
        assert layer.peepholes is peepholes
        assert layer.coupled is bool(forget)
        assert layer.gate_clip == (None if clip is None else np.float32(clip))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", ["RNN", "GRU"])
def test_clip(kind, direction, rng):
    model, feeds = a_model(kind, rng, direction=direction, clip=0.5, states=True)
    agree(model, feeds)


FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
# Those that take parameters, with values that are not the defaults.
PARAMETERS = {"Affine": (0.6, 0.1), "LeakyRelu": (0.2,), "ThresholdedRelu": (0.3,), "ScaledTanh": (0.8, 0.7),
              "HardSigmoid": (0.3, 0.4), "Elu": (0.5,)}
# The defaults of ONNX's operators with these names; ONNX Runtime has 0 for the first and the third.
SPECIFIED = {"Affine": (1, 0), "LeakyRelu": (0.01,), "ThresholdedRelu": (1,), "HardSigmoid": (0.2, 0.5), "Elu": (1,)}
NAMES = ["Sigmoid", "Tanh", "Relu", "Softsign", "Softplus", *PARAMETERS]


@pytest.mark.parametrize("defaults", [True, False])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", GATES)
def test_activations(kind, name, defaults, rng):
    """Each function in each place, in a mixture with others, forward and in both directions.

    With small weights, since states that no function bounds would grow without end.
    """
    if defaults and name == "ScaledTanh":
        pytest.skip("ONNX has no defaults for it")
    for direction in ("forward", "bidirectional"):
        n = FUNCTIONS[kind] * (1 + (direction == "bidirectional"))
        for place in range(n):
            names = [str(one) for one in rng.choice(["Sigmoid", "Tanh", "Softsign", "LeakyRelu", "HardSigmoid"], n)]
            names[place] = name
            given = [(SPECIFIED if defaults else PARAMETERS).get(one, ()) for one in names]
            told = {"activation_alpha": [float(one[0]) for one in given if one],
                    "activation_beta": [float(one[1]) for one in given if len(one) > 1]}
            model, feeds = a_model(kind, rng, direction=direction, states=True, scale=0.3, activations=names,
                                   **{key: values for key, values in told.items() if values})
            expected = by_runtime(model, feeds)
            if defaults:
                kept = [one for one in model.graph.node[0].attribute if not one.name.startswith("activation_")]
                del model.graph.node[0].attribute[:]
                model.graph.node[0].attribute.extend(kept)
            got = convert.from_onnx(model).run(feeds)
            for key in expected:
                close(got[key], expected[key], 1e-5)


def test_names_of_activations_in_any_case(rng):
    model, feeds = a_model("GRU", rng, activations=["hARDsigmoid", "SOFTSIGN"])
    agree(model, feeds)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", GATES)
def test_layout_with_the_batch_first(kind, direction, rng):
    """ONNX Runtime does not have it, so that the judge is the same node with the steps first."""
    model, feeds = a_model(kind, rng, direction=direction, lengths=True, states=True, layout=1)
    got = convert.from_onnx(model).run(feeds)
    other = onnx.ModelProto()
    other.CopyFrom(model)
    (layout,) = [one for one in other.graph.node[0].attribute if one.name == "layout"]
    layout.i = 0
    for one in other.graph.input:
        if one.name in ("X", "initial_h", "initial_c"):
            one.type.tensor_type.shape.dim[0].dim_value, one.type.tensor_type.shape.dim[1].dim_value = (
                one.type.tensor_type.shape.dim[1].dim_value, one.type.tensor_type.shape.dim[0].dim_value)
    swapped = {key: array.swapaxes(0, 1) if array.ndim == 3 else array for key, array in feeds.items()}
    expected = by_runtime(other, {key: np.ascontiguousarray(array) for key, array in swapped.items()})
    close(got["Y"], expected["Y"].transpose(2, 0, 1, 3), 1e-5)
    for name in list(expected)[1:]:
        close(got[name], expected[name].swapaxes(0, 1), 1e-5)


@pytest.mark.parametrize("outputs", [["Y"], ["", "Y_h"], ["", "", "Y_c"], ["Y", "", "Y_c"]])
def test_outputs_that_are_left_out(outputs, rng):
    model, feeds = a_model("LSTM", rng, outputs=outputs)
    ours = agree(model, feeds)
    assert list(ours.layers) == [next(filter(None, outputs))]


@pytest.mark.parametrize("opset", [7, 13, 14, 22])
@pytest.mark.parametrize("kind", GATES)
def test_versions_of_the_operators(kind, opset, rng):
    model, feeds = a_model(kind, rng, direction="bidirectional", opset=opset)
    agree(model, feeds)


@pytest.mark.parametrize("kind", GATES)
def test_float64(kind, rng):
    """By the twin, since ONNX Runtime does not have it; where the weights go is known from float32."""
    model, feeds = a_model(kind, rng, direction="bidirectional", dtype=np.float64)
    ours = convert.from_onnx(model)
    got, layer = ours.run(feeds)["Y"], ours.layers["Y"]
    assert got.dtype == layer.dtype == "float64"
    expected = Twin.of(layer).forward(feeds["X"]).output
    close(got.swapaxes(1, 2).reshape(expected.shape), expected, 1e-12)


def test_float16_is_computed_in_float32(rng):
    model, feeds = a_model("GRU", rng, direction="reverse", dtype=np.float16)
    ours = convert.from_onnx(model)
    got = ours.run(feeds)["Y"]
    assert got.dtype == np.float16
    assert ours.layers["Y"].dtype == "float32"
    expected = ours.layers["Y"](feeds["X"][::-1])[0][::-1].astype(np.float16)
    same_bits(got[:, 0], expected)


# ---- weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GATES)
def test_weights_that_come_with_the_inputs(kind, rng):
    model, feeds = a_model(kind, rng, direction="bidirectional", weights="inputs", name="node")
    ours = convert.from_onnx(model)
    assert ours.layers == {}
    for _ in range(2):
        got = ours.run(feeds)
        for name, expected in by_runtime(model, feeds).items():
            close(got[name], expected, 1e-5)
        feeds["R"] = rng.normal(size=feeds["R"].shape).astype("float32")
    assert list(ours.layers) == ["node"]
    assert list(ours.record(feeds)) == ["node"]


def test_initializers_that_an_input_may_replace(rng):
    model, feeds = a_model("GRU", rng)
    W = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.input.append(helper.make_tensor_value_info("W", onnx.TensorProto.FLOAT, W.shape))
    ours = agree(model, feeds)
    assert ours.inputs == ["X"]
    before = ours.layers["Y"]
    replaced = feeds | {"W": rng.normal(size=W.shape).astype("float32")}
    close(ours.run(replaced)["Y"], by_runtime(model, replaced)["Y"], 1e-5)
    assert ours.layers["Y"] is before
    close(ours.run(feeds)["Y"], by_runtime(model, feeds)["Y"], 1e-5)


def test_weights_that_the_graph_computes_from_constants(rng):
    """As exporters write them: slices, transposes and concatenations of initializers and of Constant nodes."""
    model, feeds = a_model("LSTM", rng)
    graph = model.graph
    for one in graph.initializer:
        if one.name == "W":
            flipped = onnx.numpy_helper.to_array(one).swapaxes(1, 2).copy()
            one.CopyFrom(onnx.numpy_helper.from_array(flipped, "W_t"))
        if one.name == "R":
            values = onnx.numpy_helper.to_array(one)
            one.CopyFrom(onnx.numpy_helper.from_array(np.array(0, np.float32), "zero"))
    graph.node.insert(0, helper.make_node("Transpose", ["W_t"], ["W"], perm=[0, 2, 1]))
    graph.node.insert(0, helper.make_node("Add", ["R_0", "zero"], ["R"]))
    graph.node.insert(0, helper.make_node("Constant", [], ["R_0"], value=onnx.numpy_helper.from_array(values)))
    ours = agree(model, feeds)
    layer = ours.layers["Y"]
    ours.run(feeds)
    assert ours.layers["Y"] is layer


def test_weights_of_a_layer_may_be_changed(rng):
    model, feeds = a_model("GRU", rng)
    ours = convert.from_onnx(model)
    with ours.layers["Y"].writable() as weights:
        for array in weights.values():
            array[...] = 0
    assert not ours.run(feeds)["Y"].any()


# ---- tapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
                         ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("weights", ["initializers", "inputs"])
@pytest.mark.parametrize("kind", GATES)
def test_copies_and_pickles(kind, weights, again, rng):
    model, feeds = a_model(kind, rng, weights=weights, name="one")
    ours = convert.from_onnx(model)
    assert list(again(ours).layers) == list(ours.layers)
    if weights == "initializers":
        with ours.layers["one"].writable() as own:
            own["weight_hh_l0"] *= 0.5
    wanted = ours.run(feeds)
    other = again(ours)
    assert (other.inputs, other.outputs, repr(other)) == (ours.inputs, ours.outputs, repr(ours))
    for name, array in other.run(feeds).items():
        same_bits(array, wanted[name])
    assert list(other.record(feeds)) == ["one"]
    if weights == "initializers":
        assert (other.layers["one"] is ours.layers["one"]) is (again is copy.copy)
        with other.layers["one"].writable() as own:
            own["weight_hh_l0"] *= 0
        assert np.array_equal(ours.run(feeds)["Y"], wanted["Y"]) is (again is not copy.copy)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", GATES)
def test_tapes(kind, direction, rng):
    model, feeds = a_model(kind, rng, direction=direction, lengths=True, states=True, name="net")
    ours = convert.from_onnx(model)
    tape = ours.record(feeds)["net"]
    y = ours.run(feeds)["Y"].swapaxes(1, 2).reshape(tape.output.shape)
    if direction != "reverse":
        same_bits(tape.output, y)
    else:
        for row, n in enumerate(feeds["sequence_lens"]):
            same_bits(tape.output[:n, row], y[:n, row][::-1])
    grads = tape.backward(np.ones_like(tape.output))
    assert list(grads.parameters) == list(ours.layers["net"].state_dict())


# ---- whole graphs -------------------------------------------------------------------------------


def in_a_loop(rng):
    """The node runs three times, on its own states."""
    model, feeds = a_model("GRU", rng, states=True, outputs=["", "Y_h"], B=2, H=3)
    node = model.graph.node[0]
    info = helper.make_tensor_value_info
    node.input[5], node.output[1] = "h_in", "h_out"
    body = helper.make_graph(
        [helper.make_node("Identity", ["keep_in"], ["keep_out"]), node], "body",
        [info("i", onnx.TensorProto.INT64, []), info("keep_in", onnx.TensorProto.BOOL, []),
         info("h_in", onnx.TensorProto.FLOAT, (1, 2, 3))],
        [info("keep_out", onnx.TensorProto.BOOL, []), info("h_out", onnx.TensorProto.FLOAT, (1, 2, 3))])
    graph = helper.make_graph(
        [helper.make_node("Loop", ["times", "", "initial_h"], ["Y_h"], body=body)], "loop",
        list(model.graph.input), list(model.graph.output),
        [*model.graph.initializer, onnx.numpy_helper.from_array(np.array(3), "times")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), feeds


def test_a_node_in_a_loop(rng):
    model, feeds = in_a_loop(rng)
    ours = agree(model, feeds)
    assert list(ours.layers) == ["h_out"]
    assert list(ours.record(feeds)) == ["h_out"]


def test_a_node_in_a_function(rng):
    """The evaluator would run what is inside of a function by its own operators."""
    model, feeds = a_model("LSTM", rng, direction="reverse", lengths=True, states=True, name="inside")
    node = model.graph.node[0]
    function = onnx.FunctionProto(name="Net", domain="own", input=[name for name in node.input if name],
                                  output=node.output, node=[node], opset_import=[helper.make_opsetid("", 14)])
    call = helper.make_node("Net", function.input, function.output, domain="own")
    graph = helper.make_graph([call], "outer", model.graph.input, model.graph.output, model.graph.initializer)
    model = helper.make_model(graph, functions=[function], ir_version=8, opset_imports=[
        helper.make_opsetid("", 14), helper.make_opsetid("own", 1)])
    ours = agree(model, feeds)
    assert len(ours.layers) == 1


def test_names_of_nodes_need_not_differ(rng):
    model, feeds = a_model("GRU", rng, name="same", outputs=["Y"])
    second = onnx.NodeProto()
    second.CopyFrom(model.graph.node[0])
    second.output[0] = "Z"
    expected = by_runtime(model, feeds)["Y"]            # which would refuse the two names
    model.graph.node.append(second)
    model.graph.output.append(helper.make_tensor_value_info("Z", onnx.TensorProto.FLOAT, None))
    ours = convert.from_onnx(model)
    assert list(ours.layers) == ["Y", "Z"]
    for found in ours.run(feeds).values():
        close(found, expected, 1e-5)


def test_two_threads_at_once(rng):
    """A run that is recorded and one that is not do not see each other."""
    from concurrent.futures import ThreadPoolExecutor

    model, feeds = a_model("LSTM", rng, direction="bidirectional", name="net")
    ours = convert.from_onnx(model)
    expected = ours.run(feeds)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda k: ours.record(feeds) if k % 2 else ours.run(feeds), range(40)))
    for k, found in enumerate(runs):
        assert list(found) == (["net"] if k % 2 else list(expected))


# ---- inputs and refusals ------------------------------------------------------------------------


def test_inputs_are_converted_to_the_types_of_the_graph(rng):
    torch = pytest.importorskip("torch")
    model, feeds = a_model("GRU", rng, lengths=True)
    ours = convert.from_onnx(model)
    expected = ours.run(feeds)
    for x in (feeds["X"].astype(np.float64), torch.from_numpy(feeds["X"]).requires_grad_(), feeds["X"].tolist()):
        same_bits(ours.run({"X": x, "sequence_lens": feeds["sequence_lens"].astype(np.int64)}), expected)


@pytest.mark.parametrize(("change", "error", "why"), [
    (lambda feeds: feeds.pop("X"), KeyError, r"expected 'X', 'sequence_lens'"),
    (lambda feeds: feeds.update(Z=1), KeyError, r"got 'X', 'sequence_lens', 'Z'"),
    (lambda feeds: feeds.update(sequence_lens=np.array([1.5, 2, 3])), TypeError, r"sequence_lens: got float64 values"),
    (lambda feeds: feeds.update(X=np.zeros((5, 3, 7), "float32")), ValueError, r"x: got shape \(5, 3, 7\)"),
    (lambda feeds: feeds.update(X=np.zeros((5, 3), "float32")), ValueError, r"GRU 'net': got X of shape \(5, 3\)"),
    (lambda feeds: feeds.update(sequence_lens=np.array([9, 2, 3])), ValueError, r"lengths: got 9"),
])
def test_wrong_inputs(change, error, why, rng):
    model, feeds = a_model("GRU", rng, lengths=True, name="net")
    ours = convert.from_onnx(model)
    change(feeds)
    with pytest.raises(error, match=why):
        ours.run(feeds)
    with pytest.raises(TypeError, match=r"^inputs: got list, expected a dict of arrays by the names X, sequence_lens"):
        ours.run([feeds])


def spoiled(rng, change, kind="LSTM"):
    model, _ = a_model(kind, rng, name="net")
    change(model.graph)
    return model


def reshaped(graph, name, shape):
    for one in graph.initializer:
        if one.name == name:
            one.CopyFrom(onnx.numpy_helper.from_array(np.zeros(shape, "float32"), name))


@pytest.mark.parametrize(("change", "error", "why"), [
    (lambda g: g.node[0].attribute.append(helper.make_attribute("fancy", 1)), NotImplementedError,
     r"^LSTM 'net': got the attribute fancy"),
    (lambda g: setattr(g.node[0].attribute[0], "s", b"sideways"), ValueError,
     r"^LSTM 'net': got direction='sideways'"),
    (lambda g: g.node[0].attribute.append(helper.make_attribute("activations", ["Tanh"])), ValueError,
     r"^LSTM 'net': got 1 activations, expected 3"),
    (lambda g: g.node[0].attribute.append(helper.make_attribute("activations", ["Tanh", "Gelu", "Tanh"])),
     NotImplementedError, r"got 'Gelu', expected one of Sigmoid"),
    (lambda g: reshaped(g, "W", (1, 12)), ValueError, r"^LSTM 'net': got W of shape \(1, 12\), expected 3 axes"),
    (lambda g: reshaped(g, "W", (1, 9, 2)), ValueError, r"^LSTM 'net': got W of shape \(1, 9, 2\), expected"),
    (lambda g: reshaped(g, "R", (2, 12, 3)), ValueError, r"^LSTM 'net': got R of shape \(2, 12, 3\), expected"),
    (lambda g: reshaped(g, "B", (1, 12)), ValueError, r"^LSTM 'net': got B of shape \(1, 12\), expected \(1, 24\)"),
    (lambda g: setattr(g.node[0].attribute[1], "i", 7), ValueError, r"got hidden_size=7 and R of shape"),
    (lambda g: g.node.append(helper.make_node("Unheard", ["Y"], ["Z"])), NotImplementedError, "Unheard"),
    (lambda g: g.node.append(helper.make_node("Attention", ["Y"], ["Z"], domain="com.microsoft")), NotImplementedError,
     "com.microsoft"),
])
def test_what_cannot_be_is_refused_by_name(change, error, why, rng):
    model, _ = a_model("LSTM", rng, name="net")
    order = {"direction": 0, "hidden_size": 1}
    found = sorted(model.graph.node[0].attribute, key=lambda one: order[one.name])
    del model.graph.node[0].attribute[:]
    model.graph.node[0].attribute.extend(found)
    change(model.graph)
    with pytest.raises(error, match=why):
        convert.from_onnx(model)


def test_paths_and_other_sources(rng, tmp_path):
    model, feeds = a_model("GRU", rng)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    expected = convert.from_onnx(model).run(feeds)
    for source in (path, str(path), path.read_bytes()):
        same_bits(convert.from_onnx(source).run(feeds), expected)
    for content in (b"", b"not a model of ONNX"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model.onnx, (which has no graph|expected a model of ONNX)"):
            convert.from_onnx(path)
    with pytest.raises(FileNotFoundError, match="missing"):
        convert.from_onnx(tmp_path / "missing.onnx")
    with pytest.raises(TypeError, match=r"^source: got GRU, expected the path of a model"):
        convert.from_onnx(rc.GRU(2, 3))


def test_weights_in_a_file_beside_the_model(rng, tmp_path):
    model, feeds = a_model("GRU", rng)
    expected = convert.from_onnx(model).run(feeds)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    same_bits(convert.from_onnx(tmp_path / "model.onnx").run(feeds), expected)
