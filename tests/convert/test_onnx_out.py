"""What to_onnx writes is read by ONNX Runtime, and by from_onnx, with the same results; models that torch exports."""

import warnings

import numpy as np
import pytest
from support import close, parts, same_bits

import rnncore as rc
from rnncore import convert

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

LAYERS = {
    "LSTM": lambda **o: rc.LSTM(3, 4, seed=1, **o),
    "GRU": lambda **o: rc.GRU(3, 4, seed=2, **o),
    "GRU, reset before": lambda **o: rc.GRU(3, 4, seed=3, reset_after=False, **o),
    "RNN": lambda **o: rc.RNN(3, 4, seed=4, **o),
}
STACKS = [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "batch_first": True}, {"num_layers": 3}]


def by_runtime(model, feeds):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def agree(written, feeds, expected, tolerance=1e-5):
    """Both readers give what the layer gives."""
    ours = convert.from_onnx(written).run(feeds)
    assert list(ours) == [one.name for one in written.graph.output]
    for got in (by_runtime(written, feeds), list(ours.values())):
        for a, b in zip(got, expected, strict=True):
            close(a, b, tolerance)


def random_x(layer, rng, T=5, B=3):
    shape = (B, T, layer.input_size) if layer.batch_first else (T, B, layer.input_size)
    return rng.normal(size=shape).astype("float32")


def flat(y, state):
    return [y, *parts(state)]


@pytest.mark.parametrize("options", STACKS)
@pytest.mark.parametrize("kind", LAYERS)
def test_layers(kind, options, rng, tmp_path):
    layer = LAYERS[kind](**options)
    path = tmp_path / "layer.onnx"
    written = convert.to_onnx(layer, path)
    assert path.read_bytes() == written.SerializeToString()
    x = random_x(layer, rng)
    agree(written, {"x": x}, flat(*layer(x)))
    agree(written, {"x": x[:2, :2]}, flat(*layer(x[:2, :2])))       # other numbers of steps and of rows


@pytest.mark.parametrize("options", STACKS)
@pytest.mark.parametrize("kind", LAYERS)
def test_states_and_lengths(kind, options, rng):
    layer = LAYERS[kind](**options)
    x, lengths = random_x(layer, rng), np.array([5, 0, 3], np.int32)
    shape = (layer.num_layers * layer.directions, 3, 4)
    given = [rng.normal(size=shape).astype("float32") for _ in layer.cell.states]
    state = tuple(given) if len(given) > 1 else given[0]
    names = dict(zip(layer.cell.initial, given, strict=True))
    agree(convert.to_onnx(layer, states=True), {"x": x} | names, flat(*layer(x, state)))
    agree(convert.to_onnx(layer, lengths=True), {"x": x, "lengths": lengths}, flat(*layer(x, lengths=lengths)))
    agree(convert.to_onnx(layer, states=True, lengths=True), {"x": x, "lengths": lengths} | names,
          flat(*layer(x, state, lengths)))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "sigmoid"])
def test_nonlinearities(nonlinearity, rng):
    layer = rc.RNN(3, 4, nonlinearity=nonlinearity, bidirectional=True, seed=1)
    x = random_x(layer, rng)
    agree(convert.to_onnx(layer), {"x": x}, flat(*layer(x)))


@pytest.mark.parametrize("options", [
    {"peepholes": True}, {"coupled": True}, {"gate_clip": 0.3}, {"peepholes": True, "coupled": True, "gate_clip": 0.5},
    {"activations": ["hardsigmoid", ("leakyrelu", 0.3), ("affine", 0.5, 0.1)]}, {"proj_size": 2},
    {"proj_size": 2, "peepholes": True},
    {"activations": ["sigmoid", "tanh", "relu", ("elu", 0.3), "softsign", ("scaledtanh", 0.7, 0.8)],
     "bidirectional": True}])
@pytest.mark.parametrize("stack", [{}, {"num_layers": 2, "bidirectional": True}])
def test_options(options, stack, rng):
    layer = rc.LSTM(3, 4, seed=1, **stack | options)
    x = random_x(layer, rng)
    agree(convert.to_onnx(layer), {"x": x}, flat(*layer(x)), 3e-5)
    if "proj_size" not in options:
        read = convert.from_onnx(convert.to_onnx(layer)).layers["l0"]
        for name in ("peepholes", "coupled", "activations"):
            assert getattr(read, name) == getattr(layer, name) or name == "activations"


def test_a_projection_has_no_input_for_its_state():
    with pytest.raises(NotImplementedError, match=r"^states: got True with proj_size=2"):
        convert.to_onnx(rc.LSTM(3, 4, proj_size=2, seed=0), states=True)


