"""Resets inside sequences: as if the rows were split there, which is how torch's modules have to do it."""

import pytest
from torch_pairs import KINDS, agree, pair, parts, random_state, results, rnn, torch, weighted

import rnncore.torch as rt

F64 = {"dtype": torch.float64}
MARKS = torch.tensor([[0, 0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 1, 1, 0], [0] * 7], dtype=torch.bool)     # (B, T)


def split(module, x, hx):
    """Every stretch between two resets by itself; x is (T, B, I)."""
    rows, finals = [], []
    for b, marks in enumerate(MARKS):
        starts = [0, *(t for t in range(1, len(marks)) if marks[t])]
        outputs = []
        for k, (t0, t1) in enumerate(zip(starts, [*starts[1:], len(marks)], strict=True)):
            state = None if hx is None or k or marks[0] else tuple(part[:, b].contiguous() for part in parts(hx))
            y, final = module(x[t0:t1, b], state if state is None or len(state) > 1 else state[0])
            outputs.append(y)
        rows.append(torch.cat(outputs))
        finals.append(parts(final))
    final = tuple(torch.stack(part, 1) for part in zip(*finals, strict=True))
    return torch.stack(rows, 1), final if len(final) > 1 else final[0]


@pytest.mark.parametrize("kind", KINDS)
def test_resets_equal_splitting(kind):
    theirs, ours = pair(kind, 3, 5, 2)
    x = torch.randn(7, 3, 3, **F64)
    for hx in (None, random_state(ours, 3)):
        expected = results(theirs, x, hx, split)
        for marks in (MARKS.t(), MARKS.t().numpy(), MARKS.t().int().tolist()):
            got = results(ours, x, hx, lambda module, x, hx, marks=marks: module(x, hx, reset=marks))
            agree(got, expected, 1e-12)
    assert ours.tape.reset.tolist() == MARKS.t().tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_other_layouts(kind):
    """Batch first, one sequence, packed, both directions, compiled: all as time-major."""
    ours = getattr(rt, kind)(3, 5, 2, bidirectional=True, **F64)
    x, lengths = torch.randn(7, 3, 3, **F64), torch.tensor([5, 7, 3])
    expected = results(ours, x, None, lambda module, x, hx: module(x, lengths=lengths, reset=MARKS.t()))

    def packed(module, x, hx):
        given = rnn.pack_padded_sequence(x, lengths, batch_first=ours.batch_first, enforce_sorted=False)
        y, state = module(given, reset=MARKS if ours.batch_first else MARKS.t())
        return rnn.pad_packed_sequence(y, total_length=7)[0], state

    def by_rows(module, x, hx):
        y, state = module(x.transpose(0, 1), lengths=lengths, reset=MARKS)
        return y.transpose(0, 1), state

    agree(results(ours, x, None, packed), expected, 1e-12)
    ours.batch_first = True
    agree(results(ours, x, None, by_rows), expected, 0)
    agree(results(ours, x, None, lambda module, x, hx: packed(module, x.transpose(0, 1), hx)), expected, 1e-12)
    ours.batch_first = False
    alone, _ = ours(x[:5, 0], reset=MARKS[0, :5])
    assert torch.equal(alone, expected["output"][:5, 0])


def test_gradients_equal_finite_differences():
    ours = rt.LSTM(2, 3, 2, bidirectional=True, **F64)
    x, marks = torch.randn(5, 2, 2, **F64, requires_grad=True), torch.tensor([[0, 0], [0, 1], [1, 0], [0, 0], [1, 1]])
    assert torch.autograd.gradcheck(lambda x, *_: ours(x, reset=marks)[0], (x, *ours.parameters()))


@pytest.mark.slow
def test_compiled():
    torch._dynamo.reset()
    ours = rt.GRU(3, 5, 2, batch_first=True, **F64)
    function = torch.compile(lambda x, marks: ours(x, reset=marks), fullgraph=True, backend="aot_eager")
    x = torch.randn(3, 7, 3, **F64)
    agree(results(ours, x, None, lambda _, x, hx: function(x, MARKS)),
          results(ours, x, None, lambda module, x, hx: module(x, reset=MARKS)), 0)
    y, _ = function(x[0], MARKS[0])
    assert torch.equal(y, ours(x[0], reset=MARKS[0])[0])


def test_wrong_resets_are_refused():
    ours = rt.GRU(3, 5, batch_first=True)
    with pytest.raises(ValueError, match=r"reset: got shape \(7, 3\), expected \(3, 7\)"):
        ours(torch.randn(3, 7, 3), reset=MARKS.t())
    with pytest.raises(TypeError, match="reset: got float32 values, expected True or False"):
        ours(torch.randn(3, 7, 3), reset=torch.full((3, 7), 0.5))
    y, _ = ours(torch.randn(3, 7, 3), reset=MARKS)
    weighted(y).backward()
