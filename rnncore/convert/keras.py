"""From Keras layers, models and files, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnncore._checks import as_array
from rnncore.module import Module
from rnncore.recurrent import descriptions
from rnncore.recurrent.cells import Cell

from . import activations
from .formats import KERAS_CELLS, KERAS_LAYERS
from .keras_files import read_weights
from .keras_layer import KerasLayer
from .optional import package
from .weights import (
    NamedLayer,
    from_kernels,
    make_cell,
    make_layer,
    of_layer,
    plain_layer,
    refuse_others,
    to_kernels,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rnncore.recurrent.base import RecurrentLayer

    from .weights import Weights


class KerasCell(NamedTuple):
    """What a cell of Keras is, in our terms."""

    name: str
    mode: str
    options: dict[str, Any]
    functions: activations.Functions
    weights: Weights


def from_keras(source: Any, *, into: Any = None) -> Any:
    """Layers of rnncore with the weights of Keras's.

    Parameters
    ----------
    source : Keras layer, Keras model or path
        An LSTM, a GRU, a SimpleRNN, an RNN of their cells or of a stack of them, a Bidirectional of one of these, or
        one of the cells alone. Or a model that contains some. Or the path of a ``.keras`` file, which Keras reads in
        its safe mode, or that of a ``.weights.h5`` file.
    into : layer of rnncore, or mapping of names to layers, optional
        For a ``.weights.h5`` file, which has weights and nothing else: the layers that get them, each by the name of
        the Keras layer, or one layer if the file has weights of its shapes once. It may be a Keras model or layer, too.

    Returns
    -------
    RecurrentLayer, KerasLayer or Cell, or list of NamedLayer
        One layer, which is ``batch_first`` and gives the whole sequence. A `KerasLayer` for one that goes backwards, or
        that merges its directions in another way than by concatenation. For a model, or for a stack of cells of unequal
        sizes, a list of pairs (name, layer) in the model's order.

    Raises
    ------
    ImportError
        Keras, or h5py for a file of weights, is not installed.
    NotImplementedError
        There is no such layer in rnncore; the message names what is missing.
    ValueError, TypeError, KeyError
        Nothing recurrent is found, or something does not fit; the message names it.

    Notes
    -----
    ``dropout`` and ``recurrent_dropout``, which act in training only, are left out, and so are regularizers,
    constraints and ``stateful``. For masks see `drop_masked`.

    Examples
    --------
    >>> import keras
    >>> from rnncore import convert
    >>> theirs = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True))
    >>> theirs.build((None, None, 3))
    >>> convert.from_keras(theirs)
    LSTM(3, 4, batch_first=True, bidirectional=True, dtype='float32')
    """
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if path.endswith(".weights.h5"):
            return _from_weights(path, into)
        if not path.endswith(".keras"):
            raise ValueError(f"source: got {path!r}, expected a .keras or a .weights.h5 file; load any other in Keras, "
                             "and give the model")
        if into is not None:
            raise TypeError(f"into: got {type(into).__name__} with a .keras file, which has its model; expected None")
        return _from_file(path)
    if into is not None:
        raise TypeError(f"into: got {type(into).__name__} with a {type(source).__name__}, expected it with a "
                        ".weights.h5 file alone")
    keras = package("keras", "from_keras")
    if not isinstance(source, keras.layers.Layer):
        raise TypeError(f"source: got {type(source).__name__}, expected a layer or a model of Keras, or the path of a "
                        "file")
    if type(source).__name__ in KERAS_CELLS:
        cell = _cell(keras, source)
        return make_cell(cell.mode, cell.weights, **cell.options, **activations.options(cell.mode, [cell.functions]))
    if _is_recurrent(keras, source):
        return _convert(keras, source)
    found: list[NamedLayer] = []
    for name, layer in _recurrent_in(keras, source, ""):
        converted = _convert(keras, layer)
        found += [NamedLayer(f"{name}/{own}", one) for own, one in converted] if isinstance(converted, list) else [
            NamedLayer(name, converted)]
    if not found:
        raise ValueError(f"source: got a {type(source).__name__} without a recurrent layer, expected at least one")
    return found


def _from_file(path: str) -> Any:
    keras = package("keras", "from_keras")
    with open(path, "rb"):              # the plain OSError, with its file name
        pass
    # A process that called keras.config.enable_unsafe_deserialization overrides safe_mode=True, and the scope that.
    scope = package("keras.src.saving.serialization_lib", "from_keras").SafeModeScope(True)
    try:
        with scope:
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:          # Keras raises errors of many kinds about files
        reason = str(error).strip().splitlines()
        raise ValueError(f"source: {path} cannot be read in Keras's safe mode ({reason[0] if reason else error!r}); if "
                         "you trust the file, load it in Keras yourself, and give the model") from error
    return from_keras(model)


def _from_weights(path: str, into: Any) -> Any:
    if into is None:
        raise TypeError(f"into: got None with {path!r}, which has weights alone; expected the layer that gets them, or "
                        "a dict of layers by the names of Keras's")
    if isinstance(into, Mapping | Module | KerasLayer):
        return read_weights(path, into)
    keras = package("keras", "from_keras")
    if not isinstance(into, keras.layers.Layer):
        raise TypeError(f"into: got {type(into).__name__}, expected a layer of rnncore, a dict of layers by the names "
                        "of Keras's, or a layer or a model of Keras")
    keras.saving.load_weights(into, path)
    return from_keras(into)


# ---- layers -------------------------------------------------------------------------------------


def _is_recurrent(keras: Any, layer: Any) -> bool:
    return isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional)


def _recurrent_in(keras: Any, layer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The recurrent layers inside a model or a layer, each with its name, in the order in which Keras keeps them."""
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        name = prefix + inner.name
        if _is_recurrent(keras, inner):
            yield name, inner
        elif type(inner).__name__ not in KERAS_CELLS:
            yield from _recurrent_in(keras, inner, f"{name}/")


