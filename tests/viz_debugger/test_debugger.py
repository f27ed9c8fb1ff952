"""The debugger: what it keeps, when it acts, and that it does not change training."""

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz
from rnncore.nn import Linear, SequenceModel
from rnncore.optim import SGD, Adam
from rnncore.train import Trainer


def train_by_hand(layer, debugger, x, updates=6, lr=0.1):
    """Plain gradient descent on the sum of the output; `x` is one array or one for each update."""
    for k in range(updates):
        tape = layer.record(x[k] if isinstance(x, list) else x)
        grads = tape.backward(np.ones_like(tape.output))
        if debugger:
            debugger.check(tape, grads, loss=float(tape.output.sum()))
        with layer.writable() as p:
            for name in p:
                p[name] -= lr * grads.parameters[name]


@pytest.fixture
def batches(rng):
    return [
        (rng.standard_normal((12, 4, 2)).astype("float32"), rng.standard_normal((12, 4, 1)))
        for _ in range(5)
    ]


def trainer(batches, callbacks=(), optimiser=Adam, lr=0.01, **options):
    layer = rc.LSTM(2, 8, 2, seed=0)
    model = SequenceModel(None, layer, Linear(8, 1, seed=1), loss="mse")
    return Trainer(model, optimiser(model, lr=lr), batches, callbacks=callbacks, **options)


# ---------------------------------------------------------------- keeping


def test_the_last_few_moments_are_kept(rng):
    debugger = viz.Debugger(keep=3)
    layer = rc.GRU(2, 4, seed=0)
    train_by_hand(layer, debugger, rng.standard_normal((5, 2, 2)))
    assert [moment.update for moment in debugger.moments] == [4, 5, 6]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", [rc.RNN, rc.GRU, rc.LSTM])
def test_a_moment_can_be_reopened(rng, cell, batch_first):
    debugger = viz.Debugger(keep=3)
    layer = cell(2, 4, 2, seed=0, batch_first=batch_first)
    train_by_hand(layer, debugger, rng.standard_normal((5, 3, 2)))
    for moment in debugger.moments:
        with pytest.raises(RuntimeError):
            moment.tape.backward(np.ones_like(moment.tape.output))
        again = moment.reopen()
        for name in again.names("*"):
            np.testing.assert_array_equal(again[name], moment.tape[name])
        again.backward(np.ones_like(again.output))
        for name in again.names("*"):
            np.testing.assert_array_equal(again.grad[name], moment.tape.grad[name])
    assert not np.array_equal(debugger.moments[0].tape["l0.h"], debugger.moments[2].tape["l0.h"])


def test_ragged_and_unbatched_moments_can_be_reopened(rng):
    layer = rc.LSTM(2, 4, seed=0)
    for tape in (
        layer.record(rng.standard_normal((6, 3, 2)), lengths=[4, 0, 5]),
        layer.record(rng.standard_normal((6, 2))),
    ):
        again = viz.Moment(tape).snapshot().reopen()
        np.testing.assert_array_equal(again["l0.c"][:5], tape["l0.c"][:5])


# ---------------------------------------------------------------- acting


def growing(updates=6, at=3):
    """Inputs that are 1 and, from one update on, 100."""
    return [np.full((5, 2, 1), 100.0 if k + 1 >= at else 1.0) for k in range(updates)]


def is_large(tape):
    return tape.input.max() > 50


def test_raise_stops_before_the_weights_change():
    layer = rc.GRU(1, 4, seed=0)
    with pytest.raises(viz.Breakpoint, match="update 3: is_large holds") as stop:
        train_by_hand(layer, viz.Debugger(is_large, keep=2), growing())
    assert stop.value.hit.watch == "is_large"
    assert [moment.update for moment in stop.value.moments] == [2, 3]
    moment = stop.value.moments[-1]
    np.testing.assert_array_equal(moment.weights["weight_hh_l0"], layer.parameters["weight_hh_l0"])


def test_a_function_is_called_with_the_hit_and_the_moments():
    seen = []
    debugger = viz.Debugger(is_large, action=lambda hit, moments: seen.append((hit, len(moments))))
    train_by_hand(rc.GRU(1, 4, seed=0), debugger, growing())
    assert [(hit.update, many) for hit, many in seen] == [(3, 3)]  # once, though it still holds
    assert [hit.update for hit in debugger.hits] == [3]


