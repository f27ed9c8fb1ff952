"""RTNeural's JSON, read and written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_dtype
from rnncore.io.fields import Field, check_file, named_errors, read_json
from rnncore.io.files import write_bytes
from rnncore.nn.layers import Linear
from rnncore.nn.sequence import SequenceModel
from rnncore.recurrent.base import RecurrentLayer

from .audio import FUNCTIONS, AudioModel
from .formats import RTNEURAL_LAYERS
from .torch import from_torch
from .weights import blocks, from_kernels, make_layer, of_layer, refuse_others, to_kernels

if TYPE_CHECKING:
    from rnncore._typing import Array, DTypeLike, PathLike

DENSE = ("dense", "time-distributed-dense")
RECURRENT = ("weight_ih", "weight_hh", "weight_hr", "weight_peephole", "bias_ih", "bias_hh")


def opened(path: PathLike) -> Field:
    """The content of a JSON file."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path: got {path!r:.60}, expected the path of a file, as a str or a pathlib.Path")
    check_file(path)
    return Field(read_json(Path(path).read_bytes(), path), path)


def _numbers(field: Field, shape: tuple[int, ...] | None, dtype: DTypeLike) -> Array:
    """Nested lists of numbers as an array, of this shape if one is given."""
    try:
        found = np.array(field.value)
    except ValueError:                  # rows of unequal length
        found = np.array(None)
    if found.dtype.kind not in "iuf":
        raise field.refuse("numbers in rows of equal length" if shape is None else f"numbers of shape {shape}")
    if shape not in (None, found.shape):
        raise field.refuse(f"numbers of shape {shape}, not {found.shape}")
    return rounded(field, found, dtype)


def rounded(field: Field, numbers: Array, dtype: DTypeLike) -> Array:
    """The numbers of a field in `dtype`; the first that is not finite there is refused by its place."""
    with np.errstate(over="ignore"):
        found = numbers.astype(dtype)
    if not np.isfinite(found).all():
        for k in np.argwhere(~np.isfinite(found))[0]:
            field = field.items()[k]
        raise field.refuse(f"a number that is finite in {found.dtype}")
    return found


def _last(shape: Field) -> int:
    """The last number of a shape, which is that of channels or units."""
    if not shape.items():
        raise shape.refuse("a list that ends with a number of channels or units")
    return shape.items()[-1].whole(1)


def from_rtneural(path: PathLike, *, dtype: DTypeLike = "float32") -> AudioModel:
    """A model from RTNeural's JSON.

    Parameters
    ----------
    path : path
        As RTNeural's script for Keras writes it; or a state_dict of torch, whose recurrent and linear layers are then
        applied in the file's order, with nothing between them, since the file does not say more.
    dtype : {"float32", "float64"}

    Returns
    -------
    AudioModel

    Raises
    ------
    NotImplementedError
        A layer or an activation is of another kind; the message names it.
    OSError, rnncore.io.DamagedFileError
        The file cannot be read, or a part of it is not as it should be; the message names it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import convert
    >>> layer = rc.GRU(1, 4, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "model.json"
    ...     convert.to_rtneural(layer, path)
    ...     model = convert.from_rtneural(path)
    >>> x = np.sin(np.arange(50.0)).reshape(50, 1, 1)
    >>> bool((model(x)[0] == layer(x)[0]).all())
    True
    """
    dtype = as_dtype(dtype)
    root = opened(path)
    if "layers" not in root:
        with named_errors(root):
            return _from_state(root, dtype)
    width = _last(root["in_shape"])
    if not root["layers"].items():
        raise root["layers"].refuse("a list of at least one layer")
    parts: list[tuple[str, Any]] = []
    for k, one in enumerate(root["layers"].items()):
        kind = one["type"].text()
        if kind not in (*DENSE, *RTNEURAL_LAYERS, "activation"):
            raise NotImplementedError(f"{path}: {one.name} is of the type {kind!r}, expected one of "
                                      f"{', '.join((*DENSE, *RTNEURAL_LAYERS, 'activation'))}")
        given = one.get("activation")
        activation = "" if given is None else given.text()
        units = _last(one["shape"])
        if kind in RTNEURAL_LAYERS:
            if activation not in ("", "tanh"):
                raise NotImplementedError(f"{path}: {one.name} has the activation {activation!r}, expected 'tanh', "
                                          "which is what RTNeural computes")
            parts.append((f"{kind}_{k}", _recurrent(one["weights"], RTNEURAL_LAYERS[kind], width, units, dtype)))
        else:
            if activation and activation not in FUNCTIONS:
                raise NotImplementedError(f"{path}: {one.name} has the activation {activation!r}, expected one of "
                                          f"{', '.join(FUNCTIONS)}")
            if kind in DENSE:
                parts.append((f"dense_{k}", _dense(one["weights"], width, units, dtype)))
            if activation:
                parts.append((f"{activation}_{k}", activation))
        width = units
    with named_errors(root):
        return AudioModel(parts)


