"""The layout of a table, found in its first rows: separator, quotation marks, header, decimal sign."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rnncore.data.text import TextError

from .cells import decimal_of, kind_of
from .source import SAMPLE_LINES, Source

SPACES = r"\s+"
MOST_COLUMNS = 100_000


@dataclass(frozen=True)
class Layout:
    """How a table is written.

    Attributes
    ----------
    separator, quote : str
        `quote` is empty if quotation marks have no meaning.
    decimal : str
        "." or ",".
    skipped : int
        Rows before the first one of values: words before the table, the header, units.
    names : tuple of str
        The columns.
    kinds : tuple of str
        What each of them has in the first rows: "number", "date", "text" or "missing".
    first : tuple of tuple of str
        The first cells of each column.
    notes : tuple of str
    """

    separator: str
    quote: str
    decimal: str
    skipped: int
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    first: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def options(self) -> dict[str, Any]:
        """What pandas is told."""
        return _options(self.separator, self.quote) | {"decimal": self.decimal}

    def first_line(self, width: int) -> str:
        """A line of `width` cells: pandas takes the number of columns from the first line."""
        return (" " if self.separator == SPACES else self.separator).join(["0"] * width) + "\n"


def find(pandas: Any, source: Source, *, decimal: str | None, missing: frozenset[str]) -> Layout:
    """The layout of a table.

    Raises
    ------
    TextError
        It has no rows of values, or could be read in two ways.
    """
    name = source.name
    lines = [line for line in re.split(r"\r\n|\r|\n", source.sample) if line.strip()]
    if not lines:
        raise TextError(f"{name} has no rows: give a table with a column of numbers")
    forced, before = None, 0
    if match := re.fullmatch(r'"?sep=(.)"?', lines[0].strip()):    # a line that Excel writes and reads
        forced, before = match[1], 1
    while before < len(lines) - 1 and _comment(lines[before]) and _comment(lines[before + 1]):
        before += 1
    quote = _quote(lines[before:])
    rows, separator, cut = _split(pandas, source.sample, before, forced, quote, missing)
    while cut and source.grow():        # a cell in quotation marks may have many lines
        rows, separator, cut = _split(pandas, source.sample, before, forced, quote, missing)
    if cut:
        quote = ""
        rows, separator, _ = _split(pandas, source.sample, before, forced, quote, missing)
    if not rows:
        raise TextError(f"{name} is not a table: its first lines cannot be split into cells")
    return _layout(rows, before, separator, quote, name, decimal, missing)


def _comment(line: str) -> bool:
    return line.lstrip().startswith(("#", "%", "//"))


def _options(separator: str, quote: str) -> dict[str, Any]:
    quoting = {"quotechar": quote} if quote else {"quoting": 3}     # csv.QUOTE_NONE
    return {"sep": separator, "header": None, "engine": "c", "keep_default_na": False, "skipinitialspace": True,
            "skip_blank_lines": True, **quoting}


def _quote(lines: Sequence[str]) -> str:
    """The quotation mark: the single one only where cells begin and end with it, and the double one nowhere."""
    text = "\n".join(lines[:20])
    single = len(re.findall(r"(?:^|[,;\t| ])'[^']*'(?=$|[,;\t| ])", text, re.MULTILINE))
    return "'" if single and '"' not in text else '"'


def _split(
    pandas: Any, sample: str, before: int, forced: str | None, quote: str, missing: frozenset[str]
) -> tuple[list[list[str]], str, bool]:
    """``(rows of cells, separator, cut)`` with the separator that gives the most cells with numbers and dates.

    `cut` says that the sample ends within a quotation.
    """
    lines = re.split(r"\r\n|\r|\n", sample)
    best: tuple[tuple[float, int], list[list[str]], str] = (-1.0, 0), [], forced or ","
    cut = False
    for separator in [forced] if forced else [",", ";", "\t", "|", SPACES]:
        width = 1 + max(len(line.split()) if separator == SPACES else line.count(separator) for line in lines)
        if width > MOST_COLUMNS or (width == 1 and separator not in ",;" and not forced):
            continue
        head = (" " if separator == SPACES else separator).join(["0"] * width) + "\n"
        try:
            table = pandas.read_csv(
                io.StringIO(head + sample, newline=""), names=range(width), usecols=range(width), dtype=str,
                na_filter=False, nrows=SAMPLE_LINES + 1, **_options(separator, quote))
        except pandas.errors.ParserError as error:
            cut = cut or "inside string" in str(error)
            continue
        rows = [_stripped(row) for row in table.astype(object).fillna("").to_numpy().tolist()[1 + before:]]
        score = _score(rows, missing)
        if score > best[0]:
            best = score, rows, separator
    return best[1], best[2], cut


def _stripped(row: Sequence[object]) -> list[str]:
    """The cells up to the last one that is not empty."""
    found = [str(cell).strip() for cell in row]
    while found and not found[-1]:
        found.pop()
    return found


def _score(rows: Sequence[Sequence[str]], missing: frozenset[str]) -> tuple[float, int]:
    """How well a separator suits: the share of cells with numbers and dates in rows of equal length, and columns."""
    body = [row for row in rows[1:] or rows if row][-100:]
    if not body:
        return 0.0, 0
    usual, count = Counter(map(len, body)).most_common(1)[0]
    given = [kind for row in body[:: max(1, len(body) // 20)] for cell in row[:200]
             if (kind := kind_of(cell, missing)) != "missing"]
    good = sum(kind != "text" for kind in given) / max(len(given), 1)
    # A header that is shorter than the rows, and 12,05 in two cells, speak for a decimal comma instead of a separator.
    other = 0.9 if len(rows[0]) < usual or (usual == 2 and _broken(body)) else 0.95 if usual == 1 else 1.0
    return round(other * good * count / len(body), 2), usual


def _broken(rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows of two cells may be single numbers with a decimal comma: some part has a zero too many."""
    joined = [",".join(row) for row in rows]
    return (all(re.fullmatch(r"[+-]?\d+,\d+", cell) for cell in joined)
            and any(re.fullmatch(r"[+-]0,\d+|[+-]?\d+,0\d+", cell) for cell in joined))