def _convert(keras: Any, layer: Any) -> Any:
    """A layer of ours for an RNN or a Bidirectional of Keras; for a stack of unequal cells a list of named layers."""
    if not isinstance(layer, keras.layers.Bidirectional):
        cells = _cells(keras, layer)
        alike = all(cell._replace(name="", weights={}) == cells[0]._replace(name="", weights={}) and
                    cell.weights.keys() == cells[0].weights.keys() and
                    cell.weights["weight_hh"].shape == cells[0].weights["weight_hh"].shape for cell in cells)
        if not alike and layer.go_backwards:
            raise NotImplementedError(f"{layer.name}: got a stack of unequal cells with go_backwards=True, expected "
                                      "go_backwards=False, or cells of one class and size")
        if not alike:
            return [NamedLayer(cell.name, _layer([cell])) for cell in cells]
        return KerasLayer(_layer(cells), go_backwards=True) if layer.go_backwards else _layer(cells)
    both = [_cells(keras, one) for one in (layer.forward_layer, layer.backward_layer)]
    (forward, *upper), (backward, *_) = both
    if upper:
        raise NotImplementedError(f"{layer.name}: got a Bidirectional of a stack of cells, whose directions meet at "
                                  "its end alone; convert its forward_layer and its backward_layer")
    names = ("mode", "options")
    if [getattr(forward, name) for name in names] != [getattr(backward, name) for name in names] or any(
            forward.weights[name].shape != backward.weights.get(name, np.empty(0)).shape for name in forward.weights):
        raise NotImplementedError(f"{layer.name}: got a Bidirectional of unequal layers, expected the same class, "
                                  "units, use_bias and options; convert its forward_layer and its backward_layer")
    found = _layer([forward, backward], bidirectional=True)
    merge: Any = layer.merge_mode or "concat"
    backwards = layer.forward_layer.go_backwards
    return found if merge == "concat" and not backwards else KerasLayer(found, merge, backwards)


def _layer(cells: list[KerasCell], bidirectional: bool = False) -> RecurrentLayer:
    functions = [cell.functions for cell in cells[:1 + bidirectional]]
    mode = cells[0].mode
    return make_layer(mode, [cell.weights for cell in cells], batch_first=True, bidirectional=bidirectional,
                      **cells[0].options, **activations.options(mode, functions))


def _cells(keras: Any, layer: Any) -> list[KerasCell]:
    """The cells of an RNN of Keras, from the lowest."""
    if not isinstance(layer, keras.layers.RNN):
        raise NotImplementedError(f"{layer.name}: got a {type(layer).__name__}, expected an LSTM, a GRU, a SimpleRNN "
                                  "or an RNN of their cells")
    known = [keras.layers.RNN, *(getattr(keras.layers, name) for name in KERAS_LAYERS.values())]
    if type(layer).call not in [kind.call for kind in known]:
        raise NotImplementedError(f"{layer.name}: got a {type(layer).__name__}, which has a call of its own; expected "
                                  "that of Keras's LSTM, GRU, SimpleRNN or RNN")
    cell = layer.cell
    cells = cell.cells if isinstance(cell, keras.layers.StackedRNNCells) else [cell]
    return [_cell(keras, one) for one in cells]


def _cell(keras: Any, cell: Any) -> KerasCell:
    name = next((name for name in KERAS_CELLS if isinstance(cell, getattr(keras.layers, name))), None)
    if name is None or type(cell).call is not getattr(keras.layers, name).call:
        raise NotImplementedError(f"{getattr(cell, 'name', cell)}: got the cell {type(cell).__name__}, expected one of "
                                  f"Keras's own: {', '.join(KERAS_CELLS)}")
    if not cell.built:
        raise ValueError(f"{cell.name}: got a {type(cell).__name__} without weights yet, expected one that was called, "
                         "or whose layer was built by .build((None, None, features))")
    mode = KERAS_CELLS[name]
    functions = [activations.from_keras(keras, getattr(cell, which), f"{cell.name}.{which}")
                 for which in ("recurrent_activation", "activation") if hasattr(cell, which)]
    if len(functions) < len(descriptions.first(mode).activated):
        functions.append(functions[-1])         # an LSTM's activation is that of its candidate, and that of its output
    arrays = [as_array(keras.ops.convert_to_numpy(variable), cell.name)
              for variable in (cell.kernel, cell.recurrent_kernel, cell.bias) if variable is not None]
    options = {}
    if hasattr(cell, "reset_after"):
        options["reset_after"] = bool(cell.reset_after)
    return KerasCell(cell.name, mode, options, tuple(functions), from_kernels(mode, arrays))


