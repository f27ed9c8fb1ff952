"""A user's text is shown unchanged wherever it appears in a picture: not as a formula, and not hidden."""

import io

import numpy as np
import pytest
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.text import Text
from rnncore.viz.plots._words import plain
from rnncore.viz.recorder.live import WindowPlot

import rnncore as rc
from rnncore import viz

NASTY = [r"5$ \frac{ 6$", r"_a\$b$", "a\udcffb"]  # a formula that is none, a hidden label, no UTF-8


def rendered(text):
    """The pixels of a text alone."""
    figure = Figure(figsize=(4, 1))
    figure.text(0.1, 0.4, text)
    return pixels(figure)


def rendered_without_formulas(text):
    figure = Figure(figsize=(4, 1))
    figure.text(0.1, 0.4, text, parse_math=False)
    return pixels(figure)


def pixels(figure):
    data = io.BytesIO()
    figure.savefig(data, format="raw")
    return data.getvalue()


@pytest.mark.parametrize("text", ["$x$", "5$ and 6$", "$", "$$", "a_b", r"\alpha", "a^b", "plain"])
def test_a_text_is_drawn_with_the_pixels_of_the_text_itself(text):
    assert rendered(plain(text)) == rendered_without_formulas(text)


def test_a_backslash_before_a_dollar_stays():
    """Without formulas matplotlib shows both characters, and so must the picture."""
    assert rendered(plain(r"a\$b")) == rendered_without_formulas(r"a\$b")
    assert not is_math_text(plain(r"a\$b$c"))


@pytest.fixture(scope="module")
def tape():
    rng = np.random.default_rng(5)
    tape = rc.LSTM(3, 4, seed=1).record(rng.normal(size=(6, 1, 3)))
    tape.backward(rng.normal(size=(6, 1, 4)))
    return tape


SIZES = np.abs(np.random.default_rng(2).normal(size=(6, 6, 1)))
RATIO = np.abs(np.random.default_rng(3).normal(size=(6, 1))) + 0.1
# How every plot is given a label, or tokens, by its name.
LABELLED = {
    "plot_gradient_flow": lambda t, text, ax: viz.plot_gradient_flow({text: RATIO}, ax),
    "plot_gradient_flow label": lambda t, text, ax: viz.plot_gradient_flow(t, ax, label=text),
    "plot_jacobian_norms": lambda t, text, ax: viz.plot_jacobian_norms(t, ax, label=text),
    "plot_norm_preservation": lambda t, text, ax: viz.plot_norm_preservation(t, ax, label=text),
    "plot_timescales": lambda t, text, ax: viz.plot_timescales(t, ax, label=text),
    "plot_saturation": lambda t, text, ax: viz.plot_saturation(t, ax, label=text),
    "plot_singular_values": lambda t, text, ax: viz.plot_singular_values(t, ax, label=text),
    "plot_horizon": lambda t, text, ax: viz.plot_horizon(t, ax, label=text),
    "plot_step_share": lambda t, text, ax: viz.plot_step_share(t, ax, label=text),
    "plot_step_share names": lambda t, text, ax: viz.plot_step_share({text: RATIO}, ax),
    "plot_mean_field": lambda t, text, ax: viz.plot_mean_field(t, ax=ax, label=text),
    "plot_lyapunov_spectrum": lambda t, text, ax: viz.plot_lyapunov_spectrum(
        np.array([-0.1, -0.5]), ax, label=text),
    "plot_memory_capacity": lambda t, text, ax: viz.plot_memory_capacity(
        np.array([0.9, 0.5, 0.1]), ax, label=text),
    "plot_series": lambda t, text, ax: viz.plot_series(
        ([1, 2], [0.5, 0.3]), ax, name=text, label=text),
    "plot_text": lambda t, text, ax: viz.plot_text(
        RATIO[:, 0], ax, tokens="abcdef", label=text),
}  # fmt: skip
TOKENS = {
    "plot_text": lambda t, tokens, ax: viz.plot_text(RATIO[:, 0], ax, tokens=tokens),
    "plot_gates": lambda t, tokens, ax: viz.plot_gates(t, ax, tokens=tokens),
    "plot_states": lambda t, tokens, ax: viz.plot_states(t, ax, tokens=tokens),
    "plot_gradient_map": lambda t, tokens, ax: viz.plot_gradient_map(t, ax, tokens=tokens),
    "plot_unrolled": lambda t, tokens, ax: viz.plot_unrolled(t, ax, tokens=tokens),
    "plot_omission": lambda t, tokens, ax: viz.plot_omission(RATIO, ax, tokens=tokens),
    "plot_connectivity": lambda t, tokens, ax: viz.plot_connectivity(
        SIZES, ax, step=5, tokens=tokens),
    "plot_integrated_gradients": lambda t, tokens, ax: viz.plot_integrated_gradients(
        viz.Attribution(RATIO[..., None], np.zeros(1)), ax, tokens=tokens),
    "plot_cell": lambda t, tokens, ax: viz.plot_cell(t, ax, step=1, token=tokens[1]),
}  # fmt: skip


