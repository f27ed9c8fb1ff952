"""The `rnncore` command. What a subcommand needs is imported when it runs, so --help is quick."""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import sys
from pathlib import Path

import rnncore
from rnncore.command import options
from rnncore.command.options import CommandError

TEXT_HELP = "a UTF-8 text file; without one, the documentation topics of this Python"
# What a new run of `train` has where nothing else is asked for; a resumed one has its own.
TRAIN_DEFAULTS = {
    "cell": "lstm", "hidden": 128, "layers": 1, "dropout": 0.0, "batch": 32, "window": 64,
    "lr": 3e-3, "seed": 0,
}  # fmt: skip
CELL_NAMES = ("rnn-sigmoid", "rnn-tanh", "rnn-relu", "gru", "lstm")
# Held-out characters that are looked at; more would not change the second decimal.
EVALUATED = 2**18


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
    debug.add_argument(
        "--out", default="rnncore-debug",
        help="folder for the report (%(default)s); files there that an earlier report did not write, or "
        "that were changed since, are not replaced",
    )  # fmt: skip
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
    train.add_argument(
        "--out",
        help="checkpoint (model.safetensors, or the one resumed); replaces an empty file or a checkpoint "
        "of the same text, no other",
    )
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

    if importlib.util.find_spec("rnncore.command.compare") is not None:
        from rnncore.command import compare

        peers = commands.add_parser(
            "compare", help="fixed window, hidden state and nets, side by side"
        )
        compare.add_arguments(peers)
        peers.set_defaults(run=compare.run)
    return parser


def run_debug(arguments) -> int:
    from rnncore.command import debug

    options.set_threads(arguments)
    corpus = _corpus(arguments.file)
    budget = debug.Budget(
        updates=arguments.steps, hidden_size=arguments.hidden, seed=arguments.seed
    )
    corpus.require(budget.batch_size, budget.window)
    out = Path(arguments.out)
    options.claim_folder(out, debug.FILES, debug.KEYS, arguments.file)
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
    out = Path(arguments.out or arguments.resume or "model.safetensors")
    replaced = _claim_checkpoint(out, arguments)
    corpus = _corpus(arguments.file)
    if replaced and not _is_of_text(out, corpus):
        raise CommandError(
            f"--out {out}: exists, is a checkpoint of something else than {corpus.name} and would be "
            "lost; give another name, or remove it"
        )
    if arguments.resume:
        model, metadata = load_model(arguments.resume)
        notes = _text_notes(arguments.resume, model, metadata)
        chosen = _resumed_options(arguments, corpus, notes)
    else:
        chosen = {name: getattr(arguments, name) for name in TRAIN_DEFAULTS}
        chosen = {
            name: TRAIN_DEFAULTS[name] if value is None else value
            for name, value in chosen.items()
        }
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
        try:
            trainer.resume(arguments.resume)
        except ValueError as error:  # it is of something else than its notes say
            raise CommandError(str(error)) from None
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
    from rnncore.command.sample import sample_text
    from rnncore.train import load_model

    options.set_threads(arguments)
    model, metadata = load_model(arguments.checkpoint)
    vocabulary = _text_notes(arguments.checkpoint, model, metadata)["vocabulary"].text()
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


def _claim_checkpoint(out: Path, arguments) -> bool:
    """Refuse an --out that cannot be written to, or in place of which something would be lost.

    Returns
    -------
    bool
        A checkpoint is there that is not the one resumed: it may be replaced by one of its text.
    """
    from rnncore.io.files import check_target, is_same
    from rnncore.train import is_checkpoint

    if is_same(out, arguments.file):
        raise CommandError(f"--out {out}: this is the text that is read; give another name")
    if out.is_dir() or not out.parent.is_dir():
        raise CommandError(f"--out {out}: give a file's name in a folder that exists")
    there = check_target(out)
    if there is None or there.st_size == 0 or is_same(out, arguments.resume):
        return False  # what is resumed is looked at when it is read
    if not is_checkpoint(out):
        raise CommandError(
            f"--out {out}: exists, is no checkpoint of rnncore and would be lost; give another name, "
            "or remove it"
        )
    return True


def _is_of_text(path, corpus) -> bool:
    """Whether a checkpoint says in its notes that it is of this text."""
    from rnncore.io.fields import DamagedFileError, Field
    from rnncore.io.safetensors import load_metadata

    try:
        return Field(load_metadata(path), path)["notes"]["text"]["sha256"].value == corpus.sha256
    except DamagedFileError:
        return False


def _text_notes(path, model, metadata):
    """The notes of a checkpoint that `train` wrote, with a vocabulary that is the model's."""
    from rnncore.io.fields import Field

    notes = Field(metadata, path)["notes"]
    if not isinstance(notes.value, dict) or "vocabulary" not in notes:
        raise CommandError(f"{path} has no vocabulary: it is no model of text")
    vocabulary = notes["vocabulary"].text()
    tokens = None if model.embedding is None else model.embedding.num_embeddings
    sizes = {tokens, model.head.out_features}
    if model.loss_name != "cross_entropy" or sizes != {len(vocabulary)}:
        raise notes["vocabulary"].refuse("one character for each of the model's tokens")
    if list(vocabulary) != sorted(set(vocabulary)):
        raise notes["vocabulary"].refuse("characters in order, each once")
    return notes


def _resumed_options(arguments, corpus, notes) -> dict:
    """The options of the run that wrote the checkpoint; what is given must not differ."""
    if "text" not in notes or "options" not in notes:
        raise CommandError(f"{arguments.resume} was not written by `rnncore train`")
    name, sha256 = notes["text"]["name"].text(), notes["text"]["sha256"].text()
    if sha256 != corpus.sha256:
        raise CommandError(
            f"{arguments.resume} was trained on another text ({name}, sha256 {sha256[:12]}…), not on "
            f"{corpus.name} ({corpus.sha256[:12]}…)"
        )
    written = notes["options"]
    written.only(TRAIN_DEFAULTS)
    chosen = {
        "cell": written["cell"].text(CELL_NAMES),
        "dropout": written["dropout"].number(0, 1),
        "lr": written["lr"].number(0),
        "seed": written["seed"].whole(),
    } | {name: written[name].whole(1) for name in ("hidden", "layers", "batch", "window")}
    for name, value in chosen.items():
        given = getattr(arguments, name)
        if name != "lr" and given is not None and given != value:
            raise CommandError(f"--{name} {given}: {arguments.resume} has {value}; leave it out")
    return chosen


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
