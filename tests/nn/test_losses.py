"""Cross-entropy and squared error: torch's numbers, padding that does not count, large logits."""

import numpy as np
import pytest
import torch
from support import TOLERANCE, close

from rnncore.nn import cross_entropy, length_mask, mse, token_nll

DTYPES = sorted(TOLERANCE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (6,), (6, 4), (2, 3, 4)])
def test_cross_entropy_equals_torch(rng, dtype, shape):
    logits = (3 * rng.normal(size=(*shape, 5))).astype(dtype)
    targets = np.asarray(rng.integers(0, 5, size=shape))
    peer = torch.tensor(logits.astype(float).reshape(-1, 5), requires_grad=True)
    expected = torch.nn.functional.cross_entropy(peer, torch.tensor(targets.reshape(-1)))
    expected.backward()
    loss, grad = cross_entropy(logits, targets)
    assert grad.dtype == dtype
    close(loss, expected.item(), dtype)
    close(grad, peer.grad.numpy().reshape(logits.shape), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ignored_masked_and_padded_steps_do_not_count(rng, dtype):
    """Targets, mask and lengths have the same effect as torch's ignore_index, also for NaN in the padding."""
    logits, lengths = rng.normal(size=(5, 3, 4)).astype(dtype), np.array([2, 0, 5])
    targets = rng.integers(0, 4, size=(5, 3))
    inside = length_mask(lengths, 5)
    ignored = np.where(inside, targets, -100)
    peer = torch.tensor(logits.astype(float).reshape(-1, 4), requires_grad=True)
    expected = torch.nn.functional.cross_entropy(peer, torch.tensor(ignored.reshape(-1)))
    expected.backward()
    logits[~inside] = np.nan
    for arguments in (
        {"targets": ignored},
        {"targets": targets, "mask": inside},
        {"targets": targets, "lengths": lengths},
        {"targets": np.where(inside, targets, 99), "lengths": lengths},  # garbage in the padding
        {"targets": np.where(inside, targets, 77), "ignore_index": 77},
    ):
        loss, grad = cross_entropy(logits, **arguments)
        close(loss, expected.item(), dtype)
        close(grad, peer.grad.numpy().reshape(logits.shape), dtype)
        assert not grad[~inside].any()


def test_huge_logits_do_not_overflow():
    loss, grad = cross_entropy(np.array([[1e30, 0, -1e30]], np.float32), np.array([1]))
    assert loss == np.float32(1e30)
    assert grad.tolist() == [[1.0, -1.0, 0.0]]
    loss, grad = cross_entropy(np.array([[0.0, -np.inf]]), np.array([0]))
    assert loss == 0
    assert grad.tolist() == [[0.0, 0.0]]


def test_gradients_agree_with_finite_differences(rng):
    """Central differences in f64: h² of the third derivative (≤ 1) plus rounding 1e-16/h."""
    h = 1e-5
    logits, targets = rng.normal(size=(3, 2, 4)), rng.integers(0, 4, size=(3, 2))
    wanted = rng.normal(size=logits.shape)
    mask = np.array([[1, 0], [1, 1], [0, 1]], bool)
    for loss in (
        lambda z: cross_entropy(z, targets, mask=mask),
        lambda z: mse(z, wanted, mask=mask),
    ):
        grad = loss(logits)[1]
        for index in np.ndindex(logits.shape):
            step = np.zeros_like(logits)
            step[index] = h
            slope = (loss(logits + step)[0] - loss(logits - step)[0]) / (2 * h)
            assert abs(grad[index] - slope) < 1e-9


def test_a_loss_without_counting_steps_is_zero():
    for loss, grad in (
        cross_entropy(np.ones((2, 3)), np.array([-100, -100])),
        cross_entropy(np.ones((0, 3)), np.ones(0, int)),
        mse(np.ones((2, 3)), np.zeros((2, 3)), mask=np.zeros(2, bool)),
        mse(np.ones((0, 3)), np.ones((0, 3))),
    ):
        assert loss == 0
        assert not grad.any()


def test_token_nll_gives_the_summands_of_cross_entropy(rng):
    logits, targets = rng.normal(size=(6, 2, 5)), rng.integers(0, 5, size=(6, 2))
    targets[3, 1] = -100
    nll = token_nll(logits, targets)
    assert nll[3, 1] == 0
    close(nll.sum() / 11, cross_entropy(logits, targets)[0], "float64")
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    close(nll[0, 0], -np.log(p[0, 0, targets[0, 0]]), "float64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_mse_equals_torch(rng, dtype):
    pred, target = rng.normal(size=(2, 4, 3, 5)).astype(dtype)
    peer = torch.tensor(pred.astype(float), requires_grad=True)
    expected = torch.nn.functional.mse_loss(peer, torch.tensor(target.astype(float)))
    expected.backward()
    loss, grad = mse(pred, target)
    assert grad.dtype == dtype
    close(loss, expected.item(), dtype)
    close(grad, peer.grad, dtype)


def test_mse_counts_the_values_of_the_mask(rng):
    pred, target = rng.normal(size=(2, 4, 3, 5))
    lengths = np.array([4, 1, 2])
    inside = length_mask(lengths, 4)
    chosen = (pred - target)[inside]
    pred[~inside] = target[~inside] = np.nan
    full = np.broadcast_to(inside[..., None], pred.shape)
    for arguments in ({"mask": inside}, {"mask": full}, {"lengths": lengths}):
        loss, grad = mse(pred, target, **arguments)
        close(loss, np.mean(chosen**2), "float64")
        close(grad[inside], 2 * chosen / chosen.size, "float64")
        assert not grad[~inside].any()


def test_length_mask_follows_the_layout():
    mask = length_mask([3, 0, 1], 4)
    assert mask.sum(axis=0).tolist() == [3, 0, 1]
    assert (length_mask([3, 0, 1], 4, batch_first=True) == mask.T).all()


ONES = np.ones((4, 2, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cross_entropy(ONES, np.ones((2, 4), int)), ValueError, r"targets: got shape \(2,"),
        (lambda: cross_entropy(ONES, np.ones((4, 2))), TypeError, "targets: got float64"),
        (lambda: cross_entropy(ONES, np.full((4, 2), 3)), IndexError, "from 3 to 3, expected 0 to"),
        (lambda: cross_entropy(ONES.astype(int), ONES), TypeError, "logits: got int64, expected f"),
        (
            lambda: cross_entropy(ONES, np.ones((4, 2), int), mask=np.ones(4, bool)),
            ValueError,
            r"mask: got shape \(4,\), expected \(4, 2\)",
        ),
        (
            lambda: cross_entropy(ONES, np.ones((4, 2), int), mask=np.ones((4, 2))),
            TypeError,
            "mask: got float64, expected booleans",
        ),
        (
            lambda: cross_entropy(ONES, np.ones((4, 2), int), lengths=[5, 1]),
            ValueError,
            r"lengths: got 5 in row 0, expected 2 whole numbers from 0 to 4",
        ),
        (lambda: mse(ONES, ONES[..., :2]), ValueError, r"target: got shape \(4, 2, 2\), expected"),
        (lambda: mse(ONES, ONES, lengths=[1, 2, 3]), ValueError, r"lengths: got shape \(3,\)"),
        (lambda: length_mask([-1], 3), ValueError, "got -1 in row 0, expected .* from 0 to 3"),
        (lambda: length_mask([0.5], 3), ValueError, "lengths: got 0.5 in row 0"),
    ],
)
def test_errors_say_what_was_got_and_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()
