"""What is not a tape, a layer or a measure's numbers is refused in one sentence, by every measure and plot."""

import inspect

import matplotlib.pyplot as pyplot
import numpy as np
import pytest

import rnncore as rc
from rnncore import viz
from rnncore.nn import sequence_model

LAYER = rc.LSTM(3, 4, seed=0)
MODEL = sequence_model("gru", 5, hidden_size=4, seed=0)
TOKENS = np.random.default_rng(0).integers(5, size=(7, 2))


@pytest.fixture
def tape(rng):
    tape = LAYER.record(rng.standard_normal((9, 2, 3)))
    tape.backward(rng.standard_normal((9, 2, 4)))
    return tape


def functions(first):
    """The public functions of viz whose first argument has this name."""
    found = {}
    for name in viz.__all__:
        value = getattr(viz, name)
        if inspect.isfunction(value) and next(iter(inspect.signature(value).parameters), "") == first:
            found[name] = value
    return found


def call(function, first):
    """Call a function with more arguments if it needs some."""
    needed = [
        name
        for name, parameter in list(inspect.signature(function).parameters.items())[1:]
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    given = {"x": np.ones((9, 2, 3))} | dict.fromkeys(("loss", "logit", "readout"), np.ones((9, 2, 4)))
    given |= dict.fromkeys(("inputs", "along", "y"))
    return function(first, **{name: given[name] for name in needed})


WRONG = {
    "a layer": (LAYER, r"got an LSTM, .*layer\.record\(x\)"),
    "a model": (MODEL, r"got a SequenceModel, .*record\(x\)\.tape"),
    "gradients": (LAYER.record(np.ones((3, 1, 3))).backward(np.ones((3, 1, 4))), "got a Gradients, .*whose backward"),
    "None": (None, "got None"),
    "a text": ("l0.h", "got 'l0.h'"),
    "a class": (rc.LSTM, "got the class LSTM"),
    "numbers of another measure": ({"l0": "three"}, "got a dict with the keys 'l0'"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", sorted(functions("tape")))
def test_what_is_not_a_tape_is_refused_in_one_sentence(name, wrong, plt):
    value, message = WRONG[wrong]
    with pytest.raises((TypeError, ValueError), match=f"^tape: {message}"):
        call(functions("tape")[name], value)
    assert not pyplot.get_fignums(), "a figure was made for nothing"


@pytest.mark.parametrize("wrong", [None, MODEL, "lstm", np.ones(3), 1.5])
@pytest.mark.parametrize("name", sorted(functions("layer")))
def test_what_is_not_a_layer_is_refused_in_one_sentence(name, wrong):
    with pytest.raises(TypeError, match=r"^layer: got .*, expected a recurrent layer"):
        call(functions("layer")[name], wrong)


def test_a_tape_in_place_of_a_layer_is_told_where_the_layer_is(tape):
    with pytest.raises(TypeError, match=r"got a Tape, .*its attribute layer is one"):
        viz.memory_curve(tape)


def test_a_record_of_a_model_is_taken_by_its_tape(plt):
    record = MODEL.record(TOKENS)
    record.backward(np.random.default_rng(1).standard_normal((7, 2, 5)))
    np.testing.assert_array_equal(viz.jacobian_norms(record), viz.jacobian_norms(record.tape))
    np.testing.assert_array_equal(viz.horizon(record), viz.horizon(record.tape))
    for name, function in functions("tape").items():
        if name not in ("dependency_map", "plot_dependency_map", "connectivity"):
            found = function(record)
            pyplot.close("all")
            assert found is not None


NUMBERS = [np.ones((3, 4, 5)), {"l0": np.ones((2, 3, 4))}, {}, ("a", "b"), [[1], [2, 3]]]


@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
def test_numbers_of_another_measure_are_refused(numbers, plt):
    for plot in (viz.plot_gradient_flow, viz.plot_jacobian_norms, viz.plot_saturation, viz.plot_singular_values,
                 viz.plot_mean_field, viz.plot_step_share, viz.plot_lyapunov_spectrum, viz.plot_omission,
                 viz.plot_context_cut, viz.plot_lyapunov_convergence, viz.plot_integrated_gradients,
                 viz.plot_series, viz.plot_horizon, viz.plot_memory_capacity):
        with pytest.raises((TypeError, ValueError), match=r"^[a-z]+: got (a|an) .*expected .*(viz\.|Recorder)"):
            plot(numbers)
    assert not pyplot.get_fignums()


@pytest.mark.parametrize(
    ("plot", "of_another"),
    [(viz.plot_horizon, viz.horizon), (viz.plot_jacobian_norms, viz.half_life),
     (viz.plot_jacobian_norms, viz.decay_rate),
     (viz.plot_gradient_flow, viz.timescales), (viz.plot_gradient_flow, viz.step_share),
     (viz.plot_step_share, viz.gradient_flow), (viz.plot_step_share, viz.timescales),
     (viz.plot_timescales, lambda tape: {name: flow[:, 0] for name, flow in viz.gradient_flow(tape).items()}),
     (viz.plot_lyapunov_spectrum, lambda tape: np.arange(4.0)),
     (viz.plot_jacobian_norms, lambda tape: -viz.jacobian_norms(tape)),
     (viz.plot_gradient_flow, lambda tape: {"l0.h": -viz.gradient_flow(tape)["l0.h"]})],
)  # fmt: skip
def test_numbers_that_only_have_the_shape_are_refused_by_names_and_values(plot, of_another, tape):
    source = {viz.plot_horizon: "jacobian_norms"}.get(plot, plot.__name__.removeprefix("plot_"))
    message = rf"^(tape|spectrum): got (a|an) .*expected .*as from viz\.{source}"
    with pytest.raises((TypeError, ValueError), match=message):
        plot(of_another(tape))
    assert not pyplot.get_fignums()


def test_the_numbers_of_the_measure_are_taken(tape, plt):
    for name in ("horizon", "jacobian_norms", "gradient_flow", "step_share", "timescales"):
        measure = viz.jacobian_norms if name == "horizon" else getattr(viz, name)
        assert getattr(viz, f"plot_{name}")(measure(tape), plt.Figure().gca()).has_data()
    own = {"mine": np.ones((4, 1))}  # names of the caller's own
    assert viz.plot_gradient_flow(own, plt.Figure().gca()).has_data()
