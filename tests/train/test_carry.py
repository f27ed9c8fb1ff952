"""The state is carried where the data says that a window continues the one before it, and nowhere else."""

import math

import numpy as np
import pytest
from crafted import save_crafted
from support import same_bits

import rnncore as rc
from rnncore.data import Corpus, LazyWindows, Window, batches
from rnncore.io.safetensors import load_arrays
from rnncore.models.networks.feed import SymbolFeed
from rnncore.nn import Linear, SequenceModel, cross_entropy, sequence_model
from rnncore.optim import SGD, Adam
from rnncore.train import Trainer, evaluate, fit_epochs, load_model

CORPUS = Corpus("the cat sat on the mat, and the rat sat on the cat. " * 30)
TOKENS = len(CORPUS.vocabulary)
WINDOWS = batches(CORPUS.train, 4, 25)


def text_trainer(windows=WINDOWS, **options):
    model = sequence_model("lstm", TOKENS, hidden_size=8, embedding_size=4, seed=0)
    return Trainer(model, Adam(model, 0.02), windows, **options)


def trained(windows, updates=20, **options):
    return text_trainer(windows, **options).fit(updates, progress=False).model.state_dict()


def real_model(features=1, batch_first=False, bidirectional=False, hidden=5, dtype="float64"):
    layer = rc.GRU(features, hidden, batch_first=batch_first, bidirectional=bidirectional, dtype=dtype, seed=0)
    return SequenceModel(None, layer, Linear(hidden * layer.directions, 1, dtype=dtype, seed=1), loss="mse")


def initial_states(trainer, updates):
    """The states that the first updates begin with."""
    seen, record = [], trainer.model.record
    trainer.model.record = lambda x, state=None, **k: seen.append(state) or record(x, state, **k)
    trainer.fit(updates, progress=False)
    return seen


def repeat_the_first(rng, count=8, steps=12, rows=16):
    """Unrelated batches; the target of every step is the first input of its row."""
    x = rng.normal(size=(count, steps, rows, 1)).astype("float32")
    return [(one, np.repeat(one[:1], steps, axis=0)) for one in x]


# ---- batches that are independent of each other ------------------------------------------------


def test_unrelated_batches_are_learnt_by_default(rng):
    data = repeat_the_first(rng)
    layer = rc.GRU(1, 24, seed=0)
    model = SequenceModel(None, layer, Linear(24, 1, seed=1), loss="mse")
    trainer = Trainer(model, Adam(model, 0.01), data, valid=data)
    assert trainer.fit(800, progress=False).evaluate() < 0.01
    # What the state of another batch does to these predictions: the reason for the default.
    assert evaluate(model, data, carry=True) > 0.1


@pytest.mark.parametrize("form", ["pairs", "windows", "named", "tasks", "lazy", "own sequence"])
def test_data_that_says_nothing_is_independent(form, rng):
    adding = rc.tasks.Adding(6, seed=1)
    given = {
        "pairs": [(b.x, b.target) for b in adding.batches(3, 4)],
        "windows": [b.window for b in adding.batches(3, 4)],
        "named": [{"x": b.x, "target": b.target} for b in adding.batches(3, 4)],
        "tasks": list(adding.batches(3, 4)),
        "lazy": LazyWindows(lambda n: adding.batch(3, n), range(4)),
        "own sequence": Own(list(adding.batches(3, 4))),
    }[form]
    model = real_model(features=2)
    trainer = Trainer(model, SGD(model, 0.1), given)
    assert initial_states(trainer, 6) == [None] * 6
    total = [model.summed_loss(model(b.x)[0], b.target, counted=b.mask if form not in ("pairs", "named") else None)
             for b in adding.batches(3, 4)]
    expected = sum(loss for loss, _ in total) / sum(count for _, count in total)
    assert evaluate(model, given) == pytest.approx(expected, rel=1e-12)


class Own(list):
    """A user's own sequence of windows."""


# ---- data that says that its windows continue each other ----------------------------------------


def test_text_is_trained_as_with_carry():
    carried = trained(WINDOWS)
    same_bits(carried, trained(WINDOWS, carry=True))
    same_bits(carried, trained(list(WINDOWS), carry=True))
    apart = trained(WINDOWS, carry=False)
    same_bits(apart, trained(list(WINDOWS)))        # a list says nothing
    assert any((carried[name] != apart[name]).any() for name in carried)


def test_a_statement_of_a_users_own_sequence_is_heard():
    own = Own(WINDOWS)
    own.continues = True
    same_bits(trained(own), trained(WINDOWS))
    own.continues = 1
    with pytest.raises(TypeError, match="continues: got 1, expected True or False"):
        trained(own)


