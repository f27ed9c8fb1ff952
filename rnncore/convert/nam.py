"""The LSTM models of Neural Amp Modeler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore._checks import as_dtype

from .audio import AudioModel
from .formats import NAM_LAYERS
from .rtneural import make_linear, opened, rounded
from .weights import blocks, make_layer

if TYPE_CHECKING:
    from rnncore._typing import Array, DTypeLike, PathLike


def from_nam(path: PathLike, *, dtype: DTypeLike = "float32") -> AudioModel:
    """A model from a ``.nam`` file of Neural Amp Modeler whose architecture is LSTM.

    Parameters
    ----------
    path : path
    dtype : {"float32", "float64"}

    Returns
    -------
    AudioModel
        Its parts are "lstm" and "head". Its `initial` state and its `sample_rate` are those of the file, and its
        `metadata` what the file says about the device.

    Raises
    ------
    NotImplementedError
        The architecture is another one; the message names it.
    OSError, rnncore.io.DamagedFileError
        The file cannot be read, or a part of it is not as it should be; the message names it.
    """
    dtype = as_dtype(dtype)
    root = opened(path)
    architecture = root["architecture"].text()
    if architecture not in NAM_LAYERS:
        raise NotImplementedError(f"{path}: the architecture is {architecture!r}, expected {', '.join(NAM_LAYERS)}: "
                                  "others are not recurrent")
    mode, config = NAM_LAYERS[architecture], root["config"]
    inputs, units, layers = (config[name].whole(1) for name in ("input_size", "hidden_size", "num_layers"))
    outputs = config["out_channels"].whole(1) if "out_channels" in config else 1
    rows = len(blocks(mode)) * units
    # For each layer its weights and bias, and the states h and c before the first sample; then those of the head.
    sizes = [rows * ((inputs if k == 0 else units) + units) + rows + 2 * units for k in range(min(layers, 10_000))]
    expected = sum(sizes) + outputs * units + outputs
    given = root["weights"]
    if len(given.items()) != expected or len(sizes) < layers:
        raise given.refuse(f"{expected} numbers, by the sizes in its config")
    numbers = rounded(given, np.array([value.number() for value in given.items()]), dtype)
    place = 0

    def take(*shape: int) -> Array:
        nonlocal place
        begin, place = place, place + int(np.prod(shape))
        return numbers[begin:place].reshape(shape)

    parts, states = [], []
    for k in range(layers):
        width = inputs if k == 0 else units
        both, bias = take(rows, width + units), take(rows)
        parts.append({"weight_ih": both[:, :width], "weight_hh": both[:, width:], "bias_ih": bias,
                      "bias_hh": np.zeros_like(bias)})
        states.append(take(2, 1, units))
    head = make_linear({"weight": take(outputs, units), "bias": take(outputs)}, dtype)
    h, c = np.stack(states, axis=1)
    rate, metadata = root.get("sample_rate"), root.get("metadata")
    return AudioModel([(mode.lower(), make_layer(mode, parts, dtype=dtype)), ("head", head)],
                      initial={mode.lower(): (h, c)}, sample_rate=None if rate is None else rate.number(0),
                      metadata=None if metadata is None else metadata.value)
