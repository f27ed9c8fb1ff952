"""Titles of maps and of pictures over time are true of all that is shown: every name, row and layer.

Each title is computed from arrays for which the claim is known to be true, false, cut short by the end of the
data, or different from row to row.
"""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from support import make

import rnncore as rc
from rnncore import viz


def new():
    return Figure(layout="constrained").subplots()


def title(plot, *data, **options):
    return plot(*data, new(), **options).get_title()


def triangle(share, T=40):
    """A dependency map of one row: ‖∂L_s/∂s_t‖ = share(s − t) for t ≤ s."""
    lag = np.subtract.outer(np.arange(T), np.arange(T))
    return np.where(lag < 0, np.nan, share(np.abs(lag)))[:, :, None]


# ---------------------------------------------------------------- dependency map


def dependency(sizes, **options):
    return title(viz.plot_dependency_map, sizes, **options)


def test_a_map_without_decay_does_not_end_at_the_median_length():
    """The least share anywhere is 72 %, and 20 steps are only the median number of steps that there are."""
    assert dependency(triangle(lambda k: 1 - 0.28 * k / 39)) == (
        "Every loss depends on all earlier states, at least 72 % as much as on its own")


def test_a_map_that_decays_gives_the_typical_reach_of_losses_that_could_reach_further():
    ax = viz.plot_dependency_map(triangle(lambda k: 0.5 ** k), new())
    assert ax.get_title() == "A typical loss depends on states up to 6 steps back (above 1 %)"
    (dots,) = [line for line in ax.lines if line.get_gid() == "reach"]
    assert dots.get_ydata().tolist() == list(range(7, 40))      # the others reach the first state that there is
    assert dots.get_xdata().tolist() == list(range(1, 34))


def test_losses_that_the_start_cuts_short_count_as_at_least():
    sizes = triangle(lambda k: 1.0 + 0 * k)
    sizes[20:, :10] = 1e-6
    # The losses 20 … 39 reach 10 … 29 steps, and those before them all the states that there are, 1 … 19.
    # Kaplan and Meier: 29/30·27/28·…·11/12 = 0.587 are left after 19 steps, then 9/10·8/9 of these after 21.
    assert dependency(sizes).endswith("up to 21 steps back (above 1 %; half of them 16 to 25)")
    sizes = triangle(lambda k: 1.0 + 0 * k)
    sizes[30:, :10] = 1e-6
    assert dependency(sizes) == ("29 of 39 losses depend on the earliest state there is, the others on states up to "
                                 "24 steps back (above 1 %)")
    sizes = triangle(lambda k: 1.0 + 0 * k)
    sizes[15:35, :15] = 1e-6       # the last five reach all the way again
    assert dependency(sizes).endswith("(above 1 %; half of them 8 to ≥ 39)")


@pytest.mark.parametrize(("sizes", "told"), [
    (triangle(lambda k: 0.0), "No loss depends on any state"),
    (triangle(lambda k: 1.0 * (k == 0)), "Every loss depends on its own state alone (above 1 %)"),
    (triangle(lambda k: 1.0 + k, 1), "No loss has an earlier state to depend on"),
    (triangle(lambda k: np.where(k > 3, np.inf, 1.0)), "The gradient of a loss is infinite"),
    (np.full((3, 3, 1), np.nan), "No loss depends on any state"),
])
def test_maps_of_zeros_one_step_and_no_numbers(sizes, told):
    assert dependency(sizes) == told


def test_only_the_losses_that_there_are_count():
    sizes = triangle(lambda k: 0.5 ** k)
    sizes[:-1] = np.where(np.isnan(sizes[:-1]), np.nan, 0)      # the loss of the last step alone
    assert dependency(sizes) == "The loss at step 39 depends on states up to 6 steps back (above 1 %)"


