"""Named arrays in one safetensors file, written in one step (see ``files.py``) and checked when read.

In our own files the header has one JSON value and a SHA-256 of the whole content, so a file that was cut short or
changed is refused and never read in part. Files of other programs have neither, and are read as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore.io.fields import DEEPEST, DamagedFileError, check_file, read_json
from rnncore.io.files import write_bytes

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, PathLike

__all__ = ["DamagedFileError", "load_arrays", "load_metadata", "read_safetensors", "save_arrays"]

_LARGEST = 100_000_000  # bytes of a header; the format's own readers accept no more
_JSON, _DIGEST = "rnncore.json", "rnncore.sha256"
# Types of tensors, by the names in a file's header, that numpy has too.
_TYPES = ("BOOL", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "F16", "F32", "F64", "C64")


def save_arrays(path: PathLike, arrays: Mapping[str, ArrayLike], metadata: Any = None) -> None:
    """Write `arrays` and a JSON value to `path`, in one step.

    Parameters
    ----------
    path : str or path
        Replaced if it exists (see `rnncore.io.files`).
    arrays : dict of str to ndarray
    metadata : JSON value, optional

    Raises
    ------
    TypeError, ValueError
        `load_arrays` could not read what would be written; an existing file stays as it is.

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

    written = {name: _as_written(name, values) for name, values in arrays.items()}
    text = as_json(metadata, "metadata")
    header = {_JSON: text, _DIGEST: _digest(written, text)}
    try:
        content = save(written, metadata=header)
    except SafetensorError as error:
        raise ValueError(
            f"arrays, metadata: got a content that the format cannot hold ({error}), expected names and "
            f"metadata of at most {_LARGEST:,} bytes; keep large values in arrays"
        ) from None
    write_bytes(path, content)


