"""Forward and all gradients equal torch's float64 over random cells, shapes, lengths, layouts."""

import numpy as np
import pytest
from support import PROJECTED, close, make, parts, random_state, whole

torch = pytest.importorskip("torch")
rnn = torch.nn.utils.rnn

CELLS = ["rnn-tanh", "rnn-relu", "gru", "lstm", PROJECTED]  # those that torch has


def to_torch(layer):
    """torch's module with the same weights, in float64."""
    extra = {name: getattr(layer, name) for name in ("nonlinearity", "proj_size") if hasattr(layer, name)}
    module = getattr(torch.nn, layer.mode)(
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        bias=layer.bias,
        batch_first=layer.batch_first,
        bidirectional=layer.bidirectional,
        dtype=torch.float64,
        **extra,
    )
    module.load_state_dict({k: torch.tensor(v) for k, v in layer.state_dict().items()})
    return module


def judge(layer, x, s0, lengths, rng):
    """One pass of both, with random cotangents of the output and the final state."""
    dtype = str(layer.dtype)
    module = to_torch(layer)
    leaf = lambda a: torch.tensor(np.asarray(a, np.float64), requires_grad=True)  # noqa: E731
    tx, ts = leaf(x), None if s0 is None else [leaf(a) for a in parts(s0)]
    given, total = tx, x.shape[1 if layer.batch_first and x.ndim == 3 else 0]
    if lengths is not None:
        given = rnn.pack_padded_sequence(
            tx, torch.tensor(lengths), batch_first=layer.batch_first, enforce_sorted=False
        )
    y, s = module(given, None if ts is None else whole(layer, ts))
    if lengths is not None:
        y = rnn.pad_packed_sequence(y, batch_first=layer.batch_first, total_length=total)[0]
    s = parts(s)
    g = rng.normal(size=y.shape).astype(dtype)
    gs = [rng.normal(size=a.shape).astype(dtype) for a in s]
    loss = (y * torch.tensor(g)).sum()
    loss = loss + sum((a * torch.tensor(b)).sum() for a, b in zip(s, gs, strict=True))
    loss.backward()

    out, state = layer(x, s0, lengths=lengths)
    close(out, y.detach().numpy(), dtype)
    tape = layer.record(x, s0, lengths=lengths)
    grads = tape.backward(g, whole(layer, gs))
    close(grads.input, tx.grad.numpy(), dtype)
    for a, b in zip(parts(state), s, strict=True):
        close(a, b.detach().numpy(), dtype)
    if ts is not None:
        for a, b in zip(parts(grads.state), ts, strict=True):
            close(a, b.grad.numpy(), dtype)
    expected = {k: p.grad.numpy() for k, p in module.named_parameters()}
    assert list(grads.parameters) == list(expected)
    for k, v in expected.items():
        close(grads.parameters[k], v, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("case", range(12))
def test_random_passes_equal_torch(cell, case, dtype, rng):
    """The bits of `case` choose the options; sizes are random."""
    one = lambda lo, hi: int(rng.integers(lo, hi + 1))  # noqa: E731
    layers = 1 + case % 3
    layer = make(
        cell,
        one(1, 20),
        one(1, 40),
        layers,
        bidirectional=case % 2 == 1,
        batch_first=case % 4 >= 2,
        bias=case % 5 != 0,
        dtype=dtype,
        seed=case,
    )
    T, B = one(1, 12), one(1, 9)
    x = rng.normal(size=(B, T, layer.input_size) if layer.batch_first else (T, B, layer.input_size))
    s0 = random_state(layer, B, rng)
    lengths = rng.integers(1, T + 1, size=B) if case % 3 else None
    judge(layer, x.astype(dtype), s0 if case % 6 else None, lengths, rng)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [False, True])
def test_unbatched_passes_equal_torch(cell, both, rng):
    layer = make(cell, 3, 5, 2, bidirectional=both, dtype="float64")
    s0 = whole(layer, [a[:, 0] for a in parts(random_state(layer, 1, rng))])
    judge(layer, rng.normal(size=(6, 3)), s0, None, rng)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("T", "B", "I", "H"), [(100, 1, 64, 64), (50, 16, 28, 100), (200, 3, 1, 30)]
)
def test_common_sizes_equal_torch(cell, T, B, I, H, dtype, rng):
    layer = make(cell, I, H, dtype=dtype)
    judge(layer, rng.normal(size=(T, B, I)).astype(dtype), None, None, rng)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_can_be_exchanged_with_torch(cell, rng):
    a = make(cell, 3, 5, 2, bidirectional=True, seed=1)
    b = make(cell, 3, 5, 2, bidirectional=True, seed=2)
    module = to_torch(a).float()
    b.load_state_dict(module.state_dict())
    assert list(a.state_dict()) == list(module.state_dict())
    x = rng.normal(size=(4, 2, 3)).astype("float32")
    assert np.array_equal(a(x)[0], b(x)[0])


def test_two_biases_are_both_added(rng):
    """torch's bias_ih and bias_hh set to 1 make a forget bias of 2."""
    layer = make("lstm", 1, 3, dtype="float64")
    with layer.writable() as p:
        for name, a in p.items():
            a[...] = "bias" in name
    tape = layer.record(np.zeros((1, 1, 1)))
    close(tape["l0.f"], np.full((1, 1, 3), 1 / (1 + np.exp(-2.0))), "float64")
    judge(layer, rng.normal(size=(3, 2, 1)), None, None, rng)
