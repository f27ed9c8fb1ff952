"""The paragraphs of each part of the page."""

from __future__ import annotations

from .. import steps
from ..cases import MODES
from ..seeded import COUNT, RANGES
from .run import Point
from .table import (
    NEAR_PEAK,
    NOISE,
    behind,
    bullets,
    grid,
    means,
    measured,
    near_peak,
    ratio,
    speeds,
    times,
    title,
)

SPEEDS = (
    "Speeds are in GF/s (10⁹ floating-point operations per second). Only the operations of matrix products are "
    "counted: 2·T·B·G·H·(I + H) for a forward pass with G = 4, 3, 1 for LSTM, GRU, RNN, summed over layers and "
    "directions, and three times that for training, which is a forward pass and all gradients. Shapes are T,B,I,H; x2 "
    "stands for two layers, bi for both directions, f64 for float64. The percentage is rnncore's share of the peak."
)
RAGGED = (
    "The lengths are uniform from T/10 to T, in no order, and one row has T steps. Operations are counted for the "
    "steps that a row has. torch computes the padding too, which is why its speed looks low here, or is given packed "
    "rows (*torch packed*); in JAX a row keeps its state after its end; ONNX Runtime and rnncore are given the lengths."
)
SEEDED = (
    "{count} shapes that `benchmarks/seeded.py` draws with a fixed seed, log-uniform in {ranges}; one whose training "
    "call would take a slow library more than two seconds is drawn again. Here a sample is a single call, at least "
    "15 ms after the library's last one and after that of any other library."
)
MODELS = (
    "A call is one update as a training script does it: embedding, recurrent layer, linear layer, loss, all gradients, "
    "clipping to a joint norm of 1, Adam, and the loss as a number. The losses of the first three updates and all "
    "gradients of the first one were compared with plain numpy in float64. Times are in milliseconds; *of one thread* "
    "is rnncore's time divided by its own on one thread. {more}"
)
COMPILED = (
    "*torch compiled* is `torch.compile` of model and loss, whose tracer leaves the recurrent layer as it is. JAX is "
    "one jitted function for the whole update."
)
IN_TORCH = (
    "The same script twice: a torch model with torch's layer, and with that of rnncore.torch in its place. *packed* "
    "rows go through `pack_padded_sequence`; *padded* ones are computed to their last step in both."
)
NETS = (
    "rnncore has an `Ensemble`, torch a loop over layers, JAX a `vmap`. *one net* is a single layer of rnncore with "
    "the rows of all nets, and *of its speed* compares the ensemble with it. Times are in milliseconds."
)

STEPS = (
    "One row, on one core; times are in nanoseconds a step. *rnncore* is a call of {steps:,} steps; a stream runs them "
    "in *blocks of {block}* or in *single steps*, both into arrays that exist, called from Python. RTNeural's layers "
    "have their sizes fixed at compile time, and their loop over the steps is in C++. The *ratio* compares it with a "
    "call."
)


def against_the_best(points: list[Point]) -> list[str]:
    """The summary of the ratios."""
    if not any(ratio(point) is not None for point in points):
        return []
    return [
        "### Against the best peer",
        "Geometric means of the ratio, with the lowest ratio in brackets.",
        means(points),
        f"Points where the best peer is faster (ratio below {NOISE}), with the ratio and the peer:",
        bullets(behind(points)),
    ]


def close_to_the_peak(points: list[Point]) -> list[str]:
    return [
        f"Points where the best peer reaches more than {NEAR_PEAK:.0%} of the peak, which leaves little to gain:",
        bullets(near_peak(points)),
    ]


def by_mode(points: list[Point], names: list[str]) -> list[str]:
    """A table of speeds for each mode."""
    parts = []
    for mode in MODES:
        if found := [point for point in points if point.mode == mode]:
            parts += [f"### {mode.capitalize()}", speeds(found, names)]
    return parts


def layers(points: list[Point], names: list[str]) -> list[str]:
    """Layers: rows of equal lengths first."""
    full = [point for point in points if not point.case.ragged]
    ragged = [point for point in points if point.case.ragged]
    parts = [SPEEDS]
    if full:
        parts += [*against_the_best(full), *close_to_the_peak(full), *by_mode(full, names)]
    if ragged:
        parts += [RAGGED, *by_mode(ragged, names)]
    return parts


def seeded_shapes(points: list[Point], names: list[str]) -> list[str]:
    """Shapes from the generator."""
    ranges = ", ".join(f"{name} {low}–{high:,}" for name, (low, high) in RANGES.items())
    intro = SEEDED.format(count=COUNT, ranges=ranges)
    return [f"{intro} {SPEEDS}", *against_the_best(points), *by_mode(points, names)]


def models_of(points: list[Point], names: list[str]) -> list[str]:
    """Whole models, in milliseconds an update."""
    one = {point.case: point.seconds.get(names[0]) for point in points if point.threads == 1}

    def of_one_thread(point: Point) -> float | None:
        alone, here = one.get(point.case), point.seconds.get(names[0])
        return here / alone if point.threads > 1 and alone and here else None

    intro = MODELS.format(more=IN_TORCH if names[0] == "rnncore_torch" else COMPILED)
    return [intro, *against_the_best(points), times(points, names, ("of one thread", of_one_thread))]


def nets_of(points: list[Point], names: list[str]) -> list[str]:
    """Ensembles, in milliseconds a call."""

    def of_one_net(point: Point) -> float | None:
        one, all_nets = point.seconds.get("rnncore_rows"), point.seconds.get("rnncore")
        return one / all_nets if one and all_nets else None

    return [NETS, *against_the_best(points), times(points, names, ("of its speed", of_one_net))]


def steps_of(points: list[Point], names: list[str]) -> list[str]:
    """Single steps, in nanoseconds."""
    names = measured(names, points)
    rows = []
    for point in points:
        case = point.case
        own = [f"{1e9 * point.seconds[name] / case.T:.0f}" if name in point.seconds else "–" for name in names]
        value = ratio(point)
        rows.append([case.cell, str(case.I), str(case.H), *own, "–" if value is None else f"{value:.2f}"])
    header = ["cell", "I", "H", *map(title, names), "ratio"]
    return [STEPS.format(steps=steps.T, block=steps.BLOCK), grid(header, rows)]
