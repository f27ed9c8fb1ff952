"""Packages that only a conversion needs: they are imported late, and an error says how to install them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# For each package the extra of rnncore that installs it.
_EXTRAS = {"torch": "torch", "keras": "keras", "h5py": "keras", "onnx": "onnx"}


def package(name: str, what: str) -> Any:
    """Import a package, or a module of it, that the function `what` needs.

    Raises
    ------
    ImportError
        It is not installed; the message says how to install it.

    Examples
    --------
    >>> from rnncore.convert.optional import package
    >>> package("json", "from_rtneural").dumps([1])
    '[1]'
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        top = name.partition(".")[0]
        if error.name == top:
            raise ImportError(f"{what} needs {top}, which is not installed: pip install 'rnncore[{_EXTRAS[top]}]'"
                              ) from error
        if top == "keras":          # a backend of Keras is missing, which it imports by its own choice
            raise ImportError(f"{what} needs Keras, which cannot be imported without its backend {error.name}: install "
                              "that, or set KERAS_BACKEND to one that is there, such as torch") from error
        raise