def test_the_map_of_the_reverse_direction_is_read_the_other_way():
    sizes = triangle(lambda k: 0.5 ** k)[::-1, ::-1]
    ax = viz.plot_dependency_map(sizes, new())
    assert ax.get_title() == "A typical loss depends on states up to 6 steps back (above 1 %)"
    (dots,) = [line for line in ax.lines if line.get_gid() == "reach"]
    assert (dots.get_xdata() - dots.get_ydata()).tolist() == [6] * 33


def test_a_map_says_which_row_it_shows():
    two = np.concatenate([triangle(lambda k: 0.5 ** k), triangle(lambda k: 1 + 0.0 * k)], axis=2)
    ax = viz.plot_dependency_map(two, new(), row=-1)
    assert "of row 1" in ax.get_xlabel()
    assert ax.get_title().startswith("Every loss depends on all earlier states, at least 100 %")
    assert "of row" not in viz.plot_dependency_map(two[:, :, :1], new()).get_xlabel()


# ---------------------------------------------------------------- gradient flow


H, C = 0.5 ** np.arange(9.0)[::-1, None], 2.0 ** np.arange(9.0)[::-1, None] / 16


def flow(**names):
    return title(viz.plot_gradient_flow, {f"l0.{name}": size for name, size in names.items()})


def test_the_gradient_is_that_of_the_larger_state_and_not_of_h_alone():
    """h falls to 1/256 of its value at the last step, while c is 16 at the first."""
    assert flow(h=H) == "The gradient at the first step is 256 times smaller than at the last"
    assert flow(h=H, c=C) == "The gradient at the first step is 16 times that at the last (the larger of l0.h and l0.c)"
    three = {"l0.h": H, "l0.c": C / 1e3, "l1.h": C}
    assert title(viz.plot_gradient_flow, three).endswith("is 16 times that at the last (the largest of 3 states)")
    assert title(viz.plot_gradient_flow, three, names=["l0.h"]).endswith("256 times smaller than at the last")


def test_rows_that_disagree_have_a_range():
    rows = np.ones((5, 3))
    rows[0] = 0.1, 0.2, 0.4
    assert flow(h=rows) == "The gradient at the first step is 20 % (10 % to 40 %) of that at the last"
    rows[0] = 0.9, 1, 1.1
    assert flow(h=rows) == "The gradient is about as large at the first step as at the last"
    assert title(viz.plot_gradient_flow, {"l0.h": rows * [1, 1, 9]}, row=2).startswith("The gradient is about as large")
    rows[0] = 0.61, 1, 1.5
    assert flow(h=rows) == "The gradient at the first step is 100 % (61 % to 150 %) of that at the last"
    ax = viz.plot_gradient_flow({"l0.h": rows}, new())
    assert "3 rows: median, range" in ax.get_ylabel()


def test_a_ragged_row_ends_at_its_own_last_step():
    rows = np.full((6, 2), np.nan)
    rows[:, 0], rows[:3, 1] = 0.5 ** np.arange(6.0)[::-1], 0.5 ** np.arange(3.0)[::-1]
    assert flow(h=rows) == "The gradient at the first step is 14 % (3 % to 25 %) of that at the last"


@pytest.mark.parametrize(("size", "told"), [
    ([0, 0, 1.0, 2], "The gradient is exactly 0 before step 2"),
    ([0.0, 0, 0], "No gradient reaches any step"),
    ([np.nan, np.nan, 1.0], "The gradient is not finite up to step 1"),
    ([1.0, np.inf, 1.0], "The gradient is not finite at step 1"),
    ([3.0], "The gradient at the only step is 3"),
    ([3.0, 0, 0], "The gradient reaches the first step alone"),
    ([1.0, 4, 0], "The gradient at the first step is 25 % of that at step 1"),
    ([np.nan, np.nan], "No gradient reaches any step"),
])
def test_gradients_of_zero_nan_and_one_step(size, told):
    assert flow(h=np.array(size)[:, None]) == told


def test_an_exact_zero_in_h_alone_is_no_end_of_the_gradient():
    h = H * (np.arange(9) > 4)[:, None]
    assert flow(h=h) == "The gradient is exactly 0 before step 5"
    assert "exactly 0" not in flow(h=h, c=C)


