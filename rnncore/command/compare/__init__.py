"""``rnncore compare FILE``: which memory does this data need?

    file ─ series.read ─ measure.measure ─ report.table, figure, JSON
           text | table  fit, held-out loss, context cut

series     a file as one sequence
measure    fits the models and measures their loss
baselines  persistence, and the units of errors
report     the table, the figure and the JSON file

All models are trained on the first 80 % of one sequence. Order, number of states and early stopping are
chosen on the next 10 %, and the loss is measured on the last 10 %. Then the context is cut:
the loss of predictions from only the last k steps shows how long a model's memory really is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rnncore.command import options

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

HELP = "fit windows, hidden states and recurrent nets to the same data, and compare them"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Fit models with a fixed window, with a hidden state, and recurrent nets to one text or one table of "
        "numbers, and show how well each predicts and how much of the past it needs.")
    parser.add_argument(
        "file", nargs="?", metavar="FILE",
        help="a UTF-8 text, or a table (.csv, .tsv, .tab; needs pandas) (default: the documentation topics of "
        "this Python)")
    parser.add_argument(
        "--out", default="rnncore-compare",
        help="folder for results (default: %(default)s); a file in it is replaced only if it is an unchanged "
        "file of an earlier run")
    parser.add_argument(
        "--kind", choices=("text", "series"), help="how FILE is read (default: by its extension)")
    parser.add_argument(
        "--columns", metavar="A,B",
        help="columns of a table that are modelled (default: all of numbers that are not time; at most 100)")
    parser.add_argument(
        "--index", metavar="NAME",
        help="the column that says when each row was measured (default: one that looks like it)")
    parser.add_argument(
        "--decimal", choices=(".", ","), help="the decimal sign of a table (default: the one that its numbers show)")
    parser.add_argument(
        "--missing", metavar="MARK", action="append", default=[],
        help="a further mark of missing values in a table; may be given several times")
    parser.add_argument(
        "--limit", type=options.count, default=200_000,
        help="the largest number of steps that are used, from the beginning (default: %(default)s)")
    parser.add_argument(
        "--hidden", type=options.count, help="hidden units of the nets (default: 128, or 32 for a table)")
    parser.add_argument(
        "--epochs", type=options.count,
        help="the largest number of epochs of the nets (default: 15, or 200 for a table)")
    parser.add_argument("--seed", type=options.seed, default=0, help="random seed (default: %(default)s)")
    options.add_threads(parser)


def run(arguments: Namespace) -> int:
    """Run the command; returns the exit status."""
    import numpy as np

    from rnncore.command.compare import measure, report, series
    from rnncore.data import TextError

    options.set_threads(arguments)
    data = series.read(
        arguments.file, columns=arguments.columns, kind=arguments.kind, limit=arguments.limit, index=arguments.index,
        decimal=arguments.decimal, missing=arguments.missing, progress=None)
    out = Path(arguments.out)
    options.claim_folder(out, report.FILES, report.KEYS, arguments.file)
    print(data, flush=True)
    settings = {
        "hidden": arguments.hidden or (32 if data.real else 128),
        "epochs": arguments.epochs or (200 if data.real else 15),
        "seed": arguments.seed,
    }
    missing = {"missing": "mask"} if data.real and np.isnan(data.values).any() else {}
    results, failures, interrupted = [], [], False
    try:
        for result in measure.measure(measure.Split.of(data.values), missing=missing, progress=None, **settings):
            if isinstance(result, measure.Failure):
                failures.append(result)
                continue
            results.append(result)
            print(f"  {report.label(result)}: {result.loss:.4g}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        if not results:
            raise
        interrupted = True
    if not results:
        raise TextError(f"{data.name}: no model can be fitted: {failures[0].reason}")
    print(report.table(results, data, failures), flush=True)
    if interrupted:
        print(f"interrupted after {len(results)} model{'s' * (len(results) > 1)}; the others are not in the table",
              flush=True)
    for path in report.write(out, results, data, settings, failures):
        print(path.resolve())
    return 130 if interrupted else 0
