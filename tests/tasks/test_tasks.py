"""The tasks: their targets are correct, and their baselines are the losses of predictions without memory."""

import math

import numpy as np
import pytest
from support import run_python

import rnncore.tasks
from rnncore.nn import cross_entropy, mse
from rnncore.tasks import Adding, CopyMemory, Curve, DelayedXOR, Dyck, TemporalOrder, learn

TASKS = [Adding(7), Adding(200, seed=3), CopyMemory(1), CopyMemory(30, seed=1), TemporalOrder(10),
         TemporalOrder(61), DelayedXOR(20, delay=0), DelayedXOR(30, delay=4), Dyck(2),
         Dyck(40, kinds=3, depth=4)]


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_batches_have_the_stated_form(task):
    x, target, mask = task.batch(5)
    steps = (task.steps, 5)
    assert x.shape == (steps if task.symbols else (*steps, task.features))
    assert mask.shape == steps
    assert mask.dtype == bool
    assert mask.any(axis=0).all()
    if task.symbols:
        assert x.dtype == target.dtype == np.int64
        assert x.min() >= 0
        assert x.max() < task.symbols
        assert target.shape == steps
        assert target.min() >= 0
        assert target.max() < task.outputs
        assert (target[~mask] == 0).all()
    else:
        assert target.shape == (*steps, 1)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_a_batch_is_fixed_by_seed_and_number(task):
    one, two = task.batch(6, 3), task.batch(6, 3)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    stream = list(task.batches(6, 2, start=3))
    np.testing.assert_array_equal(stream[0].x, one.x)
    if task.steps > 2:
        assert not np.array_equal(stream[1].x, one.x)
        other = type(task)(task.delay if isinstance(task, CopyMemory) else task.steps, seed=99)
        assert not np.array_equal(other.batch(6, 3).x, one.x)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_the_baseline_is_the_loss_of_the_best_prediction_without_memory(task):
    batch = task.batch(4000)
    if task.outputs == 1:
        answer = np.ones(batch.target.shape)
        loss, _ = mse(answer, batch.target, mask=batch.mask)
        # squared errors of a sum of two uniform numbers: deviation √(7/180), over 4,000
        assert loss == pytest.approx(task.baseline, abs=4 * math.sqrt(7 / 180 / 4000))
        return
    logits = np.zeros((*batch.target.shape, task.outputs))
    if isinstance(task, CopyMemory):  # blanks are certain, then each of the 8 symbols is equally likely
        logits[:-10, :, 1:] = logits[-10:, :, 0] = -50.0
    loss, _ = cross_entropy(logits, batch.target, mask=batch.mask)
    assert loss == pytest.approx(task.baseline, rel=1e-12)
    # no other prediction without memory is better: the classes are equally frequent
    asked = batch.target[-10:] - 1 if isinstance(task, CopyMemory) else batch.target[batch.mask]
    share = np.bincount(asked.ravel()) / asked.size
    kinds = 8 if isinstance(task, CopyMemory) else task.outputs
    assert share == pytest.approx(1 / kinds, abs=4.5 / math.sqrt(4000))


def test_adding_marks_one_number_in_each_half():
    for steps in (2, 7, 50):
        x, target, mask = Adding(steps).batch(300)
        half = steps // 2
        assert (x[:half, :, 1].sum(axis=0) == 1).all()
        assert (x[half:, :, 1].sum(axis=0) == 1).all()
        np.testing.assert_allclose((x[..., 0] * x[..., 1]).sum(axis=0), target[-1, :, 0], rtol=1e-6)
        assert mask.sum() == 300
        assert (target[:-1] == 0).all()
    places = Adding(8).batch(2000).x[..., 1].sum(axis=1)
    assert (places > 0).all()


def test_copy_memory_targets_are_the_symbols_shown():
    for delay in (1, 2, 30):
        x, target, mask = CopyMemory(delay).batch(50)
        assert len(x) == delay + 20
        np.testing.assert_array_equal(x[:10], target[-10:])
        assert set(np.unique(x[:10])) == set(range(1, 9))
        assert (x[10:] == 0).sum() == (delay + 9) * 50
        np.testing.assert_array_equal(np.argmax(x == 9, axis=0), 10 + delay - 1)
        assert (target[:-10] == 0).all()
        assert mask.all()
        assert CopyMemory(delay).baseline == 10 * math.log(8) / (delay + 20)


def test_temporal_order_shows_two_symbols_in_their_intervals():
    x, target, mask = TemporalOrder(60).batch(400)
    for b in range(400):
        places = np.flatnonzero(x[:, b] < 2)
        assert len(places) == 2
        assert 6 <= places[0] < 12
        assert 30 <= places[1] < 36
        assert target[-1, b] == 2 * x[places[0], b] + x[places[1], b]
    assert mask.sum() == 400
    assert set(np.unique(x)) == set(range(6))


def test_delayed_xor_needs_both_bits():
    for delay in (0, 1, 6):
        x, target, mask = DelayedXOR(12, delay=delay).batch(3)
        for b in range(3):
            for t in range(12):
                assert mask[t, b] == (t > delay)
                if t > delay:
                    assert target[t, b] == x[t - delay, b] ^ x[t - delay - 1, b]


