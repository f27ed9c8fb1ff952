"""One pass forward and back equals torch's: random sizes and options, padded, packed, with lengths, one sequence."""

import numpy as np
import pytest
from torch_pairs import KINDS, TOLERANCE, agree, pair, parts, random_state, results, rnn, torch, weighted

import rnncore.torch as rt


def through_packing(lengths, T, batch_first=False):
    def run(module, x, hx):
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=False)
        y, state = module(packed, hx)
        assert isinstance(y, rnn.PackedSequence)
        assert y.sorted_indices is packed.sorted_indices
        return rnn.pad_packed_sequence(y, batch_first=batch_first, total_length=T)[0], state

    return run


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", range(16))
def test_random_passes_equal_torch(kind, case, dtype, rng):
    """The bits of `case` choose the options; sizes are random."""
    T, B, I, H = (int(n) for n in rng.integers(1, [12, 7, 9, 20]))
    options = {"num_layers": 1 + case % 3, "bidirectional": case % 2 == 1, "batch_first": case % 4 >= 2,
               "bias": case % 5 != 0}
    if kind == "RNN" and case % 3 == 0:
        options["nonlinearity"] = "relu"
    if kind == "LSTM" and case % 4 < 2:
        options["proj_size"] = H // 2
    theirs, ours = pair(kind, I, H, dtype=dtype, **options)
    x = torch.randn((B, T, I) if options["batch_first"] else (T, B, I), dtype=dtype)
    hx = random_state(ours, B, dtype=dtype) if case % 8 < 5 else None
    lengths = torch.as_tensor(rng.integers(1, T + 1, size=B))
    packed = through_packing(lengths, T, options["batch_first"])
    agree(results(ours, x, hx), results(theirs, x, hx), TOLERANCE[dtype])
    expected = results(theirs, x, hx, packed)
    agree(results(ours, x, hx, packed), expected, TOLERANCE[dtype])
    for given in (lengths, lengths.tolist(), lengths.numpy()):
        agree(results(ours, x, hx, lambda module, x, hx, n=given: module(x, hx, lengths=n)), expected, TOLERANCE[dtype])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("both", [False, True])
def test_one_sequence_equals_torch(kind, both):
    theirs, ours = pair(kind, 3, 5, 2, bidirectional=both, batch_first=True)
    x, hx = torch.randn(6, 3, dtype=torch.float64), random_state(ours)
    agree(results(ours, x, hx), results(theirs, x, hx), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_in_any_order_equals_torch(kind):
    """Sorted by the caller, by torch, with ties, and all of one length."""
    theirs, ours = pair(kind, 3, 5, 2, bidirectional=True)
    for lengths, is_sorted in (([6, 4, 4, 1], True), ([4, 6, 1, 4], False), ([1, 4, 6, 6], False), ([6] * 4, True)):
        def run(module, x, hx, lengths=lengths, is_sorted=is_sorted):
            y, state = module(rnn.pack_padded_sequence(x, lengths, enforce_sorted=is_sorted), hx)
            return y.data, state

        x, hx = torch.randn(6, 4, 3, dtype=torch.float64), random_state(ours, 4)
        agree(results(ours, x, hx, run), results(theirs, x, hx, run), 1e-12)


def test_packed_sequences_of_lists_equal_torch():
    theirs, ours = pair("GRU", 3, 5)
    rows = [torch.randn(n, 3, dtype=torch.float64) for n in (2, 5, 1)]
    packed = rnn.pack_sequence(rows, enforce_sorted=False)
    got, expected = ours(packed), theirs(packed)
    torch.testing.assert_close(got[0].data, expected[0].data)
    torch.testing.assert_close(got[1], expected[1])


def test_lengths_may_be_zero():
    _, ours = pair("LSTM", 3, 5, bidirectional=True)
    x, (h0, c0) = torch.randn(4, 3, 3, dtype=torch.float64, requires_grad=True), random_state(ours, 3)
    y, (h, c) = ours(x, (h0, c0), lengths=[0, 4, 2])
    assert (y[:, 0] == 0).all()
    assert (y[2:, 2] == 0).all()
    assert torch.equal(h[:, 0], h0[:, 0])
    assert torch.equal(c[:, 0], c0[:, 0])
    weighted(y).backward()
    assert (x.grad[:, 0] == 0).all()
    assert (x.grad[:, 1] != 0).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("T", "B"), [(0, 2), (3, 0), (0, 0)])
