"""Optimisers equal torch's step by step in both precisions; clipping; loading and saving state."""

import copy

import numpy as np
import pytest
import torch
from support import close, same_bits

from rnncore.nn import Linear
from rnncore.optim import SGD, Adam, AdamW, clip_grad_norm

# Relative to the largest weight, after 20 steps. A step rounds each weight a few times: 20 × 4 ulp
# of f32 would be 5e-6; what is promised is 1e-6 and 1e-12.
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
CASES = [
    (SGD, torch.optim.SGD, {"lr": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (Adam, torch.optim.Adam, {}),
    (Adam, torch.optim.Adam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (AdamW, torch.optim.AdamW, {}),
    (AdamW, torch.optim.AdamW, {"lr": 0.05, "betas": (0.7, 0.9), "weight_decay": 0.3}),
]


def gradients(module, rng):
    return {k: rng.normal(size=v.shape).astype(v.dtype) for k, v in module.parameters.items()}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("ours", "theirs", "options"), CASES)
def test_twenty_steps_equal_torch(rng, ours, theirs, options, dtype):
    """torch runs in the same precision, so this compares the order of operations too."""
    linear = Linear(9, 8, dtype=dtype, seed=2)
    peer = {k: torch.tensor(v, requires_grad=True) for k, v in linear.state_dict().items()}
    optimiser, other = ours(linear, **options), theirs(peer.values(), **options, foreach=False)
    for _ in range(20):
        grads = gradients(linear, rng)
        kept = {k: g.copy() for k, g in grads.items()}
        for name, value in peer.items():
            value.grad = torch.tensor(grads[name])
        optimiser.step(grads)
        other.step()
        same_bits(grads, kept)  # gradients are read, not written
    for name, value in peer.items():
        assert linear.parameters[name].dtype == dtype
        close(linear.parameters[name], value.detach().double(), TOLERANCE[dtype])


@pytest.mark.parametrize(("ours", "theirs", "options"), CASES)
def test_a_loaded_state_continues_the_run(rng, ours, theirs, options):
    whole, half = Linear(5, 4, seed=2), Linear(5, 4, seed=2)
    all_grads = [gradients(whole, rng) for _ in range(6)]
    optimiser = ours(whole, **options)
    for grads in all_grads:
        optimiser.step(grads)
    first = ours(half, **options)
    for grads in all_grads[:3]:
        first.step(grads)
    kept = first.state_dict()
    first.step(all_grads[0])  # what was kept is a copy
    resumed = Linear(5, 4, seed=9)
    replay = ours(resumed, lr=123.0, **{k: v for k, v in options.items() if k != "lr"})
    replay.load_state_dict(kept)
    start = Linear(5, 4, seed=2)
    again = ours(start, **options)
    for grads in all_grads[:3]:
        again.step(grads)
    resumed.load_state_dict(start.state_dict())
    for grads in all_grads[3:]:
        replay.step(grads)
    same_bits(resumed.state_dict(), whole.state_dict())
    assert replay.lr == optimiser.lr


def test_a_step_outdates_packed_weights(rng):
    linear = Linear(3, 2, seed=0)
    before = linear.version
    record = linear.record(np.ones((1, 3)))
    SGD(linear, lr=0.1).step(gradients(linear, rng))
    assert linear.version != before
    with pytest.raises(RuntimeError, match="changed after record"):
        record.backward(np.ones((1, 2)))


def test_lr_can_follow_a_schedule():
    linear = Linear(1, 1, bias=False, dtype="float64", seed=0)
    optimiser = SGD(linear, lr=0.5)
    before = linear.parameters["weight"].item()
    optimiser.lr = 0.25
    optimiser.step({"weight": np.ones((1, 1))})
    assert linear.parameters["weight"].item() == before - 0.25


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("max_norm", [0.0, 0.1, 3.0, 1e3])
def test_clipping_equals_torch(rng, dtype, max_norm):
    shapes = [(4, 3), (5,), (2, 2)]
    grads = {str(i): rng.normal(size=shape).astype(dtype) for i, shape in enumerate(shapes)}
    peer = [torch.zeros(shape, requires_grad=True) for shape in shapes]
    peer = [torch.tensor(g.astype(float), requires_grad=True) for g in grads.values()]
    for value, grad in zip(peer, grads.values(), strict=True):
        value.grad = torch.tensor(grad.astype(float))
    norm = torch.nn.utils.clip_grad_norm_(peer, max_norm)
    before = {k: g.copy() for k, g in grads.items()}
    assert clip_grad_norm(grads, max_norm) == pytest.approx(norm.item(), rel=1e-6)
    for value, grad in zip(peer, grads.values(), strict=True):
        close(grad, value.grad, TOLERANCE[dtype])
    if norm < max_norm:
        same_bits(grads, before)


def test_clipping_leaves_what_is_not_finite_and_reports_it():
    for bad in (np.nan, np.inf):
        grads = {"a": np.array([3.0, bad]), "b": np.array([4.0])}
        assert not np.isfinite(clip_grad_norm(grads, 1.0))
        assert grads["b"].item() == 4.0
    assert np.isfinite(clip_grad_norm({"a": np.array([1e30], np.float32)}, 1.0))  # 1e60 fits f64


LINEAR = Linear(2, 2, seed=0)
GRADS = {"weight": np.ones((2, 2)), "bias": np.ones(2)}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SGD(LINEAR, lr=-1), ValueError, "lr: got -1, expected a finite number"),
        (lambda: SGD(LINEAR, lr=np.nan), ValueError, "lr: got nan"),
        (lambda: SGD(LINEAR, nesterov=True), ValueError, "nesterov: got True without momentum"),
        (lambda: Adam(LINEAR, betas=(0.9, 1.0)), ValueError, "betas: got"),
        (lambda: SGD(LINEAR).step({"weight": GRADS["weight"]}), KeyError, r"missing \['bias'\]"),
        (lambda: SGD(LINEAR).step(GRADS | {"x": 1}), KeyError, r"unexpected \['x'\]"),
        (
            lambda: SGD(LINEAR).step(GRADS | {"bias": np.ones(3)}),
            ValueError,
            r"grads: got bias of shape \(3,\), expected \(2,\)",
        ),
        (
            lambda: Adam(LINEAR).load_state_dict(SGD(LINEAR).state_dict()),
            ValueError,
            "state: got options .*, expected .* of Adam",
        ),
        (lambda: clip_grad_norm(GRADS, -1), ValueError, "max_norm: got -1"),
    ],
)
def test_errors_say_what_was_got_and_expected(call, error, message):
    before = LINEAR.state_dict()
    with pytest.raises(error, match=message):
        call()
    same_bits(LINEAR.state_dict(), before)


