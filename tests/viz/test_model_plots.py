"""Pictures of fitted models: coefficients, forecasts, transitions, hidden states."""

import numpy as np
import pytest
from drawn import legend_of, lines, texts, y_of
from statsmodels.tsa.api import VAR

import rnncore as rc
from rnncore import viz
from rnncore.models import AutoRegressive, HiddenMarkov, Markov, SwitchingAutoRegressive

# ---- coefficients ---------------------------------------------------------------------------------


def random_walks(rng, steps=300, F=2):
    """Two features, the second of which follows the first."""
    x = np.zeros((steps, F))
    for t in range(1, steps):
        x[t, 0] = 0.6 * x[t - 1, 0] + rng.normal()
        x[t, 1:] = 0.3 * x[t - 1, 1:] + 0.8 * x[t - 1, 0] + rng.normal(size=F - 1)
    return x


@pytest.mark.parametrize("order", [1, 3])
def test_standard_errors_are_those_of_statsmodels(order, rng):
    x = random_walks(rng) * [1e3, 1.0] + [1e5, 3.0]
    found = viz.coefficients(AutoRegressive(order).fit([x]), [x])
    other = VAR(x).fit(order, trend="c")
    np.testing.assert_allclose(found.value, other.coefs, rtol=1e-6)
    expected = np.asarray(other.stderr)[1:].reshape(order, 2, 2).transpose(0, 2, 1)  # unknown × target
    np.testing.assert_allclose(found.standard_error, expected, rtol=1e-6)


def test_standard_errors_with_inputs_and_gaps_are_those_of_the_normal_equations(rng):
    x, u = rng.normal(size=(80, 1)), rng.normal(size=(80, 2))
    x[30] = np.nan
    model = AutoRegressive(2, missing="mask", intercept=False).fit([x[:50], x[50:]], exog=[u[:50], u[50:]])
    found = viz.coefficients(model, [x[:50], x[50:]], exog=[u[:50], u[50:]])
    rows = [t for t in range(80) if t not in (0, 1, 30, 31, 32, 50, 51)]
    design = np.array([[*u[t], x[t - 1, 0], x[t - 2, 0]] for t in rows])
    y = x[rows, 0]
    beta = np.linalg.solve(design.T @ design, design.T @ y)
    variance = np.sum((y - design @ beta) ** 2) / (len(rows) - 4)
    expected = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    np.testing.assert_array_equal(found.value, model.coef_)
    np.testing.assert_allclose(found.standard_error.ravel(), expected[2:], rtol=1e-8)


def test_coefficients_of_other_data_are_refused(rng):
    x = rng.normal(size=100)
    model = AutoRegressive(2).fit([x])
    with pytest.raises(ValueError, match=r"^sequences: got data on which least squares gives other coefficients"):
        viz.coefficients(model, [x[:60]])
    with pytest.raises(ValueError, match=r"^exog: got 1 arrays, expected those of fit|^exog"):
        viz.coefficients(model, [x], exog=[np.ones((3, 1))])
    with pytest.raises(TypeError, match=r"^model: got a Markov, expected a fitted rnncore\.models\.AutoRegressive"):
        viz.coefficients(Markov(), ["ab"])
    with pytest.raises(rc.models.NotFittedError):
        viz.coefficients(AutoRegressive(2), [x])


def found_of(values, error=0.1):
    values = np.reshape(values, (-1, 1, 1)).astype(float)
    return viz.Coefficients(values, np.full(values.shape, error))


