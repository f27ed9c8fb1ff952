"""Tables, series, masked arrays and lists with gaps as plain arrays; neither pandas nor polars is imported for it.

A missing value is NaN in real values. In whole numbers it is a masked entry of a numpy masked array, so that they
stay whole numbers. None, pandas' NA and NaT, polars' null, NaN and masked entries all are missing values.
"""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_array, is_tensor

if TYPE_CHECKING:
    from rnncore._typing import Array, Bools, Floats


def is_frame(value: Any) -> bool:
    """Whether a value is a table of pandas, polars or a library like them."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def is_series(value: Any) -> bool:
    """Whether a value is a series of pandas, polars or a library like them."""
    return hasattr(value, "to_numpy") and not is_frame(value)


def from_tensor(value: Any, name: str) -> Any:
    """A tensor of another library as an array, or if it has no axes, as in ``list(tensor)``, a number; else the value.

    Examples
    --------
    >>> from_tensor([1, 2], "x")
    [1, 2]
    """
    if not is_tensor(value):
        return value
    array = as_array(value, name)
    return array.item() if array.ndim == 0 else array


def plain(value: Any, name: str) -> Any:
    """One sequence as a string, or as an array of numbers, strings or dates that is no object array.

    Parameters
    ----------
    value : str, array-like, series or frame
        A frame has numbers only; columns of other types are named in the error.
    name : str
        The argument's name, for errors.

    Returns
    -------
    str, ndarray or masked array
        A masked array of integers if some of them are missing.

    Examples
    --------
    >>> plain([1.5, None], "x"), plain([3, None], "x")
    (array([1.5, nan]), masked_array(data=[3, --],
                 mask=[False,  True],
           fill_value=999999))
    """
    if isinstance(value, str) or (type(value) is np.ndarray and value.dtype.kind in "biuf"):
        return value
    if is_frame(value):
        return _from_frame(value, name)
    gone: Bools | None = None
    if is_series(value):
        value, gone = _from_series(value)
    if isinstance(value, np.ma.MaskedArray):
        value, gone = value.data, np.ma.getmaskarray(value)
    array = as_array(value, name)
    if array.dtype.kind == "O" and array.ndim == 2:
        columns = [array[:, f] if gone is None else np.ma.masked_array(array[:, f], gone[:, f])
                   for f in range(array.shape[1])]
        return _beside(columns, [f"{name}: feature {f}" for f in range(len(columns))])
    if array.dtype.kind == "O":
        return _from_objects(array, gone, name)
    return _with_gaps(array, gone)


def _from_frame(frame: Any, name: str) -> Any:
    """The columns of a frame as one array ``(T, F)``."""
    count = frame.shape[1]
    by_place: Callable[[int], Any] = (
        (lambda f: frame.iloc[:, f]) if hasattr(frame, "iloc") else frame.to_series if hasattr(frame, "to_series")
        else (lambda f: frame[frame.columns[f]]))
    names = [f"{name}: column {column!r}" for column in frame.columns]
    if count == 0:
        return np.empty((len(frame), 0))
    return _beside([by_place(f) for f in range(count)], names)


def _beside(columns: Sequence[Any], names: Sequence[str]) -> Any:
    """Columns of numbers as one array, of integers if all are."""
    arrays = [number_array(plain(column, name), name) for column, name in zip(columns, names, strict=True)]
    if all(a.dtype.kind in "iu" for a in arrays):
        return (np.ma.stack if any(np.ma.isMaskedArray(a) for a in arrays) else np.stack)(arrays, axis=1)
    return np.stack([as_floats(a) for a in arrays], axis=1)


def number_array(array: Any, name: str) -> Any:
    """An array of `plain`, refused unless it has real numbers."""
    if isinstance(array, str) or array.dtype.kind in "USTa":
        raise TypeError(f"{name}: got strings, expected real numbers; leave them out, or give numbers for them")
    if array.dtype.kind in "Mm":
        raise TypeError(f"{name}: got dates or times ({array.dtype}), expected real numbers; leave them out, or give "
                        "numbers, for example the month or the hours since the first step")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got dtype {array.dtype}, expected real numbers")
    return array


def as_floats(array: Any) -> Floats:
    """An array of `plain` in float64, with NaN for missing values."""
    floats = np.asarray(np.ma.getdata(array), np.float64)
    return np.where(array.mask, np.nan, floats) if isinstance(array, np.ma.MaskedArray) else floats


def _from_series(series: Any) -> tuple[Any, Bools | None]:
    """The values of a series, and which of them are missing."""
    array = np.asarray(series.to_numpy())
    if array.dtype.kind == "f":     # also of whole numbers with gaps, which are then made whole again
        if getattr(series.dtype, "kind", "f") in "iu":                              # pandas
            gone = np.asarray(series.isna(), bool)
            return series.to_numpy(dtype=np.int64, na_value=0), gone
        if callable(getattr(series.dtype, "is_integer", None)) and series.dtype.is_integer():      # polars
            return series.fill_null(0).to_numpy(), np.asarray(series.is_null().to_numpy(), bool)
    return array, None


def _with_gaps(array: Array, gone: Bools | None) -> Any:
    """An array with missing values: NaN, or masked entries of whole numbers."""
    if gone is None or not gone.any():
        return array
    if array.dtype.kind in "iu":
        return np.ma.masked_array(array, gone)
    if array.dtype.kind in "bf":
        return np.where(gone, np.nan, array)
    return np.ma.masked_array(array, gone)


def is_missing(value: Any) -> bool:
    """Whether one value stands for no value: None, NaN, pandas' NA and NaT, numpy's masked.

    Examples
    --------
    >>> [is_missing(v) for v in (None, float("nan"), np.ma.masked, 0, "")]
    [True, True, True, False, False]
    """
    if value is None or value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return isinstance(value, numbers.Number) and bool(value != value)


def _from_objects(array: Array, gone: Bools | None, name: str) -> Any:
    """An object array as one of a type of its own, by what its values are."""
    values = array.ravel().tolist()
    missing = np.array([is_missing(v) for v in values], bool).reshape(array.shape)
    if gone is not None:
        missing |= gone
    there = [v for v, away in zip(values, missing.ravel(), strict=True) if not away]
    filled = np.zeros(array.shape, object)
    filled[~missing] = there
    if all(isinstance(v, (bool, np.bool_)) for v in there):
        return _with_gaps(filled.astype(bool), missing) if there else np.full(array.shape, np.nan)
    if all(isinstance(v, (numbers.Integral, np.bool_)) for v in there):
        try:
            return _with_gaps(filled.astype(np.int64), missing)
        except OverflowError:
            raise ValueError(f"{name}: got {max(there, key=abs)}, expected whole numbers of at most 64 bits") from None
    if all(isinstance(v, (numbers.Real, np.bool_, decimal.Decimal)) for v in there):
        return _with_gaps(filled.astype(np.float64), missing)
    if all(isinstance(v, str) for v in there):
        if missing.any():
            raise ValueError(f"{name}: got {values[int(np.argmax(missing))]!r} among strings at "
                             f"{int(np.argmax(missing))}, expected a string at every place; leave it out")
        return filled.astype(str)
    if all(hasattr(v, "year") or isinstance(v, np.datetime64) for v in there):
        return np.full(array.shape, np.datetime64("NaT"))       # refused by its type wherever it goes
    at, odd = next((i, v) for i, v in enumerate(values)
                   if not missing.ravel()[i] and not isinstance(v, (numbers.Real, decimal.Decimal)))
    raise TypeError(f"{name}: got {odd!r:.60} ({type(odd).__name__}) at step {at}, expected numbers only")


def as_targets(y: Any, name: str = "y") -> Array:
    """Labels or numbers, one per sequence, as an array without missing values.

    Examples
    --------
    >>> as_targets(["a", "b"]), as_targets([1, 2])
    (array(['a', 'b'], dtype='<U1'), array([1, 2]))
    """
    gone: Bools | None = None
    if is_series(y):
        y, gone = _from_series(y)
    if isinstance(y, np.ma.MaskedArray):
        y, gone = y.data, np.ma.getmaskarray(y)
    if gone is not None and gone.any():
        y = y.astype(object)
        y[gone] = None
    if isinstance(y, (list, tuple)):        # numpy would make the string 'nan' of a NaN among strings
        items, y = y, np.empty(len(y), object)
        y[:] = [item.item() if isinstance(item, np.generic) else item for item in items]
    array = as_array(y, name)
    if array.dtype.kind != "O" or array.ndim != 1:
        return array
    missing = [is_missing(v) for v in array]
    numeric = all(isinstance(v, (numbers.Real, np.bool_)) for v, away in zip(array, missing, strict=True) if not away)
    if any(missing) and not (numeric and all(isinstance(v, float) for v in array)):
        if all(missing):
            raise ValueError(f"{name}: got no value at all among {len(array)}, expected a label or a number for every "
                             "sequence; a model that learns from sequences alone is Recurrent, for example")
        at = missing.index(True)
        raise ValueError(f"{name}: got {array[at]!r} at {at}, expected a value for every sequence; leave out the "
                         "sequences that have none")
    kinds = sorted({type(v).__name__ for v in array})
    if not numeric and len(kinds) > 1:
        raise TypeError(f"{name}: got values of the types {', '.join(kinds)}, expected one type")
    return np.array(array.tolist())
