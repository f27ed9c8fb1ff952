"""The columns of a series that is an array, by number, or a DataFrame, by name; pandas is not needed for either."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rnncore._checks import REAL_KINDS, as_array

if TYPE_CHECKING:
    from rnncore._typing import Floats

Column: TypeAlias = int | str


def _is_frame(series: Any) -> bool:
    return hasattr(series, "columns") and hasattr(series, "__getitem__")


def columns_of(series: Any) -> tuple[tuple[Column, ...], int | None]:
    """The columns of a series, and their number if it is an array, which has all of them."""
    if _is_frame(series):
        return tuple(series.columns), None
    shape = as_array(series, "series", masked=True).shape
    width = shape[1] if len(shape) > 1 else 1
    return tuple(range(width)), width


def chosen_columns(given: Any, known: tuple[Any, ...], name: str) -> tuple[Column, ...]:
    """The columns that the user chose, each found among the known ones."""
    given = given.tolist() if isinstance(given, np.ndarray) else given
    one = isinstance(given, str) or not isinstance(given, Iterable) or (isinstance(given, tuple) and given in known)
    columns = [given] if one else list(given)
    found: list[Column] = []
    for column in columns:
        plain = isinstance(column, int | np.integer) and not isinstance(column, bool)
        if plain and known == tuple(range(len(known))) and -len(known) <= column < 0:
            column = len(known) + int(column)
        if not isinstance(column, Hashable) or column not in known or isinstance(column, bool):
            raise ValueError(f"{name}: got the column {column!r}, expected some of {', '.join(map(repr, known))}")
        if column in found:
            raise ValueError(f"{name}: got the column {column!r} twice, expected each once")
        found.append(known[known.index(column)])
    if not found:
        raise ValueError(f"{name}: got no column, expected some of {', '.join(map(repr, known))}")
    return tuple(found)


def read_columns(series: Any, columns: tuple[Column, ...], width: int | None, name: str) -> Floats:
    """The values (T, columns) of a DataFrame or an array."""
    _check_times(getattr(series, "index", None), name)
    if width is None:
        if not _is_frame(series):
            raise TypeError(f"{name}: got a {type(series).__name__}, expected a DataFrame, as the first series is")
        if not getattr(getattr(series, "index", None), "is_monotonic_increasing", True):
            raise ValueError(f"{name}: got steps that are not in order of time, expected the oldest first; "
                             "sort them with .sort_index(), or drop the index with .reset_index(drop=True)")
        if lacking := [column for column in columns if column not in series.columns]:
            raise ValueError(f"{name}: got no column {lacking[0]!r}, expected {', '.join(map(repr, columns))}")
        return np.stack([_column(series[column], f"{name}[{column!r}]") for column in columns], axis=1)
    values = as_array(series, name, masked=True)
    shape = values.shape
    if values.ndim == 1:
        values = values[:, None]
    if values.dtype.kind not in REAL_KINDS:
        raise TypeError(f"{name}: got {values.dtype} values, expected real numbers")
    if values.ndim != 2 or values.shape[1] != width:
        expected = f"(T, {width})" + (" or (T,)" if width == 1 else "")
        raise ValueError(f"{name}: got shape {shape}, expected {expected}: steps, and the columns of every series")
    at = [int(column) for column in columns]
    chosen: Floats = values[:, at].astype(np.float64)
    if isinstance(series, np.ma.MaskedArray):
        chosen[np.ma.getmaskarray(series).reshape(values.shape)[:, at]] = np.nan
    return chosen


def _check_times(index: Any, name: str) -> None:
    """Refuse an index of pandas in which a time occurs twice, and warn if its steps are not all of one length."""
    if not hasattr(index, "asi8") or len(index) < 3:
        return
    if not index.is_unique:
        twice = index[index.duplicated()][0]
        raise ValueError(f"{name}: got the time {twice} twice in its index, expected one row for each step; give a "
                         "list of frames for several series, or one row per time, as .groupby(level=0).mean() has")
    steps = np.diff(index.asi8)
    lengths, counts = np.unique(steps, return_counts=True)
    if len(lengths) == 1 or lengths[0] < 0 or _has_frequency(index):    # steps back in time are refused
        return
    at = int(np.argmax(steps != lengths[np.argmax(counts)]))
    warnings.warn(f"{name}: got {len(steps) - counts.max()} of {len(steps)} steps of its index that are not as long as "
                  f"most, the first of them after {index[at]}; all steps are read as if they were equally long. Give "
                  '.asfreq(…) with missing="mask" to have the gaps as missing values', RuntimeWarning, stacklevel=5)


def _has_frequency(index: Any) -> bool:
    """Whether times are those of a calendar, such as months or working days."""
    with warnings.catch_warnings():     # pandas will return another type here, which makes no difference
        warnings.simplefilter("ignore")
        return getattr(index, "inferred_freq", None) is not None


def _column(column: Any, name: str) -> Floats:
    """One column of a DataFrame; a missing value of any kind is NaN."""
    values = as_array(column, name)
    if values.dtype == object and hasattr(column, "to_numpy"):
        with suppress(TypeError, ValueError):       # values that are no numbers are refused below
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if values.dtype.kind not in REAL_KINDS or values.ndim != 1:
        raise TypeError(f"{name}: got {values.dtype} values of shape {values.shape}, expected one column of real "
                        "numbers; choose those with inputs= and targets=")
    floats: Floats = values.astype(np.float64)
    return floats
