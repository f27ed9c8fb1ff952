"""The base class of everything that has weights, and the one contract for changing them.

The arrays of a module are never handed out. `parameters` and `state_dict` return copies. `writable` hands out working
arrays, whose values are copied into the module when its block closes. The optimisers write in place, through a private
method. Every change increments the module's version. A call does not read the arrays either, but a packed copy of them:
weights are packed once per version, a pack is replaced and never overwritten, and a call takes its pack before it
begins. So no view that a caller kept can make a call run on old weights, and no change affects a call that has begun.
(A pass of an ensemble may pack new weights on its way. If the version is another one after it, it is computed again.)

Changes that must happen as a whole (opening or closing a block, setting all weights) are made in the engine, because
Python runs signal handlers, which may raise, between any two of its instructions.

`LOCK` is held while arrays are changed, copied or packed. All modules share it, so that a model of several modules is
read at one moment, and so that a process never forks in the middle of a change.
"""

from __future__ import annotations

import copy
import difflib
import os
import threading
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import _engine
from ._checks import Fixed, as_dtype, as_real

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ._typing import Array, ArrayLike, DTypeLike

LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)


def prefixed(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same arrays, with ``prefix.`` in front of their names."""
    return {f"{prefix}.{name}": values for name, values in arrays.items()}


def renamed(state: Mapping[str, Any], prefix: str | Mapping[str, str | None]) -> dict[str, Any]:
    """The same values under other names, see `Module.load_state_dict`."""
    pairs: Mapping[str, str | None] = {prefix: ""} if isinstance(prefix, str) else prefix
    if not isinstance(pairs, Mapping) or not all(
            isinstance(old, str) and (new is None or isinstance(new, str)) for old, new in pairs.items()):
        raise TypeError(f"prefix: got {prefix!r:.60}, expected a string, or a dict that maps the beginnings of names "
                        "to others, or to None for names to leave out")
    longest_first = sorted(pairs, key=len, reverse=True)
    origins: dict[str, str] = {}
    used = set()
    for name in state:
        begins = next((one for one in longest_first if isinstance(name, str) and name.startswith(one)), None)
        own = name
        if begins is not None:
            used.add(begins)
            new = pairs[begins]
            if new is None:
                continue
            own = new + name[len(begins):]
        if own in origins:
            raise ValueError(f"prefix: got {prefix!r}, with which {origins[own]!r} and {name!r} both become {own!r}; "
                             "expected a name of its own for each, so leave one of them out of state_dict")
        origins[own] = name
    if unused := [one for one in pairs if one not in used]:
        names = ", ".join(map(repr, state)) or "no names at all"
        raise ValueError(f"prefix: got {unused[0]!r}, which replaces nothing: no name begins with it, or a longer "
                         f"prefix fits; the names are {names}")
    return {own: state[name] for own, name in origins.items()}


def _told_unknown(unknown: Mapping[Any, Any], missing: Mapping[str, Array]) -> str:
    """Unknown names for a message, with the missing name that is nearest to each.

    Missing names of arrays of the same shape are nearer than all others. A file may have any number of names of any
    length, and comparing them takes time, so some are not compared.
    """
    parts, some = [], list(missing)[:200]
    for i, (name, value) in enumerate(unknown.items()):
        near: list[str] = []
        if i < 50 and isinstance(name, str) and len(name) <= 200:
            shape = getattr(value, "shape", None)
            fit = [] if shape is None else [one for one in some if missing[one].shape == tuple(shape)]
            near = difflib.get_close_matches(name, fit, 1, 0.3) or difflib.get_close_matches(name, some, 1)
        parts.append(repr(name) + "".join(f" (the nearest missing one: {other!r})" for other in near))
    return ", ".join(parts)


def _way_out(unknown: Collection[Any], missing: Collection[str], prefix: str | Mapping[str, str | None] | None) -> str:
    """The end of an error about names that do not fit: what `prefix` would have to be."""
    if "losses" in unknown and any(isinstance(name, str) and name.startswith("model.") for name in unknown):
        return "; it is a checkpoint of a Trainer: rnncore.train.load_model(path) reads its model"
    if not unknown:
        return ""
    names = [name for name in unknown if isinstance(name, str)]
    old = prefix if isinstance(prefix, str) else next(iter(prefix or ()), "")
    if old and not old.endswith(".") and any(name.startswith(".") for name in names):
        return f"; a prefix ends with its dot: {old + '.'!r}"
    firsts = list(dict.fromkeys(name.split(".")[0] + "." for name in names if "." in name))[:3]
    if not missing:
        leave = {old: "", **dict.fromkeys(firsts)} if isinstance(prefix, str) else dict.fromkeys(firsts)
        return f"; leave names out by None, as in prefix={leave}" if firsts else ""
    if prefix is None and firsts:
        own = list(dict.fromkeys(name.rpartition(".")[0] for name in missing))[:3]
        to = f"{own[0]}." if own[0] else ""
        return f"; where only the beginnings of the names differ, give prefix=, as in prefix={ {firsts[0]: to} }"
    return ""


class Packed:
    """The weights of one version in the form that a module runs on; it never changes."""

    def __init__(self, version: int) -> None:
        self.version = version


class _OpenBlocks(threading.local):
    def __init__(self) -> None:
        self.of: dict[int, Any] = {}    # id of a module -> its working arrays


_OPEN = _OpenBlocks()


class Writable(MutableMapping[str, "Array"]):
    """The working arrays of `Module.writable` by name: setting an item writes into its array."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self._arrays = arrays

    def __repr__(self) -> str:
        return f"<writable weights: {', '.join(f'{name} {array.shape}' for name, array in self._arrays.items())}>"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._arrays)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        array = self[name]
        if value is array:
            return
        values = as_real(value, name, array.dtype)
        try:
            array[...] = values
        except ValueError:
            raise ValueError(f"{name}: got shape {values.shape}, expected {array.shape}") from None

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name}: got del, expected new values; a module keeps all its weights")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


