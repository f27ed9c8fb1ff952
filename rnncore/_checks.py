"""Validation of arguments: every message names the argument, what was got, what was expected, and the way out."""

from __future__ import annotations

import difflib
import math
import numbers
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import _engine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._typing import Array, Bools, Ints

REAL_KINDS = "fiub"


class Fixed:
    """A base class with attributes that can be set only once: those in `_fixed` of a class and of its bases."""

    _fixed: frozenset[str] = frozenset()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        inherited: list[Iterable[str]] = [getattr(base, "_fixed", ()) for base in cls.__mro__]
        cls._fixed = frozenset().union(*inherited)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._fixed and hasattr(self, name):
            self._refuse(name, f"{value!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._fixed:
            self._refuse(name, "del")
        object.__delattr__(self, name)

    def _refuse(self, name: str, got: str) -> NoReturn:
        raise AttributeError(f"{name}: got {got}, expected no change of {getattr(self, name)!r}: it is fixed when the "
                             f"{type(self).__name__} is created; make another one")


def did_you_mean(value: object, options: Iterable[str]) -> str:
    """The end of an error about an unknown name: "; did you mean 'lstm'?", or nothing where no option is similar.

    Examples
    --------
    >>> did_you_mean("lsmt", ["rnn", "gru", "lstm"]), did_you_mean("transformer", ["rnn", "gru", "lstm"])
    ("; did you mean 'lstm'?", '')
    """
    near = difflib.get_close_matches(value.lower(), options, 1) if isinstance(value, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""


def as_dtype(dtype: Any, name: str = "dtype") -> np.dtype[Any]:
    """float32 or float64 as numpy's dtype."""
    try:
        found: np.dtype[Any] | None = None if dtype is None else np.dtype(dtype)    # np.dtype(None) is float64
    except TypeError:
        found = None
    if found is None or found.name not in ("float32", "float64") or not found.isnative:
        raise ValueError(f"{name}: got {dtype!r}, expected 'float32' or 'float64'")
    return found


def as_size(value: object, name: str, least: int = 1, also: str = "") -> int:
    """A whole number >= `least` that fits into an index; `also` names another accepted value in the message."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not least <= int(value) < 2**63:
        large = isinstance(value, numbers.Integral) and int(value) >= 2**63
        raise ValueError(f"{name}: got {value!r:.60}, expected a whole number >= {least}"
                         f"{' and < 2**63' if large else ''}{_or_else(also)}")
    return int(value)


def check_fits(count: int, dtype: np.dtype[Any], what: str, **sizes: int) -> None:
    """Refuse sizes with which `count` numbers, the `what` of something, do not fit into memory; the largest is named.

    The array is not written to, so it uses no memory; most systems refuse one that is larger than all that they have.
    """
    try:
        np.empty(min(count, 2**62), dtype)
    except (MemoryError, ValueError) as error:      # a ValueError where no machine could have so much
        name = max(sizes, key=lambda one: sizes[one])
        others = ", ".join(f"{one}={size}" for one, size in sizes.items() if one != name)
        raise (ValueError if isinstance(error, ValueError) else MemoryError)(
            f"{name}: got {sizes[name]}, expected a size with which the {what} fit into memory; with {others} they "
            f"take {count * dtype.itemsize / 1e9:.3g} GB") from None


def as_number(value: object, name: str, *, least: float = -math.inf, above: float = -math.inf, below: float = math.inf,
              finite: bool = True, also: str = "") -> float:
    """A real number as a float: at least `least`, more than `above`, less than `below`, and never NaN.

    Infinity is accepted where `finite` is False and no limit excludes it; `also` names another accepted value in the
    message.
    """
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:                   # a whole number of hundreds of digits
        number = math.nan
    inside = least <= number and (above < number or above == -math.inf) and (number < below or below == math.inf)
    if not inside or (finite and math.isinf(number)):
        raise ValueError(f"{name}: got {value!r:.60}, expected "
                         f"{_range(least, above, below, finite)}{_or_else(also)}")
    return number


def _range(least: float, above: float, below: float, finite: bool) -> str:
    """The numbers that `as_number` accepts, in words."""
    kind = "a finite number" if finite else "a number"
    low = f" above {above:g}" if above > -math.inf else f" >= {least:g}" if least > -math.inf else ""
    if below == math.inf:
        return kind + low
    if not low:
        return f"{kind} below {below:g}"
    return f"a number in {'(' if above > -math.inf else '['}{max(above, least):g}, {below:g})"


def _or_else(also: str) -> str:
    return f", or {also}" if also else ""


def as_seed(value: Any, name: str = "seed") -> Any:
    """The value itself, if numpy's generators can be seeded with it."""
    try:
        np.random.SeedSequence(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: got {value!r}, expected None, a whole number >= 0, or several of them") from None
    return value


def as_array(value: object, name: str, *, masked: bool = False) -> Array:
    """Anything array-like as a numpy array of its own type; bfloat16, which numpy lacks, becomes float32.

    numpy arrays, tensors of torch, and all that has the buffer protocol, DLPack or ``__array__`` are read where they
    are, without a copy, if their memory is that of a CPU. Gradients of tensors are not followed.

    A masked array with masked entries is refused, since what lies under a mask is no value, unless the caller reads the
    mask: `masked`.
    """
    if isinstance(value, np.ndarray) and hasattr(value, "mask") and not masked and np.ma.is_masked(value):
        raise ValueError(f"{name}: got an array with masked entries, expected a value "
                         "everywhere; pass .filled(value), or lengths for the ends of rows")
    try:
        array = np.asarray(value if type(value) is np.ndarray else _for_numpy(value))
    except ValueError as error:             # lists of unequal length
        raise ValueError(f"{name}: got a {type(value).__name__} that is not an array ({error}); pad rows of unequal "
                         "length, as rnncore.data.pad does") from None
    except (TypeError, RuntimeError, BufferError) as error:     # sparse tensors, among others
        raise TypeError(f"{name}: got a {type(value).__name__} that numpy cannot convert ({error}); "
                        "expected an array of real numbers in the memory of a CPU") from None
    if array.dtype.kind == "V" and array.dtype.name == "bfloat16":      # a type that ml_dtypes adds; names take time
        return array.astype(np.float32)
    return array


def is_tensor(value: object) -> bool:
    """Whether a value is a tensor of torch, or has DLPack alone, so that `np.asarray` does not read it as it is."""
    return hasattr(value, "detach") or (hasattr(value, "__dlpack__") and not hasattr(value, "__array__"))


def _for_numpy(value: Any) -> object:
    """What `np.asarray` can read: of a tensor of torch its values, of an object that has DLPack alone its array."""
    if not is_tensor(value):
        return value
    if not hasattr(value, "detach"):
        return np.from_dlpack(value)
    tensor = value.detach().cpu()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def as_indices(values: object, name: str) -> Array:
    """An integer array; floats and booleans are refused."""
    array = as_array(values, name)
    if array.size == 0 and array.dtype.kind == "f":         # np.asarray([]) is float
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: got {array.dtype}, expected integers")
    return array


def as_flag(value: object, name: str) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: got {value!r}, expected True or False")
    return bool(value)


def as_probability(value: object, name: str) -> float:
    """A number in [0, 1)."""
    return as_number(value, name, least=0, below=1)


def as_real(value: object, name: str, dtype: np.dtype[Any]) -> Array:
    """An array of real numbers in `dtype`; an array that already has this type is returned as it is."""
    array: Array = value if type(value) is np.ndarray and value.dtype.kind in REAL_KINDS else as_array(value, name)
    if array.dtype.kind not in REAL_KINDS:
        raise TypeError(f"{name}: got {array.dtype} values, expected real numbers "
                        f"(converted to {dtype}); take .real of complex values, or make a float array")
    return array if array.dtype == dtype else array.astype(dtype)


def as_rows(value: object, name: str, dtype: np.dtype[Any]) -> Array:
    """As `as_real`, in a memory layout that the kernels can read: aligned, and contiguous along the last axis."""
    array = as_real(value, name, dtype)
    if array.ndim == 0 or (array.flags.c_contiguous and array.flags.aligned):
        return array
    rows_fit = array.shape[-1] <= 1 or array.strides[-1] == array.itemsize
    if not rows_fit or not array.flags.aligned or any(s % array.itemsize for s in array.strides):
        array = np.require(array, requirements=("C", "A"))
    return array


def as_marks(value: object, name: str, shape: tuple[int, ...], axes: str) -> Bools:
    """A boolean array of this shape; 0 and 1 of another type count as False and True."""
    found = as_array(value, name)
    if found.shape != shape:
        raise ValueError(f"{name}: got shape {found.shape}, expected {shape}: {axes}, as x")
    if found.dtype.kind != "b":
        if found.dtype.kind not in "iuf" or not ((found == 0) | (found == 1)).all():
            raise TypeError(f"{name}: got {found.dtype} values, expected True or False, or 1 or 0")
        found = found != 0
    return found


def as_lengths(lengths: Any, steps: int, batch: int, nets: int = 1) -> Ints | None:
    """The lengths of a ragged batch as a new array, or None where every row is full.

    With several `nets`, the batch has the rows of each, one net after the other, and an error names net and row.
    """
    if lengths is None:
        return None
    found = np.array(as_array(lengths, "lengths"))     # a copy: the caller's array may change after it was checked
    expected = f"{batch // nets} whole numbers from 0 to {steps}, one per row{' of each net' if nets > 1 else ''}"
    if found.shape != (batch,) and not (batch == 1 and found.ndim == 0):
        raise ValueError(f"lengths: got shape {found.shape}, expected ({batch},): {expected}")
    if found.dtype.kind not in "iuf":
        raise TypeError(f"lengths: got {found.dtype} values, expected {expected}")
    if found.dtype == np.intp and (rows := _engine.check_lengths(found.reshape(batch), steps)):
        return found.reshape(batch) if rows > 0 else None
    right = (found >= 0) & (found <= steps)         # NaN is wrong too
    if found.dtype.kind == "f":
        right &= found == np.floor(found)
    if not right.all():
        place = int(np.flatnonzero(~right)[0])
        value, (net, row) = found.reshape(-1)[place], divmod(place, batch // nets)
        where = f"row {row} of net {net}" if nets > 1 else f"row {row}"
        raise ValueError(f"lengths: got {value} in {where}, expected {expected}"
                         + ("; pad x to the longest row" if value > steps else "; an empty row has the length 0"
                            if value < 0 else ""))
    found = found.reshape(batch).astype(np.intp)
    return None if (found == steps).all() else found