def as_json(value: Any, name: str) -> str:
    """The JSON text of a value, refused if it could not be read again; errors begin with `name`.

    Raises
    ------
    TypeError, ValueError
        It is not a JSON value, or is too deep or too large.
    """
    try:
        text = json.dumps(value, sort_keys=True)
        read_json(text, name)
    except (TypeError, ValueError, RecursionError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(
            f"{name}: got a value that a file cannot hold ({error}), expected a JSON value: None, True, "
            f"False, strings, numbers, and lists and dicts of them with strings as keys, at most {DEEPEST} "
            "deep; convert numpy's numbers and arrays with .tolist(), sets with sorted"
        ) from None
    if len(json.dumps(text)) > _LARGEST:
        raise ValueError(
            f"{name}: got {len(text):,} bytes of JSON, expected at most {_LARGEST:,}; keep large values in "
            "arrays"
        )
    return text


def load_arrays(path: PathLike) -> tuple[dict[str, Array], Any]:
    """``(arrays, metadata)`` of a file; metadata is None if another program wrote it.

    Raises
    ------
    OSError
        There is no such file, or it cannot be read.
    DamagedFileError
        It is not a safetensors file, was cut short, or differs from its checksum.
    """
    return _load(path, wide=False)


def _load(path: PathLike, wide: bool) -> tuple[dict[str, Array], Any]:
    """See `load_arrays`; `wide` also reads bfloat16, as float32."""
    with _opened(path) as file:
        header = file.metadata() or {}
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        arrays = _bfloat16(path, [name for name, kind in kinds.items() if wide and kind == "BF16"])
        arrays |= {name: _tensor(path, file, name, kind) for name, kind in kinds.items() if name not in arrays}
    if _JSON not in header:
        return arrays, None
    if _digest(arrays, header[_JSON]) != header.get(_DIGEST):
        raise DamagedFileError(
            f"{path} is damaged: its content differs from its checksum; use another copy"
        )
    return arrays, read_json(header[_JSON], path)


def read_safetensors(path: PathLike) -> dict[str, Array]:
    """The tensors of any safetensors file by name, whichever program wrote it, as arrays that a model can load.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict of str to ndarray
        float16 and bfloat16 become float32, which has all their values; other types stay as they are. Metadata are left
        out; for a file that `save_arrays` wrote, the checksum in them is checked.

    Raises
    ------
    OSError
        There is no such file, or it cannot be read.
    DamagedFileError
        It is not a safetensors file, was cut short, differs from its checksum, or has a tensor of a type that numpy
        lacks, as those with 8 bits.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> import rnncore as rc
    >>> from safetensors.numpy import save_file
    >>> trained = rc.GRU(2, 3, seed=1).state_dict()
    >>> layer = rc.GRU(2, 3, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "theirs.safetensors"
    ...     save_file({f"rnn.{name}": array for name, array in trained.items()}, path)
    ...     layer.load_state_dict(rc.io.read_safetensors(path), prefix="rnn.")
    >>> bool((layer.parameters["bias_hh_l0"] == trained["bias_hh_l0"]).all())
    True
    """
    arrays, _ = _load(path, wide=True)
    return {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in arrays.items()}


def load_metadata(path: PathLike) -> Any:
    """The JSON value of a file alone, without a check of its checksum; None if another program wrote it."""
    with _opened(path) as file:
        header = file.metadata() or {}
    return read_json(header[_JSON], path) if _JSON in header else None


def _as_written(name: str, values: ArrayLike) -> Array:
    if not isinstance(name, str) or name == "__metadata__" or _has_surrogates(name):
        raise ValueError(
            f"arrays: got the name {name!r}, expected a string of Unicode characters other than "
            "'__metadata__', which the file format uses itself"
        )
    array = np.asarray(values, order="C")
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > 8:
        raise TypeError(
            f"arrays: got {name!r} of {array.dtype}, expected numbers of at most 8 bytes: float64, "
            "int64, bool, …"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


@contextmanager
def _opened(path: PathLike) -> Iterator[Any]:      # safetensors.safe_open, which has no types
    """An open file whose header has been found to fit its size; no tensor is allocated before that."""
    from safetensors import SafetensorError, safe_open

    check_file(path)
    with Path(path).open("rb"):  # the plain OSError, with its file name
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        if _is_of_torch(path):
            raise DamagedFileError(f"{path} is a file of torch, not a safetensors file; read it by torch.load(path), "
                                   "and give load_state_dict what it has") from None
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedFileError(
            f"{path} is not a complete safetensors file ({reason}): "
            "it was cut short, was changed, or is another kind of file"
        ) from None


def _is_of_torch(path: PathLike) -> bool:
    """Whether a file has the form of ``torch.save``: a zip archive, or in old versions a pickle."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == b"PK\x03\x04" or Path(path).suffix in (".pt", ".pth")
    except OSError:
        return False


def _tensor(path: PathLike, file: Any, name: str, kind: str) -> Array:
    if kind not in _TYPES:
        raise DamagedFileError(
            f"{path}: the tensor {name!r} is of type {kind}, which numpy does not have: convert it "
            "to float32 or float16 in the program that wrote it, in torch with .float()"
        )
    try:
        tensor: Array = file.get_tensor(name)
        return tensor
    except ValueError as error:  # more axes than numpy has
        raise _unreadable(path, name, error) from None


def _unreadable(path: PathLike, name: str, error: Exception) -> DamagedFileError:
    return DamagedFileError(f"{path}: the tensor {name!r} cannot be read: {error}")


def _bfloat16(path: PathLike, names: list[str]) -> dict[str, Array]:
    """Tensors of bfloat16, which numpy lacks, as float32: their 16 bits are the upper half of its 32.

    The header has been checked before, by `_opened`: offsets lie inside the file and fit the shapes.
    """
    found: dict[str, Array] = {}
    if not names:
        return found
    with Path(path).open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        for name in names:
            begin, end = header[name]["data_offsets"]
            file.seek(8 + size + begin)
            upper = np.frombuffer(file.read(end - begin), "<u2").astype(np.uint32)
            try:
                found[name] = (upper << 16).view(np.float32).reshape(header[name]["shape"])
            except ValueError as error:  # more axes than numpy has
                raise _unreadable(path, name, error) from None
    return found


def _digest(arrays: Mapping[str, Array], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        values = arrays[name]
        digest.update(f"\n{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
