"""RTNeural's JSON and Neural Amp Modeler's files, judged by Keras and torch, from which these files come."""

import copy
import json
import pickle

import numpy as np
import pytest
from support import close, same_bits

import rnncore as rc
from rnncore import convert
from rnncore.convert import AudioModel
from rnncore.io import DamagedFileError


@pytest.fixture
def signal(rng):
    return rng.normal(size=200).astype("float32")


def as_rtneural(model):
    """What RTNeural's script for Keras writes."""
    keras = pytest.importorskip("keras")
    found = []
    for layer in model.layers:
        timed = isinstance(layer, keras.layers.TimeDistributed)
        inner = layer.layer if timed else layer
        kind = "time-distributed-dense" if timed else type(layer).__name__.lower()
        activation = getattr(inner, "activation", None)
        name = "" if activation is None else keras.activations.serialize(activation)
        found.append({"type": kind, "activation": "" if name == "linear" else name,
                      "shape": [None, None, layer.output.shape[-1]],
                      "weights": [w.tolist() for w in layer.get_weights()]})
    return {"in_shape": [None, None, model.input_shape[-1]], "layers": found}


def written(content, tmp_path, name="model.json"):
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_model_of_keras_by_rtneural(kind, signal, rng, tmp_path):
    keras = pytest.importorskip("keras")
    layers = keras.layers
    model = keras.Sequential([
        layers.Input((None, 1)), layers.TimeDistributed(layers.Dense(5, activation="tanh")),
        getattr(layers, kind)(4, return_sequences=True), getattr(layers, kind)(3, return_sequences=True),
        layers.Dense(6, activation="sigmoid"), layers.Dense(4, use_bias=False), layers.Activation("elu"),
        layers.Dense(4, activation="relu"), layers.Dense(2, activation="softmax"), layers.Dense(1)])
    for w in model.weights:
        w.assign(rng.normal(size=w.shape))
    path = written(as_rtneural(model), tmp_path)
    ours = convert.from_rtneural(path)
    expected = keras.ops.convert_to_numpy(model(signal[None, :, None]))[0, :, 0]
    close(ours(signal)[0], expected, 1e-5)
    assert list(ours.layers) == [f"{kind.lower()}_1", f"{kind.lower()}_2"]
    convert.to_rtneural(ours, tmp_path / "again.json")
    again = convert.from_rtneural(tmp_path / "again.json")
    same_bits(again(signal)[0], ours(signal)[0])
    close(convert.from_rtneural(path, dtype="float64")(signal)[0], expected, 1e-5)


