"""Where a plot draws if it is given no axes, and that a notebook shows a figure once."""

import pickle

import matplotlib.pyplot as pyplot
import numpy as np
import pytest

import rnncore as rc
from rnncore import viz

OVERLAYS = [viz.plot_gradient_flow, viz.plot_jacobian_norms, viz.plot_horizon, viz.plot_timescales, viz.plot_saturation,
            viz.plot_step_share, viz.plot_norm_preservation, viz.plot_singular_values, viz.plot_mean_field]
MAPS = [viz.plot_gates, viz.plot_states, viz.plot_gradient_map, viz.plot_unrolled, viz.plot_cell, viz.plot_slopes,
        viz.plot_recurrence]

PLOTS = OVERLAYS + MAPS
PAIRS = [(plot, PLOTS[(i + step) % len(PLOTS)]) for i, plot in enumerate(PLOTS) for step in (0, 1, 5)]


@pytest.fixture
def tape(rng):
    tape = rc.LSTM(3, 4, seed=0).record(rng.standard_normal((9, 2, 3)))
    tape.backward(rng.standard_normal((9, 2, 4)))
    return tape


@pytest.fixture(autouse=True)
def close_all():
    pyplot.close("all")
    yield
    pyplot.close("all")


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda plot: plot.__name__.removeprefix("plot_"))
def test_a_plot_of_another_kind_gets_a_figure_of_its_own(first, second, tape):
    before, after = first(tape), second(tape)
    assert (before is after) == (first is second and first in OVERLAYS)
    for ax in {before, after}:
        ax.figure.canvas.draw()


@pytest.mark.parametrize("plot", OVERLAYS, ids=lambda plot: plot.__name__)
def test_a_second_run_overlays(plot, tape):
    lines = len(plot(tape, label="first").lines)
    assert len(plot(tape, label="second").lines) > lines


@pytest.mark.parametrize("plot", MAPS, ids=lambda plot: plot.__name__)
def test_a_second_map_on_the_callers_axes_replaces_the_first(plot, tape):
    ax = plot(tape)
    counts = len(ax.images), len(ax.texts), len(ax.figure.axes), len(ax.child_axes)
    again = plot(tape, ax)
    assert again is ax
    assert (len(ax.images), len(ax.texts), len(ax.figure.axes), len(ax.child_axes)) == counts


def test_colour_bars_of_a_replaced_map_are_removed(tape):
    ax = viz.plot_dependency_map(tape, loss=np.ones((9, 2, 4)))
    assert len(ax.figure.axes) == 2
    viz.plot_dependency_map(tape, ax, loss=np.ones((9, 2, 4)))
    assert len(ax.figure.axes) == 2


def test_the_users_own_lines_are_left_alone(tape):
    _, own = pyplot.subplots()
    own.plot([1, 2, 3])
    assert viz.plot_gradient_flow(tape) is not own
    assert len(own.lines) == 1


def test_empty_axes_of_the_user_are_drawn_on(tape):
    _, (_, last) = pyplot.subplots(1, 2)
    assert viz.plot_gradient_flow(tape) is last
    figure = pyplot.figure()
    assert viz.plot_gates(tape).figure is figure


def test_a_series_of_another_name_is_another_kind():
    updates, values = np.arange(5), np.random.default_rng(0).random(5)
    loss = viz.plot_series((updates, values), name="loss")
    assert viz.plot_series((updates, values), name="loss") is loss
    assert viz.plot_series((updates, values), name="horizon") is not loss


def test_a_cleared_figure_is_empty_again(tape):
    ax = viz.plot_gates(tape)
    ax.clear()
    assert viz.plot_gradient_flow(tape) is ax


def test_a_figure_is_shown_once_by_a_notebook(tape, monkeypatch):
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell.instance()
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *things: shown.extend(things))
    figure = viz.overview(tape)
    format_as_value = shell.display_formatter.format
    assert format_as_value(figure) == ({}, {})      # the notebook shows all open figures at the end of the cell
    assert not shown
    pyplot.close(figure)
    assert format_as_value(figure) == ({}, {})      # as a value of a later cell it shows itself
    (image,) = shown
    assert image.data.startswith(b"\x89PNG")


def test_whole_figures_can_be_pickled(tape):
    assert pickle.loads(pickle.dumps(viz.overview(tape))).get_suptitle()


def test_a_context_is_that_of_whole_figures_too_and_ends_with_the_block(tape):
    import matplotlib

    def looks():
        figures = [viz.overview(tape), viz.side_by_side({"a": tape}), viz.plot_timeline(tape)]
        found = [(figure.axes[0].title.get_fontsize(), tuple(figure.get_size_inches())) for figure in figures]
        for figure in figures:
            pyplot.close(figure)
        return [*found, *(matplotlib.rcParams[f"{key}width"] for key in ("axes.line", "grid.line", "xtick.major."))]

    with matplotlib.rc_context():
        viz.style.use("page")
        page = looks()
        with viz.style.context("slide"):
            slide = looks()
            with viz.style.context("page"):
                assert looks() == page
            assert looks() == slide
        assert looks() == page
        assert all(a != b for a, b in zip(page, slide, strict=True))
        viz.style.use("slide")
        with viz.style.context("page"):
            assert looks() == page
        assert looks() == slide
        viz.style.use("page")
        assert looks() == page


