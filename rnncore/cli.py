"""The `rnncore` command. What a subcommand needs is imported when it runs, so --help is quick."""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import sys
from pathlib import Path

import rnncore
from rnncore import options

TEXT_HELP = "a UTF-8 text file; without one, the documentation topics of this Python"
# What a new run of `train` has where nothing else is asked for; a resumed one has its own.
TRAIN_DEFAULTS = {
    "cell": "lstm", "hidden": 128, "layers": 1, "dropout": 0.0, "batch": 32, "window": 64,
    "lr": 3e-3, "seed": 0,
}  # fmt: skip
CELL_NAMES = ("rnn-sigmoid", "rnn-tanh", "rnn-relu", "gru", "lstm")
# Held-out characters that are looked at; more would not change the second decimal.
EVALUATED = 2**18


class CommandError(Exception):
    """The user can put it right: one line on stderr, exit status 2."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status.

    0: done. 2: the arguments or a file will not do, said in one line. 130: ended by Ctrl-C.
    """
    arguments = make_parser().parse_args(argv)
    from rnncore.data import TextError
    from rnncore.io.safetensors import DamagedFileError

    if isinstance(sys.stdout, io.TextIOWrapper):  # what a terminal cannot show becomes "?"
        sys.stdout.reconfigure(errors="replace")
    try:
        return arguments.run(arguments) or 0
    except (CommandError, TextError, DamagedFileError, FloatingPointError) as error:
        message = str(error)
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        named = error.filename is not None and error.strerror
        message = f"{error.filename}: {error.strerror}" if named else str(error)
    except KeyboardInterrupt:
        message = "interrupted"
    print(f"rnncore {arguments.command}: {message}", file=sys.stderr)
    return 130 if message == "interrupted" else 2