def test_what_is_written_has_the_form_of_rtneural(rng, tmp_path):
    """Types, shapes and the order of weights as in a file that Keras's script writes."""
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.layers.Input((None, 2)), keras.layers.GRU(3, return_sequences=True),
                              keras.layers.Dense(1, activation="tanh")])
    for w in model.weights:
        w.assign(rng.normal(size=w.shape))
    (_, layer), = convert.from_keras(model)
    head = rc.nn.Linear(3, 1)
    head.load_state_dict({"weight": model.layers[1].get_weights()[0].T, "bias": model.layers[1].get_weights()[1]})
    time_major = rc.GRU(2, 3)
    time_major.load_state_dict(layer.state_dict())
    convert.to_rtneural(AudioModel([("gru", time_major), ("dense", head), ("out", "tanh")]), tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == as_rtneural(model)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bias": False}, {"batch_first": True}])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_layers_and_sequence_models_are_written(kind, options, signal, tmp_path):
    layer = getattr(rc, kind)(1, 4, seed=0, **options)
    model = rc.nn.SequenceModel(None, layer, rc.nn.Linear(4, 1, seed=1), loss="mse")
    path = tmp_path / "model.json"
    x = signal[None, :, None] if layer.batch_first else signal[:, None, None]
    convert.to_rtneural(model, path)
    close(convert.from_rtneural(path)(signal)[0], model(x)[0].ravel(), 1e-6)
    convert.to_rtneural(layer, path)
    close(convert.from_rtneural(path)(signal[:, None, None])[0].ravel(), layer(x)[0].ravel(), 1e-6)


def test_a_state_dict_of_torch_in_json(signal, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    first, second, head = torch.nn.GRU(1, 4), torch.nn.LSTM(4, 3, num_layers=2), torch.nn.Linear(3, 1)
    state = {f"{name}.{key}": value.tolist() for name, module in
             {"gru": first, "lstm": second, "dense": head}.items() for key, value in module.state_dict().items()}
    ours = convert.from_rtneural(written(state, tmp_path))
    with torch.no_grad():
        expected = head(second(first(torch.from_numpy(signal)[:, None])[0])[0]).numpy()[:, 0]
    close(ours(signal)[0], expected, 1e-6)
    assert list(ours.layers) == ["gru", "lstm"]
    alone = convert.from_rtneural(written({key: value.tolist() for key, value in first.state_dict().items()}, tmp_path))
    assert list(alone.layers) == ["gru"]
    with pytest.raises(NotImplementedError, match=r"conv.weight of shape \(1, 1, 3\) is no weight of a recurrent"):
        convert.from_rtneural(written(state | {"conv.weight": [[[1, 2, 3]]]}, tmp_path))


def test_a_linear_layer_alone(tmp_path):
    for weights in ({"weight": [[2.0]], "bias": [3.0]}, {"bias": [3.0], "weight": [[2.0]]}):
        for prefix in ("", "head."):
            model = convert.from_rtneural(written({prefix + name: one for name, one in weights.items()}, tmp_path))
            assert model(np.ones(2))[0].tolist() == [5, 5]
    assert convert.from_rtneural(written({"weight": [[2.0]]}, tmp_path))(np.ones(2))[0].tolist() == [2, 2]


def test_the_layers_of_a_state_dict_have_the_order_of_the_file(tmp_path):
    content = {"b.bias": [0.5, 1.0], "b.weight": [[1.0], [2.0]], "a.weight": [[1.0, 1.0]], "a.bias": [0.25]}
    model = convert.from_rtneural(written(content, tmp_path))
    assert [name for name, _ in model.parts] == ["b", "a"]
    assert model(np.ones(1))[0].tolist() == [4.75]


@pytest.mark.parametrize(("content", "error", "why"), [
    ({}, DamagedFileError, "its content is a dict of 0, expected 'layers', or the weights"),
    ([1], DamagedFileError, "its content is a list of 1, expected a dict"),
    ({"weight": [[1.0]], "bias": [2.0, 3.0]}, DamagedFileError, r"bias is a list of 2, .* shape \(1,\), not \(2,\)"),
    ({"a.weight": [[1.0]], "a.bias": 2.0}, DamagedFileError, r"a.bias is 2.0, expected numbers of shape \(1,\)"),
    ({"bias": [2.0]}, NotImplementedError, r"bias of shape \(1,\) is no weight"),
    ({"weight": "text"}, DamagedFileError, "weight is 'text', expected numbers"),
    ({"weight": [[1.0], [2.0, 3.0]]}, DamagedFileError, "weight is a list of 2, expected numbers in rows of equal"),
    ({"weight": [[1.0, 1e39]]}, DamagedFileError, r"weight\[0\]\[1\] is 1e\+39, expected a number that is finite"),
    ({"weight": [[]]}, DamagedFileError, "in_features: got 0"),
    ({"a.weight": [[1.0]], "b.weight": [[1.0, 2.0]]}, DamagedFileError, "b: got a part with 2 inputs after one with 1"),
    ({"weight": [[1.0]], "linear.weight": [[1.0]]}, DamagedFileError, "expected different ones"),
    ({"gru.weight_ih_l0": [[1.0]] * 3}, DamagedFileError, "weight_hh_l0"),
    ({"a.weight_ih": [[1.0]] * 3, "a.weight_g": [1.0]}, DamagedFileError, "weight_hh"),
    ({"model_data": {"skip": 1}, "state_dict": {"weight": [[1.0]]}}, NotImplementedError,
     "under 'state_dict', beside model_data; expected the weights alone"),
    ({"model": {"weight": [[1.0]]}}, DamagedFileError, "model is a dict of 1, expected numbers"),
])
def test_damaged_state_dicts_in_json(content, error, why, tmp_path):
    with pytest.raises(error, match=f"model.json: .*{why}"):
        convert.from_rtneural(written(content, tmp_path))


def test_numbers_beyond_float64_and_float32(tmp_path):
    path = tmp_path / "model.json"
    path.write_text('{"weight": [[1e400]]}')
    for dtype in ("float32", "float64"):
        with pytest.raises(DamagedFileError, match=rf"weight\[0\]\[0\] is inf, expected .* finite in {dtype}"):
            convert.from_rtneural(path, dtype=dtype)
    path.write_text('{"weight": [[1e39]]}')
    assert convert.from_rtneural(path, dtype="float64")(np.ones(1))[0].tolist() == [1e39]


@pytest.mark.parametrize("path", [3, None, b"model.json"])
@pytest.mark.parametrize("read", [convert.from_rtneural, convert.from_nam])
def test_what_is_no_path(read, path):
    with pytest.raises(TypeError, match=f"^path: got {path!r}, expected the path of a file"):
        read(path)


def nam(rng, layers=2, units=3, inputs=1, outputs=1, **config):
    """A file of Neural Amp Modeler, and the modules of torch that it holds."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(int(rng.integers(2**31)))
    net, head = torch.nn.LSTM(inputs, units, layers), torch.nn.Linear(units, outputs)
    h, c = torch.randn(layers, units), torch.randn(layers, units)
    numbers = []
    for k in range(layers):
        weight = [getattr(net, f"weight_{one}_l{k}") for one in ("ih", "hh")]
        numbers += [torch.cat(weight, dim=1), getattr(net, f"bias_ih_l{k}") + getattr(net, f"bias_hh_l{k}"), h[k], c[k]]
    flat = torch.cat([one.detach().flatten() for one in (*numbers, head.weight, head.bias)])
    content = {"version": "0.5.4", "architecture": "LSTM", "weights": flat.tolist(), "sample_rate": 48000,
               "metadata": {"name": "an amplifier"},
               "config": {"input_size": inputs, "hidden_size": units, "num_layers": layers} | config}
    return content, net, head, (h, c)


@pytest.mark.parametrize("layers", [1, 3])
def test_neural_amp_modeler(layers, signal, rng, tmp_path):
    content, net, head, (h, c) = nam(rng, layers)
    ours = convert.from_nam(written(content, tmp_path, "amp.nam"))
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        expected = head(net(torch.from_numpy(signal)[:, None], (h, c))[0])[:, 0].numpy()
    close(ours(signal)[0], expected, 1e-6)
    assert ours.sample_rate == 48000
    assert ours.metadata == {"name": "an amplifier"}
    assert list(ours.layers) == ["lstm"]
    with pytest.raises(NotImplementedError, match="got a model with initial states"):
        convert.to_rtneural(ours, tmp_path / "no.json")
    convert.to_rtneural(AudioModel(ours.parts), tmp_path / "yes.json")


def test_neural_amp_modeler_with_channels(rng, tmp_path):
    content, net, head, state = nam(rng, inputs=2, outputs=3, in_channels=2, out_channels=3)
    ours = convert.from_nam(written(content, tmp_path))
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(20, 4, 2)).astype("float32")
    with torch.no_grad():
        first = tuple(one[:, None].expand(-1, 4, -1).contiguous() for one in state)
        expected = head(net(torch.from_numpy(x), first)[0]).numpy()
    close(ours(x)[0], expected, 1e-6)


@pytest.mark.parametrize(("change", "error", "why"), [
    (lambda c: c.update(architecture="WaveNet"), NotImplementedError, "the architecture is 'WaveNet', expected LSTM"),
    (lambda c: c["weights"].pop(), DamagedFileError, r"weights is a list of \d+, expected \d+ numbers, by the sizes"),
    (lambda c: c["weights"].append(1.0), DamagedFileError, "by the sizes in its config"),
    (lambda c: c["weights"].__setitem__(3, "x"), DamagedFileError, r"weights\[3\] is 'x'"),
    (lambda c: c["weights"].__setitem__(3, float("nan")), DamagedFileError, r"weights\[3\] is nan"),
    (lambda c: c["weights"].__setitem__(3, 1e39), DamagedFileError, r"weights\[3\] is 1e\+39, .* finite in float32"),
    (lambda c: c["config"].update(hidden_size=10**12), DamagedFileError, "by the sizes in its config"),
    (lambda c: c["config"].update(num_layers=10**12), DamagedFileError, "by the sizes in its config"),
    (lambda c: c["config"].update(hidden_size=-1), DamagedFileError, "config.hidden_size is -1"),
    (lambda c: c.pop("config"), DamagedFileError, "config is missing"),
])
def test_damaged_files_of_neural_amp_modeler(change, error, why, rng, tmp_path):
    content, *_ = nam(rng)
    change(content)
    with pytest.raises(error, match=why):
        convert.from_nam(written(content, tmp_path, "amp.nam"))


def a_file():
    return {"in_shape": [None, None, 1], "layers": [
        {"type": "gru", "activation": "tanh", "shape": [None, None, 2],
         "weights": [[[0.1] * 6], [[0.2] * 6] * 2, [[0.3] * 6] * 2]},
        {"type": "dense", "activation": "", "shape": [None, None, 1], "weights": [[[1.0], [2.0]], [0.5]]}]}


@pytest.mark.parametrize(("change", "error", "why"), [
    (lambda c: c["layers"][0].update(type="conv1d"), NotImplementedError, r"layers\[0\] is of the type 'conv1d'"),
    (lambda c: c["layers"][0].update(activation="relu"), NotImplementedError, r"layers\[0\] has the activation 'relu'"),
    (lambda c: c["layers"][1].update(activation="gelu"), NotImplementedError, r"layers\[1\] has the activation 'gelu'"),
    (lambda c: c["layers"][0]["weights"].pop(), DamagedFileError, r"layers\[0\].weights is a list of 2"),
    (lambda c: c["layers"][0].update(shape=[None, None, 3]), DamagedFileError, r"shape \(1, 9\), not \(1, 6\)"),
    (lambda c: c["layers"][0]["weights"].__setitem__(0, [["x"] * 6]), DamagedFileError, r"numbers of shape \(1, 6\)"),
    (lambda c: c["layers"][1]["weights"].__setitem__(0, [[1.0], [2.0, 3.0]]), DamagedFileError, r"shape \(2, 1\)"),
    (lambda c: c["layers"][1].pop("shape"), DamagedFileError, r"layers\[1\].shape is missing"),
    (lambda c: c["layers"][1].update(shape=[10**12]), DamagedFileError, r"numbers of shape \(2, 1000000000000\)"),
    (lambda c: c.update(layers=3), DamagedFileError, "layers is 3, expected a list"),
    (lambda c: c.update(layers=[]), DamagedFileError, "layers is a list of 0, expected a list of at least one layer"),
    (lambda c: c.update(in_shape=[]), DamagedFileError, "in_shape is a list of 0, expected a list that ends with"),
    (lambda c: c["layers"][1].update(shape=[]), DamagedFileError, r"layers\[1\].shape is a list of 0, expected"),
    (lambda c: c["layers"][1].update(weights=[]), DamagedFileError, r"layers\[1\].weights is a list of 0, expected"),
    (lambda c: c["layers"][1]["weights"].append([1]), DamagedFileError, r"layers\[1\].weights is a list of 3, expect"),
    (lambda c: c["layers"][1]["weights"].__setitem__(1, [0.5, 1]), DamagedFileError, r"shape \(1,\), not \(2,\)"),
    *((lambda c, bad=bad: c["layers"][1]["weights"][0].__setitem__(1, [bad]), DamagedFileError,
       rf"layers\[1\].weights\[0\]\[1\]\[0\] is {told}, expected a number that is finite in float32")
      for bad, told in ((float("nan"), "nan"), (float("inf"), "inf"), (1e39, r"1e\+39"))),
])
def test_damaged_files_of_rtneural(change, error, why, tmp_path):
    content = a_file()
    assert convert.from_rtneural(written(content, tmp_path))(np.ones(3))[0].shape == (3,)
    change(content)
    with pytest.raises(error, match=why):
        convert.from_rtneural(written(content, tmp_path))


def test_files_that_are_not_json(tmp_path):
    path = tmp_path / "model.json"
    path.write_text("{not JSON")
    with pytest.raises(DamagedFileError, match=r"model.json"):
        convert.from_rtneural(path)
    with pytest.raises(FileNotFoundError, match="missing"):
        convert.from_nam(tmp_path / "missing.nam")


@pytest.mark.parametrize(("model", "error", "why"), [
    (rc.GRU(1, 4, bidirectional=True, seed=0), ValueError, "expected a layer of one direction"),
    (rc.GRU(1, 4, reset_after=False, seed=0), NotImplementedError, "reset_after=False"),
    (rc.RNN(1, 4, seed=0), NotImplementedError, "expected one of LSTM, GRU"),
    (rc.nn.SequenceModel(None, rc.GRU(1, 4), rc.nn.Linear(4, 1), readout="last"), NotImplementedError, "'steps'"),
    (3, TypeError, "got int"),
])
def test_what_rtneural_does_not_have_is_refused_by_name(model, error, why, tmp_path):
    with pytest.raises(error, match=why):
        convert.to_rtneural(model, tmp_path / "model.json")
    assert not (tmp_path / "model.json").exists()


def test_a_model_that_begins_with_an_activation_is_written(rng, tmp_path):
    path, x = tmp_path / "model.json", rng.normal(size=(5, 1, 3))
    for part in (rc.LSTM(3, 4, seed=0), rc.nn.Linear(3, 4, seed=0)):
        model = AudioModel([("t", "tanh"), ("e", "elu"), ("part", part)])
        convert.to_rtneural(model, path)
        same_bits(convert.from_rtneural(path)(x)[0], model(x)[0])
    convert.to_rtneural(AudioModel([("t", "tanh")]), path)
    same_bits(convert.from_rtneural(path)(x[:, 0, 0])[0], np.tanh(x[:, 0, 0].astype("float32")))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_not_written(bad, tmp_path):
    for part in (rc.LSTM(1, 1, seed=0), rc.nn.Linear(1, 1, seed=0)):
        part.load_state_dict({name: np.full_like(w, bad) for name, w in part.state_dict().items()})
        with pytest.raises(ValueError, match=r"^to_rtneural: got weights of 'mine' that are NaN or infinite"):
            convert.to_rtneural(AudioModel([("t", "tanh"), ("mine", part)]), tmp_path / "model.json")
    assert not (tmp_path / "model.json").exists()


# ---- AudioModel ---------------------------------------------------------------------------------


def a_chain(**options):
    lstm = rc.LSTM(1, 4, 2, seed=0)
    rng = np.random.default_rng(1)
    initial = {"lstm": tuple(rng.normal(size=(2, 1, 4)).astype("float32") for _ in range(2))}
    return AudioModel([("in", "tanh"), ("lstm", lstm), ("mid", rc.nn.Linear(4, 3, seed=2)), ("bend", "elu"),
                       ("gru", rc.GRU(3, 2, seed=3)), ("head", rc.nn.Linear(2, 1, seed=4))], initial=initial, **options)


@pytest.mark.parametrize("cuts", [(), (1,), (7, 8, 150), (100,)])
def test_blocks_have_the_bits_of_one_call(cuts, signal):
    model = a_chain()
    y, state = model(signal)
    stream = model.stream()
    blocks = np.split(signal, cuts)
    same_bits(np.concatenate([stream.block(block) for block in blocks]), y)
    same_bits(dict(stream.state), state)
    stream.reset()
    same_bits(np.array([stream.step(value) for value in signal[:5]]), y[:5])
    stream.state = state
    same_bits(stream.block(signal), model(signal, state)[0])


def test_rows_and_states(signal, rng):
    model = a_chain()
    x = rng.normal(size=(20, 3, 1)).astype("float32")
    y, state = model(x)
    assert y.shape == (20, 3, 1)
    stream = model.stream(3)
    same_bits(np.concatenate([stream.block(x[:11]), np.stack([stream.step(row) for row in x[11:]])]), y)
    same_bits(model(x[:, 1:2])[0], y[:, 1:2])
    second, _ = model(x, state)
    same_bits(stream.block(x), second)
    assert "AudioStream" in repr(stream)
    assert "lstm=LSTM" in repr(model)


def test_tapes(signal):
    model = a_chain()
    tapes = model.record(signal)
    assert list(tapes) == ["lstm", "gru"]
    same_bits(tapes["gru"].state, model(signal)[1]["gru"])
    assert tapes["lstm"]["l1.f"].shape == (200, 1, 4)


def test_wrong_chains(signal):
    linear = rc.nn.Linear(2, 3)
    for parts, error, why in (
            ([], ValueError, "expected different ones"),
            ([("a", linear), ("a", "tanh")], ValueError, "expected different ones"),
            ([("a", "gelu")], ValueError, "^a: got 'gelu', expected one of tanh"),
            ([("a", linear), ("b", linear)], ValueError, "^b: got a part with 2 inputs after one with 3 outputs"),
            ([("a", rc.nn.Embedding(2, 3))], TypeError, "^a: got Embedding"),
            ([("a", rc.GRU(2, 3, batch_first=True))], ValueError, "not batch_first")):
        with pytest.raises(error, match=why):
            AudioModel(parts)
    with pytest.raises(KeyError, match="initial: got 'b'"):
        AudioModel([("a", rc.GRU(2, 3))], initial={"b": np.zeros((1, 1, 3))})
    with pytest.raises(ValueError, match=r"^x: got shape \(2, 2\)"):
        a_chain()(np.zeros((2, 2)))
    with pytest.raises(KeyError, match="state: got gru, expected lstm, gru"):
        a_chain()(signal, {"gru": None})
    for state, error, why in (
            ((1, 2), TypeError, r"state: got tuple, expected a mapping of the names .* \(lstm, gru\)"),
            (3, TypeError, "state: got int, expected a mapping"),
            ({}, KeyError, "state: got no names, expected lstm, gru"),
            ({"lstm": None, "gru": None, "x": 3}, KeyError, "state: got lstm, gru, x, expected lstm, gru"),
            ({"lstm": None, "gru": 3}, ValueError, r"^state\['gru'\]: h0: got shape \(\), expected \(1, 1, 2\)")):
        for run in (a_chain(), a_chain().record):
            with pytest.raises(error, match=why):
                run(signal, state)
    with pytest.raises(KeyError, match="expected none: the model has no recurrent layer"):
        AudioModel([("a", linear)])(np.zeros((1, 1, 2)), {"a": None})
    for parts in ([rc.LSTM(1, 2)], rc.LSTM(1, 2), "tanh", ["ab"], [("a", "tanh", 3)], [(3, "tanh")], {"ab": "tanh"}, 3):
        with pytest.raises(TypeError, match=r"^parts: got .*, expected pairs \(name, part\)"):
            AudioModel(parts)


def test_initial_states_are_checked_at_once():
    parts = [("a", rc.LSTM(1, 2)), ("b", rc.GRU(2, 3))]
    for initial, error, why in (({"a": 3}, ValueError, r"^initial\['a'\]: got int, expected the pair"),
                                ({"b": np.zeros(3)}, ValueError, r"^initial\['b'\]: h0: got shape \(3,\)"),
                                (3, TypeError, "^initial: got int, expected a mapping")):
        with pytest.raises(error, match=why):
            AudioModel(parts, initial=initial)
    given = [np.ones((1, 1, 2)), None]
    model = AudioModel(parts, initial={"a": given, "b": None})
    assert list(model.initial) == ["a"]
    x = np.ones((4, 2, 1))
    same_bits(model(x)[0], model(x, {"a": (np.ones((1, 2, 2)), None), "b": None})[0])


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_of_a_stream_have_states_of_their_own(copied, signal):
    y = a_chain()(signal)[0]
    stream = a_chain().stream()
    stream.block(signal[:50])
    other = copied(stream)
    same_bits(other.block(signal[50:]), y[50:])
    same_bits(stream.block(signal[50:]), y[50:])
    if copied is copy.copy:
        assert other._model is stream._model


def test_a_refused_state_changes_nothing(signal):
    stream = a_chain().stream()
    stream.block(signal)
    before = stream.state
    wrong = a_chain().stream().state | {"gru": np.zeros((1, 1, 5))}
    for state, error in ((wrong, ValueError), ({}, KeyError), (3, TypeError)):
        with pytest.raises(error, match="state"):
            stream.state = state
        same_bits(dict(stream.state), dict(before))


def test_a_step_of_the_wrong_shape(signal):
    stream = a_chain().stream()
    for x_t in ([0.5], np.zeros((2, 1)), np.zeros((1, 2)), np.zeros((1, 1, 1))):
        told = str(np.shape(x_t)).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(ValueError, match=rf"^x_t: got shape {told}, expected \(B, I\) = \(1, 1\), or a number"):
            stream.step(x_t)
    with pytest.raises(ValueError, match=r"^x_t: got shape \(\), expected \(B, I\) = \(3, 1\)$"):
        a_chain().stream(3).step(0.5)
    same_bits(stream.step([[0.5]]).ravel(), np.array([a_chain().stream().step(0.5)]))