def test_a_watch_fires_again_after_it_was_silent():
    x = [np.full((5, 2, 1), v) for v in (1.0, 100.0, 100.0, 1.0, 100.0, 1.0)]
    debugger = viz.Debugger(is_large, action=lambda hit, moments: None)
    train_by_hand(rc.GRU(1, 4, seed=0), debugger, x)
    assert [hit.update for hit in debugger.hits] == [2, 5]


def test_the_action_of_a_watch_comes_before_that_of_the_debugger():
    seen = []
    watch = viz.When(is_large, action=lambda hit, moments: seen.append(hit))
    train_by_hand(rc.GRU(1, 4, seed=0), viz.Debugger(watch, action="raise"), growing())
    assert len(seen) == 1


def test_all_watches_act_before_one_raises():
    seen = []
    first = viz.When(is_large, name="first")
    second = viz.When(is_large, action=lambda hit, moments: seen.append(hit))
    with pytest.raises(viz.Breakpoint, match="first holds"):
        train_by_hand(rc.GRU(1, 4, seed=0), viz.Debugger(first, second), growing())
    assert len(seen) == 1


def test_a_watch_is_checked_every_nth_update():
    updates = []
    watch = viz.When(lambda tape: updates.append(debugger.moments[-1].update), every=3)
    debugger = viz.Debugger(watch)
    train_by_hand(rc.GRU(1, 4, seed=0), debugger, growing(), updates=6)
    assert updates == [1, 4]


def test_record_writes_the_complete_moments(tmp_path):
    layer = rc.LSTM(1, 4, seed=0)
    debugger = viz.Debugger(is_large, action="record", keep=2, folder=tmp_path)
    train_by_hand(layer, debugger, growing(), updates=3)
    run = viz.Run(tmp_path / "break-is-large-000003.run")
    assert [frame.update for frame in run] == [2, 3]
    assert "is_large holds" in run[1].note
    for frame, moment in zip(run, debugger.moments, strict=True):
        assert frame.names() == moment.tape.names("*")
        np.testing.assert_array_equal(frame["l0.f"], moment.tape["l0.f"])
        np.testing.assert_array_equal(frame.grad["l0.c"], moment.tape.grad["l0.c"])
        np.testing.assert_array_equal(
            frame.weights["weight_hh_l0"], moment.weights["weight_hh_l0"]
        )


