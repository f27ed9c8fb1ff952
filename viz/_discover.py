"""Finds measures and plots at run time: a new one is a file in their folder.

Type checkers cannot follow this, so a stub beside each package (``__init__.pyi``) lists the same
names; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def public_names(package: str, path: Iterable[str], namespace: dict[str, Any]) -> list[str]:
    """Import every module of `package` that does not start with "_", and export its ``__all__``.

    A module and the function in it may have the same name: the package's name is then the function.
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
