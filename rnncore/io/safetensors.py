"""Named arrays in one file: safetensors, whole or not at all (see ``files.py``), checked when read.

The header carries one JSON value and a SHA-256 of everything, so a file that was cut short or
changed is refused, not half believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rnncore.io.fields import DEEPEST, DamagedFileError, check_file, read_json
from rnncore.io.files import write_bytes

__all__ = ["DamagedFileError", "load_arrays", "load_metadata", "save_arrays"]

_LARGEST = 100_000_000  # bytes of a header; the format's own readers take no more
_JSON, _DIGEST = "rnncore.json", "rnncore.sha256"
# Types of tensors, by the names in a file's header, that numpy has too.
_TYPES = ("BOOL", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "F16", "F32", "F64", "C64")


def save_arrays(path, arrays: Mapping[str, np.ndarray], metadata=None) -> None:
    """Write `arrays` and a JSON value to `path`, in one piece.

    Parameters
    ----------
    path : str or path
        Replaced if it exists (see `rnncore.io.files`).
    arrays : dict of str to ndarray
    metadata : JSON value, optional

    Raises
    ------
    TypeError, ValueError
        Something that `load_arrays` would not read; what is at `path` stays.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> from rnncore.io.safetensors import load_arrays, save_arrays
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "weights.safetensors"
    ...     save_arrays(path, {"w": np.eye(2)}, {"steps": 3})
    ...     arrays, metadata = load_arrays(path)
    >>> arrays["w"].tolist(), metadata
    ([[1.0, 0.0], [0.0, 1.0]], {'steps': 3})
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    arrays = {name: _as_written(name, values) for name, values in arrays.items()}
    text = as_json(metadata, "metadata")
    header = {_JSON: text, _DIGEST: _digest(arrays, text)}
    try:
        content = save(arrays, metadata=header)
    except SafetensorError as error:
        raise ValueError(
            f"arrays, metadata: got what the format does not hold ({error}), expected names and metadata "
            f"of at most {_LARGEST:,} bytes; keep what is large in arrays"
        ) from None
    write_bytes(path, content)


def as_json(value, name: str) -> str:
    """The JSON of a value that is written and can be read again.

    Raises
    ------
    TypeError, ValueError
        By `name`.
    """
    try:
        text = json.dumps(value, sort_keys=True)
        read_json(text, name)
    except (TypeError, ValueError, RecursionError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(
            f"{name}: got what a file cannot hold ({error}), expected a JSON value: None, True, False, "
            f"texts, numbers, and lists and dicts by text of them, at most {DEEPEST} deep; convert "
            "numpy's numbers and arrays with .tolist(), sets with sorted"
        ) from None
    if len(json.dumps(text)) > _LARGEST:
        raise ValueError(
            f"{name}: got {len(text):,} bytes of JSON, expected at most {_LARGEST:,}; keep what is large in "
            "arrays"
        )
    return text


def load_arrays(path) -> tuple[dict[str, np.ndarray], object]:
    """``(arrays, metadata)`` of a file; metadata is None in one that others wrote.

    Raises
    ------
    OSError
        There is no such file, or it cannot be read.
    DamagedFileError
        It is no safetensors file, was cut short, or differs from its checksum.
    """
    with _opened(path) as file:
        header = file.metadata() or {}
        arrays = {name: _tensor(path, file, name) for name in file.keys()}  # noqa: SIM118
    if _JSON not in header:
        return arrays, None
    if _digest(arrays, header[_JSON]) != header.get(_DIGEST):
        raise DamagedFileError(
            f"{path} is damaged: its content differs from its checksum; use another copy"
        )
    return arrays, read_json(header[_JSON], path)


def load_metadata(path):
    """The JSON value of a file alone, its checksum not looked at; None in one that others wrote."""
    with _opened(path) as file:
        header = file.metadata() or {}
    return read_json(header[_JSON], path) if _JSON in header else None


def _as_written(name: str, values) -> np.ndarray:
    if not isinstance(name, str) or name == "__metadata__" or _has_surrogates(name):
        raise ValueError(
            f"arrays: got the name {name!r}, expected a text of Unicode characters other than "
            "'__metadata__', which is the file format's own"
        )
    values = np.asarray(values, order="C")
    if values.dtype.kind not in "biufc" or values.dtype.itemsize > 8:
        raise TypeError(
            f"arrays: got {name!r} of {values.dtype}, expected numbers of at most 8 bytes: float64, "
            "int64, bool, …"
        )
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


@contextmanager
def _opened(path):
    """A file's header, read and found to fit the file's size: no tensor is allocated before."""
    from safetensors import SafetensorError, safe_open

    check_file(path)
    with Path(path).open("rb"):  # the plain OSError, with its file name
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedFileError(
            f"{path} is not a whole safetensors file ({reason}): "
            "it was cut short, changed, or is something else"
        ) from None


def _tensor(path, file, name: str) -> np.ndarray:
    kind = file.get_slice(name).get_dtype()
    if kind not in _TYPES:
        raise DamagedFileError(
            f"{path}: the tensor {name!r} is of type {kind}, which numpy does not have: convert it "
            "to float32 or float16 where it was written, in torch with .float()"
        )
    try:
        return file.get_tensor(name)
    except ValueError as error:  # more axes than numpy has
        raise DamagedFileError(f"{path}: the tensor {name!r} cannot be read: {error}") from None


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        values = arrays[name]
        digest.update(f"\n{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
