"""Cells, one step: results and gradients equal torch's, and a loop of steps equals the layer."""

import copy

import pytest
from torch_pairs import TOLERANCE, agree, torch, weighted

import rnncore.torch as rt

KINDS = ["LSTMCell", "GRUCell", "RNNCell"]


def pair(kind, dtype=torch.float64, **options):
    theirs, ours = (getattr(room, kind)(3, 5, dtype=dtype, **options) for room in (torch.nn, rt))
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def step(module, x, state):
    x = x.clone().requires_grad_()
    state = None if state is None else [part.clone().requires_grad_() for part in state]
    module.zero_grad()
    given = None if state is None else tuple(state) if isinstance(module, torch.nn.LSTMCell) else state[0]
    out = module(x, given)
    out = out if isinstance(out, tuple) else (out,)
    sum(weighted(part) * (1 + k) for k, part in enumerate(out)).backward()
    found = {f"out {k}": part.detach() for k, part in enumerate(out)} | {"x": x.grad.clone()}
    found |= {f"state {k}": part.grad for k, part in enumerate(state or ())}
    return found | {name: parameter.grad.clone() for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rows", [(), (1,), (4,), (0,)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_equals_torch(kind, rows, dtype):
    for bias in (True, False):
        options = {"bias": bias} | ({"nonlinearity": "relu"} if kind == "RNNCell" and bias else {})
        theirs, ours = pair(kind, dtype, **options)
        x = torch.randn(*rows, 3, dtype=dtype)
        state = [torch.randn(*rows, 5, dtype=dtype) for _ in range(1 + (kind == "LSTMCell"))]
        for given in (None, state):
            agree(step(ours, x, given), step(theirs, x, given), TOLERANCE[dtype])
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_of_steps_has_the_bits_of_the_layer(kind):
    cell, layer = getattr(rt, kind)(3, 5), getattr(rt, kind.removesuffix("Cell"))(3, 5)
    layer.load_state_dict({f"{name}_l0": tensor for name, tensor in cell.state_dict().items()})
    x, state, outputs = torch.randn(6, 2, 3), None, []
    for row in x:
        state = cell(row, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    expected, _ = layer(x)
    assert torch.equal(torch.stack(outputs), expected)
    weighted(torch.stack(outputs)).backward()
    weighted(expected).backward()
    for name, parameter in cell.named_parameters():
        torch.testing.assert_close(parameter.grad, getattr(layer, f"{name}_l0").grad)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences(kind):
    ours = getattr(rt, kind)(3, 4, dtype=torch.float64)
    x, h = (torch.randn(2, n, dtype=torch.float64, requires_grad=True) for n in (3, 4))

    def run(x, h, *_):
        return ours(x, (h, h * 2) if kind == "LSTMCell" else h)

    assert torch.autograd.gradcheck(run, (x, h, *ours.parameters()))


def test_what_cells_share_with_modules():
    ours = rt.LSTMCell(3, 5)
    x = torch.randn(2, 3)
    assert isinstance(ours, torch.nn.LSTMCell)
    with torch.no_grad():
        before, _ = ours(x)
        for parameter in ours.parameters():
            parameter.data.mul_(2)
        assert not torch.equal(ours(x)[0], before)
    assert ours.tape is None
    h, _ = ours(x)
    weighted(h).backward()
    assert ours.tape["f"].shape == ours.tape.grad["f"].shape == (2, 5)
    h.mul_(2)                                   # states are copies
    other = copy.deepcopy(ours)
    assert other.tape is None
    assert torch.equal(other(x)[0], ours(x)[0])
    del ours.tape
    assert ours.tape is None


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_arguments_are_refused(kind):
    theirs, ours = pair(kind)
    f64 = {"dtype": torch.float64}
    state = torch.zeros(3, 5, **f64)
    state = (state, state) if kind == "LSTMCell" else state
    for given, message in (((torch.randn(1, 2, 3, **f64),), r"input: got 3 axes, expected \(B, I\)"),
                           ((torch.randn(2, 4, **f64),), r"input: got shape \(2, 4\)"),
                           ((torch.randn(2, 3, **f64), state), r"h0: got shape \(3, 5\), expected \(2, 5\): \(B, H\)")):
        with pytest.raises((RuntimeError, ValueError)) as torchs:
            theirs(*given)
        with pytest.raises(torchs.type, match=message):
            ours(*given)
    with pytest.raises(NotImplementedError, match=f"{kind}: got parameters of torch.bfloat16"):
        ours.bfloat16()(torch.randn(2, 3, dtype=torch.bfloat16))