def test_dyck_words_balance():
    task = Dyck(30, kinds=3, depth=4, seed=2)
    x, target, mask = task.batch(200)
    deepest = 0
    for b in range(200):
        stack = []
        for symbol, kind, asked in zip(x[:, b], target[:, b], mask[:, b], strict=True):
            assert asked == (symbol == 3)
            if asked:
                assert stack.pop() == kind
            else:
                stack.append(symbol)
            deepest = max(deepest, len(stack))
        assert stack == []
    assert deepest == 4
    text = task.write(x[:, 0], target[:, 0])
    while text != (text := text.replace("()", "").replace("[]", "").replace("{}", "")):
        pass
    assert text == ""


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_networks_fit_their_task(task):
    network = task.network("gru", 4, seed=0, dtype="float64")
    batch = task.batch(3)
    record = network.record(batch.x, train=True)
    loss, grad = network.loss(record.output, batch.target, counted=batch.mask)
    assert math.isfinite(loss)
    assert record.backward(grad).parameters.keys() == network.parameters.keys()
    assert (grad[~batch.mask] == 0).all()


def test_learning_ends_at_its_goal_or_budget():
    task = DelayedXOR(20, delay=0)
    told = []
    curve = learn(task, task.network("gru", 16, seed=0), updates=600, goal=0.1, lr=0.02, every=50,
                  tested=64, progress=lambda done, total, info: told.append(done))
    assert curve.reached
    assert curve.losses[-1] < 0.1 <= curve.losses[-2]
    assert curve.updates == told == [50 * (i + 1) for i in range(len(told))]
    assert len(curve.seconds) == len(curve.losses)
    again = learn(task, task.network("gru", 16, seed=0), updates=100, lr=0.02, every=50, tested=64)
    assert again.losses == curve.losses[:2]
    assert not again.reached
    assert learn(task, task.network("rnn-tanh", 4), seconds=0.05, every=10**6).updates[-1] > 0
    with pytest.raises(ValueError, match="expected a budget"):
        learn(task, task.network("gru", 4))


def test_a_network_of_another_loss_is_refused():
    with pytest.raises(ValueError, match="network: got one with loss 'cross_entropy', expected 'mse'"):
        learn(Adding(5), Dyck(4).network("gru", 3), updates=1)


def test_learning_does_not_import_the_models():
    """The tasks do not import the models, which are built on top of them."""
    run_python("""
import sys
from rnncore.tasks import Dyck, learn
learn(Dyck(4), Dyck(4).network("gru", 3), updates=1, tested=4)
assert not [name for name in sys.modules if name.startswith("rnncore.models")]
""")


@pytest.mark.parametrize(("make", "name"), [
    (lambda: Adding(1), "steps"), (lambda: Adding(2.0), "steps"),
    (lambda: Adding(5, seed=-1), "seed"),
    (lambda: CopyMemory(0), "delay"), (lambda: TemporalOrder(9), "steps"),
    (lambda: DelayedXOR(5, delay=4), "steps"), (lambda: Dyck(7), "steps"),
    (lambda: Dyck(8, kinds=1), "kinds"), (lambda: Dyck(8, depth=0), "depth"),
    (lambda: Adding(5).batch(0), "batch_size"), (lambda: Adding(5).batch(1, -1), "number"),
])
def test_wrong_arguments_are_refused_by_name(make, name):
    with pytest.raises(ValueError, match=f"{name}: got"):
        make()


def test_reprs_give_settings_and_sizes():
    assert repr(DelayedXOR(20, delay=3)) == "DelayedXOR(steps=20, delay=3, seed=0)"
    curve = Curve([100, 200], [0.5, 1.0], [0.3, 0.25], reached=True)
    assert repr(curve) == "Curve(2 tests in 200 updates, best=0.25, reached=True)"
    assert repr(Curve()) == "Curve(0 tests in 0 updates, best=inf, reached=False)"


def test_dir_of_the_package_shows_its_public_names():
    assert dir(rnncore.tasks) == sorted(rnncore.tasks.__all__)


@pytest.mark.parametrize(("options", "message"), [
    ({"every": 0}, "every: got 0"), ({"every": -1}, "every: got -1"), ({"every": 0.5}, "every: got 0.5"),
    ({"every": True}, "every: got True"), ({"updates": -1}, "updates: got -1"), ({"updates": 2.5}, "updates: got 2.5"),
    ({"seconds": math.nan}, "seconds: got nan"), ({"seconds": -1}, "seconds: got -1"),
    ({"updates": None, "seconds": math.inf}, "seconds: got inf"), ({"tested": 0}, "tested: got 0"),
])
def test_a_budget_that_would_never_end_is_refused(options, message):
    task = Adding(5, seed=0)
    network = task.network("rnn", 3, seed=0)
    with pytest.raises(ValueError, match=message):
        learn(task, network, **{"updates": 3, **options})
