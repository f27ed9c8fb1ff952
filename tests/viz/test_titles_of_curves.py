"""A title is a claim about all that its picture shows: computed from arrays for which it is known to be true, false,
uncertain, or cut off by the end of the data."""

import numpy as np
import pytest
from rnncore.viz.measures._decay import last_lag
from rnncore.viz.plots._decay import fate, readings
from rnncore.viz.plots._draw import line_colour, next_look
from rnncore.viz.plots._words import at_least, between, count_of, number, pace_between, share, with_error

import rnncore as rc
from rnncore import viz

LAGS = np.arange(60.0)


@pytest.fixture
def ax(plt):
    return plt.figure().add_subplot()


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def fits(ax):
    return [line for line in ax.lines if line.get_gid() == "fit"]


# ---- numbers in words ----------------------------------------------------------------------------


def test_numbers_and_ranges_in_words():
    assert (between(0.062, 0.3), between(1.01, 1.04)) == ("0.062 to 0.3", "1")
    assert (share(0.031), share(0.06, 0.3), share(2e-9)) == ("3.1 %", "6 to 30 %", "2.0·10⁻⁹")
    assert (share(12.0), share(5.7, 7.6), share(1.02)) == ("12-fold", "5.7- to 7.6-fold", "102 %")
    assert (number(-3.7e-19), number(-12345.0)) == ("−3.7·10⁻¹⁹", "−1.2·10⁴")
    assert (at_least(59, True), count_of(59, more=True), count_of(1)) == ("≥ 59", "≥ 59 steps", "1 step")


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [(0.0553, 0.0112, "0.055 ± 0.011"), (-0.4, 0.06, "−0.40 ± 0.06"), (1.7e-6, 0.012, "0.000 ± 0.012"),
     (-1.7e-6, 0.012, "0.000 ± 0.012"), (123.4, 27.0, "123 ± 27"), (0.5, np.nan, "0.5"), (-np.inf, np.nan, "−∞"),
     (0.25, 0.0, "0.25 ± 0"), (-0.6931472, 2.2e-15, "−0.6931 (error below 10⁻⁴)"),
     (123.456, 1e-5, "123.5 (error below 10⁻¹)"), (3.9e-18, 2e-15, "0 ± 2.0·10⁻¹⁵"),
     (1234567.0, 1e-3, "1234567 (error below 1)"),
     (1e-9, 1e-20, "1.0·10⁻⁹ ± 1.0·10⁻²⁰"), (-0.69315, 1.2e-4, "−0.69315 ± 0.00012")],
)  # fmt: skip
def test_a_value_has_the_digits_that_its_error_leaves(value, error, told):
    assert with_error(value, error) == told


def test_a_pace_is_said_only_if_its_sign_is_known():
    ln2 = np.log(2)
    assert pace_between(-ln2 / 3, -ln2 / 6) == "halves every 3 to 6 steps"
    assert pace_between(-ln2 / 5, -ln2 / 5) == "halves every 5 steps"
    assert pace_between(ln2 / 8, ln2 / 4) == "doubles every 4 to 8 steps"
    assert pace_between(-3.0, -2.0) == "shrinks 7.4- to 20-fold per step"
    assert pace_between(-0.1, 0.01) is pace_between(-0.1, 0.0) is pace_between(np.nan, 1.0) is None


# ---- Jacobian norms --------------------------------------------------------------------------------


def exponential(half, level=1.0):
    return level * 0.5 ** (LAGS / half)


SETTLED = np.exp(-0.5 * np.minimum(LAGS, 12))
ZERO_FROM_7 = np.where(LAGS < 7, exponential(3.1), 0.0)
CURVES = {
    "exponential": (exponential(3.1), "The gradient halves every 3.1 steps", True),
    "level": (np.ones(60), "The gradient neither fades nor grows", True),
    "settled": (SETTLED, "At most 0.25 % of the gradient is left 59 steps back", False),
    "rises, then level": (1 / SETTLED, "The gradient grows at most 403-fold over 59 steps", False),
    "bent": (np.r_[0.9 ** np.arange(30.0), 0.9**30 * 0.5 ** np.arange(30.0)],
             "At most 7.9·10⁻¹¹ of the gradient is left 59 steps back", False),
    "a jump between the parts": (np.where(LAGS < 30, 1.0, 1e-3), "At most 0.1 % of the gradient is left 59 steps back",
                                 False),
    "exactly 0 from the start": (np.r_[1.0, np.zeros(59)], "The gradient is exactly 0 one step back", False),
    "0 after a decay": (ZERO_FROM_7, "The gradient halves every 3.1 steps and is exactly 0 from lag 7 on", True),
    "one lag": (np.array([1.0, 0.5]), "At most 50 % of the gradient is left 1 step back", False),
    "no lag": (np.array([1.0]), "There is no earlier step that a gradient could reach", False),
    "NaN alone": (np.array([1.0, np.nan]), "There is no earlier step that a gradient could reach", False),
    "infinite": (np.r_[np.ones(5), np.full(5, np.inf)], "The gradient is too large for float64 from lag 5 on", False),
    "a peak, then less": (1.5 ** np.minimum(LAGS, 13) * 0.9 ** np.maximum(LAGS - 13, 0),
                          "The gradient grows up to 195-fold (lag 13); at most 153 % at lag 59", False),
    "a peak, then below 1": (1.5 ** np.minimum(LAGS, 13) * 0.5 ** np.maximum(LAGS - 13, 0),
                             "The gradient grows up to 195-fold (lag 13); at most 2.8·10⁻¹² at lag 59", False),
    "four lags": (0.5 ** np.arange(5.0), "At most 6.2 % of the gradient is left 4 steps back", False),
}  # fmt: skip