def _dense(weights: Field, inputs: int, outputs: int, dtype: DTypeLike) -> Linear:
    if len(weights.items()) not in (1, 2):
        raise weights.refuse("a list of a kernel and a bias, or of a kernel alone")
    kernel, *bias = weights.items()
    state = {"weight": _numbers(kernel, (inputs, outputs), dtype).T}
    if bias:
        state["bias"] = _numbers(bias[0], (outputs,), dtype)
    return make_linear(state, dtype)


def make_linear(state: dict[str, Array], dtype: DTypeLike) -> Linear:
    """A linear layer with these weights, by torch's names."""
    outputs, inputs = state["weight"].shape
    linear = Linear(inputs, outputs, "bias" in state, dtype=dtype, seed=0)
    linear.load_state_dict(state)
    return linear


def _recurrent(weights: Field, mode: str, inputs: int, units: int, dtype: DTypeLike) -> RecurrentLayer:
    rows = len(blocks(mode)) * units
    kernel, recurrent, bias = weights.items(3)
    two = len(bias.items()) == 2 and isinstance(bias.items()[0].value, list)
    arrays = [_numbers(kernel, (inputs, rows), dtype), _numbers(recurrent, (units, rows), dtype),
              _numbers(bias, (2, rows) if two else (rows,), dtype)]
    return make_layer(mode, [from_kernels(mode, arrays)], dtype=dtype)


def _from_state(root: Field, dtype: DTypeLike) -> AudioModel:
    """A state_dict of torch in JSON."""
    fields = root.entries()
    if not fields:
        raise root.refuse("'layers', or the weights of a state_dict by name")
    if "state_dict" in fields and isinstance(fields["state_dict"].value, dict):
        others = ", ".join(name for name in fields if name != "state_dict") or "nothing"
        raise NotImplementedError(f"{root.source}: got weights under 'state_dict', beside {others}; expected the "
                                  "weights alone, since what is said beside them, such as a skip, would not be "
                                  "computed: write the content of 'state_dict' into a file of its own")
    state = {name: _numbers(field, None, dtype) for name, field in fields.items()}
    recurrent = {name for name in state if name.rpartition(".")[2].startswith(RECURRENT)}
    found = from_torch({name: state[name] for name in state if name in recurrent}) if recurrent else []
    layers = dict(found) if isinstance(found, list) else {"": found}
    parts: dict[tuple[str, bool], tuple[str, Any]] = {}     # by prefix, and whether it is recurrent
    for name, array in state.items():
        prefix, _, own = name.rpartition(".")
        weight = name.removesuffix(own) + "weight"
        if name in recurrent and prefix in layers:
            parts[prefix, True] = prefix or layers[prefix].mode.lower(), layers[prefix]
        elif own in ("weight", "bias") and weight in state and state[weight].ndim == 2:
            matrix, bias = state[weight], name.removesuffix(own) + "bias"
            biases = {"bias": _numbers(fields[bias], matrix.shape[:1], dtype)} if bias in state else {}
            parts[prefix, False] = prefix or "linear", make_linear({"weight": matrix} | biases, dtype)
        else:
            raise NotImplementedError(f"{root.source}: {name} of shape {array.shape} is no weight of a recurrent or a "
                                      "linear layer, expected those alone")
    return AudioModel(parts.values())


