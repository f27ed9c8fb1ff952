"""Options that several commands share, the types of their values, and where results may go."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path

import rnncore
from rnncore.io.files import check_target, is_same


class CommandError(Exception):
    """The user can put it right: one line on stderr, exit status 2."""


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
        The files that will be written; the first is JSON. They may replace those of an earlier run,
        which are known by it.
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
    if there and not _has_keys(folder / names[0], set(keys)):
        raise CommandError(
            f"--out {folder}: {there[0]} there was not written by this command and would be lost; "
            "give another folder, or remove it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        check_target(folder / name)


def _has_keys(path: Path, keys: set[str]) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and keys <= set(found)


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
