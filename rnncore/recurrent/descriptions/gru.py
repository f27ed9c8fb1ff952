"""Gated recurrent units. The reset gate multiplies U·h (as in torch, cuDNN and Keras), or h before the product with U.

The second form is that of the paper (Cho et al. 2014). U are the recurrent weights of the candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from . import Description, Gate, Saturated

if TYPE_CHECKING:
    from rnncore._typing import Array
    from rnncore.viz.plots._sheet import Sheet


def growth(v: Mapping[str, Array], variance: Mapping[str, float]) -> float:
    """χ: the mean squared singular value of ∂h_t/∂h_{t-1}, E[z²] + Σ_gates σ_gate²·E[(∂h_t/∂a_gate)²].

    a_gate is what the recurrent weights of the gate, of variance σ_gate²/H, add to its pre-activation. `v` has the
    recorded values by name, and `variance` σ_gate² for each block of weight_hh.
    """
    r, z, n, hn, h0 = (v[name] for name in ("r", "z", "n", "hn", "h0"))
    slope = (1 - z) * (1 - n * n)
    through_n = variance["hn"] * np.mean(np.square(slope * r))
    through_r = variance["r"] * np.mean(np.square(slope * hn * r * (1 - r)))
    chi: float = _through_z(z, n, h0, variance) + (through_n + through_r)
    return chi


def growth_before(v: Mapping[str, Array], variance: Mapping[str, float]) -> float:
    """χ if the recurrent weights of the candidate multiply r·h.

    Then the term of the candidate is multiplied by the mean squared singular value of ∂(r·h)/∂h, which is E[r²] +
    σ_r²·E[(h·r·(1 − r))²].
    """
    r, z, n, h0 = (v[name] for name in ("r", "z", "n", "h0"))
    reset = np.mean(np.square(r)) + variance["r"] * np.mean(np.square(h0 * r * (1 - r)))
    slope = np.mean(np.square((1 - z) * (1 - n * n)))
    chi: float = _through_z(z, n, h0, variance) + variance["hn"] * slope * reset
    return chi


def _through_z(z: Array, n: Array, h0: Array, variance: Mapping[str, float]) -> float:
    """The terms that are the same for both cells: E[z²], and that of the update gate's weights."""
    kept: float = np.mean(np.square(z)) + variance["z"] * np.mean(np.square((h0 - n) * z * (1 - z)))
    return kept


def draw(sheet: Sheet) -> None:
    """Draw the hidden state as a conveyor belt: a share z of it is kept, and the share 1 − z replaced."""
    sheet.belt(5.2, "h0", "h")
    low = 2.5
    foot, head = low - sheet.HEIGHT / 2, low + sheet.HEIGHT / 2
    for x, name in ((2.4, "r"), (4.9, "n"), (7.4, "z")):
        sheet.gate(x, low, name)
        sheet.arrow((x, 1.2), (x, foot))
    sheet.arrow((3.05, low), (4.25, low))
    sheet.note(3.65, low + 0.25, "resets", small=True)
    sheet.node(7.4, 5.2, "×")
    sheet.arrow((7.4, head), (7.4, 4.92))
    sheet.note(7.52, 4.35, "z", ha="left", small=True)
    sheet.node(6.1, 3.75, "×")
    sheet.arrow((4.9, head), (4.9, 3.75), (5.82, 3.75))
    sheet.arrow((7.4, 3.75), (6.38, 3.75))
    sheet.note(6.85, 3.95, "1 − z", small=True)
    sheet.node(8.7, 5.2, "+")
    sheet.path((6.1, 4.03), (6.1, 4.55), (7.25, 4.55))
    sheet.arrow((7.55, 4.55), (8.7, 4.55), (8.7, 4.92))
    sheet.path((0.55, 5.2 - sheet.HEIGHT / 2), (0.55, 1.2))
    sheet.inputs(7.4, start=0.55)


AFTER = Description(
    kernel="gru",
    mode="GRU",
    name="gru",
    label="GRU",
    equations="h_t = (1 − z)·n + z·h_{t-1}, n = tanh(W x + b + r·(U h_{t-1} + b'))",
    blocks_ih=("r", "z", "n"),
    blocks_hh=("r", "z", "hn"),
    order=("r", "z", "hn", "n", "h"),
    gates=(
        Gate("r", "reset gate", 1, "sigmoid",
             low=Saturated("compute their candidate without the past", "raise the reset gate's bias")),
        Gate("z", "update gate", 2, "sigmoid",
             low=Saturated("keep nothing", "raise the update gate's bias (rnncore.init.forget_bias)"),
             high=Saturated("never take in anything new", "lower the update gate's bias")),
        Gate("n", "candidate", 0, "tanh"),
        Gate("hn", "candidate's recurrent part", 3),
    ),
    options={"reset_after": True},
    keeps="z",
    candidate="n",
    growth=growth,
    draw=draw,
    variants=("gate_clip", "activations"),
    activated=(("r", "z"), ("n", "h")),
)
BEFORE = replace(
    AFTER,
    kernel="gru_reset_before",
    name="gru-reset-before",
    label="GRU, reset before",
    equations="h_t = (1 − z)·n + z·h_{t-1}, n = tanh(W x + b + U (r·h_{t-1}) + b')",
    gates=(
        AFTER.gate("r")._replace(
            low=Saturated("do not enter the candidates of any unit", "raise the reset gate's bias")),
        *AFTER.gates[1:],
    ),
    options={"reset_after": False},
    operands={"hn": "r"},
    growth=growth_before,
)
CELLS = (AFTER, BEFORE)
