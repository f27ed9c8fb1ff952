"""swap and restore: the same objects, other engines."""

import copy
import pickle

import pytest
from torch_pairs import agree, results, torch, weighted

import rnncore.torch as rt

F64 = {"dtype": torch.float64}


class Plain(torch.nn.LSTM):
    """Adds nothing but a docstring."""


class Verbose(torch.nn.GRU):
    def forward(self, input, hx=None):
        return super().forward(input, hx)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.LSTM(3, 6, 2, **F64)
        self.shared = self.encoder
        self.decoder = torch.nn.ModuleList([torch.nn.GRU(6, 6, **F64), Plain(6, 6, **F64)])
        self.unregistered = [self.decoder[0]]
        self.tail = torch.nn.RNN(6, 6, nonlinearity="relu", **F64)
        self.projected = torch.nn.LSTM(6, 6, proj_size=4, **F64)
        self.own = Verbose(4, 6, **F64)
        self.half = torch.nn.GRU(2, 2, dtype=torch.float16)
        self.readout = torch.nn.Linear(6, 1, **F64)

    def forward(self, x):
        x, _ = self.encoder(x)
        for module in (self.unregistered[0], self.decoder[1], self.tail, self.projected, self.own):
            x, _ = module(x)
        return self.readout(x)


def train(model, optimiser, x, steps):
    for _ in range(steps):
        optimiser.zero_grad()
        loss = model(x).pow(2).mean()
        loss.backward()
        optimiser.step()
    return loss.item()


def test_swap_says_what_it_did():
    model, lines = Model(), []
    assert rt.swap(model, report=lines.append) is model
    assert lines == ["rnncore.torch.swap: 5 swapped: 'encoder' (LSTM), 'decoder.0' (GRU), 'decoder.1' (Plain), "
                     "'tail' (RNN), 'projected' (LSTM); 2 left: 'own' (Verbose: its class adds forward), "
                     "'half' (GRU: parameters of torch.float16)"]
    assert rt.swap(model, report=lines.append) is model
    assert lines[1].startswith("rnncore.torch.swap: 2 left: 'own'")
    assert rt.restore(model, report=lines.append) is model
    assert lines[2] == ("rnncore.torch.restore: 5 restored: 'encoder' (LSTM), 'decoder.0' (GRU), 'decoder.1' (Plain), "
                        "'tail' (RNN), 'projected' (LSTM)")
    assert rt.restore(model, report=None) is model
    rt.restore(model, report=lines.append)
    assert lines[3] == "rnncore.torch.restore: found nothing to do"


def test_it_prints(capsys):
    rt.swap(torch.nn.LSTM(2, 3))
    assert capsys.readouterr().out == "rnncore.torch.swap: 1 swapped: the model itself (LSTM)\n"


def test_modules_and_parameters_stay_the_same_objects():
    model = Model()
    modules, parameters = list(model.modules()), list(model.parameters())
    classes = [type(module) for module in modules]
    rt.swap(model, report=None)
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert model.shared is model.encoder
    assert type(model.shared) is rt.LSTM
    assert type(model.unregistered[0]) is rt.GRU
    assert type(model.tail) is rt.RNN
    rt.restore(model, report=None)
    assert [type(module) for module in model.modules()] == classes
    assert not any("rnncore" in type(module).__module__ for module in model.modules())


def test_training_goes_on():
    """Swapped and restored in the middle of training by Adam, whose moments belong to the parameters."""
    torch.manual_seed(0)
    model = Model()
    twin = copy.deepcopy(model)
    x = torch.randn(7, 2, 3, **F64)
    assert twin.unregistered[0] is twin.decoder[0]
    optimisers = [torch.optim.Adam(one.parameters(), 0.01) for one in (model, twin)]
    for change in (lambda model, report: model, rt.swap, rt.restore, rt.swap):
        change(model, report=None)
        losses = [train(one, optimiser, x, 5) for one, optimiser in zip((model, twin), optimisers, strict=True)]
        assert abs(losses[0] - losses[1]) <= 1e-9 * losses[1]
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_the_model_itself_may_be_the_module():
    torch.manual_seed(0)
    model, twin = (torch.nn.GRU(3, 5, **F64) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    x = torch.randn(4, 2, 3, **F64)
    model.dropout = twin.dropout
    agree(results(rt.swap(model, report=None), x), results(twin, x), 1e-12)
    assert model.tape is not None
    agree(results(rt.restore(model, report=None), x), results(twin, x), 0)
    assert "_tape" not in vars(model)
    assert "_weights" not in vars(model)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_of_swapped_models_are_swapped(copied):
    model = copied(rt.swap(Model(), report=None))
    assert type(model.encoder) is rt.LSTM
    assert model.shared is model.encoder
    rt.restore(model, report=None)
    assert type(model.encoder) is torch.nn.LSTM
    assert type(model.decoder[1]) is Plain


def test_parametrized_modules_are_swapped():
    """With the parametrization made before or between, and taken off again."""
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"a": torch.nn.LSTM(3, 5, **F64), "b": torch.nn.LSTM(3, 5, **F64)})
    norm, parametrize = torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.parametrize
    norm(model["a"], "weight_hh_l0")
    twin = copy.deepcopy(model)
    norm(twin["b"], "weight_hh_l0")
    rt.swap(model, report=None)
    assert isinstance(model["a"], rt.LSTM)
    norm(model["b"], "weight_hh_l0")
    x = torch.randn(4, 2, 3, **F64)
    for name in "ab":
        expected = results(twin[name], x)
        agree(results(model[name], x), expected, 1e-11)
        rt.restore(model[name], report=None)
        assert isinstance(model[name], torch.nn.LSTM)
        agree(results(model[name], x), expected, 1e-12)
        rt.swap(model[name], report=None)
        parametrize.remove_parametrizations(model[name], "weight_hh_l0")
        assert type(model[name]) is rt.LSTM
        assert torch.allclose(model[name](x)[0], expected["output"])
        assert type(rt.restore(model[name], report=None)) is torch.nn.LSTM


def test_hooks_stay():
    model, seen = torch.nn.GRU(3, 5), []
    model.register_forward_hook(lambda module, args, out: seen.append(type(module)))
    rt.swap(model, report=None)(torch.randn(4, 2, 3))
    rt.restore(model, report=None)(torch.randn(4, 2, 3))
    assert seen == [rt.GRU, torch.nn.GRU]


def test_own_modules_are_not_restored():
    model = torch.nn.Sequential(rt.LSTM(3, 5))
    rt.restore(model, report=None)
    assert type(model[0]) is rt.LSTM
    weighted(model(torch.randn(4, 2, 3))[0]).backward()


def test_only_models_are_swapped():
    with pytest.raises(TypeError, match=r"model: got dict, expected a torch\.nn\.Module"):
        rt.swap({})
    with pytest.raises(TypeError, match=r"model: got list, expected a torch\.nn\.Module"):
        rt.restore([])
