"""Pictures that explain how gradients vanish and explode: slopes, clipping, cliffs, the unrolled network."""

import math

import matplotlib.pyplot as pyplot
import numpy as np
import pytest
from drawn import legend_of, lines, texts, y_of
from support import make

import rnncore as rc
from rnncore import viz
from rnncore.nn import sequence_model
from rnncore.optim import Adam
from rnncore.train import Trainer

# ---- slopes ---------------------------------------------------------------------------------------


def preactivation(layer, x, h):
    """W x + b + U h + b', of one layer without gates."""
    w = {name: np.asarray(a, np.float64) for name, a in layer.state_dict().items()}
    return x @ w["weight_ih_l0"].T + w["bias_ih_l0"] + h @ w["weight_hh_l0"].T + w["bias_hh_l0"]


@pytest.mark.parametrize("curve", ["tanh", "sigmoid", "relu"])
def test_preactivations_are_computed_back_from_the_values(curve, rng):
    layer = make(f"rnn-{curve}", 3, 5, dtype="float64")
    x = rng.normal(size=(8, 2, 3))
    tape = layer.record(x)
    (name, found), = viz.slopes(tape).items()
    assert (name, found.curve) == ("l0.h", curve)
    before = np.concatenate([np.zeros((1, 2, 5)), tape["l0.h"][:-1]])
    a = preactivation(layer, x, before)
    if curve == "relu":
        np.testing.assert_array_equal(np.isnan(found.preactivation), a <= 0)
        np.testing.assert_allclose(found.preactivation[a > 0], a[a > 0], rtol=1e-9)
        np.testing.assert_array_equal(found.slope, a > 0)
        return
    np.testing.assert_allclose(found.preactivation, a, rtol=1e-9, atol=1e-12)
    step = 1e-5
    phi = np.tanh if curve == "tanh" else lambda a: 1 / (1 + np.exp(-a))
    np.testing.assert_allclose(found.slope, (phi(a + step) - phi(a - step)) / (2 * step), rtol=1e-8)


@pytest.mark.parametrize(("cell", "gates"), [("lstm", "ifgo"), ("gru", "rzn")])
def test_all_gates_with_a_nonlinearity_have_slopes(cell, gates, rng):
    tape = make(cell, 3, 5, 2).record(rng.normal(size=(8, 2, 3)), lengths=[8, 3])
    found = viz.slopes(tape)
    assert set(found) == {f"l{k}.{gate}" for k in range(2) for gate in gates}
    for name, each in found.items():
        assert np.isnan(each.slope[3:, 1]).all()
        known = each.slope[~np.isnan(each.slope)]
        assert len(known) == 11 * 5
        assert 0 < known.min() < known.max() <= (1 if name[-1] in "gn" else 0.25)


def test_the_lanes_hold_the_distribution_of_the_preactivations(rng, plt):
    tape = make("lstm", 3, 5).record(rng.normal(size=(30, 2, 3)))
    found = viz.slopes(tape)
    ax = viz.plot_slopes(tape, names=["l0.f", "l0.g"])
    densities = [patch for patch in ax.patches if patch.get_gid() == "density"]
    ranges, medians, marks = lines(ax, "range"), lines(ax, "median"), lines(ax, "median slope")
    for k, name in enumerate(("l0.f", "l0.g")):
        a = np.sort(found[name].preactivation.ravel())
        low, high = a[math.ceil(0.05 * len(a)) - 1], a[math.ceil(0.95 * len(a)) - 1]
        np.testing.assert_allclose(ranges[k].get_xdata(), [low, high])
        middle = a[math.ceil(0.5 * len(a)) - 1]
        assert medians[k].get_xdata()[0] == pytest.approx(middle)
        (at,), (half,) = marks[k].get_xdata(), y_of(marks[k])
        assert half == pytest.approx(np.median(found[name].slope))
        assert half == pytest.approx(1 / np.cosh(at) ** 2 if name == "l0.g" else 0.25 / np.cosh(at / 2) ** 2, rel=1e-3)
        assert np.sign(at) == np.sign(middle)
        values, edges, foot = densities[k].get_data()
        counts, _ = np.histogram(a, edges)
        height = values - foot
        np.testing.assert_allclose(height / height.sum(), counts / counts.sum(), atol=1e-12)
    (sigma,), (tanh,) = lines(ax, "sigmoid"), lines(ax, "tanh")
    assert (y_of(sigma).max(), y_of(tanh).max()) == (0.25, 1)