@pytest.mark.parametrize(
    ("kind", "change", "error", "message"),
    [
        (Adam, {"options.lr": np.nan}, ValueError, "lr: got nan"),
        (Adam, {"options.lr": -0.1}, ValueError, "lr: got -0.1"),
        (Adam, {"options.lr": "fast"}, ValueError, "lr: got 'fast'"),
        (Adam, {"options.lr": 10**400}, ValueError, "lr: got 1000"),
        (Adam, {"options.lr": True}, ValueError, "lr: got True"),
        (Adam, {"options.eps": np.inf}, ValueError, "eps: got inf"),
        (AdamW, {"options.weight_decay": None}, ValueError, "weight_decay: got None"),
        (Adam, {"options.betas": [0.9, 1.0]}, ValueError, "betas: got 1.0"),
        (Adam, {"options.betas": [0.9, "x"]}, ValueError, "betas: got 'x'"),
        (Adam, {"options.betas": 0.9}, ValueError, "betas: got 0.9"),
        (SGD, {"options.momentum": -1}, ValueError, "momentum: got -1"),
        (SGD, {"options.momentum": 0.0}, ValueError, "momentum=0.0, expected more than 0"),
        (SGD, {"options.nesterov": "yes"}, TypeError, "nesterov: got 'yes'"),
        (SGD, {"options.momentum": 0, "options.nesterov": True}, ValueError, "without momentum"),
        (Adam, {"options": 3}, ValueError, "state: got options 3"),
        (Adam, {"steps": -1}, ValueError, "steps: got -1"),
        (Adam, {"steps": 2.5}, ValueError, "steps: got 2.5"),
        (Adam, {"steps": None}, ValueError, "steps: got None"),
        (Adam, {"buffers": None}, TypeError, "state: got NoneType, expected a dict"),
        (Adam, {"buffers.exp_avg.bias": np.ones(3)}, ValueError, "got exp_avg.bias of shape"),
        (Adam, {"buffers.exp_avg_sq.bias": np.ones(2) * 1j}, TypeError, "exp_avg_sq.bias: got com"),
        (Adam, {"buffers.exp_avg_sq.bias": ["a", "b"]}, TypeError, "exp_avg_sq.bias: got <U1"),
        (Adam, {"more": 1}, KeyError, "unexpected"),
    ],
)
def test_a_refused_state_changes_nothing(rng, kind, change, error, message):
    def make(seed):
        linear = Linear(2, 2, seed=seed)
        optimiser = kind(linear, 0.3, *([0.5] if kind is SGD else []))
        optimiser.step(gradients(linear, np.random.default_rng(seed)))
        return optimiser

    optimiser, state = make(0), make(1).state_dict()
    for place, value in change.items():
        part, _, name = place.partition(".")
        if name:
            state[part][name] = value
        else:
            state[part] = value
    before = optimiser.state_dict()
    with pytest.raises(error, match=message):
        optimiser.load_state_dict(state)
    after = optimiser.state_dict()
    assert (after["options"], after["steps"]) == (before["options"], before["steps"])
    same_bits(after["buffers"], before["buffers"])
    optimiser.load_state_dict(make(2).state_dict())
    same_bits(optimiser.state_dict()["buffers"], make(2).state_dict()["buffers"])


