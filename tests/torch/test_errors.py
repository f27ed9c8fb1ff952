"""Wrong arguments are refused: where torch refuses them with the same type, and one clear sentence."""

import pytest
from torch_pairs import KINDS, pair, rnn, torch, weighted

import rnncore.torch as rt

F64 = {"dtype": torch.float64}
WRONG = {
    "axes": (lambda: (torch.randn(1, 4, 2, 3, **F64),), r"input: got 4 axes, expected \(T, B, I\)"),
    "features": (lambda: (torch.randn(4, 2, 4, **F64),), r"input: got shape \(4, 2, 4\).*input_size = 3"),
    "features of one": (lambda: (torch.randn(4, 2, **F64),), r"input: got shape \(4, 2\)"),
    "type": (lambda: (torch.randn(4, 2, 3),), r"input: got torch.float32, expected torch.float64"),
    "integers": (lambda: (torch.ones(4, 2, 3, dtype=torch.int64),), r"input: got torch.int64, expected torch.float64"),
    "state": (lambda: (torch.randn(4, 2, 3, **F64), torch.zeros(1, 3, 5, **F64)),
              r"h0: got shape \(1, 3, 5\), expected \(2, 2, 5\): \(layers·directions, B, H\)"),
    "state of one": (lambda: (torch.randn(4, 3, **F64), torch.zeros(2, 1, 5, **F64)),
                     r"h0: got shape \(2, 1, 5\), expected \(2, 5\)"),
    "type of state": (lambda: (torch.randn(4, 2, 3, **F64), torch.zeros(2, 2, 5)),
                      r"h0: got torch.float32, expected torch.float64"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", WRONG)
def test_what_torch_refuses_is_refused(kind, case):
    theirs, ours = pair(kind, 3, 5, 2)
    make, message = WRONG[case]
    given = list(make())
    if kind == "LSTM" and len(given) > 1:
        given[1] = (given[1], given[1])
    with pytest.raises(Exception) as torchs:    # noqa: PT011
        theirs(*given)
    with pytest.raises((RuntimeError, ValueError), match=message) as caught:
        ours(*given)
    if case != "type of state":                 # torch's is about a matrix product inside
        assert isinstance(caught.value, torchs.type)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_packed_sequences_are_refused(kind):
    theirs, ours = pair(kind, 3, 5)
    packed = rnn.pack_padded_sequence(torch.randn(4, 2, 4, **F64), [4, 2])
    for module in (theirs, ours):
        with pytest.raises(RuntimeError):
            module(packed)
    data = torch.randn(6, 3, **F64)
    with pytest.raises(ValueError, match=r"batch_sizes are \[1, 2, 3\], expected numbers >= 0 that do not increase"):
        ours(rnn.PackedSequence(data, torch.tensor([1, 2, 3])))
    with pytest.raises(ValueError, match=r"x: got shape \(6, 3\), expected \(N, I\), with N = 5"):
        ours(rnn.PackedSequence(data, torch.tensor([3, 2])))
    with pytest.raises(ValueError, match="sorted_indices are"):
        ours(rnn.PackedSequence(data, torch.tensor([3, 2, 1]), torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1])))
    with pytest.raises(ValueError, match="lengths: got them with a PackedSequence"):
        ours(rnn.pack_padded_sequence(torch.randn(4, 2, 3, **F64), [4, 2]), lengths=[4, 2])


