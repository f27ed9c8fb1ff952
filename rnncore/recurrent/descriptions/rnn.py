"""The simple recurrent network, with one of three nonlinearities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from . import Description

if TYPE_CHECKING:
    from rnncore.viz.plots._sheet import Sheet


def draw(sheet: Sheet) -> None:
    """Draw one product, one sum and one nonlinearity; the old state acts through the weights only."""
    y = 3.6
    sheet.limits(-0.1, 4.7)
    sheet.node(4.6, y, "+")
    sheet.ends_with("h0", "h", y, y)
    sheet.arrow((1.2, y), (4.6, y))
    sheet.framed(2.75, y, "W$_{hh}$")
    sheet.arrow((4.6, 0.75), (4.6, y))
    sheet.framed(4.6, 2.0, "W$_{ih}$")
    sheet.note(4.6, 0.4, "x$_t$", fontweight="bold")
    sheet.note(6.1, 2.0, "b", fontweight="bold")
    sheet.arrow((5.9, 2.15), (4.6, y))
    sheet.arrow((4.6, y), (9.75, y))
    sheet.framed(7.3, y, sheet.cell.curve or "φ")


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
        variants=("gate_clip", "activations"),
        activated=(("h",),),
    )


CELLS = (_with("tanh", "tanh"), _with("relu", "ReLU"), _with("sigmoid", "sigmoid"))