def test_zeros_in_some_rows_are_said_of_those_rows():
    rows = np.ones((5, 3))
    rows[:2, 1] = 0
    assert flow(h=rows) == "The gradient is exactly 0 at the first step of 1 of 3 rows"
    rows[:, 1] = 0
    assert flow(h=rows) == "No gradient reaches any step of 1 of 3 rows"


def test_a_gradient_below_the_smallest_float32_is_not_compared():
    """Its digits are lost, and with them how many times smaller it is."""
    found = []
    for dtype in ("float32", "float64"):
        layer = rc.RNN(2, 8, seed=0, dtype=dtype)
        tape = layer.record(np.ones((300, 1, 2)))
        grad = np.zeros((300, 1, 8))
        grad[-1] = 1
        tape.backward(grad)
        first = np.flatnonzero(viz.gradient_flow(tape)["l0.h"] >= viz.style.FLOOR)[0]
        found.append(title(viz.plot_gradient_flow, tape))
        assert first > 0
        assert dtype != "float32" or found[-1] in (
            f"The gradient is below the smallest normal float32 before step {first}",
            f"The gradient is too small for float32 before step {np.flatnonzero(viz.gradient_flow(tape)['l0.h'])[0]}")
    assert "times smaller than at the last" in found[1]


def test_a_gradient_that_underflows_is_not_called_exactly_0():
    """With 0.1·I and one weight of the output, float32 ends after some 40 steps; where a ReLU is off it is truly 0."""
    told = {}
    for dead in (False, True):
        layer = rc.RNN(1, 3, nonlinearity="relu", bias=False)
        layer.load_state_dict({"weight_ih_l0": np.ones((3, 1)), "weight_hh_l0": 0.1 * np.eye(3)})
        x = np.ones((100, 1, 1))
        if dead:
            x[90] = -9
        tape, grad = layer.record(x), np.zeros((100, 1, 3))
        grad[-1] = 1
        tape.backward(grad)
        first = np.flatnonzero(viz.gradient_flow(tape)["l0.h"])[0]
        told[dead] = title(viz.plot_gradient_flow, tape), first
    assert told[False][0] == f"The gradient is too small for float32 before step {told[False][1]}"
    assert told[True] == ("The gradient is exactly 0 before step 90", 90)


def test_overlaid_runs_are_not_titled_by_the_last():
    ax = new()
    viz.plot_gradient_flow({"l0.h": H, "l0.c": C}, ax, label="a")
    viz.plot_gradient_flow({"l0.h": H}, ax, label="b")
    assert ax.get_title() == "How large the gradient is at every step"


# ---------------------------------------------------------------- maps of units


class Taped:
    """A tape with values that a test has chosen."""

    def __init__(self, cell="lstm", T=10, B=2, layers=1, **options):
        layer = make(cell, 3, 6, layers, **options)
        self.tape = layer.record(np.random.default_rng(1).normal(size=(T, B, 3)))
        self.tape.backward(np.random.default_rng(2).normal(size=self.tape.output.shape))
        self.values, self.gradients = {}, {}

    def __getattr__(self, name):
        return getattr(self.tape, name)

    def __getitem__(self, name):
        return self.values.get(name, self.tape[name])

    @property
    def pullback(self):
        return self.tape.pullback

    @property
    def grad(self):
        chosen = dict(self.tape.grad.items()) if hasattr(self.tape.grad, "items") else {
            name: self.tape.grad[name] for name in self.tape.names("*")}
        return chosen | self.gradients


