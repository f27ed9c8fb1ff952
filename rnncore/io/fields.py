"""Checked access to the content of a file; an error names the file and the field.

Files may come from anywhere, so no value is used before its type and range have been checked. The
readers of checkpoints, models and run files share this module.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import numpy as np

if TYPE_CHECKING:
    from rnncore._typing import Array, DTypeLike, PathLike

Text = TypeVar("Text", bound=str)


class DamagedFileError(ValueError):
    """The file's content is not as it was written, or it is not a file of the expected kind."""


DEEPEST = 100  # the most lists and dicts within each other: code that walks through them may recurse


def check_file(path: PathLike) -> None:
    """Refuse a device or a pipe, since reading one may never end.

    Raises
    ------
    OSError
        There is nothing at `path`.
    DamagedFileError
        It is a device or a pipe. (A folder is not refused here; opening it fails.)
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DamagedFileError(f"{path} is a device or a pipe: give a file")


def read_json(text: str | bytes, source: PathLike) -> Any:
    """The value of a JSON text from the file `source`.

    Raises
    ------
    DamagedFileError
        It is not JSON, or is nested more deeply than `DEEPEST`.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{source}: its metadata is not JSON that can be read ({error})") from None
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, (list, dict))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return value
    raise DamagedFileError(f"{source}: its metadata is nested more than {DEEPEST} deep")


