"""Picture of the edge of chaos, with the layers of a run on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import style
from .._door import by_name, fields, held_tape, measured
from .._tapes import HasTape, is_tape
from ..measures.mean_field import MeanField, mean_field, mean_field_theory
from ._draw import axes, drawn, line_colour
from ._legend import legend
from ._words import number, of_run, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncore.recurrent.tape import Tape

__all__ = ["plot_mean_field"]


def plot_mean_field(
    tape: Tape | HasTape | dict[str, MeanField],
    ax: Axes | None = None,
    *,
    nonlinearity: Literal["tanh", "relu", "sigmoid"] | None = None,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """χ over (σ_w, σ_b), with its edge χ = 1 and the layers of a run on it.

    Gated cells have no single σ_w: each of their layers is a dot on the axis of χ. χ describes a wide network of
    random, independent weights that have the same variance. A trained network can differ from it in either
    direction; what its own gradient does is shown by `plot_jacobian_norms`.

    Parameters
    ----------
    tape : Tape, or dict of str to MeanField
        A tape, or the result of `viz.mean_field`.
    ax : matplotlib Axes, optional
    nonlinearity : {"tanh", "relu", "sigmoid"}, optional
        The one that the map is drawn for; by default the tape's own, or "tanh" if there is no tape.
    label : str, optional
        Put in front of the layers' names in the legend.
    **line_kw
        For the dots, as in ``ax.plot``.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from matplotlib.figure import Figure
    >>> from rnncore import viz
    >>> tape = rc.RNN(2, 4, seed=0).record(np.ones((6, 1, 2)))
    >>> viz.plot_mean_field(tape, Figure().subplots()).get_xlabel()
    'σ$_b$   (bias and input)'
    """
    data = held_tape(tape)
    found = measured(data, mean_field, by_name(fields(MeanField)))
    own: Any = data.cell.curve if is_tape(data) else "tanh"
    gated = all(np.isnan(m.sigma_w) for m in found.values())
    ax = axes(ax, f"mean_field of {'gated' if gated else 'plain'} cells")
    if gated:
        _dots(ax, found, label, line_kw)
    else:
        _map(ax, found, nonlinearity or own, label, line_kw)
    alone = len(drawn(ax, "run")) == len(found)
    ax.set_title(_sentence(found) if alone else "What one step would do to the gradient if the weights were random")
    if not gated:
        legend(ax)
    return ax


def _sentence(found: Mapping[str, MeanField]) -> str:
    chis = {name: float(m.chi) for name, m in found.items() if not np.isnan(m.chi)}
    if not chis:
        return "There is no step from which χ could be computed"
    if len(chis) > 3:
        least, most = min(chis, key=lambda name: chis[name]), max(chis, key=lambda name: chis[name])
        told = f"{number(chis[least])} ({least}) to {number(chis[most])} ({most})"
    else:
        told = ", ".join(f"{number(chi)} ({name})" for name, chi in chis.items())
    return f"If the weights were random: χ = {told}"


def _name(label: str | None, name: str, m: MeanField) -> str:
    return f"{of_run(label, name)}: χ = {number(float(m.chi))}"


def _map(
    ax: Axes,
    found: dict[str, MeanField],
    nonlinearity: Literal["tanh", "relu", "sigmoid"],
    label: str | None,
    line_kw: dict[str, Any],
) -> None:
    from matplotlib import rcParams

    if not drawn(ax, "edge"):
        top = max(2.0, 1.3 * max(float(m.sigma_w) for m in found.values()))
        right = max(1.0, 1.3 * max(float(np.nan_to_num(m.sigma_b)) for m in found.values()))
        if nonlinearity == "sigmoid":
            top = max(top, 6.0)
        b, w = np.meshgrid(np.linspace(0, right, 61), np.linspace(0.02, top, 61))
        chi = mean_field_theory(w, b, nonlinearity).chi
        from matplotlib.colors import Normalize

        log = np.log10(np.maximum(chi, 1e-12))
        image = ax.pcolormesh(
            b, w, log, cmap=style.SIGNED, norm=Normalize(-1, 1), shading="gouraud", rasterized=True
        )
        bar = ax.figure.colorbar(image, ax=ax, extend="both", pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
        bar.ax.set_yticklabels(["0.1", "0.32", "1", "3.2", "10"])
        bar.set_label("χ of a wide random network")
        if log.min() < 0 < log.max():
            edge = ax.contour(b, w, log, levels=[0], colors="black", linewidths=2)
            ax.clabel(edge, fmt={0: "χ = 1, the edge"}, fontsize="small")
        ax.plot([], [], color="black", gid="edge")
        ax.set_xlabel("σ$_b$   (bias and input)")
        ax.set_ylabel("σ$_w$   (recurrent weights)")
        ax.grid(False)
    for name, m in found.items():
        size = 2.2 * rcParams["lines.markersize"]
        look: dict[str, Any] = {"markersize": size, "markeredgecolor": "white", "markeredgewidth": 1.5}
        look |= {"zorder": 5, "clip_on": False} | line_kw
        _dot(ax, float(m.sigma_b), float(m.sigma_w), _name(label, name, m), look)


def _dots(
    ax: Axes, found: dict[str, MeanField], label: str | None, line_kw: dict[str, Any]
) -> None:
    from matplotlib import rcParams

    for name, m in found.items():
        look = {"markersize": 1.8 * rcParams["lines.markersize"]} | line_kw
        _dot(ax, float(m.chi), len(drawn(ax, "run")), _name(label, name, m), look)
    if not drawn(ax, "edge"):
        ax.axvline(1, color=style.GREY, linestyle="--", linewidth=1, gid="edge", zorder=1)
    ax.set_yticks([])
    ax.set_xlim(0, max(1.2, 1.1 * max(float(np.asarray(dot.get_xdata())[0]) for dot in drawn(ax, "run"))))
    ax.set_ylim(-0.7, len(drawn(ax, "run")) - 0.3)
    for old in [text for text in ax.texts if text.get_gid() == "name"]:
        old.remove()
    for dot in drawn(ax, "run"):  # named beside it: in a legend its mark would look like another χ
        x, y = (float(np.asarray(at)[0]) for at in dot.get_data())
        left = x > 0.5 * ax.get_xlim()[1]
        ax.annotate(
            str(dot.get_label()), (x, y), xytext=((-1 if left else 1) * (dot.get_markersize() / 2 + 4), 0),
            textcoords="offset points", ha="right" if left else "left", va="center", gid="name",
        )  # fmt: skip
    ax.set_xlabel("χ   (1 would keep the size of the gradient)")


def _dot(ax: Axes, x: float, y: float, name: str, look: dict[str, Any]) -> None:
    """Draw a layer in the next colour and with the next marker."""
    index = len(drawn(ax, "run"))
    next_look: dict[str, Any] = {
        "color": line_colour(index), "marker": style.MARKERS[index % len(style.MARKERS)], "linestyle": "none",
    }  # fmt: skip
    ax.plot([x], [y], gid="run", label=plain(name), **next_look | look)