def _layout(
    rows: list[list[str]], before: int, separator: str, quote: str, name: str, decimal: str | None,
    missing: frozenset[str],
) -> Layout:
    notes = []
    usual = Counter(map(len, rows)).most_common(1)[0][0]
    start = 0       # words before the table are in rows that are much shorter
    while usual > 1 and start < len(rows) - 1 and len(rows[start]) <= usual // 2 and \
            all(kind_of(cell, missing) == "text" for cell in rows[start][:1]):
        start += 1
    if before + start:
        rows_before = "row is" if before + start == 1 else f"{before + start} rows are"
        notes.append(f"the first {rows_before} before the table")
    table = rows[start:]
    usual = Counter(map(len, table[1:] or table)).most_common(1)[0][0]
    width = max(usual, len(table[0]))
    if not width:
        raise TextError(f"{name} has no rows: give a table with a column of numbers")
    heads, kinds = _heads(table, width, missing)
    body = table[len(heads):]
    if not body:
        raise TextError(f"{name} has no rows below its header: give a table with a column of numbers")
    if len(heads) > 1:
        notes.append(f"{len(heads) - 1} row{'s' * (len(heads) > 2)} below the header left out: no numbers")
    named = [cell.lstrip("#% ") if i == 0 else cell for i, cell in enumerate(heads[0])] if heads else []
    if heads and usual == len(named) + 1 and _row_names([row[0] for row in body if row]):
        named = ["row", *named]         # as R writes it: the names of rows have no header
    first = tuple(tuple(row[i] for row in body if i < len(row)) for i in range(width))
    doubtful = None
    if decimal is None:
        decimal, doubtful = decimal_of((cell for column in first for cell in column), separator)
    if doubtful and separator not in ",;":
        raise TextError(f"{name}: {doubtful!r} could be {doubtful.replace(',', '.')} or {doubtful.replace(',', '')}: "
                        "name the decimal sign with --decimal , or --decimal .")
    if doubtful:
        read = doubtful.replace(",", "" if decimal == "." else ".")
        notes.append(f"{doubtful!r} is read as {read}; if that is wrong, give --decimal {'.,'.replace(decimal, '')}")
    return Layout(separator, quote, decimal, before + start + len(heads), _unique(named, width), tuple(kinds), first,
                  tuple(notes))


def _row_names(column: Sequence[str]) -> bool:
    """Whether a column's cells may be names of rows: words, or whole numbers that count them."""
    if all(re.fullmatch(r"\d+", cell) for cell in column):
        return all(int(b) - int(a) == 1 for a, b in pairwise(column))
    return sum(kind_of(cell) == "number" for cell in column) < len(column) / 2


def _heads(table: Sequence[Sequence[str]], width: int, missing: frozenset[str]) -> tuple[list[list[str]], list[str]]:
    """The rows above the values, and the kind of each column below them."""
    below = table[1:] if len(table) > 1 else table
    below = below[:: 1 + len(below) * width // 100_000]     # of a wide table fewer rows
    kinds = [_kind([row[i] for row in below if i < len(row)], missing) for i in range(width)]
    heads: list[list[str]] = []
    for row in table[:4]:
        found = [(kind, kind_of(cell, missing)) for kind, cell in zip(kinds, row, strict=False)]
        words = sum(kind in ("number", "date", "time") and cell == "text" for kind, cell in found)
        values = sum(kind in ("number", "date", "time") and cell in ("number", "date", "time") for kind, cell in found)
        if heads and not (words and not values):
            break
        header = words > 0 or (values > 0 and _years(row)) or (not values and _text(found))
        if not heads and not header:
            break
        heads.append(list(row))
        if len(heads) == len(table):
            break
    if len(heads) > 1:
        kinds = [_kind([row[i] for row in table[len(heads):] if i < len(row)], missing) for i in range(width)]
    return heads, kinds


def _text(found: Sequence[tuple[str, str]]) -> bool:
    """Whether a first row without values is a header: it has a word in every column that has any."""
    return all(cell != "missing" for kind, cell in found if kind != "missing")


def _years(row: Sequence[str]) -> bool:
    """Whether a row is words and then years, one after the other: the header of a table with a column for a year."""
    numbers = [int(cell) for cell in row if re.fullmatch(r"\d{4}", cell)]
    steps = {b - a for a, b in pairwise(numbers)}
    return (len(numbers) > 2 and len(steps) == 1 and min(steps) > 0 and 1500 < numbers[0] < 2300
            and kind_of(row[0]) == "text")


def _kind(column: Sequence[str], missing: frozenset[str]) -> str:
    kinds = Counter(kind for cell in column if (kind := kind_of(cell, missing)) != "missing")
    return kinds.most_common(1)[0][0] if kinds else "missing"


def _unique(named: Sequence[str], width: int) -> tuple[str, ...]:
    """A name for each of `width` columns, no two alike."""
    names: list[str] = []
    for i in range(width):
        cell = named[i].strip() if i < len(named) else ""
        base = name = cell or f"column {i + 1}"
        again = 1
        while name in names:
            again += 1
            name = f"{base} ({again})"
        names.append(name)
    return tuple(names)
