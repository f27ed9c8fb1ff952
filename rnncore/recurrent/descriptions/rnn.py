"""The simple recurrent network, with one of three nonlinearities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from . import Description

if TYPE_CHECKING:
    from rnncore.viz.plots._sheet import Sheet


def draw(sheet: Sheet) -> None:
    """Draw one product, one sum and one nonlinearity; the old state acts through the weights only."""
    y = 3.0
    sheet.limits(0.2, 4.3)
    sheet.ends_with("h0", "h", y, y)
    sheet.node(4.2, y, "+")
    sheet.arrow((1.2, y), (3.92, y))
    sheet.note(2.55, y + 0.25, "· W$_{hh}$")
    sheet.arrow((4.2, 0.9), (4.2, y - 0.28))
    sheet.note(4.35, 1.8, "· W$_{ih}$ + b", ha="left")
    sheet.note(4.2, 0.6, "x$_t$", fontweight="bold")
    sheet.arrow((4.48, y), (9.75, y))
    sheet.framed(7.0, y, sheet.cell.curve)


def _with(curve: Literal["tanh", "relu", "sigmoid"], label: str) -> Description:
    return Description(
        kernel=f"rnn_{curve}",
        mode="RNN",
        name=f"rnn-{curve}",
        label=f"RNN {label}",
        equations="h_t = φ(W x_t + b + U h_{t-1} + b')",
        blocks_ih=("h",),
        blocks_hh=("h",),
        order=("h",),
        curve=curve,
        options={"nonlinearity": curve},
        draw=draw,
    )


CELLS = (_with("tanh", "tanh"), _with("relu", "ReLU"), _with("sigmoid", "sigmoid"))