def test_coefficients_are_drawn_with_their_intervals(plt):
    ax = viz.plot_coefficients(found_of([0.8, -0.3, 0.02], 0.1))
    (dots,) = lines(ax, "coefficients")
    np.testing.assert_allclose(y_of(dots), [0.8, -0.3, 0.02])
    np.testing.assert_allclose(dots.get_xdata(), [1, 2, 3])
    (bars,) = [c for c in ax.collections if c.get_gid() == "interval"]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, [[v - 0.196, v + 0.196] for v in (0.8, -0.3, 0.02)], atol=1e-4)
    narrow = viz.plot_coefficients(found_of([0.8], 0.1), plt.figure().gca(), level=0.5)
    (bars,) = [c for c in narrow.collections if c.get_gid() == "interval"]
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], [0.8 - 0.0674, 0.8 + 0.0674], atol=1e-4)
    plt.close()


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ([0.8, -0.3, 0.02], "Lags 1 and 2 of 3 differ from 0 (95 % intervals)"),
        ([0.8, 0.01, 0.02], "Lag 1 of 3 differs from 0 (95 % intervals)"),
        ([0.8], "Lag 1 differs from 0 (95 % intervals)"),
        ([0.01, 0.02], "No coefficient differs from 0 (95 % intervals)"),
        ([0.8, 0.8, 0.8, 0, 0.8, 0.8], "5 of 6 coefficients differ from 0 (95 % intervals)"),
        ([0.8] + 19 * [0.0], "Lag 1 of 20 differs from 0 (95 % intervals; about 1 would by chance)"),
    ],
)
def test_the_title_says_which_lags_differ_from_0(values, title, plt):
    assert viz.plot_coefficients(found_of(values)).get_title() == title


def test_without_standard_errors_no_lag_is_said_to_differ(rng, plt):
    x = random_walks(rng)[:, 0]
    model = AutoRegressive(3).fit([x])
    ax = viz.plot_coefficients(model)
    np.testing.assert_allclose(y_of(lines(ax, "coefficients")[0]), model.coef_.ravel())
    assert not [c for c in ax.collections if c.get_gid() == "interval"]
    assert ax.get_title().startswith("The largest coefficient is 0.")
    assert ax.get_title().endswith("at lag 1")


def test_several_features_are_lines_of_one_target(rng, plt):
    x = random_walks(rng)
    found = viz.coefficients(AutoRegressive(2).fit([x]), [x])
    ax = viz.plot_coefficients(found, target=1, names=["sea", "air"])
    dots = lines(ax, "coefficients")
    assert legend_of(ax) == ["of sea", "of air"]
    for j, line in enumerate(dots):
        np.testing.assert_allclose(y_of(line), found.value[:, 1, j])
    assert ax.get_ylabel() == "coefficient in the prediction of air"
    one = viz.plot_coefficients(found, plt.figure().gca(), target=1, names=["sea", "air"], sources=["air"])
    assert len(lines(one, "coefficients")) == 1
    plt.close()


def test_coefficients_of_two_models_overlay(plt):
    ax = viz.plot_coefficients(found_of([0.5, 0.2]), label="a")
    viz.plot_coefficients(found_of([0.4, 0.1]), label="b")
    a, b = lines(ax, "coefficients")
    assert a.get_color() != b.get_color()
    assert a.get_marker() != b.get_marker()
    assert (np.asarray(a.get_xdata()) != np.asarray(b.get_xdata())).all()   # beside each other
    assert legend_of(ax) == ["a", "b"]
    assert ax.get_title() == "Coefficients against lag, with 95 % intervals"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: viz.plot_coefficients(np.ones((3, 2))), r"model: got an array of shape \(3, 2\), expected a fitted"),
        (lambda: viz.plot_coefficients(np.ones((2, 2, 3))), r"model: got an array of shape \(2, 2, 3\)"),
        (lambda: viz.plot_coefficients("ar"), "model: got 'ar'"),
        (lambda: viz.plot_coefficients(np.ones((0, 1, 1))), "model: got one of order 0"),
        (lambda: viz.plot_coefficients(found_of([1]), target=1), "target: got 1, expected one of 1 features"),
        (lambda: viz.plot_coefficients(found_of([1]), names=["a", "b"]), "names: got 2, expected 1"),
        (lambda: viz.plot_coefficients(found_of([1]), sources=["b"]), r"sources: got \['b'\], expected some of 0"),
        (lambda: viz.plot_coefficients(found_of([1]), target="b"), "target: got 'b', expected one of 0, or its number"),
        (lambda: viz.plot_coefficients(found_of([1]), level=1.5), "level: got 1.5"),
    ],
)
def test_coefficients_that_are_none_are_refused(call, message, plt):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call()
    assert not plt.get_fignums()


# ---- forecasts ------------------------------------------------------------------------------------


@pytest.fixture
def ahead(rng):
    x = random_walks(rng)
    model = AutoRegressive(2).fit([x[:250]])
    return x, model.forecast(x[:250], 20), model