def test_gates_are_judged_by_the_row_and_the_layers_drawn():
    one = Taped(layers=2)
    shape = one["l0.f"].shape
    one.values = {f"l{k}.{g}": np.full(shape, 0.5) for k in range(2) for g in "ifo"}
    assert title(viz.plot_gates, one) == "Every gate is between 0.1 and 0.9 in over 95 % of units and steps"
    one.values["l1.f"] = np.full(shape, 0.5)
    one.values["l1.f"][:, 0] = 0.95         # row 0 alone, and the upper of two layers
    told = "i is above 0.9 in 0 %, f is above 0.9 in 50 %, o is above 0.9 in 0 % of units and steps"
    assert title(viz.plot_gates, one) == told
    assert title(viz.plot_gates, one, row=1).startswith("Every gate is between")
    assert title(viz.plot_gates, one, names=["l1.f"]) == "f is above 0.9 in 100 % of units and steps"
    assert title(viz.plot_gates, one, names=["l0.f"]).startswith("Every gate is between")


def test_a_gate_that_is_shut_and_open_is_described_by_one_end_and_its_own_share():
    one = Taped(B=1)
    one.values = {f"l0.{g}": np.full(one["l0.f"].shape, 0.5) for g in "ifo"}
    f = one.values["l0.f"]
    f[:6], f[6:] = 0.95, 0.05       # every unit is at an end at every step: open for 60 % of them, not for all
    assert "f is above 0.9 in 60 %" in title(viz.plot_gates, one)


def test_the_middle_range_is_what_is_at_neither_end():
    one = Taped(B=1)
    one.values = {f"l0.{g}": np.full((10, 1, 6), 0.5) for g in "ifo"}
    one.values["l0.f"].flat[:2], one.values["l0.f"].flat[2:4] = 0.95, 0.05      # 3 % at each end, 93 % between
    assert "f is above 0.9 in 3 %" in title(viz.plot_gates, one)


def test_candidates_share_a_scale_and_every_scale_has_a_bar():
    ax = viz.plot_gates(Taped("gru", layers=2), new())
    scales = {image.get_gid(): image.norm for image in ax.images}
    assert scales["l0.hn"] is scales["l1.hn"]
    assert scales["l0.n"] is not scales["l0.hn"]
    assert [bar.get_ylabel() for bar in ax.child_axes] == ["gates r, z", "candidate n", "hn"]


def test_states_give_the_largest_of_all_layers():
    one = Taped(layers=2)
    one.values = {"l1.c": np.where(np.arange(10)[:, None, None] == 3, -7.0, one["l1.c"])}
    assert "|c| reaches 7;" in title(viz.plot_states, one)
    assert "|c| reaches 7" not in title(viz.plot_states, one, names=["l0.c"])
    one.values = {"l1.h": np.full_like(one["l1.h"], 0.99996)}
    assert "|h| reaches 0.99 " in title(viz.plot_states, one)
    assert title(viz.plot_states, Taped(T=1)).startswith("In 1 step ")
    assert "on top" not in title(viz.plot_states, one, order=None)


@pytest.mark.parametrize("plot", [viz.plot_states, viz.plot_gates])
def test_a_map_says_where_it_is_not_finite(plot):
    one = Taped()
    name = "l0.c" if plot is viz.plot_states else "l0.o"
    one.values = {name: np.array(one[name])}
    one.values[name][5:, 0, 2] = np.nan
    assert title(plot, one) == f"{name} is not finite from step 5 on"
    assert "not finite" not in title(plot, one, row=1)


def test_a_map_of_gradients_is_judged_by_all_its_names():
    one = Taped(B=1)
    small, large = np.full((10, 1, 6), 1e-9), np.ones((10, 1, 6))
    one.gradients = {"l0.h": np.concatenate([small[:4], large[4:]]), "l0.c": large}
    assert title(viz.plot_gradient_map, one) == "At every step some unit has at least 100 % of the largest gradient"
    told = "Before step 4 the gradient is more than 4 decades smaller than the largest"
    assert title(viz.plot_gradient_map, one, names=["l0.h"]) == told
    one.gradients["l0.c"] = one.gradients["l0.h"]
    assert title(viz.plot_gradient_map, one) == told
    one.gradients["l0.c"] = one.gradients["l0.h"] = np.concatenate([large[:1], small[1:5], large[5:]])
    assert title(viz.plot_gradient_map, one).startswith("At 4 of 10 steps the gradient is more than 4 decades")
    one.gradients["l0.c"] = one.gradients["l0.h"] = 0 * large
    assert title(viz.plot_gradient_map, one) == "No gradient reaches any step"
    one.gradients["l0.c"] = np.where(np.arange(10)[:, None, None] < 3, np.nan, large)
    assert title(viz.plot_gradient_map, one) == "The gradient is not finite up to step 2"