class _InPlace:
    """The block of `Module._in_place`. A plain class is fast, and every update of a training loop enters one.

    The version is incremented before the first change and after the last, so that whatever interrupts the block, no
    pack from before it is used again.
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self._block: _engine.OpenBlock[Writable] | None = None

    def __enter__(self) -> Mapping[str, Array]:
        self._owned = list(self._module.owned())
        if _OPEN.of and any(id(owner) in _OPEN.of for owner, _ in self._owned):
            self._block = self._module.writable()       # an open block must not undo this update when it closes
            self._working = self._block.__enter__()
            self._arrays = self._module._from_working(self._working)
            return self._arrays
        _engine.count_versions(self._owned)
        return self._module._updated()

    def __exit__(self, *error: object) -> None:
        if self._block is not None:
            self._module._into_working(self._arrays, self._working)
            self._block.__exit__(*error)
        else:
            _engine.count_versions(self._owned)


class Module(Fixed):
    """An object with named weights.

    The weights are read through `parameters` and `state_dict`, and changed through `writable` and `load_state_dict`;
    each change increments `version`. A layer never runs on the weights of an older version, and the backward pass of a
    tape is refused once the weights differ from those it recorded.
    """

    dtype: np.dtype[Any]

    def __init__(self, dtype: DTypeLike = "float32") -> None:
        self.dtype = as_dtype(dtype)
        self._parameters: dict[str, Array] = {}         # never handed out; changed and copied under LOCK
        self._modules: dict[str, Module] = {}
        self._version = 0
        self._packed: Packed | None = None

    _fixed = frozenset({"dtype"})

    def owned(self) -> Iterator[tuple[Module, dict[str, str]]]:
        """Every module inside, itself included, that owns arrays, and {name of an array here: its name there}."""
        if self._parameters:
            yield self, {name: name for name in self._parameters}
        for prefix, inner in self._modules.items():
            for owner, names in inner.owned():
                yield owner, {f"{prefix}.{name}": own for name, own in names.items()}

    @property
    def version(self) -> int:
        """A number that increases whenever the weights change, those of submodules included."""
        return sum(owner._version for owner, _ in self.owned())

    # ---- reading --------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Array]:
        """Read-only copies of the weights by name; to change the weights, use `writable`."""
        found = self.state_dict()
        for array in found.values():
            array.setflags(write=False)
        return found

    def state_dict(self) -> dict[str, Array]:
        """Copies of the weights, by torch's names.

        Returns
        -------
        dict of ndarray
        """
        with LOCK:
            return {name: owner._parameters[own].copy()
                    for owner, names in self.owned() for name, own in names.items()}

    def packed(self) -> Packed:
        """The packed weights of the current version: what a call runs on, see `Packed`."""
        packed = self._packed
        if packed is None or packed.version != self._version:
            with LOCK:
                packed = self._packed
                if packed is None or packed.version != self._version:
                    state = self.__dict__               # faster than setting attributes, which `Fixed` checks
                    state["_packed"] = packed = None    # frees its memory for the next pack
                    state["_packed"] = packed = self._pack()
        return packed

    def _pack(self) -> Packed:
        """Pack the weights as they are now; called under LOCK."""
        return Packed(self._version)

    # ---- changing -------------------------------------------------------------------------------

    def writable(self) -> _engine.OpenBlock[Writable]:
        """Open the weights for changes, in a ``with`` block.

        Returns
        -------
        context manager
            Its value maps names to working arrays; setting an item writes into its array. When the block closes, also
            after an exception, the values are copied into the module, and references to the working arrays that were
            kept have no effect any more. Until then the module runs on its old weights. Blocks that are nested in one
            thread share their working arrays, and each copies them when it closes. Blocks in different threads
            are independent of each other, and the one that closes last decides.

        Examples
        --------
        >>> import rnncore as rc
        >>> layer = rc.GRU(2, 3, seed=0)
        >>> with layer.writable() as weights:
        ...     weights["bias_hh_l0"][:] = 0.5
        >>> float(layer.parameters["bias_hh_l0"][0])
        0.5
        """
        return _engine.OpenBlock(LOCK, list(self.owned()), _OPEN, Writable)

    def _in_place(self) -> _InPlace:
        """A block that gives the weights themselves, by name, for our own optimisers; to be used under LOCK."""
        return _InPlace(self)

    def _updated(self) -> Mapping[str, Array]:
        """The weights themselves as an optimiser updates them, by the names of the gradients."""
        return {name: owner._parameters[own] for owner, names in self.owned() for name, own in names.items()}

    def _from_working(self, working: Mapping[str, Array]) -> Mapping[str, Array]:
        """The working arrays of a `writable` block in the form of `_updated`."""
        return working

    def _into_working(self, arrays: Mapping[str, Array], working: Mapping[str, Array]) -> None:
        """Give what `_from_working` returned, and an optimiser has updated, back to the working arrays."""

    def load_state_dict(
        self, state: Mapping[str, Any], *, prefix: str | Mapping[str, str | None] | None = None
    ) -> None:
        """Set all weights; nothing changes unless every name and shape fits.

        Parameters
        ----------
        state : mapping of str to array_like
            As from `state_dict`, or from a file of another program that `rnncore.io.read_safetensors` has read. Values
            may be torch tensors.
        prefix : mapping of str to str or None, or str, optional
            How names begin in `state`, and how they begin here: ``{"lstm.": "layer."}`` takes ``lstm.weight_ih_l0`` for
            ``layer.weight_ih_l0``. If several prefixes fit a name, the longest is replaced; a name that none fits stays
            as it is. Names with a prefix that is mapped to None are left out: ``{"rnn.": "", "": None}`` takes one
            layer out of a whole model. One string is a prefix to remove: ``"module."`` is the same as
            ``{"module.": ""}``.

        Raises
        ------
        KeyError
            Names are missing or unknown; the message lists all of them, and the missing names that are nearest to the
            unknown ones.
        ValueError, TypeError
            A value has the wrong shape or type; the message names it. Or no name begins with a prefix, or two names
            become one.

        Examples
        --------
        >>> import rnncore as rc
        >>> trained = {f"encoder.rnn.{name}": array for name, array in rc.LSTM(2, 3, seed=1).state_dict().items()}
        >>> layer = rc.LSTM(2, 3, seed=0)
        >>> layer.load_state_dict(trained, prefix="encoder.rnn.")
        >>> bool((layer.parameters["bias_hh_l0"] == trained["encoder.rnn.bias_hh_l0"]).all())
        True
        """
        if not isinstance(state, Mapping):
            way_out = ("; give rnncore.io.read_safetensors(path), or torch.load(path) for a file of torch"
                       if isinstance(state, (str, os.PathLike)) else "; give its .state_dict()"
                       if hasattr(state, "state_dict") else "")
            raise TypeError(f"state_dict: got {type(state).__name__}, expected a mapping of names to arrays{way_out}")
        if prefix is not None:
            state = renamed(state, prefix)
        own = {name: owner._parameters[inner] for owner, names in self.owned() for name, inner in names.items()}
        missing = [name for name in own if name not in state]
        unknown = [name for name in state if name not in own]
        if missing or unknown:
            told_unknown = _told_unknown({name: state[name] for name in unknown}, {name: own[name] for name in missing})
            parts = {"missing": ", ".join(map(repr, missing)), "unexpected": told_unknown}
            told = "; ".join(f"{what}: {names}" for what, names in parts.items() if names)
            raise KeyError(f"state_dict: {told}; expected exactly {', '.join(own)}{_way_out(unknown, missing, prefix)}")
        values = {}
        for name, array in own.items():
            value = np.array(as_real(state[name], f"state_dict[{name!r}]", array.dtype), order="C")
            if value.shape != array.shape:
                raise ValueError(f"state_dict[{name!r}]: got shape {value.shape}, expected {array.shape}")
            values[name] = value
        _engine.replace_values(LOCK, list(self.owned()), values, _OPEN.of)

    # ---- copies and files -----------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        with LOCK:
            state = {name: value for name, value in self.__dict__.items() if name != "_packed"}
            return state | {"_parameters": {name: array.copy() for name, array in self._parameters.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_version" in self.__dict__:         # not a new object: packs and tapes of its weights become outdated
            state = state | {"_version": max(self._version, state["_version"]) + 1}
            self.__dict__.clear()
        # new arrays, since the given ones may be mapped from a file, read-only, or shared with someone else
        arrays = {name: np.array(array, array.dtype.newbyteorder("="), order="C")
                  for name, array in state["_parameters"].items()}
        self.__dict__.update(state, _parameters=arrays, _packed=None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        other = memo[id(self)] = self.__class__.__new__(self.__class__)
        with LOCK:                              # the weights of all modules inside, at one moment
            other.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return other

    def __copy__(self) -> Self:
        """A deep copy: every copy of a module owns its weights."""
        return copy.deepcopy(self)
