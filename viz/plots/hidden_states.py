"""Picture of the hidden states of a chain over a series: the most probable path, and how certain it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np

from rnncore._checks import as_size

from .. import style
from .._door import array, described, pair
from ._chains import colour_of
from ._draw import axes, time_axis, visible
from ._maps import cmap, gate_norm
from ._words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

    from rnncore._typing import ArrayLike, Floats, Ints
    from rnncore.models import HiddenMarkov, SwitchingAutoRegressive
    from rnncore.models.interface.sequences import SequenceLike

    Source: TypeAlias = HiddenMarkov | SwitchingAutoRegressive | tuple[ArrayLike, ArrayLike]

__all__ = ["plot_hidden_states"]

KIND = "hidden_states"
FORM = pair(array("T"), array("T", "n"), "(path, posteriors)")
CERTAIN = 0.9
MOST_AREAS = 4000  # steps of the posteriors, beyond which neighbours are averaged


class Values(NamedTuple):
    """A series to draw: (T,) numbers, and if these stand for symbols the symbols' names."""

    numbers: Floats
    symbols: list[str] | None


def plot_hidden_states(
    model: Source,
    ax: Axes | None = None,
    *,
    sequence: SequenceLike,
    feature: int = 0,
    names: Sequence[str] | None = None,
    name: str | None = None,
) -> Axes:
    """A series over bands of its most probable states, and the probability of every state at every step.

    Above are the values, over a colour for each state of the most probable path (Viterbi). Below are the
    posteriors, which do not depend on that path: the probability of every state given the whole sequence,
    as areas for up to seven states (the mean of neighbouring steps if there are more than 4,000 of these)
    and as a map for more.

    Parameters
    ----------
    model : HiddenMarkov, SwitchingAutoRegressive, or pair
        A fitted model, or its (path, posteriors): the states (T,), -1 where there is none, and (T, n).
    ax : matplotlib Axes, optional
    sequence : str, integer array or (T, F) real array
    feature : int
        Which of F to draw.
    names : sequence of str, optional
        Of the states; by default "state 0", …, or "regime 0", ….
    name : str, optional
        What the values are, for the axis.

    Returns
    -------
    matplotlib Axes
        With the posteriors in ``ax.child_axes[0]``.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> x = np.r_[np.zeros(30), np.ones(20)] + 0.1 * np.random.default_rng(0).normal(size=50)
    >>> model = rc.models.HiddenMarkov(2, "gaussian", random_state=0).fit([x])
    >>> viz.plot_hidden_states(model, Figure().subplots(), sequence=x).get_title()
    'The most probable path changes state once; 100 % of steps are certain (p > 0.9)'
    """
    path, posteriors, word = _decoded(model, sequence)
    values = _values(model, sequence, feature)
    steps, n = posteriors.shape
    if len(values.numbers) != steps:
        raise ValueError(f"sequence: got {len(values.numbers)} steps, expected {steps}, as path and posteriors have")
    names = [f"{word} {k}" for k in range(n)] if names is None else [f"{k}: {each}" for k, each in enumerate(names)]
    if len(names) != n:
        raise ValueError(f"names: got {len(names)}, expected {n}, one per state")
    ax = axes(ax, KIND, overlays=False)
    areas = n <= len(style.LINES)
    share = 0.3 if areas else 0.42  # of the height, for the posteriors
    ax.set_xlim(-0.5, steps - 0.5)
    _series(ax, values, name, share + 0.06)
    if areas:
        _bands(ax, path, share + 0.04)
    below = ax.inset_axes((0, 0, 1, share), sharex=ax)
    below.tick_params(axis="x", labelbottom=False, length=0)
    below.grid(False)
    if areas:
        _areas(below, posteriors, names, word)
    else:
        _map(below, posteriors, path, names, word)
    tokens = [*map(visible, sequence)] if isinstance(sequence, str) and steps <= 80 else None
    time_axis(ax, steps, tokens=tokens)
    ax.set_title(_sentence(path, posteriors, word))
    return ax


