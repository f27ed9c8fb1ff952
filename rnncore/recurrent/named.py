"""Recorded arrays as others get them: by name, and read-only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rnncore._typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


class Named(Mapping[str, Array]):
    """A read-only mapping from names to arrays, each of which is obtained when it is accessed.

    Parameters
    ----------
    names : collection of str
    get : callable
        Returns the array for a name; the mapping makes it read-only.
    why_empty : str, optional
        If given, the mapping is empty, and accessing a name raises a KeyError with this explanation.
    """

    def __init__(self, names: Collection[str], get: Callable[[str], Array], why_empty: str | None = None) -> None:
        self._names, self._get, self._why_empty = names, get, why_empty

    def __repr__(self) -> str:
        return f"<arrays by name: {self._why_empty or in_words(self._names)}>"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __getitem__(self, name: str) -> Array:
        if self._why_empty:
            raise KeyError(f"{name}: {self._why_empty}")
        if not isinstance(name, str):
            raise TypeError(f"name: got {name!r}, expected one of {', '.join(self._names)}")
        if name not in self._names:
            raise KeyError(f"name: got {name!r}, expected one of {', '.join(self._names)}")
        view = self._get(name)
        view.setflags(write=False)
        return view

    def __iter__(self) -> Iterator[str]:
        return iter(() if self._why_empty else self._names)

    def __len__(self) -> int:
        return 0 if self._why_empty else len(self._names)


def locked(array: Array) -> Array:
    """A read-only view."""
    view = array.view()
    view.setflags(write=False)
    return view


def in_words(names: Collection[str]) -> str:
    """Names of arrays, abbreviated: "h, c, i, f, g, o of l0, l1"."""
    parts: dict[str, list[str]] = {}
    for name in names:
        part, _, short = name.rpartition(".")
        parts.setdefault(part, []).append(short)
    shorts = ", ".join(next(iter(parts.values()), []))
    return shorts if set(parts) <= {""} else f"{shorts} of {', '.join(parts)}"
