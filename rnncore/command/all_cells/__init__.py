"""`rnncore debug`: trains all cells on one text with one budget, and shows where the gradient of each dies.

text ─ training: train each cell, measure it ─┬ table on stdout
                                              ├ results.json
                                              ├ figures ─ index.html
                                              └ networks.html, a page that runs the trained cells

`training` has all computations, `figures` and `page` only show their results.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rnncore.command import options

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

HELP = "train every kind of cell on a text and show where the gradient of each dies"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Train every kind of cell, RNNs, GRU and LSTM, with the same budget, and "
        "show bits per character and how far back the gradient reaches."
    )
    options.add_text(parser)
    parser.add_argument(
        "--out", default="rnncore-debug",
        help="folder for the report (default: %(default)s); a file in it is replaced only if it is an "
        "unchanged file of an earlier report",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=options.seed, default=0, help="random seed of the weights (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=options.count, default=1500, help="updates per cell (default: %(default)s)"
    )
    parser.add_argument(
        "--hidden", type=options.count, default=128, help="hidden units (default: %(default)s)"
    )
    options.add_threads(parser)


def run(arguments: Namespace) -> int:
    """Run the command; returns the exit status."""
    from rnncore.command.all_cells import page, training

    options.set_threads(arguments)
    corpus = options.read_text(arguments.file)
    budget = training.Budget(
        updates=arguments.steps, hidden_size=arguments.hidden, seed=arguments.seed
    )
    corpus.require(budget.batch_size, budget.window)
    out = Path(arguments.out)
    options.claim_folder(out, page.FILES, page.KEYS, arguments.file)
    print(corpus, flush=True)
    trained = []
    for one in training.train_cells(corpus, budget):
        trained.append(one)
        print(f"  {one.label}: {one.bits_text} bits per character", file=sys.stderr, flush=True)
    print(training.table(trained), flush=True)
    *_, index = page.write_report(out, corpus, budget, trained)
    print(f"report: {index.resolve()}")
    return 0
