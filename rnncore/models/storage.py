"""Models on disk: one safetensors file, no pickle.

Arrays are the file's tensors; everything else is its JSON value. Whole files
only: they are written aside and renamed, and carry a checksum (``rnncore.io``).
"""

from __future__ import annotations

import numpy as np

from rnncore.io.safetensors import DamagedFileError, load_arrays, save_arrays

FORMAT = "rnncore model 1"


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
    arrays: dict[str, np.ndarray] = {}
    head = {"format": FORMAT, "class": kind, "params": _pack(params, "params", arrays),
            "state": _pack(state, "state", arrays)}
    save_arrays(path, arrays, head)


def load_model(path, kind=None):
    """``(params, state)`` of a saved model; with `kind` None ``(class name, params, state)``.

    Raises
    ------
    OSError
        There is no such file.
    DamagedFileError, ValueError
        It is damaged, no model, or one of another class.
    """
    arrays, head = load_arrays(path)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise DamagedFileError(f"{path} holds no sequence model; expected a file written by "
                               "a model's save")
    if kind is not None and head["class"] != kind:
        raise ValueError(f"{path} holds a {head['class']}, expected a {kind}; use "
                         f"{head['class']}.load or rnncore.models.load")
    params, state = _unpack(head["params"], arrays), _unpack(head["state"], arrays)
    return (params, state) if kind is not None else (head["class"], params, state)


def _pack(value, where, arrays):
    """JSON for `value`; arrays go to `arrays` under the name of where they were found."""
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


def _unpack(value, arrays):
    if not isinstance(value, dict):
        return value
    (tag, content), = value.items()
    if tag == "array":
        return arrays[content]
    if tag == "dict":
        return {_unpack(k, arrays): _unpack(v, arrays) for k, v in content}
    items = [_unpack(v, arrays) for v in content]
    return tuple(items) if tag == "tuple" else items