def test_wrong_lengths_and_states_are_refused():
    ours = rt.LSTM(3, 5)
    x = torch.randn(4, 2, 3)
    with pytest.raises(ValueError, match="lengths: got 5 in row 1"):
        ours(x, lengths=[4, 5])
    with pytest.raises(ValueError, match=r"lengths: got shape \(3,\), expected \(2,\)"):
        ours(x, lengths=torch.tensor([4, 1, 1]))
    with pytest.raises(ValueError, match=r"hx: got Tensor, expected the pair \(h0, c0\)"):
        ours(x, torch.zeros(1, 2, 5))
    with pytest.raises(ValueError, match="hx: got 3 values"):
        ours(x, (None, None, None))
    with pytest.raises(TypeError, match="input: got ndarray, expected a tensor"):
        ours(x.numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_other_devices_and_half_precision_are_refused(kind):
    make = getattr(rt, kind)
    with pytest.raises(NotImplementedError, match=f"{kind}: got parameters on meta, expected them on the CPU"):
        make(3, 5, device="meta")(torch.randn(4, 2, 3))
    with pytest.raises(NotImplementedError, match="input: got a tensor on meta, expected it on the CPU"):
        make(3, 5)(torch.randn(4, 2, 3, device="meta"))
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(NotImplementedError, match=f"{kind}: got parameters of {dtype}, expected torch.float32 or"):
            make(3, 5).to(dtype)(torch.randn(4, 2, 3, dtype=dtype))
    mixed = make(3, 5)
    mixed.weight_hh_l0.data = mixed.weight_hh_l0.data.double()
    with pytest.raises(NotImplementedError, match=r"parameters of torch.float32, torch.float64"):
        mixed(torch.randn(4, 2, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_gradients_are_refused(kind):
    ours = getattr(rt, kind)(3, 5)
    x = torch.randn(4, 2, 3, requires_grad=True)
    first, = torch.autograd.grad(ours(x)[0].sum(), x, create_graph=True)
    assert first.requires_grad
    with pytest.raises(NotImplementedError, match="gradients of gradients are not computed by rnncore's engine"):
        torch.autograd.grad(first.sum(), x, retain_graph=True)
    with pytest.raises(NotImplementedError, match="gradients of gradients"):
        first.pow(2).sum().backward()
    weight_gradient, = torch.autograd.grad(ours(x)[0].sum(), ours.weight_hh_l0, create_graph=True)
    with pytest.raises(NotImplementedError, match="gradients of gradients"):
        weight_gradient.sum().backward()
    again, = torch.autograd.grad(ours(x)[0].sum(), x)
    assert torch.equal(first, again)            # the gradient itself is right


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_that_was_changed_is_refused_with_a_way_out(kind):
    ours = getattr(rt, kind)(3, 5)
    x = torch.randn(4, 2, 3)
    y, _ = ours(x)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as caught:
        weighted(y).backward()
    assert any("y = y.clone()" in note for note in caught.value.__notes__)
    y, _ = ours(x)
    y = y.clone()
    y.mul_(2)
    weighted(y).backward()
    first = ours.weight_hh_l0.grad.clone()
    ours.zero_grad()
    y, _ = ours(x, lengths=[4, 2])              # has memory of its own
    y.mul_(2)
    weighted(y).backward()
    assert (first != 0).any()
    assert (ours.weight_hh_l0.grad != 0).any()


def test_a_graph_that_was_freed_is_torchs_error():
    for module in pair("GRU", 3, 5):
        y, _ = module(torch.randn(4, 2, 3, **F64))
        y.sum().backward()
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            y.sum().backward()


def test_constructors_refuse_what_is_not_built_by_name():
    with pytest.raises(ValueError, match="proj_size has to be smaller than hidden_size"):
        rt.LSTM(3, 5, proj_size=5)
    with pytest.raises(TypeError, match="proj_size"):
        rt.GRU(3, 5, proj_size=2)
    with pytest.raises(ValueError, match="nonlinearity: got 'sigmoid', expected 'tanh' or 'relu'"):
        rt.RNN(3, 5, nonlinearity="sigmoid")
    with pytest.raises(ValueError, match="nonlinearity: got 'sigmoid', expected 'tanh' or 'relu'"):
        rt.RNNCell(3, 5, nonlinearity="sigmoid")
    for kind in KINDS:
        for wrong in ({"hidden_size": 0}, {"input_size": 0}, {"num_layers": 0}, {"dropout": 1.5}, {"bias": 1}):
            given = {"input_size": 3, "hidden_size": 5} | wrong
            with pytest.raises((ValueError, TypeError)) as torchs:
                getattr(torch.nn, kind)(**given)
            with pytest.raises(torchs.type):
                getattr(rt, kind)(**given)
