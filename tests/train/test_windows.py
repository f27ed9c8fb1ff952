"""Windows with masks of counted values and fresh rows; replaced data; epochs."""

import json
import math

import numpy as np
import pytest
from crafted import save_crafted
from support import same_bits

import rnncore as rc
from rnncore.data import Corpus, LazyWindows, Window, batches, fingerprint
from rnncore.io.fields import DamagedFileError
from rnncore.io.safetensors import load_arrays
from rnncore.nn import Linear, SequenceModel, sequence_model
from rnncore.optim import SGD, Adam
from rnncore.train import Trainer, evaluate, fit_epochs

CORPUS = Corpus("the cat sat on the mat, and the rat sat on the cat. " * 30)
TOKENS = len(CORPUS.vocabulary)
WINDOWS = batches(CORPUS.train, 4, 25)


def make(windows=WINDOWS, cell="lstm", optimiser=Adam, **options):
    model = sequence_model(cell, TOKENS, hidden_size=8, embedding_size=4, seed=0)
    return Trainer(model, optimiser(model, 0.02), windows, **options)


def test_windows_and_tuples_are_the_same():
    whole = make().fit(20, progress=False)
    named = make([Window(x, targets) for x, targets in WINDOWS], carry=True).fit(20, progress=False)
    same_bits(named.model.state_dict(), whole.model.state_dict())
    assert fingerprint(named.batches) == fingerprint(WINDOWS)
    lazy = make(LazyWindows(WINDOWS.__getitem__, range(len(WINDOWS)), continues=True)).fit(20, progress=False)
    same_bits(lazy.model.state_dict(), whole.model.state_dict())


def test_a_digest_depends_on_all_parts_of_a_window():
    x = np.arange(6).reshape(3, 2)
    parts = [None, np.array([3, 1]), np.ones((3, 2), bool), np.array([True, False])]
    known = {
        fingerprint([Window(x, x, lengths, counted, fresh)])
        for lengths in parts[:2] for counted in (None, parts[2]) for fresh in (None, parts[3])
    }  # fmt: skip
    assert len(known) == 8


@pytest.mark.parametrize("cell", ["rnn-tanh", "gru", "lstm"])
def test_rows_marked_fresh_begin_in_the_zero_state(cell, rng):
    """Row 1 begins in the second of two windows: its predictions there are those of that window alone."""
    first, second = rng.integers(TOKENS, size=(2, 2, 7, 3))
    fresh = np.array([False, True, False])
    model = sequence_model(cell, TOKENS, hidden_size=8, seed=1, dtype="float64")
    _, state = model(first[0])
    carried, _ = model(second[0], state)
    alone, _ = model(second[0])
    expected = np.where(fresh[:, None], alone, carried)
    loss = model.loss(model(first[0])[0], first[1])[0], model.loss(expected, second[1])[0]
    windows = [Window(*first), Window(*second, fresh=fresh)]
    assert evaluate(model, windows) == pytest.approx(np.mean(loss) / math.log(2), rel=1e-12)
    trainer = Trainer(model, SGD(model, 0.0), windows)
    trainer.fit(4, progress=False)  # at a rate of 0 all rounds are alike
    assert trainer.losses == pytest.approx([*loss, *loss], rel=1e-12)


def test_only_counted_steps_have_gradients(rng):
    layer, head = rc.GRU(2, 4, dtype="float64", seed=0), Linear(4, 2, dtype="float64", seed=0)
    model = SequenceModel(None, layer, head, loss="mse")
    x, wanted = rng.normal(size=(2, 6, 3, 2))
    counted = rng.random((6, 3, 2)) < 0.7
    holes = np.where(counted, wanted, np.nan)
    trainer = Trainer(model, SGD(model, 0.1), [Window(x, holes, counted=counted)], carry=False)
    expected = np.mean((model(x)[0] - wanted)[counted] ** 2)
    assert evaluate(model, trainer.batches) == pytest.approx(expected, rel=1e-12)
    assert trainer.update() == pytest.approx(expected, rel=1e-12)
    assert trainer.counted == counted.sum()
    assert all(np.isfinite(w).all() for w in model.state_dict().values())


