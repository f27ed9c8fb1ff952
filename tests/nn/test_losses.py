"""Cross-entropy and squared error: torch's numbers, padding that does not count, large logits."""

import numpy as np
import pytest
import torch
from support import TOLERANCE, close

from rnncore.nn import cross_entropy, length_mask, mse, token_nll
from rnncore.nn.losses import mean_nll, mean_square, summed_nll, summed_squares

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
        {"targets": torch.tensor(targets), "lengths": torch.tensor(lengths)},
        {"targets": targets, "mask": torch.tensor(inside)},
        {"targets": targets, "mask": (inside * np.uint8(200)).view(bool)},
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


@pytest.mark.parametrize("shape", [(), (7,), (2, 2, 64, 16), (1, 2, 1, 2, 1, 3, 2), (1,) * 30 + (2, 3)])
def test_mse_takes_any_number_of_axes(shape, rng):
    pred = rng.normal(size=shape)
    loss, grad = mse(pred, np.zeros(shape))
    assert grad.shape == shape
    close(loss, (pred ** 2).mean(), "float64")
    close(grad, 2 * pred / pred.size, "float64")


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


@pytest.mark.parametrize("true", [1, 2, 255])
def test_the_bytes_of_a_mask_are_true_unless_they_are_0(true, rng):
    """As those of a picture's mask of 0 and 255 that is seen as bool."""
    pred, target, mask = *rng.normal(size=(2, 5, 4, 3)), rng.random((5, 4, 3)) < 0.5
    seen = (mask * np.uint8(true)).view(bool)
    for one in (mask, mask[..., 0]):
        same = seen if one.ndim == 3 else seen[..., 0]
        found, grad, counted = mean_square(pred, target, same)
        expected, gradient, number = mean_square(pred, target, one)
        assert (found, counted) == (expected, number)
        np.testing.assert_array_equal(grad, gradient)
        assert summed_squares(pred, target, same) == summed_squares(pred, target, one)


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


# ---- weights of classes and of steps, label smoothing


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_class_weights_and_label_smoothing_are_those_of_torch(rng, smoothing, weighted, dtype):
    logits, targets = (4 * rng.normal(size=(6, 3, 5))).astype(dtype), rng.integers(0, 5, (6, 3))
    targets[1, 2] = -100
    weight = rng.uniform(0.1, 3, 5) if weighted else None
    loss, grad = cross_entropy(logits, targets, class_weight=weight, label_smoothing=smoothing)
    theirs = torch.tensor(logits.reshape(-1, 5), requires_grad=True)
    given = None if weight is None else torch.tensor(weight.astype(dtype))
    wanted = torch.nn.CrossEntropyLoss(given, label_smoothing=smoothing)(theirs, torch.tensor(targets.ravel()))
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=TOLERANCE[dtype])
    close(grad.reshape(-1, 5), theirs.grad.numpy(), dtype)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradients_of_weighted_losses_equal_finite_differences(rng, smoothing):
    logits, targets = rng.normal(size=(4, 2, 3)), rng.integers(0, 3, (4, 2))
    options = {"class_weight": rng.uniform(0.1, 3, 3), "label_smoothing": smoothing,
               "weights": rng.uniform(0, 2, (4, 2)), "mask": rng.random((4, 2)) < 0.8}
    _, grad = cross_entropy(logits, targets, **options)
    pred, aims = rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 2, 3))
    own = {"weights": options["weights"], "mask": rng.random((4, 2, 3)) < 0.8}
    _, slope = mse(pred, aims, **own)
    h = 1e-5  # truncation h², rounding 1e-16/h
    for at in np.ndindex(4, 2, 3):
        step = np.zeros((4, 2, 3))
        step[at] = h
        rise = [cross_entropy(logits + s, targets, **options)[0] for s in (step, -step)]
        assert (rise[0] - rise[1]) / (2 * h) == pytest.approx(grad[at], abs=1e-9)
        rise = [mse(pred + s, aims, **own)[0] for s in (step, -step)]
        assert (rise[0] - rise[1]) / (2 * h) == pytest.approx(slope[at], abs=1e-9)