def test_a_forecast_is_drawn_after_its_context(ahead, plt):
    x, forecast, _ = ahead
    ax = viz.plot_forecast(forecast, context=x[200:250], actual=x[250:280], feature=1, name="air")
    (mean,), (context,), (actual,) = (lines(ax, kind) for kind in ("forecast", "context", "actual"))
    np.testing.assert_allclose(y_of(mean), forecast.mean[:, 1])
    np.testing.assert_allclose(mean.get_xdata(), np.arange(1, 21))
    np.testing.assert_allclose(y_of(context), x[200:250, 1])
    assert (context.get_xdata()[0], context.get_xdata()[-1]) == (-49, 0)
    np.testing.assert_allclose(y_of(actual), x[250:280, 1])
    assert actual.get_xdata()[0] == 1
    (band,) = [c for c in ax.collections if c.get_gid() == "band"]
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (forecast.lower[:, 1].min(), forecast.upper[:, 1].max())
    inside = (forecast.lower[:, 1] <= x[250:270, 1]) & (x[250:270, 1] <= forecast.upper[:, 1])
    assert ax.get_title() == f"{inside.sum()} of 20 values lie in the 95 % interval"
    assert ax.get_ylabel() == "air"


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.99])
def test_the_level_of_the_interval_is_read_from_its_width(level, ahead, plt):
    x, _, model = ahead
    ax = viz.plot_forecast(model.forecast(x, 5, level=level))
    assert f"The {100 * level:g} % interval widens from ±" in ax.get_title()


class Band:
    """A forecast without a covariance."""

    def __init__(self, mean, half):
        self.mean = np.asarray(mean, float)[:, None]
        self.lower, self.upper = self.mean - np.reshape(half, (-1, 1)), self.mean + np.reshape(half, (-1, 1))


@pytest.mark.parametrize(
    ("half", "title"),
    [
        ([1.0, 2.0, 4.0], "The interval widens from ±1 to ±4 within 3 steps"),
        ([4.0, 2.0], "The interval narrows from ±4 to ±2 within 2 steps"),
        ([2.0, 2.0], "The interval is ±2 over 2 steps"),
        ([2.0], "The interval is ±2 one step ahead"),
    ],
)
def test_the_title_says_how_uncertain_a_forecast_is(half, title, plt):
    assert viz.plot_forecast(Band(np.zeros(len(half)), half)).get_title() == title


def test_values_that_are_missing_are_not_counted(plt):
    actual = [0.5, np.nan, 3.0, 9.0]
    ax = viz.plot_forecast(Band([0, 0, 0], [1, 1, 1]), actual=actual)
    assert ax.get_title() == "1 of 2 values lie in the interval"
    unknown = viz.plot_forecast(Band([0, 0], [1, 2]), plt.figure().gca(), actual=[np.nan, np.nan])
    assert unknown.get_title() == "The interval widens from ±1 to ±2 within 2 steps"
    plt.close()


def test_a_value_between_missing_ones_is_drawn_as_a_dot(plt):
    """A line has nothing to show where neither neighbour has a value."""
    gap = np.nan
    context, actual = [1.0, gap, 2.0, gap, 3.0, 4.0], [gap, 5.0, gap, 6.0, 7.0, gap, 8.0]
    ax = viz.plot_forecast(Band(np.zeros(7), np.ones(7)), context=context, actual=actual)
    for kind, alone in (("context", [0, 2]), ("actual", [1, 6])):
        (found,) = lines(ax, kind)
        assert (found.get_marker(), found.get_markevery()) == (".", alone)
    whole = viz.plot_forecast(Band([0], [1]), plt.figure().gca(), context=[1.0, 2.0, gap])
    assert lines(whole, "context")[0].get_marker() in ("None", None, "")
    (band,) = [c for c in whole.collections if c.get_gid() == "band"]
    corners = band.get_paths()[0].vertices
    assert np.ptp(corners[:, 0]) > 0.5, "the interval of one step has an area"
    assert (corners[:, 1].min(), corners[:, 1].max()) == (-1, 1)
    plt.close()


