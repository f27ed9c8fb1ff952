"""Columns that only say when each row was measured: found by their names and values; and gaps in time."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from . import cells
from .source import load_pandas

if TYPE_CHECKING:
    from rnncore._typing import Array, Floats

# Names of columns that count time, or rows.
_CLOCK = re.compile(
    r"(unnamed.*|index|idx|id|obs|observation|no|nr|row|step|steps|t|time|times|zeit|temps|tiempo|date|dates|datum|fecha|"
    r"day|days|jour|tag|dia|dom|doy|week|weeks|wk|woche|month|months|mon|monat|mois|mes|quarter|quarters|qtr|q|quartal|"
    r"trimestre|year|years|yr|jahr|annee|année|ano|año|hour|hours|hr|h|stunde|minute|minutes|min|second|seconds|sec|s|"
    r"period|periods|epoch|timestamp|timestamps|ts|unixtime|datetime|weekday|dow|(?:.*[ _.-])?(?:date|time|datetime|"
    r"timestamp|year|month|day|hour|minute|second|quarter|week|index|idx))", re.IGNORECASE)
# How many values the parts of a calendar have, by their names.
_CYCLES = (
    (re.compile(r"q|quarter|quarters|qtr|quartal|trimestre", re.IGNORECASE), 4),
    (re.compile(r"month|months|mon|monat|mois|mes|mo|m", re.IGNORECASE), 12),
    (re.compile(r"day|days|dom|tag|jour|dia|d", re.IGNORECASE), 31),
    (re.compile(r"doy|yday", re.IGNORECASE), 366),
    (re.compile(r"week|weeks|wk|woche|w", re.IGNORECASE), 53),
    (re.compile(r"weekday|dow", re.IGNORECASE), 7),
    (re.compile(r"hour|hours|hr|h|stunde", re.IGNORECASE), 24),
    (re.compile(r"minute|minutes|min|second|seconds|sec|s", re.IGNORECASE), 60),
)
_DAY = np.timedelta64(1, "D").astype("timedelta64[ns]").astype(np.int64)


@dataclass
class Clock:
    """What was found out about time.

    Attributes
    ----------
    columns : list of str
        The columns that say when a row was measured, coarsest first; none if there is no such column.
    times : datetime64 or float64 array (T,), optional
        The time of each row.
    left_out : dict
        Columns that count time, by name, each with the reason.
    notes : list of str
        Gaps, repetitions, the order of rows.
    reverse : bool
        Whether the rows are newest first.
    """

    columns: list[str] = field(default_factory=list)
    times: Any = None
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reverse: bool = False


class Dates:
    """A column of dates, block by block, as datetime64[ns], or as numbers for quarters, months and weeks."""

    def __init__(self, name: str, sample: Sequence[str]) -> None:
        self.name = name
        given = [cell for cell in map(str.strip, sample) if cell not in cells.MISSING]
        self.periods = bool(given) and all(map(cells.is_period, given))
        self.times_of_day = bool(given) and all(cells.kind_of(cell) == "time" for cell in given)
        self._day_first = _day_first(given)
        self._parts: list[Array] = []
        self._rows = 0
        self.bad: tuple[int, str] | None = None

    def add(self, block: Any) -> None:
        """Convert the next block, a pandas Series of text."""
        values = self._times(block)
        missing = np.isnan(values) if values.dtype.kind == "f" else np.isnat(values)
        if self.bad is None and (wrong := missing & block.notna().to_numpy()).any():
            at = int(np.argmax(wrong))
            self.bad = self._rows + at, str(block.iloc[at])
        self._parts.append(values)
        self._rows += len(values)

    def _times(self, block: Any) -> Array:
        pd = load_pandas()
        there = block.notna().to_numpy()
        if self.periods:
            values = np.full(len(block), np.nan)
            values[there] = [cells.months_of(cell) for cell in block[there]]
            return values
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # of guessed formats
            if self.times_of_day:
                long = block.where(block.str.count(":") != 1, block.str.strip() + ":00")
                return np.asarray(pd.to_timedelta(long, errors="coerce").to_numpy(), "m8[ns]")
            read = pd.to_datetime
            # First one format for all, which is quick, then a format for each cell.
            times = read(block, errors="coerce", utc=True, dayfirst=self._day_first)
            if (times.isna().to_numpy() & there).any():
                times = read(block.str.strip(), errors="coerce", utc=True, dayfirst=self._day_first, format="mixed")
            return np.asarray(times.dt.tz_localize(None).to_numpy(), "M8[ns]")

    def values(self) -> Array:
        """All times, NaT or NaN where one is missing or no date."""
        return np.concatenate(self._parts) if self._parts else np.empty(0)


def _day_first(given: Sequence[str]) -> bool:
    """Whether 03/04/2020 is the third of April: points separate, some number above 12 says so, or the order does."""
    parts = [match.groups() for cell in given if (match := re.match(r"(\d{1,2})([-/.])(\d{1,2})[-/.]\d", cell))]
    if not parts:
        return False
    first, second = ([int(p[i]) for p in parts] for i in (0, 2))
    if max(first) > 12 or max(second) > 12:
        return max(first) > 12
    if parts[0][1] == ".":
        return True
    # The day changes from row to row, unless the rows are months, whose day stays the same.
    changes = [sum(a != b for a, b in pairwise(x)) for x in (first, second)]
    return changes[0] > changes[1] and changes[1] > 0


def find(
    numbers: Mapping[str, Floats], dates: Mapping[str, Array], order: Sequence[str], *,
    index: str | None, first_row: int,
) -> Clock:
    """The clock of a table, with its columns of numbers and of dates, in the `order` of the file.

    Parameters
    ----------
    numbers, dates : dict of arrays (T,)
    order : sequence of str
    index : str, optional
        The column that the user named.
    first_row : int
        The row of the file that is the first of the table, for messages.
    """
    clock = Clock()
    known: dict[str, Array] = {**numbers, **dates}
    every = {name: known[name] for name in order if name in known}
    if index is not None:
        clock.columns, clock.times = [index], every[index]
        stamp = _compact(numbers[index], epoch=True) if index in numbers else None
        clock.times = clock.times if stamp is None else stamp
        clock.left_out[index] = "the index"
    names = list(every)
    for i, name in enumerate(names):
        if name in clock.left_out:
            continue
        values = every[name]
        if name in dates:
            _add_date(clock, name, values)
            continue
        if reason := _composite(clock, names, every, i):
            clock.left_out.update(reason)
            continue
        _add_number(clock, name, values, first=i == 0, alone=len(every) == 1, first_row=first_row)
    if clock.times is not None:
        _judge(clock, first_row)
    return clock


def _add_date(clock: Clock, name: str, values: Array) -> None:
    """A column of dates or times of day."""
    if values.dtype.kind == "m":
        joined = clock.times is not None and clock.times.dtype.kind == "M"
        if joined and not _strictly(clock.times):
            clock.times = clock.times + values
            clock.columns.append(name)
        clock.left_out[name] = "times of day"
        return
    clock.left_out[name] = "dates" if values.dtype.kind == "M" else "periods of a year"
    if clock.times is None or clock.times.dtype.kind != "M":
        clock.columns, clock.times = [name], values


def _composite(clock: Clock, names: Sequence[str], every: Mapping[str, Array], at: int) -> dict[str, str] | None:
    """A year, with the month, quarter, day or hour in the next columns, whose combination goes on from row to row."""
    parts, sizes = [names[at]], []
    key = every[names[at]]
    if not _whole(key) or (np.diff(key) == 0).sum() == 0:
        return None
    for name in names[at + 1 : at + 6]:
        values = every[name]
        if values.dtype.kind != "f" or not _whole(values) or values.min() < 0 or values.max() > 366:
            break
        named = next((size for pattern, size in _CYCLES if pattern.fullmatch(name.strip())), None)
        top = int(values.max())
        size = named or next((n for n in (4, 12, 24, 31, 53, 60, 366) if top <= n), 366)
        if top > size:
            break
        if named is None and not (values.min() == 1 and top == size and _year_like(key)):
            break
        base = size + 1 if size not in (4, 12) else size
        key = key * base + values
        parts.append(name)
        sizes.append(size)
        steps = np.diff(key)
        if len(steps) and ((steps > 0).all() or (steps < 0).all()):
            regular = sizes in ([4], [12]) or (steps == steps[0]).all()
            if clock.times is None or clock.times.dtype.kind != "M":
                clock.columns = parts
                clock.times = key if regular else _calendar(parts, every, key)
            return {part: f"{' with '.join(parts)} counts time" for part in parts}
    return None


def _calendar(parts: Sequence[str], every: Mapping[str, Array], key: Array) -> Array:
    """The dates of columns of years, months, days, hours; `key` if they are none, whose steps mean nothing."""
    pd = load_pandas()
    units = dict(zip(("year", "month", "day", "hour", "minute", "second"), parts, strict=False))
    if "day" not in units:
        return key
    stamps = pd.to_datetime(pd.DataFrame({unit: every[name] for unit, name in units.items()}), errors="coerce")
    return key if stamps.isna().any() else np.asarray(stamps.to_numpy(), "M8[ns]")


def _add_number(clock: Clock, name: str, values: Floats, *, first: bool, alone: bool, first_row: int) -> None:
    """A column of numbers, which may count time."""
    if np.isnan(values).any() or len(values) < 3:
        return
    hinted = bool(_CLOCK.fullmatch(name.strip()))
    steps = np.diff(values)
    rising, falling = bool((steps > 0).all()), bool((steps < 0).all())
    stamps = _compact(values, epoch=hinted or (first and not alone))
    reason = ""
    if stamps is not None and (rising or falling or hinted):
        reason = f"dates as numbers, {values[0]:.0f} and so on"
    elif (rising or falling) and not alone and np.allclose(steps, steps[0], rtol=1e-6):
        reason = f"it {'increases' if rising else 'decreases'} by a constant per row"
    elif rising or falling:
        size = np.abs(steps)
        year = _year_like(values) and size.max() < 1.6 * size.min()
        common = _whole(values) and _share(steps) >= 0.5
        if hinted or ((first or name.startswith("column ")) and not alone and (year or common)):
            reason = f"it {'increases' if rising else 'decreases'} in every row, as a clock does"
        elif not alone and rising:
            clock.notes.append(f"{name} increases in every row and is modelled; if it says when a row was measured, "
                               f"name it with --index")
    elif hinted and _whole(values) and not alone:
        cycle = next((size for pattern, size in _CYCLES if pattern.fullmatch(name.strip())), 0)
        if cycle and values.min() >= 0 and values.max() <= cycle:
            reason = "it is part of a date"
        elif _year_like(values):
            reason = "it is part of a date"
            if (steps < 0).any() and (steps >= 0).any():
                at = int(np.argmax(steps < 0)) + 1
                clock.notes.append(f"{name} goes back in row {at + first_row:,}, so these may be several series, one "
                                   "after the other, which are modelled as one")
    if not reason:
        return
    clock.left_out[name] = reason
    # Dates are better than years, and these than numbers of rows.
    better = clock.times is None or (clock.times.dtype.kind == "f" and len(clock.columns) == 1 and (
        stamps is not None or (_year_like(values) and not _year_like(clock.times))))
    # What counts down without a name that says so may be anything, so the rows stay in their order.
    counts_down = falling and not hinted and not _year_like(values)
    if better and (rising or falling or stamps is not None) and (stamps is not None or not counts_down):
        clock.columns, clock.times = [name], values if stamps is None else stamps


def _compact(values: Floats, *, epoch: bool) -> Array | None:
    """Dates written as numbers: YYYYMMDD as datetime64, YYYYMM as months, YYYYQ as quarters.

    With `epoch` also seconds and parts of seconds since 1970, which other quantities could look like.
    """
    if not _whole(values) or len(values) < 3:
        return None
    whole = values.astype(np.int64)
    if epoch and (unit := _epoch(values)):
        return np.asarray(whole * (10**9 // unit), "M8[ns]") if _strictly(values) else None
    if whole.min() >= 10_000_101 and whole.max() <= 29_991_231:
        pd = load_pandas()
        stamps = pd.to_datetime(pd.Series(whole.astype(str)), format="%Y%m%d", errors="coerce")
        return None if stamps.isna().any() else np.asarray(stamps.to_numpy(), "M8[ns]")
    for digits, top in ((100, 12), (10, 4)):
        year, part = whole // digits, whole % digits
        if year.min() >= 1000 and year.max() < 3000 and part.min() >= 1 and part.max() <= top:
            key = (year * top + part - 1).astype(float)
            if _strictly(key) and len(np.unique(year)) > 1 and _share(np.diff(key)) >= 0.5:
                return key
    return None


def _epoch(values: Array) -> int:
    """How many parts of a second these count since 1970, if they are times from 1990 to 2100; otherwise 0."""
    units = (1, 10**3, 10**6, 10**9) if _whole(values) else ()
    return next((unit for unit in units if 6.3e8 * unit <= values.min() and values.max() <= 4.1e9 * unit), 0)


def _whole(values: Array) -> bool:
    return bool(values.dtype.kind == "f" and len(values) and np.isfinite(values).all()
                and (values == np.rint(values)).all() and np.abs(values).max() < 2**62)


def _year_like(values: Array) -> bool:
    return bool(values.min() >= 1500 and values.max() < 2300)


def _strictly(values: Array) -> bool:
    steps = np.diff(values)
    zero = np.zeros(1, steps.dtype)
    return bool((steps > zero).all() or (steps < zero).all())


def _share(steps: Array) -> float:
    """The share of the most frequent step."""
    return float(np.unique(steps, return_counts=True)[1].max() / len(steps)) if len(steps) else 0.0


def _judge(clock: Clock, first_row: int) -> None:
    """Notes on the order of rows, and on gaps."""
    times, name = clock.times, " with ".join(clock.columns)
    missing = np.isnan(times) if times.dtype.kind == "f" else np.isnat(times)
    if missing.any():
        clock.notes.append(f"{name} is missing in row {int(np.argmax(missing)) + first_row:,}, so gaps in time are not "
                           "looked for")
        return
    zero = np.diff(times[:1].repeat(2))
    steps = np.diff(times)
    if len(steps) == 0:
        return
    if (steps <= zero).all() and (steps < zero).any():
        clock.reverse = True
        clock.notes.append(f"{name} decreases: the rows are newest first, and are used from the last one to the first")
        steps = -steps[::-1]
        clock.times = times = times[::-1]
    elif (steps < zero).any():
        at = int(np.argmax(steps < zero)) + 1
        clock.notes.append(f"{name} goes back in row {at + first_row:,}: the rows are used in the order of the file")
        return
    if (repeated := steps == zero).any():
        at = int(np.argmax(repeated)) + 1
        row = len(times) - 1 - at if clock.reverse else at
        count = int(repeated.sum())
        clock.notes.append(f"{name} repeats in {count:,} row{'s' * (count > 1)}, the first is row {row + first_row:,}")
    units, kind = _units(times, steps)
    usual, counts = np.unique(np.round(units, 6), return_counts=True)
    step = usual[np.argmax(counts)]
    if step <= 0:
        return
    gaps = np.flatnonzero(units > 1.5 * step)
    if len(gaps) == 0:
        return
    said = f"the usual step is {step:g}{' ' + (kind.removesuffix('s') if step == 1 else kind) if kind else ''}"
    even = "the rows are used as if they were evenly spaced"
    if counts.max() < 0.5 * len(units):
        clock.notes.append(f"{name} has steps of {usual[0]:g} to {usual[-1]:g}{kind and ' ' + kind}: {even}")
        return
    at = int(gaps[0])
    row = len(times) - 1 - at if clock.reverse else at
    clock.notes.append(
        f"{name} has {len(gaps):,} gap{'s' * (len(gaps) > 1)}, the first after row {row + first_row:,}, from "
        f"{_shown(times[at])} to {_shown(times[at + 1])}; {said}, and {even}")


def _units(times: Array, steps: Array) -> tuple[Floats, str]:
    """The steps in a unit of which the calendar has equal ones: months, working days, or what time it is."""
    if times.dtype.kind == "f":
        return steps.astype(float), ""
    days = times.astype("M8[D]")
    if (times == days).all():
        months = times.astype("M8[M]").astype(np.int64)
        day = (days - times.astype("M8[M]").astype("M8[D]")).astype(np.int64)
        last = (days + 1).astype("M8[M]") != times.astype("M8[M]")
        if ((day == day[0]).all() or last.all()) and (np.diff(months) > 0).all():
            return np.diff(months).astype(float), "months"
        weekday = (days.astype(np.int64) + 3) % 7       # 0 is a Monday
        if (weekday < 5).all() and len(np.unique(weekday)) > 1:
            return np.busday_count(days[:-1], days[1:]).astype(float), "working days"
    size = steps.astype("m8[ns]").astype(np.int64)
    positive = size[size > 0]
    typical = float(np.median(positive)) if len(positive) else 1.0
    for unit, nanoseconds in (("days", _DAY), ("hours", _DAY // 24), ("minutes", _DAY // 1440), ("seconds", 10**9)):
        if typical >= nanoseconds:
            return size / nanoseconds, unit
    return size / 1e9, "seconds"


def _shown(time: Any) -> str:
    if isinstance(time, np.datetime64):
        return str(time.astype("M8[s]")).replace("T00:00:00", "")
    return f"{float(time):g}"
