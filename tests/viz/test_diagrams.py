"""The cell, the unrolled net, coloured text, whole figures."""

import numpy as np
import pytest
from support import make

from rnncore import viz


@pytest.fixture
def taped(rng):
    def make_tape(cell, layers=1, back=True, **options):
        layer = make(cell, 3, 5, layers, **options)
        tape = layer.record(rng.normal(size=(12, 2, 3)))
        if back:
            tape.backward(rng.normal(size=tape.output.shape))
        return tape

    return make_tape


def texts(ax):
    return {t.get_gid(): t.get_text() for t in ax.texts if t.get_gid()}


CELL_NAMES = {"lstm": "c0 c f i g o h0 h", "gru": "h0 h r n z", "rnn-relu": "h0 h"}


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_the_cell_shows_the_values_of_the_step(cell, taped, plt):
    tape = taped(cell)
    ax = viz.plot_cell(tape, step=4, row=1)
    said, strips = texts(ax), {image.get_gid(): image for image in ax.images}
    assert set(strips) == set(CELL_NAMES[cell].split())
    for name, strip in strips.items():
        part, t = name[0], 4 - name.endswith("0")
        values = tape[f"l0.{part}"][t, 1]
        assert float(said[name].replace("−", "-")) == pytest.approx(values.mean(), abs=0.005)
        assert strip.get_array().shape[1] == 5
    flow = viz.gradient_flow(tape)
    assert said["gradient h"].startswith("← ‖∂L/∂h‖ = ")
    assert ("gradient c" in said) == ("l0.c" in flow)