def test_a_forecast_of_sampled_paths_is_drawn_too(rng, plt):
    paths = rng.normal(size=(400, 6, 1))
    low, high = np.quantile(paths, (0.1, 0.9), axis=0)
    forecast = rc.models.SampledForecast(paths.mean(0), low, high, np.ones((6, 1, 1)), paths)
    ax = viz.plot_forecast(forecast)
    assert "The 80 % interval" in ax.get_title()
    np.testing.assert_allclose(y_of(lines(ax, "forecast")[0]), paths.mean(0)[:, 0])


def test_forecasts_of_two_models_overlay(ahead, plt):
    x, forecast, _ = ahead
    options = {"context": x[200:250], "actual": x[250:270]}
    ax = viz.plot_forecast(forecast, label="VAR", **options)
    other = AutoRegressive(1).fit([x[:250]]).forecast(x[:250], 20)
    viz.plot_forecast(other, label="AR(1)", **options)
    assert [len(lines(ax, kind)) for kind in ("forecast", "context", "actual")] == [2, 1, 1]
    assert ax.get_title() == "Forecasts with their 95 % intervals"
    inside = (other.lower[:, 0] <= x[250:270, 0]) & (x[250:270, 0] <= other.upper[:, 0])
    assert f"AR(1): {inside.sum()} of 20 inside" in legend_of(ax)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: viz.plot_forecast(f.mean), r"forecast: got an array of shape \(20, 2\), expected a Forecast"),
        (lambda f: viz.plot_forecast(AutoRegressive(1)), "forecast: got an AutoRegressive"),
        (lambda f: viz.plot_forecast(f, feature=2), "feature: got 2, expected one of 2 features"),
        (lambda f: viz.plot_forecast(f, context=np.ones((2, 2, 2))), "context: got an array of shape"),
        (lambda f: viz.plot_forecast(f, actual="abc"), "actual: got 'abc'"),
        (lambda f: viz.plot_forecast(f, context=np.ones((9, 3))), "context: got 3 features, expected 2, as the fore"),
        (lambda f: viz.plot_forecast(f, actual=np.ones(9)), "actual: got 1 features, expected 2, as the forecast"),
        (lambda f: viz.plot_forecast(f._replace(mean=f.mean[:0])), "forecast: got 0, 20 and 20 steps"),
    ],
)
def test_what_is_no_forecast_is_refused(call, message, ahead, plt):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call(ahead[1])
    assert not plt.get_fignums()


# ---- transitions ----------------------------------------------------------------------------------

WEATHER = np.array([[0.9, 0.08, 0.02], [0.3, 0.6, 0.1], [0.2, 0.0, 0.8]])


def test_the_matrix_holds_the_probabilities(plt):
    ax = viz.plot_transition_matrix(WEATHER, names=["dry", "wet", "snow"])
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), WEATHER)
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["dry", "wet", "snow"]
    assert texts(ax, "0,0") == ["0.90"]
    assert texts(ax, "2,1") == []       # 0
    assert ax.get_title() == "State dry lasts longest: 10 steps on average"


def test_the_matrix_of_a_markov_chain_has_a_row_for_every_context(plt):
    model = Markov(2, alphabet="ab").fit(["abaabbaab", "ba"])
    ax = viz.plot_transition_matrix(model)
    np.testing.assert_allclose(ax.images[0].get_array(), model.transition_table())
    assert [t.get_text() for t in ax.get_yticklabels()] == ["aa", "ab", "ba", "bb"]
    assert ax.get_ylabel() == "last 2 symbols"
    viz.plot_transition_matrix(model, ax, contexts=["ab", "b"])
    np.testing.assert_allclose(ax.images[0].get_array(), [model.predict("ab"), model.predict("b")])
    numbers = Markov(1).fit([np.array([0, 1, 2, 1])])
    ax = viz.plot_transition_matrix(numbers, plt.figure().gca(), names=["x", "y", "z"])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x", "y", "z"]
    plt.close()
    none = viz.plot_transition_matrix(Markov(0).fit(["aab"]), plt.figure().gca())
    assert none.images[0].get_array().shape == (1, 2)
    plt.close()


