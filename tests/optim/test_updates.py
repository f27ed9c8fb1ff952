"""The compiled updates have the bits of the same formulas in numpy, whatever the sizes, the order and the threads."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import close, same_bits

import rnncore as rc
from rnncore.nn import Linear
from rnncore.optim import SGD, Adam, AdamW, clip_grad_norm

TOLERANCE = {"float32": 1e-6, "float64": 1e-13}


def sgd_by_numpy(o, w, g, m):
    """One update in place; m is None without momentum."""
    d = w * o["weight_decay"] + g if o["weight_decay"] else g.copy()
    if m is not None:
        m *= o["momentum"]
        m += d
        d = d + o["momentum"] * m if o["nesterov"] else m.copy()
    w -= d * o["lr"]


def adam_by_numpy(o, w, g, m, v, steps, decoupled):
    (beta1, beta2), lr, decay = o["betas"], o["lr"], o["weight_decay"]
    if decoupled:
        w *= 1 - lr * decay
    elif decay:
        g = g + decay * w
    m += (g - m) * (1 - beta1)
    v *= beta2
    v += np.square(g) * (1 - beta2)
    w -= m / (np.sqrt(v) / math.sqrt(1 - beta2**steps) + o["eps"]) * (lr / (1 - beta1**steps))


def updates(kind, linear, options, grads, threads):
    optimiser = kind(linear, **options)
    with rc.threads(threads):
        for one in grads:
            optimiser.step(one)
    return optimiser


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("kind", "options"), [
    (SGD, {}), (SGD, {"weight_decay": 0.1}), (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    (Adam, {}), (Adam, {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}), (AdamW, {"weight_decay": 0.3}),
    (AdamW, {"weight_decay": 0.0}),
])
@settings(max_examples=8, deadline=None)
@given(size=st.sampled_from([(1, 1), (3, 5), (64, 64), (63, 65), (90, 91), (400, 500)]), threads=st.integers(1, 3),
       seed=st.integers(0, 99))
def test_three_updates_have_the_bits_of_numpy(kind, options, dtype, size, threads, seed):
    """Sizes about a block of 4,096 values and beyond the number from which threads share them."""
    rng, linear = np.random.default_rng(seed), Linear(*size, dtype=dtype, seed=seed)
    expected = linear.state_dict()
    grads = [{name: rng.normal(size=w.shape).astype(dtype) for name, w in expected.items()} for _ in range(3)]
    optimiser = updates(kind, linear, {"lr": 0.05} | options, grads, threads)
    o, kept = optimiser.options, optimiser.buffers
    buffers = {name: np.zeros_like(value) for name, value in kept.items()}
    for steps, one in enumerate(grads, 1):
        for name, w in expected.items():
            if kind is SGD:
                sgd_by_numpy(o, w, one[name], buffers.get(f"momentum.{name}"))
            else:
                adam_by_numpy(o, w, one[name], buffers[f"exp_avg.{name}"], buffers[f"exp_avg_sq.{name}"], steps,
                              kind is AdamW)
    same_bits(linear.state_dict(), expected)
    same_bits(kept, buffers)


def test_gradients_in_any_order_and_layout_give_the_same_update(rng):
    a, b = Linear(6, 4, seed=0), Linear(6, 4, seed=0)
    grads = {"weight": rng.normal(size=(4, 6)).astype("f4"), "bias": rng.normal(size=4).astype("f4")}
    wide = np.zeros((4, 12), "f4")
    wide[:, ::2] = grads["weight"]
    odd = {"bias": grads["bias"][::-1].copy()[::-1], "weight": wide[:, ::2]}
    odd["weight"].setflags(write=False)
    Adam(a).step(grads)
    Adam(b).step(odd)
    same_bits(a.state_dict(), b.state_dict())


def test_a_step_inside_an_open_block_is_not_undone(rng):
    linear, other = Linear(3, 2, seed=0), Linear(3, 2, seed=0)
    grads = {name: rng.normal(size=w.shape).astype("f4") for name, w in linear.state_dict().items()}
    with linear.writable() as weights:
        weights["bias"] += 1
        SGD(linear, lr=0.1).step(grads)
    with other.writable() as weights:
        weights["bias"] += 1
    SGD(other, lr=0.1).step(grads)
    same_bits(linear.state_dict(), other.state_dict())


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 15, 16, 17, 4095, 4096, 4097, 300_000]), max_size=5),
       dtype=st.sampled_from(sorted(TOLERANCE)), seed=st.integers(0, 99))
def test_the_norm_equals_numpy_on_any_number_of_threads(sizes, dtype, seed):
    rng = np.random.default_rng(seed)
    grads = {str(i): rng.normal(size=n).astype(dtype) for i, n in enumerate(sizes)}
    expected = math.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in grads.values()))
    found = []
    for threads in (1, 2, 3):
        with rc.threads(threads):
            found.append(clip_grad_norm(grads, math.inf))
    assert found == [found[0]] * 3
    assert found[0] == pytest.approx(expected, rel=1e-13)
    clipped = {name: g.copy() for name, g in grads.items()}
    assert clip_grad_norm(clipped, 0.5) == found[0]
    factor = min(1, 0.5 / (found[0] + 1e-6))
    for name, g in grads.items():
        same_bits(clipped[name], g * np.dtype(dtype).type(factor) if factor < 1 else g)


def test_arrays_that_no_compiled_loop_takes_are_clipped_too(rng):
    plain = {"a": rng.normal(size=(4, 6)), "b": rng.normal(size=5).astype("f4"), "c": rng.normal(size=3).astype("f2")}
    odd = {"a": np.asfortranarray(plain["a"]), "b": np.repeat(plain["b"], 2)[::2], "c": plain["c"].copy()}
    expected = math.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in plain.values()))
    assert clip_grad_norm(odd, 1.0) == pytest.approx(expected, rel=1e-13)
    for name, g in plain.items():
        close(odd[name], np.float64(g) / expected, 1e-3 if name == "c" else 1e-6)
    locked = np.ones(3)
    locked.setflags(write=False)
    with pytest.raises(ValueError, match=r"grads\['a'\]: got a read-only array, expected one that"):
        clip_grad_norm({"a": locked}, 1.0)
    assert clip_grad_norm({"a": locked}, 2.0) == pytest.approx(math.sqrt(3))


def test_tensors_are_clipped_in_place():
    grads = {"a": torch.tensor([3.0]), "b": np.array([0.0]), "c": torch.tensor([4.0], requires_grad=True)}
    assert clip_grad_norm(grads, 1.0) == 5
    assert [round(torch.as_tensor(grad).sum().item(), 4) for grad in grads.values()] == [0.6, 0.0, 0.8]
    grads["b"] = torch.tensor([3.0, 4.0], dtype=torch.bfloat16)
    with pytest.raises(TypeError, match=r"grads\['b'\]: got a tensor of torch.bfloat16 on cpu, expected"):
        clip_grad_norm(grads, 0.5)
    assert [round(torch.as_tensor(grad).sum().item(), 4) for grad in grads.values()] == [0.6, 7.0, 0.8]


@pytest.mark.parametrize("wrong", [[1.0], np.array([1, 2]), np.array([1j]), 3.0, None, "locked"])
def test_gradients_that_cannot_be_scaled_leave_the_others_as_they_are(wrong):
    if isinstance(wrong, str):
        wrong = np.ones(3)
        wrong.setflags(write=False)
    grads = {"own": np.full(2, 3.0), "wrong": wrong}
    with pytest.raises((TypeError, ValueError), match=r"grads\['wrong'\]: got .*, expected .* scaled in place"):
        clip_grad_norm(grads, 1.0)
    assert grads["own"].tolist() == [3.0, 3.0]
