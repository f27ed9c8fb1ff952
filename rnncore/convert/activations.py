"""The functions of a cell's gates and of its output, as our layers, ONNX and Keras write them.

Here a function is a tuple of its name and its parameters: ("tanh",), ("leakyrelu", 0.2). A layer has one list of them
for each direction, in ONNX's order: f, g, h of an LSTM, f, g of a GRU, f of an RNN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnncore.recurrent import descriptions
from rnncore.recurrent.variants import Activation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rnncore.recurrent.base import RecurrentLayer
    from rnncore.recurrent.descriptions import Description

Function = tuple[Any, ...]      # (name, alpha, beta), as many as the function has
Functions = tuple[Function, ...]

# ONNX's names.
ONNX = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "affine": "Affine", "leakyrelu": "LeakyRelu",
        "thresholdedrelu": "ThresholdedRelu", "scaledtanh": "ScaledTanh", "hardsigmoid": "HardSigmoid", "elu": "Elu",
        "softsign": "Softsign", "softplus": "Softplus"}
# Those of Keras that have a name there; its hard_sigmoid is relu6(x + 3)/6.
KERAS: dict[str, Function] = {
    "sigmoid": ("sigmoid",),
    "tanh": ("tanh",),
    "relu": ("relu",),
    "linear": ("affine", 1.0, 0.0),
    "leaky_relu": ("leakyrelu", 0.2),
    "hard_sigmoid": ("hardsigmoid", 1 / 6, 0.5),
    "elu": ("elu", 1.0),
    "softsign": ("softsign",),
    "softplus": ("softplus",),
}


def own(cell: Description) -> Functions:
    """The functions of a cell itself."""
    return tuple((str(cell.curve_of(names[0])),) for names in cell.activated)


def of_layer(layer: RecurrentLayer) -> list[Functions]:
    """The functions of each direction of a layer."""
    variant = layer.cell.variant
    if variant is None:
        return [own(layer.cell)] * layer.directions
    return [tuple(map(_whole, variant.of_direction(direction))) for direction in range(layer.directions)]


def _whole(function: Activation) -> Function:
    spelled = function.spelled
    return (spelled,) if isinstance(spelled, str) else spelled


def options(mode: str, directions: Sequence[Functions]) -> dict[str, Any]:
    """The options of a layer of this mode whose directions have these functions."""
    first = directions[0]
    if any(other != first for other in directions):
        return {"activations": [function for functions in directions for function in functions]}
    return {} if first == own(descriptions.first(mode)) else {"activations": list(first)}


# ---- ONNX ---------------------------------------------------------------------------------------


def from_onnx(names: Sequence[str], alphas: Iterable[float], betas: Iterable[float]) -> list[Function]:
    """Functions by ONNX's names, in any case; those that have an alpha or a beta take the next one of the lists.

    Examples
    --------
    >>> from_onnx(["Sigmoid", "LeakyRelu", "Elu"], [0.3], [])
    [('sigmoid',), ('leakyrelu', 0.3), ('elu', 1.0)]
    """
    left = [iter(alphas), iter(betas)]
    found: list[Function] = []
    for name in names:
        if name.lower() not in ONNX:
            raise NotImplementedError(f"activations: got {name!r}, expected one of "
                                      f"{', '.join(ONNX.values())}")
        own_name, *defaults = _whole(Activation.of(name, "activations"))
        found.append((own_name, *(next(given, default) for given, default in zip(left, defaults, strict=False))))
    for given, what in zip(left, ("activation_alpha", "activation_beta"), strict=True):
        if (more := next(given, None)) is not None:
            raise ValueError(f"{what}: got {more} which no function of {', '.join(names)} takes")
    return found


def to_onnx(functions: Iterable[Function]) -> dict[str, Any]:
    """The attributes of a node with these functions."""
    names, alphas, betas = [], [], []
    for name, *parameters in functions:
        names.append(ONNX[name])
        alphas += parameters[:1]
        betas += parameters[1:]
    given = {"activations": names, "activation_alpha": alphas, "activation_beta": betas}
    return {name: values for name, values in given.items() if values}


# ---- Keras --------------------------------------------------------------------------------------


def from_keras(keras: Any, function: Any, where: str) -> Function:
    """An activation of a Keras layer: a function with a name, or a layer with a parameter."""
    layers = keras.layers
    if isinstance(function, layers.LeakyReLU):
        return ("leakyrelu", float(function.negative_slope))
    if isinstance(function, layers.ELU):
        return ("elu", float(function.alpha))
    if isinstance(function, layers.ReLU) and function.max_value is None and not function.negative_slope:
        return ("thresholdedrelu", float(function.threshold)) if function.threshold else ("relu",)
    for name, ours in KERAS.items():
        if function is keras.activations.get(name):
            return ours
    told = getattr(function, "__name__", None) or getattr(function, "name", function)
    raise NotImplementedError(f"{where}: got the activation {told}, expected {', '.join(KERAS)}, or the layers "
                              "LeakyReLU, ELU or ReLU with a threshold")


def to_keras(keras: Any, function: Function) -> Any:
    """The activation of a Keras layer that computes the same."""
    for theirs, ours in KERAS.items():
        if function == ours:
            return theirs
    name, *parameters = function
    make = {"leakyrelu": lambda alpha: keras.layers.LeakyReLU(negative_slope=alpha),
            "elu": lambda alpha: keras.layers.ELU(alpha=alpha),
            "thresholdedrelu": lambda alpha: keras.layers.ReLU(threshold=alpha)}
    if name not in make:
        raise NotImplementedError(f"to_keras: got the activation {function}, which Keras does not have; expected "
                                  f"{', '.join(map(str, KERAS.values()))}, or leakyrelu, elu or thresholdedrelu")
    return make[name](*parameters)
