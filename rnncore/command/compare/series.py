"""A file as one sequence: a text, or the numbers of a CSV table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rnncore.data import Corpus, TextError

if TYPE_CHECKING:
    from rnncore._typing import Floats, PathLike

SHORTEST = 60  # steps: the parts of a shorter sequence would be too short for any result


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
        Columns and steps that were left out, and the reasons.
    """

    values: str | Floats
    name: str
    sha256: str
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def real(self) -> bool:
        """Whether it is a series of real values."""
        return not isinstance(self.values, str)

    def __str__(self) -> str:
        kind = "characters"
        if self.real:
            kind = f"steps of {', '.join(self.columns)}"
        told = [f"{self.name}: {len(self.values):,} {kind}", *self.notes]
        return ", ".join([*told, f"sha256 {self.sha256[:12]}…"])

    def __repr__(self) -> str:
        text = isinstance(self.values, str)
        kind = f"{len(self.values):,} characters" if text else f"values {np.shape(self.values)}"
        return f"Data({kind}, name={self.name!r}, columns={self.columns})"


def read(
    path: PathLike | None = None,
    *,
    columns: Sequence[str] | None = None,
    kind: Literal["text", "series"] | None = None,
    limit: int | None = None,
) -> Data:
    """The text or series of a file; by default the documentation topics of this Python.

    Parameters
    ----------
    path : str or Path, optional
    columns : list of str, optional
        The columns of a table to model; by default the numeric ones except those that only count time.
    kind : {"text", "series"}, optional
        By default files ending in .csv and .tsv are series and all others text.
    limit : int, optional
        The largest number of steps; later ones are left out.

    Raises
    ------
    OSError
        There is no such file, or it cannot be read.
    TextError
        It is empty, binary, not a table, or too short.
    """
    corpus = Corpus.topics(valid_fraction=0) if path is None else Corpus.from_file(
        path, valid_fraction=0)
    text = corpus.decode(corpus.train)
    if kind is None:
        table = path is not None and Path(path).suffix.lower() in (".csv", ".tsv")
        kind = "series" if table else "text"
    if kind == "text":
        if columns:
            raise TextError(f"--columns: {corpus.name} is read as text, which has no columns")
        data = Data(text, corpus.name, corpus.sha256)
    else:
        values, names, notes = table_of(text, corpus.name, columns)
        data = Data(values, corpus.name, corpus.sha256, names, notes)
    total = len(data.values)
    if total < SHORTEST:
        raise TextError(f"{data.name} is too short: {total} steps, expected at least {SHORTEST}")
    if limit is None or total <= limit:
        return data
    return Data(data.values[:limit], data.name, data.sha256, data.columns,
                (*data.notes, f"the first {limit:,} of {total:,}"))


def table_of(
    text: str, name: str, columns: Sequence[str] | None = None
) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """The numbers of a CSV table: ``(values (T, F), column names, notes)``.

    An empty cell is a missing value. A first row that is not all numbers is the header.

    Examples
    --------
    >>> values, names, notes = table_of("year,spots\\n1700,5\\n1701,11\\n1702,\\n", "f.csv")
    >>> values.ravel(), names, notes
    (array([ 5., 11., nan]), ('spots',), ('year left out: it increases by a constant per row',))
    """
    lines = [row for row in csv.reader(io.StringIO(text), _delimiter(text))
             if any(map(str.strip, row))]
    header = bool(lines) and not all(_is_number(cell) for cell in lines[0])
    if not lines[header:]:
        raise TextError(f"{name} has no rows: give a table with a column of numbers")
    names = [cell.strip() or f"column {i + 1}" for i, cell in enumerate(lines[0])] if header else [
        f"column {i + 1}" for i in range(len(lines[0]))]
    rows = lines[header:]
    for number, row in enumerate(rows, start=1 + header):
        if len(row) != len(names):
            raise TextError(f"{name} is not a table: row {number} has {len(row)} cells, the first "
                            f"has {len(names)}")
    if columns:
        unknown = [c for c in columns if c not in names]
        if unknown:
            raise TextError(f"--columns: {name} has no {unknown[0]!r}; it has {', '.join(names)}")
        chosen, notes = [names.index(c) for c in columns], list[str]()
    else:
        chosen, notes = _choose(names, rows)
    values = np.empty((len(rows), len(chosen)))
    for f, column in enumerate(chosen):
        for t, row in enumerate(rows):
            if not _is_number(row[column]):
                raise TextError(f"{name}: {names[column]} at row {t + 1 + header} is "
                                f"{row[column]!r}, expected a number")
            values[t, f] = _number(row[column])
    if not chosen or np.isnan(values).all(axis=0).any() or np.isinf(values).any():
        raise TextError(f"{name} has no column of finite numbers to model; name it with --columns")
    return values, tuple(names[c] for c in chosen), tuple(notes)


def _choose(names: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[int], list[str]]:
    """Numeric columns except those that only count time, and notes on the others."""
    chosen: list[int] = []
    notes: list[str] = []
    for i, name in enumerate(names):
        if not all(_is_number(row[i]) for row in rows):
            notes.append(f"{name} left out: not all numbers")
            continue
        with np.errstate(invalid="ignore"):  # infinities are refused later
            steps = np.diff([_number(row[i]) for row in rows])
        if len(names) > 1 and len(steps) and steps[0] > 0 and np.allclose(steps, steps[0]):
            notes.append(f"{name} left out: it increases by a constant per row")
        else:
            chosen.append(i)
    return chosen, notes


def _delimiter(text: str) -> type[csv.Dialect]:
    """The dialect whose separator is the most frequent one in the first line."""
    first = text.lstrip("\n").split("\n", 1)[0]

    class Dialect(csv.excel):
        delimiter = max(",;\t", key=first.count)

    return Dialect


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    cell = cell.strip()
    return float("nan") if cell in ("", "NA", "NaN", "nan") else float(cell)