@pytest.mark.parametrize("name", CURVES)
def test_a_rate_is_said_and_drawn_only_of_an_exponential_decay(name, ax):
    norms, title, exponential = CURVES[name]
    assert viz.plot_jacobian_norms(norms, ax, label="run").get_title() == title
    assert bool(fits(ax)) == exponential
    assert labels(ax)[0] == f"run: {fate(norms[:, None]).short}"
    assert ("every" in labels(ax)[0]) == ("every" in title)


def test_the_title_of_several_rows_is_true_of_each(ax):
    two = np.stack([exponential(4), exponential(8)], axis=1)
    assert viz.plot_jacobian_norms(two, ax).get_title() == "The gradient halves every 4 to 8 steps"
    assert "median and range of 2 rows" in ax.get_ylabel()
    apart = np.stack([exponential(4), exponential(40)], axis=1)
    assert fate(apart).sentence == "At most 3.6·10⁻⁵ to 0.36 of the gradient is left 59 steps back"
    both_ways = np.stack([exponential(40), exponential(-40)], axis=1)
    assert fate(both_ways).sentence == "At most 0.36 to 2.8 times the gradient is left 59 steps back"
    some_zero = np.stack([exponential(3), ZERO_FROM_7], axis=1)
    assert fate(some_zero).sentence.endswith("is exactly 0 in the end in 1 of 2 rows")
    both_zero = np.stack([np.where(LAGS < 20, exponential(3), 0), np.where(LAGS < 7, exponential(3), 0)], axis=1)
    assert fate(both_zero).sentence.endswith("is exactly 0 from lag 20 on")


def test_of_ragged_rows_the_last_lag_is_one_that_all_have():
    norms = np.stack([SETTLED, np.where(LAGS < 31, SETTLED, np.nan)], axis=1)
    assert fate(norms).short == "0.25 % at lag 30"
    np.testing.assert_array_equal(last_lag(norms), [59, 30])


def test_a_row_of_a_batch_is_named(ax):
    viz.plot_jacobian_norms(np.stack([SETTLED, exponential(3)], axis=1), ax, row=-1)
    assert ax.get_title() == "The gradient halves every 3 steps"
    assert "row 1 of 2" in ax.get_ylabel()


def test_guides_and_their_labels_stay_inside_the_axes(plt):
    for norms in (exponential(3.1), exponential(0.6), np.ones(60), np.exp(-0.3 * np.minimum(LAGS, 20))):
        with viz.style.context():
            figure, ax = plt.subplots()
            viz.plot_jacobian_norms(norms, ax, label="run")
            figure.canvas.draw()
        box = ax.get_window_extent().padded(2)
        boxes = [t.get_window_extent() for t in ax.texts if t.get_gid() == "guide" and t.get_visible()]
        assert boxes
        for k, one in enumerate(boxes):
            assert box.x0 <= one.x0 < one.x1 <= box.x1
            assert box.y0 <= one.y0 < one.y1 <= box.y1
            assert not any(one.overlaps(other) for other in boxes[:k])
        plt.close(figure)


def test_decay_range_is_that_of_lines_fitted_to_the_parts(rng):
    norms = np.exp(np.cumsum(rng.normal(-0.2, 0.1, (41, 3)), axis=0))
    low, high = viz.decay_range(norms)
    for b in range(3):
        parts = [np.polyfit(np.arange(a, z + 1), np.log(norms[a : z + 1, b]), 1)[0]
                 for a, z in ((1, 11), (11, 21), (21, 30), (30, 40))]  # fmt: skip
        np.testing.assert_allclose([low[b], high[b]], [min(parts), max(parts)], rtol=1e-9)
    rate = viz.decay_rate(norms)
    assert ((low < rate) & (rate < high)).all()
    assert np.isnan(viz.decay_range(norms[:6])).all()
    assert not np.isnan(viz.decay_range(norms[:7])).any()


