"""Linear on the engine: its numbers, its bits in any batch and on any number of threads, and exact sums over rows."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import TOLERANCE, close, same_bits

import rnncore as rc
from rnncore.nn import Linear

BLOCK, CHUNK, SPAN = 64, 256, 4096          # rows, as docs/engine.md tells


def passed(linear, x, g):
    """Everything that a recorded call and its backward pass compute, by name."""
    record = linear.record(x)
    grads = record.backward(g)
    return {"output": record.output, "input": grads.input} | grads.parameters


def by_numpy(linear, x, g):
    """The same in float64."""
    weight, bias = (linear.state_dict().get(name, 0) for name in ("weight", "bias"))
    rows, of_rows = (np.float64(a).reshape(-1, a.shape[-1]) for a in (x, g))
    out = {"output": np.float64(x) @ np.float64(weight).T + bias, "input": np.float64(g) @ np.float64(weight),
           "weight": of_rows.T @ rows}
    return out | ({"bias": of_rows.sum(axis=0)} if linear.bias else {})


@pytest.mark.parametrize("dtype", sorted(TOLERANCE))
@settings(max_examples=60, deadline=None)
@given(M=st.integers(0, 700), K=st.integers(1, 150), V=st.one_of(st.integers(1, 150), st.sampled_from([1000, 5000])),
       bias=st.booleans(), threads=st.integers(1, 3), seed=st.integers(0, 999))
def test_any_shape_equals_numpy(dtype, M, K, V, bias, threads, seed):
    if V >= 1000:
        M = M % 70
    rng, linear = np.random.default_rng(seed), Linear(K, V, bias, dtype=dtype, seed=seed)
    x, g = rng.normal(size=(M, K)).astype(dtype), rng.normal(size=(M, V)).astype(dtype)
    with rc.threads(threads):
        found = passed(linear, x, g)
    expected = by_numpy(linear, x, g)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == dtype
        # a sum of n terms in order, each rounded: at worst n/2 ulp of the sum of their sizes, about 1/√n of it here;
        # a single one may happen to be near 0, while the sum of their sizes is about 1
        close(found[name], value, 4 * TOLERANCE[dtype], float(np.finfo(dtype).eps))


@pytest.mark.parametrize(("M", "K", "V"), [(1, 40, 5000), (37, 256, 700), (600, 33, 103), (4500, 16, 9)])
def test_large_heads_equal_torch_in_float64(M, K, V, rng):
    linear = Linear(K, V, dtype="float64", seed=1)
    x, g = rng.normal(size=(M, K)), rng.normal(size=(M, V))
    peer = torch.nn.Linear(K, V, dtype=torch.float64)
    peer.load_state_dict({name: torch.tensor(value) for name, value in linear.state_dict().items()})
    tx = torch.tensor(x, requires_grad=True)
    y = peer(tx)
    y.backward(torch.tensor(g))
    found = passed(linear, x, g)
    close(found["output"], y.detach(), 1e-12)
    close(found["input"], tx.grad, 1e-12)
    close(found["weight"], peer.weight.grad, 1e-12)
    close(found["bias"], peer.bias.grad, 1e-12)


def test_gradients_agree_with_finite_differences(rng):
    """The loss Σ g·y is linear in each argument, so central differences are exact but for rounding, 1e-16/h."""
    linear, h = Linear(5, 4, dtype="float64", seed=0), 1e-3
    x, g = rng.normal(size=(3, 2, 5)), rng.normal(size=(3, 2, 4))
    grads = linear.record(x).backward(g)
    for at in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[at] = h
        slope = ((linear(x + step) - linear(x - step)) * g).sum() / (2 * h)
        assert slope == pytest.approx(grads.input[at], abs=1e-12)
    for name, grad in grads.parameters.items():
        for at in np.ndindex(grad.shape):
            ends = []
            for sign in (1, -1):
                with linear.writable() as weights:
                    weights[name][at] += sign * h
                ends.append((linear(x) * g).sum())
                with linear.writable() as weights:
                    weights[name][at] -= sign * h
            assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(grad[at], abs=1e-12)


@pytest.mark.parametrize("dtype", sorted(TOLERANCE))
@pytest.mark.parametrize(("M", "K", "V"), [(70, 19, 45), (600, 64, 103), (40, 64, 3000), (5, 600, 1300)])
def test_a_row_has_the_bits_of_the_row_alone(M, K, V, dtype, rng):
    linear = Linear(K, V, dtype=dtype, seed=0)
    x, g = rng.normal(size=(M, K)).astype(dtype), rng.normal(size=(M, V)).astype(dtype)
    with rc.threads(2):
        found = passed(linear, x, g)
    for rows in (slice(0, 1), slice(M - 1, M), slice(3, 4), slice(1, M // 2)):
        alone = passed(linear, x[rows], g[rows])
        same_bits(alone["output"], found["output"][rows])
        same_bits(alone["input"], found["input"][rows])


@pytest.mark.parametrize("dtype", sorted(TOLERANCE))
@pytest.mark.parametrize(("M", "K", "V"), [(2048, 128, 103), (20, 300, 5000), (1, 3000, 5000), (9000, 40, 70)])
def test_any_number_of_threads_gives_the_same_bits(M, K, V, dtype, rng):
    """Each is large enough for threads; they divide rows, or the units of a large matrix."""
    linear = Linear(K, V, dtype=dtype, seed=0)
    x, g = rng.normal(size=(M, K)).astype(dtype), rng.normal(size=(M, V)).astype(dtype)
    with rc.threads(1):
        one = passed(linear, x, g)
    for threads in (2, 3):
        with rc.threads(threads):
            same_bits(passed(linear, x, g), one)
            same_bits(linear(x), one["output"])


def sum_in_the_stated_order(terms):
    """Of the rows (M, V), as docs/engine.md tells: blocks of 64 rows, spans of 4,096."""
    total = 0.0
    for span in range(0, len(terms), SPAN):
        of_span = None
        for first in range(span, min(span + SPAN, len(terms)), BLOCK):
            of_block = np.zeros(terms.shape[1], terms.dtype)
            for row in terms[first : min(first + BLOCK, span + SPAN)]:
                of_block = of_block + row
            of_span = of_block if of_span is None else of_span + of_block
        total = total + of_span.astype(float)
    return total.astype(terms.dtype)


@pytest.mark.parametrize("M", [1, 63, 64, 65, 256, 257, 4095, 4096, 4097, 13_000])
def test_rows_are_summed_in_the_stated_order(M, rng):
    """The bias is a sum of rows; a weight whose inputs are all 1 is the same sum of products by 1."""
    linear = Linear(2, 37, seed=0)
    g = rng.normal(size=(M, 37)).astype("f4")
    for threads in (1, 2):
        with rc.threads(threads):
            grads = linear.record(np.ones((M, 2))).backward(g).parameters
        expected = sum_in_the_stated_order(g)
        same_bits(grads["bias"], expected)
        same_bits(grads["weight"], np.stack([expected] * 2, axis=1))


@pytest.mark.parametrize("kind", ["constant", "random"])
def test_sums_over_a_million_rows_are_exact(kind, rng):
    """With one accumulator a constant sum of so many float32 terms is off by 1e-3."""
    M, linear = 1_000_000, Linear(3, 2, seed=0)
    x = (np.abs(rng.normal(size=(M, 3))) + 0.1).astype("f4")
    g = np.full((M, 2), 0.1, "f4") if kind == "constant" else np.abs(rng.normal(size=(M, 2))).astype("f4")
    found = linear.record(x).backward(g).parameters
    expected = by_numpy(linear, x, g)
    for name in ("weight", "bias"):
        assert np.abs(found[name] / expected[name] - 1).max() < 3e-6


def test_arrays_in_any_layout_are_read_and_not_written(rng):
    linear = Linear(6, 5, seed=0)
    x, g = rng.normal(size=(8, 9, 12)).astype("f4"), rng.normal(size=(9, 8, 5)).astype("f4")
    strided, swapped = x[..., ::2], g.swapaxes(0, 1)
    for array in (x, g):
        array.setflags(write=False)
    unaligned = np.frombuffer(b"x" + strided.tobytes(), np.uint8)[1:].view("f4").reshape(strided.shape)
    expected = passed(linear, strided.copy(), swapped.copy())
    same_bits(passed(linear, strided, swapped), expected)
    same_bits(passed(linear, unaligned, swapped), expected)


def test_new_weights_are_packed_again_and_old_ones_are_not_differentiated(rng):
    linear, x, g = Linear(7, 6, seed=0), rng.normal(size=(9, 7)).astype("f4"), rng.normal(size=(9, 6)).astype("f4")
    for _ in range(3):
        record = linear.record(x)
        close(record.backward(g).input, np.float64(g) @ np.float64(linear.state_dict()["weight"]), "float32")
        with linear.writable() as weights:
            weights["weight"] += 1
        close(linear(x), by_numpy(linear, x, g)["output"], "float32")
        with pytest.raises(RuntimeError, match="weights of Linear changed"):
            record.backward(g)
        with pytest.raises(RuntimeError, match="weights of Linear changed"):
            linear.packed_at(record._version)


@pytest.mark.skipif(not hasattr(time, "thread_time"), reason="needs the CPU time of a thread")
def test_training_wakes_no_threads_of_blas(rng):
    """The CPU time of the whole process is at most 1.3 times that of this thread."""
    linear, x = Linear(128, 103, seed=0), rng.normal(size=(2048, 128)).astype("f4")
    g = rng.normal(size=(2048, 103)).astype("f4")
    with rc.threads(1):
        passed(linear, x, g)
        time.sleep(0.3)                     # what earlier products woke goes to sleep
        everyone, alone = time.process_time(), time.thread_time()
        for _ in range(50):
            passed(linear, x, g)
        everyone, alone = time.process_time() - everyone, time.thread_time() - alone
    assert everyone < 1.3 * alone