def check(figure, text):
    """The figure can be drawn, and no text that contains the user's is a formula because of it."""
    figure.savefig(io.BytesIO(), format="png")
    escaped = plain(text)
    shown = [t for t in figure.findobj(Text) if escaped in t.get_text()]
    assert shown, f"{text!r} is nowhere"
    for found in shown:
        assert not is_math_text(found.get_text().replace(escaped, ""))


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("plot", LABELLED)
def test_labels_are_shown_as_they_are(tape, plot, text):
    figure = Figure()
    ax = figure.subplots()
    LABELLED[plot](tape, text, ax)
    if ax.get_legend_handles_labels()[1]:
        ax.legend()
    check(figure, text)


@pytest.mark.parametrize("plot", TOKENS)
def test_tokens_are_shown_as_they_are(tape, plot):
    """A picture with such tokens has the same formulas as one with plain tokens."""
    formulas = []
    for tokens in ("abcdef", ["$", "$x$", r"$\frac{", "_", "$$", "a"]):
        figure = Figure()
        TOKENS[plot](tape, list(tokens), figure.subplots())
        figure.savefig(io.BytesIO(), format="png")
        texts = [found.get_text() for found in figure.findobj(Text)]
        formulas.append(sorted(filter(is_math_text, texts)))
    assert formulas[0] == formulas[1]


@pytest.mark.parametrize("text", NASTY[:1])
def test_names_and_titles_of_figures_are_shown_as_they_are(tape, tmp_path, text):
    import matplotlib.pyplot as plt

    for figure in (
        viz.side_by_side({text: tape, "b": tape}, title=text),
        viz.side_by_side({text: tape, "b": tape}, viz.plot_jacobian_norms),
        viz.overview(tape, title=text),
        viz.plot_timeline(tape, title=text),
    ):
        check(figure, text)
        plt.close(figure)


@pytest.mark.parametrize("text", NASTY[::2])
def test_a_report_shows_names_as_they_are(tape, tmp_path, text):
    recorder = viz.Recorder(every=1, measures={text: lambda tape: 0.5}, measure_every=1)
    for _ in range(2):
        recorder.record(tape)
    path = viz.report({text: tape, "b": tape, "<b>&": recorder}, tmp_path / "a.html", title=text)
    source = path.read_text(encoding="utf-8")
    assert text.encode(errors="replace").decode() in source.replace("&amp;", "&")
    assert "<b>" not in source
    assert "&lt;b&gt;&amp;" in source


def test_the_window_of_a_recorder_shows_names_as_they_are():
    figure = Figure()
    window = WindowPlot(figure)
    window._lay_out(["$x$", "loss"])
    assert figure.axes[0].get_ylabel() == r"\$x\$"
    figure.savefig(io.BytesIO(), format="png")