# ---- horizon, half-life, centroid -------------------------------------------------------------------


def test_what_the_recording_cuts_off_has_its_at_least(ax):
    assert viz.plot_horizon(np.ones(60), ax).get_title() == "1 % of the norm at lag 1 remains ≥ 59 steps back"
    assert labels(ax) == [
        "half-life (50 % of lag 1): ≥ 60 steps", "centroid: ≥ 30 steps",
        "horizon (1 % of lag 1): ≥ 59 steps"]  # fmt: skip


def test_the_horizon_is_said_to_be_relative_to_lag_1(ax):
    """The finding that led here: of 0.5·I, 0.8 % of the gradient is left at lag 7, and the title said 1 %."""
    viz.plot_horizon(0.5**LAGS, ax)
    assert ax.get_title() == "1 % of the norm at lag 1 remains 7 steps back"
    assert [t.get_text() for t in ax.texts if t.get_gid() == "eps"] == ["1 % of the norm at lag 1"]


@pytest.mark.parametrize("plot", [viz.plot_jacobian_norms, viz.plot_horizon])
def test_the_lags_of_the_reverse_direction_count_from_the_first_step(plot, ax):
    tape = rc.GRU(2, 3, bidirectional=True, seed=0).record(np.ones((9, 1, 2)))
    plot(tape, ax, direction="reverse")
    assert ax.get_xlabel() == "lag k   (steps from the first on; time →; reverse direction)"
    assert ax.get_ylabel().startswith("‖∂s$_0$ / ∂s$_k$‖")
    forward = plot(tape, ax.figure.add_subplot())
    assert "← time" in forward.get_xlabel()


def test_what_is_seen_to_the_end_has_none(ax):
    viz.plot_horizon(0.8**LAGS, ax)
    assert ax.get_title() == "1 % of the norm at lag 1 remains 21 steps back"
    assert labels(ax) == ["half-life (50 % of lag 1): 5 steps", "centroid: 5 steps", "horizon (1 % of lag 1): 21 steps"]


@pytest.mark.parametrize(
    ("norms", "title"),
    [([1.0], "There is no earlier step that a gradient could reach"),
     ([1.0, 0.0, 0.0], "The gradient is exactly 0 one step back"),
     ([1.0, 0.5], "1 % of the norm at lag 1 remains ≥ 1 step back")],
)  # fmt: skip
def test_the_horizon_of_odd_curves(norms, title, ax):
    assert viz.plot_horizon(np.array(norms), ax).get_title() == title


def test_a_title_of_several_runs_is_not_that_of_the_last(ax):
    viz.plot_horizon(0.8**LAGS, ax, label="a")
    viz.plot_horizon(0.9**LAGS, ax, label="b")
    assert ax.get_title() == "How far back 1 % of the norm at lag 1 remains"
    assert [name for name in labels(ax) if "horizon" in name] == [
        "a horizon (1 % of lag 1): 21 steps", "b horizon (1 % of lag 1): 44 steps"]  # fmt: skip


def test_a_median_is_cut_off_if_a_row_up_to_it_is():
    fast, slow = 0.5**LAGS, 0.99**LAGS
    assert readings(np.stack([fast, fast, slow], 1))["horizon"] == (7, False)
    assert readings(np.stack([fast, slow, slow], 1))["horizon"] == (59, True)
    assert readings(np.stack([fast, slow], 1))["horizon"] == (33, True)  # the mean of 7 and ≥ 59
    assert readings(np.stack([fast, slow], 1))["half-life"].more
    assert np.isnan(readings(np.array([[1.0], [np.nan]]))["horizon"].steps)


# ---- Lyapunov exponents -------------------------------------------------------------------------------


def convergence(growth):
    """(steps, estimate) of growth per step (N, n)."""
    steps = np.arange(1, len(growth) + 1)
    return steps, np.cumsum(growth, axis=0) / steps[:, None]


def test_the_error_of_exponents_is_that_of_independent_steps(rng):
    growth = rng.normal([0.01, -0.5], [0.2, 0.05], (1600, 2))
    error = viz.lyapunov_error(convergence(growth))
    assert (error >= growth.std(0) / 40 * 0.7).all()
    assert (error <= growth.std(0) / 40 * 3).all()
    blocks = growth.reshape(8, 200, 2).mean(1)
    assert (error >= 2.365 / 2 * blocks.std(0, ddof=1) / np.sqrt(8) - 1e-12).all()


