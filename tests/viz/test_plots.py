"""Plots show the numbers of their measures: what the artists hold is what the measures returned."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from drawn import lines, y_of
from support import make

import rnncore as rc
from rnncore import viz

T, B, H = 12, 2, 5


@pytest.fixture
def taped(rng):
    """A function cell -> tape with gradients, and the cotangent that they came from."""

    def make_tape(cell, layers=1, lengths=None, steps=T, **options):
        layer = make(cell, 3, H, layers, **options)
        tape = layer.record(rng.normal(size=(steps, B, 3)), lengths=lengths)
        g = rng.normal(size=tape.output.shape)
        tape.backward(g)
        return tape, g

    return make_tape


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# ---- every plot, in general ---------------------------------------------------------------------


def pictures(tape, g, layer, x):
    """name -> a call that draws it on `ax`: every plot that returns Axes must be here."""
    gated = layer.mode in ("LSTM", "GRU")
    tokens = list("abcdefghijkl")
    found = {
        "plot_connectivity": lambda ax: viz.plot_connectivity(viz.connectivity(tape, g), ax),
        "plot_context_cut": lambda ax: viz.plot_context_cut(
            viz.context_cut(layer, x, lambda y: (y**2).sum(-1)), ax
        ),
        "plot_dependency_map": lambda ax: viz.plot_dependency_map(tape, ax, loss=g),
        "plot_gradient_flow": lambda ax: viz.plot_gradient_flow(tape, ax),
        "plot_gradient_map": lambda ax: viz.plot_gradient_map(tape, ax),
        "plot_horizon": lambda ax: viz.plot_horizon(tape, ax),
        "plot_integrated_gradients": lambda ax: viz.plot_integrated_gradients(
            viz.integrated_gradients(layer, x, g), ax
        ),
        "plot_jacobian_norms": lambda ax: viz.plot_jacobian_norms(tape, ax),
        "plot_lyapunov_convergence": lambda ax: viz.plot_lyapunov_convergence(
            viz.lyapunov_convergence(layer, x), ax
        ),
        "plot_lyapunov_spectrum": lambda ax: viz.plot_lyapunov_spectrum(
            viz.lyapunov_spectrum(layer, x), ax
        ),
        "plot_mean_field": lambda ax: viz.plot_mean_field(tape, ax),
        "plot_memory_capacity": lambda ax: viz.plot_memory_capacity(
            viz.memory_curve(layer, 4, steps=80), ax
        ),
        "plot_norm_preservation": lambda ax: viz.plot_norm_preservation(tape, ax),
        "plot_omission": lambda ax: viz.plot_omission(viz.omission(layer, x), ax),
        "plot_singular_values": lambda ax: viz.plot_singular_values(tape, ax, n=3),
        "plot_states": lambda ax: viz.plot_states(tape, ax),
        "plot_series": lambda ax: viz.plot_series(([0, 5, 10], [3.0, 2.0, 1.5]), ax, name="loss"),
        "plot_step_share": lambda ax: viz.plot_step_share(tape, ax),
        "plot_text": lambda ax: viz.plot_text(np.arange(12.0), ax, tokens=tokens),
        "plot_unrolled": lambda ax: viz.plot_unrolled(tape, ax),
        "plot_cell": lambda ax: viz.plot_cell(tape, ax, step=3),
        "plot_clipping": lambda ax: viz.plot_clipping(np.array([0.5, 3.0]), ax, max_norm=1),
        "plot_coefficients": lambda ax: viz.plot_coefficients(np.ones((3, 1, 1)), ax),
        "plot_forecast": lambda ax: viz.plot_forecast(
            rc.models.Forecast(*np.ones((3, 4, 1)), np.ones((4, 1, 1))), ax
        ),
        "plot_hidden_states": lambda ax: viz.plot_hidden_states(
            (np.array([0, 1]), np.eye(2)), ax, sequence=np.ones(2)
        ),
        "plot_loss_plane": lambda ax: viz.plot_loss_plane(
            viz.LossPlane(("a", "b"), np.arange(3), np.arange(2), np.arange(6).reshape(2, 3)), ax
        ),
        "plot_recurrence": lambda ax: viz.plot_recurrence(tape, ax),
        "plot_slopes": lambda ax: viz.plot_slopes(tape, ax),
        "plot_transition_graph": lambda ax: viz.plot_transition_graph([[0.9, 0.1], [0.2, 0.8]], ax),
        "plot_transition_matrix": lambda ax: viz.plot_transition_matrix([[0.9, 0.1], [0.2, 0.8]], ax),
    }
    if gated:
        found |= {
            "plot_gates": lambda ax: viz.plot_gates(tape, ax),
            "plot_saturation": lambda ax: viz.plot_saturation(tape, ax),
            "plot_timescales": lambda ax: viz.plot_timescales(tape, ax),
        }
    return found


def test_no_line_without_points_takes_room_in_the_layout(plt, rng):
    """matplotlib puts an empty line at the corner of the figure; unless it is clipped, axes make room for it."""
    x, g = rng.normal(size=(T, B, 3)), rng.normal(size=(T, B, 5))
    for cell in ("rnn-relu", "lstm", "gru"):
        layer = make(cell, 3, 5, dtype="float64")
        if cell == "rnn-relu":
            rc.init.identity(layer)
        tape = layer.record(np.abs(x))
        tape.backward(g)
        for name, call in pictures(tape, g, layer, x).items():
            figure, ax = plt.subplots()
            call(ax)
            for line in ax.lines:
                some = np.isfinite(np.asarray(line.get_xydata(), float)).all(1).any()
                assert some or line.get_clip_on(), f"{name}: {line.get_gid()}"
            plt.close(figure)


FIGURES = {"plot_timeline"}  # it makes a figure of several panels, as `viz.overview` does, and takes no axes


@pytest.mark.parametrize("name", sorted(name for name in viz.__all__ if name.startswith("plot_")))
def test_the_axes_come_second_and_all_else_by_name(name):
    first, *others = inspect.signature(getattr(viz, name)).parameters.values()
    assert first.kind is first.POSITIONAL_OR_KEYWORD
    assert first.default is first.empty
    if name not in FIGURES:
        ax = others.pop(0)
        assert (ax.name, ax.kind, ax.default) == ("ax", ax.POSITIONAL_OR_KEYWORD, None)
    assert "ax" not in [other.name for other in others]
    assert {other.kind for other in others} <= {first.KEYWORD_ONLY, first.VAR_KEYWORD}


@pytest.mark.parametrize(
    ("cell", "on_given_axes"), [("lstm", True), ("lstm", False), ("gru", True), ("rnn-relu", True)]
)
def test_every_plot_draws_on_the_given_axes(cell, on_given_axes, taped, plt, rng):
    tape, g = taped(cell)
    x = rng.normal(size=(T, B, 3))
    calls = pictures(tape, g, tape.layer, x)
    for name, call in calls.items():
        figure, (left, right) = plt.subplots(1, 2)
        plt.sca(right)
        ax = call(left if on_given_axes else None)
        assert ax is (left if on_given_axes else right), name
        assert ax.get_title(), name
        assert ax.lines or ax.images or ax.patches or ax.collections, name
        if cell == "lstm" and on_given_axes:
            figure.canvas.draw()
        plt.close(figure)
    if cell == "lstm":
        every = {n for n in viz.__all__ if n.startswith("plot_")} - FIGURES
        assert set(calls) == every


def test_matplotlib_is_imported_by_the_first_picture():
    code = (
        "import sys\n"
        "from rnncore import viz\n"
        "viz.plot_states, viz.style.LINES\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ---- decay over lag -----------------------------------------------------------------------------


def test_jacobian_norms_are_drawn_with_their_fit(taped, plt):
    tape, _ = taped("lstm")
    norms = viz.jacobian_norms(tape)
    ax = viz.plot_jacobian_norms(tape, row=1)
    (line,) = lines(ax, "jacobian_norms")
    np.testing.assert_array_equal(y_of(line), norms[:, 1])
    np.testing.assert_array_equal(line.get_xdata(), np.arange(T))
    assert ax.get_yscale() == "log"
    (fit,) = lines(ax, "fit")
    rate, level = viz.decay_fit(norms[:, 1])
    np.testing.assert_allclose(y_of(fit), np.exp(level + rate * np.arange(1, T)))


def test_the_title_gives_the_rate_of_decay(plt):
    halves = 0.5 ** (np.arange(30.0) / 3.1)
    ax = viz.plot_jacobian_norms(halves)
    assert ax.get_title() == "The gradient halves every 3.1 steps"
    grown = viz.plot_jacobian_norms(2.0 ** (np.arange(30.0) / 5), plt.figure().gca())
    assert grown.get_title() == "The gradient doubles every 5 steps"
    plt.close()
    flat = viz.plot_jacobian_norms(np.ones(30), plt.figure().gca())
    assert flat.get_title() == "The gradient neither fades nor grows"
    plt.close()


def test_runs_overlay_with_their_own_look(plt):
    norms = 0.5 ** np.arange(20.0)
    ax = viz.plot_jacobian_norms(norms, label="a")
    viz.plot_jacobian_norms(0.9 ** np.arange(25.0), label="b")
    viz.plot_jacobian_norms(norms, label="c", color="black", lw=3)
    a, b, c = lines(ax, "jacobian_norms")
    assert len({(line.get_color(), line.get_marker()) for line in (a, b, c)}) == 3
    assert (c.get_color(), c.get_linewidth()) == ("black", 3)
    assert labels(ax)[:2] == ["a: halves every 1 step", "b: halves every 6.6 steps"]
    assert ax.get_title() == "How much of the gradient remains k steps back"
    for guide in lines(ax, "guide"):
        gamma = y_of(guide)[1]
        np.testing.assert_allclose(y_of(guide), gamma ** np.arange(len(y_of(guide))))


def test_a_batch_is_a_median_with_a_band(plt):
    norms = np.array([[1, 1, 1], [0.5, 0.25, 0.1], [0.2, 0.1, np.nan]])
    ax = viz.plot_jacobian_norms(norms, fit=False)
    np.testing.assert_allclose(y_of(lines(ax, "jacobian_norms")[0]), [1, 0.25, 0.15])
    (band,) = ax.collections
    y = band.get_paths()[0].vertices[:, 1]
    assert (y.min(), y.max()) == (0.1, 1)


def test_the_end_of_float32_and_exact_zeros_are_drawn_apart(plt):
    sizes = 10.0 ** -np.arange(0.0, 45.0, 5)
    ax = viz.plot_gradient_flow({"l0.h": np.r_[0, 0, sizes[::-1]][:, None]})
    (floor,) = lines(ax, "floor")
    assert floor.get_ydata()[0] == np.finfo(np.float32).tiny
    (zeros,) = lines(ax, "zeros")
    assert zeros.get_xdata().tolist() == [0, 1]
    assert np.isnan(y_of(lines(ax, "gradient_flow")[0])[:2]).all()
    assert ax.get_title() == "The gradient is exactly 0 before step 2"
    assert "exactly 0" in labels(ax)
    near = viz.plot_jacobian_norms(0.9 ** np.arange(9.0), plt.figure().gca())
    assert not lines(near, "floor")
    plt.close()


def test_horizon_marks_lie_on_the_curve(plt):
    norms = 0.8 ** np.arange(60.0)
    ax = viz.plot_horizon(norms, eps=0.01)
    for kind, lag in {"half-life (50 % of lag 1)": 5, "horizon (1 % of lag 1)": 21}.items():
        (mark,) = lines(ax, kind)
        assert mark.get_xdata()[0] == lag
        assert mark.get_ydata()[0] == pytest.approx(0.8**lag)
    assert ax.get_title() == "1 % of the norm at lag 1 remains 21 steps back"


def test_singular_values_are_drawn_one_line_each(taped, plt):
    tape, _ = taped("gru")
    ax = viz.plot_singular_values(tape, n=3, row=1)
    _, sigma = viz.singular_values(tape, 3)
    for i, line in enumerate(lines(ax, "singular_values")):
        np.testing.assert_array_equal(y_of(line), sigma[:, 1, i])
    assert labels(ax) == ["σ₁", "σ₃"]


# ---- over time ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("cell", "names"), [("lstm", ["l0.h", "l0.c"]), ("gru", ["l0.h"])])
def test_gradient_flow_is_drawn_one_line_per_state(cell, names, taped, plt):
    tape, _ = taped(cell)
    ax = viz.plot_gradient_flow(tape, row=0, label="run")
    found, flow = lines(ax, "gradient_flow"), viz.gradient_flow(tape)
    for line, name in zip(found, names, strict=True):
        np.testing.assert_array_equal(y_of(line), flow[name][:, 0])
    assert labels(ax) == [f"run {name}" for name in names]
    assert "time →" in ax.get_xlabel()
    assert "← gradient" in ax.get_xlabel()


def test_states_are_centred_and_in_the_given_order(taped, plt):
    tape, _ = taped("lstm", layers=2)
    ax = viz.plot_states(tape, row=1)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["l0.h", "l0.c", "l1.h", "l1.c"]
    for image in ax.images:
        name = image.get_gid()
        order = viz.unit_order(tape, name[:2])
        np.testing.assert_allclose(image.get_array(), tape[name][:, 1][:, order].T, rtol=1e-6)
        assert image.norm.vmin == -image.norm.vmax
    assert ax.images[0].norm is ax.images[2].norm
    plain = viz.plot_states(tape, plt.figure().gca(), names=["l1.c"], order=None)
    np.testing.assert_allclose(plain.images[0].get_array(), tape["l1.c"][:, 0].T, rtol=1e-6)
    plt.close()


@pytest.mark.parametrize(("cell", "gates"), [("lstm", "i f g o"), ("gru", "r z n hn")])
def test_gates_are_all_there_with_fixed_limits(cell, gates, taped, plt):
    tape, _ = taped(cell)
    ax = viz.plot_gates(tape)
    assert [i.get_gid() for i in ax.images] == [f"l0.{g}" for g in gates.split()]
    for image in ax.images:
        limits = (image.norm.vmin, image.norm.vmax)
        signed = image.get_gid().rpartition(".")[2] in ("g", "n", "hn")
        if signed:
            assert limits[0] == -limits[1]
        else:
            assert limits == (0, 1)
            assert image.cmap.name == viz.style.GATES
        order = viz.unit_order(tape)
        np.testing.assert_allclose(
            image.get_array(), tape[image.get_gid()][:, 0][:, order].T, rtol=1e-6
        )


def test_a_ragged_row_is_drawn_up_to_its_end(taped, plt):
    tape, _ = taped("lstm", lengths=[12, 7])
    assert viz.plot_states(tape, row=1).images[0].get_array().shape == (H, 7)
    assert viz.plot_gates(tape, plt.figure().gca(), row=1).images[0].get_array().shape == (H, 7)
    plt.close()


def test_past_the_end_of_a_row_there_is_no_gradient_rather_than_zero(taped, plt):
    tape, _ = taped("gru", lengths=[12, 7])
    ax = viz.plot_gradient_flow(tape, row=1)
    assert not lines(ax, "zeros")
    assert np.isnan(y_of(lines(ax, "gradient_flow")[0])[7:]).all()


def test_ten_lines_all_look_different(plt):
    for k in range(10):
        ax = viz.plot_memory_capacity(np.ones(3), label=str(k))
    looks = {(a.get_color(), a.get_marker()) for a in lines(ax, "memory_capacity")}
    assert len(looks) == 10


def test_a_gradient_map_shows_the_gradient_of_every_unit(taped, plt):
    tape, _ = taped("gru")
    ax = viz.plot_gradient_map(tape, order=None)
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), tape.grad["l0.h"][:, 0].T, rtol=1e-6)
    assert image.norm.vmin == -image.norm.vmax
    assert "← gradient" in ax.get_xlabel()


def test_norm_preservation_is_drawn_step_by_step(taped, plt):
    tape, _ = taped("rnn-tanh")
    ax = viz.plot_norm_preservation(tape, row=0)
    np.testing.assert_array_equal(
        y_of(lines(ax, "norm_preservation")[0]), viz.norm_preservation(tape)[:, 0]
    )
    assert ax.get_title().startswith("Half of the steps multiply the norm of the gradient by 0.")


def test_step_share_is_drawn_in_percent(taped, plt):
    tape, _ = taped("lstm")
    ax = viz.plot_step_share(tape, row=1, names=["weight_hh_l0"])
    share = viz.step_share(tape)["weight_hh_l0"][:, 1]
    np.testing.assert_allclose(y_of(lines(ax, "step_share")[0]), 100 * share)
    half = viz.steps_for_half(share[:, None])[0]
    assert ax.get_title() == f"Half of weight_hh_l0's gradient comes from {half} of 12 steps"


def test_a_dependency_map_is_drawn_in_logarithmic_colours(taped, plt):
    tape, g = taped("lstm")
    sizes = viz.dependency_map(tape, g)[:, :, 1]
    ax = viz.plot_dependency_map(tape, loss=g, row=1, decades=20)
    shown = ax.images[0].get_array()
    np.testing.assert_array_equal(shown.mask, np.isnan(sizes))
    np.testing.assert_allclose(shown.compressed(), sizes[~np.isnan(sizes)])
    assert type(ax.images[0].norm).__name__ == "LogNorm"
    with pytest.raises(ValueError, match="loss: got None"):
        viz.plot_dependency_map(tape)


def test_connectivity_is_drawn_as_text_or_as_a_map(taped, plt):
    tape, g = taped("gru")
    sizes = viz.connectivity(tape, g)
    ax = viz.plot_connectivity(sizes, step=-2, tokens=list("hello world!"))
    cells = ax.patches
    colours = plt.get_cmap(viz.style.GATES)
    assert len(cells) == 12
    np.testing.assert_allclose(cells[4].get_facecolor(), colours(sizes[10, 4, 0]))
    assert cells[10].get_linewidth() == 2
    assert cells[11].get_facecolor() == (1, 1, 1, 1)
    assert "step 10" in ax.get_title()
    image = viz.plot_connectivity(sizes, plt.figure().gca()).images[0]
    np.testing.assert_allclose(
        image.get_array().compressed(), sizes[:, :, 0][~np.isnan(sizes[:, :, 0])]
    )
    plt.close()


# ---- units, spectra, curves ---------------------------------------------------------------------


def test_timescales_are_sorted_and_units_that_never_forget_marked(plt):
    ax = viz.plot_timescales({"l0": np.array([2.0, np.inf, 8.0])})
    (line,) = lines(ax, "timescales")
    assert y_of(line).tolist() == [8, 2]
    np.testing.assert_allclose(line.get_xdata(), [0.5, 5 / 6])
    assert len(lines(ax, "never")[0].get_xdata()) == 1
    assert ax.get_title() == "By their gates alone, half of the units keep their values for 8 steps or more"


def test_saturation_has_a_dot_per_unit(taped, plt):
    tape, _ = taped("lstm", layers=2)
    ax, shares = viz.plot_saturation(tape), viz.saturation(tape)
    for line, (name, share) in zip(lines(ax, "saturation"), shares.items(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), share.low)
        np.testing.assert_array_equal(line.get_ydata(), share.high)
        assert line.get_label() == name
    with pytest.raises(ValueError, match="expected an LSTM or a GRU"):
        viz.plot_saturation(taped("rnn-relu")[0])


def test_a_lyapunov_spectrum_is_drawn_against_the_share_of_directions(plt):
    ax = viz.plot_lyapunov_spectrum([0.5, 0.0, -1.0, -2.0], label="a")
    (line,) = lines(ax, "lyapunov_spectrum")
    assert line.get_xdata().tolist() == [0.25, 0.5, 0.75, 1]
    assert y_of(line).tolist() == [0.5, 0, -1, -2]
    assert ax.get_title() == "The largest of 4 exponents is λ₁ = 0.5"
    viz.plot_lyapunov_spectrum([-np.log(2) / 4, -np.inf], label="b")
    assert labels(ax) == ["a", "b"]


def test_the_mean_field_map_shows_the_layers_of_the_run(taped, plt):
    tape, _ = taped("rnn-tanh")
    ax, found = viz.plot_mean_field(tape), viz.mean_field(tape)["l0"]
    (run,) = lines(ax, "run")
    assert (run.get_xdata()[0], run.get_ydata()[0]) == (found.sigma_b, found.sigma_w)
    assert ax.get_title().startswith("If the weights were random: χ = ")
    gated = viz.plot_mean_field(taped("gru")[0], plt.figure().gca())
    assert lines(gated, "edge")[0].get_xdata()[0] == 1
    assert gated.get_legend() is None
    (name,) = [text for text in gated.texts if text.get_gid() == "name"]
    (dot,) = lines(gated, "run")
    assert name.get_text().startswith("l0: χ = ")
    assert name.xy == (dot.get_xdata()[0], dot.get_ydata()[0])
    plt.close()


def test_integrated_gradients_show_their_residual(plt):
    value = np.array([[[1.0]], [[-2.0]], [[0.5]]])
    ax = viz.plot_integrated_gradients(viz.Attribution(value, np.array([0.25])), tokens="abc")
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == [1, -2, 0.5, 0.25]
    assert ax.patches[1].get_hatch()
    assert not ax.patches[0].get_hatch()
    assert "'b' at step 1" in ax.get_title()


def test_curves_and_bars_show_their_numbers(plt):
    ax = viz.plot_memory_capacity(np.array([1.0, 0.5, 0.0]), label="net")
    assert y_of(lines(ax, "memory_capacity")[0]).tolist() == [1, 0.5, 0]
    assert labels(ax) == ["net: 1.5"]
    contexts, change = np.array([1, 2, 4]), np.array([[2.0, 4.0], [0.0, 1.0], [0.0, 0.0]])
    cut = viz.plot_context_cut((contexts, change), plt.figure().gca())
    assert y_of(lines(cut, "context_cut")[0]).tolist() == [3, 0.5, 0]
    assert cut.get_title() == "More than 1 step of context is used; how many, is within the error"
    plt.close()
    bars = viz.plot_omission(np.array([[0.1], [0.7], [0.2]]), plt.figure().gca())
    assert [bar.get_height() for bar in bars.patches] == [0.1, 0.7, 0.2]
    plt.close()
    estimate = np.array([[-1.0, -3.0], [-0.5, -2.0]])
    settled = viz.plot_lyapunov_convergence((np.array([1, 2]), estimate), plt.figure().gca())
    np.testing.assert_array_equal(y_of(lines(settled, "lyapunov_convergence")[0]), [-1, -0.5])
    plt.close()
    # directions that a ReLU removes completely
    dead = np.array([[-1.0, -np.inf, -np.inf], [-0.5, -np.inf, -np.inf]])
    ax = viz.plot_lyapunov_convergence((np.array([1, 2]), dead), plt.figure().gca())
    assert labels(ax) == ["λ$_{1}$ = −0.5", "λ$_{2}$ = −∞", "λ$_{3}$ = −∞"]
    assert len({tuple(line.get_color()) for line in lines(ax, "lyapunov_convergence")}) == 3
    plt.close()


def test_series_are_drawn_against_the_updates(plt):
    class Recorded:
        def series(self, name):
            values = {"lyapunov": [-0.5, -0.1], "gradient_norm": [1.0, 100.0]}.get(name, [])
            return np.arange(len(values)) * 10, np.array(values)

    ax = viz.plot_series(Recorded(), label="a")
    assert y_of(lines(ax, "series")[0]).tolist() == [-0.5, -0.1]
    assert lines(ax, "series")[0].get_xdata().tolist() == [0, 10]
    assert lines(ax, "divide")[0].get_ydata()[0] == 0
    viz.plot_series(Recorded(), label="b")
    assert ax.get_title() == "λ₁ during training"
    steep = viz.plot_series(Recorded(), plt.figure().gca(), name="gradient_norm")
    assert (steep.get_yscale(), steep.get_title()) == (
        "log",
        "Norm of the gradient is 1 at update 0 and 100 at update 10",
    )
    plt.close()
    with pytest.raises(ValueError, match="name: got 'horizon'"):
        viz.plot_series(Recorded(), ax, name="horizon")
