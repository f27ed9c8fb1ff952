"""Options that several commands share, the types of their values, and checks of the folder for results."""

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
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rnncore
from rnncore.io.files import check_target, is_same, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnncore._typing import PathLike
    from rnncore.data import Corpus

Number = TypeVar("Number", int, float)


class CommandError(Exception):
    """An error that the user can correct: one line on stderr, exit status 2."""


def add_text(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the text that a command reads, see `read_text`."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE",
        help="a UTF-8 text file (default: the documentation topics of this Python)",
    )  # fmt: skip


def read_text(path: PathLike | None) -> Corpus:
    """The text that the argument of `add_text` names, as a `Corpus`."""
    from rnncore.data import Corpus

    return Corpus.topics() if path is None else Corpus.from_file(path, progress=None)   # a bar on a terminal


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the option that all commands share."""
    parser.add_argument("--threads", type=count, help="threads of the engine (default: one per processor)")


def set_threads(arguments: argparse.Namespace) -> None:
    """Set the number of threads from the option of `add_threads`, and keep numpy's BLAS to one thread."""
    if arguments.threads is not None:
        rnncore.set_num_threads(arguments.threads)
    # numpy's own pool of threads spins between calls, on the processors that the engine uses.
    with contextlib.suppress(ImportError):
        importlib.import_module("threadpoolctl").threadpool_limits(1, user_api="blas")


def claim_folder(
    folder: Path, names: Iterable[str], keys: Iterable[str], source: PathLike | None = None
) -> None:
    """Make the folder for a command's results, refused if files of other origin would be lost.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        The files that `write_folder` will write; the first is JSON. They may replace the files of an
        earlier run if these are unchanged, which the digests in the JSON show.
    keys : sequence of str
        The entries of that JSON.
    source : path, optional
        The file that the command reads.
    """
    names = list(names)
    there = [name for name in names if os.path.lexists(folder / name)]
    for name in there:
        if is_same(folder / name, source):
            raise CommandError(
                f"--out {folder}: {name} in it is the file that is read; give another folder")
    digests = _digests(folder / names[0], set(keys))
    for name in there:
        content = _content(folder / name)
        if content is None or digests.get(name) != _digest(content):
            raise CommandError(
                f"--out {folder}: {name} in it was not written by this command, or was changed, and would "
                "be lost; give another folder, or remove the file"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        check_target(folder / name)


def write_folder(
    folder: Path, name: str, values: dict[str, Any], contents: Mapping[str, bytes]
) -> list[Path]:
    """Write results: the JSON file `name`, to which the digests of the other files are added, and these.

    Returns
    -------
    list of Path
        The files, in the order in which they were written.
    """
    files = {other: _digest(content) for other, content in contents.items()}
    text = json.dumps(values | {"files": files}, indent=1, allow_nan=False) + "\n"
    for one, content in {name: text.encode(), **contents}.items():
        write_bytes(folder / one, content)
    return [folder / one for one in (name, *contents)]


def as_png(figure: Figure, dpi: int) -> bytes:
    """The content of a PNG file with a matplotlib figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    return content.getvalue()


def _digests(path: Path, keys: set[str]) -> dict[str, str]:
    """Digests of an earlier run's files, by name, from its JSON at `path`; none if that lacks one of the keys."""
    content = _content(path)
    if content is None:
        return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not (isinstance(found, dict) and keys <= set(found) and isinstance(found["files"], dict)):
        return {}
    digests: dict[str, str] = found["files"] | {path.name: _digest(content)}
    return digests


def _content(path: Path) -> bytes | None:
    """The content of a file; None for a link, a folder, a device or a pipe, or if it cannot be read."""
    try:
        return path.read_bytes() if stat.S_ISREG(os.lstat(path).st_mode) else None
    except OSError:
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _number(text: str, kind: Callable[[str], Number], fits: Callable[[Number], bool], expected: str) -> Number:
    try:
        value = kind(text)
    except ValueError:
        pass
    else:
        if fits(value):
            return value
    raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")


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