def _decoded(model: Source, sequence: SequenceLike) -> tuple[Ints, Floats, str]:
    """Path (T,), posteriors (T, n), and what a state is called."""
    word = "state"
    if isinstance(model, (tuple, list)) and FORM.fits(model):
        path, posteriors = map(np.asarray, model)
    elif hasattr(model, "decode") and hasattr(model, "posteriors"):
        chain = cast("HiddenMarkov | SwitchingAutoRegressive", model)
        posteriors, path = chain.posteriors(sequence), chain.decode(sequence)[1]
        word = "regime" if hasattr(type(model), "coef_") else "state"
    else:
        raise TypeError(
            f"model: got {described(model)}, expected a fitted HiddenMarkov or SwitchingAutoRegressive of "
            f"rnncore.models, or {FORM.words}, as from model.decode(sequence)[1] and model.posteriors(sequence)"
        )
    n = posteriors.shape[1]
    if not len(path) or not n:
        raise ValueError("sequence: got no step, expected at least one")
    if (path >= n).any() or (path != np.floor(path)).any():
        raise ValueError(f"model: got states up to {path.max():g} in the path, expected whole numbers below {n}")
    return path.astype(np.intp), posteriors.astype(np.float64), word


def _values(model: Source, sequence: SequenceLike, feature: int) -> Values:
    """What is drawn of a sequence: one feature, or the symbols as the numbers of their rows."""
    letters = getattr(model, "alphabet_", None)
    if isinstance(sequence, str):
        symbols = list(letters) if isinstance(letters, str) else sorted(set(sequence))
        return Values(np.array([symbols.index(c) for c in sequence], np.float64), [visible(c) for c in symbols])
    found = np.ma.filled(np.ma.asarray(sequence, np.float64), np.nan)
    if found.ndim == 1 and getattr(model, "emission", None) == "categorical":
        top = int(letters) if letters is not None and not isinstance(letters, str) else int(np.nanmax(found)) + 1
        return Values(np.where(found < 0, np.nan, found), [str(k) for k in range(top)])
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2:
        raise ValueError(f"sequence: got {described(sequence)}, expected a str, or an array (T,) or (T, F)")
    if as_size(feature, "feature", least=0) >= found.shape[1]:
        raise ValueError(f"feature: got {feature}, expected one of {found.shape[1]} features of the sequence")
    return Values(found[:, feature], None)


