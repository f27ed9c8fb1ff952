"""What owns weights, and the one contract for changing them.

The arrays of a module are never handed out. `parameters` and `state_dict` give copies; `writable` gives working
arrays, whose values are taken over when its block closes; the optimisers write in place, by a private path. Each
change counts a new version. A call does not read the arrays either, but what was packed of them: packed weights are
made once for a version, are replaced and not overwritten, and a call takes them before it begins. So no view that
somebody kept can make a call run on old weights, and a call that has begun is not reached by any change.

What has to happen as a whole (a block that opens or closes, new values for all weights) is done in the engine, since
handlers of signals run between two instructions of Python, wherever those are.

`LOCK` is held while arrays change, are copied or are packed. It is one for all modules, so that a model of several has
one moment too, and a process that forks does so between two changes.
"""

import copy
import os
import threading
from collections.abc import Mapping, MutableMapping

import numpy as np

from . import _engine
from ._checks import Fixed, as_dtype, as_real

LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)


def prefixed(prefix, arrays):
    """Arrays by name, their names with ``prefix.`` in front."""
    return {f"{prefix}.{name}": values for name, values in arrays.items()}


class Packed:
    """What a module runs on: made of the weights of one version, and never changed."""

    def __init__(self, version):
        self.version = version


class _OpenBlocks(threading.local):
    def __init__(self):
        self.of = {}                    # id of a module -> its working arrays


_OPEN = _OpenBlocks()


class _Writable(MutableMapping):
    """Working arrays by name: setting an item writes into its array."""

    def __init__(self, arrays):
        self._arrays = arrays

    def __getitem__(self, name):
        return self._arrays[name]

    def __setitem__(self, name, value):
        array = self[name]
        if value is array:
            return
        value = as_real(value, name, array.dtype)
        try:
            array[...] = value
        except ValueError:
            raise ValueError(f"{name}: got shape {value.shape}, expected {array.shape}") from None

    def __delitem__(self, name):
        raise TypeError(f"{name}: got del, expected new values; a module keeps all its weights")

    def __iter__(self):
        return iter(self._arrays)

    def __len__(self):
        return len(self._arrays)


class _InPlace:
    """The block of `Module._in_place`; a plain class, since every update of a training loop goes through one.

    The version is counted before the first change and after the last: whatever interrupts the block, what was packed
    before it is not used again.
    """

    def __init__(self, module):
        self._module, self._block = module, None

    def __enter__(self):
        self._owned = list(self._module.owned())
        if _OPEN.of and any(id(owner) in _OPEN.of for owner, _ in self._owned):
            self._block = self._module.writable()       # what an open block closes with must not undo this
            return self._block.__enter__()
        _engine.count_versions(self._owned)
        return {name: owner._parameters[own] for owner, names in self._owned for name, own in names.items()}

    def __exit__(self, *error):
        if self._block:
            self._block.__exit__(*error)
        else:
            _engine.count_versions(self._owned)


