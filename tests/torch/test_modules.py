"""What one does with modules of torch works with ours: copies, files, hooks, parametrizations, checkpointing, …"""

import copy
import gc
import io
import pickle
import weakref

import numpy as np
import pytest
from torch_pairs import KINDS, TOLERANCE, agree, pair, parts, random_state, results, torch, weighted

import rnncore as rc
import rnncore.torch as rt
from rnncore import viz

F64 = {"dtype": torch.float64}


@pytest.mark.parametrize("kind", KINDS)
def test_constructors_are_those_of_torch(kind):
    """The same positions and names, the same weights from the same generator, and the same text."""
    positional = (3, 5, 2, "relu", False, True, 0.25, True) if kind == "RNN" else (3, 5, 2, False, True, 0.25, True)
    made = []
    for room in (torch.nn, rt):
        torch.manual_seed(0)
        made.append(getattr(room, kind)(*positional, dtype=torch.float64))
    theirs, ours = made
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor)
    for name in ("mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
                 "proj_size", "training"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert repr(ours) == repr(theirs)
    assert len(ours.all_weights) == 4
    ours.flatten_parameters()
    ours.reset_parameters()
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        getattr(rt, kind)(3, 5, dropout=0.5)


def through_pickle(module):
    return pickle.loads(pickle.dumps(module))


def through_file(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def through_weights(module):
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = type(module)(3, 5, 2, **F64)
    other.load_state_dict(torch.load(file))
    return other


@pytest.mark.parametrize("through", [copy.deepcopy, through_pickle, through_file, through_weights])
@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_equal_and_independent(kind, through):
    ours = getattr(rt, kind)(3, 5, 2, **F64)
    x = torch.randn(4, 2, 3, **F64)
    expected = results(ours, x)
    other = through(ours)
    assert type(other) is type(ours)
    assert other.tape is None
    agree(results(other, x), expected, 0)
    for parameter in other.parameters():
        parameter.data.mul_(2)
    agree(results(ours, x), expected, 0)
    assert not torch.equal(other(x)[0], expected["output"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_nothing_is_recorded_where_no_gradients_are_wanted(kind, mode):
    ours = getattr(rt, kind)(3, 5)
    with mode():
        y, state = ours(torch.randn(4, 2, 3))
        y.zero_()                                   # nobody else has its memory
        parts(state)[0].zero_()
    assert ours.tape is None
    assert not y.requires_grad
    assert y.is_inference() == (mode is torch.inference_mode)
    ours.requires_grad_(False)
    ours(torch.randn(4, 2, 3))
    assert ours.tape is None


def test_outputs_and_gradients_are_not_copied():
    ours = rt.LSTM(3, 5, batch_first=True)
    x = torch.randn(2, 4, 3)
    y, _ = ours(x)
    assert y.data_ptr() == ours.tape.recorded_output.ctypes.data
    with torch.no_grad():
        y, _ = ours(x)
    assert y.is_contiguous()


def test_the_tape_is_that_of_the_last_recorded_pass():
    theirs, ours = pair("LSTM", 3, 5, 2, bidirectional=True, batch_first=True)
    assert ours.tape is None
    x, lengths = torch.randn(3, 6, 3, **F64), torch.tensor([4, 6, 1])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    (y, _), tape = ours(packed), ours.tape
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(y)
    weighted(padded).backward()
    assert ours.tape is tape
    assert tape.layer.state_dict().keys() == theirs.state_dict().keys()
    layer = rc.LSTM(3, 5, 2, bidirectional=True, dtype="float64")
    layer.load_state_dict(ours.state_dict())
    expected = layer.record(x.transpose(0, 1).numpy(), lengths=lengths.numpy())
    places = np.sin(np.arange(padded.numel()) + 0.5).reshape(padded.shape)
    expected.backward(places)
    for name in expected.names():
        assert np.array_equal(tape[name], expected[name]), name
        assert np.allclose(tape.grad[name], expected.grad[name], rtol=1e-12, atol=0), name
    assert set(viz.gradient_flow(tape)) == set(viz.gradient_flow(expected))
    assert viz.jacobian_norms(tape).shape == (6, 3)
    del ours.tape
    assert ours.tape is None


def test_a_tape_lives_as_long_as_torch_needs_it():
    ours = rt.GRU(3, 5)
    x = torch.randn(4, 2, 3)
    y, _ = ours(x)
    tape = weakref.ref(ours.tape)
    del ours.tape
    gc.collect()
    assert tape() is not None                       # for the backward pass
    loss = weighted(y)
    loss.backward()
    gc.collect()
    assert tape() is None, "torch has freed its own, though the loss is still there"
    ours(x)
    first = weakref.ref(ours.tape)
    ours(x)
    assert first() is None


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_activation_checkpointing(kind, reentrant):
    """The same gradients, dropout masks included, and no pass kept in between."""
    from torch.utils.checkpoint import checkpoint

    ours = getattr(rt, kind)(3, 5, 2, dropout=0.5)
    x = torch.randn(6, 2, 3)
    found = []
    for run in (lambda module, x, hx: module(x, hx),
                lambda module, x, hx: checkpoint(module, x, hx, use_reentrant=reentrant)):
        torch.manual_seed(5)
        ours.zero_grad()
        del ours.tape
        given = x.clone().requires_grad_()
        y, state = run(ours, given, random_state(ours, 2, dtype=torch.float32))
        if found:
            assert ours.tape is None
        # With use_reentrant torch does not see tensors in a tuple, as an LSTM's state is.
        weighted(y if reentrant else y + parts(state)[0].sum()).backward()
        found.append({"y": y.detach(), "x": given.grad} | {n: p.grad.clone() for n, p in ours.named_parameters()})
    agree(found[1], found[0], 0)
    assert (found[0]["y"] != 0).any()


def test_hooks_that_bring_copies_get_a_clear_error():
    ours = rt.GRU(3, 5)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor.numpy().copy(), torch.from_numpy):
        y, _ = ours(torch.randn(4, 2, 3))
    gc.collect()
    with pytest.raises(RuntimeError, match="the recorded pass is gone, since a hook on saved tensors"):
        y.sum().backward()


def test_hooks_of_modules_and_tensors():
    theirs, ours = pair("LSTM", 3, 5)
    x, calls = torch.randn(4, 2, 3, **F64), []
    for module in (theirs, ours):
        seen = []
        module.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
        module.register_forward_hook(lambda module, args, out: (out[0] * 3, out[1]))
        module.register_full_backward_hook(lambda module, grad_in, grad_out, seen=seen: seen.append(grad_out[0]))
        module.weight_hh_l0.register_hook(lambda grad: grad * 5)
        given = x.clone().requires_grad_()
        y, _ = module(given)
        y.register_hook(lambda grad: grad * 7)
        weighted(y).backward()
        calls.append([*seen, y.detach(), given.grad, module.weight_hh_l0.grad])
    torch.testing.assert_close(calls[1], calls[0])


def with_weight_norm(module):
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")


def with_spectral_norm(module):
    torch.nn.utils.parametrizations.spectral_norm(module, "weight_ih_l0")
    module.eval()                                   # no further power iterations: the same norm for both


def with_old_weight_norm(module):
    torch.nn.utils.weight_norm(module, "weight_hh_l0")


def with_pruning(module):
    from torch.nn.utils import prune

    prune.l1_unstructured(module, "weight_hh_l0", 0.5)


@pytest.mark.parametrize("change", [with_weight_norm, with_spectral_norm, with_old_weight_norm, with_pruning])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_parametrizations(change):
    theirs, ours = pair("GRU", 3, 5)
    for module in (theirs, ours):
        torch.manual_seed(0)
        change(module)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 2, 3, **F64)
    for _ in range(2):
        expected = results(theirs, x)
        agree(results(ours, x), expected, 1e-11)
        with torch.no_grad():
            for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
                a -= 0.1 * a.grad
                b.copy_(a)
    assert len(expected) > 6


def test_autocast_is_left_alone():
    """The module computes in the type of its weights, whatever a layer before it has made of its input."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), rt.LSTM(3, 5))
    x = torch.randn(6, 2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model[0](x).dtype == torch.bfloat16
        y, (h, _) = model(x)
        hidden = model[0](x)
    assert y.dtype == h.dtype == torch.float32
    assert torch.equal(y, model[1](hidden.float())[0])
    weighted(y).backward()
    assert (model[0].weight.grad != 0).any()
    with pytest.raises(ValueError, match=r"input: got torch\.bfloat16, expected torch\.float32"):
        model[1](hidden)


@pytest.mark.parametrize("kind", KINDS)
def test_types_can_be_changed(kind):
    theirs, ours = pair(kind, 3, 5, 2)
    x = torch.randn(4, 2, 3, **F64)
    expected = results(theirs, x)
    agree(results(ours, x), expected, TOLERANCE[torch.float64])
    ours.float()
    got = results(ours, x.float())
    agree(got, {name: value.float() for name, value in expected.items()}, TOLERANCE[torch.float32])
    ours.double()
    assert ours(x)[0].dtype == torch.float64


def test_settings_may_change_after_construction():
    theirs, ours = pair("LSTM", 3, 5, 2)
    x = torch.randn(4, 2, 3, **F64)
    ours(x)
    for module in (theirs, ours):
        module.batch_first = True
    agree(results(ours, x), results(theirs, x), 1e-12)
    ours.dropout = 0.5
    assert not torch.equal(ours(x)[0], ours(x)[0])
    ours.eval()
    assert torch.equal(ours(x)[0], ours(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_between_layers(kind):
    """In training mode only, between layers only, repeatable by torch's seed: a share p is 0, others are / (1-p)."""
    ours = getattr(rt, kind)(4, 40, 2, dropout=0.25)
    x = torch.randn(50, 8, 4)

    def run(seed, mode=torch.enable_grad):
        torch.manual_seed(seed)
        with mode():
            return ours(x)[0].detach()

    assert torch.equal(run(1), run(1))
    assert torch.equal(run(1), run(1, torch.no_grad))
    assert not torch.equal(run(1), run(2))
    run(1)
    first_layer, dropped = ours.tape["l0.h"], ours.tape._passes[1].x
    kept = dropped != 0
    assert np.allclose(dropped[kept], first_layer[kept] / 0.75, rtol=1e-6)
    n = kept.size
    share = 1 - (kept & (first_layer != 0)).sum() / (first_layer != 0).sum()
    assert abs(share - 0.25) < 5 * (0.25 * 0.75 / n) ** 0.5       # five standard deviations
    ours.eval()
    evaluated = run(1)
    assert torch.equal(evaluated, run(2))
    assert not torch.equal(evaluated, run(1, torch.no_grad) * 2)


def test_gradients_under_dropout_equal_finite_differences():
    ours = rt.GRU(2, 4, 3, dropout=0.5, dtype=torch.float64)
    x = torch.randn(3, 2, 2, **F64, requires_grad=True)

    def run(x, *_):
        torch.manual_seed(3)
        return ours(x)[0]

    assert torch.autograd.gradcheck(run, (x, *ours.parameters()))


def test_a_module_that_is_used_twice():
    theirs, ours = pair("RNN", 5, 5)

    def twice(module, x, hx):
        y, h = module(x, hx)
        return module(y, h)

    x = torch.randn(4, 2, 5, **F64)
    agree(results(ours, x, None, twice), results(theirs, x, None, twice), 1e-12)


def test_modules_run_in_threads():
    """Several threads at once on one module, each with its own input."""
    from concurrent.futures import ThreadPoolExecutor

    ours = rt.LSTM(3, 16, 2)
    inputs = [torch.randn(20, n, 3) for n in range(1, 9)]

    def run(x):
        given = x.clone().requires_grad_()
        grad, = torch.autograd.grad(weighted(ours(given)[0]), given)
        return grad

    expected = list(map(run, inputs))
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for a, b in zip(pool.map(run, inputs), expected, strict=True):
                assert torch.equal(a, b)