def _series(ax: Axes, values: Values, name: str | None, foot: float) -> None:
    """Draw the values above `foot`, a share of the height; only there the axis has ticks."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties
    from matplotlib.ticker import FixedLocator, MaxNLocator

    look: dict[str, Any] = {"color": "black", "gid": "series", "zorder": 3}
    if values.symbols is None:
        look |= {"linewidth": 0.6 * rcParams["lines.linewidth"]}
    else:
        look |= {"linestyle": "none", "marker": "o", "markersize": 0.8 * rcParams["lines.markersize"]}
    ax.plot(np.arange(len(values.numbers)), values.numbers, **look)
    known = values.numbers[np.isfinite(values.numbers)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    if values.symbols is not None:
        low, high = -0.5, len(values.symbols) - 0.5
    size = float(high - low) or 1.0
    top = high + 0.22 * size  # where the numbers of the states are
    ax.set_ylim(top - (top - low + 0.02 * size) / (1 - foot), top)
    if values.symbols is None:
        ticks = np.asarray(MaxNLocator(4).tick_values(float(low), float(high)))
        ax.yaxis.set_major_locator(FixedLocator(ticks[(ticks >= low) & (ticks <= high)].tolist()))
    else:
        height = 72 * (1 - foot) * float(ax.get_window_extent().height) / ax.figure.dpi
        most = max(1, int(height / (1.15 * FontProperties(size=rcParams["ytick.labelsize"]).get_size_in_points())))
        every = -(-len(values.symbols) // most)
        rows = range(0, len(values.symbols), every)
        ax.set_yticks(rows, [plain(values.symbols[k]) for k in rows], fontfamily="monospace")
    ax.set_ylabel("symbol" if name is None and values.symbols else plain(name or "value"), y=(1 + foot) / 2, labelpad=8)
    ax.grid(False)
    ax.spines["left"].set_visible(False)


def _runs(path: Ints) -> list[tuple[int, int, int]]:
    """(state, first step, number of steps) of every run of one state."""
    starts = np.flatnonzero(np.r_[True, path[1:] != path[:-1]])
    return [(int(path[s]), int(s), int(e - s)) for s, e in zip(starts, [*starts[1:], len(path)], strict=True)]


def _bands(ax: Axes, path: Ints, foot: float) -> None:
    """Colour the steps by their state, and write its number above where there is space."""
    from matplotlib.patches import PathPatch

    runs = _runs(path)
    across = ax.get_xaxis_transform()
    for state in sorted({state for state, *_ in runs} - {-1}):
        spans = np.array([(start - 0.5, start + count - 0.5) for each, start, count in runs if each == state])
        for low, high, alpha in ((foot, 0.94, 0.25), (0.94, 1.0, 1.0)):
            band = PathPatch(
                _rectangles(spans, low, high), transform=across, color=colour_of(state), alpha=alpha, linewidth=0,
                zorder=1, gid=f"state {state}" if alpha < 1 else None,
            )  # fmt: skip
            ax.add_artist(band)  # add_patch would look at every corner for limits, which are set already
    for state, start, count in runs:
        if state >= 0 and count >= 0.03 * len(path):
            ax.text(
                start + (count - 1) / 2, 0.925, str(state), transform=across, ha="center", va="top",
                fontweight="bold", color=colour_of(state), gid="number", zorder=4,
            )  # fmt: skip


def _rectangles(spans: Floats, low: float, high: float) -> Path:
    """Rectangles between the ends of each span, as one path: thousands are drawn as fast as one."""
    from matplotlib.path import Path

    left, right = spans.T
    corners = [(left, low), (left, high), (right, high), (right, low), (left, low)]
    vertices = np.stack([np.stack([x, np.full(len(spans), y)], 1) for x, y in corners], 1)
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return Path(vertices.reshape(-1, 2), np.tile(codes, len(spans)).astype(Path.code_type))


def _areas(ax: Axes, posteriors: Floats, names: Sequence[str], word: str) -> None:
    """The posteriors on top of each other; where they are NaN there is a gap."""
    every = -(-len(posteriors) // MOST_AREAS)
    starts = np.arange(0, len(posteriors), every)
    posteriors = np.add.reduceat(posteriors, starts) / np.diff([*starts, len(posteriors)])[:, None]
    # steps, so that a change lies between two steps as it does in the bands above
    ends = np.array([*starts, starts[-1] + every]) - 0.5
    edges = np.repeat(np.minimum(ends, ax.get_xlim()[1]), 2)[1:-1]
    tops = np.repeat(np.cumsum(posteriors, axis=1), 2, axis=0)
    foot = np.where(np.isnan(tops[:, 0]), np.nan, 0.0)
    for k, name in enumerate(names):
        top = tops[:, k]
        ax.fill_between(edges, foot, top, color=colour_of(k), linewidth=0, label=plain(name), gid=f"posterior {k}")
        foot = top
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 1])
    ax.set_ylabel(f"P({word})", labelpad=2)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(  # the topmost area first
        handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1, borderaxespad=0.3
    )


def _map(ax: Axes, posteriors: Floats, path: Ints, names: Sequence[str], word: str) -> None:
    """The posteriors as a map, a row for each state, and the path as dots on it."""
    n = len(names)
    image = ax.imshow(
        np.ma.masked_invalid(posteriors.T), cmap=cmap(style.GATES), norm=gate_norm(), aspect="auto",
        interpolation="nearest", origin="lower", extent=(-0.5, len(path) - 0.5, -0.5, n - 0.5),
    )  # fmt: skip
    image.set_gid("posteriors")
    ax.plot(
        np.arange(len(path)), np.where(path < 0, np.nan, path), linestyle="none", marker=".", markersize=3,
        color=style.LINES[1], gid="path",
    )  # fmt: skip
    every = -(-n // 8)
    ax.set_yticks(range(0, n, every), [plain(name) for name in names[::every]], fontsize="x-small")
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.015, 0, 0.018, 1)))
    bar.set_label(f"P({word})", fontsize="small")


def _sentence(path: Ints, posteriors: Floats, word: str) -> str:
    """How often the path changes, and at how many steps one state is nearly certain."""
    states = path[path >= 0]
    changes = int(np.count_nonzero(states[1:] != states[:-1]))
    often = {0: f"never changes {word}", 1: f"changes {word} once"}.get(changes, f"changes {word} {changes} times")
    known = posteriors[~np.isnan(posteriors).any(1)]
    if not len(known):
        return f"The most probable path {often}"
    sure = float(np.mean(known.max(1) > CERTAIN))
    # rounded down, so that "100 %" means all
    return f"The most probable path {often}; {int(100 * sure)} % of steps are certain (p > {CERTAIN:g})"