def test_the_unrolled_network_is_judged_by_all_its_states():
    one = Taped(B=1)
    wide = np.ones((10, 1, 6)) / np.sqrt(6)
    one.gradients = {"l0.h": wide * 0.5 ** np.arange(10.0)[::-1, None, None], "l0.c": wide}
    told = "The gradient is about as large at step 0 as at step 9 (the larger of l0.h and l0.c)"
    assert title(viz.plot_unrolled, one) == told
    one.gradients["l0.c"] = one.gradients["l0.h"]
    assert title(viz.plot_unrolled, one).startswith("The gradient at step 0 is 512 times smaller than at step 9")
    assert title(viz.plot_unrolled, one, first=8).startswith("The gradient at step 8 is 50 % of that at step 9")
    assert title(viz.plot_unrolled, one, first=4, last=4).startswith("The gradient at step 4 is 0.031")
    one.gradients = {name: wide * (np.arange(10) > 3)[:, None, None] for name in ("l0.h", "l0.c")}
    assert title(viz.plot_unrolled, one) == "The gradient is exactly 0 before step 4"


# ---------------------------------------------------------------- shares and attributions


def share(*rows):
    return np.array(rows, float).T


def test_the_share_of_steps_is_said_of_every_weight():
    flat, last = share([0.25] * 4), share([0, 0, 0, 1])
    assert title(viz.plot_step_share, {"a": flat}) == "Half of a's gradient comes from 2 of 4 steps"
    found = title(viz.plot_step_share, {"a": flat, "b": flat})
    assert found == "Half of every weight's gradient comes from 2 of 4 steps"
    assert title(viz.plot_step_share, {"a": flat, "b": last}) == (
        "Half of the gradient of a comes from 2 of 4 steps, of b from 1")
    assert title(viz.plot_step_share, {"a": flat, "b": last, "c": last}) == (
        "Half of a weight's gradient comes from 1 to 2 of 4 steps, depending on the weight")
    rows = share([0.25] * 4, [0, 0, 0, 1], [0, 0, 0, 0])
    assert title(viz.plot_step_share, {"a": rows}) == "Half of a's gradient comes from 1.5 (1 to 2) of 4 steps"
    assert title(viz.plot_step_share, {"a": rows[:, 2:]}) == "The weights get no gradient"
    assert title(viz.plot_step_share, {"a": np.full((3, 1), np.nan)}) == "The weights' gradient is not finite"


@pytest.mark.parametrize(("seen", "told"), [
    ([0.2, 1.0, 0.3, 0.1], "depends most on 'b' at step 1, 2 steps back"),
    ([1.0, 1.0, 0.3, 0.1], "depends most on 'a' at step 0, 3 steps back and as much on 1 other step"),
    ([0.2, 0.3, 0.3, 1.0], "depends most on its own input"),
    ([0.0, 0.0, 0.0, 0.0], "depends on no input"),
    ([np.nan] * 4, "has no finite dependence on its inputs"),
    ([np.nan, 0.5, 1.0, 0.1], "depends most on 'c' at step 2, 1 step back"),
])
def test_a_prediction_depends_most_on_a_step(seen, told):
    sizes = np.full((4, 4, 1), np.nan)
    sizes[3, :, 0] = seen
    assert title(viz.plot_connectivity, sizes, step=3, tokens="abcd") == f"The prediction at step 3 {told}"
    assert viz.plot_connectivity(sizes, new(), step=3).get_title()


