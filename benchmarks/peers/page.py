"""The page: its head, and a section for each part that was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .parts import PARTS, Part
from .run import Point
from .store import Store
from .table import NOISE, absences, bullets, title

# The page of each instruction set, its title, and what it says of the others.
PAGES = {
    "v4": ("peers.md", "rnncore compared with its peers",
           "Measured on a CPU with AVX-512. [The same comparison with AVX2](peers_avx2.md) was made on another one."),
    "v3": ("peers_avx2.md", "rnncore compared with its peers, with AVX2",
           "Measured on a CPU without AVX-512. [The same comparison with AVX-512](peers.md) was made on another one."),
}
HOW_MEASURED = (
    "A *point* is one case with one number of threads. The *peers* are the other libraries, and the best peer at a "
    "point is the fastest of them there. The *ratio* is the time of the best peer divided by that of rnncore; it is "
    "bold below {noise}. Numbers are medians of several rounds, in each of which the libraries take turns. Before a "
    "library is timed, its results are compared with a plain numpy implementation in float64. The *peak* is the speed "
    "of a square matrix product of size 1024, by torch or numpy, whichever is faster, in the same rounds."
)
QUIET = (
    "Neighbours were kept quiet: each library runs in a process of its own, which may use as many cores as it has "
    "threads, only one process runs at a time, and it begins when no thread of the one before runs any more (the "
    "threads of a pool spin for a while after a call)."
)
PARTLY = (
    "Parts and points are measured at different times, when there is a quiet machine for some minutes. Each part says "
    "when, and at which commit of rnncore's sources."
)


def page_of(isa: str) -> tuple[str, str, str]:
    """File name, title and introduction of the page of an instruction set."""
    words = (f"peers_{isa}.md", f"rnncore compared with its peers, with the instruction set {isa}",
             "[The same comparison with AVX-512](peers.md) was made on another CPU.")
    return PAGES.get(isa, words)


def write(docs: Path, isa: str) -> Path:
    """Write the page of an instruction set from what is kept of all its parts."""
    name, heading, intro = page_of(isa)
    stores = {key: Store(file_of(docs, isa, key)) for key in PARTS}
    text = assemble(heading, intro, [(PARTS[key], store) for key, store in stores.items()])
    path = docs / name
    path.write_text(text.replace("\n\n", "\n\n[Documentation](index.md)\n\n", 1), encoding="utf-8")
    return path


def file_of(docs: Path, isa: str, key: str) -> Path:
    """Where the results of a part are kept."""
    return docs / "peers" / isa / f"{key}.json"


def assemble(heading: str, intro: str, parts: list[tuple[Part, Store]]) -> str:
    """The page as Markdown."""
    paragraphs = [f"# {heading}", intro, HOW_MEASURED.format(noise=NOISE), QUIET, PARTLY]
    for part, store in parts:
        paragraphs += section(part, store)
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def section(part: Part, store: Store) -> list[str]:
    """The paragraphs of one part; none if nothing of it was measured."""
    points = store.fill(part.points(threads_of(store)))
    if not points:
        return []
    runs = store.runs_of(points)
    missing = {name: why for run, _ in runs for name, why in run["missing"].items()}
    found = [f"## {part.title}", bullets([words(run, own) for run, own in runs])]
    found += [f"**{title(name)} is missing:** {why}" for name, why in missing.items()]
    found += part.section(points, list(part.names))
    if reasons := absences(points):
        found += ["Empty fields, with the number of points and the reason:", bullets(reasons)]
    return found


def threads_of(store: Store) -> list[int]:
    """The numbers of threads that points were measured with."""
    return sorted({int(key.rpartition(" ")[2]) for key in store.points})


def words(run: dict[str, Any], points: list[Point]) -> str:
    """When, where, what and with what some points were measured."""
    counts = sorted({point.rounds for point in points if point.rounds})
    rounds = f"; {'–'.join(map(str, sorted({counts[0], counts[-1]})))} rounds" if counts else ""
    versions = ", ".join(f"{title(name)} {version}" for name, version in run["versions"].items() if name != "matmul")
    peak = run["versions"].get("matmul")
    cores = run["cores_of_others"]
    others = "" if cores is None else f" Other programs used {cores:.2f} of a core meanwhile, on average."
    return (f"{run['date']}, {run['cpu']}, commit {run['commit'] or 'unknown'}, {len(points)} "
            f"point{'s' * (len(points) != 1)}{rounds}: {versions or 'no library'}"
            f"{f'; the peak is that of {peak}' if peak else ''}. `{run['command']}`{others}{run.get('note', '')}")