def test_whole_weights_are_repetitions(rng):
    logits, targets, weights = rng.normal(size=(7, 3)), rng.integers(0, 3, 7), rng.integers(0, 4, 7)
    options = {"class_weight": rng.uniform(0.1, 3, 3), "label_smoothing": 0.1}
    loss, grad, total = mean_nll(logits, targets, weights=weights, **options)
    rows = np.repeat(np.arange(7), weights)
    wanted, each, count = mean_nll(logits[rows], targets[rows], **options)
    assert loss == pytest.approx(wanted, rel=1e-14)
    assert total == pytest.approx(count, rel=1e-14)
    summed = np.zeros_like(grad)
    np.add.at(summed, rows, each)
    np.testing.assert_allclose(grad, summed, atol=1e-15)
    part = summed_nll(logits, targets, weights=weights, **options)
    assert part[0] / part[1] == pytest.approx(wanted, rel=1e-14)

    pred, aims = rng.normal(size=(2, 7, 3))
    loss, grad, total = mean_square(pred, aims, weights=weights)
    wanted, each, count = mean_square(pred[rows], aims[rows])
    assert (loss, total) == pytest.approx((wanted, count), rel=1e-14)
    summed = np.zeros_like(grad)
    np.add.at(summed, rows, each)
    np.testing.assert_allclose(grad, summed, atol=1e-15)
    assert summed_squares(pred, aims, weights=weights) == pytest.approx((wanted * count, count), rel=1e-14)


def test_nothing_but_weights_of_zero_is_no_loss(rng):
    logits, targets = rng.normal(size=(2, 3)), np.array([0, 2])
    for options in ({"weights": [0, 0]}, {"class_weight": [0, 1, 0]}):
        loss, grad = cross_entropy(logits, targets, **options)
        assert loss == 0
        assert not grad.any()
    assert mse(logits, logits + 1, weights=[0, 0])[0] == 0


@pytest.mark.parametrize(("name", "value", "message"), [
    ("weights", [1, -1], "weights: got -1"), ("weights", [1, np.nan], "weights: got nan"),
    ("weights", [1, np.inf], "weights: got inf"), ("weights", [1], r"weights: got shape \(1,\), expected \(2,\)"),
    ("weights", ["a", "b"], "weights: got <U1"), ("class_weight", [1, 2], r"class_weight: got shape \(2,\)"),
    ("class_weight", [1, -2, 1], "class_weight: got -2"), ("label_smoothing", 1.0, "label_smoothing: got 1.0"),
    ("label_smoothing", -0.1, "label_smoothing: got -0.1"),
])
def test_wrong_weights_are_refused_by_name(name, value, message):
    with pytest.raises((ValueError, TypeError), match=message):
        cross_entropy(np.zeros((2, 3)), [0, 2], **{name: value})


@pytest.mark.parametrize(("loss", "name", "value"), [
    *((loss, "ignore_index", value) for loss in (cross_entropy, token_nll) for value in ([], None, 1.5, True)),
    *((loss, name, [[1], [1, 2]]) for loss in (cross_entropy, token_nll, mse) for name in ("lengths", "mask")),
    (mse, "target", np.ones((3, 2, 4)) * 1j), (mse, "target", np.full((3, 2, 4), "a")),
])
def test_wrong_arguments_are_refused_by_name(rng, loss, name, value):
    x = rng.normal(size=(3, 2, 4))
    fits = (x, x[::-1]) if loss is mse else (x, rng.integers(4, size=(3, 2)))
    with pytest.raises((TypeError, ValueError), match=f"^{name}: got"):
        loss(*fits[: 1 if name == "target" else 2], **{name: value})
