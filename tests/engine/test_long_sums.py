"""Gradients of weights and biases are sums over steps and rows: exact however long, and always in the same order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import CELLS, KINDS, make, random_input, same_bits

import rnncore as rc

BLOCK, CHUNK, SPAN = 64, 256, 4096          # rows, as docs/engine.md tells


def sum_in_the_stated_order(terms, starts, reverse):
    """terms (N, H), the rows of step t from starts[t] on; as src/engine/sums.pxi adds them up, in plain numpy."""
    chunks = {}                              # (span, first row): terms
    for t, start in enumerate(starts[:-1]):
        chunks.setdefault(start // CHUNK, []).append((start, starts[t + 1]))
    spans = {}
    for steps in chunks.values():
        first, stop = steps[0][0], steps[-1][1]
        if first == stop:                    # past the ends of all rows
            continue
        blocks = [terms[at : min(at + BLOCK, stop)] for at in range(first, stop, BLOCK)]
        spans.setdefault(first // SPAN, []).extend(blocks)
    walk = sorted(spans) if reverse else sorted(spans, reverse=True)
    total = 0.0
    for span in walk:
        blocks = spans[span] if reverse else [block[::-1] for block in spans[span][::-1]]
        of_span = None
        for block in blocks:
            of_block = np.zeros(terms.shape[1], terms.dtype)
            for row in block:
                of_block = of_block + row
            of_span = of_block if of_span is None else of_span + of_block
        total = total + of_span.astype(float)
    return total.astype(terms.dtype)


def numbered(T, B, lengths):
    """The rows that have each step, the longest first, and the number of the first of them."""
    n = np.full(B, T) if lengths is None else lengths
    order = np.argsort(-n, kind="stable")
    active = [order[: (n > t).sum()] for t in range(T)]
    return active, np.concatenate([[0], np.cumsum([len(rows) for rows in active])])


@pytest.mark.parametrize("both", [False, True], ids=["", "both"])
@pytest.mark.parametrize(("T", "B"), [(700, 7), (9, 1000), (300, 1), (130, 64), (40, 257)])
def test_biases_are_summed_in_the_stated_order(T, B, both, rng):
    """The gradient of a bias is the sum of the gradients of pre-activations, which the tape has."""
    layer = rc.LSTM(2, 3, bidirectional=both)
    for lengths in (None, rng.integers(0, T + 1, size=B)):
        tape = layer.record(random_input(layer, T, B, rng), lengths=lengths)
        grads = tape.backward(rng.normal(size=tape.output.shape).astype("f4")).parameters
        active, starts = numbered(T, B, lengths)
        for end, name in (("", "l0."), ("_reverse", "l0.reverse."))[: 1 + both]:
            for gate, letter in enumerate("ifgo"):
                delta = tape.grad[name + letter]
                terms = np.concatenate([delta[t, rows] for t, rows in enumerate(active)])
                expected = sum_in_the_stated_order(terms, starts, bool(end))
                same_bits(grads[f"bias_ih_l0{end}"][gate * 3 : gate * 3 + 3], expected)


@pytest.mark.parametrize("both", [False, True], ids=["", "both"])
@pytest.mark.parametrize(("T", "B"), [(700, 7), (40, 257)])
def test_projections_are_summed_in_the_stated_order(T, B, both, rng):
    """The gates are 1 and c is large, so that what is projected is 1: then the terms are the gradients of h."""
    layer = rc.LSTM(2, 3, bidirectional=both, proj_size=2, seed=0)
    with layer.writable() as w:
        for name, array in w.items():
            if name.startswith("bias"):
                array[...] = 100
            elif not name.startswith("weight_hr"):
                array[...] = 0
    large = None, np.full((1 + both, B, 3), 100)
    for lengths in (None, rng.integers(0, T + 1, size=B)):
        tape = layer.record(random_input(layer, T, B, rng), large, lengths)
        grads = tape.backward(rng.normal(size=tape.output.shape).astype("f4")).parameters
        active, starts = numbered(T, B, lengths)
        for end, name in (("", "l0.h"), ("_reverse", "l0.reverse.h"))[: 1 + both]:
            terms = np.concatenate([tape.grad[name][t, rows] for t, rows in enumerate(active)])
            expected = sum_in_the_stated_order(terms, starts, bool(end))
            same_bits(grads[f"weight_hr_l0{end}"], np.repeat(expected[:, None], 3, axis=1))


@pytest.mark.parametrize("cell", KINDS)
@settings(max_examples=12, deadline=None)
@given(T=st.integers(1, 90), B=st.integers(1, 90), every=st.integers(1, 40), ragged=st.booleans(),
       seed=st.integers(0, 999))
def test_no_window_padding_or_thread_changes_a_bit(cell, T, B, every, ragged, seed):
    """Up to 8,100 rows are many chunks and two spans, and windows of 1 to 40 steps end anywhere in a block."""
    rng = np.random.default_rng(seed)
    layer = make(cell, 3, 4, bidirectional=True)
    lengths = rng.integers(0, T + 1, size=B) if ragged else np.full(B, T)
    x, g = random_input(layer, T + 5, B, rng), rng.normal(size=(T + 5, B, layer.structure.features)).astype("f4")
    plain = layer.record(x[:T], lengths=lengths).backward(g[:T])
    with rc.threads(2):
        for tape, shown in ((layer.record(x[:T], lengths=lengths, checkpoint_every=every), g[:T]),
                            (layer.record(x, lengths=lengths), g),
                            (layer.record(x, lengths=lengths, checkpoint_every=every), g)):
            same_bits(tape.backward(shown).parameters, plain.parameters)


def relative_error(cell, x, cotangents, H):
    """The largest error of a gradient, relative to its norm, against the same layer in float64."""
    layer = make(cell, x.shape[2], H)
    judge = make(cell, x.shape[2], H, dtype="float64")
    judge.load_state_dict(layer.state_dict())
    found, exact = (
        one.record(x, checkpoint_every=500).backward(cotangents.astype(one.dtype)).parameters for one in (layer, judge))
    return max(np.linalg.norm(found[name] - exact[name]) / np.linalg.norm(exact[name]) for name in exact)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["constant", "random"])
@pytest.mark.parametrize("cell", CELLS)
def test_long_sums_are_exact(cell, kind, rng):
    """With one accumulator the gradients here were off by up to 2.5e-4."""
    T, B, H = 2000, 300, 9
    x = np.abs(rng.normal(size=(T, B, 5))).astype("f4")
    g = np.ones((T, B, H)) if kind == "constant" else rng.normal(size=(T, B, H))
    assert relative_error(cell, x, g.astype("f4"), H) < 3e-6


@pytest.mark.slow
def test_the_error_does_not_grow_with_the_number_of_steps(rng):
    """Three million rows: with one accumulator a bias was off by 3 %."""
    T, B, H = 100_000, 32, 2
    x = np.abs(rng.normal(size=(T, B, 1))).astype("f4")
    assert relative_error("rnn-tanh", x, np.ones((T, B, H), "f4"), H) < 3e-6
