"""What rows of unequal length cost, compared with their share of the steps: ``python -m benchmarks.ragged --help``.

A call with `lengths` takes turns with the same call on full rows. If the cost followed the lengths exactly, their times
would be as the sum of the lengths to T·B, which is the *fill*; the table shows how much more it is. Its last rows have
one long row among many short ones, compared with the same rows in two calls that were split by hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from . import machine
from .cases import MODES, Arrays, Case
from .scaling import medians

SHAPES = (
    *("1000,32,128,128", "300,32,128,128", "100,64,256,256", "200,16,64,200", "1000,8,64,64", "1000,8,32,32"),
)
ONE_LONG = ("600,64,128,128", 30)  # T, B, I, H, and the steps of the short rows
ROUNDS = 15


def pass_of(layer: Any, mode: str, x: np.ndarray, grad_output: np.ndarray, lengths: Any = None) -> Callable:
    """A call, or a training step, as a function without arguments."""
    if mode == "forward":
        return lambda: layer(x, lengths=lengths)
    return lambda: layer.record(x, lengths=lengths).backward(grad_output)


def against_padding(case: Case, mode: str, least: float) -> list[str]:
    """A row of the table for rows of random lengths."""
    layer, arrays, lengths = prepared(case)
    assert lengths is not None
    padded, ragged = medians(
        [pass_of(layer, mode, arrays.x, arrays.grad_output, n) for n in (None, lengths)], ROUNDS, least
    )
    fill = lengths.sum() / (case.T * case.B)
    return [case.cell, case.label.removesuffix(",ragged"), mode, f"{1e3 * padded:.3g}", f"{1e3 * ragged:.3g}",
            f"{fill:.2f}", f"{ragged / (fill * padded):.2f}"]


def against_splitting(case: Case, short: int, mode: str, least: float) -> list[str]:
    """A row of the table for one long row among short ones."""
    layer, arrays, _ = prepared(case)
    x, g = arrays.x, arrays.grad_output
    place = case.B // 3
    lengths = np.full(case.B, short)
    lengths[place] = case.T
    others = np.flatnonzero(lengths == short)
    together = pass_of(layer, mode, x, g, lengths)
    long = pass_of(layer, mode, x[:, [place]], g[:, [place]])
    rest = pass_of(layer, mode, x[:short, others], g[:short, others])
    split, ours = medians([lambda: (long(), rest()), together], ROUNDS, least)
    return [case.cell, case.label, mode, f"{1e3 * split:.3g}", f"{1e3 * ours:.3g}", "", f"{ours / split:.2f}"]


def prepared(case: Case) -> tuple[Any, Arrays, np.ndarray | None]:
    import rnncore

    arrays = Arrays.draw(case)
    layer = getattr(rnncore, case.cell)(case.I, case.H)
    layer.load_state_dict(arrays.parameters)
    return layer, arrays, case.lengths


def grid(first: str, rows: list[list[str]]) -> str:
    header = ["cell", "T,B,I,H", "mode", f"{first}, ms", "ragged, ms", "fill", "ratio"]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * 3 + ["---:"] * 4, *rows])


def main() -> None:
    made = argparse.ArgumentParser(prog="python -m benchmarks.ragged", description=(__doc__ or "").partition("\n\n")[2])
    add = made.add_argument
    add("--cells", nargs="+", default=["LSTM", "GRU", "RNN"])
    add("--shapes", nargs="+", metavar="T,B,I,H", default=list(SHAPES))
    add("--threads", type=int, default=1)
    add("--least", type=float, default=0.1, help="seconds of a sample, of which each arm has 15 (%(default)s)")
    add("--out", type=Path, help="write the tables to this file as well")
    options = made.parse_args()
    import rnncore

    rnncore.set_num_threads(options.threads)
    plan = [(cell, mode, shape) for cell in options.cells for mode in MODES for shape in [*options.shapes, None]]
    padded, split = [], []
    for cell, mode, shape in tqdm(plan, unit="point"):
        if shape is None:
            split.append(against_splitting(Case.parse(cell, ONE_LONG[0]), ONE_LONG[1], mode, options.least))
        else:
            padded.append(against_padding(Case.parse(cell, shape + ",ragged"), mode, options.least))
    about = f"{machine.cpu_name()}, rnncore {rnncore.build_info()['isa']}, threads: {options.threads}."
    text = f"{about}\n\n{grid('full rows', padded)}\n\n"
    steps = ONE_LONG[0].split(",")[0]
    text += f"One row of {steps} steps, the others of {ONE_LONG[1]}:\n\n{grid('split by hand', split)}\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