# ---- back ---------------------------------------------------------------------------------------


def to_keras(layer: RecurrentLayer | KerasLayer | Cell, **options: Any) -> Any:
    """A Keras layer with the weights of a layer or a cell of rnncore.

    Parameters
    ----------
    layer : LSTM, GRU, RNN, `KerasLayer`, or a cell
    options
        For the Keras layer, or for the last one of a stack: ``name``, ``return_state``, and so on. ``return_sequences``
        is True by default. What the layer determines, such as ``units`` and ``dtype``, is refused.

    Returns
    -------
    Keras layer, or keras.Sequential for a stack of layers
        It is built, and takes (B, T, I), whatever the layout of `layer`. The two biases of an LSTM or an RNN become
        their sum, of which Keras has one.

    Raises
    ------
    ImportError
        Keras is not installed.
    NotImplementedError
        Keras has no such layer; the message names the option.
    TypeError
        `layer` is none of these, or an option is one that the layer determines.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import convert
    >>> layer = rc.GRU(3, 4, batch_first=True, seed=0)
    >>> theirs = convert.to_keras(layer)
    >>> x = np.ones((2, 5, 3), "float32")
    >>> bool(np.abs(np.asarray(theirs(x).detach()) - layer(x)[0]).max() < 1e-6)
    True
    """
    merge, backwards, plain = "concat", False, layer
    if isinstance(layer, KerasLayer):
        merge, backwards, plain = layer.merge, layer.go_backwards, layer.layer
    plain = plain_layer(plain, "to_keras")
    refuse_others(plain, "to_keras", "Keras", list(KERAS_LAYERS), reset_after=None, nonlinearity=None, activations=None)
    keras = package("keras", "to_keras")
    functions, two_biases = activations.of_layer(plain), getattr(plain, "reset_after", False)
    config = _config(keras, plain, functions[0])
    for option, value in options.items():
        if option in (*config, "go_backwards", "merge_mode", "backward_layer"):
            raise TypeError(f"{option}: got {value!r:.60}, expected none: to_keras sets it to what the layer has; give "
                            "other options of the Keras layer, such as name or return_state")
    if isinstance(layer, Cell):
        kind = getattr(keras.layers, f"{KERAS_LAYERS[plain.mode]}Cell")
        cell = kind(**config, **options)
        cell.build((None, plain.input_size))
        cell.set_weights(to_kernels(plain.mode, of_layer(plain)[0], two_biases))
        return cell
    weights, made = of_layer(plain), []
    for k in range(plain.num_layers):
        last, inputs = k == plain.num_layers - 1, plain.structure.parts[k * plain.directions].input_size
        given = {"return_sequences": True} | (options if last else {})
        name = {"name": given.pop("name")} if "name" in given else {}
        parts = weights[k * plain.directions:(k + 1) * plain.directions]
        # A stack goes backwards if its lowest layer does: the others take the steps as they come.
        turned = [(backwards and k == 0) != (direction == 1) for direction in range(plain.directions)]
        kind = getattr(keras.layers, KERAS_LAYERS[plain.mode])
        each = [{**_config(keras, plain, own), "go_backwards": turn} | given
                for turn, own in zip(turned, functions, strict=True)]
        if plain.bidirectional:
            forward, backward = (kind(**arguments) for arguments in each)
            one = keras.layers.Bidirectional(forward, merge if last else "concat", backward_layer=backward, **name)
        else:
            one = kind(**each[0], **name)
        one.build((None, None, inputs))
        one.set_weights([array for part in parts for array in to_kernels(plain.mode, part, two_biases)])
        made.append(one)
    return made[0] if len(made) == 1 else keras.Sequential([keras.layers.Input((None, plain.input_size)), *made])


def _config(keras: Any, layer: RecurrentLayer, functions: activations.Functions) -> dict[str, Any]:
    """The arguments of a Keras layer or cell."""
    config = {"units": layer.hidden_size, "use_bias": layer.bias, "dtype": layer.dtype.name}
    *gates, output = functions
    if len(functions) == 3:             # an LSTM's: Keras has one function for its candidate and its output
        gates.remove(functions[1])
        if functions[1] != output:
            raise NotImplementedError(f"to_keras: got a layer whose candidate has {functions[1]} and whose output has "
                                      f"{output}, expected the same: Keras has one activation for both")
    for name, function in zip(("activation", "recurrent_activation"), (output, *gates), strict=False):
        config[name] = activations.to_keras(keras, function)
    if hasattr(layer, "reset_after"):
        config["reset_after"] = layer.reset_after
    return config
