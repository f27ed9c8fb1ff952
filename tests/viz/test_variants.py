"""Every measure and plot runs on layers with options, or refuses in one sentence."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from support import random_cotangents, random_input, random_state
from twin import Twin
from viz_twin import Explicit

import rnncore as rc
from rnncore import viz
from rnncore.nn import SequenceModel

# Gates are shares between 0 and 1 in the first of each pair, and not in the second.
LAYERS = {
    "lstm": ("LSTM", {"peepholes": True, "coupled": True, "cell_clip": 0.4, "gate_clip": 0.8}),
    "lstm activations": ("LSTM", {"activations": ["relu", "softsign", "softplus"]}),
    "gru": ("GRU", {"gate_clip": 0.7, "activations": ["hardsigmoid", "softsign"]}),
    "gru activations": ("GRU", {"reset_after": False, "activations": ["softsign", ("elu", 0.8)]}),
    "rnn": ("RNN", {"gate_clip": 0.7}),
    "rnn activations": ("RNN", {"activations": [("leakyrelu", 0.2)]}),
}
every = pytest.mark.parametrize("name", LAYERS)
OF_A_TAPE = [
    "gradient_flow", "horizon", "jacobian_norms", "mean_field", "norm_preservation", "saturation", "singular_values",
    "slopes", "step_share", "timescales", "unit_order", "diagnose",
]  # fmt: skip
PLOTS = [
    "gates", "gradient_flow", "gradient_map", "horizon", "jacobian_norms", "mean_field", "norm_preservation",
    "saturation", "singular_values", "slopes", "states", "step_share", "timescales", "unrolled", "cell",
    "recurrence",
]  # fmt: skip
REFUSED = {
    "mean_field": ["lstm", "lstm activations", "gru", "gru activations"],
    "timescales": ["lstm activations", "gru activations", "rnn", "rnn activations"],
    "plot_gates": ["rnn", "rnn activations"],
    "plot_mean_field": ["lstm", "lstm activations", "gru", "gru activations", "rnn activations"],
    "plot_timescales": ["lstm activations", "gru activations", "rnn", "rnn activations"],
    "plot_slopes": ["lstm activations", "gru", "gru activations", "rnn activations"],
    "plot_saturation": ["lstm activations", "gru activations", "rnn", "rnn activations"],
}


def make(name, *sizes, **options):
    mode, own = LAYERS[name]
    return getattr(rc, mode)(*sizes, **{"seed": 3, "dtype": "float64"} | own | options)


def recorded(name, rng, **options):
    layer = make(name, 3, 6, **options)
    T, B = 25, 2
    tape = layer.record(random_input(layer, T, B, rng), random_state(layer, B, rng))
    tape.backward(random_cotangents(layer, T, B, rng)[0])
    return tape


def runs_or_refuses(function, name, of_tape):
    """Whether it ran; a refusal is a ValueError of one sentence that names the way out."""
    if name in REFUSED.get(function, []):
        with pytest.raises(ValueError, match=r"got .*expected"):
            of_tape()
    else:
        of_tape()


@every
@pytest.mark.parametrize("function", OF_A_TAPE)
def test_measures_run_or_refuse(function, name, rng):
    tape = recorded(name, rng)
    runs_or_refuses(function, name, lambda: getattr(viz, function)(tape))


@every
@pytest.mark.parametrize("plot", PLOTS)
def test_plots_run_or_refuse(plot, name, rng):
    tape = recorded(name, rng)
    runs_or_refuses(f"plot_{plot}", name, lambda: getattr(viz, f"plot_{plot}")(tape, ax=Figure().subplots()))


@every
def test_measures_of_layers_run(name, rng):
    layer = make(name, 3, 4)
    x = random_input(layer, 30, 1, rng)
    assert viz.lyapunov_spectrum(layer, x, 5).shape == (4 * len(layer.cell.states),)
    assert np.isfinite(viz.omission(layer, x)).all()
    figure = viz.overview(recorded(name, rng))
    assert layer.cell.label in figure.get_suptitle()
    plt.close(figure)


@every
def test_jacobians_are_those_of_the_twin(name, rng):
    layer = make(name, 3, 4, 2)
    x, s0 = random_input(layer, 7, 2, rng), random_state(layer, 2, rng)
    norms = viz.jacobian_norms(layer.record(x, s0))
    np.testing.assert_allclose(norms, Explicit(layer, x, s0).norms(), rtol=1e-8, atol=1e-14)


@every
def test_slopes_are_those_of_the_twin(name, rng):
    layer = make(name, 3, 6)
    x = random_input(layer, 20, 2, rng)
    twin = Twin.of(layer)
    steps = twin.forward(x).scans[0][0].steps
    curves = {"LSTM": dict(zip("ifgo", "ffgf", strict=True)), "GRU": dict(zip("rzn", "ffg", strict=True))}
    curves["RNN"] = {"h": "f"}
    found = viz.slopes(layer.record(x))
    expected = set(curves[layer.mode]) - ({"f"} if getattr(layer, "coupled", False) else set())
    assert {key.removeprefix("l0.") for key in found} == expected
    for key, slopes in found.items():
        gate = key.removeprefix("l0.")
        curve = twin.cell.phi if layer.mode == "RNN" else getattr(twin.cell, f"phi_{curves[layer.mode][gate]}")
        a = np.array([steps[t][2]["a" if layer.mode == "RNN" else f"a_{gate}"] for t in range(20)])
        np.testing.assert_allclose(slopes.slope, curve.slope(a), rtol=1e-9, atol=1e-12)
        known = ~np.isnan(slopes.preactivation)
        bounded = np.clip(a, -curve.clip, curve.clip)
        np.testing.assert_allclose(slopes.preactivation[known], bounded[known], rtol=1e-7, atol=1e-9)
        assert known.any()


def test_gates_of_other_activations_than_shares_are_left_out_of_saturation(rng):
    assert list(viz.saturation(recorded("gru", rng))) == ["l0.r", "l0.z"]
    assert viz.saturation(recorded("gru activations", rng)) == {}


@every
def test_recorders_keep_the_options(name, rng, tmp_path):
    layer = make(name, 3, 4)
    recorder = viz.Recorder(every=1, names="*", path=tmp_path / "a.run")
    recorder.record(layer.record(random_input(layer, 5, 2, rng)))
    recorder.close()
    with viz.Run(tmp_path / "a.run") as run:
        assert run[0].cell is layer.cell


@every
def test_the_page_takes_them(name, tmp_path):
    model = SequenceModel(None, make(name, 3, 4), rc.nn.Linear(4, 3, dtype="float64"), loss="mse")
    viz.explore({"layer": make(name, 3, 4), "model": model}, tmp_path / "page.html")
