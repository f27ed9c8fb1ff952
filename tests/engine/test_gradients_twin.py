"""Back-propagation through time equals the numpy twin's, array by array and gate by gate."""

import itertools

import numpy as np
import pytest
from support import (
    KINDS,
    all_close,
    close,
    make,
    parts,
    random_cotangents,
    random_input,
    random_state,
    whole,
)
from twin import Twin

DTYPES = ["float32", "float64"]


def judge(layer, x, s0, lengths, cot, dtype):
    """Every number of the tape and of backward against the twin."""
    twin = Twin.of(layer)
    run = twin.forward(x, parts(s0), lengths)
    expected = twin.backward(run, cot[0], None if cot[1] is None else parts(cot[1]))
    tape = layer.record(x, s0, lengths=lengths)
    grads = tape.backward(*cot)
    close(tape.output, run.output, dtype)
    all_close(tape.state, run.state, dtype)
    close(grads.input, expected.input, dtype)
    all_close(grads.state, expected.state, dtype)
    all_close(grads.parameters, expected.parameters, dtype)
    steps = run.valid[..., None]
    for name in tape.names("*"):
        close(tape[name] * steps, run.values[name] * steps, dtype)
        close(tape.grad[name], expected.values[name], dtype)
    assert set(tape.names("*")) == set(run.values)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("layers", [1, 3])
def test_gradients_of_one_direction_equal_the_twins(cell, layers, dtype, rng):
    layer = make(cell, 4, 7, layers, dtype=dtype)
    x, s0 = random_input(layer, 8, 5, rng), random_state(layer, 5, rng)
    judge(layer, x, s0, None, random_cotangents(layer, 8, 5, rng), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_ragged_bidirectional_layers_equal_the_twins(cell, bias, dtype, rng):
    layer = make(cell, 3, 5, 2, bidirectional=True, bias=bias, dtype=dtype)
    x, s0 = random_input(layer, 7, 4, rng), random_state(layer, 4, rng)
    judge(layer, x, s0, np.array([2, 0, 7, 5]), random_cotangents(layer, 7, 4, rng), dtype)


@pytest.mark.parametrize("cell", KINDS)
def test_grad_output_or_grad_state_may_be_given_alone(cell, rng):
    layer = make(cell, 3, 5, 2, dtype="float64")
    x, s0 = random_input(layer, 6, 3, rng), random_state(layer, 3, rng)
    g, gs = random_cotangents(layer, 6, 3, rng)
    judge(layer, x, s0, None, (g, None), "float64")
    judge(layer, x, s0, None, (None, gs), "float64")


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize(("T", "B"), [(0, 2), (3, 0), (0, 0)])
def test_gradients_of_empty_sequences_are_zero(cell, T, B, rng):
    """Without steps, the initial state's gradient is the final state's cotangent, and weight gradients are 0."""
    layer = make(cell, 3, 5, 2, bidirectional=True, dtype="float64")
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    g, gs = random_cotangents(layer, T, B, rng)
    grads = layer.record(x, s0).backward(g, gs)
    assert grads.input.shape == x.shape
    all_close(grads.state, gs, 1e-300)
    assert {k: v.shape for k, v in grads.parameters.items()} == {
        k: v.shape for k, v in layer.state_dict().items()
    }
    assert not any(v.any() for v in grads.parameters.values())


@pytest.mark.parametrize("cell", KINDS)
def test_gradients_equal_central_differences(cell, rng):
    """Along random directions: (L(θ+εd) − L(θ−εd)) / 2ε. Error ε²·L‴ + 1e-16·|L|/ε."""
    eps, layers = 1e-6, 2
    layer = make(cell, 3, 4, layers, bidirectional=True, dtype="float64")
    lengths = np.array([6, 0, 4])
    x, s0 = random_input(layer, 6, 3, rng), random_state(layer, 3, rng)
    g, gs = random_cotangents(layer, 6, 3, rng)
    grads = layer.record(x, s0, lengths=lengths).backward(g, gs)
    start = layer.state_dict()

    def loss(x, s0, weights):
        layer.load_state_dict(weights)
        y, s = layer(x, whole(layer, s0), lengths=lengths)
        return (y * g).sum() + sum((a * b).sum() for a, b in zip(parts(s), parts(gs), strict=True))

    values = [x, *parts(s0), *start.values()]
    slopes = [grads.input, *parts(grads.state), *grads.parameters.values()]
    assert list(start) == list(grads.parameters)
    for k, slope in enumerate(slopes):
        d = rng.normal(size=slope.shape)
        ends = []
        for sign in (1, -1):
            moved = [v + sign * eps * d if j == k else v for j, v in enumerate(values)]
            n = 1 + len(parts(s0))
            ends.append(loss(moved[0], moved[1:n], dict(zip(start, moved[n:], strict=True))))
        assert abs((ends[0] - ends[1]) / (2 * eps) - (slope * d).sum()) <= 3e-8 * max(
            1, np.abs(slope).sum()
        )


@pytest.mark.parametrize("cell", KINDS)
def test_weight_gradient_is_the_sum_over_untied_copies(cell, rng):
    """T layers of one step, each with weights of its own, chained by hand."""
    T, B = 6, 3
    tied = make(cell, 3, 5, 2, dtype="float64")
    x, s0 = random_input(tied, T, B, rng), random_state(tied, B, rng)
    g, gs = random_cotangents(tied, T, B, rng)
    copies = [make(cell, 3, 5, 2, dtype="float64", seed=99) for _ in range(T)]
    state, tapes = s0, []
    for t, copy in enumerate(copies):
        copy.load_state_dict(tied.state_dict())
        tapes.append(copy.record(x[t : t + 1], state))
        state = tapes[-1].state
    back, total = gs, dict.fromkeys(tied.state_dict(), 0)
    for t in reversed(range(T)):
        step = tapes[t].backward(g[t : t + 1], back)
        back = step.state
        total = {k: total[k] + v for k, v in step.parameters.items()}
    grads = tied.record(x, s0).backward(g, gs)
    all_close(grads.parameters, total, 1e-13)
    all_close(grads.state, back, 1e-13)


@pytest.mark.parametrize("cell", KINDS)
def test_the_gradient_of_a_sum_is_the_sum_of_gradients(cell, rng):
    """Linear in the cotangent: backward(a) + backward(b) = backward(a + b)."""
    layer = make(cell, 3, 5, 2, bidirectional=True, dtype="float64")
    tape = layer.record(random_input(layer, 6, 3, rng))
    a, b = (random_cotangents(layer, 6, 3, rng)[0] for _ in range(2))
    one, two, both = (tape.backward(g).parameters for g in (a, b, a + b))
    all_close(both, {k: one[k] + two[k] for k in one}, 1e-13)


@pytest.mark.parametrize(("cell", "H"), itertools.product(["gru", "lstm"], [19]))
def test_gradients_of_a_long_sequence_equal_the_twins(cell, H, rng):
    """300 steps in float64 stay at the promised 1e-12."""
    layer = make(cell, 4, H, dtype="float64")
    x, s0 = random_input(layer, 300, 2, rng), random_state(layer, 2, rng)
    judge(layer, x, s0, None, random_cotangents(layer, 300, 2, rng), "float64")
