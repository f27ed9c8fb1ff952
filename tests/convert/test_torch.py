"""From torch and back: every option of torch's modules, their state_dicts, and files of weights."""

import json
import pickle

import pytest
from support import close, same_bits

import rnncore as rc
from rnncore import convert

torch = pytest.importorskip("torch")

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
KINDS = ["LSTM", "GRU", "RNN"]


def seeded(rng):
    torch.manual_seed(int(rng.integers(2**31)))


def a_module(kind, rng, dtype="float32", **options):
    seeded(rng)
    if kind == "RNN":
        options.setdefault("nonlinearity", str(rng.choice(["tanh", "relu"])))
    return getattr(torch.nn, kind)(3, 4, dtype=getattr(torch, dtype), **options)


def states(module, rng, B):
    """A random initial state, as a list of arrays."""
    n = module.num_layers * (1 + module.bidirectional)
    widths = [module.proj_size or module.hidden_size, module.hidden_size][:1 + (module.mode == "LSTM")]
    return [rng.normal(size=(n, B, width)).astype(str(module.weight_ih_l0.dtype)[6:]) for width in widths]


def outputs(module, x, state):
    """Output and state of torch's module."""
    given = [torch.from_numpy(part) for part in state]
    with torch.no_grad():
        y, new = module(torch.from_numpy(x), tuple(given) if len(given) > 1 else given[0])
    return [part.numpy() for part in (y, *(new if isinstance(new, tuple) else (new,)))]


def ours(layer, x, state):
    y, new = layer(x, tuple(state) if len(state) > 1 else state[0])
    return [y, *(new if isinstance(new, tuple) else (new,))]


def agree(layer, module, rng):
    x = rng.normal(size=(2, 5, layer.input_size) if module.batch_first else (5, 2, layer.input_size))
    x = x.astype(layer.dtype)
    state = states(module, rng, 2)
    for a, b in zip(ours(layer, x, state), outputs(module, x, state), strict=True):
        close(a, b, TOLERANCE[layer.dtype.name])


def same_weights(module, expected):
    got, expected = module.state_dict(), expected.state_dict()
    assert list(got) == list(expected)
    for name, tensor in expected.items():
        same_bits(got[name].numpy(), tensor.numpy(), name)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("options", [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"bias": False, "batch_first": True},
    {"num_layers": 3, "dropout": 0.5, "bidirectional": True, "bias": False},
])
@pytest.mark.parametrize("kind", KINDS)
def test_a_module_goes_there_and_back(kind, options, dtype, rng):
    module = a_module(kind, rng, dtype, **options).eval()
    layer = convert.from_torch(module)
    assert layer.dtype == dtype
    assert layer.batch_first == module.batch_first
    agree(layer, module, rng)
    again = convert.to_torch(layer)
    assert repr(again) == repr(module)
    same_weights(again, module)
    agree(layer, again.eval(), rng)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_projections(dtype, options, rng):
    module = a_module("LSTM", rng, dtype, proj_size=2, **options)
    layer = convert.from_torch(module)
    assert layer.proj_size == 2
    agree(layer, module, rng)
    same_weights(convert.to_torch(layer), module)
    same_weights(convert.to_torch(convert.from_torch(module.state_dict())), module)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_goes_there_and_back(kind, bias, rng):
    seeded(rng)
    options = {"nonlinearity": "relu"} if kind == "RNN" else {}
    module = getattr(torch.nn, f"{kind}Cell")(3, 4, bias=bias, **options)
    x = rng.normal(size=(2, 3)).astype("float32")
    for cell in (convert.from_torch(module), convert.from_torch(module.state_dict(), nonlinearity="relu")):
        assert type(cell) is getattr(rc, f"{kind}Cell")
        with torch.no_grad():
            expected = module(torch.from_numpy(x))
        got = cell(x)
        close(got[0] if kind == "LSTM" else got, (expected[0] if kind == "LSTM" else expected).numpy(), 1e-5)
        again = convert.to_torch(cell)
        assert repr(again) == repr(module)
        same_weights(again, module)


