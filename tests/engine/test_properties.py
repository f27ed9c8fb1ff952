"""With random options, shapes and lengths, layers equal the twin and keep the rules about bits."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support import (
    CELLS,
    close,
    judge_pass,
    make,
    parts,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
)

import rnncore as rc

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def passes(draw, dtype=None):
    """A layer, x, initial state or None, lengths or None, cotangents, random numbers for more."""
    small = lambda lo, hi: draw(st.integers(lo, hi))  # noqa: E731
    layer = make(
        draw(st.sampled_from(sorted(CELLS))),
        small(1, 18),
        small(1, 20),
        small(1, 3),
        bias=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        dtype=dtype or draw(st.sampled_from(["float32", "float64"])),
        seed=small(0, 10**6),
    )
    T, B, rng = small(0, 7), small(0, 9), np.random.default_rng(small(0, 10**6))
    x = random_input(layer, T, B, rng) * layer.dtype.type(draw(st.sampled_from([1e-3, 1, 10])))
    s0 = random_state(layer, B, rng) if draw(st.booleans()) else None
    lengths = None
    if draw(st.booleans()):
        lengths = np.array(draw(st.lists(st.integers(0, T), min_size=B, max_size=B)), np.int64)
    return layer, x, s0, lengths, random_cotangents(layer, T, B, rng), rng


@QUICK
@given(passes())
def test_random_layers_equal_the_twin(case):
    layer, x, s0, lengths, cot, _ = case
    judge_pass(layer, x, s0, lengths, cot)


@QUICK
@given(passes(), st.integers(1, 3), st.integers(1, 8))
def test_random_layers_keep_the_rules_of_bits(case, threads, every):
    """Call = record = record with checkpoints = another number of threads = the row alone."""
    layer, x, s0, lengths, cot, rng = case
    y, s = layer(x, s0, lengths=lengths)
    tape = layer.record(x, s0, lengths=lengths)
    grads = tape.backward(*cot)
    same_bits((tape.output, tape.state), (y, s))
    with rc.threads(threads):
        again = layer.record(x, s0, lengths=lengths, checkpoint_every=every)
        grads2 = again.backward(*cot)
    same_bits((again.output, again.state), (y, s))
    same_bits(
        (grads2.input, grads2.state, dict(grads2.parameters)),
        (grads.input, grads.state, dict(grads.parameters)),
    )
    B = x.shape[1]
    if B:
        b = int(rng.integers(B))
        n = len(x) if lengths is None else lengths[b]
        one = lambda a: None if a is None else tuple(v[..., b : b + 1, :] for v in parts(a))  # noqa: E731
        own = one(s0) if len(layer.cell.states) > 1 or s0 is None else one(s0)[0]
        alone, end = layer(x[:n, b : b + 1], own)
        same_bits(alone, y[:n, b : b + 1])
        same_bits(tuple(parts(end)), one(s))


@QUICK
@given(passes("float64"), st.integers(1, 9), st.sampled_from(["forward", "reverse"]))
def test_pullback_ends_in_the_state_gradient_of_backward(case, every, direction):
    """The pullback of a cotangent on the final state ends in the gradient of the initial state."""
    layer, x, s0, lengths, cot, _ = case
    if layer.num_layers > 1 and layer.bidirectional:
        return  # there the directions mix, and one direction's walk is its own (test_pullback.py)
    if direction == "reverse" and not layer.bidirectional:
        return
    D, d = 1 + layer.bidirectional, int(direction == "reverse")
    tape = layer.record(x, s0, lengths=lengths)
    gs = [np.zeros_like(a) for a in parts(cot[1])]
    for a, b in zip(gs, parts(cot[1]), strict=True):
        a[d::D] = b[d::D]
    grads = tape.backward(None, tuple(gs) if len(layer.cell.states) > 1 else gs[0], parameters=False)
    flat = lambda s: np.concatenate([r for a in parts(s) for r in a[d::D]], axis=-1)  # noqa: E731
    carries = list(tape.pullback(flat(tuple(gs))[None], every=every, direction=direction))
    assert len(carries) == -(-len(x) // every)
    if not carries:
        return
    last = carries[-1]
    close(last.value[0] * np.exp(last.log_scale[0])[:, None], flat(grads.state), 1e-12)
