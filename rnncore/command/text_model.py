"""Checkpoints of models of text: checks of the file to write, and the notes on the text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnncore.command.options import CommandError
from rnncore.data import Corpus
from rnncore.io.fields import DamagedFileError, Field
from rnncore.io.files import check_target, is_same
from rnncore.io.safetensors import load_metadata
from rnncore.nn import SequenceModel
from rnncore.train import is_checkpoint

if TYPE_CHECKING:
    from rnncore._typing import PathLike


def claim(out: Path, text: PathLike | None, resumed: PathLike | None) -> bool:
    """Refuse an --out that cannot be written to, or that would replace a file of other origin.

    Parameters
    ----------
    out : Path
    text, resumed : path or None
        The files that are read.

    Returns
    -------
    bool
        Whether `out` is a checkpoint other than the resumed one: it may be replaced if it is of the same text.
    """
    if is_same(out, text):
        raise CommandError(f"--out {out}: this is the text that is read; give another name")
    if out.is_dir() or not out.parent.is_dir():
        raise CommandError(f"--out {out}: give a file's name in a folder that exists")
    there = check_target(out)
    if there is None or there.st_size == 0 or is_same(out, resumed):
        return False  # the resumed checkpoint is checked when it is read
    if not is_checkpoint(out):
        raise CommandError(
            f"--out {out}: exists, is not a checkpoint of rnncore and would be lost; give another name, "
            "or remove it"
        )
    return True


def is_of_text(path: PathLike, corpus: Corpus) -> bool:
    """Whether the notes of a checkpoint have the digest of this text."""
    try:
        return bool(Field(load_metadata(path), path)["notes"]["text"]["sha256"].value == corpus.sha256)
    except DamagedFileError:
        return False


def text_notes(path: PathLike, model: SequenceModel, metadata: dict[str, Any]) -> Field:
    """The notes of a checkpoint that `train` wrote, refused unless their vocabulary suits the model."""
    notes = Field(metadata, path)["notes"]
    if not isinstance(notes.value, dict) or "vocabulary" not in notes:
        raise CommandError(f"{path} has no vocabulary: it is not a model of text")
    vocabulary = notes["vocabulary"].text()
    tokens = None if model.embedding is None else model.embedding.num_embeddings
    sizes = {tokens, model.head.out_features}
    if model.loss_name != "cross_entropy" or sizes != {len(vocabulary)}:
        raise notes["vocabulary"].refuse("one character for each of the model's tokens")
    if list(vocabulary) != sorted(set(vocabulary)):
        raise notes["vocabulary"].refuse("characters in order, each once")
    return notes