def slopes_of(curve, slope):
    slope = np.asarray(slope, float)
    return {"l0.h": viz.Slopes(curve, np.zeros_like(slope), slope)}


@pytest.mark.parametrize(
    ("curve", "slope", "title"),
    [
        ("sigmoid", [0.1, 0.1, 0.25], "Half of the slopes of l0.h are below 0.1; σ′ is at most 0.25"),
        ("tanh", [0.5, 0.5, 0.01], "Half of the slopes of l0.h are below 0.5; tanh′ is at most 1"),
        ("tanh", [0.0, 1.0, 1.0, 1.0], "25 % of the slopes of l0.h are exactly 0"),
        ("relu", [0.0, 0.0], "All slopes of l0.h are exactly 0"),
        ("relu", [1.0, 1.0], "At least half of the slopes of l0.h are 1, the most there can be"),
        ("tanh", [0.2, np.nan, np.nan], "Half of the slopes of l0.h are below 0.2; tanh′ is at most 1"),
    ],
)
def test_the_title_says_how_small_the_slopes_are(curve, slope, title, plt):
    assert viz.plot_slopes(slopes_of(curve, slope)).get_title() == title


def test_saturation_in_float32_gives_slopes_of_exactly_0(plt):
    layer = rc.RNN(1, 4, nonlinearity="sigmoid", seed=0)
    tape = layer.record(np.full((10, 1, 1), 1e4))
    found = viz.slopes(tape)["l0.h"]
    assert np.isinf(found.preactivation).any()
    assert (found.slope == 0).any()
    share = f"{100 * np.mean(found.slope == 0):.0f} %"
    assert viz.plot_slopes(tape).get_title() == f"{share} of the slopes of l0.h are exactly 0"


def test_the_share_of_a_relu_below_0_is_said(rng, plt):
    tape = make("rnn-relu", 3, 40).record(rng.normal(size=(30, 2, 3)))
    share = np.mean(tape["l0.h"] == 0)
    ax = viz.plot_slopes(tape)
    assert texts(ax, "zeros") == [f"{100 * share:.0f} % are ≤ 0: slope 0"]
    assert ax.get_title() == f"{100 * share:.0f} % of the slopes of l0.h are exactly 0"


def test_slopes_of_nothing_are_refused(plt):
    with pytest.raises(ValueError, match=r"^names: got \['l0.x'\]"):
        viz.plot_slopes(slopes_of("tanh", [1.0]), names=["l0.x"])
    with pytest.raises(ValueError, match=r"^tape: got no slope of l0.h"):
        viz.plot_slopes(slopes_of("tanh", [np.nan]))
    assert not plt.get_fignums()


# ---- clipping -------------------------------------------------------------------------------------


def test_norms_above_the_limit_are_drawn_down_to_it(plt):
    norms = np.array([0.3, 0.5, 20.0, 0.4, 3.0])
    ax = viz.plot_clipping(norms, max_norm=1)
    (kept,), (clipped,) = lines(ax, "clipping"), lines(ax, "clipped")
    assert (kept.get_xdata().tolist(), y_of(kept).tolist()) == ([1, 2, 4], [0.3, 0.5, 0.4])
    assert (clipped.get_xdata().tolist(), y_of(clipped).tolist()) == ([3, 5], [20, 3])
    assert kept.get_marker() != clipped.get_marker()
    (cut,) = [c for c in ax.collections if c.get_gid() == "cut"]
    assert [segment[:, 1].tolist() for segment in cut.get_segments()] == [[1, 20], [1, 3]]
    (limit,) = lines(ax, "limit 1")
    assert set(y_of(limit)) == {1}
    assert ax.get_yscale() == "log"


