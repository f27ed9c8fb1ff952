"""From torch's modules, and from files of its weights, and back."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnncore._checks import as_array
from rnncore.io.safetensors import read_safetensors
from rnncore.module import renamed
from rnncore.recurrent import descriptions
from rnncore.recurrent.cells import Cell

from .formats import TORCH_BLOCKS, TORCH_MODES
from .optional import package
from .weights import NamedLayer, make_cell, make_layer, plain_layer, refuse_others

if TYPE_CHECKING:
    from rnncore._typing import PathLike
    from rnncore.recurrent.base import RecurrentLayer

    from .weights import Weights

_NAME = re.compile(r"(?P<prefix>(?:.*\.)?)(?P<name>(?:weight|bias)_(?:ih|hh|hr|peephole))"
                   r"(?P<suffix>(?:_l(?P<layer>\d+)(?P<reverse>_reverse)?)?)")


def from_torch(source: Any, *, nonlinearity: str | None = None, batch_first: bool | None = None,
               prefix: str | Mapping[str, str | None] | None = None) -> Any:
    """Layers of rnncore with the weights of torch's.

    Parameters
    ----------
    source : torch.nn.Module, mapping or path
        An LSTM, GRU or RNN, one of their cells, or a model that contains some. Or a state_dict of one of these, with
        tensors or arrays: as a mapping, in a file of ``torch.save``, which is read by torch's loader for weights alone,
        or in a safetensors file, which is read without torch. Tensors of half precision become float32.
    nonlinearity : {"tanh", "relu", "sigmoid"}, optional
        That of the RNNs in a state_dict, which does not say it.
    batch_first : bool, optional
        For the layers in a state_dict, which does not say it; False by default.
    prefix : str or mapping, optional
        New beginnings for the names in a state_dict, as `rnncore.LSTM.load_state_dict` takes it. A name that is mapped
        to None is left out.

    Returns
    -------
    RecurrentLayer or Cell, or list of NamedLayer
        One layer, or for a model a list of pairs (name, layer), in the model's order.

    Raises
    ------
    ImportError
        torch is needed and not installed.
    NotImplementedError
        A module computes something else than torch's own, because its class replaces ``forward``.
    ValueError, TypeError, KeyError
        Nothing recurrent is found, or something is missing; the message names it.

    Examples
    --------
    >>> import torch
    >>> from rnncore import convert
    >>> convert.from_torch(torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True))
    LSTM(3, 4, num_layers=2, bidirectional=True, dtype='float32')
    >>> model = torch.nn.Sequential(torch.nn.RNN(3, 4, nonlinearity="relu"))
    >>> convert.from_torch(model.state_dict(), nonlinearity="relu")
    [NamedLayer(name='0', layer=RNN(3, 4, nonlinearity='relu', dtype='float32'))]
    """
    if isinstance(source, str | os.PathLike):
        source = _read(source)
    if isinstance(source, Mapping):
        state = source if prefix is None else renamed(source, prefix)
        return _from_state(state, nonlinearity, bool(batch_first))
    torch = package("torch", "from_torch")
    if not isinstance(source, torch.nn.Module):
        raise TypeError(f"source: got {type(source).__name__}, expected a module of torch, its state_dict, or the path "
                        "of a file that holds one")
    for name, value in (("nonlinearity", nonlinearity), ("batch_first", batch_first), ("prefix", prefix)):
        if value is not None:
            raise TypeError(f"{name}: got {value!r} with a module, which says it itself; expected None")
    kinds = torch.nn.RNNBase, torch.nn.modules.rnn.RNNCellBase
    if isinstance(source, kinds):
        return _from_module(source, "source")
    found = [NamedLayer(name, _from_module(module, name)) for name, module in source.named_modules()
             if isinstance(module, kinds)]
    if not found:
        raise ValueError(f"source: got a {type(source).__name__} without an LSTM, GRU or RNN, expected at least one")
    return found


def _from_module(module: Any, name: str) -> RecurrentLayer | Cell:
    home = type(module).forward.__module__
    if not home.startswith(("torch.nn.modules.rnn", "rnncore.torch")):
        raise NotImplementedError(f"{name}: got a {type(module).__name__} whose forward is its own, from {home}; "
                                  "expected that of torch.nn; if it computes the same, give its state_dict")
    if not hasattr(module, "mode"):
        options = {}
        if hasattr(module, "nonlinearity"):
            options["nonlinearity"] = module.nonlinearity
        weights = {key: as_array(getattr(module, key), key) for key in _names(module.bias)}
        return make_cell(_mode(*weights["weight_hh"].shape), weights, **options)
    mode, options = TORCH_MODES[module.mode]
    parts = []
    for layer in range(module.num_layers):
        for end in ("", "_reverse")[:2 if module.bidirectional else 1]:
            names = [*_names(module.bias), *["weight_hr"] * bool(module.proj_size)]
            parts.append({key: as_array(getattr(module, f"{key}_l{layer}{end}"), key) for key in names})
    shared = {key: getattr(module, key) for key in ("batch_first", "bidirectional")}
    if module.num_layers > 1:           # with one layer it has no effect in torch either, and ours would warn
        shared["dropout"] = module.dropout
    return make_layer(mode, parts, **shared, **options)


def _names(bias: bool) -> list[str]:
    return ["weight_ih", "weight_hh", *["bias_ih", "bias_hh"] * bias]


def _mode(rows: int, units: int) -> str:
    mode = TORCH_BLOCKS.get(rows // units)
    if mode is None or rows % units:
        raise ValueError(f"weight_hh: got {rows} rows for {units} units, expected 1, 3 or 4 times as many: an RNN, a "
                         "GRU or an LSTM")
    return mode


# ---- state_dicts --------------------------------------------------------------------------------


def _from_state(state: Mapping[str, Any], nonlinearity: str | None, batch_first: bool) -> Any:
    groups: dict[str, dict[str, re.Match[str]]] = {}
    for name in state:
        found = _NAME.fullmatch(name) if isinstance(name, str) else None
        if found:
            groups.setdefault(found["prefix"], {})[name] = found
    if not groups:
        names = ", ".join(map(repr, list(state)[:10])) or "no names"
        inner = [name for name, value in state.items() if isinstance(value, Mapping)]
        way_out = f"; the weights may be in its {inner[0]!r}: give that alone" if inner else ""
        raise ValueError(f"state_dict: got {names}, expected weights of a recurrent layer, such as weight_ih_l0"
                         f"{way_out}")
    layers = {prefix: _from_group(prefix, {name: as_array(state[name], f"state_dict[{name!r}]") for name in group},
                                  group, nonlinearity, batch_first) for prefix, group in groups.items()}
    if list(layers) == [""]:
        return layers[""]
    return [NamedLayer(prefix.rstrip("."), layer) for prefix, layer in layers.items()]


def _from_group(prefix: str, arrays: Weights, names: dict[str, re.Match[str]], nonlinearity: str | None,
                batch_first: bool) -> RecurrentLayer | Cell:
    """The layer whose weights have this prefix in their names, which are all those of `names`."""
    parts: dict[tuple[int, bool], Weights] = {}
    for name, match in names.items():
        layer = -1 if match["layer"] is None else int(match["layer"])
        parts.setdefault((layer, bool(match["reverse"])), {})[match["name"]] = arrays[name]
    for (layer, reverse), weights in parts.items():
        for needed in ("weight_ih", "weight_hh"):
            if needed not in weights:
                end = f"_l{layer}" * (layer >= 0) + "_reverse" * reverse
                raise KeyError(f"state_dict: got {', '.join(names)}, expected {prefix}{needed}{end} as well")
            if weights[needed].ndim != 2 or 0 in weights[needed].shape:
                raise ValueError(f"state_dict: got {prefix}{needed} of shape {weights[needed].shape}, expected a "
                                 "matrix")
    first = next(iter(parts.values()))
    rows, units = first["weight_hh"].shape
    mode = _mode(rows, first["weight_hr"].shape[1] if "weight_hr" in first else units)
    options: dict[str, Any] = {}
    if descriptions.choices(mode).get("nonlinearity"):
        if nonlinearity is None:
            raise TypeError(f"nonlinearity: got None for the weights {prefix}weight_ih… of an RNN, expected 'tanh' or "
                            "'relu', which a state_dict does not say")
        options["nonlinearity"] = nonlinearity
    if list(parts) == [(-1, False)]:
        return make_cell(mode, first, **options)
    directions = 1 + any(reverse for _, reverse in parts)
    layers = max(layer for layer, _ in parts) + 1
    # A file may name any layer: at most one more than there are parts is looked for.
    looked_at = range(min(layers, len(parts) + 1))
    wanted = [(layer, direction == 1) for layer in looked_at for direction in range(directions)]
    if set(parts) != set(wanted):
        missing = [f"{prefix}weight_ih_l{layer}{'_reverse' * reverse}" for layer, reverse in wanted
                   if (layer, reverse) not in parts]
        raise KeyError(f"state_dict: got {', '.join(names)}, expected {', '.join(missing) or 'one kind of names'} "
                       "as well")
    return make_layer(mode, [parts[key] for key in wanted], bidirectional=directions == 2, batch_first=batch_first,
                      **options)


def _read(path: PathLike) -> Any:
    """The content of a file of weights."""
    if os.fspath(path).endswith(".safetensors"):
        return read_safetensors(path)
    torch = package("torch", "from_torch")
    import pickle

    with open(path, "rb"):              # the plain OSError, with its file name
        pass
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError,
            AttributeError) as error:
        reason = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()     # without colours
        raise ValueError(f"source: {path} is not a file of weights alone ({reason[0] if reason else 'it is empty'}); "
                         "nothing else is read from files, since reading it could run code: save model.state_dict()"
                         ) from None
    if not isinstance(content, Mapping):
        raise ValueError(f"source: {path} holds a {type(content).__name__}, expected a state_dict")
    return content


# ---- back ---------------------------------------------------------------------------------------


def to_torch(layer: RecurrentLayer | Cell) -> Any:
    """A module of `torch.nn` with the weights of a layer or a cell of rnncore.

    Parameters
    ----------
    layer : LSTM, GRU, RNN, or one of their cells

    Returns
    -------
    torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN, or one of their cells

    Raises
    ------
    ImportError
        torch is not installed.
    NotImplementedError
        torch has no such layer; the message names the option.

    Examples
    --------
    >>> import rnncore as rc
    >>> from rnncore import convert
    >>> convert.to_torch(rc.GRU(3, 4, batch_first=True, seed=0))
    GRU(3, 4, batch_first=True)
    """
    plain = plain_layer(layer, "to_torch")
    refuse_others(plain, "to_torch", "torch", list(TORCH_BLOCKS.values()), proj_size=None,
                  nonlinearity=("tanh", "relu"))
    torch = package("torch", "to_torch")
    options: dict[str, Any] = {name: getattr(plain, name) for name in ("bias", "nonlinearity") if hasattr(plain, name)}
    if isinstance(layer, Cell):
        kind = getattr(torch.nn, f"{plain.mode}Cell")
    else:
        kind = getattr(torch.nn, plain.mode)
        shared = ("num_layers", "batch_first", "dropout", "bidirectional", "proj_size")
        options |= {name: getattr(plain, name) for name in shared if hasattr(plain, name)}
    with torch.random.fork_rng(devices=[]):     # the weights that torch draws are replaced; its generator goes on
        module = kind(plain.input_size, plain.hidden_size, dtype=getattr(torch, plain.dtype.name), **options)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in layer.state_dict().items()})
    return module
