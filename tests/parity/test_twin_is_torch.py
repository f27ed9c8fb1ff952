"""The numpy twin equals torch and finite differences, and its tangent matches its adjoint."""

import itertools

import numpy as np
import pytest
from twin import Twin

torch = pytest.importorskip("torch")
TORCH = {"RNN": torch.nn.RNN, "GRU": torch.nn.GRU, "LSTM": torch.nn.LSTM}
ULPS = 1e-13  # float64 against float64: some hundred roundings of 1.1e-16


def close(a, b, tol=ULPS):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tol * np.abs(b).max()


@pytest.mark.parametrize("mode", TORCH)
@pytest.mark.parametrize(("layers", "both"), itertools.product([1, 3], [False, True]))
def test_the_twins_forward_and_gradients_equal_torch(mode, layers, both, rng):
    torch.manual_seed(layers)
    net = TORCH[mode](3, 4, layers, bidirectional=both, dtype=torch.float64)
    twin = Twin(mode, {k: v.numpy() for k, v in net.state_dict().items()}, layers, both)
    lengths = np.array([6, 2, 5])
    x = torch.tensor(rng.normal(size=(6, 3, 3)), requires_grad=True)
    s0 = [torch.tensor(rng.normal(size=z.shape), requires_grad=True) for z in twin.zeros(3)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    y, s = net(packed, tuple(s0) if mode == "LSTM" else s0[0])
    y = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=6)[0]
    s = s if mode == "LSTM" else (s,)
    run = twin.forward(x.detach(), [a.detach() for a in s0], lengths)
    close(run.output, y.detach())
    for a, b in zip(run.state, s, strict=True):
        close(a, b.detach())

    cot = [rng.normal(size=y.shape), *(rng.normal(size=a.shape) for a in s)]
    loss = sum((a * torch.tensor(c)).sum() for a, c in zip((y, *s), cot, strict=True))
    loss.backward()
    grads = twin.backward(run, cot[0], cot[1:])
    close(grads.input, x.grad)
    for a, b in zip(grads.state, s0, strict=True):
        close(a, b.grad)
    for name, p in net.named_parameters():
        close(grads.parameters[name], p.grad)

    many = twin.backward(
        run, np.stack([cot[0], 2 * cot[0]]), [np.stack([c, 2 * c]) for c in cot[1:]]
    )
    close(many.input[1], 2 * grads.input)
    close(many.parameters["weight_hh_l0"][1], 2 * grads.parameters["weight_hh_l0"])


OPTIONS = [
    ("RNN", {"nonlinearity": "tanh"}),
    ("RNN", {"nonlinearity": "relu"}),
    ("RNN", {"nonlinearity": "sigmoid"}),
    ("GRU", {"reset_after": True}),
    ("GRU", {"reset_after": False}),
    ("LSTM", {}),
]


# What a variant of a cell may have, so small that the bounds bind; each of these, and each pair.
PARTS = {
    "peepholes": {"peepholes": True},
    "coupled": {"coupled": True},
    "cell_clip": {"cell_clip": 0.8},
    "gate_clip": {"gate_clip": 0.9},
    "activations": {"activations": ["hardsigmoid", "softsign", ("elu", 0.7)]},
}
OPTIONS += [
    ("LSTM", PARTS[a] | PARTS[b]) for a, b in itertools.combinations_with_replacement(PARTS, 2)
]
OPTIONS += [
    (mode, own | more)
    for mode, own in (("GRU", {"reset_after": True}), ("GRU", {"reset_after": False}), ("RNN", {}))
    for more in (
        {"gate_clip": 0.9},
        {"activations": [("hardsigmoid", 0.3, 0.4), "softplus"][-(1 + (mode == "GRU")) :]},
        {"activations": ["softsign", "tanh"][: 1 + (mode == "GRU")], "gate_clip": 0.9},
    )
]
OPTIONS += [
    ("RNN", {"activations": [activation]})
    for activation in (
        "sigmoid",
        "relu",
        ("affine", 0.6, 0.2),
        ("leakyrelu", 0.3),
        ("thresholdedrelu", 0.4),
        ("scaledtanh", 1.3, 0.7),
        "hardsigmoid",
        ("elu", 0.7),
        "softsign",
        "softplus",
    )
]