@pytest.mark.parametrize(
    ("norms", "title"),
    [
        ([0.5, 0.5, 5.0, 0.5], "Clipping to 1 shortens 25 % of the updates, one of them 5-fold"),
        ([0.5, 1.0], "No gradient is longer than 1"),
        ([2.0, 4.0], "Every gradient is longer than 1, one of them 4 times"),
        ([0.5, np.inf, 5.0],
         "Clipping to 1 shortens 50 % of the finite gradients, one of them 5-fold; 1 is infinite"),
        ([np.nan, np.nan], "No gradient is finite"),
        ([0.5] * 999 + [5.0], "Clipping to 1 shortens less than 1 % of the updates, one of them 5-fold"),
        ([5.0] * 999 + [0.5], "Clipping to 1 shortens more than 99 % of the updates, one of them 5-fold"),
    ],
)
def test_the_title_says_how_many_updates_are_clipped(norms, title, plt):
    assert viz.plot_clipping(np.array(norms), max_norm=1).get_title() == title


def test_a_recorder_has_the_norms_before_clipping(rng, plt):
    model = sequence_model("gru", 5, hidden_size=4, seed=0)
    windows = [(rng.integers(5, size=(7, 2)), rng.integers(5, size=(7, 2))) for _ in range(3)]
    recorder, seen = viz.Recorder(every=1), []
    trainer = Trainer(
        model, Adam(model, 0.01), windows, max_norm=1e-3, callbacks=[recorder, lambda t: seen.append(t.grad_norm)]
    )
    trainer.fit(6, progress=False)
    ax = viz.plot_clipping(recorder, max_norm=1e-3)
    assert len(seen) == 6
    np.testing.assert_allclose(y_of(lines(ax, "clipped")[0]), seen, rtol=1e-5)
    assert ax.get_title().startswith("Every gradient is longer than 0.001")


def test_runs_with_and_without_large_gradients_overlay(plt):
    ax = viz.plot_clipping(np.array([0.5, 2.0]), max_norm=1, label="a")
    viz.plot_clipping((np.array([10, 20]), np.array([0.5, 0.2])), max_norm=1, label="b")
    a, b = lines(ax, "clipping")
    assert a.get_color() != b.get_color()
    assert len(lines(ax, "limit 1")) == 1
    assert legend_of(ax) == ["a: 50 % clipped", "max_norm = 1", "b: 0 % clipped"]
    assert ax.get_title() == "Norms of gradients before clipping"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: viz.plot_clipping("run", max_norm=1), "run: got 'run', expected a Recorder"),
        (lambda: viz.plot_clipping(np.ones((2, 2)), max_norm=1), r"run: got an array of shape \(2, 2\)"),
        (lambda: viz.plot_clipping(([1], [1, 2]), max_norm=1), "run: got a tuple of 2"),
        (lambda: viz.plot_clipping(np.array([]), max_norm=1), "run: got no norm"),
        (lambda: viz.plot_clipping(np.array([1.0, -2.0]), max_norm=1), "run: got the norm -2"),
        (lambda: viz.plot_clipping(np.array([1.0]), max_norm=0), "max_norm: got 0"),
    ],
)
def test_what_has_no_norms_is_refused(call, message, plt):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call()
    assert not plt.get_fignums()


# ---- the loss over two weights --------------------------------------------------------------------

ALONG = (("weight_hh_l0", (0, 1)), ("bias_ih_l0", (2,)))


