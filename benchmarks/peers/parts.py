"""What is measured, in parts that each take some minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from .. import ensembles, models, steps, twin
from ..cases import CELLS, MODES, Case
from ..seeded import seeded
from ..twin import Numbers
from . import NAMES
from .run import Plan, Point
from .sections import layers, models_of, nets_of, seeded_shapes, steps_of

SHAPES = (
    *("1000,1,8,32", "100,1,64,64", "100,1,256,256", "100,1,512,512", "100,4,128,128"),
    *("100,16,128,128", "100,32,256,256", "50,64,512,512", "784,64,1,128"),
    *("25,128,1024,1024", "2000,8,40,100", "30,1,1024,1024"),
    *("100,16,128,128,x2", "100,16,128,128,bi", "100,1,64,64,f64", "100,16,128,128,f64"),
)
TORCH_SHAPES = (
    *("100,1,64,64", "100,1,256,256", "100,16,128,128", "100,32,256,256", "50,64,512,512"),
)
SIZES = ("50,64,500,500", "50,1,500,500", "1000,1,1,8", "1000,1,8,16")
QUICK_SHAPES = ("50,1,8,32", "20,4,30,30,f64", "40,8,8,16,ragged")
RAGGED = ("1000,32,128,128,ragged", "200,8,32,64,ragged", "100,64,256,256,ragged")


PLAN = Plan()


@dataclass(frozen=True)
class Part:
    """A section of the page.

    Parameters
    ----------
    title : str
    names : tuple of str
        The libraries; rnncore, in one form or another, is the first.
    cases : iterable
    section : callable
        ``section(points, names)`` gives the paragraphs below the title.
    modes : tuple of str
    plan : Plan
    numbers : callable
        ``numbers(case, mode)`` is what every library must compute.
    room : str
        Which calls are measured, see `Worker`.
    most_threads : int
        Points with more threads are left out.
    """

    title: str
    names: tuple[str, ...]
    cases: Callable[[], Iterable[Any]]
    section: Callable[[list[Point], list[str]], list[str]]
    modes: tuple[str, ...] = MODES
    plan: Plan = PLAN
    numbers: Callable[[Any, str], Numbers] = twin.numbers
    room: str = ""
    most_threads: int = 1024

    def points(self, threads: Iterable[int]) -> list[Point]:
        """All points; those of the same case and mode come one after the other."""
        counts = [n for n in threads if n <= self.most_threads]
        return [Point(*one) for one in product(self.cases(), self.modes, counts)]

    def quick(self) -> Part:
        """The same with tiny cases and three rounds, to see whether everything runs."""
        plan = replace(self.plan, samples=3, least=0.002, warm=0.001)
        return replace(self, cases=lambda: TINY[self.room], plan=plan)


def shapes(texts: Iterable[str], cells: Iterable[str] = CELLS) -> list[Case]:
    """Each shape with each cell."""
    return [Case.parse(cell, text) for text, cell in product(texts, cells)]


FULL = tuple(name for name in NAMES if name != "torch_packed")
LONG = Plan(samples=8, least=0.04, seconds=20.0, rounds_at_least=3)
PARTS = {
    "models": Part(
        "Whole models", ("rnncore", "torch", "torch_compiled", "jax"), lambda: models.MODELS, models_of,
        modes=("training",), plan=LONG, numbers=models.numbers, room="models"),
    "modules": Part(
        "In a torch model", ("rnncore_torch", "torch"), lambda: models.TORCH_MODELS, models_of,
        modes=("training",), plan=LONG, numbers=models.numbers, room="models"),
    "ensembles": Part(
        "Many nets at once", ("rnncore", "rnncore_rows", "torch", "jax"), lambda: ensembles.NETS, nets_of,
        plan=Plan(samples=15), numbers=ensembles.numbers, room="ensembles"),
    "steps": Part(
        "A step of a small net", ("rnncore", "rnncore_block", "rnncore_step", "rtneural"), lambda: steps.STEPS,
        steps_of, modes=("forward",), plan=Plan(samples=15), numbers=steps.numbers, room="steps", most_threads=1),
    "seeded": Part(
        "Shapes that nobody chose", FULL, seeded, seeded_shapes,
        plan=Plan(samples=6, least=0.05, seconds=15.0, apart=0.015)),
    "sizes": Part("Small nets and odd sizes", FULL, lambda: shapes(SIZES), layers, plan=Plan(samples=15)),
    "ragged": Part(
        "Rows of unequal length", NAMES, lambda: shapes(RAGGED), layers,
        plan=Plan(samples=10, seconds=20.0, rounds_at_least=3)),
    "layers": Part("Layers", FULL, lambda: shapes(SHAPES), layers),
}
TINY = {
    "": (*shapes(QUICK_SHAPES, ["LSTM"]), Case.parse("GRU", "9,3,4,5"), Case.parse("RNN", "9,3,4,5")),
    "models": (
        models.Model("tiny", "LSTM", 7, 3, 5, 4, 6, 7),
        models.Model("tiny classifier", "GRU", 7, 3, 5, 4, 6, 3, bidirectional=True, readout="last"),
        models.Model("tiny series", "RNN", 2, None, 5, 4, 6, 1, layers=2, loss="mse"),
    ),
    "steps": tuple(replace(case, T=128) for case in steps.STEPS[:2]),
    "ensembles": (ensembles.Nets(3, Case.parse("LSTM", "9,2,4,5")),),
}