def random_twin(mode, options, rng, layers=2, both=False, inputs=2, hidden=3):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[mode] * hidden
    p = {}
    for layer, end in itertools.product(range(layers), ["", "_reverse"][: 1 + both]):
        width = inputs if layer == 0 else hidden * (1 + both)
        shapes = {
            "weight_ih": (gates, width),
            "weight_hh": (gates, hidden),
            "bias_ih": gates,
            "bias_hh": gates,
        }
        if options.get("peepholes"):
            shapes["weight_peephole"] = 3 * hidden
        p |= {f"{k}_l{layer}{end}": rng.normal(size=s) for k, s in shapes.items()}
    return make_twin(mode, p, layers, both, options)


def make_twin(mode, p, layers, both, options):
    """`peepholes` says which parameters there are; the twin sees them."""
    return Twin(mode, p, layers, both, **{k: v for k, v in options.items() if k != "peepholes"})


@pytest.mark.parametrize(("mode", "options"), OPTIONS)
def test_the_twins_gradients_equal_central_differences(mode, options, rng):
    twin = random_twin(mode, options, rng, both=True)
    lengths, eps = [5, 0, 3], 1e-6
    x, s0 = rng.normal(size=(5, 3, 2)), [rng.normal(size=z.shape) for z in twin.zeros(3)]
    cot = [rng.normal(size=(5, 3, 6)), *(rng.normal(size=z.shape) for z in twin.zeros(3))]
    masks = {1: rng.integers(0, 2, size=(5, 3, 6)) * 2.0}

    def loss(x, s0, p):
        other = make_twin(mode, p, 2, True, options)
        run = other.forward(x, s0, lengths, masks)
        return (run.output * cot[0]).sum() + sum(
            (a * c).sum() for a, c in zip(run.state, cot[1:], strict=True)
        )

    grads = twin.backward(twin.forward(x, s0, lengths, masks), cot[0], cot[1:])
    values = [x, *s0, *twin.parameters.values()]
    slopes = [grads.input, *grads.state, *grads.parameters.values()]
    for k in range(len(values)):
        d = rng.normal(size=values[k].shape)
        ends = []
        for sign in (1, -1):
            moved = [v + sign * eps * d if j == k else v for j, v in enumerate(values)]
            p = dict(zip(twin.parameters, moved[1 + len(s0) :], strict=True))
            ends.append(loss(moved[0], moved[1 : 1 + len(s0)], p))
        # error: ε²·L‴ ≈ 1e-12 and rounding 1e-16·|L|/ε ≈ 1e-9
        expected = (slopes[k] * d).sum()
        assert abs((ends[0] - ends[1]) / (2 * eps) - expected) <= 3e-8 * max(
            1, np.abs(slopes[k]).sum()
        )


@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize(("mode", "options"), OPTIONS)
def test_the_twins_tangent_is_the_transpose_of_its_adjoint(mode, options, direction, rng):
    """The transposed product of explicit Jacobians gives the state gradient of BPTT."""
    twin = random_twin(mode, options, rng, layers=2, both=direction == 1)
    x, s0 = rng.normal(size=(4, 3, 2)), [rng.normal(size=z.shape) for z in twin.zeros(3)]
    run = twin.forward(x, s0, [4, 1, 3])
    D, L = twin.directions, twin.num_layers
    if D == 2:  # cut the roads between directions: only one direction's whole stack is asked for
        other = slice(0, 3) if direction else slice(3, 6)
        for end in ("", "_reverse"):
            twin.parameters["weight_ih_l1" + end][:, other] = 0
        run = twin.forward(x, s0, [4, 1, 3])
    cot = [rng.normal(size=z.shape) for z in twin.zeros(3)]
    for c in cot:
        c[[k for k in range(L * D) if k % D != direction]] = 0
    grads = twin.backward(run, None, cot)
    pick = slice(direction, None, D)
    flat = lambda s: np.concatenate([a[pick].transpose(1, 0, 2).reshape(3, -1) for a in s], axis=1)  # noqa: E731
    v = flat(cot)
    for J in twin.jacobians(run, direction)[::-1]:
        v = np.einsum("bs,bsr->br", v, J)
    close(v, flat(grads.state))
