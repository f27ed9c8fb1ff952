"""Frames of a run file, and tapes that keep some states: every function takes them, or says in a sentence why not."""

import inspect
import re
from itertools import product

import matplotlib.pyplot as pyplot
import numpy as np
import pytest
from support import make

from rnncore import viz

T, B, H = 9, 2, 4
CELLS = ("lstm", "gru", "rnn-tanh")
KEPT = {
    "all": {"names": "*", "gradients": "*"},
    "values": {"names": "*"},
    "h": {},
    "gradients of h": {"names": "*", "gradients": "*.h"},
    "gradients alone": {"names": (), "gradients": "*"},
    "one gate": {"names": ["*.o", "*.r"]},
    "a part": {"names": "*", "gradients": "*", "steps": 2, "rows": [1], "units": 3},
}


def functions():
    """The public functions of viz whose first argument is a tape."""
    return sorted(
        name for name in viz.__all__
        if inspect.isfunction(getattr(viz, name))
        and next(iter(inspect.signature(getattr(viz, name)).parameters), "") == "tape"
    )  # fmt: skip


def call(name, tape, **options):
    """Call a function with more arguments if it needs some."""
    function = getattr(viz, name)
    given = dict.fromkeys(("loss", "logit"), np.random.default_rng(0).normal(size=(T, B, H)))
    needed = {key: given[key] for key in inspect.signature(function).parameters if key in given}
    return function(tape, **needed, **options)


def recorded(cell, rng, **options):
    tape = make(cell, 3, H, 2, dtype="float64").record(rng.normal(size=(T, B, 3)), **options)
    tape.backward(rng.normal(size=(T, B, H)))
    return tape


def frame(cell, kept, rng):
    recorder = viz.Recorder(every=1, measures={}, **KEPT[kept])
    recorder.record(recorded(cell, rng), update=7)
    return recorder.frames[0]


def drawn(found):
    """Whether a picture shows anything."""
    axes = found.axes if hasattr(found, "axes") and isinstance(found.axes, list) else [found]
    return any(ax.has_data() or ax.patches for ax in axes)


def outcome(name, tape):
    """What a function returns, or the message of its refusal."""
    try:
        return call(name, tape), None
    except (TypeError, ValueError) as error:
        return None, str(error)


@pytest.mark.parametrize(("cell", "kept"), [p for p in product(CELLS, KEPT) if p != ("rnn-tanh", "one gate")])
@pytest.mark.parametrize("name", functions())
def test_a_frame_is_taken_or_refused_in_one_sentence(name, cell, kept, rng, plt):
    found, message = outcome(name, frame(cell, kept, rng))
    if message is not None:
        assert re.match("tape: got .*, expected ", message)
        assert not pyplot.get_fignums(), "a figure was made for nothing"
        if "expected a tape: " in message:
            assert "the recorded frame of update 7" in message
            assert "record the input again" in message
    elif name == "overview" or name.startswith("plot"):
        assert drawn(found)
    pyplot.close("all")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", [name for name in functions() if not name.startswith("plot")])
def test_a_frame_of_all_has_the_numbers_of_its_tape(name, cell, rng):
    recorder = viz.Recorder(every=1, measures={}, **KEPT["all"])
    tape = recorded(cell, rng)
    recorder.record(tape, update=7)
    found, message = outcome(name, recorder.frames[0])
    if message is None:
        same(found, call(name, tape))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", functions())
def test_a_tape_that_keeps_some_states_is_taken_or_refused_in_one_sentence(name, cell, plt):
    def again(**options):
        return recorded(cell, np.random.default_rng(3), **options)

    found, message = outcome(name, again(checkpoint_every=4))
    pyplot.close("all")
    if message is not None and "checkpoint_every" in message:
        assert message == "pullback: the tape was recorded with checkpoint_every; record without it"
        return
    expected, refusal = outcome(name, again())
    pyplot.close("all")
    assert message == refusal
    if message is None and not name.startswith("plot") and name != "overview":
        same(found, expected)


def same(found, expected):
    """Equal numbers, in arrays, by name, or in named tuples."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            same(found[name], expected[name])
    elif isinstance(expected, tuple) and not isinstance(expected, viz.Diagnosis):
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, (str, viz.Diagnosis)):
        assert str(found) == str(expected)
    else:
        np.testing.assert_array_equal(found, expected)


def test_the_way_out_of_a_frame_without_gradients_is_the_recorder(rng):
    with pytest.raises(ValueError, match=r'update 7, which has no gradients of h, .*Recorder\(gradients="\*"\)'):
        viz.gradient_flow(frame("gru", "h", rng))
    with pytest.raises(ValueError, match=r"call tape\.backward"):
        viz.gradient_flow(make("gru", 3, H).record(rng.normal(size=(T, B, 3))))


def test_units_of_a_frame_are_sorted_by_what_is_there(rng):
    tape = recorded("gru", rng)
    recorder = viz.Recorder(every=1, names=["*.z"], measures={})
    recorder.record(tape)
    np.testing.assert_array_equal(viz.unit_order(recorder.frames[0]), viz.unit_order(tape))
    np.testing.assert_array_equal(viz.unit_order(frame("gru", "one gate", rng)), np.arange(H))
    h = frame("gru", "h", rng)
    assert sorted(viz.unit_order(h)) == list(range(H))
    with pytest.raises(ValueError, match=r"^by: got 'timescale' for l0"):
        viz.unit_order(h, by="timescale")


def plots_of_a_row():
    found = [name for name in functions() if name.startswith("plot")]
    return [name for name in found if "row" in inspect.signature(getattr(viz, name)).parameters]


@pytest.mark.parametrize("name", plots_of_a_row())
def test_a_row_that_is_not_there_leaves_no_empty_figure(name, rng, plt):
    tape = recorded("lstm", rng)
    with pytest.raises(ValueError, match=r"^row: got 5, expected one of 2 rows"):
        call(name, tape, row=5)
    assert not pyplot.get_fignums()