def test_a_map_of_connectivity_says_what_its_mean_is_over():
    sizes = triangle(lambda k: 1.0 * (k == 2), 9)
    ax = viz.plot_connectivity(sizes, new())
    told = "A typical prediction depends on inputs 2 steps away on average (half of 7 predictions: 2 to 2)"
    assert ax.get_title() == told
    assert title(viz.plot_connectivity, 0 * sizes) == "No prediction depends on any input"
    halves = triangle(lambda k: 5.0 * (k == 2), 9)      # not scaled: drawn as shares of the largest of each row
    np.testing.assert_array_equal(viz.plot_connectivity(halves, new()).images[0].get_array(), ax.images[0].get_array())


@pytest.mark.parametrize(("change", "told"), [
    ([0.1, 0.7, 0.2], "Leaving out 'b' at step 1 changes the final state most: 1 − cos = 0.7"),
    ([0.7, 0.7, 0.2], "Leaving out 'a' at step 0 or 1 other step changes the final state most: 1 − cos = 0.7"),
    ([np.nan, 0.3, 0.2], "Leaving out 'b' at step 1 changes the final state most: 1 − cos = 0.3"),
    ([0, 1e-16, 0], "Leaving out any one step leaves the direction of the final state as it is"),
    ([np.nan] * 3, "The final state is 0, or not finite, so that it has no direction"),
])
def test_the_step_whose_omission_changes_most(change, told):
    assert title(viz.plot_omission, np.array(change)[:, None], tokens="abc") == told


def attribution(value, residual=0.0):
    return viz.Attribution(np.array(value, float)[:, None, None], np.array([residual]))


@pytest.mark.parametrize(("parts", "told"), [
    (attribution([1, -2, 0.5], 0.25), "F falls by 0.25 from x′ to x; largest part: 'b' at step 1 (−2); "
                                      "unexplained: +0.25"),
    (attribution([1, -2, 0.5], -0.25), "F falls by 0.75 from x′ to x; largest part: 'b' at step 1 (−2); "
                                       "unexplained: −0.25"),
    (attribution([2, 2]), "F rises by 4 from x′ to x; largest part: 'a' at step 0 (+2) and as much on 1 other step; "
                          "unexplained: 0"),
    (attribution([0, 0]), "F does not change from x′ to x; unexplained: 0"),
    (attribution([1, np.nan]), "F or its gradient is not finite"),
])
def test_integrated_gradients_say_how_far_f_goes_and_from_where(parts, told):
    assert title(viz.plot_integrated_gradients, parts, tokens="abc"[: len(parts.value)]) == told


def test_the_readout_and_the_baseline_are_named():
    told = title(viz.plot_integrated_gradients, attribution([1.0]), readout="log P(next)", baseline="0")
    assert told == "F = log P(next) rises by 1 from x′ = 0 to x; largest part: step 0 (+1); unexplained: 0"


@pytest.mark.parametrize(("values", "told"), [
    ([0.1, 0.9, 0.2], "The value is largest at 'b' at step 1 (0.9)"),
    ([0.1, -0.9, 0.2], "The value is largest in size at 'b' at step 1 (−0.9)"),
    ([0.9, 0.9, 0.2], "The value is largest at 'a' at step 0 (0.9) and as much on 1 other step"),
    ([0.4, 0.4, 0.4], "The value is 0.4 at every token"),
    ([np.nan, 0.4, 0.1], "The value is largest at 'b' at step 1 (0.4); 1 of 3 tokens without a value"),
    ([np.nan] * 3, "No token has a value"),
    ([0.0, 0.0, 0.0], "The value is 0 at every token"),
])
def test_text_says_where_its_value_is_largest(values, told):
    assert title(viz.plot_text, np.array(values), tokens="abc") == told
    assert title(viz.plot_text, np.array(values), tokens="abc", label="gate f") == (
        told.replace("The value", "gate f").replace("has a value", "has a value of gate f"))


# ---------------------------------------------------------------- the axis of time, and what must fit


def row_of(ax):
    (row,) = [artist for artist in ax.artists if artist.get_gid() == "tokens"]
    return row