@pytest.mark.parametrize(
    ("table", "title"),
    [
        ([[1.0, 0.0], [0.5, 0.5]], "State 0 is never left"),
        ([[1.0, 0.0], [0.0, 1.0]], "2 states are never left"),
        ([[0.2, 0.8], [0.7, 0.3]], "The surest transition is 0 → 1, with probability 0.8"),
        ([[0.5, 0.5], [0.5, 0.5]], "All transitions have probability 0.5"),
        ([[0.8, 0.2], [0.2, 0.8]], "2 transitions have the largest probability, 0.8"),
        ([[0.95, 0.05], [0.5, 0.5]], "State 0 lasts longest: 20 steps on average"),
    ],
)
def test_a_tie_is_no_claim(table, title, plt):
    assert viz.plot_transition_matrix(table).get_title() == title
    assert viz.plot_transition_graph(table, plt.figure().gca()).get_title() == title
    plt.close()


def arrows(ax):
    return {patch.get_gid(): patch for patch in ax.patches if patch.get_gid()}


def test_the_graph_has_an_arrow_for_every_transition_as_thick_as_it_is_probable(plt):
    ax = viz.plot_transition_graph(WEATHER, names=["dry", "wet", "snow"])
    found = arrows(ax)
    likely = {f"{i},{j}": WEATHER[i, j] for i in range(3) for j in range(3) if WEATHER[i, j]}
    assert set(found) == set(likely)
    by_width = sorted(found, key=lambda gid: found[gid].get_linewidth())
    assert by_width == sorted(likely, key=likely.__getitem__)
    assert {gid: texts(ax, gid) for gid in found} == {gid: [f"{p:.2f}"] for gid, p in likely.items()}
    values, vectors = np.linalg.eig(WEATHER.T)
    share = np.real(vectors[:, np.argmax(values.real)])
    assert texts(ax, "share") == [f"{100 * p:.0f} %" for p in share / share.sum()]
    assert texts(ax, "note") == ["%: share of steps in the long run"]


def test_the_most_probable_way_out_of_a_state_is_drawn_however_rare(plt):
    table = np.array([[0.96, 0.03, 0.01], [0.02, 0.98, 0.0], [0.5, 0.2, 0.3]])
    ax = viz.plot_transition_graph(table, least=0.25)
    assert set(arrows(ax)) == {"0,0", "0,1", "1,1", "1,0", "2,0", "2,2"}
    assert texts(ax, "note") == ["%: share of steps in the long run; 2 arrows below 0.25 not drawn"]


def test_no_share_is_said_where_the_long_run_depends_on_the_start(plt):
    ax = viz.plot_transition_graph([[1.0, 0.0], [0.0, 1.0]])
    assert texts(ax, "share") == []
    assert texts(ax, "note") == [""]


def test_a_graph_of_many_states_has_fewer_numbers(plt):
    table = np.full((8, 8), 0.36 / 7)
    np.fill_diagonal(table, 0.6)
    table[np.arange(8), np.arange(8) - 1] += 0.04
    ax = viz.plot_transition_graph(table)
    assert set(arrows(ax)) == {f"{k},{k}" for k in range(8)} | {f"{k},{(k - 1) % 8}" for k in range(8)}
    assert "48 arrows below 0.1 not drawn" in " ".join(texts(ax, "note")[0].split())
    viz.plot_transition_graph(table, ax, least=0.05)
    assert len(arrows(ax)) == 64
    assert texts(ax, "0,1") == []


def shares(n, rng):
    return rng.dirichlet(np.full(n, 0.8), n)


@pytest.mark.parametrize("sheet", ["page", "slide"])
@pytest.mark.parametrize("n", [4, 7, 8])
def test_numbers_of_a_dense_graph_do_not_overlap(n, sheet, rng, plt):
    with viz.style.context(sheet):
        figure, ax = plt.subplots()
        viz.plot_transition_graph(shares(n, rng), ax, names=[*["running"] * 2, *"abcdef"[: n - 2]], least=0)
        figure.canvas.draw()
        numbers = [text for text in ax.texts if "," in str(text.get_gid())]
        boxes = [text.get_window_extent() for text in numbers]
        assert len(boxes) > n / 2
        names = [text.get_window_extent() for text in ax.texts if text.get_gid() == "name"]
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in [*boxes[:k], *names])