def make_parser() -> argparse.ArgumentParser:
    """The arguments of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="rnncore",
        description="A recurrent sequence engine for the CPU, with a debugger you look at.",
    )
    parser.add_argument("--version", action="version", version=f"rnncore {rnncore.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    debug = commands.add_parser(
        "debug",
        help="train five cells on a text and show where the gradient of each dies",
        description="Train RNN (sigmoid, tanh, ReLU), GRU and LSTM with the same budget, and "
        "show bits per character and how far back the gradient reaches.",
    )
    debug.add_argument("file", nargs="?", metavar="FILE", help=TEXT_HELP)
    debug.add_argument("--out", default="rnncore-debug", help="folder for the report (%(default)s)")
    debug.add_argument("--seed", type=options.seed, default=0, help="of weights (%(default)s)")
    debug.add_argument("--steps", type=options.count, default=1500, help="updates a cell (%(default)s)")
    debug.add_argument("--hidden", type=options.count, default=128, help="hidden units (%(default)s)")
    options.add_threads(debug)
    debug.set_defaults(run=run_debug)

    train = commands.add_parser(
        "train",
        help="train one model on a text",
        description="Train one model of characters. Ctrl-C ends it after the update it is at and "
        "saves; --resume goes on from there, to the same bits as without the break.",
    )
    train.add_argument("file", nargs="?", metavar="FILE", help=TEXT_HELP)
    default = {name: f"({value})" for name, value in TRAIN_DEFAULTS.items()}
    train.add_argument("--cell", choices=CELL_NAMES, help=default["cell"])
    train.add_argument("--hidden", type=options.count, help=f"hidden units {default['hidden']}")
    train.add_argument("--layers", type=options.count, help=f"layers {default['layers']}")
    train.add_argument("--dropout", type=options.share, help=f"share dropped {default['dropout']}")
    train.add_argument("--steps", type=options.count, default=2000, help="updates in all (%(default)s)")
    train.add_argument("--batch", type=options.count, help=f"rows a batch {default['batch']}")
    train.add_argument("--window", type=options.count, help=f"steps of BPTT {default['window']}")
    train.add_argument("--lr", type=options.positive, help=f"learning rate {default['lr']}")
    train.add_argument("--seed", type=options.seed, help=f"of weights and dropout {default['seed']}")
    train.add_argument("--out", help="checkpoint (model.safetensors, or the one resumed)")
    train.add_argument("--resume", metavar="CHECKPOINT", help="go on from this checkpoint")
    train.add_argument("--every", type=options.count, default=500, help="updates a save (%(default)s)")
    options.add_threads(train)
    train.set_defaults(run=run_train)

    sample = commands.add_parser("sample", help="text from a trained model")
    sample.add_argument("checkpoint", metavar="CHECKPOINT")
    sample.add_argument("--length", type=options.whole, default=500, help="characters (%(default)s)")
    sample.add_argument(
        "--temperature", type=options.temperature, default=1.0, help="0 takes the likeliest (%(default)s)"
    )
    sample.add_argument("--seed", type=options.seed, default=0, help="(%(default)s)")
    sample.add_argument("--prompt", help="text to go on from (a new line)")
    options.add_threads(sample)
    sample.set_defaults(run=run_sample)

    info = commands.add_parser("info", help="CPU, instruction set, threads, version")
    options.add_threads(info)
    info.set_defaults(run=run_info)

    if importlib.util.find_spec("rnncore.compare") is not None:
        from rnncore import compare

        peers = commands.add_parser(
            "compare", help="fixed window, hidden state and nets, side by side"
        )
        compare.add_arguments(peers)
        peers.set_defaults(run=compare.run)
    return parser


def run_debug(arguments) -> int:
    from rnncore import debug

    options.set_threads(arguments)
    corpus = _corpus(arguments.file)
    budget = debug.Budget(
        updates=arguments.steps, hidden_size=arguments.hidden, seed=arguments.seed
    )
    corpus.require(budget.batch_size, budget.window)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    print(corpus, flush=True)
    runs = []
    for run in debug.compare(corpus, budget):
        runs.append(run)
        print(f"  {run.label}: {run.bits_text} bits per character", file=sys.stderr, flush=True)
    print(debug.table(runs), flush=True)
    *_, index = debug.write_report(out, corpus, budget, runs)
    print(f"report: {index.resolve()}")
    return 0


def run_train(arguments) -> int:
    from rnncore.data import batches
    from rnncore.nn import sequence_model
    from rnncore.optim import Adam
    from rnncore.train import Trainer, load_model

    options.set_threads(arguments)
    corpus = _corpus(arguments.file)
    if arguments.resume:
        model, metadata = load_model(arguments.resume)
        chosen = _resumed_options(arguments, corpus, metadata)
    else:
        chosen = {name: getattr(arguments, name) for name in TRAIN_DEFAULTS}
        chosen = {
            name: TRAIN_DEFAULTS[name] if value is None else value
            for name, value in chosen.items()
        }
    out = Path(arguments.out or arguments.resume or "model.safetensors")
    if out.is_dir() or not out.parent.is_dir():
        raise CommandError(f"--out {out}: give a file's name in a folder that exists")
    corpus.require(chosen["batch"], chosen["window"])
    if not arguments.resume:
        model = sequence_model(
            chosen["cell"],
            len(corpus.vocabulary),
            hidden_size=chosen["hidden"],
            num_layers=chosen["layers"],
            dropout=chosen["dropout"],
            seed=chosen["seed"],
        )
    held_out = corpus.valid[:EVALUATED]
    rows = min(chosen["batch"], len(held_out) - 1)
    trainer = Trainer(
        model,
        Adam(model, chosen["lr"]),
        batches(corpus.train, chosen["batch"], chosen["window"]),
        valid=batches(held_out, rows, chosen["window"], drop_last=False),
    )
    if arguments.resume:
        trainer.resume(arguments.resume)
        if arguments.lr is not None:
            trainer.optimiser.lr = arguments.lr
    if trainer.updates >= arguments.steps:
        raise CommandError(
            f"{arguments.resume} has {trainer.updates:,} updates: give --steps more than that"
        )
    print(corpus, flush=True)
    notes = {
        "text": {"name": corpus.name, "sha256": corpus.sha256},
        "vocabulary": corpus.vocabulary,
        "options": chosen,
    }
    trainer.fit(
        arguments.steps - trainer.updates, checkpoint=out, every=arguments.every, notes=notes
    )
    print(
        f"{trainer.updates:,} updates, {trainer.evaluate():.3f} bits per character on "
        f"{len(held_out):,} held-out characters\ncheckpoint: {out.resolve()}"
    )
    return 130 if trainer.interrupted else 0


def run_sample(arguments) -> int:
    from rnncore.sample import sample_text
    from rnncore.train import load_model

    options.set_threads(arguments)
    model, metadata = load_model(arguments.checkpoint)
    vocabulary = (metadata["notes"] or {}).get("vocabulary")
    if vocabulary is None:
        raise CommandError(f"{arguments.checkpoint} has no vocabulary: it is no model of text")
    prompt = arguments.prompt
    if prompt is None:
        prompt = "\n" if "\n" in vocabulary else vocabulary[0]
    pieces = sample_text(
        model,
        vocabulary,
        arguments.length,
        prompt=prompt,
        temperature=arguments.temperature,
        seed=arguments.seed,
    )
    for piece in pieces:
        sys.stdout.write(piece)
    sys.stdout.write("\n")
    sys.stdout.flush()
    return 0


def run_info(arguments) -> int:
    import platform

    import numpy as np

    options.set_threads(arguments)
    build = rnncore.build_info()
    for name, value in (
        ("rnncore", build["version"]),
        ("CPU", _cpu_name()),
        ("instruction set", f"{build['isa']} (of {', '.join(build['isas'])})"),
        ("threads", f"{rnncore.num_threads()} (of {os.cpu_count()} processors)"),
        ("compiler", build["compiler"]),
        ("Python", platform.python_version()),
        ("numpy", np.__version__),
    ):
        print(f"{name + ':':17}{value}")
    return 0


def _corpus(path):
    from rnncore.data import Corpus

    return Corpus.topics() if path is None else Corpus.from_file(path)


def _resumed_options(arguments, corpus, metadata) -> dict:
    """The options of the run that wrote the checkpoint; what is given must not differ."""
    notes = metadata["notes"]
    if notes is None:
        raise CommandError(f"{arguments.resume} was not written by `rnncore train`")
    if notes["text"]["sha256"] != corpus.sha256:
        raise CommandError(
            f"{arguments.resume} was trained on another text ({notes['text']['name']}, sha256 "
            f"{notes['text']['sha256'][:12]}…), not on {corpus.name} ({corpus.sha256[:12]}…)"
        )
    for name, value in notes["options"].items():
        given = getattr(arguments, name)
        if name != "lr" and given is not None and given != value:
            raise CommandError(f"--{name} {given}: {arguments.resume} has {value}; leave it out")
    return notes["options"]


def _cpu_name() -> str:
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