def test_nothing_has_an_answer(kind, T, B):
    _, ours = pair(kind, 3, 5, 2, bidirectional=True)
    x, hx = torch.randn(T, B, 3, dtype=torch.float64), random_state(ours, B)
    found = results(ours, x, hx)
    assert found["output"].shape == (T, B, 10)
    assert found["grad_x"].shape == (T, B, 3)
    for k, part in enumerate(parts(hx)):
        assert torch.equal(found[f"state {k}"], part)
    assert all((value == 0).all() for name, value in found.items() if name.startswith("grad weight"))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences(kind):
    ours = getattr(rt, kind)(2, 3, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    hx = parts(random_state(ours, 2, requires_grad=True))
    names = [name for name, _ in ours.named_parameters()]
    for lengths in (None, [2, 4]):
        def run(x, *others, lengths=lengths):
            state = others[:len(hx)] if len(hx) > 1 else others[0]
            weights = dict(zip(names, others[len(hx):], strict=True))
            y, final = torch.func.functional_call(ours, weights, (x, state), {"lengths": lengths})
            return y, *parts(final)

        assert torch.autograd.gradcheck(run, (x, *hx, *ours.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_packing_equal_finite_differences(kind):
    ours = getattr(rt, kind)(2, 3, 2, dtype=torch.float64)
    x = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)

    def run(x, *_):
        y, state = ours(rnn.pack_padded_sequence(x, [2, 4, 3], enforce_sorted=False))
        return y.data, *parts(state)

    assert torch.autograd.gradcheck(run, (x, *ours.parameters()))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_gradients_of_one_result_alone(which):
    """The others have none, and torch passes None for them."""
    theirs, ours = pair("LSTM", 3, 5, 2)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    grads = []
    for module in (theirs, ours):
        y, state = module(x)
        weighted((y, *state)[which]).backward()
        grads.append({name: p.grad for name, p in module.named_parameters()})
    agree(grads[1], grads[0], 1e-12)


def test_only_wanted_gradients_are_returned():
    """Frozen weights have none, whether all or some are frozen; an input without a gradient has none."""
    theirs, ours = pair("GRU", 3, 5, 2)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    for frozen in ([], ["weight_hh_l0"], list(dict(ours.named_parameters()))):
        for of_x in (False, True):
            found = []
            for module in (theirs, ours):
                module.zero_grad()
                for name, parameter in module.named_parameters():
                    parameter.requires_grad_(name not in frozen)
                given = x.clone().requires_grad_(of_x)
                y, _ = module(given)
                assert y.requires_grad == (of_x or len(frozen) < len(ours._flat_weights_names))
                if y.requires_grad:
                    weighted(y).backward()
                found.append([given.grad, *[p.grad for p in module.parameters()]])
            for a, b in zip(*found, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_in_any_layout_of_memory(kind):
    """Every other step, another order of axes, one value for all, read-only memory: read in place, never written."""
    theirs, ours = pair(kind, 3, 5)
    wide = torch.randn(8, 2, 6, dtype=torch.float64)
    locked = np.random.default_rng(0).normal(size=(4, 2, 3))
    shared = torch.from_numpy(locked)
    before = locked.copy()
    for x in (wide[::2, :, :3], wide[:4, :, ::2], wide.permute(2, 1, 0)[:, :, :3], wide[:1, :1, :1].expand(4, 2, 3),
              torch.view_as_complex(torch.randn(4, 2, 3, 2, dtype=torch.float64)).conj().imag, shared):
        with torch.no_grad():
            torch.testing.assert_close(ours(x)[0], theirs(x)[0])
        agree(results(ours, x), results(theirs, x), 1e-12)
    assert np.array_equal(locked, before)


@pytest.mark.parametrize("kind", KINDS)
def test_recording_changes_no_bit(kind):
    ours = getattr(rt, kind)(3, 5, 2, bidirectional=True)
    x, lengths = torch.randn(6, 4, 3), [3, 6, 0, 1]
    for given in (None, lengths):
        recorded, state = ours(x, lengths=given)
        assert recorded.requires_grad
        with torch.no_grad():
            called, called_state = ours(x, lengths=given)
        assert torch.equal(recorded, called)
        assert all(torch.equal(a, b) for a, b in zip(parts(state), parts(called_state), strict=True))


def test_a_row_has_the_bits_of_the_row_alone():
    ours = rt.LSTM(3, 5, 2, bidirectional=True)
    rows = [torch.randn(n, 3) for n in (2, 5, 1, 5)]
    with torch.no_grad():
        y, _ = rnn.pad_packed_sequence(ours(rnn.pack_sequence(rows, enforce_sorted=False))[0])
        for k, row in enumerate(rows):
            assert torch.equal(y[:len(row), k], ours(row)[0])