class Field:
    """A value and its name in the file it was read from.

    Parameters
    ----------
    value
        JSON, or arrays in dicts, lists and tuples.
    source : path or str
        The file it was read from; every error message begins with it.
    name : str
        The field's name in the file.
    error : type
        The type of the errors that are raised.

    Examples
    --------
    >>> from rnncore.io.fields import Field
    >>> head = Field({"updates": 3, "rates": [0.1, "fast"]}, "run.safetensors")
    >>> head["updates"].whole()
    3
    >>> [rate.number(least=0) for rate in head["rates"].items()]
    Traceback (most recent call last):
    rnncore.io.fields.DamagedFileError: run.safetensors: rates[1] is 'fast', expected a number >= 0
    """

    __slots__ = ("error", "name", "source", "value")

    def __init__(
        self, value: Any, source: PathLike, name: str = "", error: type[Exception] = DamagedFileError
    ) -> None:
        self.value, self.source, self.name, self.error = value, source, name, error

    def __repr__(self) -> str:
        return f"Field({self.name or 'content'} of {self.source}: {_told(self.value)})"

    def refuse(self, expected: str) -> Exception:
        """The error to raise: it names the value and what was expected."""
        return self.error(
            f"{self.source}: {self.name or 'its content'} is {_told(self.value)}, expected {expected}"
        )

    # -- parts ------------------------------------------------------------------

    def __getitem__(self, key: str) -> Field:
        """An entry, refused if it is missing."""
        self.require([key])
        return self._part(self.value[key], self._under(key))

    def get(self, key: str) -> Field | None:
        """An entry, or None where it is missing or null."""
        return self[key] if key in self and self.value[key] is not None else None

    def __contains__(self, key: str) -> bool:
        return key in self.keys()

    def keys(self) -> list[str]:
        """The names of a dict's entries."""
        if not isinstance(self.value, dict) or not all(isinstance(key, str) for key in self.value):
            raise self.refuse("a dict with names")
        return list(self.value)

    def entries(self) -> dict[str, Field]:
        """All entries of a dict."""
        return {key: self._part(self.value[key], self._under(key)) for key in self.keys()}

    def items(self, length: int | None = None) -> list[Field]:
        """The elements of a list, refused unless there are `length` of them."""
        if not isinstance(self.value, (list, tuple)) or length not in (None, len(self.value)):
            raise self.refuse("a list" if length is None else f"a list of {length}")
        return [self._part(value, f"{self.name}[{i}]") for i, value in enumerate(self.value)]

    def only(self, names: Iterable[str]) -> None:
        """Refuse entries with other names."""
        names = set(names)
        for key in self.keys():
            if key not in names:
                raise self.error(
                    f"{self.source}: {self._under(key)} is unknown, expected "
                    f"{', '.join(sorted(names)) or 'nothing'}"
                )

    def require(self, names: Iterable[str]) -> None:
        """Refuse a dict that lacks one of these."""
        for name in names:
            if name not in self:
                raise self.error(f"{self.source}: {self._under(name)} is missing")

    # -- values -----------------------------------------------------------------

    def whole(self, least: int = 0, most: int = 2**63 - 1) -> int:
        """A whole number."""
        fits = isinstance(self.value, int) and not isinstance(self.value, bool)
        if not fits or not least <= self.value <= most:
            upto = f" and <= {most}" if most < 2**63 - 1 else ""
            raise self.refuse(f"a whole number >= {least}{upto}")
        return cast(int, self.value)

    def number(self, least: float = -math.inf, below: float = math.inf, finite: bool = True) -> float:
        """A real number in [least, below); NaN and infinity are accepted if `finite` is False."""
        try:
            number = float(self.value) if _is_real(self.value) else None
        except OverflowError:  # a whole number of hundreds of digits
            number = None
        if number is not None and not finite and not math.isfinite(number):
            return number
        if number is None or not (math.isfinite(number) and least <= number < below):
            limits = [f" >= {least:g}"] * (least > -math.inf) + [f" < {below:g}"] * (below < math.inf)
            raise self.refuse("a number" + " and".join(limits))
        return number

    @overload
    def text(self) -> str: ...
    @overload
    def text(self, among: Iterable[Text]) -> Text: ...
    def text(self, among: Iterable[str] | None = None) -> str:
        """A string, which has to be one of `among` if that is given."""
        known = None if among is None else list(among)
        if not isinstance(self.value, str) or (known is not None and self.value not in known):
            raise self.refuse("a text" if known is None else f"one of {', '.join(known)}")
        return self.value

    def flag(self) -> bool:
        """True or False."""
        if not isinstance(self.value, bool):
            raise self.refuse("true or false")
        return self.value

    def array(
        self, shape: tuple[int | None, ...] | None = None, dtype: DTypeLike = np.float64, *, finite: bool = True
    ) -> Array:
        """An array of this dtype and shape; None in `shape` stands for any length."""
        expected = f"an array of {np.dtype(dtype).name}" + (
            "" if shape is None else f" with shape {tuple('any' if n is None else n for n in shape)}"
        )
        value = self.value
        if not isinstance(value, np.ndarray) or value.dtype != dtype:
            raise self.refuse(expected)
        if shape is not None and (
            value.ndim != len(shape)
            or any(n is not None and n != got for n, got in zip(shape, value.shape, strict=True))
        ):
            raise self.refuse(expected)
        if finite and value.dtype.kind == "f" and not np.isfinite(value).all():
            raise self.error(f"{self.source}: {self.name} has values that are not finite")
        return value

    def _under(self, key: object) -> str:
        return f"{self.name}.{key}" if self.name else str(key)

    def _part(self, value: Any, name: str) -> Field:
        return Field(value, self.source, name, self.error)


class named_errors:
    """Errors raised in the block become errors of the field's type that name its file and field.

    For checks that are written for users' arguments and are used for the content of a file as well.
    """

    def __init__(self, field: Field) -> None:
        self._field = field

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        field = self._field
        if isinstance(error, (ValueError, TypeError, KeyError)) and not isinstance(error, field.error):
            reason = error.args[0] if error.args else type(error).__name__
            name = f"{field.name}: " if field.name else ""
            raise field.error(f"{field.source}: {name}{reason}") from error


def _is_real(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _told(value: object) -> str:
    """A short description of a value, however large or deeply nested it is."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype.name} with shape {value.shape}"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