def test_record_does_not_overwrite_a_file(tmp_path):
    for _ in range(2):
        debugger = viz.Debugger(is_large, action="record", keep=1, folder=tmp_path)
        train_by_hand(rc.GRU(1, 4, seed=0), debugger, growing(), updates=3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["break-is-large-000003-2.run", "break-is-large-000003.run"]


def test_open_writes_a_page_and_opens_it(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    debugger = viz.Debugger(is_large, action=["open", "raise"], keep=2, folder=tmp_path)
    with pytest.raises(viz.Breakpoint):
        train_by_hand(rc.GRU(1, 4, seed=0), debugger, growing())
    (page,) = tmp_path.glob("*.html")
    assert opened == [page.resolve().as_uri()]
    text = page.read_text(encoding="utf-8")
    assert "update 3: is_large holds" in text
    assert "<h2>update 2</h2>" in text


@pytest.mark.parametrize("action", ["explode", 3, ["raise", "burn"]])
def test_an_unknown_action_is_refused_at_once(action):
    with pytest.raises(ValueError, match=r"action: got .*, expected 'raise', 'record', 'open'"):
        viz.Debugger(action=action)
    with pytest.raises(ValueError, match="action: got"):
        viz.Debugger(viz.NaN(action=action))


def test_keeping_no_moments_is_refused():
    with pytest.raises(ValueError, match="keep: got 0, expected"):
        viz.Debugger(keep=0)


def test_a_subclass_of_watch_is_checked_like_any_other(rng):
    class Loud(viz.Watch):
        def check(self, moment):
            if moment.loss > 3:
                return viz.Hit(self.name, moment.update, "loss", f"loud: {moment.loss}")
            return None

    tape = rc.GRU(2, 4, seed=0).record(rng.standard_normal((5, 2, 2)))
    debugger = viz.Debugger(Loud())
    assert debugger.check(tape, loss=2) == []
    with pytest.raises(viz.Breakpoint, match="update 2: loud: 4"):
        debugger.check(tape, loss=4)


# ---------------------------------------------------------------- with the trainer


def test_training_under_a_debugger_has_the_same_bits(batches):
    plain, watched = trainer(batches), trainer(batches, [viz.Debugger(viz.NaN(), viz.Stuck())])
    plain.fit(12, progress=False)
    watched.fit(12, progress=False)
    assert plain.losses == watched.losses
    for name, values in plain.model.parameters.items():
        np.testing.assert_array_equal(values, watched.model.parameters[name])


def test_nan_is_found_before_the_trainer_gives_up(batches):
    batches[3][0][5, 2, 1] = np.nan
    with pytest.raises(viz.Breakpoint, match=r"update 4: input at step 5, row 2, unit 1 is nan"):
        trainer(batches, [viz.Debugger()]).fit(12, progress=False)


def test_a_head_that_overflows_is_found(batches):
    run = trainer(batches, [viz.Debugger()])
    with run.model.writable() as p:
        p["layer.bias_ih_l1"][...] = 9  # h is about tanh 1: eight of it times 3e38 is ∞
        p["head.weight"][...] = 3e38
    with pytest.raises(viz.Breakpoint) as stop, np.errstate(all="ignore"):
        run.fit(1, progress=False)
    assert stop.value.hit.tensor == "loss"
    assert "the prediction is" in stop.value.hit.sentence


def test_a_spike_of_diverging_training_can_be_replayed(batches, tmp_path):
    """With too high a learning rate there is a spike, and its tapes can be had again from a checkpoint."""
    path = tmp_path / "a.safetensors"
    debugger = viz.Debugger(viz.Spike("loss", 20, window=10), keep=3)

    def make(callbacks):
        return trainer(batches, callbacks, SGD, lr=0.02)

    def too_fast(run):
        if run.updates == 20:
            run.optimiser.lr = 40.0

    run = make([debugger, too_fast])
    with pytest.raises(viz.Breakpoint) as stop:
        run.fit(60, progress=False, checkpoint=path, every=7)
    update = stop.value.hit.update
    saved = run.updates // 7 * 7
    assert update > saved > 0

    again = make([too_fast])
    moments = viz.replay(again, path, update, keep=3)
    assert [m.update for m in moments] == [m.update for m in stop.value.moments][-len(moments):]
    for new, old in zip(reversed(moments), reversed(stop.value.moments), strict=False):
        assert new.loss == old.loss
        for name in old.tape.names("*"):
            np.testing.assert_array_equal(new.tape[name], old.tape[name])
            np.testing.assert_array_equal(new.tape.grad[name], old.tape.grad[name])
        for name, weight in old.weights.items():
            np.testing.assert_array_equal(new.weights[name], weight)
    assert again.callbacks == [too_fast]


def test_replay_needs_an_earlier_checkpoint(batches, tmp_path):
    path = tmp_path / "a.safetensors"
    trainer(batches).fit(5, progress=False, checkpoint=path)
    with pytest.raises(ValueError, match="update: got 5, expected more than 5"):
        viz.replay(trainer(batches), path, 5)


def test_a_recorder_records_training(batches, tmp_path):
    path = tmp_path / "a.run"
    with viz.Recorder(path, every=4, names="*.f", rows=1) as recorder:
        run = trainer(batches, [recorder])
        run.fit(15, progress=False)
    recorded = viz.Run(path)
    assert [frame.update for frame in recorded.frames] == [1, 5, 9, 13]
    assert [frame.epoch for frame in recorded.frames] == [0, 0, 1, 2]
    np.testing.assert_array_equal(recorded.series("loss")[1], np.array(run.losses)[[0, 4, 8, 12]])
    for name in ("lyapunov", "horizon", "saturation"):
        updates, values = recorded.series(name)
        assert updates.tolist() == [5, 10, 15]  # once per round
        assert np.isfinite(values).all()