def test_a_number_without_room_is_left_out_and_the_note_says_so(rng, plt):
    figure = plt.figure(figsize=(1.5, 1.5))
    ax = viz.plot_transition_graph(shares(8, rng), figure.subplots(), least=0)
    assert "where there is room" in " ".join(texts(ax, "note")[0].split())


def test_eight_states_have_eight_colours(plt):
    ax = viz.plot_transition_graph(np.full((8, 8), 1 / 8))
    assert len({patch.get_facecolor() for patch in ax.patches if patch.get_gid() is None}) == 8


def test_a_long_name_is_as_large_as_a_short_one(plt):
    ax = viz.plot_transition_graph([[0.5, 0.5], [0.2, 0.8]], names=["a", "a much longer name"])
    short, long = [text for text in ax.texts if text.get_gid() == "name"]
    assert long.get_fontsize() >= 0.8 * short.get_fontsize()


def test_titles_keep_what_an_arrow_joins_on_one_line_and_have_no_more_lines_than_they_need(plt):
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    for ax in axes:
        viz.plot_transition_graph([[0.09, 0.91], [0.6, 0.4]], ax, names=["running and running", "consonants"])
    figure.canvas.draw()
    told = axes[0].title._get_wrapped_text().split("\n")
    assert len(told) == 2
    assert not any(line.strip().endswith("→") or line.strip().startswith("→") for line in told)
    assert "running → consonants" in axes[0].title._get_wrapped_text().replace("\N{NO-BREAK SPACE}", " ")


def test_all_chains_have_both_pictures(rng, plt):
    x = np.r_[rng.normal(size=100), 4 + rng.normal(size=100)]
    hidden = HiddenMarkov(2, "gaussian", random_state=0).fit([x])
    switching = SwitchingAutoRegressive(2, random_state=0).fit([x])
    symbols = Markov(1).fit(["abracadabra"])
    tables = {hidden: hidden.transmat_, switching: switching.transmat_, symbols: symbols.transition_table()}
    for model, table in tables.items():
        ax = viz.plot_transition_matrix(model, plt.figure().gca())
        np.testing.assert_allclose(ax.images[0].get_array(), table)
        graph = viz.plot_transition_graph(model, plt.figure().gca(), least=0)
        assert len(arrows(graph)) == np.count_nonzero(table)
        plt.close("all")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: viz.plot_transition_matrix([[0.5, 0.5]]), "model: got a list of 1, expected a fitted Markov"),
        (lambda: viz.plot_transition_matrix([[0.5, 0.2], [0.5, 0.5]]), "model: got a matrix whose rows are not"),
        (lambda: viz.plot_transition_matrix("abc"), "model: got 'abc'"),
        (lambda: viz.plot_transition_matrix(WEATHER, names=["a"]), "names: got 1, expected 3"),
        (lambda: viz.plot_transition_matrix(WEATHER, contexts=["a"]), "contexts: got some for a chain of states"),
        (lambda: viz.plot_transition_matrix(Markov(3).fit(["abcde"])), "model: got 125 contexts of 5 symbols"),
        (lambda: viz.plot_transition_graph(Markov(2).fit(["abba"])), "model: got a Markov chain of order 2"),
        (lambda: viz.plot_transition_graph(np.eye(9)), "model: got 9 states, expected at most 8"),
        (lambda: viz.plot_transition_graph(WEATHER, least=1.5), "least: got 1.5"),
        (lambda: viz.plot_transition_matrix(HiddenMarkov(2)), "HiddenMarkov has no transmat_ yet"),
    ],
)
def test_what_is_no_chain_is_refused(call, message, plt):
    with pytest.raises((TypeError, ValueError, AttributeError), match=f"^{message}"):
        call()
    assert not plt.get_fignums()


# ---- hidden states --------------------------------------------------------------------------------


def runs(path):
    edges = np.flatnonzero(np.diff(path)) + 1
    starts = [0, *edges.tolist()]
    return {(int(path[s]), s, e) for s, e in zip(starts, [*edges.tolist(), len(path)], strict=True)}


def spans(ax, state):
    """The left and right ends of the rectangles of a state."""
    (band,) = [patch for patch in ax.patches if patch.get_gid() == f"state {state}"]
    return band.get_path().vertices.reshape(-1, 5, 2)[:, :, 0]