def test_an_exponent_is_within_twice_its_error_in_95_percent_of_cases(rng):
    """16 to 31 estimates leave 4 blocks alone; twice their standard error would hold the truth in 86 % only."""
    growth = rng.normal(0.01, 0.2, (20, 4000))
    held = np.abs(growth.mean(0) - 0.01) < 2 * viz.lyapunov_error(convergence(growth))
    assert abs(held.mean() - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)


def test_the_error_of_steps_that_depend_on_each_other_is_larger(rng):
    slow = np.repeat(rng.normal(0, 0.2, (100, 1)), 40, axis=0)  # 4,000 steps of which 40 in a row are equal
    assert viz.lyapunov_error(convergence(slow))[0] > 3 * slow.std() / np.sqrt(len(slow))


def test_few_steps_and_dead_directions_have_no_error():
    assert np.isnan(viz.lyapunov_error(convergence(np.ones((15, 2))))).all()
    dead = np.full((40, 1), -np.inf)
    assert np.isnan(viz.lyapunov_error(convergence(dead))).all()
    assert viz.lyapunov_error(convergence(np.full((40, 1), -0.3)))[0] < 2e-15


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_steps_that_are_all_alike_leave_the_error_of_rounding(factor, ax):
    """The finding that led here: of the identity, λ₁ was 2e-16 ± 4e-18 and the title spoke of chaos."""
    rnn = rc.RNN(1, 32, nonlinearity="relu", bias=False)
    rnn.load_state_dict({"weight_ih_l0": np.ones((32, 1)), "weight_hh_l0": factor * np.eye(32)})
    found = viz.lyapunov_convergence(rnn, np.ones((200, 1, 1)), warmup=10)
    error = viz.lyapunov_error(found)
    assert (np.abs(found[1][-1] - np.log(factor)) < error).all()
    assert (error < 1e-13).all()
    titles = [viz.plot_lyapunov_convergence(found, ax).get_title(),
              viz.plot_lyapunov_spectrum(found[1][-1], ax.figure.add_subplot(), error=error).get_title()]  # fmt: skip
    assert titles[0] == titles[1]
    if factor == 1:
        assert titles[0].endswith(", indistinguishable from 0: a perturbation neither fades nor grows")
        for one in ax.figure.axes:
            assert min(np.abs(one.get_ylim())) >= 1e-3
    else:
        assert titles[0] == "λ₁ = −0.6931 (error below 10⁻⁴): a perturbation halves every 1 step"


def test_growth_is_called_chaos_only_after_enough_steps(ax, rng):
    clear = np.full((400, 1), 0.5) + rng.normal(0, 0.01, (400, 1))
    assert "chaos" in viz.plot_lyapunov_convergence(convergence(clear), ax).get_title()
    brief = convergence(clear[:20] / 5)  # e⁰·¹ per step, 20 steps: less than e⁴ in all
    title = viz.plot_lyapunov_convergence(brief, ax).get_title()
    assert ": within the recorded steps a perturbation doubles every" in title
    assert "chaos" not in title


def test_a_picture_of_dead_directions_can_be_saved(ax):
    viz.plot_lyapunov_convergence((np.arange(1, 30), np.full((29, 3), -np.inf)), ax)
    ax.figure.canvas.draw()
    assert ax.get_title().startswith("λ₁ = −∞")


def test_directions_that_rounding_leaves_of_nothing_are_dead():
    """An LSTM without weights has h = 0, so J_tᵀ has rank 3 of 6."""
    lstm = rc.LSTM(1, 3)
    lstm.load_state_dict({name: np.zeros_like(w) for name, w in lstm.state_dict().items()})
    spectrum = viz.lyapunov_spectrum(lstm, np.ones((100, 1, 1)), warmup=10)
    np.testing.assert_allclose(spectrum[:3], np.log(0.5), rtol=1e-12)
    assert np.isneginf(spectrum[3:]).all()


def test_the_axis_of_a_part_of_the_exponents_does_not_look_like_that_of_all(ax):
    part = viz.plot_lyapunov_spectrum([-0.1, -0.2], ax)
    assert part.get_xlabel() == "i / n   (2 exponents given, the largest first)"
    whole = viz.plot_lyapunov_spectrum([-0.1, -0.2], ax.figure.add_subplot(), size=50)
    np.testing.assert_allclose(whole.lines[0].get_xdata(), [0.02, 0.04])
    assert whole.get_xlabel().startswith("i / N")
    with pytest.raises(ValueError, match="size: got 1, expected a whole number >= 2"):
        viz.plot_lyapunov_spectrum([-0.1, -0.2], ax, size=1)