def test_the_cell_shows_one_unit_at_the_first_step(taped, plt):
    tape = taped("lstm", back=False)
    ax = viz.plot_cell(tape, step=0, unit=2, token=" ")
    said = texts(ax)
    assert said["c0"] == "0.00"
    assert float(said["f"]) == pytest.approx(tape["l0.f"][0, 0, 2], abs=0.005)
    assert "gradient h" not in said
    keeps, enters = (100 * tape[name][0, 0, 2] for name in ("l0.f", "l0.i"))
    told = f"unit 2 keeps {keeps:.0f} % of the old and lets in {enters:.0f} % of the new"
    assert ax.get_title() == f"l0 at step 0 of row 0 reading '␣': {told}"
    assert viz.plot_cell(tape, ax).get_title().startswith("l0 at step 11 of row 0: 5 units on average keep ")
    for call, says in (
        (lambda: viz.plot_cell(tape, step=12), "step: got 12"),
        (lambda: viz.plot_cell(tape, layer="l1"), "layer: got 'l1'"),
        (lambda: viz.plot_cell(tape, unit=5), "unit: got 5"),
    ):
        with pytest.raises(ValueError, match=says):
            call()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_edges_of_the_unrolled_net_have_the_colour_of_the_gradient(cell, taped, plt):
    tape = taped(cell, layers=2)
    ax = viz.plot_unrolled(tape, row=1, first=3, last=8)
    (edges,) = [c for c in ax.collections if c.get_gid() == "edges"]
    flow = viz.gradient_flow(tape)
    lanes = ["l0.h", "l0.c", "l1.h", "l1.c"] if cell == "lstm" else ["l0.h", "l1.h"]
    expected = []
    for lane in lanes:
        expected += [flow[lane][t, 1] for t in range(3, 8)]  # to the next step
        if lane == lanes[len(lanes) // 2 - 1]:
            expected += [flow["l0.h"][t, 1] for t in range(3, 9)]  # up to layer 1
    shown = np.asarray(edges.get_array())
    np.testing.assert_allclose(np.sort(shown), np.sort(expected), rtol=1e-6)
    with pytest.raises(ValueError, match="first, last: got 3, 12"):
        viz.plot_unrolled(tape, first=3, last=12)


def test_the_unrolled_net_has_the_edges_of_both_directions(taped, plt):
    """Both directions of a layer feed both of the next, and not each other."""
    ax = viz.plot_unrolled(taped("gru", layers=2, bidirectional=True))
    lanes = ["l0.h", "l0.reverse.h", "l1.h", "l1.reverse.h"]
    assert [t.get_text() for t in ax.get_yticklabels()] == lanes
    (edges,) = [c for c in ax.collections if c.get_gid() == "edges"]
    ends = [path.vertices[[0, -1]] for path in edges.get_paths()]
    up = sorted({(int(a[1]), int(b[1])) for a, b in ends if a[1] != b[1]})
    assert up == [(0, 2), (0, 3), (1, 2), (1, 3)]
    assert {int(b[0] - a[0]) for a, b in ends if a[1] == b[1] == 1} == {-1}  # reverse: to the left


@pytest.mark.parametrize(
    ("values", "norm"),
    [([0.0, 0.5, 1.0], (0, 1)), ([-2.0, 0.5, 1.0], (-2, 2)), ([1.0, 10.0, 100.0], (1, 100))],
)
def test_text_takes_the_scale_that_fits_its_values(values, norm, plt):
    ax = viz.plot_text(values, tokens=["ab", "c\n", "d"], width=4)
    (bar,) = ax.child_axes
    assert bar.get_xlim() == pytest.approx(norm)
    assert "".join(t.get_text() for t in ax.texts) == "abc↵d"
    assert [p.get_xy() for p in ax.patches] == [(0, 0), (2, 0), (0, 1)]
    with pytest.raises(ValueError, match="one per token"):
        viz.plot_text(values, tokens="ab")
    with pytest.raises(ValueError, match="width: got 0"):
        viz.plot_text(values, tokens="abc", width=0)


@pytest.mark.parametrize(("cell", "back"), [("lstm", True), ("gru", False), ("rnn-sigmoid", True)])
def test_whole_figures_have_every_panel_and_no_overlap(cell, back, taped, plt):
    """There is a panel for everything that the tape has values for, and nothing overlaps."""
    tape = taped(cell, back=back)
    gated = cell != "rnn-sigmoid"
    figure = viz.overview(tape, tokens="hello world!")
    titled = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert len(titled) == 2 + 3 * gated + back
    assert figure.get_suptitle().startswith(tape.mode)
    assert_apart(figure)
    plt.close(figure)
    figure = viz.plot_timeline(tape, title="all")
    maps = [ax for ax in figure.axes if ax.get_title()]
    assert len(maps) == 1 + gated + 2 * back
    assert_apart(figure)
    assert len({round(ax.get_position().x0, 3) for ax in maps}) == 1


def assert_apart(figure):
    """No title or axis label of a panel lies on another panel."""
    figure.canvas.draw()
    panels = [ax for ax in figure.axes if ax.get_title()]
    for ax in panels:
        for other in panels:
            if other is not ax:
                box, place = ax.title.get_window_extent(), other.get_window_extent()
                assert not box.overlaps(place), (ax.get_title(), other.get_title())


def test_runs_are_drawn_side_by_side_or_overlaid(taped, plt):
    runs = {"a": taped("gru"), "b": taped("rnn-tanh"), "c": taped("lstm"), "d": taped("lstm")}
    figure = viz.side_by_side(runs, viz.plot_gradient_flow, title="T", row=0)
    axes = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title().split("\n")[0] for ax in axes] == list(runs)
    assert len({ax.get_ylim() for ax in axes}) == 1
    plt.close(figure)
    figure = viz.side_by_side(runs, viz.plot_jacobian_norms)
    (ax,) = figure.axes
    assert len([line for line in ax.lines if line.get_gid() == "jacobian_norms"]) == 4
    plt.close(figure)
    with pytest.raises(ValueError, match="runs: got none"):
        viz.side_by_side({})


def test_a_picture_of_nan_is_drawn(plt):
    """The picture of a run that diverged shows the finite values, and leaves gaps for the others."""
    layer = make("gru", 3, 5)
    x = np.random.default_rng(0).normal(size=(8, 1, 3))
    x[5] = np.nan
    tape = layer.record(x)
    for call in (viz.plot_states, viz.plot_gates, viz.plot_jacobian_norms):
        figure, ax = plt.subplots()
        call(tape, ax)
        figure.canvas.draw()
        plt.close(figure)