def test_bands_are_the_path_and_areas_the_posteriors(rng, plt):
    x = np.r_[rng.normal(size=40), 3 + rng.normal(size=30), rng.normal(size=30)]
    model = HiddenMarkov(2, "gaussian", random_state=0).fit([x])
    path, posteriors = model.decode(x)[1], model.posteriors(x)
    ax = viz.plot_hidden_states(model, sequence=x, name="signal")
    (series,) = lines(ax, "series")
    np.testing.assert_array_equal(y_of(series), x)
    found = set()
    for state in range(2):
        for across in spans(ax, state):
            found.add((state, round(across.min() + 0.5), round(across.max() + 0.5)))
    assert found == runs(path)
    (below,) = ax.child_axes
    foot = np.zeros(100)
    for k in range(2):
        (area,) = [c for c in below.collections if c.get_gid() == f"posterior {k}"]
        vertices = area.get_paths()[0].vertices
        for t in (0, 17, 55, 99):
            here = np.unique(vertices[np.abs(vertices[:, 0] - t) <= 0.5][:, 1])
            assert np.abs(here - (foot + posteriors[:, k])[t]).min() < 1e-12
        foot = foot + posteriors[:, k]
    changes = np.count_nonzero(np.diff(path))
    sure = int(100 * np.mean(posteriors.max(1) > 0.9))
    assert ax.get_title() == (
        f"The most probable path changes state {changes} times; {sure} % of steps are certain (p > 0.9)"
    )
    assert ax.get_ylabel() == "signal"
    # the values are above the posteriors
    bottom = below.get_window_extent().y1
    assert ax.transData.transform((0, x.min()))[1] > bottom


@pytest.mark.parametrize(
    ("path", "sure", "title"),
    [
        ([0, 0, 0, 0], 0.99, "The most probable path never changes state; 100 % of steps are certain (p > 0.9)"),
        ([0, 0, 1, 1], 0.99, "The most probable path changes state once; 100 % of steps are certain (p > 0.9)"),
        ([0, 1, 0, 1], 0.6, "The most probable path changes state 3 times; 0 % of steps are certain (p > 0.9)"),
        ([-1, 0, 0, 1], 0.95, "The most probable path changes state once; 100 % of steps are certain (p > 0.9)"),
    ],
)
def test_the_title_counts_changes_and_certain_steps(path, sure, title, plt):
    path = np.array(path)
    posteriors = np.where(np.arange(2) == path[:, None], sure, 1 - sure)
    posteriors[path < 0] = np.nan
    ax = viz.plot_hidden_states((path, posteriors), sequence=np.arange(4.0))
    assert ax.get_title() == title


def test_199_of_200_certain_steps_are_not_all(plt):
    posteriors = np.full((200, 2), [0.95, 0.05])
    posteriors[7] = 0.5
    ax = viz.plot_hidden_states((np.zeros(200), posteriors), sequence=np.zeros(200))
    assert "; 99 % of steps are certain" in ax.get_title()


def test_regimes_are_unknown_in_the_first_window(rng, plt):
    x = np.r_[rng.normal(size=60), 5 + rng.normal(size=60)]
    model = SwitchingAutoRegressive(2, order=3, form="intercept", random_state=0).fit([x])
    ax = viz.plot_hidden_states(model, sequence=x, names=["low", "high"])
    assert "changes regime" in ax.get_title()
    assert min(spans(ax, state).min() for state in range(2)) == 2.5
    (below,) = ax.child_axes
    assert below.get_ylabel() == "P(regime)"
    assert legend_of(below) == ["1: high", "0: low"]


