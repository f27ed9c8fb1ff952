"""Checkpoints of texts: where one may be written, and what it says of its text."""

from __future__ import annotations

from pathlib import Path

from rnncore.command.options import CommandError
from rnncore.data import Corpus
from rnncore.io.fields import DamagedFileError, Field
from rnncore.io.files import check_target, is_same
from rnncore.io.safetensors import load_metadata
from rnncore.nn import SequenceModel
from rnncore.train import is_checkpoint


def claim(out: Path, text, resumed) -> bool:
    """Refuse an --out that cannot be written to, or in place of which something would be lost.

    Parameters
    ----------
    out : Path
    text, resumed : path or None
        The files that are read.

    Returns
    -------
    bool
        A checkpoint is there that is not the one resumed: it may be replaced by one of its text.
    """
    if is_same(out, text):
        raise CommandError(f"--out {out}: this is the text that is read; give another name")
    if out.is_dir() or not out.parent.is_dir():
        raise CommandError(f"--out {out}: give a file's name in a folder that exists")
    there = check_target(out)
    if there is None or there.st_size == 0 or is_same(out, resumed):
        return False  # what is resumed is looked at when it is read
    if not is_checkpoint(out):
        raise CommandError(
            f"--out {out}: exists, is no checkpoint of rnncore and would be lost; give another name, "
            "or remove it"
        )
    return True


def is_of_text(path, corpus: Corpus) -> bool:
    """Whether a checkpoint says in its notes that it is of this text."""
    try:
        return Field(load_metadata(path), path)["notes"]["text"]["sha256"].value == corpus.sha256
    except DamagedFileError:
        return False


def text_notes(path, model: SequenceModel, metadata: dict) -> Field:
    """The notes of a checkpoint that `train` wrote, with a vocabulary that is the model's."""
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