SPECTRA = [
    ([-0.1, -0.5], None, "The largest of 2 exponents is λ₁ = −0.1"),
    ([0.5, -1.0], None, "The largest of 2 exponents is λ₁ = 0.5"),
    ([-0.1], None, "The largest exponent is λ₁ = −0.1"),
    ([-0.1, -0.5], [0.02, 0.1], "λ₁ = −0.10 ± 0.04: a perturbation halves every 5 to 12 steps"),
    ([-1.8e-4, -0.5], [3e-3, 0.1], "λ₁ = 0.000 ± 0.006: the recorded steps do not show its sign"),
    ([0.0, -0.5], [0.0, 0.0], "λ₁ = 0 ± 0, indistinguishable from 0: a perturbation neither fades nor grows"),
    ([0.05, -0.5], [0.02, 0.1],
     "λ₁ = 0.05 ± 0.04: within the recorded steps a perturbation doubles every 7.7 to 69 steps"),
    ([0.5, 0.0, -1.0, -2.0], [0.05, 0.0, 0.0, 0.0],
     "λ₁ = 0.50 ± 0.10: a perturbation doubles every 1.2 to 1.7 steps; chaos of dimension 2.4 to 2.6, "
     "0.4 to 0.6 nats per step"),
    ([0.5, 0.4], [0.01, 0.01],
     "λ₁ = 0.500 ± 0.020: a perturbation doubles every 1.3 to 1.4 steps; chaos of dimension ≥ 2, "
     "0.86 to 0.94 nats per step"),
    ([0.5, -1.0], [np.nan, np.nan], "The largest of 2 exponents is λ₁ = 0.5, from too few steps for an error"),
    ([-np.inf, -np.inf], [np.nan, np.nan], "λ₁ = −∞: every perturbation vanishes within the recorded steps"),
    ([0.3, -np.inf], [0.01, np.nan],
     "λ₁ = 0.300 ± 0.020: a perturbation doubles every 2.2 to 2.5 steps; chaos of dimension 1, "
     "0.28 to 0.32 nats per step"),
]  # fmt: skip


@pytest.mark.parametrize(("spectrum", "error", "title"), SPECTRA)
def test_the_sign_of_an_exponent_is_said_only_beyond_its_error(spectrum, error, title, ax):
    assert viz.plot_lyapunov_spectrum(spectrum, ax, error=error).get_title() == title


def test_a_bare_spectrum_claims_nothing(ax):
    for spectrum in ([-1.8e-4, -1], [1.8e-4, -1], [2.0, 1.0]):
        title = viz.plot_lyapunov_spectrum(spectrum, ax.figure.add_subplot()).get_title()
        assert not any(word in title for word in ("halves", "doubles", "chaos", "perturbation")), title
    with pytest.raises(ValueError, match="error: got 1 numbers, expected 2"):
        viz.plot_lyapunov_spectrum([-1, -2], ax, error=[0.1])


def test_the_convergence_names_every_line_with_its_error(ax, rng):
    found = convergence(rng.normal([-0.2, -0.21, -3.0], 0.3, (400, 3)))
    viz.plot_lyapunov_convergence(found, ax)
    error = 2 * viz.lyapunov_error(found)
    told = [f"λ$_{{{i + 1}}}$ = {with_error(found[1][-1, i], error[i])}" for i in range(3)]
    assert labels(ax) == told
    curves = [line for line in ax.lines if line.get_gid() == "lyapunov_convergence"]
    assert len({tuple(line.get_color()) for line in curves}) == 3
    assert ax.get_title().startswith("λ₁ = −0.")
    assert "halves every" in ax.get_title()


def test_a_sign_that_changes_with_the_warm_up_is_not_said(ax):
    """The finding that led here: λ₁ from −0.0066 to 0.0059, depending on where one starts to count."""
    growth = np.linspace(-0.05, 0.05, 60)[:, None]
    viz.plot_lyapunov_convergence(convergence(growth - 1.8e-4), ax)
    assert ax.get_title().endswith("the recorded steps do not show its sign")


# ---- mean field -------------------------------------------------------------------------------------


def field(chi):
    return viz.MeanField(*(np.float64(x) for x in (chi, -1 / np.log(chi), np.nan, np.nan, np.nan)))


@pytest.mark.parametrize(
    ("chis", "title"),
    [([0.68], "If the weights were random: χ = 0.68 (l0)"),
     ([0.9, 1.1], "If the weights were random: χ = 0.9 (l0), 1.1 (l1)"),
     ([0.9, 1.1, 0.7, 1.01], "If the weights were random: χ = 0.7 (l2) to 1.1 (l1)"),
     ([np.nan], "There is no step from which χ could be computed")],
)  # fmt: skip
def test_mean_field_says_what_it_assumes_and_of_which_layer(chis, title, ax):
    viz.plot_mean_field({f"l{k}": field(chi) for k, chi in enumerate(chis)}, ax)
    assert ax.get_title() == title


