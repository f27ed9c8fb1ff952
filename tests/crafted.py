"""Crafted files: a valid file with one thing changed and its checksums made to match.

A reader must either read such a file, or refuse it with an error that names it; and it must not use
much memory in doing so.
"""

import json
import tracemalloc
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from rnncore.io import safetensors

DEEP = "deep"  # stands for a list in a list in a list …
VALUES = (
    None, True, -1, 0, 1, 10**9, 2**63, 10**400, 0.5, -0.5, float("nan"), float("inf"), "", "x", "lstm",
    [], [1], {}, {"a": 1}, {"array": "x", "list": []}, DEEP,
)  # fmt: skip


def save_crafted(path, arrays, metadata):
    """Like `save_arrays`, but without its checks, so that a file can be written that it would refuse."""
    arrays = {name: safetensors._as_written(name, values) for name, values in arrays.items()}
    text = json.dumps(metadata, sort_keys=True)
    header = {safetensors._JSON: text, safetensors._DIGEST: safetensors._digest(arrays, text)}
    Path(path).write_bytes(save(arrays, metadata=header))


def deep(depth=300):
    """A list in a list in a list …"""
    value = []
    for _ in range(depth):
        value = [value]
    return value


def places(value, path=()):
    """The path (keys and indices) to every part of a JSON value, except the value itself."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        yield (*path, key)
        if isinstance(part, (dict, list)):
            yield from places(part, (*path, key))


def changed(value, rng):
    """A copy with one part replaced, removed, doubled or renamed; and a text that tells which."""
    value = json.loads(json.dumps(value))  # a copy, however deep
    found = list(places(value))
    path = found[rng.integers(len(found))]
    owner = value
    for key in path[:-1]:
        owner = owner[key]
    key, how = path[-1], rng.choice(["replace", "replace", "replace", "remove", "rename", "double"])
    if how == "replace":
        new = VALUES[rng.integers(len(VALUES))]
        owner[key] = deep() if new is DEEP else json.loads(json.dumps(new))
        how = f"replace by {new!r:.30}"
    elif how == "remove":
        del owner[key]
    elif isinstance(owner, list):
        owner.insert(key, owner[key])
    else:
        owner[f"{key}x" if how == "rename" else "another"] = owner.pop(key) if how == "rename" else owner[key]
    return value, f"{path}: {how}"


def changed_arrays(arrays, rng):
    """A copy with one array renamed, removed, reshaped, converted or with other values; and a text that tells which."""
    arrays = dict(arrays)
    name = list(arrays)[rng.integers(len(arrays))]
    array, how = arrays[name], rng.choice(["rename", "remove", "reshape", "retype", "values", "empty"])
    if how == "rename":
        arrays[f"{name}x"] = arrays.pop(name)
    elif how == "remove":
        del arrays[name]
    elif how == "reshape":
        arrays[name] = [array.reshape(-1), array[None], array.repeat(2).ravel(), array.ravel()[:-1]][
            rng.integers(4)
        ]
    elif how == "retype":
        kind = rng.choice(["int32", "int64", "float16", "float32", "float64", "bool", "complex64"])
        with np.errstate(all="ignore"):
            arrays[name] = array.astype(kind)
        how = f"retype to {kind}"
    elif how == "values":
        value = [np.nan, np.inf, -1.0, 1e300, 2.0**62][rng.integers(5)]
        arrays[name] = array.copy()
        if array.size:
            with np.errstate(all="ignore"):
                arrays[name].flat[rng.integers(array.size)] = np.array(value).astype(array.dtype)
        how = f"value {value}"
    else:
        arrays[name] = np.zeros((0, *array.shape[1:], 10**6), array.dtype)
    return arrays, f"{name}: {how}"


def read(reader, path, what, most=8 * 2**20):
    """The result of `reader(path)`, or None if it refuses the file, which must be by name and with little memory."""
    tracemalloc.start()
    try:
        found, told = reader(path), None
    except (ValueError, OSError) as error:
        found, told = None, str(error)
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert told is None or str(path) in told, f"{what}: {told}"
    assert peak < most, f"{what}: {peak:,} bytes"
    return found