def shown(ax):
    ax.figure.canvas.draw()
    return [text.get_text() for text in row_of(ax).shown()]


NUMBERS = [f"{x:.2f}" for x in np.random.default_rng(0).normal(size=60)]


def test_tokens_that_are_numbers_are_not_the_ticks_of_the_axis():
    size = np.arange(1.0, 61)[:, None]
    ax = viz.plot_gradient_flow({"l0.h": size}, new(), tokens=NUMBERS)
    found = shown(ax)
    assert found[-1] == "input"
    assert set(found[:-1]) <= set(NUMBERS)
    ticks = [label.get_text() for label in ax.get_xticklabels() if label.get_text()]
    assert all(float(tick) in range(60) for tick in ticks)
    assert not set(ticks) & set(NUMBERS)


@pytest.mark.parametrize("tokens", [NUMBERS, "x" * 60, ["word"] * 60, [""] * 59 + ["a long token"]], ids=str)
@pytest.mark.parametrize("width", [3, 7, 14])
def test_tokens_never_overlap(tokens, width):
    ax = Figure((width, 3), layout="constrained").subplots()
    viz.plot_omission(np.arange(60.0)[:, None], ax, tokens=tokens)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in row_of(ax).shown()]
    ticks = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :] + ticks)


def test_two_marks_in_a_thousand_steps_are_shown():
    tokens = [""] * 1000
    tokens[200], tokens[700] = "0.5", "0.2"
    ax = viz.plot_omission(np.arange(1000.0)[:, None], new(), tokens=tokens)
    assert shown(ax) == ["0.5", "0.2", "input"]
    dense = viz.plot_omission(np.arange(1000.0)[:, None], new(), tokens=["word"] * 1000)
    assert shown(dense) == []


def test_a_text_is_shown_whole_or_not_at_all():
    text = "to be, or not to be: " * 12
    for steps in (60, 250):
        ax = viz.plot_omission(np.arange(float(steps))[:, None], new(), tokens=text[:steps])
        assert "".join(shown(ax)) in ("", text[:steps].replace(" ", "␣") + "input")
    assert shown(viz.plot_omission(np.arange(60.0)[:, None], new(), tokens=text[:60]))


@pytest.mark.parametrize("tokens", [None, "abcdefghij", NUMBERS[:10]], ids=["none", "text", "numbers"])
def test_the_label_of_the_axis_is_not_cut_in_the_default_layout(tokens, plt):
    figure, ax = plt.subplots()
    viz.plot_states(Taped(), ax, tokens=tokens)
    figure.canvas.draw()
    assert ax.xaxis.label.get_window_extent().y0 >= 0


@pytest.mark.parametrize("steps", [1, 2, 5, 60])
def test_ticks_are_steps_that_exist(steps):
    for ax in (viz.plot_omission(np.ones((steps, 1)), new()), viz.plot_gradient_flow({"h": np.ones((steps, 1))}, new()),
               viz.plot_dependency_map(triangle(lambda k: 1 + k, steps), new())):
        ax.figure.canvas.draw()
        inside = [t for t in ax.get_xticks() if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]]
        assert set(inside) <= set(range(steps)), inside
        assert inside


@pytest.mark.parametrize("size", [(6.4, 4.8), (4, 3)])
@pytest.mark.parametrize("plot", [viz.plot_states, viz.plot_gates, viz.plot_gradient_map], ids=lambda p: p.__name__)
def test_nothing_is_cut_in_the_default_layout(plot, size, plt):
    """Without a layout that makes room, names, colour bars and titles still fit the figure."""
    figure, ax = plt.subplots(figsize=size)
    plot(Taped(layers=2, bidirectional=True), ax)
    figure.canvas.draw()
    whole = figure.bbox
    bars = [bar.get_tightbbox() for bar in ax.child_axes]
    names = [label.get_window_extent() for label in ax.get_yticklabels()]
    for box in [*names, *bars, ax.title.get_window_extent()]:
        assert box.x0 >= whole.x0 - 1
        assert box.x1 <= whole.x1 + (1 if size[0] > 5 else 30)
        assert size[0] < 5 or box.y1 <= whole.y1 + 1
    assert not any(a.overlaps(b) for i, a in enumerate(names) for b in names[i + 1 :])


