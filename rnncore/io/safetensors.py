"""Named arrays in one file: safetensors, whole or not at all, and checked when read.

A file is written to a temporary name beside its place, flushed to the disk and renamed: whoever
looks sees the old file or the new one, never a part. The header carries one JSON value and a
SHA-256 of everything, so a file that was cut short or changed is refused, not half believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_JSON, _DIGEST = "rnncore.json", "rnncore.sha256"


class DamagedFileError(ValueError):
    """The file is not what was written, or not a file of this kind."""


def save_arrays(path, arrays: Mapping[str, np.ndarray], metadata=None) -> None:
    """Write `arrays` and a JSON value to `path`, in one piece.

    Parameters
    ----------
    path : str or path
        Replaced if it exists.
    arrays : dict of str to ndarray
    metadata : JSON value, optional

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
    from safetensors.numpy import save

    arrays = {name: np.asarray(values, order="C") for name, values in arrays.items()}
    text = json.dumps(metadata, sort_keys=True)
    header = {_JSON: text, _DIGEST: _digest(arrays, text)}
    write_bytes(path, save(arrays, metadata=header))


def load_arrays(path) -> tuple[dict[str, np.ndarray], object]:
    """``(arrays, metadata)`` of a file; metadata is None in one that others wrote.

    Raises
    ------
    OSError
        There is no such file, or it cannot be read.
    DamagedFileError
        It is no safetensors file, was cut short, or differs from its checksum.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    with path.open("rb"):  # the plain OSError, with its file name
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedFileError(
            f"{path} is not a whole safetensors file ({reason}): "
            "it was cut short, changed, or is something else"
        ) from None
    if _JSON not in header:
        return arrays, None
    if _digest(arrays, header[_JSON]) != header.get(_DIGEST):
        raise DamagedFileError(
            f"{path} is damaged: its content differs from its checksum; use another copy"
        )
    return arrays, json.loads(header[_JSON])


def write_bytes(path, content: bytes) -> None:
    """`content` at `path`, or what was there before: never a part."""
    path = Path(os.path.realpath(path))
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the rename itself, where a directory can be synced
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        values = arrays[name]
        digest.update(f"\n{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
