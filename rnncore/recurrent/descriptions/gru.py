"""Gated recurrent units: reset after the product with the state (torch, cuDNN, Keras), or before it (the paper)."""

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
    """The mean square of ∂h_t/∂h_{t-1}: E[z²] + Σ_gates σ²·E[(∂h_t/∂a)²]."""
    r, z, n, hn, h0 = (v[name] for name in ("r", "z", "n", "hn", "h0"))
    slope = (1 - z) * (1 - n * n)
    through_n = variance["hn"] * np.mean(np.square(slope * r))
    through_r = variance["r"] * np.mean(np.square(slope * hn * r * (1 - r)))
    chi: float = _through_z(z, n, h0, variance) + (through_n + through_r)
    return chi


def growth_before(v: Mapping[str, Array], variance: Mapping[str, float]) -> float:
    """The same if the candidate's weights multiply r·h, which contributes E[r²] + σ_r²·E[(h·r·(1 − r))²]."""
    r, z, n, h0 = (v[name] for name in ("r", "z", "n", "h0"))
    reset = np.mean(np.square(r)) + variance["r"] * np.mean(np.square(h0 * r * (1 - r)))
    slope = np.mean(np.square((1 - z) * (1 - n * n)))
    chi: float = _through_z(z, n, h0, variance) + variance["hn"] * slope * reset
    return chi


def _through_z(z: Array, n: Array, h0: Array, variance: Mapping[str, float]) -> float:
    kept: float = np.mean(np.square(z)) + variance["z"] * np.mean(np.square((h0 - n) * z * (1 - z)))
    return kept


def draw(sheet: Sheet) -> None:
    """The hidden state as a conveyor belt, a share z of it kept and 1 − z replaced."""
    sheet.belt(5.2, "h0", "h")
    low = 2.5
    foot, head = low - sheet.HEIGHT / 2, low + sheet.HEIGHT / 2
    for x, name in ((2.4, "r"), (4.9, "n"), (7.4, "z")):
        sheet.gate(x, low, name)
        sheet.arrow((x, 1.2), (x, foot))
    sheet.arrow((3.05, low), (4.25, low))
    sheet.note(3.65, low + 0.25, "resets", fontsize="small")
    sheet.node(7.4, 5.2, "×")
    sheet.arrow((7.4, head), (7.4, 4.92))
    sheet.note(7.52, 4.35, "z", ha="left", fontsize="small")
    sheet.node(6.1, 3.75, "×")
    sheet.arrow((4.9, head), (4.9, 3.75), (5.82, 3.75))
    sheet.arrow((7.4, 3.75), (6.38, 3.75))
    sheet.note(6.85, 3.95, "1 − z", fontsize="small")
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
             low=Saturated("ignore the past in what they take in", "raise the reset gate's bias")),
        Gate("z", "update gate", 2, "sigmoid",
             low=Saturated("keep nothing", "raise the update gate's bias (rnncore.init.forget_bias)"),
             high=Saturated("never take anything in", "lower the update gate's bias")),
        Gate("n", "candidate", 0, "tanh"),
        Gate("hn", "candidate's recurrent part", 3),
    ),
    options={"reset_after": True},
    keeps="z",
    candidate="n",
    growth=growth,
    draw=draw,
)
BEFORE = replace(
    AFTER,
    kernel="gru_reset_before",
    name="gru-reset-before",
    label="GRU, reset before",
    equations="h_t = (1 − z)·n + z·h_{t-1}, n = tanh(W x + b + U (r·h_{t-1}) + b')",
    options={"reset_after": False},
    operands={"hn": "r"},
    growth=growth_before,
)
CELLS = (AFTER, BEFORE)
