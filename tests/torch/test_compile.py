"""Under torch.compile a module is one operator: no break in the graph, and the same numbers."""

import pytest
from torch_pairs import KINDS, agree, pair, parts, random_state, results, rnn, torch

import rnncore.torch as rt

pytestmark = pytest.mark.slow
F64 = {"dtype": torch.float64}


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


def compiled(function, backend="aot_eager"):
    return torch.compile(function, fullgraph=True, backend=backend)


def judge(kind, x, hx, run=None, backend="aot_eager", **options):
    """A compiled call of our module against torch's; `run(module)` makes the function that is compiled."""
    theirs, ours = pair(kind, 3, 5, **options)

    def through(module):
        return module if run is None else run(module)

    function = compiled(through(ours), backend)
    agree(results(ours, x, hx, lambda _, x, hx: function(x, hx)),
          results(theirs, x, hx, lambda _, x, hx: through(theirs)(x, hx)), 1e-12)


@pytest.mark.parametrize(("kind", "batch_first"), [("LSTM", False), ("LSTM", True), ("GRU", True), ("RNN", False)])
def test_a_compiled_module_equals_torch(kind, batch_first):
    theirs, _ = pair(kind, 3, 5, 2, bidirectional=True)
    x = torch.randn(4, 4, 3, **F64)
    judge(kind, x, random_state(theirs, 4), num_layers=2, bidirectional=True, batch_first=batch_first)
    judge(kind, x, None, num_layers=1, batch_first=batch_first, bias=False)


@pytest.mark.parametrize("bias", [True, False])
def test_projections(bias):
    options = {"num_layers": 2, "bidirectional": True, "proj_size": 2, "bias": bias}
    theirs, _ = pair("LSTM", 3, 5, **options)
    judge("LSTM", torch.randn(4, 4, 3, **F64), random_state(theirs, 4), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_one_sequence(kind):
    theirs, _ = pair(kind, 3, 5)
    judge(kind, torch.randn(6, 3, **F64), random_state(theirs))


def test_packed_sequences():
    theirs, _ = pair("LSTM", 3, 5)
    for given, is_sorted in (([4, 2, 1], True), ([2, 4, 1], False)):
        lengths = torch.tensor(given)
        like = rnn.pack_padded_sequence(torch.zeros(4, 3, 3), lengths, enforce_sorted=is_sorted)
        for hx in (None, random_state(theirs, 3)):
            def run(module, like=like):
                def packed(data, state):
                    y, final = module(rnn.PackedSequence(data, *like[1:]), state)
                    return y.data, final

                return packed

            judge("LSTM", torch.randn(7, 3, **F64), hx, run)


def test_lengths():
    _, ours = pair("GRU", 3, 5, 2, bidirectional=True, batch_first=True)
    x, lengths = torch.randn(3, 4, 3, **F64), torch.tensor([2, 4, 0])
    function = compiled(lambda x, lengths: ours(x, lengths=lengths))
    agree(results(ours, x, None, lambda _, x, hx: function(x, lengths)),
          results(ours, x, None, lambda module, x, hx: module(x, lengths=lengths)), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_may_vary(kind):
    ours = getattr(rt, kind)(3, 5, 2, **F64)
    function = torch.compile(ours, fullgraph=True, backend="aot_eager", dynamic=True)
    for T, B in ((4, 2), (7, 3), (2, 5)):
        x = torch.randn(T, B, 3, **F64)
        agree(results(ours, x, None, lambda _, x, hx: function(x)), results(ours, x), 0)


def test_weights_are_not_stale():
    ours = rt.LSTM(3, 5, **F64)
    function, x = compiled(ours), torch.randn(4, 2, 3, **F64)
    with torch.no_grad():
        before = function(x)[0]
        for parameter in ours.parameters():
            parameter.data.mul_(2)
        after = function(x)[0]
        assert not torch.equal(before, after)
        assert torch.equal(after, ours(x)[0])


def test_dropout():
    ours = rt.GRU(3, 5, 2, dropout=0.5)
    function, x = compiled(ours), torch.ones(4, 2, 3)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(function(x)[0])
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    ours.eval()
    assert torch.equal(function(x)[0], ours(x)[0])


def test_nothing_is_recorded_without_gradients():
    from rnncore.torch import tapes

    ours, x = rt.LSTM(3, 5), torch.randn(4, 2, 3)
    function, before = compiled(ours), len(tapes._TAPES)
    with torch.no_grad():
        y, _ = function(x)
    assert len(tapes._TAPES) == before
    assert torch.equal(y, ours(x)[0])


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cells(kind):
    ours = getattr(rt, kind)(3, 5, **F64)
    function = compiled(ours)
    for rows in ((), (2,)):
        found = []
        for run in (ours, function):
            ours.zero_grad()
            x = torch.ones(*rows, 3, **F64, requires_grad=True)
            out = parts(run(x))
            sum(part.sum() for part in out).backward()
            found.append([*out, x.grad, ours.weight_hh.grad, ours.weight_ih.grad])
        torch.testing.assert_close(*found, rtol=0, atol=0)


def test_the_default_compiler():
    """With code generated around the operator, some of it in place."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh())
    lstm, head = rt.LSTM(3, 5, 2, bidirectional=True, batch_first=True), torch.nn.Linear(10, 2)

    def loss(x):
        y, (h, _) = lstm(model(x))
        return head((y * 2).add_(1).relu()).pow(2).mean() + h.sum()

    x, found = torch.randn(2, 6, 4), []
    for run in (loss, torch.compile(loss, fullgraph=True)):
        for part in (model, lstm, head):
            part.zero_grad()
        value = run(x)
        value.backward()
        found.append([value.detach(), *[p.grad.clone() for part in (model, lstm, head) for p in part.parameters()]])
    torch.testing.assert_close(*found)


def test_the_operators_keep_the_rules_of_torch():
    """torch's own checks: no aliases, nothing written to, the fake kernels' shapes, gradients through the dispatcher.

    Its comparison of two runs is left out, since the key of a recorded pass is another one every time.
    """
    from rnncore.torch.operator import recurrent

    for kind, lengths in (("lstm", None), ("gru", torch.tensor([3, 1]))):
        ours = (rt.LSTM if kind == "lstm" else rt.GRU)(3, 5, 2, bidirectional=True, **F64)
        x = torch.randn(4, 2, 3, **F64, requires_grad=True)
        h0 = torch.randn(4, 2, 5, **F64, requires_grad=True)
        c0 = torch.randn(4, 2, 5, **F64, requires_grad=True) if kind == "lstm" else None
        weights = [parameter.detach().requires_grad_() for parameter in ours.parameters()]
        torch.library.opcheck(
            recurrent, (x, h0, c0, weights, lengths, None, None, None, None, kind, 2, True, 0.0, True),
            test_utils=("test_schema", "test_faketensor", "test_autograd_registration"))


def test_gradients_of_gradients_are_refused():
    from rnncore.torch import operator

    ours = rt.GRU(3, 5)
    x = torch.randn(4, 2, 3, requires_grad=True)
    y, _ = operator.run(ours, x, (None,), list(ours.parameters()))
    first, = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="gradients of gradients are not computed by rnncore's engine"):
        first.sum().backward()