def test_the_plane_is_the_loss_of_a_layer_with_these_weights(rng):
    layer = make("gru", 2, 3, dtype="float64")
    x, target = rng.normal(size=(6, 2, 2)), rng.normal(size=(6, 2, 3))
    state = rng.normal(size=(1, 2, 3))
    before = layer.state_dict()
    across, up = rng.normal(size=4), rng.normal(size=3)
    plane = viz.loss_plane(
        layer, x, lambda y: rc.nn.mse(y, target), along=ALONG, x=across, y=up, state=state)
    assert plane.names == ("weight_hh_l0[0, 1]", "bias_ih_l0[2]")
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    other = make("gru", 2, 3, dtype="float64")
    for i, j in ((0, 0), (2, 1), (1, 3)):
        with other.writable() as w:
            w["weight_hh_l0"][0, 1], w["bias_ih_l0"][2] = across[j], up[i]
        expected = np.mean((other(x, state)[0] - target) ** 2)
        assert plane.loss[i, j] == pytest.approx(expected, rel=1e-12)


PLANE = viz.LossPlane(("w", "b"), np.linspace(-1, 1, 21), np.linspace(-1, 1, 11), np.zeros((11, 21)))


def plane_of(loss):
    return PLANE._replace(loss=np.broadcast_to(loss, (11, 21)))


@pytest.mark.parametrize(
    ("loss", "title"),
    [
        (np.zeros((1, 1)), "The loss is the same everywhere"),
        (PLANE.x[None] * 3, "The steepest slope is ≥ 1 times the median slope"),
        (np.where(PLANE.x > 0.85, 1.0, 0.0)[None], "The loss is flat at half of the points"),
        (np.where(PLANE.x > 0.35, 4.0, 0.01 * PLANE.x)[None], "The steepest slope is ≥ 1900 times the median slope"),
        (np.where(PLANE.x > 0.85, np.nan, PLANE.x)[None], "The steepest slope is ≥ 1 times the median slope"),
    ],
)
def test_the_title_says_how_steep_the_loss_is_at_least(loss, title, plt):
    assert viz.plot_loss_plane(plane_of(loss)).get_title() == title


def test_the_plane_is_drawn_with_the_paths_up_to_where_they_leave_it(plt):
    loss = np.arange(231.0).reshape(11, 21)
    stays = np.array([[0.0, 0.0], [0.1, 0.1], [0.2, 0.1]]), np.array([3.0, 2.0, 0.25])
    leaves = np.array([[0.0, 0.5], [0.5, 0.5], [3.0, 0.5], [0.0, 0.0]]), np.array([3.0, 2.0, 9.0, 8.0])
    ax = viz.plot_loss_plane(plane_of(loss), paths={"clipped": stays, "free": leaves})
    (mesh,) = [c for c in ax.collections if c.get_gid() == "loss_plane"]
    np.testing.assert_array_equal(np.ravel(mesh.get_array()), loss.ravel())
    first, second = lines(ax, "path")
    np.testing.assert_array_equal(first.get_xydata(), stays[0])
    np.testing.assert_array_equal(second.get_xydata(), leaves[0][:2])
    assert legend_of(ax) == [
        "clipped: ends at loss 0.25 after 2 updates",
        "free: leaves the plane at update 2, ends at loss 8 after 3 updates",
    ]
    (arrow,) = [text for text in ax.texts if text.arrow_patch is not None]
    assert tuple(arrow.xy) == (3.0, 0.5)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-1, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: viz.loss_plane(
            layer, np.ones((2, 1, 1)), np.sum, along=(("w", 0), ("b", 0)), x=[0, 1], y=[0, 1]),
         r"along: got \('w', 0\), expected \(name, index\) of one weight: weight_ih_l0"),
        (lambda layer: viz.loss_plane(
            layer, np.ones((2, 1, 1)), np.sum, along=(("bias_ih_l0", 0), ("bias_ih_l0", 0)), x=[0, 1], y=[0, 1]),
         "along: got .*, expected two different weights"),
        (lambda layer: viz.loss_plane(
            layer, np.ones((2, 1, 1)), np.sum, along=(("bias_ih_l0", 0), ("bias_hh_l0", 0)), x=[0], y=[0, 1]),
         r"x: got shape \(1,\)"),
        (lambda layer: viz.plot_loss_plane(np.ones((3, 3))), "plane: got an array of shape"),
        (lambda layer: viz.plot_loss_plane(PLANE._replace(x=[0, 1])), r"plane: got losses of shape \(11, 21\) for 2"),
        (lambda layer: viz.plot_loss_plane(PLANE, paths={"a": np.ones((3, 2))}),
         "paths: got an array of shape .* for 'a'"),
    ],
)
def test_what_is_no_plane_is_refused(call, message, plt):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call(rc.RNN(1, 1, seed=0))
    assert not plt.get_fignums()


