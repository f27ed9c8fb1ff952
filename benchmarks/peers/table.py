"""Turns measured points into tables: speeds, times, shares of the peak, ratios, means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import exp, log

from ..cases import CELLS, MODES
from .run import Point

NOISE = 0.97  # below this ratio the best peer counts as faster
NEAR_PEAK = 0.80  # a peer above this share of the peak leaves little to gain
TITLES = {
    "onnxruntime": "ONNX Runtime",
    "jax": "JAX",
    "torch_packed": "torch packed",
    "torch_compiled": "torch compiled",
    "rnncore_torch": "rnncore.torch",
    "rnncore_rows": "one net",
    "rnncore_block": "blocks of 64",
    "rnncore_step": "single steps",
    "rtneural": "RTNeural",
}


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
    columns = [(mode, n) for mode in MODES if any(point.mode == mode for point in points) for n in [*counts, None]]
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
    return [f"{where(p)}: {value:.2f} of {title(best_peer(p))}{of_the_peak(p)}" for value, p in found]


def of_the_peak(point: Point) -> str:
    """The best peer's share of the peak, in words; nothing where speeds are not counted."""
    peer = best_peer(point)
    part = share(point, peer) if peer and hasattr(point.case, "flops") else None
    return "" if part is None else f", which is at {part:.0%} of the peak"


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


def measured(names: Iterable[str], points: list[Point]) -> list[str]:
    """The libraries that were measured at any of the points."""
    return [name for name in names if any(name in point.samples for point in points)]


def speeds(points: list[Point], names: list[str]) -> str:
    """GF/s of all libraries, rnncore's share of the peak, and the ratio: one row per point."""
    mine, names = ours(names), measured(names, points)
    header = ["cell", "T,B,I,H", "threads", "peak", *map(title, names), "best peer", "ratio"]
    rows = []
    for point in points:
        row = [point.case.cell, point.case.label, str(point.threads)]
        row.append(f"{point.peak:.0f}" if "matmul" in point.seconds else "–")
        for name in names:
            text = f"{point.gflops(name):.3g}" if name in point.seconds else "–"
            part = share(point, name) if name in mine and name in point.seconds else None
            row.append(text if part is None else f"{text} ({part:.0%})")
        rows.append(row + verdict(point))
    return grid(header, rows)


def times(points: list[Point], names: list[str], *last: tuple[str, Callable[[Point], float | None]]) -> str:
    """Milliseconds of all libraries, the ratio, and more columns of numbers: one row per point.

    Parameters
    ----------
    points : list of Point
    names : list of str
    *last : (str, callable)
        The head of a column, and its number at a point.
    """
    names = measured(names, points)
    header = ["cell", "what", "mode", "threads", *map(title, names), "best peer", "ratio", *(head for head, _ in last)]
    rows = []
    for point in points:
        row = [point.case.cell, point.case.label, point.mode, str(point.threads)]
        row += [f"{1e3 * point.seconds[name]:.3g}" if name in point.seconds else "–" for name in names]
        numbers = [number(point) for _, number in last]
        rows.append(row + verdict(point) + ["–" if value is None else f"{value:.2f}" for value in numbers])
    return grid(header, rows)


def verdict(point: Point) -> list[str]:
    """The best peer, and the ratio."""
    peer, value = best_peer(point), ratio(point)
    bold = "**" if value is not None and value < NOISE else ""
    return [title(peer), "–" if value is None else f"{bold}{value:.2f}{bold}"]


def title(name: str | None) -> str:
    return TITLES.get(name or "–", name or "–")


def bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) if lines else "None."


def absences(points: list[Point]) -> list[str]:
    """Each reason why fields are empty, with the number of points it applies to."""
    reasons: dict[tuple[str, str], int] = {}
    for point in points:
        for name, why in point.absent.items():
            reasons[name, why] = reasons.get((name, why), 0) + 1
    return [f"{title(name)}, {count} point{'s' * (count != 1)}: {why}" for (name, why), count in reasons.items()]