@pytest.mark.parametrize("options", [
    {}, {"num_layers": 2, "bidirectional": True}, {"bias": False}, {"num_layers": 2, "bias": False}])
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_alone_tells_the_rest(kind, options, rng):
    module = a_module(kind, rng, nonlinearity="relu", **options) if kind == "RNN" else a_module(kind, rng, **options)
    state = module.state_dict()
    layer = convert.from_torch({name: state[name] for name in rng.permutation(list(state))}, nonlinearity="relu")
    assert convert.from_torch(module).options == layer.options
    agree(layer, module, rng)
    same_weights(convert.to_torch(layer), module)


def test_what_a_state_dict_does_not_say_is_asked_for(rng):
    state = a_module("RNN", rng).state_dict()
    with pytest.raises(TypeError, match=r"^nonlinearity: got None .* expected 'tanh' or 'relu'"):
        convert.from_torch(state)
    assert convert.from_torch(state, nonlinearity="tanh", batch_first=True).batch_first
    with pytest.raises(TypeError, match=r"^nonlinearity: got 'tanh' with a module"):
        convert.from_torch(a_module("RNN", rng), nonlinearity="tanh")


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 3)
        self.encoder = torch.nn.Sequential(torch.nn.LSTM(3, 4, bidirectional=True))
        self.decoder = torch.nn.GRU(8, 2)
        self.cell = torch.nn.LSTMCell(2, 2)
        self.head = torch.nn.Linear(2, 10)


def test_a_model_gives_named_layers(rng):
    seeded(rng)
    model = Model()
    found = convert.from_torch(model)
    assert [name for name, _ in found] == ["encoder.0", "decoder", "cell"]
    assert [type(layer) for _, layer in found] == [rc.LSTM, rc.GRU, rc.LSTMCell]
    agree(found[1].layer, model.decoder, rng)
    by_name = dict(convert.from_torch(model.state_dict()))
    for name, layer in found:
        same_bits(by_name[name].state_dict(), layer.state_dict())
    with pytest.raises(ValueError, match=r"^source: got a Linear without an LSTM, GRU or RNN"):
        convert.from_torch(model.head)
    with pytest.raises(ValueError, match=r"got 'weight', 'bias', expected weights of a recurrent layer"):
        convert.from_torch(model.head.state_dict())


def test_prefixes_choose_and_rename(rng, tmp_path):
    from safetensors.torch import save_file

    seeded(rng)
    model = Model()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    for source in (model.state_dict(), tmp_path / "model.safetensors", str(tmp_path / "model.safetensors")):
        layer = convert.from_torch(source, prefix={"decoder.": "", "": None})
        agree(layer, model.decoder, rng)


def test_files(rng, tmp_path):
    module = a_module("LSTM", rng, num_layers=2)
    path = tmp_path / "layer.pt"
    torch.save(module.state_dict(), path)
    agree(convert.from_torch(path), module, rng)
    torch.save({"epoch": 3, "model": module.state_dict()}, path)
    with pytest.raises(ValueError, match=r"the weights may be in its 'model': give that alone"):
        convert.from_torch(path)
    torch.save(torch.zeros(3), path)
    with pytest.raises(ValueError, match="holds a Tensor, expected a state_dict"):
        convert.from_torch(path)
    with pytest.raises(FileNotFoundError, match="missing"):
        convert.from_torch(tmp_path / "missing.pt")


class Touches:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("writes", [
    lambda value, path: torch.save(value, path),
    lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    lambda value, path: path.write_bytes(pickle.dumps(value)),
])
def test_no_pickle_is_read(writes, tmp_path):
    path, touched = tmp_path / "evil.pt", tmp_path / "touched"
    writes({"weight_ih_l0": Touches(touched)}, path)
    with pytest.raises(ValueError, match=r"evil.pt is not a file of weights alone"):
        convert.from_torch(path)
    assert not touched.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a file of torch", b"abc", json.dumps({"a": 1}).encode()])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other.pt is not a file of weights alone"):
        convert.from_torch(path)


