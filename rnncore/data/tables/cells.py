"""Cells of a table as numbers: marks of missing values, decimal signs, thousands, units.

pandas converts plain numbers; what it leaves as text comes here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Array, Bools, Floats

Kind = Literal["missing", "number", "date", "time", "text"]

_WORDS = ("na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "-nan", "1.#qnan", "-1.#ind", "null", "(null)", "#null!",
          "none", "nil", "missing", "#div/0!", "#value!", "#ref!", "#num!", "#name?")
_SIGNS = ("", "-", "--", "---", "–", "—", ".", "..", "...", "…", "?", "*", ":")
# What stands for a missing value, as other programs and statistical offices write it.
MISSING = frozenset(_SIGNS) | {"NaN", "-NaN", "NaT"} | {
    form(word) for word in _WORDS for form in (str, str.upper, str.title, str.capitalize)}

_SPACES = " \u00a0\u202f\u2009'’"      # between thousands, beside the comma and the point
_CURRENCY = "$€£¥₹₩₽¢"
_CODES = "USD|EUR|GBP|CHF|JPY|CNY|INR|RUB|BRL|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|TRY|ZAR|MXN|KRW"
_AFFIX = re.compile(
    rf"(?P<open>\()?(?P<before>[{_CURRENCY}]|{_CODES})?\s*(?P<number>[+−-]?\s*[{_CURRENCY}]?[\d.,]"
    rf"[\d.,{_SPACES}]*(?:[eEdD][+−-]?\d+)?)\s*(?P<after>%|‰|[{_CURRENCY}]|[A-Za-zµ°Ωμ][A-Za-zµ°Ωμ/²³·^*-]{{0,9}})?(?P<close>\))?")
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?")
_EXPONENT = r"(?:[eEdD][+-]?\d+)?"
_GROUPED = {
    sign: re.compile(rf"[1-9]\d{{0,2}}([{group}])\d{{3}}(?:\1\d{{3}})*(?:[{sign}]\d*)?|"
                     rf"(?:\d+(?:[{sign}]\d*)?|[{sign}]\d+){_EXPONENT}")
    for sign, group in ((".", "," + _SPACES), (",", "." + _SPACES))}
_INFINITE = re.compile(r"[+-]?(inf|infinity)", re.IGNORECASE)

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[ap]m)?"
_ZONE = r"(?: ?(?:z|utc|gmt|[+-]\d{2}:?\d{2}))?"
_DAY = (rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{4}}[-/]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:\d{{4}}|\d{{2}})|"
        rf"(?:[a-z]{{3,9}},? )?(?:\d{{1,2}}[- /.]*{_MONTH}[- /,.]*(?:\d{{4}}|\d{{2}})|"
        rf"{_MONTH}[- /.,]*\d{{1,2}}[- /,]+\d{{4}}|"
        rf"{_MONTH}[- /,]*(?:\d{{4}}|\d{{2}})|\d{{4}}[- /.]?{_MONTH}(?:[- /.]?\d{{1,2}})?)")
_DATE = re.compile(rf"(?:{_DAY})(?:[t ,]+{_CLOCK})?{_ZONE}", re.IGNORECASE)
_COMPACT = re.compile(r"\d{8}t\d{4,6}" + _ZONE, re.IGNORECASE)
_PERIOD = re.compile(r"(\d{4}) ?[-:./_]? ?([qmw])? ?(\d{1,2})|([qm])(\d{1,2})[- /.]?(\d{4})", re.IGNORECASE)
_TIME = re.compile(_CLOCK, re.IGNORECASE)


class Parsed(NamedTuple):
    """A cell as a number, with its unit ("" for none)."""

    value: float
    unit: str


def parse(cell: str, decimal: str) -> Parsed | None:
    """The number of a cell, None if it is not one; infinity where the cell says so or is beyond the type.

    Examples
    --------
    >>> from rnncore.data.tables.cells import parse
    >>> parse("1.234,5", ","), parse("($1,200)", "."), parse("12 %", "."), parse("1,2", ".")
    (Parsed(value=1234.5, unit=''), Parsed(value=-1200.0, unit='$'), Parsed(value=12.0, unit='%'), None)
    """
    cell = cell.strip()
    if _PLAIN.fullmatch(cell) and (decimal == "." or "." not in cell):
        return Parsed(_float(cell), "")
    if _INFINITE.fullmatch(cell):
        return Parsed(float(cell), "")
    if cell.lower() in ("true", "false"):
        return Parsed(float(cell.lower() == "true"), "")
    found = _AFFIX.fullmatch(cell)
    if not found or bool(found["open"]) != bool(found["close"]):
        return None
    number = found["number"].replace("−", "-").strip()
    sign = "-" if found["open"] or number.startswith("-") else ""
    number = number.lstrip("+- ")
    unit = (found["before"] or "").strip() + (found["after"] or "")
    if number[:1] in _CURRENCY:
        unit, number = number[0] + unit, number[1:].strip()
    if not _GROUPED[decimal].fullmatch(number):
        return None
    group = ",.".replace(decimal, "") + _SPACES
    return Parsed(_float(sign + number.translate(dict.fromkeys(map(ord, group))).replace(decimal, ".")), unit)


def _float(number: str) -> float:
    return float(number.replace("D", "e").replace("d", "e"))


def kind_of(cell: str, missing: Iterable[str] = MISSING) -> Kind:
    """What a cell is, with either decimal sign."""
    cell = cell.strip()
    if cell in missing:
        return "missing"
    if _PLAIN.fullmatch(cell):
        return "number"
    if _TIME.fullmatch(cell):
        return "time"
    if _DATE.fullmatch(cell) or _COMPACT.fullmatch(cell) or is_period(cell):
        return "date"
    return "number" if parse(cell, ".") or parse(cell, ",") else "text"


def is_period(cell: str) -> bool:
    """Whether a cell is a quarter, a month or a week of a year, such as 1959Q1, 1959:1, 1959M12 or 1959-W01."""
    found = _PERIOD.fullmatch(cell)
    if not found:
        return False
    letter, number = (found[2] or "", found[3]) if found[1] else (found[4], found[5])
    if not letter and ":" not in cell:
        return False            # a number
    return 1 <= int(number) <= {"q": 4, "w": 53}.get(letter.lower(), 12)


def months_of(cell: str) -> float:
    """A quarter or month of a year as months since year 0, a week as weeks; NaN for another cell."""
    found = _PERIOD.fullmatch(cell.strip())
    if not found or not is_period(cell.strip()):
        return np.nan
    if found[1]:
        year, letter, number = int(found[1]), (found[2] or "").lower(), int(found[3])
    else:
        year, letter, number = int(found[6]), found[4].lower(), int(found[5])
    per_year = {"q": 4, "w": 52}.get(letter, 12)
    return year * per_year + min(number, per_year) - 1


def decimal_of(cells: Iterable[str], separator: str) -> tuple[str, str | None]:
    """``(decimal sign, a cell that could be read both ways)``; None if no cell could.

    A comma before three digits may separate thousands or be the decimal sign. The cells of the whole table decide;
    if none of them does, it is the decimal sign only where semicolons separate the columns, as they do in the countries
    that write decimal commas.
    """
    cells = list(cells)
    if not any("," in cell or cell.count(".") > 1 for cell in cells):
        return ".", None
    votes, doubtful = {".": 0, ",": 0}, None
    for cell in cells[:: 1 + len(cells) // 20_000]:
        found = _AFFIX.fullmatch(cell.strip())
        if not found or not ("," in cell or "." in cell) or kind_of(cell) in ("date", "time"):
            continue
        number = found["number"].strip(_CURRENCY + " +-−")
        signs = [c for c in number if c in ",."]
        last = signs[-1] if signs else ""
        other = "," if last == "." else "."
        head, _, tail = number.rpartition(last) if last else (number, "", "")
        digits = re.match(r"\d*", tail)
        if len(set(signs)) == 2:
            votes[last] += 1
        elif len(signs) > 1:
            votes[other] += 1
        elif last and (len(head) != len(head.lstrip("0")) or not 1 <= len(head) <= 3
                       or digits is None or len(digits[0]) != 3):
            votes[last] += 1
        elif last == ",":
            doubtful = doubtful or cell.strip()
    if votes[","] or votes["."]:
        return ("," if votes[","] > votes["."] else "."), None
    return ("," if doubtful and separator == ";" else "."), doubtful


def and_more(count: int) -> str:
    """The end of a sentence about a cell that is not a number, if `count` other cells are none either."""
    return "" if count < 1 else f", nor {'is 1 more cell' if count == 1 else f'are {count:,} more cells'}"


class Column:
    """One column's cells as numbers, block by block, and what was in the way.

    Attributes
    ----------
    name : str
    bad : (row, cell) or None
        The first cell that is no number, counted from 0.
    n_bad : int
        The number of such cells.
    """

    def __init__(self, name: str, decimal: str, missing: frozenset[str]) -> None:
        self.name, self._decimal, self._missing = name, decimal, missing
        self._parts: list[Floats] = []
        self._rows = 0
        self.bad: tuple[int, str] | None = None
        self.n_bad = 0
        self.infinite: tuple[int, str] | None = None
        self.units: dict[str, int] = {}     # the row in which each is met first

    def add(self, block: Any) -> None:
        """Convert the next block, a pandas Series."""
        values = block.to_numpy()
        if values.dtype.kind in "iufb":
            values = values.astype(np.float64)
            if "" not in self.units and (there := ~np.isnan(values)).any():
                self.units[""] = self._rows + int(np.argmax(there))
        else:
            values = self._from_text(block)
        if self.infinite is None and (infinite := np.isinf(values)).any():
            at = int(np.argmax(infinite))
            self.infinite = self._rows + at, str(block.iloc[at])
        self._parts.append(values)
        self._rows += len(values)

    def _from_text(self, block: Any) -> Floats:
        """The same for cells that pandas left as text, or as objects."""
        codes, cells = block.factorize()
        table, bad = np.full(len(cells) + 1, np.nan), np.zeros(len(cells) + 1, bool)
        first: Array = np.full(len(cells) + 1, len(codes))
        np.minimum.at(first, codes, np.arange(len(codes)))
        for i, cell in enumerate(map(str, cells)):
            if cell.strip() in self._missing:
                continue
            found = parse(cell, self._decimal)
            if found is None:
                bad[i] = True
            else:
                table[i] = found.value
                self.units.setdefault(found.unit, self._rows + int(first[i]))
        wrong: Bools = bad[codes]
        if wrong.any():
            at = int(np.argmax(wrong))
            self.bad = self.bad or (self._rows + at, str(block.iloc[at]))
            self.n_bad += int(wrong.sum())
        numbers: Floats = table[codes]
        return numbers

    def values(self) -> Floats:
        """All values, NaN where one is missing or no number."""
        self._parts = [np.concatenate([np.empty(0), *self._parts])]
        return self._parts[0]

    def problem(self, first_row: int) -> str | None:
        """Why these are not the numbers of one quantity, in words; rows of the file are counted from `first_row`."""
        if self.bad is not None:
            row, cell = self.bad
            other = ".,".replace(self._decimal, "")
            why = f" with the decimal sign {self._decimal!r}" if parse(cell, other) else ""
            return f"{cell!r:.40} in row {row + first_row:,} is not a number{why}{and_more(self.n_bad - 1)}"
        if self.infinite is not None:
            row, cell = self.infinite
            return f"{cell!r:.40} in row {row + first_row:,} is infinite or too large"
        units = dict(self.units)
        if len(units) > 1 and all(unit in _CURRENCY for unit in units if unit):
            units.pop("", None)
        if len(units) > 1:
            told = [f"{unit or 'none'} in row {row + first_row:,}" for unit, row in units.items()]
            return f"its units differ: {', '.join(told[:3])}"
        return None

    @property
    def unit(self) -> str:
        """The unit of its cells, "" for none."""
        return next((unit for unit in self.units if unit), "")
