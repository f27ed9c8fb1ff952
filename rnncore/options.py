"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math

import rnncore


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
