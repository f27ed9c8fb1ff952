"""A file as one sequence: a text, or the numbers of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rnncore.command.options import CommandError
from rnncore.data import Corpus, TextError, read_table

if TYPE_CHECKING:
    from rnncore._typing import Floats, PathLike, Progress

SHORTEST = 60  # steps: the parts of a shorter sequence would be too short for any result
MOST_COLUMNS = 100  # modelled unless columns are named: the cost of some models grows with their square, or faster
TABLES = (".csv", ".tsv", ".tab")
SHOWN = 10  # names of columns, and reasons, that are printed


@dataclass(frozen=True)
class Data:
    """One sequence and its source.

    Attributes
    ----------
    values : str or ndarray (T, F)
    name : str
        The file, or a description of the text.
    sha256 : str
    columns : tuple of str
        The F columns' names; none for text.
    notes : tuple of str
        What was left out, and what else to know.
    index : str
        The column that says when each row was measured.
    left_out : dict
        The reason for every column that is not modelled.
    """

    values: str | Floats
    name: str
    sha256: str
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    index: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def real(self) -> bool:
        """Whether it is a series of real values."""
        return not isinstance(self.values, str)

    def __str__(self) -> str:
        kind = f"steps of {_listed(self.columns, ', ')}" if self.real else "characters"
        lines = [f"{self.name}: {len(self.values):,} {kind}, sha256 {self.sha256[:12]}…"]
        if self.index:
            lines.append(f"index: {self.index}")
        reasons = [f"{column} left out: {reason}" for column, reason in self.left_out.items()]
        lines += [_listed(reasons, "\n  ")] if reasons else []
        return "\n  ".join([*lines, *self.notes])

    def __repr__(self) -> str:
        text = isinstance(self.values, str)
        kind = f"{len(self.values):,} characters" if text else f"values {np.shape(self.values)}"
        return f"Data({kind}, name={self.name!r}, columns={self.columns})"


def read(
    path: PathLike | None = None,
    *,
    columns: str | Sequence[str] | None = None,
    kind: Literal["text", "series"] | None = None,
    limit: int | None = None,
    index: str | None = None,
    decimal: str | None = None,
    missing: Sequence[str] = (),
    progress: Progress = False,
) -> Data:
    """The text or series of a file; by default the documentation topics of this Python.

    Parameters
    ----------
    path : str or Path, optional
    columns : sequence of str, or str, optional
        The columns of a table to model; by default those of numbers except what only counts time.
    kind : {"text", "series"}, optional
        By default files ending in .csv, .tsv and .tab are series and all others text.
    limit : int, optional
        The largest number of steps; no more of the file is read than they need.
    index, decimal, missing
        Of a table, see `rnncore.data.read_table`.
    progress : bool or callable
        Updated while the file is read.

    Raises
    ------
    OSError
        There is no such file, or it cannot be read.
    TextError
        It is empty, binary, not a table, or too short.
    """
    if kind is None:
        kind = "series" if path is not None and Path(path).suffix.lower() in TABLES else "text"
    if kind == "text":
        corpus = Corpus.topics(valid_fraction=0) if path is None else Corpus.from_file(
            path, valid_fraction=0, limit=limit, progress=progress)
        for option, given in (("columns", columns), ("index", index), ("decimal", decimal), ("missing", missing)):
            if given:
                raise TextError(f"--{option}: {corpus.name} is read as text, not as a table; give --kind series")
        text = corpus.decode(corpus.train[:limit])
        cut = not corpus.complete or len(text) < len(corpus.train)
        data = Data(text, corpus.name, corpus.sha256, notes=(f"the first {len(text):,} characters",) if cut else ())
    else:
        if path is None:
            raise TextError("--kind series: give a table, the documentation topics are text")
        try:
            table = read_table(path, columns=columns, index=index, limit=limit, decimal=decimal, missing=missing,
                               progress=progress)
        except ImportError as error:
            raise CommandError(str(error)) from None
        if len(table.values) >= SHORTEST:
            kept, reasons, notes = _modelled(table.values, table.columns, named=columns is not None)
            values = table.values if kept == list(range(len(table.columns))) else table.values[:, kept]
            data = Data(values, table.name, table.sha256, tuple(table.columns[i] for i in kept),
                        (*table.notes, *notes), table.index, table.left_out | reasons)
            if not kept:
                raise TextError(f"{data.name} has no column to model: "
                                + _listed([f"{column} left out: {why}" for column, why in data.left_out.items()], "; "))
        else:
            data = Data(table.values, table.name, table.sha256)
    if len(data.values) < SHORTEST:
        limited = f" because of --limit {limit}" if limit is not None and limit < SHORTEST else ""
        steps = f"{len(data.values)} step{'s' * (len(data.values) != 1)}"
        across = data.real and np.shape(data.values)[1] >= SHORTEST
        raise TextError(f"{data.name} is too short: {steps}{limited}, expected at least {SHORTEST}"
                        + ("; if time runs along its columns, exchange rows and columns" if across else ""))
    return data


def _modelled(values: Floats, names: Sequence[str], *, named: bool) -> tuple[list[int], dict[str, str], list[str]]:
    """``(columns that are modelled, reasons for the others, notes)``.

    A model needs values of each column in the training part, in the part for choices and in the held-out part.
    """
    cuts = (0, int(0.8 * len(values)), int(0.9 * len(values)), len(values))
    there = ~np.isnan(values)
    kept: list[int] = []
    reasons: dict[str, str] = {}
    for i, name in enumerate(names):
        given = values[there[:, i], i]
        counts = [int(there[a:b, i].sum()) for a, b in pairwise(cuts)]
        lacking = next((k for k, count in enumerate(counts) if count < (3, 1, 1)[k]), None)
        if lacking is not None:
            part = ("first 80 %", "10 % for choices", "last 10 %")[lacking]
            reasons[name] = f"{'no' if counts[lacking] == 0 else 'fewer than 3'} values in the {part} of the rows"
        elif given.min() == given.max() and not named:
            reasons[name] = f"it is always {given[0]:g}"
        else:
            kept.append(i)
    notes = []
    if len(kept) > MOST_COLUMNS and not named:
        notes.append(f"the first {MOST_COLUMNS} of {len(kept):,} columns are modelled, since the time for some models "
                     "grows with the square of their number; name others, or more, with --columns")
        kept = kept[:MOST_COLUMNS]
    return kept, reasons, notes


def _listed(items: Sequence[str], between: str) -> str:
    """The first items, and how many more there are."""
    more = len(items) - SHOWN
    return between.join([*items[:SHOWN], *([f"and {more:,} more"] if more > 0 else [])])
