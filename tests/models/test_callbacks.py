"""Callbacks in fit of Recurrent and SequenceClassifier: the recorder and the debugger of viz, and functions."""

import numpy as np
import pytest
from rnncore.viz import Breakpoint, Debugger, Explode, NaN, Recorder, Run

from rnncore.models import NotFittedError, Recurrent, SequenceClassifier

TEXT = "the cat sat on the mat. the dog sat on the log. " * 12
X = [np.random.default_rng(k).normal(size=(n, 2)) for k, n in enumerate([5, 9, 2, 7, 30, 4, 11, 8] * 5)]
Y = np.array([x[:, 0].sum() > 0 for x in X]).astype(int)


def text_model(callbacks, **options):
    settings = {"epochs": 3, "window": 16, "batch_size": 4, "seed": 0} | options
    return Recurrent("gru", 6, **settings).fit([TEXT[:200], TEXT[:90], TEXT], callbacks=callbacks)


def series_model(callbacks, **options):
    settings = {"epochs": 3, "window": 8, "batch_size": 4, "seed": 0} | options
    return Recurrent("lstm", 6, **settings).fit(X, exog=[x[:, :1] ** 2 for x in X], callbacks=callbacks)


def classifier(callbacks, **options):
    settings = {"epochs": 3, "batch_size": 8, "seed": 0} | options
    return SequenceClassifier("gru", 6, **settings).fit(X, Y, callbacks=callbacks)


FITS = [text_model, series_model, classifier]


class Seen:
    """What a callback meets: windows of every epoch, losses, and whether the weights are those of the tape."""

    def __init__(self):
        self.windows, self.losses, self.epochs, self.before = [], [], [], 0

    def before_step(self, trainer, record, loss, grads):
        assert trainer.updates == len(self.losses)
        record.tape.backward(np.zeros_like(record.tape.output))     # refused if the weights have changed
        assert grads.keys() == trainer.model.parameters.keys()
        self.before += 1

    def __call__(self, trainer):
        self.losses.append(trainer.losses[-1])
        self.windows.append(len(trainer.batches))
        self.epochs.append(trainer.epoch)


@pytest.mark.parametrize("fit", FITS)
def test_every_update_is_seen_and_nothing_is_changed(fit):
    seen = Seen()
    model = fit([seen])
    assert seen.before == len(seen.losses) > 6
    assert seen.epochs[-1] == 3
    assert np.bincount(seen.epochs)[0] == seen.windows[0] - 1       # the last of an epoch is seen as the next one's
    plain = fit([])
    for name, weight in plain.network_.parameters.items():
        np.testing.assert_array_equal(model.network_.parameters[name], weight)
    assert model.history_ == plain.history_


@pytest.mark.parametrize("fit", FITS)
def test_a_recorder_writes_a_run_file(fit, tmp_path):
    path, seen = tmp_path / "a.run", Seen()
    with Recorder(path, every=2, names=["*.h"], gradients="*.h", weights=True) as recorder:
        model = fit([recorder, seen])
    run = Run(path)
    updates, losses = run.series("loss")
    np.testing.assert_array_equal(updates, np.arange(1, len(seen.losses) + 1, 2))
    np.testing.assert_array_equal(losses, seen.losses[::2])
    # one set of measures at the end of every epoch, also if epochs have different numbers of windows
    ends = np.flatnonzero(np.diff([0, *seen.epochs])) + 1
    for name in ("horizon", "lyapunov", "saturation"):
        np.testing.assert_array_equal(run.series(name)[0], ends)
    frames = [frame for frame in run if frame.loss is not None]
    assert [frame.epoch for frame in frames] == [([0, *seen.epochs])[frame.update - 1] for frame in frames]
    last = frames[-1]
    assert last["l0.h"].shape == (last.T, last.B, 6)
    assert last.grad["l0.h"].any()
    assert set(last.weights.keys()) == set(model.network_.layer.parameters)


@pytest.mark.parametrize("fit", FITS)
def test_a_debugger_stops_at_a_gradient_that_is_too_large(fit):
    debugger = Debugger(Explode(1e-9), keep=2)
    with pytest.raises(Breakpoint, match="update 1:") as stop:
        fit([debugger])
    assert len(stop.value.moments) == 1
    assert debugger.hits[0].update == 1
    quiet = Debugger(NaN(), Explode(1e12))
    fit([quiet])
    assert quiet.hits == []
    assert quiet.moments[-1].module is not None


@pytest.mark.parametrize("fit", FITS)
def test_a_debugger_names_the_first_value_that_is_not_finite(fit):
    """The weights are set to infinity at the third update: without the debugger the loss alone would tell."""
    def spoil(trainer):
        if trainer.updates == 2:
            with trainer.model.writable() as weights:
                weights["layer.weight_hh_l0"][0, 0] = np.inf

    debugger = Debugger(NaN(), keep=3)
    with pytest.raises(Breakpoint, match=r"update 3: layer.weight_hh_l0\[0, 0\] .* is inf") as stop:
        fit([debugger, spoil])
    assert [moment.update for moment in stop.value.moments] == [1, 2, 3]
    with pytest.raises(FloatingPointError, match=r"update 3: the loss is .*nan"):
        fit([spoil])


@pytest.mark.parametrize("fit", FITS)
def test_a_callback_may_end_training(fit):
    def stop(trainer):
        trainer.stop = trainer.updates == 2

    model = fit([stop])
    assert [len(losses) for losses in model.history_.values()] == [1, 1]
    if fit is classifier:
        assert model.predict(X).shape == (len(X),)
    else:
        assert np.isfinite(model.log_prob(TEXT[:9]) if fit is text_model else model.log_prob(X[0], exog=X[0][:, :1]))


def test_a_fit_that_an_exception_ended_is_not_taken_for_fitted():
    def stop(trainer):
        raise KeyError("mine")

    model, x = Recurrent("gru", 4, epochs=1, seed=0), np.arange(30.0)
    model.fit([x])
    with pytest.raises(KeyError, match="mine"):
        model.fit([x + 100], callbacks=[stop])
    assert model.network_.layer.hidden_size == 4        # to be looked at
    for call in (model.log_prob, model.predict, lambda x: model.forecast(x, 2), lambda x: model.sample(2, x)):
        with pytest.raises(NotFittedError, match="variance_"):
            call(x)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("callbacks", [[3], None, 5, "ab"])
def test_what_is_no_function_is_refused_by_name(fit, callbacks):
    with pytest.raises(TypeError, match="callbacks: got"):
        fit(callbacks)
