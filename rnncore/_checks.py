"""Checks at the door: every message says the argument, what was got, what was expected, the way out."""

import math
import numbers

import numpy as np

REAL_KINDS = "fiub"


class Fixed:
    """Attributes that are set once: those named in a class's `_fixed`, its bases' included."""

    _fixed: frozenset[str] = frozenset()

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        cls._fixed = frozenset().union(*(getattr(base, "_fixed", ()) for base in cls.__mro__))

    def __setattr__(self, name, value):
        if name in self._fixed and hasattr(self, name):
            self._refuse(name, f"{value!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        if name in self._fixed:
            self._refuse(name, "del")
        object.__delattr__(self, name)

    def _refuse(self, name, got):
        raise AttributeError(f"{name}: got {got}, expected it as it is, {getattr(self, name)!r}: it is fixed when a "
                             f"{type(self).__name__} is made; make another one")


def as_dtype(dtype, name="dtype"):
    """float32 or float64 as numpy's dtype."""
    try:
        found = None if dtype is None else np.dtype(dtype)      # np.dtype(None) is float64
    except TypeError:
        found = None
    if found is None or found.name not in ("float32", "float64") or not found.isnative:
        raise ValueError(f"{name}: got {dtype!r}, expected 'float32' or 'float64'")
    return found


def as_size(value, name, least=1, also=""):
    """A whole number of at least `least`, that an index can hold; `also` is what else would do, for the message."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not least <= value < 2**63:
        large = isinstance(value, numbers.Integral) and value >= 2**63
        raise ValueError(f"{name}: got {value!r:.60}, expected a whole number >= {least}"
                         f"{' and < 2**63' if large else ''}{_or_else(also)}")
    return int(value)


def as_number(value, name, *, least=-math.inf, above=-math.inf, below=math.inf, finite=True, also=""):
    """A real number as a float: at least `least`, more than `above`, less than `below`, in any case not NaN.

    Infinity passes where `finite` is False and no limit stands against it; `also` is what else would do, for the
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


def _range(least, above, below, finite):
    """The numbers that `as_number` takes, in words."""
    kind = "a finite number" if finite else "a number"
    low = f" above {above:g}" if above > -math.inf else f" >= {least:g}" if least > -math.inf else ""
    if below == math.inf:
        return kind + low
    if not low:
        return f"{kind} below {below:g}"
    return f"a number in {'(' if above > -math.inf else '['}{max(above, least):g}, {below:g})"


def _or_else(also):
    return f", or {also}" if also else ""


def as_seed(value, name="seed"):
    """What numpy's generators can be seeded with."""
    try:
        np.random.SeedSequence(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: got {value!r}, expected None, a whole number >= 0, or several of them") from None
    return value


def as_array(value, name):
    """numpy's array of anything that is one."""
    try:
        return np.asarray(value)
    except ValueError as error:             # lists of unequal length
        raise ValueError(f"{name}: got a {type(value).__name__} that is no array ({error}); pad rows of unequal "
                         "length, as rnncore.data.pad does") from None
    except (TypeError, RuntimeError) as error:          # tensors that numpy has no type for, or that need detach()
        raise TypeError(f"{name}: got a {type(value).__name__} that numpy cannot take ({error}); "
                        "expected an array of real numbers") from None


def as_indices(values, name):
    """An integer array; floats and booleans are refused."""
    array = as_array(values, name)
    if array.size == 0 and array.dtype.kind == "f":         # np.asarray([]) is float
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: got {array.dtype}, expected integers")
    return array


def as_flag(value, name):
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: got {value!r}, expected True or False")
    return bool(value)


def as_probability(value, name):
    """A number in [0, 1)."""
    return as_number(value, name, least=0, below=1)


def as_real(value, name, dtype):
    """An array of real numbers in `dtype`; the same memory where it is already one."""
    array = value if type(value) is np.ndarray else as_array(value, name)
    if array.dtype.kind not in REAL_KINDS:
        raise TypeError(f"{name}: got {array.dtype} values, expected real numbers "
                        f"(converted to {dtype}); take .real of complex values, or make a float array")
    return array if array.dtype == dtype else array.astype(dtype)


def as_rows(value, name, dtype):
    """As `as_real`, with a last axis that the kernels can walk."""
    array = as_real(value, name, dtype)
    if array.ndim == 0 or (array.flags.c_contiguous and array.flags.aligned):
        return array
    rows_fit = array.shape[-1] <= 1 or array.strides[-1] == array.itemsize
    if not rows_fit or not array.flags.aligned or any(s % array.itemsize for s in array.strides):
        array = np.require(array, requirements=("C", "A"))
    return array


def as_lengths(lengths, steps, batch):
    """Lengths of a ragged batch, an own array of intp, or None where every row is full."""
    if lengths is None:
        return None
    if hasattr(lengths, "detach"):
        lengths = lengths.detach().cpu().numpy()
    found = np.array(as_array(lengths, "lengths"))     # what is checked is what is used
    expected = f"{batch} whole numbers from 0 to {steps}, one per row"
    if found.shape != (batch,) and not (batch == 1 and found.ndim == 0):
        raise ValueError(f"lengths: got shape {found.shape}, expected ({batch},): {expected}")
    if found.dtype.kind not in "iuf":
        raise TypeError(f"lengths: got {found.dtype} values, expected {expected}")
    wrong = ~((found >= 0) & (found <= steps) & (found == np.floor(found)))     # NaN is wrong too
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"lengths: got {found.reshape(-1)[row]} in row {row}, expected {expected}; "
                         "pad x to the longest row")
    found = found.reshape(batch).astype(np.intp)
    return None if (found == steps).all() else found