@pytest.mark.parametrize("dtype", ["float16", "int8", "float64", "bool"])
@pytest.mark.parametrize("optimiser", [SGD, Adam, AdamW])
def test_gradients_of_another_type_are_converted(optimiser, dtype):
    """In float16 a square of 1e-4 is 0, in int8 one of 100 is 16: they are converted first."""
    grads = {"weight": np.array([[1e-4, 100]]).astype(dtype)}
    a, b = (Linear(2, 1, bias=False, seed=0) for _ in range(2))
    optimiser(a, lr=0.1).step(grads)
    optimiser(b, lr=0.1).step({"weight": grads["weight"].astype("float32")})
    np.testing.assert_array_equal(a.state_dict()["weight"], b.state_dict()["weight"])


def test_a_copy_of_an_optimiser_has_its_own_state():
    linear = Linear(2, 1, bias=False, seed=0)
    first = Adam(linear, lr=0.1)
    first.step({"weight": np.ones((1, 2))})
    second = copy.copy(first)
    before = first.state_dict()
    second.step({"weight": np.full((1, 2), -3.0)})
    second.lr = 0.5
    after = first.state_dict()
    assert (after["steps"], after["options"]) == (before["steps"], before["options"])
    for name, values in before["buffers"].items():
        np.testing.assert_array_equal(after["buffers"][name], values)
    assert second.steps == 2
    assert second.module is linear


def test_what_is_no_module_is_refused_with_the_way_out():
    linear = Linear(3, 2, seed=0)
    itself = r"expected the model or the layer itself, as in Adam\(model\)"
    for optimiser in (SGD, Adam, AdamW):
        for given, message in (
            (linear.parameters, f"module: got a dict of 2 arrays, which are copies of the weights, {itself}"),
            ([linear], f"module: got a list of 1, {itself}; several layers"),
            (torch.nn.LSTM(2, 3), "module: got LSTM of torch, expected a module of rnncore; convert it"),
            (torch.nn.Sequential(torch.nn.Linear(2, 3)), "module: got Sequential of torch"),
            (Linear, f"module: got a type, {itself}"), (None, f"module: got a NoneType, {itself}"),
        ):
            with pytest.raises(TypeError, match=message):
                optimiser(given)