@pytest.mark.parametrize("kind", ["counted", "lengths", "weights", "missing"])
def test_a_window_in_which_nothing_counts_changes_no_weight(rng, tmp_path, kind):
    """Adam's momentum once moved the weights without any data."""
    loss = "mse" if kind == "missing" else "cross_entropy"
    layer, head = rc.GRU(2, 4, dtype="float64", seed=0), Linear(4, 3, dtype="float64", seed=0)
    model = SequenceModel(None, layer, head, loss=loss)
    x = rng.normal(size=(6, 3, 2))
    targets = rng.normal(size=(6, 3, 3)) if loss == "mse" else rng.integers(0, 3, size=(6, 3))
    nothing = {"counted": {"counted": np.zeros((6, 3), bool)}, "lengths": {"lengths": np.zeros(3, int)},
               "weights": {"weights": np.zeros(3)}, "missing": {"counted": np.zeros((6, 3, 3), bool)}}[kind]
    empty = Window(x, np.full_like(targets, np.nan) if loss == "mse" else targets, **nothing)
    called = []

    class Before:
        def __call__(self, trainer):
            pass

        def before_step(self, trainer, record, loss, grads):
            called.append(trainer.updates)

    trainer = Trainer(model, Adam(model, 0.1), [Window(x, targets), empty], carry=False, callbacks=[Before()])
    trainer.update()
    before = model.state_dict(), trainer.optimiser.state_dict()
    assert np.isnan(trainer.update())
    assert (trainer.counted, trainer.updates, trainer.epoch) == (0, 2, 1)
    same_bits(model.state_dict(), before[0])
    same_bits(trainer.optimiser.state_dict()["buffers"], before[1]["buffers"])
    assert trainer.optimiser.steps == before[1]["steps"]
    trainer.save(tmp_path / "run.safetensors")
    assert np.isnan(Trainer(model, Adam(model), trainer.batches).resume(tmp_path / "run.safetensors").losses).tolist() \
        == [False, True]
    trainer.fit(4, progress=False)
    assert called == [0, 2, 4]
    assert np.isnan(trainer.losses).tolist() == [False, True] * 3
    trainer.batches = [empty, empty]
    trainer.update()
    with pytest.raises(ValueError, match=r"batches\[1\]: got no step that counts, nor in any other of 2 batches"):
        trainer.update()
    with pytest.raises(ValueError, match=r"batches\[0\]: got no step that counts"):
        Trainer(model, Adam(model), [empty]).fit(1, progress=False)


@pytest.mark.parametrize("fresh", [np.array([1, 0, 0, 0]), np.array([True]), np.ones((4, 1), bool)])
def test_wrong_masks_of_fresh_rows_are_refused(fresh):
    x, targets = WINDOWS[0]
    trainer = make([(x, targets), Window(x, targets, fresh=fresh)])
    trainer.update()
    with pytest.raises(ValueError, match=r"fresh: got .*, expected booleans \(4,\), True for a row that begins"):
        trainer.update()
    assert trainer.updates == 1


# -- data that is replaced ----------------------------------------------------------------


def test_new_batches_begin_with_their_first_window(tmp_path):
    path = tmp_path / "run"
    trainer = make().fit(5, progress=False)
    assert trainer.position == 5
    other = list(WINDOWS)[3:10]
    trainer.batches = other
    assert trainer.position == 0
    trainer.fit(2, progress=False, checkpoint=path)
    assert (trainer.updates, trainer.position, trainer.epoch) == (7, 2, 0)
    resumed = make(other).resume(path)
    assert (resumed.updates, resumed.position, resumed.epoch) == (7, 2, 0)
    same_bits(
        resumed.fit(9, progress=False).model.state_dict(), trainer.fit(9, progress=False).model.state_dict()
    )


def test_a_missing_position_is_derived_from_the_updates(tmp_path):
    path = tmp_path / "run"
    make().fit(16, progress=False, checkpoint=path)
    arrays, metadata = load_arrays(path)
    assert metadata["windows"] == 14
    assert "position" not in metadata
    resumed = make().resume(path)
    assert (resumed.position, resumed.epoch) == (2, 1)
    for wrong in (14, -1, "2", 1.0):
        save_crafted(path, arrays, metadata | {"position": wrong})
        trainer = make()
        with pytest.raises(DamagedFileError, match=rf"position is {wrong!r}, expected a whole number >= 0 and <= 13"):
            trainer.resume(path)
        assert trainer.updates == 0
    save_crafted(path, arrays, metadata | {"epoch": -1})
    with pytest.raises(DamagedFileError, match="epoch is -1, expected a whole number >= 0"):
        make().resume(path)