def test_slices_continue_unless_they_leave_windows_out():
    states = initial_states(text_trainer(WINDOWS[2:9]), 4)
    assert states[0] is None
    assert all(state is not None for state in states[1:])
    for apart in (WINDOWS[::2], WINDOWS[::-1], WINDOWS[::-1][2:6]):
        assert initial_states(text_trainer(apart), 3) == [None] * 3
    lazy = LazyWindows(WINDOWS.__getitem__, range(len(WINDOWS)), continues=True)
    assert lazy[3:6].continues
    assert not lazy[::3].continues
    same_bits(trained(lazy[2:9]), trained(WINDOWS[2:9]))


def test_windows_that_mark_fresh_rows_carry_the_others(rng):
    """Only windows with `fresh` continue: the third, without one, is independent."""
    model = real_model()
    x, targets = rng.normal(size=(2, 4, 6, 3, 1))
    fresh = np.array([False, True, False])
    windows = [Window(x[0], targets[0], fresh=np.ones(3, bool)), Window(x[1], targets[1], fresh=fresh),
               Window(x[2], targets[2]), Window(x[3], targets[3], fresh=~fresh)]
    states = initial_states(Trainer(model, SGD(model, 0.0), windows), 4)
    assert states[0] is None
    assert states[2] is None
    after = [model(x[0])[1], model(x[2])[1]]
    for state, before, rows in ((states[1], after[0], fresh), (states[3], after[1], ~fresh)):
        same_bits(state, np.where(rows[:, None], 0.0, before))
    expected = np.mean([
        (model(x[i], state)[0] - targets[i]) ** 2 for i, state in enumerate(states)
    ])
    assert evaluate(model, windows) == pytest.approx(expected, rel=1e-12)


def test_epochs_carry_as_the_data_says():
    def history(valid, **options):
        model = sequence_model("gru", TOKENS, hidden_size=8, seed=0)
        train = batches(CORPUS.train, 4, 25)
        return fit_epochs(model, Adam(model, 0.02), lambda: train, epochs=2, patience=2, valid=valid, **options)

    valid = batches(CORPUS.valid, 2, 10)
    assert history(valid) == history(valid, carry=True) == history(list(valid), carry=True)
    assert history(list(valid)) != history(valid)
    assert history(valid, carry=False) != history(valid)


def test_recurrent_models_carry_through_long_sequences():
    feed = SymbolFeed(3)
    windows = feed.windows([np.arange(40) % 3, np.arange(9) % 3], 2, 8, range(2))
    assert windows.continues
    model = rc.nn.make_model("gru", 3, tokens=4, hidden_size=5, seed=0)
    same = evaluate(model, windows), evaluate(model, list(windows)), evaluate(model, windows, carry=True)
    assert same[0] == same[1] == same[2] != evaluate(model, windows, carry=False)


# ---- where nothing can be carried ----------------------------------------------------------------


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_bidirectional_layer_never_carries(batch_first, rng):
    model = real_model(bidirectional=True, batch_first=batch_first)
    x, targets = rng.normal(size=(2, 3, 6, 6, 1))
    windows = LazyWindows(lambda i: Window(x[i], targets[i], fresh=np.zeros(6, bool)), range(3), continues=True)
    trainer = Trainer(model, SGD(model, 0.1), windows)
    assert initial_states(trainer, 3) == [None] * 3
    expected = np.mean([(model(x[i])[0] - targets[i]) ** 2 for i in range(3)])
    assert evaluate(model, windows) == pytest.approx(expected, rel=1e-12)
    refused = r"^carry: got True with a bidirectional layer, expected None or False: the reverse direction starts at"
    with pytest.raises(ValueError, match=refused):
        Trainer(model, SGD(model, 0.1), windows, carry=True)
    with pytest.raises(ValueError, match=refused):
        evaluate(model, windows, carry=True)
    with pytest.raises(ValueError, match=refused):
        trainer.carry = True
    assert trainer.carry is None


@pytest.mark.parametrize("batch_first", [False, True])
def test_rows_that_differ_from_window_to_window_are_refused_where_the_state_is_carried(batch_first, rng):
    shapes = [(4, 6, 1), (3, 6, 1)] if batch_first else [(6, 4, 1), (6, 3, 1)]
    windows = [(rng.normal(size=shape), rng.normal(size=shape)) for shape in shapes]
    model = real_model(batch_first=batch_first)
    trainer = Trainer(model, SGD(model, 0.1), windows, carry=True)
    trainer.update()
    before = trainer.model.state_dict()
    refused = r"^batches\[1\]: x: got 3 rows, expected 4 rows, as in the window before, .*pass carry=False"
    with pytest.raises(ValueError, match=refused):
        trainer.update()
    with pytest.raises(ValueError, match=refused):
        evaluate(model, windows, carry=True)
    same_bits(trainer.model.state_dict(), before)
    assert Trainer(model, SGD(model, 0.1), windows).fit(3, progress=False).updates == 3     # independent by default
    marked = [Window(*window, fresh=np.ones(rows, bool)) for window, rows in zip(windows, (4, 3), strict=True)]
    assert Trainer(model, SGD(model, 0.1), marked).fit(3, progress=False).updates == 3      # nothing is carried here