class Module(Fixed):
    """A thing with named weights.

    They are read through `parameters` and `state_dict` and changed through `writable` and `load_state_dict`; each
    change counts a new `version`. A layer never runs on the weights of another version than its own, and a tape
    refuses to go back through weights that are no longer those it recorded.
    """

    def __init__(self, dtype="float32"):
        self.dtype = as_dtype(dtype)
        self._parameters = {}           # never handed out; changed and copied under LOCK
        self._modules = {}
        self._version = 0
        self._packed = None

    _fixed = frozenset({"dtype"})

    def owned(self):
        """Of every module inside that owns arrays: the module, and {name here: its own name}."""
        if self._parameters:
            yield self, {name: name for name in self._parameters}
        for prefix, inner in self._modules.items():
            for owner, names in inner.owned():
                yield owner, {f"{prefix}.{name}": own for name, own in names.items()}

    @property
    def version(self):
        """A number that rises when the weights change, submodules included."""
        return sum(owner._version for owner, _ in self.owned())

    # ---- reading --------------------------------------------------------------------------------

    @property
    def parameters(self):
        """Copies of the weights by name, read-only: what is to be changed goes through `writable`."""
        found = self.state_dict()
        for array in found.values():
            array.setflags(write=False)
        return found

    def state_dict(self):
        """Copies of the weights, by torch's names.

        Returns
        -------
        dict of ndarray
        """
        with LOCK:
            return {name: owner._parameters[own].copy()
                    for owner, names in self.owned() for name, own in names.items()}

    def packed(self):
        """The packed weights of the version there is: what a call runs on, see `Packed`."""
        packed = self._packed
        if packed is None or packed.version != self._version:
            with LOCK:
                packed = self._packed
                if packed is None or packed.version != self._version:
                    state = self.__dict__               # the quick way past what `Fixed` looks at
                    state["_packed"] = packed = None    # its memory serves the next
                    state["_packed"] = packed = self._pack()
        return packed

    def _pack(self):
        """Pack the weights as they are now; called under LOCK."""
        return Packed(self._version)

    # ---- changing -------------------------------------------------------------------------------

    def writable(self):
        """Open the weights for change: a ``with`` block.

        Returns
        -------
        context manager
            Its value maps names to working arrays; setting an item writes into its array. When the block closes,
            also by an exception, their values are taken over (copied), and whatever still refers to them is no
            longer connected. Until then the module runs on its weights from before. Blocks nested in one thread work on
            the same arrays, and each takes their values over when it closes; blocks of two threads know nothing
            of each other, and the one that closes last counts.

        Examples
        --------
        >>> import rnncore as rc
        >>> layer = rc.GRU(2, 3, seed=0)
        >>> with layer.writable() as weights:
        ...     weights["bias_hh_l0"][:] = 0.5
        >>> float(layer.parameters["bias_hh_l0"][0])
        0.5
        """
        return _engine.OpenBlock(LOCK, list(self.owned()), _OPEN, _Writable)

    def _in_place(self):
        """A block with the weights themselves, by name, for our own optimisers; to be used under LOCK."""
        return _InPlace(self)

    def load_state_dict(self, state):
        """Set all weights; nothing changes unless every name and shape fits.

        Parameters
        ----------
        state : mapping of str to array_like
            As from `state_dict`. Values may be torch tensors.

        Raises
        ------
        KeyError
            Names that are missing or unknown, all of them.
        ValueError, TypeError
            A value of the wrong shape or type, by name.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state_dict: got {type(state).__name__}, expected a mapping of names to arrays")
        own = {name: owner._parameters[inner] for owner, names in self.owned() for name, inner in names.items()}
        missing = [name for name in own if name not in state]
        unknown = [name for name in state if name not in own]
        if missing or unknown:
            told = "; ".join(f"{what}: {', '.join(map(repr, names))}"
                             for what, names in (("missing", missing), ("unexpected", unknown)) if names)
            raise KeyError(f"state_dict: {told}; expected exactly {', '.join(own)}")
        values = {}
        for name, array in own.items():
            value = state[name]
            if hasattr(value, "detach"):        # a torch tensor
                value = value.detach().cpu().numpy()
            value = np.array(as_real(value, f"state_dict[{name!r}]", array.dtype), order="C")
            if value.shape != array.shape:
                raise ValueError(f"state_dict[{name!r}]: got shape {value.shape}, expected {array.shape}")
            values[name] = value
        _engine.replace_values(LOCK, list(self.owned()), values, _OPEN.of)

    # ---- copies and files -----------------------------------------------------------------------

    def __getstate__(self):
        with LOCK:
            state = {name: value for name, value in self.__dict__.items() if name != "_packed"}
            return state | {"_parameters": {name: array.copy() for name, array in self._parameters.items()}}

    def __setstate__(self, state):
        if "_version" in self.__dict__:         # not a new object: whatever was made of its weights is old
            state = state | {"_version": max(self._version, state["_version"]) + 1}
            self.__dict__.clear()
        # own arrays, whatever the others are: mapped from a file, read-only, or somebody's buffers
        arrays = {name: np.array(array, array.dtype.newbyteorder("="), order="C")
                  for name, array in state["_parameters"].items()}
        self.__dict__.update(state, _parameters=arrays, _packed=None)

    def __deepcopy__(self, memo):
        other = memo[id(self)] = self.__class__.__new__(self.__class__)
        with LOCK:                              # the weights of all modules inside, of one moment
            other.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return other

    def __copy__(self):
        """As a deep copy: every copy of a module owns its weights."""
        return copy.deepcopy(self)