@pytest.mark.parametrize("sheet", ["page", "slide"])
@pytest.mark.parametrize("sides", [1, 2])
def test_a_long_title_breaks_into_lines(sides, sheet, plt):
    with viz.style.context(sheet):
        figure, axes = plt.subplots(1, sides, squeeze=False)
        for ax in axes[0]:
            viz.plot_gates(Taped(), ax)
        figure.canvas.draw()
        boxes = [ax.title.get_window_extent() for ax in axes[0]]
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
        assert sides == 1 or not boxes[0].overlaps(boxes[1])
        assert "\n" not in axes[0, 0].get_title()


def test_pictures_with_tokens_can_be_pickled():
    import pickle

    ax = viz.plot_states(Taped(B=1), new(), tokens="abcdefghij")
    again = pickle.loads(pickle.dumps(ax.figure))
    again.savefig(io.BytesIO(), format="png")


def test_the_same_part_has_the_same_colours_side_by_side(plt):
    small, large = Taped(B=1), Taped(B=1)
    large.values = {"l0.c": 9 * np.asarray(large["l0.c"])}
    figure = viz.side_by_side({"a": small, "b": large})
    left, right = figure.axes[:2]
    for one, other in zip(left.images, right.images, strict=True):
        assert (one.norm.vmin, one.norm.vmax) == (other.norm.vmin, other.norm.vmax)
        assert one.norm.vmax >= np.abs(other.get_array()).max()
    assert left.images[0].norm.vmax != left.images[1].norm.vmax


def test_side_by_side_gates_are_compared_by_the_same_gates(plt):
    figure = viz.side_by_side({"a": Taped(B=1), "b": Taped("lstm", B=1)}, viz.plot_gates, names=["l0.f", "l0.i"])
    first, second = (ax.get_title().split("\n")[1] for ax in figure.axes[:2])
    assert first == second


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn-tanh"])
@pytest.mark.parametrize("size", [(10, 5.6), (4, 2.5)])
def test_the_words_of_a_cell_fit_their_boxes(cell, size):
    with viz.style.context("slide"):
        ax = Figure(size, layout="constrained").subplots()
        viz.plot_cell(Taped(cell), ax, step=4)
        ax.figure.canvas.draw()
    frames = [patch.get_window_extent() for patch in ax.patches]
    for name in [image.get_gid() for image in ax.images]:
        (text,) = [text for text in ax.texts if text.get_gid() == name]
        box = text.get_window_extent()
        assert any(f.x0 <= box.x0 and box.x1 <= f.x1 and f.y0 <= box.y0 and box.y1 <= f.y1 for f in frames), name


def test_a_text_below_the_scale_is_black_and_its_smallest_shown_value_is_not():
    values = np.array([1.0, 1e-3, 1e-6, 1e-9])
    ax = viz.plot_text(values, new(), tokens="abcd", scale="magnitude")
    *_, smallest, below = [patch.get_facecolor()[:3] for patch in ax.patches[:4]]
    assert below == to_rgb("black")
    assert smallest != to_rgb("black")


def test_a_large_network_and_one_step_are_drawn(plt):
    layer = rc.LSTM(2, 64, num_layers=4, bidirectional=True, seed=0)
    for steps in (1, 300):
        tape = layer.record(np.random.default_rng(0).normal(size=(steps, 1, 2)))
        tape.backward(np.ones((steps, 1, 128)))
        for plot in (viz.plot_states, viz.plot_gates, viz.plot_gradient_map, viz.plot_gradient_flow, viz.plot_unrolled):
            figure, ax = plt.subplots()
            assert plot(tape, ax).get_title()
            figure.canvas.draw()
            plt.close(figure)