# ---- the unrolled network with its inputs ---------------------------------------------------------


def strips(ax):
    return {image.get_gid(): np.asarray(image.get_array())[0] for image in ax.images}


def test_the_boxes_hold_inputs_states_and_outputs(rng, plt):
    model = sequence_model("rnn-tanh", 5, hidden_size=4, embedding_size=3, seed=0)
    record = model.record(rng.integers(5, size=(9, 2)))
    ax = viz.plot_recurrence(record, row=1, first=2, last=4, tokens="abcdefghi")
    found, tape = strips(ax), record.tape
    assert set(found) == {f"{part} {k}" for part in ("x", "l0.h", "y") for k in range(3)}
    for k in range(3):
        np.testing.assert_allclose(found[f"x {k}"], tape.input[2 + k, 1])
        np.testing.assert_allclose(found[f"l0.h {k}"], tape["l0.h"][2 + k, 1])
        np.testing.assert_allclose(found[f"y {k}"], record.output[2 + k, 1])
    assert texts(ax, "token") == ["c", "d", "e"]
    weights = sum(a.size for a in model.layer.state_dict().values())
    assert ax.get_title() == f"The same {weights:,} weights of the layer act at each of the 9 steps"
    colours = {gid: {patch.get_edgecolor() for patch in ax.patches if patch.get_gid() == gid}
               for gid in ("l0 into", "l0 over", "out")}
    assert [len(each) for each in colours.values()] == [1, 1, 1]
    assert len(set.union(*colours.values())) == 3
    count = {gid: sum(patch.get_gid() == gid for patch in ax.patches) for gid in colours}
    assert count == {"l0 into": 3, "l0 over": 4, "out": 3}     # one arrow comes from the step before, and one goes on


@pytest.mark.parametrize("cell", ["rnn-relu", "gru", "lstm"])
def test_every_layer_and_direction_has_a_row(cell, rng, plt):
    tape = make(cell, 3, 4, 2, bidirectional=True).record(rng.normal(size=(6, 2, 3)))
    ax = viz.plot_recurrence(tape)
    lanes = ["l0", "l0.reverse", "l1", "l1.reverse"]
    assert {gid.rpartition(" ")[0] for gid in strips(ax)} == {"x", *(f"{lane}.h" for lane in lanes)}
    into = {lane: sum(p.get_gid() == f"{lane} into" for p in ax.patches) for lane in lanes}
    assert into == dict.fromkeys(lanes, 3)
    assert texts(ax, "lane") == lanes
    starts = {lane: [tuple(p.get_path().vertices[0]) for p in ax.patches if p.get_gid() == f"{lane} into"]
              for lane in lanes}
    assert starts["l1"] == starts["l1.reverse"]                # where both directions are joined
    joined = [line.get_xydata() for line in ax.lines if line.get_gid() == "l0 joined 0"]
    assert all(tuple(line[-1]) == pytest.approx(starts["l1"][0], abs=0.05) for line in joined)
    assert len(joined) == 3                                    # a line from each of the two, and the dot
    assert "a dot: the states of both directions" in " ".join(texts(ax, "note")[0].split())
    arrows = [p for p in ax.patches if p.get_gid() == "l0.reverse over"]
    ends = [arrow.get_path().vertices[:, 0] for arrow in arrows]
    assert all(x[0] > x[1] for x in ends)


