"""Long short-term memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from . import Description, Gate, Saturated

if TYPE_CHECKING:
    from rnncore._typing import Array
    from rnncore.viz.plots._sheet import Sheet


def growth(v: Mapping[str, Array], variance: Mapping[str, float]) -> float:
    """χ: the mean squared singular value of ∂c_t/∂c_{t-1}, including the path through h_{t-1}.

    χ = E[f²] + Σ_gates σ_gate²·E[(∂c_t/∂a_gate)²]·E[(∂h_{t-1}/∂c_{t-1})²], where a_gate is the pre-activation of a
    gate, and its recurrent weights have variance σ_gate²/H. The last factor is computed from o and c of step t and not
    of step t − 1, because on average over the steps it is the same. `v` has the recorded values by name, and `variance`
    σ_gate² for each block of weight_hh.
    """
    i, f, g, o, c, c0 = (v[name] for name in ("i", "f", "g", "o", "c", "c0"))
    to_c = (
        variance["f"] * np.mean(np.square(c0 * f * (1 - f)))
        + variance["i"] * np.mean(np.square(g * i * (1 - i)))
        + variance["g"] * np.mean(np.square(i * (1 - g * g)))
    )
    chi: float = np.mean(np.square(f)) + to_c * np.mean(np.square(o * (1 - np.tanh(c) ** 2)))
    return chi


def draw(sheet: Sheet) -> None:
    """Draw the cell state as a conveyor belt, and what the gates do to it."""
    sheet.belt(5.2, "c0", "c")
    low = 2.5
    foot, head = low - sheet.HEIGHT / 2, low + sheet.HEIGHT / 2
    for x, name in ((2.4, "f"), (4.1, "i"), (5.9, "g"), (7.6, "o")):
        sheet.gate(x, low, name)
        sheet.arrow((x, 1.2), (x, foot))
    sheet.node(2.4, 5.2, "×")
    sheet.arrow((2.4, head), (2.4, 4.92))
    sheet.node(5.0, 3.95, "×")
    sheet.arrow((4.1, head), (4.1, 3.95), (4.72, 3.95))
    sheet.arrow((5.9, head), (5.9, 3.95), (5.28, 3.95))
    sheet.node(5.0, 5.2, "+")
    sheet.arrow((5.0, 4.23), (5.0, 4.92))
    sheet.node(8.95, low, "×")
    sheet.arrow((8.25, low), (8.67, low))
    sheet.arrow((8.95, 5.05), (8.95, 2.78))
    sheet.note(8.85, 3.75, "tanh", ha="right", small=True)
    sheet.before(0.55, 1.2, "h0")
    sheet.after(10.4, low, "h")
    sheet.arrow((9.23, low), (9.75, low))
    sheet.inputs(7.6)


CELLS = (
    Description(
        kernel="lstm",
        mode="LSTM",
        name="lstm",
        label="LSTM",
        equations="c_t = f·c_{t-1} + i·g, h_t = o·tanh(c_t)",
        blocks_ih=("i", "f", "g", "o"),
        blocks_hh=("i", "f", "g", "o"),
        order=("i", "f", "g", "o", "c", "h"),
        order_back=("h", "o", "c", "g", "f", "i"),      # the gradient of o depends on that of h alone, not on that of c
        gates=(
            Gate("i", "input gate", 0, "sigmoid",
                 low=Saturated("never take in anything new", "raise the input gate's bias")),
            Gate("f", "forget gate", 1, "sigmoid",
                 low=Saturated("forget at once", "raise the forget bias (rnncore.init.forget_bias)"),
                 high=Saturated("never forget", "lower their bias if they should")),
            Gate("g", "cell candidate", 2, "tanh"),
            Gate("o", "output gate", 3, "sigmoid",
                 low=Saturated("never output their cell state", "raise the output gate's bias")),
        ),
        states=("h", "c"),
        keeps="f",
        enters="i",
        candidate="g",
        growth=growth,
        draw=draw,
        variants=("peepholes", "coupled", "cell_clip", "gate_clip", "activations"),
        peepholes={"i": "c0", "f": "c0", "o": "c"},
        activated=(("i", "f", "o"), ("g",), ("h",)),
    ),
)