def test_the_page_style_takes_back_all_that_the_slide_style_changes():
    from matplotlib import rc_params_from_file

    page, slide = (rc_params_from_file(path, use_default_template=False) for path in (viz.style.SHEET, viz.style.SLIDE))
    assert set(slide) <= set(page)


def test_axes_that_are_none_are_refused_in_one_sentence(tape, plt):
    figure = plt.figure()
    several, grid = figure.subplots(1, 2), plt.Figure().subplots(2, 2)
    for plot in (viz.plot_gates, viz.plot_states, viz.plot_jacobian_norms, viz.plot_cell):
        for ax, message in ((several, r"got 2 Axes, expected one of them, such as ax\[0\]"),
                            (grid, r"got 4 Axes, expected one of them, such as ax\[0, 0\]"),
                            (figure, r"got a Figure, expected a matplotlib Axes; make one with figure.subplots"),
                            (3, "got the number 3, expected a matplotlib Axes")):
            with pytest.raises(TypeError, match=f"^ax: {message}"):
                plot(tape, ax)


def test_side_by_side_names_the_argument_that_is_wrong(tape):
    with pytest.raises(TypeError, match=r"^runs: got a list of 2, expected a dict of name -> tape, such as \{'a'"):
        viz.side_by_side([tape, tape])
    with pytest.raises(TypeError, match=r"^plot: got 'gates', expected a function such as"):
        viz.side_by_side({"a": tape}, "gates")


def test_the_slide_style_has_larger_words(tape):
    import matplotlib

    before = dict(matplotlib.rcParams)
    small = viz.overview(tape).axes[0].title.get_fontsize()
    try:
        viz.style.use("slide")
        large = viz.overview(tape).axes[0].title.get_fontsize()
        assert viz.plot_gates(tape).title.get_fontsize() == large > 1.5 * small
        viz.style.use("page")
        assert viz.overview(tape).axes[0].title.get_fontsize() == small
        with viz.style.context("slide"):
            assert viz.plot_states(tape).title.get_fontsize() == large
        with pytest.raises(ValueError, match="name: got 'slides', expected one of 'page', 'slide'"):
            viz.style.use("slides")
        with pytest.raises(ValueError, match="name: got 'slides', expected one of 'page', 'slide'"):
            viz.style.context("slides")
    finally:
        matplotlib.rcParams.update(before)


@pytest.mark.parametrize("sheet", ["page", "slide"])
@pytest.mark.parametrize("plot", [viz.plot_gates, viz.plot_states, viz.plot_gradient_map, viz.plot_dependency_map])
def test_numbers_of_steps_are_below_the_row_of_tokens(plot, sheet, plt, rng):
    """Whether the row is shown depends on the width that the layout gives the axes, in words of this size."""
    layer = rc.LSTM(2, 8, seed=0)
    tape = layer.record(rng.standard_normal((48, 1, 2)))
    tape.backward(np.ones((48, 1, 8)))
    options = {"loss": np.ones((48, 1, 8))} if plot is viz.plot_dependency_map else {}
    with viz.style.context(sheet):
        ax = plot(tape, tokens=list("the cat sat on the mat. the dog sat on the log. "), **options)
        ax.figure.canvas.draw()
        (row,) = [artist for artist in ax.artists if artist.get_gid() == "tokens"]
        assert row.shown()
        foot = row.get_window_extent().y0
        numbers = [label for label in ax.get_xticklabels() if label.get_text()]
        assert numbers
        assert all(label.get_window_extent().y1 < foot + 1 for label in numbers)


def test_ticks_are_whole_lags_and_short_numbers(plt):
    ax = viz.plot_memory_capacity(np.array([1.0, 1.0, 0.9]), plt.figure().gca())
    ax.figure.canvas.draw()
    assert all(tick == round(tick) for tick in ax.get_xticks())
    slow = viz.plot_timescales({"l0": np.array([0.4, 0.6, 0.9])}, plt.gcf().add_subplot())
    slow.figure.canvas.draw()
    ticks = [text.get_text() for minor in (False, True) for text in slow.get_yticklabels(minor=minor)]
    assert any(ticks)
    assert not any("e" in tick for tick in ticks)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.93])
def test_the_words_at_the_threshold_are_not_behind_the_mark_of_the_horizon(share, plt):
    with viz.style.context("slide"):
        ax = viz.plot_horizon(share ** np.arange(60.0), plt.figure().gca())
        ax.figure.canvas.draw()
    (words,) = [text for text in ax.texts if text.get_gid() == "eps"]
    (mark,) = [line for line in ax.lines if str(line.get_gid()).startswith("horizon (")]
    assert not words.get_window_extent().overlaps(mark.get_window_extent())


def test_the_labels_of_an_overview_are_no_longer_than_its_panels(tape, plt):
    with viz.style.context("slide"):
        figure = viz.overview(tape)
        figure.canvas.draw()
    for ax in figure.axes:
        if ax.get_ylabel().startswith("share of steps"):
            assert ax.yaxis.label.get_window_extent().height < 1.02 * ax.get_window_extent().height
            return
    raise AssertionError("no panel of the saturation")