def test_mean_field_never_claims_what_the_norms_may_contradict(ax, rng):
    """A trained net's gradient may grow where χ is below 1; here W passes everything through one direction."""
    rnn = rc.RNN(1, 8, nonlinearity="relu", bias=False, dtype="float64")
    rnn.load_state_dict({"weight_ih_l0": np.ones((8, 1)), "weight_hh_l0": 1.1 / 8 * np.ones((8, 8))})
    tape = rnn.record(np.ones((40, 1, 1)))
    assert viz.mean_field(tape)["l0"].chi < 0.2
    assert viz.jacobian_norms(tape)[-1, 0] > 30
    title = viz.plot_mean_field(tape, ax).get_title()
    assert "vanish" not in title
    assert title.startswith("If the weights were random")
    viz.plot_mean_field(tape, ax, label="again")
    assert ax.get_title() == "What one step would do to the gradient if the weights were random"


# ---- singular values ----------------------------------------------------------------------------------


def test_directions_are_counted_at_both_ends_of_the_lags(ax):
    lags = np.arange(3)
    sigma = np.array([[1, 1, 1, 1], [1, 0.5, 0.02, 1e-3], [1, 0.1, 1e-3, 1e-4]])[:, None]
    viz.plot_singular_values((lags, sigma), ax)
    assert ax.get_title() == "Directions within a factor 100 of the largest: 3 at lag 1, 2 at lag 2"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["σ₁", "σ₄"]


def test_directions_that_were_not_computed_may_count_too(ax):
    viz.plot_singular_values((np.arange(3), np.ones((3, 2, 4))), ax, row=1)
    assert ax.get_title() == "Directions within a factor 100 of the largest: ≥ 4 at lag 1, ≥ 4 at lag 2"
    assert "row 1 of 2" in ax.get_ylabel()


def test_all_directions_of_a_tape_are_no_lower_bound(ax):
    rnn = rc.RNN(1, 3, nonlinearity="relu", bias=False, dtype="float64")
    rnn.load_state_dict({"weight_ih_l0": np.ones((3, 1)), "weight_hh_l0": 0.5 * np.eye(3)})
    title = viz.plot_singular_values(rnn.record(np.ones((5, 1, 1))), ax).get_title()
    assert title == "Directions within a factor 100 of the largest: 3 at lag 1, 3 at lag 4"


def test_no_direction_and_no_lag(ax):
    nothing = np.zeros((3, 1, 2))
    nothing[0] = 1
    assert viz.plot_singular_values((np.arange(3), nothing), ax).get_title().startswith("No direction")
    one = viz.plot_singular_values((np.arange(1), np.ones((1, 1, 2))), ax.figure.add_subplot())
    assert one.get_title().startswith("No direction")


# ---- memory capacity, context ------------------------------------------------------------------------------


def test_what_an_unremembered_input_has_by_chance_is_not_counted(ax, rng):
    steps = 500
    chance = rng.standard_normal(300) ** 2 / steps  # the r² of independent numbers
    curve = np.r_[1.0, 1.0, chance[chance < 9 / steps]]
    ax = viz.plot_memory_capacity(curve, ax, steps=steps, label="net")
    held = float(ax.get_title().split()[3])
    error = float(ax.get_title().split()[5])
    assert curve.sum() > 2.3
    assert abs(held - 2) < error < 0.25
    assert labels(ax) == [f"net: {' '.join(ax.get_title().split()[3:6])}"]


def test_a_dead_net_holds_nothing(ax):
    rnn = rc.RNN(1, 4, nonlinearity="relu", bias=False)
    rnn.load_state_dict({name: -np.ones_like(w) for name, w in rnn.state_dict().items()})
    curve = viz.memory_curve(rnn, 6, steps=500, low=0.0)
    assert not curve.any()
    assert viz.memory_capacity(rnn, 6, steps=500, low=0.0) == 0
    assert "?" not in viz.plot_memory_capacity(curve, ax, steps=500).get_title()


def test_a_capacity_cut_off_by_the_lags_has_its_at_least(ax):
    viz.plot_memory_capacity(np.array([1.0, 0.9, 0.8]), ax, steps=4000)
    assert ax.get_title().startswith("The state holds ≥ 2.7")


def test_without_the_steps_only_the_sum_is_said(ax):
    assert viz.plot_memory_capacity(np.array([1.0, 0.5]), ax).get_title() == "r² of the lags 0 to 1 adds up to 1.5"


def cut(mean, spread, rows=64):
    """Changes whose mean is `mean` and whose twofold standard error is `spread`."""
    shape = np.linspace(-1, 1, rows)
    shape *= rows**0.5 / 2 / shape.std(ddof=1)
    return 2 ** np.arange(len(mean)), np.array(mean)[:, None] + np.outer(spread, shape)