# ---- written ------------------------------------------------------------------------------------


def to_rtneural(model: AudioModel | SequenceModel | RecurrentLayer, path: PathLike) -> None:
    """Write a model as JSON that RTNeural reads.

    Parameters
    ----------
    model : AudioModel, SequenceModel or RecurrentLayer
        LSTMs and GRUs of one direction, linear layers, and activations after these. A stack of recurrent layers becomes
        several. A sequence model is its layer and its head, and predicts one value per step.
    path : path

    Raises
    ------
    NotImplementedError, ValueError
        RTNeural does not have something, or a weight is not finite; the message names it.
    """
    if isinstance(model, SequenceModel):
        if model.embedding is not None or model.readout != "steps":
            raise NotImplementedError(f"to_rtneural: got {model!r}, expected a model without embedding, with the "
                                      "readout 'steps'")
        model = AudioModel([("layer", _time_major(model.layer)), ("head", model.head)])
    if isinstance(model, RecurrentLayer):
        model = AudioModel([("layer", _time_major(model))])
    if not isinstance(model, AudioModel):
        raise TypeError(f"to_rtneural: got {type(model).__name__}, expected an AudioModel, a SequenceModel or a layer")
    if model.initial:
        raise NotImplementedError("to_rtneural: got a model with initial states, expected one without: RTNeural begins "
                                  "at zero; AudioModel(model.parts) has none")
    layers: list[dict[str, Any]] = []
    width = model._inputs or 1
    for name, part in model.parts:
        if isinstance(part, str):
            if layers and layers[-1]["type"] == "dense" and not layers[-1]["activation"]:
                layers[-1]["activation"] = part
            else:
                layers.append(_entry(name, "activation", part, layers[-1]["shape"][-1] if layers else width, []))
        elif isinstance(part, Linear):
            state = part.state_dict()
            bias = state.get("bias", np.zeros(part.out_features))
            layers.append(_entry(name, "dense", "", part.out_features, [state["weight"].T, bias]))
        else:
            layers += _entries(name, part)
    text = json.dumps({"in_shape": [None, None, width], "layers": layers}, allow_nan=False)
    write_bytes(os.fspath(path), text.encode())


def _entry(name: str, kind: str, activation: str, units: int, weights: list[Array]) -> dict[str, Any]:
    if not all(np.isfinite(array).all() for array in weights):
        raise ValueError(f"to_rtneural: got weights of {name!r} that are NaN or infinite, expected finite numbers: "
                         "JSON has no others")
    return {"type": kind, "activation": activation, "shape": [None, None, units],
            "weights": [array.tolist() for array in weights]}


def _entries(name: str, layer: RecurrentLayer) -> list[dict[str, Any]]:
    names = {mode: kind for kind, mode in RTNEURAL_LAYERS.items()}
    refuse_others(layer, "to_rtneural", "RTNeural", list(names))
    two = hasattr(layer, "reset_after")
    rows = len(blocks(layer.mode)) * layer.hidden_size
    none = {bias: np.zeros(rows, layer.dtype) for bias in ("bias_ih", "bias_hh")}
    return [_entry(name, names[layer.mode], "tanh", layer.hidden_size, kernels)
            for kernels in (to_kernels(layer.mode, none | weights, two) for weights in of_layer(layer))]


def _time_major(layer: RecurrentLayer) -> RecurrentLayer:
    """The same layer, with the steps first, as one sequence at a time has them in any case."""
    if not layer.batch_first:
        return layer
    other = type(layer)(**layer.options | {"batch_first": False}, dtype=layer.dtype, seed=0)
    other.load_state_dict(layer.state_dict())
    return other
