"""Turns measured points into Markdown: speeds, shares of the peak, ratios, means."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from typing import Any

from ..cases import CELLS, MODES
from .run import Point

NOISE = 0.97  # below this ratio the best peer counts as faster
NEAR_PEAK = 0.80  # a peer above this share of the peak leaves little to gain
TITLES = {"onnxruntime": "ONNX Runtime", "jax": "JAX", "torch_packed": "torch packed"}

HOW_MEASURED = (
    "A *point* is one cell with one shape, mode and number of threads. Shapes are T,B,I,H; x2 stands for two "
    "layers, bi for both directions, f64 for float64, ragged for rows of unequal length. The *peers* are the other "
    "libraries, and the best peer at a point is the fastest of them there. Before a library is timed, its results are "
    "compared with a plain numpy implementation in float64."
)
QUIET = (
    "Neighbours were kept quiet: each library runs in a process of its own, which may use as many cores as it has "
    "threads, only one process runs at a time, and it begins when no thread of the one before runs any more (the "
    "threads of a pool spin for a while after a call). {others}"
)
RAGGED = (
    "The lengths are uniform from T/10 to T, in no order, and one row has T steps. Operations are counted for the "
    "steps that a row has. torch computes the padding too, which is why its speed looks low here, or is given packed "
    "rows (*torch packed*); in JAX a row keeps its state after its end; ONNX Runtime and rnncore are given the lengths."
)
WHAT_IS_SHOWN = (
    "Speeds are in GF/s (10⁹ floating-point operations per second), medians of {rounds} rounds; in each round, the "
    "libraries take turns. Only the operations of matrix products are counted: 2·T·B·G·H·(I + H) for a forward pass "
    "with G = 4, 3, 1 for LSTM, GRU, RNN, summed over layers and directions, and three times that for training, "
    "which is a forward pass and all gradients. The *peak* is the speed of a square matrix product of size 1024 by "
    "{peak} in the same rounds; the percentage is the share of it that rnncore reaches. The *ratio* is the time of "
    "the best peer divided by that of rnncore; it is bold below {noise}."
)


def ours(names: Iterable[str]) -> list[str]:
    """The columns of rnncore; ratios are computed with the first of them."""
    return sorted((name for name in names if name.startswith("rnncore")), key=len)


def best_peer(point: Point) -> str | None:
    """The fastest of the other libraries, or None if none was measured."""
    others = {k: v for k, v in point.seconds.items() if k != "matmul" and k not in ours([k])}
    return min(others, key=others.__getitem__, default=None)


def ratio(point: Point) -> float | None:
    """How many times faster rnncore is than the best peer; None if one of the two was not measured."""
    mine, peer = ours(point.seconds)[:1], best_peer(point)
    return point.seconds[peer] / point.seconds[mine[0]] if mine and peer else None


def share(point: Point, name: str) -> float | None:
    """The speed of a library divided by that of the matrix product in the same rounds."""
    return point.gflops(name) / point.peak if "matmul" in point.seconds else None


def geometric_mean(values: Iterable[float]) -> float:
    """exp of the mean logarithm; nan without values.

    Examples
    --------
    >>> round(geometric_mean([1.0, 4.0]), 12)
    2.0
    """
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs)) if logs else float("nan")


def grid(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with the first column aligned to the left, the others to the right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def where(point: Point) -> str:
    threads = "1 thread" if point.threads == 1 else f"{point.threads} threads"
    return f"{point.case.cell} {point.case.label} {point.mode}, {threads}"


def means(points: list[Point]) -> str:
    """Geometric means of the ratio: one row per cell, one column per mode and number of threads."""
    counts = sorted({point.threads for point in points})
    columns = [(mode, n) for mode in MODES for n in [*counts, None]]
    rows = []
    for cell in CELLS:
        row = [cell]
        for mode, n in columns:
            found = [
                value
                for point in points
                if point.case.cell == cell and point.mode == mode and n in (None, point.threads)
                if (value := ratio(point)) is not None
            ]
            text = f"{geometric_mean(found):.2f} (least {min(found):.2f})" if found else "–"
            row.append(text)
        if any(text != "–" for text in row[1:]):
            rows.append(row)
    header = [f"{mode}, {f'threads {n}' if n else 'all'}" for mode, n in columns]
    return grid(["cell", *header], rows)


def behind(points: list[Point]) -> list[str]:
    """Points where the best peer is faster by more than the noise, the slowest first."""
    found = [(value, point) for point in points if (value := ratio(point)) is not None]
    found = sorted((pair for pair in found if pair[0] < NOISE), key=lambda pair: pair[0])
    return [f"{where(p)}: {value:.2f} of {title(best_peer(p))}" for value, p in found]


def near_peak(points: list[Point]) -> list[str]:
    """Points where the best peer is close to the peak of the machine."""
    lines = []
    for point in points:
        peer = best_peer(point)
        part = share(point, peer) if peer else None
        if part is not None and part > NEAR_PEAK:
            value = ratio(point)
            end = "" if value is None else f", ratio {value:.2f}"
            lines.append(f"{where(point)}: {title(peer)} at {part:.0%} of the peak{end}")
    return lines


def speeds(points: list[Point], names: list[str]) -> str:
    """GF/s of all libraries, rnncore's share of the peak, and the ratio: one row per point."""
    mine, names = ours(names), [name for name in names if any(name in point.samples for point in points)]
    header = ["cell", "T,B,I,H", "threads", "peak", *map(title, names), "best peer", "ratio"]
    rows = []
    for point in points:
        row = [point.case.cell, point.case.label, str(point.threads)]
        row.append(f"{point.peak:.0f}" if "matmul" in point.seconds else "–")
        for name in names:
            text = f"{point.gflops(name):.3g}" if name in point.seconds else "–"
            part = share(point, name) if name in mine and name in point.seconds else None
            row.append(text if part is None else f"{text} ({part:.0%})")
        peer, value = best_peer(point), ratio(point)
        row.append(title(peer) if peer else "–")
        bold = "**" if value is not None and value < NOISE else ""
        row.append("–" if value is None else f"{bold}{value:.2f}{bold}")
        rows.append(row)
    return grid(header, rows)