@pytest.mark.parametrize(
    ("mean", "spread", "title"),
    [([3.0, 1.0, 0.02, 0.0, 0.0], [0.1, 0.1, 0.01, 0.01, 0.0], "Context beyond 4 steps gives at most 1 % of the gain"),
     ([3.0, 1.0, 0.5, 0.4, 0.0], [0.1, 0.1, 0.1, 0.1, 0.0], "More than 8 of 16 steps of context are used"),
     ([3.0, 1.0, 0.5, 0.5, 0.0], [0.1, 0.1, 0.9, 0.9, 0.0],
      "More than 2 steps of context are used; how many, is within the error"),
     ([3.0, 0.5, 0.5, 0.5, 0.0], [0.1, 0.9, 0.9, 0.9, 0.0],
      "More than 1 step of context is used; how many, is within the error"),
     ([0.1, 0.1, 0.1, 0.0], [0.2, 0.2, 0.2, 0.0], "No effect of a shorter context is beyond its error"),
     ([-0.5, -0.1, 0.0], [0.1, 0.2, 0.0], "The loss is lower with less context"),
     ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], "Cutting the context changes nothing"),
     ([3.0, 0.0, 0.0], [0.1, 0.0, 0.0], "Context beyond 2 steps changes nothing")],
)  # fmt: skip
def test_a_context_is_called_used_only_beyond_the_error(mean, spread, title, ax):
    assert viz.plot_context_cut(cut(mean, spread), ax).get_title() == title
    assert "± 2 s.e. of 64 rows" in ax.get_ylabel()


def test_one_row_has_no_error_and_says_so(ax):
    one = np.array([1, 2, 4]), np.array([[3.0], [0.5], [0.0]])
    assert viz.plot_context_cut(one, ax).get_title() == "More than 2 of 4 steps of context are used in this row"


# ---- steps, gates, series ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("norms", "title"),
    [([0.5, 4.0, 0.5, 0.5], "Clipping to 1 shortens 25 % of the updates, one of them 4-fold"),
     ([0.5, np.inf], "No finite gradient is longer than 1; 1 is infinite"),
     ([2.0, np.inf, np.nan], "Every finite gradient is longer than 1, one of them 2 times; 2 are not finite"),
     ([2.0, 0.5, np.inf], "Clipping to 1 shortens 50 % of the finite gradients, one of them 2-fold; 1 is infinite")],
)  # fmt: skip
def test_clipping_counts_an_infinite_gradient_apart(norms, title, ax):
    assert viz.plot_clipping(np.array(norms), ax, max_norm=1).get_title() == title


def test_the_share_of_steps_is_of_the_lengths_of_the_rows(ax):
    rnn = rc.RNN(2, 3, seed=0)
    x = np.ones((40, 2, 2))
    tape = rnn.record(x, lengths=np.array([40, 12]))
    tape.backward(np.ones((40, 2, 3)))
    assert " of 12 to 40 steps" in viz.plot_step_share(tape, ax).get_title()
    alone = viz.plot_step_share(tape, ax.figure.add_subplot(), row=1)
    assert alone.get_title().endswith(" of 12 steps") or " of 12 steps, of" in alone.get_title()


@pytest.mark.parametrize(
    ("ratio", "title"),
    [(np.full((20, 2), 0.8), "Every step multiplies the norm of the gradient by 0.8"),
     (np.ones((20, 1)), "Every step keeps the norm of the gradient"),
     (np.repeat([[0.5], [0.7], [0.9], [1.1], [3.0]], 4, axis=0),
      "Half of the steps multiply the norm of the gradient by 0.7 to 1.1, all by 0.5 to 3"),
     (np.full((3, 1), np.nan), "No gradient arrives")],
)  # fmt: skip
def test_norm_preservation_speaks_of_all_steps_of_all_rows(ratio, title, ax):
    assert viz.plot_norm_preservation(ratio, ax).get_title() == title


def test_one_row_of_many_changes_the_title(ax):
    rows = np.c_[np.full(20, 0.8), np.full(20, 0.8), np.full(20, 5.0)]  # the median over rows is 0.8 at every step
    assert viz.plot_norm_preservation(rows, ax).get_title().endswith("all by 0.8 to 5")


def shares(*at_one_end, units=256):
    return viz.Saturation(np.zeros(units), np.r_[np.ones(len(at_one_end)), np.full(units - len(at_one_end), 0.5)])