def test_a_checkpoint_without_a_readout_is_resumed(tmp_path):
    path = tmp_path / "run"
    whole = make().fit(5, progress=False, checkpoint=path).fit(3, progress=False)
    arrays, metadata = load_arrays(path)
    metadata = json.loads(json.dumps(metadata))
    assert "readout" not in metadata["model"]       # so that older releases read it, too
    same_bits(make().resume(path).fit(3, progress=False).model.state_dict(), whole.model.state_dict())
    metadata["model"]["readout"] = "last"
    save_crafted(path, arrays, metadata)
    with pytest.raises(ValueError, match=r"its model is .*'last'.*, this run's is .*'steps'"):
        make().resume(path)


# -- sequences with one answer, and epochs ------------------------------------------------


def test_a_model_of_one_prediction_per_sequence_learns(rng):
    """The task is to tell which of two symbols came first in ragged sequences."""
    x = rng.integers(2, size=(9, 32))
    lengths, answers = rng.integers(1, 10, size=32), x[0]
    layer, head = rc.GRU(4, 12, seed=0), Linear(12, 2, seed=0)
    model = SequenceModel(rc.nn.Embedding(2, 4, seed=0), layer, head, readout="last")
    windows = [(x, answers, lengths)]
    trainer = Trainer(model, Adam(model, 0.02), windows, valid=windows, carry=False)
    before = trainer.evaluate()
    assert trainer.fit(80, progress=False).evaluate() < 0.1 < before
    assert (model(x, None, lengths)[0].argmax(axis=1) == answers).all()


def test_epochs_end_with_the_weights_of_the_best_held_out_loss():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 5, size=(2, 13, 8))  # nothing to learn: it overfits
    model = sequence_model("gru", 5, hidden_size=24, seed=0)
    kept = []

    def windows():
        kept.append(model.state_dict())
        return [(noise[0, :-1], noise[0, 1:])] * 4

    valid = [(noise[1, :-1], noise[1, 1:])]
    history = fit_epochs(model, Adam(model, 0.02), windows, epochs=60, patience=3, valid=valid, carry=False)
    best = int(np.argmin(history["valid"]))
    assert len(history["train"]) == len(history["valid"]) == best + 1 + 3 < 60
    same_bits(model.state_dict(), kept[best + 1])  # those that the epoch after the best began with
    assert evaluate(model, valid) * math.log(2) == pytest.approx(history["valid"][best], rel=1e-12)


def test_all_epochs_run_without_held_out_data(rng):
    model = sequence_model("gru", TOKENS, hidden_size=8, seed=0)
    seen, sizes = [], []

    def windows():
        order = rng.permutation(len(WINDOWS))[: 3 + len(sizes)]
        sizes.append(len(order))
        return [WINDOWS[i] for i in order]

    look = lambda trainer, record, loss, grads: seen.append((trainer.updates, trainer.position))  # noqa: E731
    callback = type("Look", (), {"before_step": staticmethod(look), "__call__": lambda self, trainer: None})()
    told = []
    history = fit_epochs(
        model, Adam(model, 0.01), windows, epochs=3, patience=1, callbacks=[callback],
        progress=lambda done, total, info: told.append((done, total, sorted(info))),
    )  # fmt: skip
    assert sizes == [3, 4, 5]
    assert history["valid"] == []
    assert [updates for updates, _ in seen] == list(range(12))
    assert [position for _, position in seen] == [*range(3), *range(4), *range(5)]
    assert told == [(1, 3, ["train"]), (2, 3, ["train"]), (3, 3, ["train"])]


def test_progress_may_be_a_function():
    told = []
    make().fit(3, progress=lambda done, total, info: told.append((done, total, list(info))))
    assert told == [(1, 3, ["bits"]), (2, 3, ["bits"]), (3, 3, ["bits"])]