def title(name: str | None) -> str:
    return TITLES.get(name or "–", name or "–")


def against_the_best(points: list[Point]) -> list[str]:
    """The summary of the ratios."""
    return [
        "## Against the best peer\n\nGeometric means of the ratio, with the lowest ratio in brackets.",
        means(points),
        f"Points where the best peer is faster (ratio below {NOISE}), with the ratio and the peer:",
        bullets(behind(points)),
        f"Points where the best peer reaches more than {NEAR_PEAK:.0%} of the peak, which leaves little to gain:",
        bullets(near_peak(points)),
    ]


def rounds(points: list[Point]) -> str:
    counts = {len(times) for point in points for times in point.samples.values() if times}
    return "–".join(map(str, sorted({min(counts), max(counts)})))


def quiet(cores: float | None) -> str:
    """How the libraries were kept from disturbing each other, and how much other programs ran meanwhile."""
    others = "" if cores is None else f"Other programs used {cores:.2f} of a core meanwhile, on average."
    return QUIET.format(others=others).strip()


def bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) if lines else "None."


def absences(points: list[Point]) -> list[str]:
    """Each reason why fields are empty, with the number of points it applies to."""
    reasons: dict[tuple[str, str], int] = {}
    for point in points:
        for name, why in point.absent.items():
            reasons[name, why] = reasons.get((name, why), 0) + 1
    return [f"{title(name)}, {count} point{'s' * (count != 1)}: {why}" for (name, why), count in reasons.items()]


def markdown(points: list[Point], about: dict[str, Any]) -> str:
    """The whole page.

    Parameters
    ----------
    points : list of Point
        Those without samples are left out.
    about : dict
        date, cpu, command, commit, names, versions {name: version}, missing {name: why},
        complete (bool), cores_of_others (float or None; see `Bench`).
    """
    points = [point for point in points if point.seconds]
    names = about["names"]
    versions = [f"{title(k)} {about['versions'][k]}" for k in names if k in about["versions"]]
    parts = [
        "# rnncore compared with its peers",
        f"{about['date']}, {about['cpu']}, commit {about['commit'] or 'unknown'}: "
        f"{', '.join(versions) or 'no library'}.",
        f"Measured by `{about['command']}`.",
    ]
    if not about["complete"]:
        parts.append(f"**Stopped early. Points measured: {len(points)}.**")
    parts += [f"**{title(name)} is missing:** {why}" for name, why in about["missing"].items()]
    if not points:
        return "\n\n".join([*parts, "Nothing was measured."]) + "\n"
    peak = about["versions"].get("matmul", "no library")
    parts += [HOW_MEASURED, quiet(about["cores_of_others"])]
    parts += [WHAT_IS_SHOWN.format(rounds=rounds(points), peak=peak, noise=NOISE)]
    full = [point for point in points if not point.case.ragged]
    if any(ratio(point) is not None for point in full):
        parts += against_the_best(full)
    for mode in MODES:
        of_mode = [point for point in full if point.mode == mode]
        if of_mode:
            parts += [f"## {mode.capitalize()}", speeds(of_mode, names)]
    if len(full) < len(points):
        parts += ["## Rows of unequal length", RAGGED]
    for mode in MODES:
        of_mode = [point for point in points if point.case.ragged and point.mode == mode]
        if of_mode:
            parts += [f"### {mode.capitalize()}", speeds(of_mode, names)]
    parts += [
        "## Empty fields\n\nThe number of points at which a library was not measured, with the reason.",
        bullets(absences(points)),
    ]
    return "\n\n".join(parts) + "\n"


def as_json(points: list[Point], about: dict[str, Any]) -> dict[str, Any]:
    """All measurements, for other programs to read."""
    return {
        **about,
        "points": [
            {
                "cell": point.case.cell,
                "shape": point.case.label,
                "mode": point.mode,
                "threads": point.threads,
                "flops": point.case.flops(point.mode),
                "seconds": point.seconds,
                "samples": point.samples,
                "absent": point.absent,
                "ratio": ratio(point),
            }
            for point in points
            if point.seconds
        ],
    }