def test_a_long_series_has_two_shapes_for_each_state_and_the_means_of_posteriors(rng, plt):
    steps = 20_000
    path = rng.integers(3, size=steps)
    posteriors = rng.dirichlet(np.ones(3), steps)
    ax = viz.plot_hidden_states((path, posteriors), sequence=rng.normal(size=steps))
    assert len([patch for patch in ax.patches if patch is not ax.patch]) == 6
    found = {(state, round(x.min() + 0.5), round(x.max() + 0.5)) for state in range(3) for x in spans(ax, state)}
    assert found == runs(path)
    (below,) = ax.child_axes
    (area,) = [c for c in below.collections if c.get_gid() == "posterior 0"]
    vertices = area.get_paths()[0].vertices
    assert len(vertices) < 20_000
    at = {float(x) for x in vertices[:, 0] if 9 < x < 15}
    assert at == {9.5, 14.5}                               # one value for the steps from 10 to 14: their mean
    edge = vertices[vertices[:, 0] == 9.5][:, 1]
    assert np.abs(edge - posteriors[10:15, 0].mean()).min() < 1e-12
    assert vertices[:, 0].max() == steps - 0.5


def test_symbols_are_dots_in_rows_of_their_own(plt):
    text = "the cat sat on the mat " * 3
    model = HiddenMarkov(2, random_state=0, n_iter=10).fit([text])
    ax = viz.plot_hidden_states(model, sequence=text)
    (series,) = lines(ax, "series")
    assert [model.alphabet_[int(y)] for y in y_of(series)] == list(text)
    assert series.get_linestyle() == "None"
    numbers = HiddenMarkov(2, random_state=0, n_iter=5).fit([np.array([0, 1, 2, 1, 0, 2] * 5)])
    ax = viz.plot_hidden_states(numbers, plt.figure().gca(), sequence=[2, 1, 0])
    assert y_of(lines(ax, "series")[0]).tolist() == [2, 1, 0]
    plt.close()


def test_many_states_are_a_map(rng, plt):
    posteriors = rng.dirichlet(np.ones(9), 50)
    path = posteriors.argmax(1)
    ax = viz.plot_hidden_states((path, posteriors), sequence=rng.normal(size=(50, 2)), feature=1)
    (below,) = [child for child in ax.child_axes if child.images]
    np.testing.assert_array_equal(below.images[0].get_array(), posteriors.T)
    (dots,) = lines(below, "path")
    np.testing.assert_array_equal(y_of(dots), path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: viz.plot_hidden_states(Markov(), sequence="a"), "model: got a Markov, expected a fitted"),
        (lambda p: viz.plot_hidden_states(p, sequence=np.ones(3)), "sequence: got 3 steps, expected 4"),
        (lambda p: viz.plot_hidden_states(p, sequence=np.ones((4, 2)), feature=2), "feature: got 2, expected one of 2"),
        (lambda p: viz.plot_hidden_states(p, sequence=np.ones(4), names=["a"]), "names: got 1, expected 2"),
        (lambda p: viz.plot_hidden_states((p[0] + 5, p[1]), sequence=np.ones(4)), "model: got states up to 5"),
        (lambda p: viz.plot_hidden_states((p[0][:2], p[1]), sequence=np.ones(4)), "model: got a tuple of 2"),
        (lambda p: viz.plot_hidden_states((p[0][:0], p[1][:0]), sequence=[]), "sequence: got no step"),
    ],
)
def test_what_has_no_hidden_states_is_refused(call, message, plt):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call((np.zeros(4, int), np.full((4, 2), 0.5)))
    assert not plt.get_fignums()


# ---- for all of them ------------------------------------------------------------------------------

NASTY = r"5$ \frac{ 6$"


def test_names_are_shown_as_they_are(rng, plt):
    x = rng.normal(size=60)
    calls = [
        lambda ax: viz.plot_coefficients(found_of([0.5, 0.2]), ax, label=NASTY),
        lambda ax: viz.plot_coefficients(np.ones((1, 2, 2)), ax, names=[NASTY, "b"]),
        lambda ax: viz.plot_forecast(Band([0, 0], [1, 2]), ax, label=NASTY, name=NASTY),
        lambda ax: viz.plot_transition_matrix(WEATHER, ax, names=[NASTY, "b", "c"]),
        lambda ax: viz.plot_transition_graph(WEATHER, ax, names=[NASTY, "b", "c"]),
        lambda ax: viz.plot_hidden_states((np.zeros(60), np.ones((60, 1))), ax, sequence=x, names=[NASTY], name=NASTY),
    ]
    for call in calls:
        figure, ax = plt.subplots()
        call(ax)
        figure.canvas.draw()        # a formula that cannot be parsed raises here
        plt.close(figure)
