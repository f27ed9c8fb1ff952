"""``rnncore compare FILE``: which memory does this data need?

    file ─ series.read ─ measure.measure ─ report.table, figure, JSON
           text | CSV    fit, held-out loss, context cut

All models learn from the first 80 % of one sequence, choose (order, states, when to
stop) on the next 10 % and are measured on the last 10 %. Then their context is cut:
what a prediction loses when it may see only the last k steps says how long the model's
memory really is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rnncore.command import options

HELP = "fixed window, hidden state and nets, side by side"


def add_arguments(parser) -> None:
    """The command's arguments."""
    parser.description = (
        "Fit a fixed window, a hidden state and recurrent nets to one text or one table of "
        "numbers, and show what each makes of its past.")
    parser.add_argument(
        "file", nargs="?", metavar="FILE",
        help="a UTF-8 text, or a table (.csv, .tsv); without one, the documentation topics of "
        "this Python")
    parser.add_argument("--out", default="rnncore-compare", help="folder for results (%(default)s); a "
                        "compare.json or .png there that is not an earlier result, or was changed since, is "
                        "not replaced")
    parser.add_argument("--kind", choices=("text", "series"), help="what FILE is (by its ending)")
    parser.add_argument("--columns", metavar="A,B", help="columns of a table (all numeric ones)")
    parser.add_argument("--limit", type=options.count, default=200_000,
                        help="steps that are read, from the beginning (%(default)s)")
    parser.add_argument("--hidden", type=options.count, help="units of the nets (128; 32 for a table)")
    parser.add_argument("--epochs", type=options.count, help="of the nets, at most (15; 200 for a table)")
    parser.add_argument("--seed", type=options.seed, default=0, help="(%(default)s)")
    options.add_threads(parser)


def run(arguments) -> int:
    """Run the command; returns the exit status."""
    import numpy as np

    from rnncore.command.compare import measure, report, series
    from rnncore.data import TextError

    options.set_threads(arguments)
    columns = arguments.columns.split(",") if arguments.columns else None
    data = series.read(arguments.file, columns=columns, kind=arguments.kind, limit=arguments.limit)
    out = Path(arguments.out)
    options.claim_folder(out, report.FILES, report.KEYS, arguments.file)
    print(data, flush=True)
    settings = {
        "hidden": arguments.hidden or (32 if data.real else 128),
        "epochs": arguments.epochs or (200 if data.real else 15),
        "seed": arguments.seed,
    }
    missing = {"missing": "mask"} if data.real and np.isnan(data.values).any() else {}
    results, failures = [], []
    for result in measure.measure(measure.Split.of(data.values), missing=missing, **settings):
        if isinstance(result, measure.Failure):
            failures.append(result)
            continue
        results.append(result)
        print(f"  {report.label(result)}: {result.loss:.4g}", file=sys.stderr, flush=True)
    if not results:
        raise TextError(f"{data.name}: no model can be fitted: {failures[0].reason}")
    print(report.table(results, data, failures), flush=True)
    for path in report.write(out, results, data, settings, failures):
        print(path.resolve())
    return 0
