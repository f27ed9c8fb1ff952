"""Options that several commands share, the types of their values, and where results may go."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import io
import json
import math
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

import rnncore
from rnncore.io.files import check_target, is_same, write_bytes


class CommandError(Exception):
    """The user can put it right: one line on stderr, exit status 2."""


def add_text(parser) -> None:
    """The text that a command reads, for `read_text`."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE",
        help="a UTF-8 text file; without one, the documentation topics of this Python",
    )  # fmt: skip


def read_text(path):
    """What `add_text` named, as a `Corpus`."""
    from rnncore.data import Corpus

    return Corpus.topics() if path is None else Corpus.from_file(path)


def add_threads(parser) -> None:
    """The option that all commands share."""
    parser.add_argument("--threads", type=count, help="engine threads (one a processor)")


def set_threads(arguments) -> None:
    """Use what `add_threads` read, and keep numpy's BLAS to one thread."""
    if arguments.threads is not None:
        rnncore.set_num_threads(arguments.threads)
    # numpy's own pool of threads spins between calls, on the processors that ours work on.
    with contextlib.suppress(ImportError):
        importlib.import_module("threadpoolctl").threadpool_limits(1, user_api="blas")


def claim_folder(folder: Path, names: Iterable[str], keys: Iterable[str], source=None) -> None:
    """Make the folder for a command's results, unless what is in it would be lost.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        The files that `write_folder` will write; the first is JSON. They may replace those of an
        earlier run as that left them: the JSON has a digest of each.
    keys : sequence of str
        What that JSON has.
    source : path, optional
        The file that the command reads.
    """
    names = list(names)
    there = [name for name in names if os.path.lexists(folder / name)]
    for name in there:
        if is_same(folder / name, source):
            raise CommandError(f"--out {folder}: {name} there is the file that is read; give another")
    digests = _digests(folder / names[0], set(keys))
    for name in there:
        content = _content(folder / name)
        if content is None or digests.get(name) != _digest(content):
            raise CommandError(
                f"--out {folder}: {name} there was not written by this command, or was changed, and would "
                "be lost; give another folder, or remove it"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        check_target(folder / name)


def write_folder(folder: Path, name: str, values: dict, contents: Mapping[str, bytes]) -> list[Path]:
    """Write results: a JSON file by `name`, which has a digest of each of the others, and those.

    Returns
    -------
    list of Path
        What was written, in order.
    """
    files = {other: _digest(content) for other, content in contents.items()}
    text = json.dumps(values | {"files": files}, indent=1, allow_nan=False) + "\n"
    for one, content in {name: text.encode(), **contents}.items():
        write_bytes(folder / one, content)
    return [folder / one for one in (name, *contents)]


def as_png(figure, dpi: int) -> bytes:
    """A matplotlib figure as the content of a file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    return content.getvalue()


def _digests(path: Path, keys: set[str]) -> dict[str, str]:
    """What the files of an earlier run are known by: the JSON at `path` by its keys, others by it."""
    content = _content(path)
    if content is None:
        return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not (isinstance(found, dict) and keys <= set(found) and isinstance(found["files"], dict)):
        return {}
    return found["files"] | {path.name: _digest(content)}


def _content(path: Path) -> bytes | None:
    """Of a file; None of a link, a folder, a device or a pipe, and of what cannot be read."""
    try:
        return path.read_bytes() if stat.S_ISREG(os.lstat(path).st_mode) else None
    except OSError:
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _number(text: str, kind, fits, expected: str):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")
    return value


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _number(text, int, lambda n: n >= 1, "a whole number of 1 or more")


def whole(text: str) -> int:
    """A whole number of at least 0."""
    return _number(text, int, lambda n: n >= 0, "a whole number of 0 or more")


def seed(text: str) -> int:
    """A seed for PCG64."""
    return _number(text, int, lambda n: 0 <= n < 2**63, "a whole number of 0 or more")


def share(text: str) -> float:
    """A number in [0, 1)."""
    return _number(text, float, lambda p: 0 <= p < 1, "a share, 0 <= share < 1")


def positive(text: str) -> float:
    """A number above 0."""
    return _number(text, float, lambda v: 0 < v < math.inf, "a number above 0")


def temperature(text: str) -> float:
    """A number of at least 0."""
    return _number(text, float, lambda v: 0 <= v < math.inf, "a number of 0 or more")
