"""Reading a table: `read_table`."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_size, did_you_mean
from rnncore._progress import progress_bar
from rnncore.data.text import TextError, file_name, open_file

from . import cells, clocks, layout
from .source import Source, load_pandas

if TYPE_CHECKING:
    from rnncore._typing import Array, Floats, PathLike, Progress

CELLS = 2**19       # cells that are converted at once


@dataclass(frozen=True)
class Table:
    """The columns of numbers of a table.

    Attributes
    ----------
    values : ndarray (T, F)
        float64; a missing value is NaN.
    columns : tuple of str
        The names of the F columns.
    name : str
        The file.
    sha256 : str
        The digest of the file, or of `values` if only a part was read.
    index : str
        The column that says when each row was measured, or several, "year with quarter"; empty if there is none.
    times : datetime64 or float64 array (T,), optional
        The time of each row.
    left_out : dict
        The reason for every column that is not in `values`.
    notes : tuple of str
        Other things to know: how cells were read, gaps in time, that the file has more rows.
    complete : bool
        False if the file has more rows than `limit`.

    Examples
    --------
    See `read_table`.
    """

    values: Floats
    columns: tuple[str, ...]
    name: str
    sha256: str
    index: str
    times: Array | None
    left_out: dict[str, str]
    notes: tuple[str, ...]
    complete: bool

    def __repr__(self) -> str:
        return (f"Table({self.name!r}, {len(self.values):,} rows of {', '.join(self.columns):.80}, "
                f"index={self.index!r})")


def read_table(
    path: PathLike,
    *,
    columns: str | Sequence[str] | None = None,
    index: str | None = None,
    limit: int | None = None,
    decimal: str | None = None,
    missing: Sequence[str] = (),
    progress: Progress = False,
) -> Table:
    """Read the columns of numbers of a table in a text file, which needs pandas.

    Separator (comma, semicolon, tab, vertical bar, spaces), header, quotation marks, encoding and decimal sign are
    found in the first rows. Thousands separators, and units that all cells of a column share, are understood. Columns
    that only say when a row was measured are not part of the values; neither are those of text. A column that has one
    cell that is no number, and is not a usual mark of a missing value, is left out with that cell as the reason.

    Parameters
    ----------
    path : path
        A file, or a pipe.
    columns : sequence of str, optional
        The columns that are wanted, in this order; by default all of numbers. A string has names separated by commas.
        Columns that are named here are never left out, but refused if they are no numbers.
    index : str, optional
        The column that says when a row was measured; by default one that looks like it.
    limit : int, optional
        The largest number of rows, from the beginning; no more of the file is read than they need.
    decimal : {".", ","}, optional
        The decimal sign; by default the one that the numbers show.
    missing : sequence of str
        Further cells that mark a missing value, beside empty ones, NA, NULL, "-" and the like.
    progress : bool or callable
        Updated for every block of the file, in bytes.

    Returns
    -------
    Table

    Raises
    ------
    OSError
        There is no such file, or it cannot be read.
    TextError
        It is empty, binary, no table, or has no column of numbers; a column that is asked for is unknown or has text.
    ImportError
        pandas is not installed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from rnncore.data import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "river.csv")
    ...     _ = path.write_text("date;level, m;gauge\\n1.3.2024;1,25;A\\n2.3.2024;n/a;A\\n3.3.2024;1,5;B\\n")
    ...     table = read_table(path)
    >>> table.columns, table.values.ravel(), table.index
    (('level, m',), array([1.25,  nan, 1.5 ]), 'date')
    >>> table.left_out["gauge"]
    "'A' in row 2 is not a number, nor are 2 more cells"
    """
    pandas = load_pandas()
    limit = None if limit is None else as_size(limit, "limit")
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal: got {decimal!r}, expected '.' or ','")
    path, name = Path(path), file_name(Path(path))
    marks = cells.MISSING | {mark.strip() for mark in missing}
    with open_file(path) as file, progress_bar(progress, os.fstat(file.fileno()).st_size, f"reading {path.name}",
                                               leave=False) as bar:
        source = Source(file, name, bar)
        found = layout.find(pandas, source, decimal=decimal, missing=marks)
        wanted = None if columns is None else chosen(columns, found.names, name)
        if index is not None:
            index = chosen([index], found.names, name, "index")[0]
        numbers, dates, rows, complete = _columns(pandas, source, found, name, wanted, index, limit, marks)
        digest = source.sha256() if complete else None
    notes = list(found.notes)
    if source.encoding == "cp1252":
        notes.append("it is not UTF-8 and is read as Windows-1252")
    if not complete:
        notes.append(f"the first {rows:,} rows")
    table = _table(name, found, numbers, dates, wanted, index, digest, notes, complete)
    if not table.columns:
        raise TextError(_nothing(table, found.names))
    return table


def chosen(columns: str | Sequence[str], names: Sequence[str], name: str, option: str = "columns") -> list[str]:
    """The columns that the user asks for; a string has names separated by commas, which may themselves have commas.

    Examples
    --------
    >>> from rnncore.data.tables.read import chosen
    >>> chosen("a, temp, C", ["a", "b", "temp, C"], "f.csv")
    ['a', 'temp, C']
    """
    if isinstance(columns, str):
        pieces = [piece.strip() for piece in next(csv.reader([columns], skipinitialspace=True), [])]
        wanted = []
        while pieces:
            for size in range(len(pieces), 0, -1):      # the longest name that fits
                joined = next((n for n in names if _same(n, pieces[:size])), None)
                if joined is not None or size == 1:
                    wanted.append(pieces[0] if joined is None else joined)
                    del pieces[:size]
                    break
        columns = [name for name in wanted if name]
    columns = list(dict.fromkeys(columns))
    if not columns:
        raise TextError(f"--{option}: got no name, expected some of {', '.join(names):.300}")
    for column in columns:
        if column not in names:
            raise TextError(f"--{option}: {name} has no {column!r}{did_you_mean(column, names)}; it has "
                            f"{', '.join(names):.300}")
    return columns


def _same(name: str, pieces: Sequence[str]) -> bool:
    return [piece.strip() for piece in name.split(",")] == list(pieces)


def _columns(
    pandas: Any, source: Source, found: layout.Layout, name: str, wanted: Sequence[str] | None,
    index: str | None, limit: int | None, marks: frozenset[str],
) -> tuple[dict[str, cells.Column], dict[str, clocks.Dates], int, bool]:
    """All columns of numbers and dates, the number of rows, and whether these are all rows of the file."""
    width = len(found.names)
    numbers: dict[str, cells.Column] = {}
    dates: dict[str, clocks.Dates] = {}
    for column, kind, first in zip(found.names, found.kinds, found.first, strict=True):
        if kind in ("date", "time") and column not in (wanted or ()):
            dates[column] = clocks.Dates(column, first)
        elif kind in ("number", "missing") or column in (wanted or ()) or column == index:
            numbers[column] = cells.Column(column, found.decimal, marks)
    read = {i: found.names[i] for i in range(width) if found.names[i] in numbers or found.names[i] in dates}
    guard = width       # of rows that are too long
    rows, complete = 0, False
    try:
        reader = pandas.read_csv(
            source.lines(found.first_line(width + 1)), names=range(width + 1), usecols=[*read, guard],
            na_values=sorted(marks), dtype={i: str for i in read if read[i] in dates}, iterator=True, low_memory=False,
            **found.options())
        reader.get_chunk(1 + found.skipped)
        size = max(1, CELLS // (width + 1))
        while True:
            ask = size if limit is None else min(size, limit - rows)
            try:
                chunk = reader.get_chunk(max(ask, 1))
            except StopIteration:
                complete = True
                break
            if ask < 1:         # there is a row beyond the limit
                break
            if (long := chunk[guard].notna().to_numpy()).any():
                at = int(np.argmax(long))
                row = rows + at + found.skipped + 1
                raise TextError(f"{name} is not a table: row {row:,} has more cells than there are columns, {width}; "
                                f"the first of them is {str(chunk[guard].iloc[at])!r:.40}")
            for i, column in read.items():
                (dates[column] if column in dates else numbers[column]).add(chunk[i])
            rows += len(chunk)
    except pandas.errors.ParserError as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ")
        raise TextError(f"{name} is not a table: {reason}") from None
    return numbers, dates, rows, complete


def _table(
    name: str, found: layout.Layout, numbers: dict[str, cells.Column], dates: dict[str, clocks.Dates],
    wanted: Sequence[str] | None, index: str | None, digest: str | None, notes: list[str], complete: bool,
) -> Table:
    first_row = found.skipped + 1
    values = {column: each.values() for column, each in numbers.items()}
    times = {column: each.values() for column, each in dates.items()}
    empty = _empty_end([*values.values(), *times.values()])
    if empty:
        notes.append(f"{empty:,} empty row{'s' * (empty > 1)} at the end left out")
        values = {column: each[: len(each) - empty] for column, each in values.items()}
        times = {column: each[: len(each) - empty] for column, each in times.items()}

    problems = {column: problem for column, each in numbers.items() if (problem := each.problem(first_row))}
    for column in wanted or ():
        if column in problems:
            raise TextError(f"{name}: {column}: {problems[column]}")
    usable = {column: each for column, each in values.items()
              if column not in problems and not np.isnan(each).all()}
    good = {column: times[column] for column, each in dates.items() if each.bad is None}
    if index is not None and index not in usable and index not in good:
        raise TextError(f"--index: {name}: {index} has neither numbers nor dates in all rows")
    clock = clocks.find(usable, good, found.names, index=index, first_row=first_row)

    left_out = {}
    for i, column in enumerate(found.names):
        reason = None
        if column in clock.left_out:
            reason = clock.left_out[column]
        elif column in problems:
            reason = problems[column]
        elif column in dates:
            bad = dates[column].bad
            reason = None if bad is None else f"{bad[1]!r:.40} in row {bad[0] + first_row:,} is not a date"
        elif column not in numbers:
            reason = _text(found.first[i], first_row)
        elif column not in usable:
            unused = found.names[i] == f"column {i + 1}" and not any(map(str.strip, found.first[i]))
            reason = "" if unused else "it has no value"    # separators at the end of all rows make no column
        if reason is not None and column not in (wanted or ()):
            left_out[column] = reason
    left_out = {column: reason for column, reason in left_out.items() if reason}
    names = list(wanted) if wanted is not None else [column for column in usable if column not in left_out]
    if wanted is not None:
        left_out = {}       # nobody asked for them
    if not names and len(usable) == 1 and not good and index is None:   # a single column that increases is data
        names = list(usable)
        left_out.pop(names[0])
    for column in names:
        if column in numbers and numbers[column].unit:
            notes.append(f"{column} is in {numbers[column].unit}")
        if column not in usable:
            raise TextError(f"{name}: {column} has no value")
    order = slice(None, None, -1) if clock.reverse else slice(None)
    array: Floats = np.empty((len(next(iter(values.values()), [])), len(names)))
    for i, column in enumerate(names):
        array[:, i] = usable[column][order]
    index_name = " with ".join(clock.columns)
    digest = digest or hashlib.sha256(array.astype("<f8").tobytes()).hexdigest()
    return Table(array, tuple(names), name, digest, index_name, clock.times, left_out, (*notes, *clock.notes), complete)


def _text(column: Sequence[str], first_row: int) -> str:
    """The reason for which a column of text is left out."""
    at = next((i for i, cell in enumerate(column) if cells.kind_of(cell) == "text"), 0)
    more = sum(cells.kind_of(cell) == "text" for cell in column) - 1
    return f"{column[at]!r:.40} in row {at + first_row:,} is not a number{cells.and_more(more)}"


def _empty_end(columns: Sequence[Array]) -> int:
    """How many of the last rows have no value in any column."""
    if not columns or not len(columns[0]):
        return 0
    empty: Any = np.ones(len(columns[0]), bool)
    for each in columns:
        empty &= np.isnan(each) if each.dtype.kind == "f" else np.isnat(each)
    return len(empty) if empty.all() else int(np.argmin(empty[::-1]))


def _nothing(table: Table, names: Sequence[str]) -> str:
    """The error of a table without a column to model."""
    reasons = "; ".join(f"{column} left out: {reason}" for column, reason in list(table.left_out.items())[:5])
    more = len(table.left_out) - 5
    return (f"{table.name} has no column of numbers to model{': ' * bool(reasons)}{reasons}"
            + (f"; and {more:,} more columns" if more > 0 else "") + "; name those that are wanted with --columns")
