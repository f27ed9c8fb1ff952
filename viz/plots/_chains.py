"""What pictures of chains share: the tables of transitions of all models, colours of states, sentences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .._door import array, described
from ._draw import line_colour, visible
from ._words import number

if TYPE_CHECKING:
    from matplotlib.typing import ColorType

    from rnncore._typing import ArrayLike, Floats
    from rnncore.models import HiddenMarkov, Markov, SwitchingAutoRegressive

    Chain: TypeAlias = Markov | HiddenMarkov | SwitchingAutoRegressive | ArrayLike

FORM = array("n", "n")
MOST_ROWS = 64  # of a table that can still be read


class Transitions(NamedTuple):
    """Probabilities of what follows.

    Attributes
    ----------
    table : ndarray (rows, n)
    before : list of str
        What a row is after: a symbol, a context of several, or a state.
    after : list of str
    word : str
        "state", "regime", "symbol" or "context": what a row is.
    order : int
    """

    table: Floats
    before: list[str]
    after: list[str]
    word: str
    order: int


def transitions(
    model: Chain, names: Sequence[str] | None = None, contexts: Sequence[Any] | None = None
) -> Transitions:
    """The table of transitions of a fitted model, or an array as it is.

    `names` are those of the states (or symbols); `contexts` the rows of a `Markov` chain, instead of all.
    """
    if hasattr(model, "transition_table"):
        return _of_symbols(model, names, contexts)
    if contexts is not None:
        raise ValueError("contexts: got some for a chain of states, expected None; they choose rows of a Markov model")
    word = "state"
    table: Any = model
    if hasattr(type(model), "transmat_"):
        table = model.transmat_  # type: ignore[union-attr]
        word = "regime" if hasattr(type(model), "coef_") else "state"
    if not FORM.fits(table) or np.shape(table)[0] != np.shape(table)[1] or not np.size(table):
        raise TypeError(
            f"model: got {described(model)}, expected a fitted Markov, HiddenMarkov or SwitchingAutoRegressive of "
            "rnncore.models, or an array (n, n) of probabilities"
        )
    found = np.array(table, np.float64)
    if not np.allclose(found.sum(1), 1, atol=1e-6) or (found < 0).any():
        raise ValueError("model: got a matrix whose rows are not probabilities, expected rows >= 0 that sum to 1")
    before = _named(names, len(found))
    return Transitions(found, before, before, word, 1)


def _of_symbols(model: Any, names: Sequence[str] | None, contexts: Sequence[Any] | None) -> Transitions:
    n, order = model.n_symbols_, int(model.order)
    letters = list(model.alphabet_) if isinstance(model.alphabet_, str) else None
    after = [visible(c) for c in letters] if letters and names is None else _named(names, n)
    if contexts is not None:
        rows = [_as_context(context, letters) for context in contexts]
        if not rows:
            raise ValueError("contexts: got none, expected at least one")
        before = ["".join(map(visible, row)) if letters else " ".join(after[k] for k in row) for row in rows]
        return Transitions(np.stack([model.predict(row) for row in rows]), before, after, "context", order)
    if n**order > MOST_ROWS:
        raise ValueError(
            f"model: got {n**order:,} contexts of {n} symbols and order {order}, expected at most {MOST_ROWS} for a "
            "picture; choose some with contexts="
        )
    space = "" if letters else " "
    before = [space.join(context) for context in product(after, repeat=order)] if order else ["always"]
    return Transitions(model.transition_table(), before, after, "symbol" if order == 1 else "context", order)


def _as_context(context: Any, letters: list[str] | None) -> Any:
    return "".join(context) if letters else np.asarray(context, np.int64).reshape(-1)


def _named(names: Sequence[str] | None, n: int) -> list[str]:
    found = [str(i) for i in range(n)] if names is None else [str(name) for name in names]
    if len(found) != n:
        raise ValueError(f"names: got {len(found)}, expected {n}, one per state or symbol")
    return found


def long_run(table: Floats) -> Floats | None:
    """(n,): the share of steps that a chain spends in each state in the long run; None if it depends on the start."""
    n = len(table)
    system = np.vstack([table.T - np.eye(n), np.ones(n)])
    share, _, rank, _ = np.linalg.lstsq(system, np.eye(n + 1)[-1], rcond=1e-10)
    if rank < n:
        return None
    found: Floats = np.clip(share, 0, None) / np.clip(share, 0, None).sum()
    return found


def sentence(found: Transitions) -> str:
    """What lasts longest, or else which transition is the surest; nothing that a tie decides."""
    table = found.table
    word = found.word
    if word in ("state", "regime"):
        stays = np.diagonal(table)
        stuck = np.flatnonzero(stays == 1)
        if stuck.size:
            return f"{word.capitalize()} {found.before[stuck[0]]} is never left" if stuck.size == 1 else (
                f"{stuck.size} {word}s are never left"
            )
        longest, second = np.argmax(stays), np.sort(stays)[-2:][0]
        if stays[longest] >= 0.5 and (len(table) == 1 or stays[longest] - second > 1e-9):
            lasts = number(1 / (1 - float(stays[longest])))
            return f"{word.capitalize()} {found.before[longest]} lasts longest: {lasts} steps on average"
    best = np.argwhere(table >= table.max() - 1e-9)
    sure = number(float(table.max()))
    if len(best) == table.size:
        return f"All transitions have probability {sure}"
    i, j = best[0]
    pair = f"{found.before[i]} → {found.after[j]}"
    if len(best) > 1:
        return f"{len(best)} transitions have the largest probability, {sure}"
    return f"The surest transition is {pair}, with probability {sure}"


def colour_of(state: int) -> str:
    """The colour of a state, the same in all pictures."""
    from matplotlib.colors import to_hex

    return to_hex(line_colour(state))


def ink_on(colour: ColorType) -> str:
    """Black or white, whichever has more contrast on a colour."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.18 else "white"
