"""Models on disk: one safetensors file, no pickle.

Arrays are the file's tensors; everything else is its JSON value. A file is either complete or not
there: it is written under a temporary name and renamed, and has a checksum (``rnncore.io``). Reading
gives a `rnncore.io.fields.Field`, so that every model checks the values before it uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore.io.fields import DamagedFileError, Field
from rnncore.io.safetensors import load_arrays, save_arrays

if TYPE_CHECKING:
    from rnncore._typing import Array, PathLike

FORMAT = "rnncore model 1"


def write_model_file(path: PathLike, kind: str, params: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a model's class name, settings and learnt values to `path`.

    Examples
    --------
    >>> import os, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = os.path.join(folder.name, "m.safetensors")
    >>> write_model_file(file, "Markov", {"order": 1}, {"counts_": np.arange(3), "n_": 2})
    >>> kind, params, state = read_model_file(file, "Markov")
    >>> kind, params.value, state.value
    ('Markov', {'order': 1}, {'counts_': array([0, 1, 2]), 'n_': 2})
    >>> folder.cleanup()
    """
    arrays: dict[str, Array] = {}
    head = {"format": FORMAT, "class": kind, "params": _pack(params, "params", arrays),
            "state": _pack(state, "state", arrays)}
    save_arrays(path, arrays, head)


def read_model_file(path: PathLike, kind: str | None = None) -> tuple[str, Field, Field]:
    """``(class name, params, state)`` of a saved model.

    Raises
    ------
    OSError
        There is no such file.
    DamagedFileError, ValueError
        The file is damaged, holds no model, or holds a model of another class than `kind`.
    """
    arrays, head = load_arrays(path)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise DamagedFileError(f"{path} holds no sequence model; expected a file written by "
                               "a model's save")
    head = Field(head, path)
    written = head["class"].text()
    if kind is not None and written != kind:
        raise ValueError(f"{path} holds a {written}, expected a {kind}; use "
                         f"{written}.load or rnncore.models.load")
    params, state = (Field(_unpack(head[name], arrays), path, name)
                     for name in ("params", "state"))
    return written, params, state


def _pack(value: Any, where: str, arrays: dict[str, Array]) -> Any:
    """A JSON value for `value`; arrays are put into `arrays`, named by their place, `where`."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise TypeError(f"{where}: got an array of {value.dtype}, expected numbers; this "
                            "value cannot be saved")
        arrays[where] = value
        return {"array": where}
    if isinstance(value, np.generic):
        return _pack(value.item(), where, arrays)
    if isinstance(value, dict):
        return {"dict": [[_pack(k, where, arrays), _pack(v, f"{where}.{k}", arrays)]
                         for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_pack(v, f"{where}.{i}", arrays) for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{where}: got {type(value).__name__}, expected numbers, strings, arrays or "
                    "lists of them; this value cannot be saved")


def _unpack(field: Field, arrays: Mapping[str, Array]) -> Any:
    """The inverse of `_pack`."""
    if not isinstance(field.value, dict):
        return field.value
    entries = list(field.entries().items())
    tag, content = entries[0] if len(entries) == 1 else (None, field)
    if tag == "array":
        return arrays[content.text(arrays)]
    if tag == "dict":
        pairs = [pair.items(2) for pair in content.items()]
        return {_key(_unpack(key, arrays), key): _unpack(value, arrays) for key, value in pairs}
    if tag in ("list", "tuple"):
        items = [_unpack(item, arrays) for item in content.items()]
        return tuple(items) if tag == "tuple" else items
    raise field.refuse("an array, dict, list or tuple")


def _key(value: Any, field: Field) -> str | int | float | bool | None:
    if not isinstance(value, (str, int, float, bool, type(None))):
        raise field.refuse("a name or a number")
    return value
