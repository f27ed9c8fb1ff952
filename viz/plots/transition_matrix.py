"""Picture of a Markov chain as a matrix: what follows what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import style
from ._chains import ink_on, sentence, transitions
from ._draw import axes
from ._maps import cmap, colour_bars, gate_norm
from ._words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._chains import Chain, Transitions

__all__ = ["plot_transition_matrix"]

KIND = "transition_matrix"
MOST_NUMBERS = 12  # columns up to which the cells have numbers


def plot_transition_matrix(
    model: Chain,
    ax: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
    contexts: Sequence[Any] | None = None,
) -> Axes:
    """The probabilities of what comes next, a row for everything that can be the present.

    Parameters
    ----------
    model : Markov, HiddenMarkov, SwitchingAutoRegressive, or ndarray (n, n)
        Of a `Markov` chain of order 2 and more a row is a context of several symbols, the oldest first.
    ax : matplotlib Axes, optional
    names : sequence of str, optional
        Of the states, or of the symbols of a model of integers; by default "0", "1", ….
    contexts : sequence, optional
        The rows to show of a `Markov` chain, each as for ``model.predict``; by default all, of which there
        may be 64.

    Returns
    -------
    matplotlib Axes
        The colour scale always runs from 0 to 1.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> ax = viz.plot_transition_matrix([[0.9, 0.1], [0.5, 0.5]], Figure().subplots(), names=["dry", "wet"])
    >>> ax.get_title()
    'State dry lasts longest: 10 steps on average'
    """
    found = transitions(model, names, contexts)
    ax = axes(ax, KIND, overlays=False)
    image = ax.imshow(found.table, cmap=cmap(style.GATES), norm=gate_norm(), aspect="auto", interpolation="nearest")
    image.set_gid(KIND)
    rows, columns = found.table.shape
    small: dict[str, Any] = {} if max(rows / 2, columns) <= MOST_NUMBERS else {"fontsize": "x-small"}
    face: dict[str, Any] = {"fontfamily": "monospace"} if found.word in ("symbol", "context") else {}
    ax.set_xticks(range(columns), [plain(name) for name in found.after], **small, **face)
    ax.set_yticks(range(rows), [plain(name) for name in found.before], **small, **face)
    ax.tick_params(length=0)
    ax.grid(False)
    if columns <= MOST_NUMBERS and rows <= 2 * MOST_NUMBERS:
        _write(ax, found, image.cmap)
    colour_bars(ax, [image], ["probability"])
    word = "symbol" if found.word == "context" else found.word
    ax.set_xlabel(f"next {word}", labelpad=8)
    ax.set_ylabel(f"present {word}" if found.word != "context" else _past(found.order), labelpad=8)
    ax.set_title(plain(sentence(found)))
    return ax


def _past(order: int) -> str:
    return "no context" if order == 0 else f"last {order} symbols"


def _write(ax: Axes, found: Transitions, colours: Any) -> None:
    """The number in every cell; those that round to 0 are left out, unless they are the row's largest."""
    size = "small" if found.table.shape[0] <= MOST_NUMBERS else "x-small"
    for i, row in enumerate(found.table):
        for j, p in enumerate(row):
            if p >= 0.005 or p == row.max():
                ax.text(
                    j, i, f"{p:.2f}", ha="center", va="center", fontsize=size, gid=f"{i},{j}",
                    color=ink_on(colours(float(p))),
                )  # fmt: skip
