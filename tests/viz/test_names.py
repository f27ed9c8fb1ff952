"""Which arrays, features or series a plot draws: by names and by patterns, as a Recorder is told them."""

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz


@pytest.fixture
def tape(rng):
    layer = rc.LSTM(2, 4, num_layers=2, seed=0)
    found = layer.record(rng.normal(size=(6, 1, 2)).astype("f4"))
    found.backward(rng.normal(size=found.output.shape).astype("f4"))
    return found


def drawn(ax):
    return [image.get_gid() for image in ax.images]


@pytest.mark.parametrize(("plot", "cases"), [
    (viz.plot_gates, {"l0.f": ["l0.f"], "*.f": ["l0.f", "l1.f"]}),
    (viz.plot_states, {"l0.h": ["l0.h"], "l1.*": ["l1.h", "l1.c"]}),
    (viz.plot_gradient_map, {"l0.c": ["l0.c"], "*.[io]": ["l0.i", "l0.o", "l1.i", "l1.o"]}),
])
def test_maps_take_a_name_a_pattern_or_several(tape, plot, cases, plt):
    for pattern, names in cases.items():
        for given in (pattern, [pattern], (pattern, names[0])):
            ax = plot(tape, plt.figure().gca(), names=given)
            assert drawn(ax) == names
            plt.close()
    for wrong in ("l7.f", ["*.q"], [], [*cases, "l0.x"]):
        with pytest.raises(ValueError, match=r"^names: got \[.*\], expected some of l0\..*, or patterns of them"):
            plot(tape, names=wrong)


def test_curves_and_dots_take_patterns_too(tape, plt):
    ax = viz.plot_gradient_flow(tape, names="*.c")
    assert len([line for line in ax.lines if line.get_gid() == "gradient_flow"]) == 2
    ax = viz.plot_saturation(tape, plt.figure().gca(), names="*.f")
    labels = [line.get_label() for line in ax.lines if line.get_gid() == "saturation"]
    assert labels == ["l0.f", "l1.f"]
    with pytest.raises(ValueError, match=r"names: got \['l0\.q'\]"):
        viz.plot_saturation(tape, plt.figure().gca(), names=["l0.q"])
    plt.close("all")


def test_the_target_and_the_sources_of_coefficients_are_named(rng, plt):
    names = ["load", "wind", "sun"]
    values = rng.normal(size=(2, 3, 3))
    by_name = viz.plot_coefficients(values, target="wind", sources="*n*", names=names)
    assert by_name.get_ylabel() == "coefficient in the prediction of wind"
    dots = [line for line in by_name.lines if line.get_gid() == "coefficients"]
    for line, source in zip(dots, (1, 2), strict=True):
        np.testing.assert_allclose(line.get_ydata(), values[:, 1, source])
    with pytest.raises(ValueError, match=r"^target: got 'lode', expected one of load, wind, sun"):
        viz.plot_coefficients(values, target="lode", names=names)


def test_an_unknown_series_is_told_with_those_that_there_are(tape):
    recorder = viz.Recorder(every=1)
    recorder.record(tape, {}, loss=1.5, update=1)
    with pytest.raises(ValueError, match=r"name: got 'los', .*one of its series: loss.*did you mean 'loss'\?"):
        viz.plot_series(recorder, name="los")
