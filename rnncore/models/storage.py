"""Models on disk: one safetensors file with JSON metadata, no pickle.

Arrays are tensors; everything else is JSON in the file's metadata. A digest
over both refuses a file in which a byte was lost or changed. The file is written
under a temporary name in the same folder and renamed when whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

FORMAT = "rnncore-model-1"


def save_model(path, kind, params, state):
    """Write a model's class name, settings and learnt values to `path`.

    Examples
    --------
    >>> import os, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = os.path.join(folder.name, "m.safetensors")
    >>> save_model(file, "Markov", {"order": 1}, {"counts_": np.arange(3), "n_": 2})
    >>> load_model(file, "Markov")
    ({'order': 1}, {'counts_': array([0, 1, 2]), 'n_': 2})
    >>> folder.cleanup()
    """
    from safetensors.numpy import save

    tensors = {}
    head = {"class": kind, "params": _pack(params, "params", tensors),
            "state": _pack(state, "state", tensors)}
    text = json.dumps(head, sort_keys=True)
    data = save(tensors, metadata={"format": FORMAT, "model": text,
                                   "digest": _digest(text, tensors)})
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    except FileNotFoundError:
        raise FileNotFoundError(f"path: got {str(path)!r}, expected a file in an existing folder; "
                                f"make {str(path.parent)!r} first") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_model(path, kind=None):
    """``(params, state)`` of a saved model; with `kind` None ``(class name, params, state)``."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: got {str(path)!r}, expected a file written by save")
    try:
        with safe_open(path, framework="numpy") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"path: {str(path)!r} is damaged or no safetensors file ({error}); "
                         "save the model again") from None
    if meta.get("format") != FORMAT:
        raise ValueError(f"path: {str(path)!r} has format {meta.get('format')!r}, expected "
                         f"{FORMAT!r}, a model written by save")
    text = meta.get("model", "")
    if meta.get("digest") != _digest(text, tensors):
        raise ValueError(f"path: {str(path)!r} is damaged, its digest does not match its content; "
                         "save the model again")
    head = json.loads(text)
    if kind is not None and head["class"] != kind:
        raise ValueError(f"path: {str(path)!r} holds a {head['class']}, expected a {kind}; use "
                         f"{head['class']}.load or rnncore.models.load")
    params, state = _unpack(head["params"], tensors), _unpack(head["state"], tensors)
    return (params, state) if kind is not None else (head["class"], params, state)


def _digest(text, tensors):
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _pack(value, where, tensors):
    """JSON for `value`; arrays go to `tensors` under the name of where they were found."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise TypeError(f"{where}: got an array of {value.dtype}, expected numbers; this "
                            "value cannot be saved")
        tensors[where] = np.ascontiguousarray(value).reshape(value.shape)
        return {"array": where}
    if isinstance(value, np.generic):
        return _pack(value.item(), where, tensors)
    if isinstance(value, dict):
        return {"dict": [[_pack(k, where, tensors), _pack(v, f"{where}.{k}", tensors)]
                         for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_pack(v, f"{where}.{i}", tensors) for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{where}: got {type(value).__name__}, expected numbers, strings, arrays or "
                    "lists of them; this value cannot be saved")


def _unpack(value, tensors):
    if not isinstance(value, dict):
        return value
    (tag, content), = value.items()
    if tag == "array":
        return tensors[content]
    if tag == "dict":
        return {_unpack(k, tensors): _unpack(v, tensors) for k, v in content}
    items = [_unpack(v, tensors) for v in content]
    return tuple(items) if tag == "tuple" else items
