"""The compiled cross-entropy: against plain numpy on any shape and options, and the same bits in any batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_twin import cross_entropy as twin
from loss_twin import squared_error
from support import TOLERANCE, close, same_bits

import rnncore as rc
from rnncore import _engine
from rnncore.nn import cross_entropy, token_nll
from rnncore.nn.losses import mean_nll, mean_square, summed_nll, summed_squares

DTYPES = sorted(TOLERANCE)
CLASSES = st.one_of(st.integers(1, 70), st.sampled_from([255, 256, 257, 511, 512, 513, 5000]))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=80, deadline=None)
@given(M=st.integers(0, 60), C=CLASSES, spread=st.sampled_from([0.0, 3.0, 40.0]), masked=st.booleans(),
       ignored=st.booleans(), weighted=st.booleans(), of_class=st.booleans(),
       smoothing=st.sampled_from([0.0, 0.1, 0.9]), threads=st.integers(1, 2), seed=st.integers(0, 999))
def test_any_shape_and_option_equals_numpy(dtype, M, C, spread, masked, ignored, weighted, of_class, smoothing,
                                           threads, seed):
    rng = np.random.default_rng(seed)
    logits = (spread * rng.normal(size=(M, C)) + 5).astype(dtype)
    targets, mask = rng.integers(0, C, size=M), rng.random(M) < 0.7
    options = {"label_smoothing": smoothing}
    if of_class:
        options["class_weight"] = rng.uniform(0, 3, size=C)
    if weighted:
        options["weights"] = rng.integers(0, 4, size=M) / 2
    counted = np.ones(M, bool)
    if masked:
        counted &= mask
    if ignored:
        targets[rng.random(M) < 0.3] = 10**6
        counted &= targets != 10**6
    losses, grad, total = twin(logits, targets, counted, **options)
    logits[~counted] = np.nan
    with rc.threads(threads):
        found = mean_nll(logits, targets, 10**6, mask if masked else None, **options)
    assert found[1].dtype == dtype
    assert found[2] == pytest.approx(total, rel=1e-12)
    # rounding of the logits themselves: the loss is as exact as their differences, of up to 10 spreads
    noise = (spread + 1) * float(np.finfo(dtype).eps)
    close(found[0], losses.sum() / (total or 1), dtype, noise)
    close(found[1], grad, dtype, 6 * noise / max(total, 1))         # weights of up to 3 · 1.5, and p - 1 may be 0
    assert not found[1][~counted].any()
    if not ignored:
        summed = summed_nll(logits, targets, mask if masked else None, **options)
        assert summed == (pytest.approx(losses.sum(), rel=1e-5, abs=M * noise), found[2])


def test_a_large_vocabulary_equals_torch_in_float64(rng):
    logits, targets = 4 * rng.normal(size=(30, 20_000)), rng.integers(0, 20_000, size=30)
    weight = rng.uniform(0.1, 2, 20_000)
    for options, own in (({}, {}), ({"weight": torch.tensor(weight), "label_smoothing": 0.2},
                                    {"class_weight": weight, "label_smoothing": 0.2})):
        peer = torch.tensor(logits, requires_grad=True)
        expected = torch.nn.functional.cross_entropy(peer, torch.tensor(targets), **options)
        expected.backward()
        loss, grad = cross_entropy(logits, targets, **own)
        close(loss, expected.item(), 1e-12)
        close(grad, peer.grad, 1e-12)


def test_many_classes_are_summed_exactly():
    """One class with e^0 and 2²⁰ with e^-2.3: in one float32 accumulator a lane, their sum is off by 1e-4."""
    C = 2**20 + 1
    logits = np.full((1, C), -2.3, "f4")
    logits[0, 0] = 0
    expected = np.log(1 + (C - 1) * np.exp(np.float64(logits[0, 1])))
    assert cross_entropy(logits, [0])[0] == pytest.approx(expected, abs=3e-7)       # 2.5 ulp, for that of exp


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("C", [1, 7, 103, 600])
def test_a_row_has_the_same_bits_in_any_batch_of_its_size(C, dtype, rng):
    logits, targets = 3 * rng.normal(size=(24, C)).astype(dtype), rng.integers(0, C, size=24)
    options = {"class_weight": np.ones(C), "label_smoothing": 0.125}
    for given_ in ({}, options):
        nll, grad = token_nll(logits, targets), cross_entropy(logits, targets, **given_)[1]
        order = rng.permutation(24)
        same_bits(token_nll(logits[order], targets[order]), nll[order])
        same_bits(cross_entropy(logits[order], targets[order], **given_)[1], grad[order])
        others = logits.copy()
        others[1:] = rng.normal(size=(23, C))
        same_bits(cross_entropy(others, targets, **given_)[1][0], grad[0])
        same_bits(token_nll(logits[5], targets[5]), nll[5])


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_threads_gives_the_same_bits(dtype, rng):
    logits, targets = rng.normal(size=(2048, 203)).astype(dtype), rng.integers(0, 203, size=2048)
    with rc.threads(1):
        loss, grad = cross_entropy(logits, targets)
    for threads in (2, 3):
        with rc.threads(threads):
            other = cross_entropy(logits, targets)
            assert other[0] == loss
            same_bits(other[1], grad)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_impossible_class_has_no_probability_and_no_gradient(dtype, rng):
    logits = rng.normal(size=(4, 37)).astype(dtype)
    logits[:, [0, 20, 36]] = -np.inf
    losses, grad = token_nll(logits, [1, 2, 3, 0]), cross_entropy(logits, [1, 2, 3, 4])[1]
    assert np.isfinite(losses[:3]).all()
    assert losses[3] == np.inf
    assert not grad[:, [0, 20, 36]].any()
    close(grad.sum(axis=1), np.zeros(4), dtype, 4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("at", [0, 16, 36])
def test_what_is_not_finite_stays_in_its_row(wrong, at, rng):
    logits, targets = rng.normal(size=(3, 37)).astype("f4"), np.array([1, 2, 3])
    nll = token_nll(logits, targets)
    logits[1, at] = wrong
    found = token_nll(logits, targets)
    assert np.isnan(found[1])
    same_bits(found[[0, 2]], nll[[0, 2]])
    loss, grad = cross_entropy(logits, targets)
    assert np.isnan(loss)
    assert np.isnan(grad[1]).all()
    assert np.isfinite(grad[[0, 2]]).all()


def test_logits_and_targets_in_any_layout_and_type(rng):
    logits, targets = rng.normal(size=(6, 5, 14)).astype("f4"), rng.integers(0, 7, size=(6, 5))
    logits.setflags(write=False)
    strided = logits[..., ::2]
    loss, grad = cross_entropy(strided.copy(), targets)
    assert grad.shape == (6, 5, 7)
    for given_ in (targets, targets.astype("u1"), targets.astype("u8"), targets.T.copy().T, targets.tolist()):
        other = cross_entropy(strided, given_)
        assert other[0] == loss
        same_bits(other[1], grad)
    same_bits(cross_entropy(strided.swapaxes(0, 1), targets.T)[1], grad.swapaxes(0, 1))
    same_bits(cross_entropy(strided.astype(">f4"), targets)[1], grad)
    same_bits(mean_square(strided.astype(">f4"), strided + 1)[1], mean_square(strided, strided + 1)[1])


@pytest.mark.parametrize("target", [7, -1, 2**62, np.uint64(2**64 - 100), np.uint64(2**63 + 1)])
def test_a_target_that_is_no_class_is_refused(target):
    for loss in (cross_entropy, token_nll):
        with pytest.raises(IndexError, match=r"targets: got values from .* expected 0 to 6, or ignore_index=-100"):
            loss(np.zeros((1, 7)), np.array([target]))
    assert not cross_entropy(np.zeros((2, 7)), [0, 9], 9)[1][1].any()
    with pytest.raises(IndexError):
        cross_entropy(np.zeros((1, 7)), np.array([target]), 10**30)


def test_an_odd_ignore_index_ignores_its_own_value_only():
    for ignored in (-(10**30), -5, 3, 7, 10**30):
        losses = token_nll(np.zeros((3, 7)), [0, 3, 6], ignored)
        assert (losses == 0).tolist() == [False, ignored == 3, False]


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=80, deadline=None)
@given(M=st.integers(0, 40), F=st.one_of(st.integers(0, 20), st.just(700)), per=st.sampled_from([None, "row", "value"]),
       weighted=st.booleans(), targets=st.sampled_from(["f4", "f8", "i4"]), threads=st.integers(1, 2),
       seed=st.integers(0, 999))
def test_any_squared_error_equals_numpy(dtype, M, F, per, weighted, targets, threads, seed):
    rng = np.random.default_rng(seed)
    pred, target = rng.normal(size=(M, F)).astype(dtype), (9 * rng.normal(size=(M, F))).astype(targets)
    mask = None if per is None else rng.random((M, F) if per == "value" else M) < 0.7
    counted = np.ones((M, F), bool) & (True if mask is None else mask if per == "value" else mask[:, None])
    weights = rng.integers(0, 4, size=M) / 2 if weighted else None
    squares, grad, total = squared_error(pred, target, counted, weights)
    pred[~counted] = np.nan
    with rc.threads(threads):
        found = mean_square(pred, target, mask, weights=weights)
    noise = 9 * float(np.finfo(dtype).eps)
    assert found[1].dtype == dtype
    assert found[2] == pytest.approx(total, rel=1e-12)
    close(found[0], squares.sum() / (total or 1), dtype, 9 * noise)
    close(found[1], grad, dtype, 6 * noise / max(total, 1))
    assert not found[1][~counted].any()
    assert summed_squares(pred, target, mask, weights=weights) == (
        pytest.approx(squares.sum(), rel=1e-5, abs=squares.size * noise), found[2])


@pytest.mark.parametrize("options", [{}, {"mask": True}, {"weights": True}])
def test_bits_of_a_squared_error_do_not_depend_on_threads(options, rng):
    pred, target = rng.normal(size=(2, 900, 400)).astype("f4")
    own = {"mask": rng.random(pred.shape) < 0.5} if "mask" in options else {}
    own |= {"weights": rng.random(900)} if "weights" in options else {}
    found = []
    for threads in (1, 2, 3):
        with rc.threads(threads):
            _engine.give_way(-_engine.give_way(0))
            found.append(mean_square(pred, target, **own))
    for other in found[1:]:
        assert other[0] == found[0][0]
        same_bits(other[1], found[0][1])
    close(found[0][0], np.mean((pred[own.get("mask", ...)] - target[own.get("mask", ...)]).astype(float) ** 2)
          if "weights" not in own else np.average(((pred - target).astype(float) ** 2).mean(1), weights=own["weights"]),
          "float32")