@pytest.mark.parametrize("sheet", ["page", "slide"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_no_name_of_a_crowded_network_lies_over_another_or_over_a_box(layers, sheet, rng, plt):
    tape = make("gru", 3, 4, layers, bidirectional=True).record(rng.normal(size=(12, 1, 3)))
    with viz.style.context(sheet):
        figure, ax = plt.subplots()
        viz.plot_recurrence(tape, ax, tokens="abcdefghijkl")
        figure.canvas.draw()
        found = [text.get_window_extent() for text in ax.texts]
        boxes = [patch.get_window_extent() for patch in ax.patches if patch.get_gid() is None]
        names = [text.get_window_extent() for text in ax.texts if text.get_gid() in ("lane", "over", "into", "token")]
    assert len(names) > 4 * layers
    for k, box in enumerate(found):
        assert not any(box.overlaps(other) for other in found[:k])
    assert not any(name.overlaps(box) for name in names for box in boxes)


def test_by_default_the_last_five_steps_of_a_row_are_shown(rng, plt):
    tape = make("gru", 3, 4).record(rng.normal(size=(9, 2, 3)), lengths=[9, 6])
    found = strips(viz.plot_recurrence(tape, row=1))
    np.testing.assert_array_equal(found["l0.h 4"], tape["l0.h"][5, 1])
    assert "l0.h 5" not in found
    one = viz.plot_recurrence(make("gru", 3, 4).record(rng.normal(size=(1, 1, 3))), plt.figure().gca())
    assert one.get_title().endswith("act at the one step")
    plt.close()


def test_a_model_with_one_answer_per_sequence_has_no_output_at_every_step(rng, plt):
    model = rc.nn.SequenceModel(None, rc.GRU(3, 4, seed=0), rc.nn.Linear(4, 2, seed=0), loss="mse", readout="last")
    found = strips(viz.plot_recurrence(model.record(rng.normal(size=(6, 2, 3)))))
    assert not any(gid.startswith("y") for gid in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"first": 3, "last": 9}, "first, last: got 3, 9, expected 0 <= first <= last < 9"),
     ({"row": 2}, "row: got 2"), ({"tokens": "ab"}, "tokens: got 2")],
)
def test_steps_that_are_not_there_are_refused(options, message, rng, plt):
    tape = make("gru", 3, 4).record(rng.normal(size=(9, 2, 3)))
    with pytest.raises(ValueError, match=f"^{message}"):
        viz.plot_recurrence(tape, **options)
    assert not plt.get_fignums()


def test_a_frame_that_lacks_what_a_picture_needs_is_refused(rng, plt):
    recorder = viz.Recorder(every=1)
    recorder.record(rc.LSTM(3, 4, seed=0).record(rng.normal(size=(9, 2, 3))))
    with pytest.raises(ValueError, match=r'^tape: got no gate with a nonlinearity, .*names="\*"'):
        viz.plot_slopes(recorder.frames[-1])
    with pytest.raises(TypeError, match=r"^tape: got the recorded frame of update 1, .*record the input again"):
        viz.plot_recurrence(recorder.frames[-1])
    assert not plt.get_fignums()
    every = viz.Recorder(every=1, names="*")
    every.record(rc.LSTM(3, 4, seed=0).record(rng.normal(size=(9, 2, 3))))
    assert viz.plot_slopes(every.frames[-1]).get_title().startswith("Half of the slopes of l0.")


# ---- the three cells beside each other ------------------------------------------------------------


def test_the_cells_are_drawn_beside_each_other(rng, plt):
    x = rng.normal(size=(6, 1, 3))
    runs = {cell: getattr(rc, cell)(3, 8, seed=0).record(x) for cell in ("RNN", "GRU", "LSTM")}
    figure = viz.side_by_side(runs, viz.plot_cell, step=3)
    found = [{image.get_gid() for image in ax.images} for ax in figure.axes if ax.images]
    assert found == [{"h", "h0"}, {"h", "h0", "r", "z", "n"}, {"h", "h0", "c", "c0", "i", "f", "g", "o"}]
    pyplot.close(figure)
