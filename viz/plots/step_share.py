"""Picture of each step's contribution to the gradient of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._door import array, by_name, held_tape, measured, not_negative
from .._tapes import is_tape
from ..measures.step_share import step_share, steps_for_half
from ._claims import of_row, spread
from ._draw import axes, drawn, line, pick_row, some_names, time_axis
from ._legend import legend
from ._words import number, of_run, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore._typing import Array, Floats, Ints
    from rnncore.recurrent.tape import Tape

    from .._tapes import HasTape

__all__ = ["plot_step_share"]

KIND = "step_share"


def plot_step_share(
    tape: Tape | HasTape | Mapping[str, Array],
    ax: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
    row: int | None = None,
    tokens: Sequence[object] | None = None,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """‖δ_t‖·‖x_t‖ of every step, as a share of the sum over steps.

    Parameters
    ----------
    tape : Tape, or dict of str to ndarray (T, B)
        A tape after `backward`, or the result of `viz.step_share`.
    ax : matplotlib Axes, optional
    names : sequence of str, optional
        Weights, such as ["weight_hh_l0"]; all by default.
    row : int, optional
        One row of the batch; by default the median over rows, with their range as a band.
    tokens : sequence of str, optional
        One per step, for the axis.
    label : str, optional
        Put in front of the weights' names in the legend.
    **line_kw
        For the lines, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> share = {"weight_hh_l0": np.array([[0.1], [0.2], [0.7]])}
    >>> viz.plot_step_share(share, Figure().subplots()).get_title()
    "Half of weight_hh_l0's gradient comes from 1 of 3 steps"
    """
    data = held_tape(tape)
    shares: Mapping[str, Array] = measured(data, step_share, by_name(not_negative(array("T", "B")), "weight"))
    names = some_names(names, shares)
    chosen = {name: pick_row(shares[name], row) for name in names}
    ax = axes(ax, KIND)
    for name, share in chosen.items():
        look: dict[str, Any] = {"drawstyle": "steps-mid"} | line_kw
        line(ax, KIND, np.arange(len(share)), 100 * share, of_run(label, name), **look)
    rows = shares[names[0]].shape[1] if np.ndim(shares[names[0]]) > 1 else 1
    time_axis(ax, len(share), tokens=tokens, of=of_row(row, rows) if row is not None else "")
    ax.set_ylabel("share of the gradient (%)" + (f"\n{rows} rows: median, range" if row is None and rows > 1 else ""))
    ax.set_ylim(bottom=0)
    if len(drawn(ax, KIND)) <= len(names):
        lengths = np.asarray(data.lengths) if is_tape(data) else np.full(rows, len(share))
        ax.set_title(_sentence(chosen, lengths if row is None else lengths[[row]]))
    else:
        ax.set_title("Which steps the weights' gradient comes from")
    legend(ax)
    return ax


def _sentence(shares: Mapping[str, Floats], lengths: Ints) -> str:
    """For the weights drawn, the number of steps that half of their gradient comes from."""
    every = {name: steps_for_half(share) for name, share in shares.items()}
    halves = {name: half[half > 0] for name, half in every.items() if half.any()}
    if not halves:
        finite = all(np.isfinite(share).all() for share in shares.values())
        return "The weights get no gradient" if finite else "The weights' gradient is not finite"
    got = lengths[np.any([half > 0 for half in every.values()], axis=0)]
    low, high = got.min(), got.max()
    steps = f"{low}" if low == high else f"{low} to {high}"
    told = {name: spread(half, number) for name, half in halves.items()}
    if len(set(told.values())) == 1:
        what = f"{plain(next(iter(told)))}'s" if len(shares) == 1 else "every weight's"
        of = f"of {steps} step{'' if steps == '1' else 's'}"
        return f"Half of {what} gradient comes from {next(iter(told.values()))} {of}"
    if len(told) == 2:
        (one, few), (other, more) = told.items()
        return f"Half of the gradient of {plain(one)} comes from {few} of {steps} steps, of {plain(other)} from {more}"
    low, high = (pick(np.concatenate(list(halves.values()))) for pick in (np.min, np.max))
    return f"Half of a weight's gradient comes from {low} to {high} of {steps} steps, depending on the weight"
