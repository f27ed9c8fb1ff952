"""Finds measures and plots: a file in their folder is all that a new one takes."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def public_names(package: str, path, namespace: dict[str, Any]) -> list[str]:
    """Import every module of `package` that does not start with "_", and export its ``__all__``.

    A module and the function in it may have one name; the function wins.
    """
    found: dict[str, Any] = {}
    for info in iter_modules(path):
        if info.name.startswith("_"):
            continue
        module = import_module(f"{package}.{info.name}")
        for name in module.__all__:
            if name in found:
                raise ImportError(
                    f"{module.__name__}: {name!r} is defined in {found[name].__module__} already"
                )
            found[name] = getattr(module, name)
    namespace.update(found)
    return sorted(found)