def test_a_whole_module_in_a_file_is_refused(rng, tmp_path):
    path = tmp_path / "module.pt"
    torch.save(a_module("GRU", rng), path)
    with pytest.raises(ValueError, match=r"save model.state_dict\(\)"):
        convert.from_torch(path)


@pytest.mark.parametrize(("change", "why"), [
    (lambda s: s.pop("weight_hh_l0"), "expected weight_hh_l0 as well"),
    (lambda s: [s.pop(name) for name in list(s) if "_l0" in name], "expected weight_ih_l0 as well"),
    (lambda s: s.pop("bias_hh_l1"), "bias_hh_l1"),
    (lambda s: s.pop("bias_ih_l0"), "missing: 'bias_ih_l0'"),
    (lambda s: s.update(weight_hh_l0=torch.zeros(20, 4)), "got 20 rows for 4 units"),
    (lambda s: s.update(weight_hh_l0=torch.zeros(16)), "expected a matrix"),
    (lambda s: s.update(weight_ih_l1=torch.zeros(16, 7)), r"\(16, 4\)"),
])
def test_damaged_state_dicts(change, why, rng):
    state = a_module("LSTM", rng, num_layers=2).state_dict()
    change(state)
    with pytest.raises((KeyError, ValueError), match=why):
        convert.from_torch(state)


def test_half_precision_becomes_float32(rng):
    module = a_module("GRU", rng).to(torch.bfloat16)
    layer = convert.from_torch(module)
    assert layer.dtype == "float32"
    same_bits(layer.state_dict(), {name: value.float().numpy() for name, value in module.state_dict().items()})


class Doubled(torch.nn.LSTM):
    def forward(self, x):
        return 2 * super().forward(x)[0]


class Renamed(torch.nn.GRU):
    """Adds nothing that changes what it computes."""


def test_a_class_with_its_own_forward_is_refused(rng):
    seeded(rng)
    with pytest.raises(NotImplementedError, match=r"^1: got a Doubled whose forward is its own"):
        convert.from_torch(torch.nn.Sequential(torch.nn.Linear(3, 3), Doubled(3, 4)))
    module = Renamed(3, 4)
    agree(convert.from_torch(module), module, rng)


def test_parametrized_and_swapped_modules(rng):
    import rnncore.torch as rt

    seeded(rng)
    module = torch.nn.GRU(3, 4)
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    agree(convert.from_torch(module), module, rng)
    swapped = rt.LSTM(3, 4)
    agree(convert.from_torch(swapped), swapped, rng)


def test_to_torch_draws_no_random_numbers():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    convert.to_torch(rc.LSTM(3, 4, seed=0))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("layer", "why"), [
    (rc.GRU(3, 4, reset_after=False, seed=0), "reset_after=False"),
    (rc.RNN(3, 4, nonlinearity="sigmoid", seed=0), "nonlinearity='sigmoid'"),
])
def test_what_torch_does_not_have_is_refused_by_name(layer, why):
    with pytest.raises(NotImplementedError, match=rf"^to_torch: got a layer with {why}"):
        convert.to_torch(layer)


def test_other_types_are_refused():
    with pytest.raises(TypeError, match=r"^source: got int"):
        convert.from_torch(3)
    with pytest.raises(TypeError, match=r"^to_torch: got Linear"):
        convert.to_torch(torch.nn.Linear(2, 2))


def test_names_of_layers_that_do_not_follow_each_other_are_refused_at_once():
    weights = {f"weight_{kind}_l99999999999": torch.ones(4, 1) for kind in ("ih", "hh")}
    with pytest.raises(KeyError, match="expected weight_ih_l0, weight_ih_l1 as well"):
        convert.from_torch(weights)