def test_one_sequence_without_a_batch_axis_can_be_carried(rng):
    model, x = real_model(), rng.normal(size=(3, 5, 1))
    windows = [(one, one) for one in x]
    whole = np.concatenate(list(x))
    assert evaluate(model, windows, carry=True) == pytest.approx(evaluate(model, [(whole, whole)]), rel=1e-12)
    with pytest.raises(ValueError, match=r"batches\[1\]: x: got 1 rows, expected one sequence without a batch axis"):
        evaluate(model, [windows[0], (x[1][:, None], x[1][:, None])], carry=True)
    with pytest.raises(ValueError, match=r"batches\[0\]: fresh: got bool .*, expected None for one sequence"):
        evaluate(model, [Window(x[0], x[0], fresh=np.array([True]))])


def test_wrong_values_of_carry_are_refused():
    trainer = text_trainer()
    for wrong in (1, "yes", 0.0):
        with pytest.raises(TypeError, match=r"carry: got .*, expected True or False, or None"):
            trainer.carry = wrong
        with pytest.raises(TypeError, match="carry: got"):
            evaluate(trainer.model, WINDOWS, carry=wrong)


def test_the_repr_says_whether_the_state_is_carried():
    for windows, carry, told in ((WINDOWS, None, "state carried,"), (WINDOWS, False, "state not carried,"),
                                 (list(WINDOWS), None, "state not carried,"), (list(WINDOWS), True, "state carried,"),
                                 (marked_windows(), None, "state carried where fresh is given,")):
        assert told in repr(text_trainer(windows, carry=carry))


# ---- masks: told apart from lengths by name -------------------------------------------------------


@pytest.mark.parametrize("batch_first", [False, True])
def test_masks_are_read_by_their_names(batch_first, rng):
    model = real_model(batch_first=batch_first)
    shape = (4, 6) if batch_first else (6, 4)
    x, targets = rng.normal(size=(2, *shape, 1))
    mask = rng.random(shape) < 0.5
    expected = np.mean((model(x)[0] - targets)[mask] ** 2)
    for window in ({"x": x, "targets": targets, "mask": mask}, {"mask": mask, "target": targets, "x": x},
                   Window(x, targets, counted=mask), rc.tasks.Batch(x, targets, mask)):
        assert evaluate(model, [window]) == pytest.approx(expected, rel=1e-12)
        trainer = Trainer(model, SGD(model, 0.0), [window])
        assert trainer.update() == pytest.approx(expected, rel=1e-12)
        assert trainer.counted == mask.sum()