def test_one_unit_of_many_at_an_end_is_not_none(ax):
    viz.plot_saturation({"l0.i": shares(), "l0.f": shares(1)}, ax)
    assert ax.get_title() == "Units of 256 at one end on over 90 % of the steps: l0.i 0, l0.f 1"
    none = viz.plot_saturation({"l0.i": shares()}, ax.figure.add_subplot())
    assert none.get_title() == "No unit is at one end of a gate on over 90 % of the steps"


def test_pictures_of_two_nets_are_titled_by_the_same_gates(ax):
    """Before and after training, the gates with the most such units may differ; the titles name the same ones."""
    before = viz.plot_saturation({"l0.i": shares(1, 1), "l0.f": shares(1)}, ax).get_title()
    after = viz.plot_saturation({"l0.i": shares(), "l0.f": shares(1)}, ax.figure.add_subplot()).get_title()
    assert [word for word in before.split() if word.startswith("l0")] == [
        word for word in after.split() if word.startswith("l0")]  # fmt: skip


def test_time_scales_are_of_each_layer(ax):
    viz.plot_timescales({"l0": np.array([2.0, 2, 2]), "l1": np.array([90.0, 90, 90])}, ax)
    assert ax.get_title().endswith("half of the units keep their values for 2 (l0), 90 (l1) steps or more")


def test_a_time_scale_beyond_the_recording_has_its_at_least(ax):
    lstm = rc.LSTM(1, 4, dtype="float64", seed=0)
    rc.init.forget_bias(lstm, 6.0)  # τ of about 400 steps
    viz.plot_timescales(lstm.record(0.01 * np.ones((30, 1, 1))), ax)
    assert ax.get_title().endswith("half of the units keep their values for ≥ 30 steps, as long as was recorded")
    assert [text.get_text() for text in ax.texts] == ["30 steps recorded"]
    short = rc.LSTM(1, 4, dtype="float64", seed=0).record(np.ones((30, 1, 1)))
    other = viz.plot_timescales(short, ax.figure.add_subplot())
    assert other.get_title().endswith("or more")
    assert not other.texts


@pytest.mark.parametrize(
    ("values", "title"),
    [([3.0, 2.0, 1.0], "Loss is 3 at update 0 and 1 at update 20"),
     ([3.0, 0.2, 1.0], "Loss is 3 at update 0 and 1 at update 20 (from 0.2 to 3)"),
     ([np.nan, 2.0, 1.0], "Loss is 2 at update 10 and 1 at update 20; 1 of 3 are not finite"),
     ([2.0, 1.0, np.inf], "Loss is 2 at update 0 and 1 at update 10; 1 of 3 are not finite"),
     ([np.nan, np.nan, np.nan], "Loss has no finite value"),
     ([63.0, 63.0, 63.0], "Loss is 63 at all 3 updates")],
)  # fmt: skip
def test_a_series_is_told_with_what_lies_between_its_ends(values, title, ax):
    assert viz.plot_series((np.arange(3) * 10, np.array(values)), ax, name="loss").get_title() == title


def test_a_series_of_one_value(ax):
    assert viz.plot_series(([5], [0.5]), ax, name="loss").get_title() == "Loss is 0.5 at the one update"


# ---- what all of them share ------------------------------------------------------------------------------


def test_twenty_one_lines_have_twenty_one_colours(ax):
    assert len({str(line_colour(k)) for k in range(21)}) == 21
    looks = []
    for _ in range(15):
        look = next_look(ax, "kind", 10, {})
        ax.plot([0, 1], **look)
        looks.append((str(look["color"]), look["marker"]))
    assert len(set(looks)) == 15


@pytest.mark.parametrize("style", ["page", "slide"])
def test_a_legend_is_never_over_a_line(style, plt, rng):
    """Ten rows of noise fill the axes, so that room has to be made."""
    from rnncore.viz.plots._legend import _taken

    for runs in (1, 3, 9):
        with viz.style.context(style):
            figure, ax = plt.subplots()
            for k in range(runs):
                viz.plot_series((np.arange(50), rng.uniform(-1, 1, 50)), ax, name="loss", label=f"run {k}")
            figure.canvas.draw()
        box = ax.get_legend().get_window_extent().transformed(ax.transAxes.inverted())
        lines, _ = _taken(ax)
        assert not any(box.contains(x, y) for x, y in lines)
        assert box.x0 > -0.01
        assert box.x1 < 1.01
        plt.close(figure)


def test_a_long_title_stays_as_wide_as_its_axes(plt):
    figure, (left, right) = plt.subplots(1, 2)
    for ax in (left, right):
        viz.plot_lyapunov_spectrum([0.5, 0.0, -1.0], ax, error=[0.05, 0.0, 0.0])
    figure.canvas.draw()
    for ax in (left, right):
        assert ax.title.get_window_extent().width <= 1.05 * ax.get_window_extent().width
    plt.close(figure)
