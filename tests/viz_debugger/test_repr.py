"""What a console shows: sizes and settings in one line, never arrays; and the names to complete."""

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz


@pytest.fixture
def tape():
    tape = rc.LSTM(2, 4, seed=0).record(np.ones((20, 3, 2), "float32"))
    tape.backward(np.ones((20, 3, 4), "float32"))
    return tape


def test_a_recorder_a_run_and_a_frame_show_what_they_hold(tape, tmp_path):
    path = tmp_path / "a.run"
    with viz.Recorder(path, every=2, names=["*.h", "*.c"], gradients="*.h", measures={}) as recorder:
        for loss in (0.5, 0.4, 0.3):
            recorder.record(tape, loss=loss)
        size = path.stat().st_size - 64                     # without the head of the file
        assert repr(recorder) == (
            f"<Recorder of every 2. update in {str(path)!r}: 2 frames, {size:,} bytes, names *.h, *.c>")
    run = viz.Run(path)
    assert repr(run) == f"<Run {str(path)!r}: 2 frames of updates 1 to 3>"
    frame = run[-1]
    assert repr(frame) == "<Frame of update 3: 20 steps, 3 rows, l0.h, l0.c, grad l0.h>"
    assert repr(frame.grad) == "<grad of update 3: l0.h>"
    assert repr(frame.weights) == "<weight of update 3: none recorded>"
    assert repr(viz.Recorder(measures={})) == "<Recorder of every 10. update in memory: 0 frames, 0 bytes, names *.h>"


def test_a_frame_of_many_arrays_or_of_measures_alone_is_shown_in_one_line(tape):
    recorder = viz.Recorder(every=1, names="*", gradients="*", measures={"size": lambda tape: 1.0})
    recorder.record(tape)
    assert repr(recorder.frames[0]) == (
        "<Frame of update 1: 20 steps, 3 rows, l0.h, l0.c, l0.i, l0.f, l0.g, l0.o and 6 more>")


def test_a_debugger_its_watches_and_its_moments_show_their_settings(tape):
    debugger = viz.Debugger(viz.NaN(), viz.Vanish(1e-3, every=5), lambda tape: False, keep=2)
    debugger.check(tape, loss=0.5)
    assert repr(debugger) == "<Debugger of NaN, Vanish, <lambda>: 1 updates, 0 hits, 1 of 2 moments kept>"
    assert repr(viz.NaN()) == "<NaN>"
    assert repr(viz.Vanish(1e-3, every=5)) == "<Vanish: every 5, threshold 0.001, relative True, names None>"
    assert repr(viz.When(len, name="full")) == "<When full>"
    assert repr(debugger.moments[0]) == "<Moment of update 1, loss 0.5: LSTM tape of 20 steps, 3 rows, with weights>"


def test_a_hit_and_a_diagnosis_leave_arrays_out():
    tape = rc.RNN(1, 3, nonlinearity="relu").record(np.full((30, 1, 1), np.inf, "float32"))
    hit = viz.NaN().look(tape)
    assert repr(hit).startswith("Hit(watch='NaN', update=None, tensor='input'")
    assert "array" not in repr(hit)
    found = viz.diagnose(tape)
    assert repr(found) == "<Diagnosis: nonfinite (error)>"
    assert "numbers" not in repr(found[0])


def test_what_has_names_completes_them(tape):
    recorder = viz.Recorder(every=1, names="*.f", gradients="*.h", measures={})
    recorder.record(tape)
    frame = recorder.frames[0]
    assert frame._ipython_key_completions_()[:2] == ["l0.f", "grad l0.h"]
    assert frame.grad._ipython_key_completions_() == ["l0.h"]
    found = viz.diagnose(tape)
    assert found._ipython_key_completions_() == found.names