def test_lengths_are_read_by_position_and_by_name(rng):
    model = real_model()
    x, targets, lengths = *rng.normal(size=(2, 6, 3, 1)), np.array([6, 2, 4])
    inside = np.arange(6)[:, None] < lengths
    expected = np.mean((model(x)[0] - targets)[inside] ** 2)
    named = {"lengths": lengths, "x": x, "targets": targets}
    for window in ((x, targets, lengths), [x, targets, lengths.tolist()], named):
        assert evaluate(model, [window]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("task", [rc.tasks.Adding(12), rc.tasks.TemporalOrder(12), rc.tasks.Dyck(12)])
def test_batches_of_a_task_are_trained_on_directly(task):
    model = task.network("gru", 8, seed=0, dtype="float64")
    data = list(task.batches(4, 3))
    windows = [batch.window for batch in data]
    assert evaluate(model, data) == evaluate(model, windows)
    losses = [Trainer(model, SGD(model, 0.0), given).fit(3, progress=False).losses for given in (data, windows)]
    assert losses[0] == losses[1]
    assert rc.data.fingerprint(data) == rc.data.fingerprint(windows)


X = np.zeros((6, 3), int)


@pytest.mark.parametrize(
    ("window", "error", "message"),
    [
        ((X, X, np.ones((6, 3), bool)), TypeError,
         r"got booleans as its third part, expected lengths, whole numbers \(B,\); give a mask by its name"),
        ((X, X, np.ones(3, bool)), TypeError, "got booleans as its third part"),
        ((X, X, np.ones((6, 3), int)), ValueError, r"lengths: got shape \(6, 3\), expected \(3,\)"),
        ((X, X, [7, 1, 1]), ValueError, "lengths: got 7 in row 0"),
        ({"x": X, "y": X}, TypeError, "got a part named 'y', which is unknown; expected x, targets"),
        ({"x": X, "target": X, "targets": X}, TypeError, "named 'targets', which is a second name of targets"),
        ({"x": X, "mask": X > 0}, TypeError, "got the parts 'x', 'mask', expected targets too"),
        ({3: X}, TypeError, "got a part named 3, which is unknown"),
        ({}, TypeError, "got the parts none, expected x and targets too"),
        (Window(X, X, counted=np.ones((3, 6), bool)), ValueError, r"counted: got bool values of shape \(3, 6\)"),
        (Window(X, X, counted=np.ones((6, 3))), ValueError, "counted: got float64 values"),
        (Window(X, X, fresh=np.ones(2, bool)), ValueError, r"fresh: got bool .*\(2,\), expected booleans \(3,\)"),
        ((X, X[:4]), ValueError, r"targets: got shape \(4, 3\), expected \(6, 3\)"),
        ((X, X + 0.5), TypeError, "targets: got float64, expected integers"),
        ((X, X + 99), IndexError, "targets: got values from 99 to 99"),
        ((X + 0.5, X), TypeError, "got float64, expected integers"),
        ((X + 99, X), IndexError, "got"),
    ],
)
def test_a_window_that_does_not_fit_is_named(window, error, message):
    """In training and in evaluation, as the second window of a sequence that is not looked through beforehand."""
    windows = LazyWindows([(X, X), window].__getitem__, range(2))
    model = sequence_model("gru", 5, hidden_size=4, seed=0)
    trainer = Trainer(model, SGD(model, 0.1), windows)
    trainer.update()
    for run in (trainer.update, lambda: evaluate(model, windows)):
        with pytest.raises(error, match=r"^batches\[1\]: .*" + message):
            run()
    assert trainer.updates == 1


def test_errors_of_callbacks_are_their_own():
    trainer = text_trainer(callbacks=[lambda trainer: int("ten")])
    with pytest.raises(ValueError, match=r"^invalid literal"):
        trainer.fit(1, progress=False)


# ---- checkpoints ----------------------------------------------------------------------------------


def marked_windows():
    return [Window(x, y, fresh=np.arange(4) == i % 4) for i, (x, y) in enumerate(WINDOWS)]


RUNS = {
    "text": (lambda: WINDOWS, {}, True),
    "a part of a text": (lambda: WINDOWS[1:9], {}, True),
    "a list, carried": (lambda: list(WINDOWS), {"carry": True}, True),
    "a list": (lambda: list(WINDOWS), {}, False),
    "rows marked": (marked_windows, {}, None),
    "computed": (lambda: LazyWindows(WINDOWS.__getitem__, range(14)), {}, None),
    "computed and marked": (lambda: LazyWindows(marked_windows().__getitem__, range(14)), {}, None),
    "by name": (lambda: [{"x": x, "target": y} for x, y in WINDOWS], {}, False),
    "not carried": (lambda: WINDOWS, {"carry": False}, False),
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_is_resumed_to_the_same_bits(tmp_path, kind):
    make, options, carry = RUNS[kind]
    path = tmp_path / "run"
    whole = text_trainer(make(), **options).fit(11, progress=False)
    text_trainer(make(), **options).fit(5, progress=False, checkpoint=path)
    assert load_model(path)[1]["carry"] is carry
    resumed = text_trainer(make(), **options).resume(path)
    same_bits(resumed.fit(6, progress=False).model.state_dict(), whole.model.state_dict())
    assert resumed.losses == whole.losses


def test_checkpoints_from_before_the_data_said_so_are_resumed_or_refused(tmp_path):
    """They have True for every run with the default, and False for runs with carry=False."""
    path = tmp_path / "run"

    def write(windows, carry):
        text_trainer(windows, carry=carry).fit(5, progress=False, checkpoint=path)
        arrays, metadata = load_arrays(path)
        assert metadata["carry"] is carry
        save_crafted(path, arrays, metadata)

    write(WINDOWS, True)
    assert text_trainer(WINDOWS).resume(path).updates == 5
    write(list(WINDOWS), False)
    assert text_trainer(list(WINDOWS)).resume(path).updates == 5
    write(list(WINDOWS), True)
    with pytest.raises(ValueError, match=r"its carry is True, this run's is False: .* with carry=True"):
        text_trainer(list(WINDOWS)).resume(path)
    assert text_trainer(list(WINDOWS), carry=True).resume(path).updates == 5
    write(marked_windows(), True)
    with pytest.raises(ValueError, match=r"its carry is True, this run's is None: .* with carry=True"):
        text_trainer(marked_windows()).resume(path)


def test_evaluation_of_text_by_hand():
    """Window after window with the state carried, by the loss of each prediction."""
    model = text_trainer().model.astype("float64")
    total, count, state = 0.0, 0, None
    for x, targets in WINDOWS:
        logits, state = model(x, state)
        total, count = total + cross_entropy(logits, targets)[0] * targets.size, count + targets.size
    assert evaluate(model, WINDOWS) == pytest.approx(total / count / math.log(2), rel=1e-12)
