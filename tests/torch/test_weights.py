"""No stale weights: whoever writes parameters, and however, the next call runs on what they are."""

import copy

import numpy as np
import pytest
from torch_pairs import KINDS, agree, pair, results, torch, weighted

import rnncore.torch as rt


def by_data(module):
    for parameter in module.parameters():
        parameter.data.mul_(1.5)


def by_numpy(module):
    for parameter in module.parameters():
        parameter.detach().numpy()[...] += 0.25


def by_a_kept_view(module):
    module.kept[...] = -module.kept


def by_one_bit(module):
    values = module.weight_hh_l0.detach().numpy()
    values.view(np.int64)[0, 1] ^= 1 << 40


def by_no_grad(module):
    with torch.no_grad():
        module.bias_hh_l0.fill_(0.3)


def by_averaging(module):
    """An exponential moving average, swapped in as evaluation code does."""
    average = copy.deepcopy(module)
    by_data(average)
    for ours, theirs in zip(module.parameters(), average.parameters(), strict=True):
        ours.data, theirs.data = theirs.data, ours.data


def by_averaged_model(module):
    averaged = torch.optim.swa_utils.AveragedModel(module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    averaged.update_parameters(module)
    by_numpy(module)
    averaged.update_parameters(module)
    module.load_state_dict(averaged.module.state_dict())


def by_foreach(module):
    torch._foreach_mul_([parameter.data for parameter in module.parameters()], 0.5)


def by_clipping(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.clamp_(-0.1, 0.1)


def by_replacing(module):
    module.weight_ih_l0 = torch.nn.Parameter(torch.randn_like(module.weight_ih_l0))


def by_set_(module):
    with torch.no_grad():
        module.weight_hh_l0.set_(torch.randn_like(module.weight_hh_l0))


def by_another_layout(module):
    module.weight_hh_l0.data = torch.randn_like(module.weight_hh_l0).t().contiguous().t()


def by_vector(module):
    vector = torch.nn.utils.parameters_to_vector(module.parameters())
    torch.nn.utils.vector_to_parameters(vector * 2, module.parameters())


def by_fused_optimiser(module):
    optimiser = torch.optim.Adam(module.parameters(), 0.1, fused=True)
    weighted(module(torch.ones(2, 1, 3, dtype=torch.float64))[0]).backward()
    optimiser.step()


WRITERS = [by_data, by_numpy, by_a_kept_view, by_one_bit, by_no_grad, by_averaging, by_averaged_model, by_foreach,
           by_clipping, by_replacing, by_set_, by_another_layout, by_vector, by_fused_optimiser]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_call_is_stale(kind, write):
    theirs, ours = pair(kind, 3, 5, 2)
    ours.__dict__["kept"] = ours.weight_hh_l1.data.numpy()
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        before = ours(x)[0].clone()
    results(ours, x)
    write(ours)
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        after = ours(x)[0]
        torch.testing.assert_close(after, theirs(x)[0], rtol=1e-12, atol=1e-12)
    assert not torch.equal(after, before)
    agree(results(ours, x), results(theirs, x), 1e-12)


def test_weights_are_packed_once_while_they_stay():
    _, ours = pair("LSTM", 3, 5, 2)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    layers = set()
    for _ in range(3):
        weighted(ours(x)[0]).backward()
        layers.add(id(ours.tape.layer))
    assert len(layers) == 1
    with torch.no_grad():
        ours(x)
    weighted(ours(x)[0]).backward()
    assert id(ours.tape.layer) in layers


def test_nan_weights_are_not_packed_again():
    """A model whose weights have become NaN is compared by bytes, in which NaN equals itself."""
    _, ours = pair("GRU", 3, 5)
    by_data(ours)
    ours.weight_hh_l0.data[0, 0] = float("nan")
    x, layers = torch.randn(4, 2, 3, dtype=torch.float64), set()
    for _ in range(2):
        ours(x)
        layers.add(id(ours.tape.layer))
    assert len(layers) == 1


def test_a_pass_goes_back_through_its_own_weights():
    """Weights written past torch's count of versions do not reach a pass that is recorded already."""
    theirs, ours = pair("LSTM", 3, 5)
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    y, _ = ours(x)
    by_data(ours)
    expected, _ = theirs(x)
    found, = torch.autograd.grad(weighted(y), x)
    torch.testing.assert_close(found, torch.autograd.grad(weighted(expected), x)[0])


def test_passes_of_different_weights_in_one_graph():
    """As in learning to learn: each pass has the weights that it was given."""
    theirs, ours = pair("GRU", 5, 5)
    x = torch.randn(4, 2, 5, dtype=torch.float64)
    found = []
    for module in (theirs, ours):
        weights = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
        scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        scaled = {name: value * scale for name, value in weights.items()}
        y = torch.func.functional_call(module, weights, x)[0]
        z = torch.func.functional_call(module, scaled, y)[0]
        grad, = torch.autograd.grad(weighted(z) + weighted(torch.func.functional_call(module, scaled, x)[0]), scale)
        found += [z.detach(), grad]
    torch.testing.assert_close(found[2], found[0])
    torch.testing.assert_close(found[3], found[1])


@pytest.mark.parametrize("kind", KINDS)
def test_changes_that_torch_counts_are_its_error(kind):
    """An optimiser's step between a pass and its backward pass, which torch refuses."""
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    for module in pair(kind, 3, 5):
        optimiser = torch.optim.SGD(module.parameters(), 0.1)
        y, _ = module(x.requires_grad_())
        weighted(y).backward(retain_graph=True)
        optimiser.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            weighted(y).backward()


def test_a_parameter_of_another_shape_is_refused():
    ours = rt.GRU(3, 5)
    ours.weight_hh_l0 = torch.nn.Parameter(torch.zeros(5, 15))
    with pytest.raises(RuntimeError, match=r"weight_hh_l0: got shape \(5, 15\), expected \(15, 5\)"):
        ours(torch.randn(4, 2, 3))
