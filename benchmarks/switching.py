"""How a step of EM of `SwitchingAutoRegressive` grows: ``python -m benchmarks.switching --help``.

Three plots against the number n of values of the hidden state, the order, and the number of columns. A straight line is
fitted to time against size on logarithmic axes. The cost counts as linear in n if the slope is at most 1.05 beyond the
sizes where all n² transitions are computed; against columns F it may grow as the F² coefficients of each lag do.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from rnncore.models import SwitchingAutoRegressive
from rnncore.models.chains.em import Rows
from rnncore.models.chains.settings_passes import DENSE_STATES

from . import machine
from .scaling import medians, slope

STEPS = 500
LIMITS = {"values": 1.05, "order": 2.05, "columns": 2.05}
XLABELS = {"values": "n, values of the hidden state", "order": "order", "columns": "F, columns"}


class Line(NamedTuple):
    """The models of one line of a plot, with their sizes."""

    axis: str
    name: str
    colour: str
    sizes: list[int]
    models: list[tuple[SwitchingAutoRegressive, int]]   # with their columns


def lines() -> list[Line]:
    """All lines; the colours are those of Okabe and Ito."""
    found = []
    for K, most, colour in ((2, 12, "#0072B2"), (3, 7, "#D55E00")):
        orders = list(range(1, most + 1))
        found.append(Line("values", f"{K} regimes, order 1 to {most}", colour, [K ** (k + 1) for k in orders],
                          [(SwitchingAutoRegressive(K, k), 1) for k in orders]))
    for name, options, colour in (("intercept form", {"form": "intercept"}, "#0072B2"),
                                  ("mean form, one mean", {"switching_mean": False}, "#D55E00")):
        sizes = [1, 2, 4, 8, 16, 32, 64]
        found.append(Line("order", name, colour, sizes, [(SwitchingAutoRegressive(2, k, **options), 1) for k in sizes]))
    for name, form, colour in (("mean form", "mean", "#0072B2"), ("intercept form", "intercept", "#D55E00")):
        sizes = [1, 2, 5, 10, 20, 50, 100]
        found.append(Line("columns", name, colour, sizes,
                          [(SwitchingAutoRegressive(2, 1, form=form), F) for F in sizes]))
    return found


def step(model: SwitchingAutoRegressive, columns: int) -> Any:
    """A step of EM on random data, as a function without arguments."""
    rng = np.random.default_rng(0)
    x = 0.1 * np.cumsum(rng.standard_normal((STEPS, columns)), axis=0) + rng.standard_normal((STEPS, columns))
    fit = model._regime_fit(Rows.pack(model._read_rows([x])))
    values = fit._start(0, rng)
    return lambda: fit.maximise(values, fit.expect(values))


def fitted(line: Line, seconds: list[float]) -> float:
    """The slope of a line, for the number of values beyond `DENSE_STATES`, and else in its upper half."""
    sizes = np.array(line.sizes)
    here = sizes > (DENSE_STATES if line.axis == "values" else np.median(sizes))
    return slope(sizes[here].tolist(), np.array(seconds)[here].tolist())


def plot(measured: list[tuple[Line, list[float]]], about: str) -> Any:
    """The figure: one plot for each axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    for ax, axis in zip(figure.subplots(1, len(LIMITS), sharey=True), LIMITS, strict=True):
        for line, seconds in measured:
            if line.axis == axis:
                ax.loglog(line.sizes, 1e3 * np.array(seconds), "o-", ms=4, color=line.colour,
                          label=f"{line.name}, slope {fitted(line, seconds):.2f}")
        if axis == "values":
            ax.axvline(DENSE_STATES, ls=":", color="0.4")
            ax.annotate("all n²  ", (DENSE_STATES, 0.97), xycoords=("data", "axes fraction"), ha="right", va="top")
            ax.annotate("  successors", (DENSE_STATES, 0.97), xycoords=("data", "axes fraction"), va="top")
        ax.set_xlabel(XLABELS[axis])
        ax.legend(fontsize="small", frameon=False, loc="lower right" if axis == "values" else "upper left")
        ax.grid(alpha=0.3)
        ax.set_ylim(bottom=0.3)
        for side in (ax.xaxis, ax.yaxis):
            side.set_minor_formatter("")
    figure.axes[0].set_ylabel("milliseconds for a step of EM")
    figure.suptitle(about, fontsize="small")
    return figure


def main(arguments: list[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m benchmarks.switching", description=__doc__)
    made.add_argument("--quick", action="store_true", help="a single round, to see whether everything runs")
    made.add_argument("--out", type=Path, default=Path("docs/img/switching.png"), help="write the figure to this file")
    options = made.parse_args(arguments)
    machine.pin(1)
    rounds, least = (1, 0.0) if options.quick else (7, 0.02)
    with threadpool_limits(1, user_api="blas"):
        measured = [(line, medians([step(*model) for model in line.models], rounds, least))
                    for line in tqdm(lines(), unit="line")]
    about = f"{STEPS} elements, 1 thread, {machine.cpu_name()}, {time.strftime('%Y-%m-%d')}"
    print(about)
    steep = False
    for line, seconds in measured:
        value, limit = fitted(line, seconds), LIMITS[line.axis]
        steep |= value > limit
        print(f"{line.axis:8} {line.name:32} {1e3 * seconds[-1]:9.2f} ms at {line.sizes[-1]:6}  slope {value:.2f}"
              f" (at most {limit})" + (" too steep" if value > limit else ""))
    plot(measured, about).savefig(options.out, dpi=150)
    return int(steep)


if __name__ == "__main__":
    sys.exit(main())
