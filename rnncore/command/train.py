"""`rnncore train`: trains one model of the characters of a text."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from rnncore.command import options
from rnncore.recurrent.descriptions import CELLS, named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rnncore.data import Corpus
    from rnncore.io.fields import Field
    from rnncore.nn import SequenceModel
    from rnncore.train import Trainer


class Options(TypedDict):
    """The options of a run, which its checkpoints keep."""

    cell: str
    hidden: int
    layers: int
    dropout: float
    batch: int
    window: int
    lr: float
    seed: int


HELP = "train one model on a text"
# The options of a new run if they are not given; a resumed run has those of its checkpoint.
DEFAULTS: Options = {
    "cell": "lstm", "hidden": 128, "layers": 1, "dropout": 0.0, "batch": 32, "window": 64,
    "lr": 3e-3, "seed": 0,
}  # fmt: skip
# Held-out characters that are evaluated; more would not change the second decimal.
EVALUATED = 2**18


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Train one model of characters. Ctrl-C ends training after the current update and saves a checkpoint; "
        "--resume continues from a checkpoint, with the same bits as without the interruption."
    )
    options.add_text(parser)
    default = {name: f"(default: {value})" for name, value in DEFAULTS.items()}
    parser.add_argument("--cell", type=_cell, help=f"one of {', '.join(CELLS)} {default['cell']}")
    parser.add_argument("--hidden", type=options.count, help=f"hidden units {default['hidden']}")
    parser.add_argument("--layers", type=options.count, help=f"number of layers {default['layers']}")
    parser.add_argument(
        "--dropout", type=options.share, help=f"probability of dropout {default['dropout']}"
    )
    parser.add_argument(
        "--steps", type=options.count, default=2000,
        help="updates in total, those before --resume included (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--batch", type=options.count, help=f"batch size {default['batch']}")
    parser.add_argument(
        "--window", type=options.count,
        help=f"steps of truncated back-propagation through time {default['window']}",
    )  # fmt: skip
    parser.add_argument("--lr", type=options.positive, help=f"learning rate {default['lr']}")
    parser.add_argument(
        "--seed", type=options.seed, help=f"random seed of weights and dropout {default['seed']}"
    )
    parser.add_argument(
        "--out",
        help="checkpoint to write (default: the resumed one, or model.safetensors); an existing file is "
        "replaced only if it is empty or a checkpoint of the same text",
    )
    parser.add_argument("--resume", metavar="CHECKPOINT", help="checkpoint to continue from")
    parser.add_argument(
        "--every", type=options.count, default=500, help="save every N updates (default: %(default)s)",
        metavar="N",
    )  # fmt: skip
    options.add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    from rnncore.command import text_model

    options.set_threads(arguments)
    out = Path(arguments.out or arguments.resume or "model.safetensors")
    replaced = text_model.claim(out, arguments.file, arguments.resume)
    corpus = options.read_text(arguments.file)
    if replaced and not text_model.is_of_text(out, corpus):
        raise options.CommandError(
            f"--out {out}: exists, is not a checkpoint of {corpus.name} and would be lost; give another "
            "name, or remove it"
        )
    trainer, chosen = _resumed(arguments, corpus) if arguments.resume else _begun(arguments, corpus)
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
        f"{len(_held_out(corpus)):,} held-out characters\ncheckpoint: {out.resolve()}"
    )
    return 130 if trainer.interrupted else 0


def _cell(text: str) -> str:
    """The name of a cell, checked by `rnncore.recurrent.descriptions.named`."""
    try:
        return named(text).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("cell: ")) from None


def _begun(arguments: argparse.Namespace, corpus: Corpus) -> tuple[Trainer, Options]:
    """The trainer of a new run, and its options."""
    from rnncore.nn import sequence_model

    given = {name: getattr(arguments, name) for name in DEFAULTS}
    chosen = cast(Options, DEFAULTS | {name: value for name, value in given.items() if value is not None})
    corpus.require(chosen["batch"], chosen["window"])
    model = sequence_model(
        chosen["cell"],
        len(corpus.vocabulary),
        hidden_size=chosen["hidden"],
        num_layers=chosen["layers"],
        dropout=chosen["dropout"],
        seed=chosen["seed"],
    )
    return _trainer(model, corpus, chosen), chosen


def _resumed(arguments: argparse.Namespace, corpus: Corpus) -> tuple[Trainer, Options]:
    """The trainer of a run that continues from a checkpoint, and its options."""
    from rnncore.command import text_model
    from rnncore.train import load_model

    model, metadata = load_model(arguments.resume)
    notes = text_model.text_notes(arguments.resume, model, metadata)
    chosen = _resumed_options(arguments, corpus, notes)
    corpus.require(chosen["batch"], chosen["window"])
    trainer = _trainer(model, corpus, chosen)
    try:
        trainer.resume(arguments.resume)
    except ValueError as error:  # the checkpoint differs from its own notes
        raise options.CommandError(str(error)) from None
    if arguments.lr is not None:
        trainer.optimiser.lr = arguments.lr
    if trainer.updates >= arguments.steps:
        raise options.CommandError(
            f"{arguments.resume} has {trainer.updates:,} updates: give --steps more than that"
        )
    return trainer, chosen


def _trainer(model: SequenceModel, corpus: Corpus, chosen: Options) -> Trainer:
    from rnncore.data import batches
    from rnncore.optim import Adam
    from rnncore.train import Trainer

    held_out = _held_out(corpus)
    rows = min(chosen["batch"], len(held_out) - 1)
    return Trainer(
        model,
        Adam(model, chosen["lr"]),
        batches(corpus.train, chosen["batch"], chosen["window"]),
        valid=batches(held_out, rows, chosen["window"], drop_last=False),
    )


def _held_out(corpus: Corpus) -> NDArray[np.int32]:
    return corpus.valid[:EVALUATED]


def _resumed_options(arguments: argparse.Namespace, corpus: Corpus, notes: Field) -> Options:
    """The options of the run that wrote the checkpoint; those that are given must not differ, except --lr."""
    if "text" not in notes or "options" not in notes:
        raise options.CommandError(f"{arguments.resume} was not written by `rnncore train`")
    name, sha256 = notes["text"]["name"].text(), notes["text"]["sha256"].text()
    if sha256 != corpus.sha256:
        raise options.CommandError(
            f"{arguments.resume} was trained on another text ({name}, sha256 {sha256[:12]}…), not on "
            f"{corpus.name} ({corpus.sha256[:12]}…)"
        )
    written = notes["options"]
    written.only(DEFAULTS)
    chosen: Options = {
        "cell": written["cell"].text(CELLS),
        "dropout": written["dropout"].number(0, 1),
        "lr": written["lr"].number(0),
        "seed": written["seed"].whole(),
        "hidden": written["hidden"].whole(1),
        "layers": written["layers"].whole(1),
        "batch": written["batch"].whole(1),
        "window": written["window"].whole(1),
    }
    for name, value in chosen.items():
        given = getattr(arguments, name)
        if name != "lr" and given is not None and given != value:
            raise options.CommandError(f"--{name} {given}: {arguments.resume} has {value}; leave it out")
    return chosen