def test_what_onnx_does_not_have_is_refused_by_name():
    with pytest.raises(NotImplementedError, match=r"^to_onnx: got a layer with cell_clip=3"):
        convert.to_onnx(rc.LSTM(3, 4, cell_clip=3.0, seed=0))


@pytest.mark.parametrize("embedding", [True, False])
@pytest.mark.parametrize("readout", ["steps", "last", "mean"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_sequence_models(embedding, readout, batch_first, bidirectional, rng):
    layer = rc.GRU(3, 4, 2, batch_first=batch_first, bidirectional=bidirectional, seed=1)
    table = rc.nn.Embedding(10, 3, seed=2) if embedding else None
    head = rc.nn.Linear(layer.structure.features, 5, bias=not bidirectional, seed=3)
    model = rc.nn.SequenceModel(table, layer, head, readout=readout, dropout=rc.nn.Dropout(0.5))
    shape = (3, 5) if batch_first else (5, 3)
    x = rng.integers(0, 10, shape) if embedding else random_x(layer, rng)
    name, lengths = "tokens" if embedding else "x", np.array([5, 0, 3], np.int32)
    agree(convert.to_onnx(model), {name: x}, flat(*model(x)))
    agree(convert.to_onnx(model, lengths=True), {name: x, "lengths": lengths}, flat(*model(x, lengths=lengths)))


def test_a_written_layer_is_read_to_the_last_bit(rng):
    layer = rc.LSTM(3, 4, 2, bidirectional=True, seed=5)
    read = convert.from_onnx(convert.to_onnx(layer)).layers
    ours = layer.state_dict()
    for k in range(2):
        for name, array in read[f"l{k}"].state_dict().items():
            same_bits(array, ours[name.replace("_l0", f"_l{k}")])


def test_other_arguments_are_refused():
    with pytest.raises(TypeError, match=r"^to_onnx: got GRUCell, expected a layer"):
        convert.to_onnx(rc.GRUCell(3, 4))
    with pytest.raises(TypeError, match=r"^states: got 1"):
        convert.to_onnx(rc.GRU(3, 4), states=1)


def test_float64_is_written_as_it_is(rng):
    layer = rc.GRU(3, 4, dtype="float64", seed=0)
    x = rng.normal(size=(5, 2, 3))
    model = convert.from_onnx(convert.to_onnx(layer))
    same_bits(model.run({"x": x})["y"], layer(x)[0])


# ---- models that torch exports ------------------------------------------------------------------


def exported(module, example, path, names, dynamic):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (example,), path, dynamo=False, input_names=[names[0]], output_names=[names[1]],
                          dynamic_axes=dynamic)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_whole_models_of_torch(kind, batch_first, rng, tmp_path):
    """Embedding, two layers in both directions, linear; other numbers of steps and rows than in the example."""
    torch = pytest.importorskip("torch")

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(20, 6)
            self.net = getattr(torch.nn, kind)(6, 5, 2, bidirectional=True, batch_first=batch_first)
            self.head = torch.nn.Linear(10, 3)

        def forward(self, tokens):
            return torch.log_softmax(self.head(self.net(self.embedding(tokens))[0]), dim=-1)

    torch.manual_seed(1)
    module, path = Tagger().eval(), tmp_path / "tagger.onnx"
    exported(module, torch.zeros(1, 7, dtype=torch.long) if batch_first else torch.zeros(7, 1, dtype=torch.long), path,
             ("tokens", "scores"), {"tokens": {0: "a", 1: "b"}, "scores": {0: "a", 1: "b"}})
    model = convert.from_onnx(path)
    assert len(model.layers) == 2
    for shape in ((4, 9), (1, 1), (3, 2)):
        tokens = rng.integers(0, 20, shape)
        with torch.no_grad():
            expected = module(torch.from_numpy(tokens)).numpy()
        close(model.run({"tokens": tokens})["scores"], expected, 1e-5)
        tapes = model.record({"tokens": tokens})
        assert list(tapes) == list(model.layers)
    for name, layer in model.layers.items():
        assert layer.bidirectional, name


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3), (0, 0, 3)])
@pytest.mark.parametrize("layer", [rc.GRU(3, 4, bidirectional=True), rc.LSTM(3, 4, proj_size=2)], ids=str)
def test_no_steps_and_no_rows_have_an_answer(layer, shape, tmp_path):
    path = tmp_path / "layer.onnx"
    convert.to_onnx(layer, path)
    x = np.zeros(shape, np.float32)
    y, *_ = convert.from_onnx(path).run({"x": x}).values()
    assert y.shape == layer(x)[0].shape
