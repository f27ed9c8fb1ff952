"""What owns weights: one dictionary of arrays, and one door to change them."""

import sys
import zlib
from contextlib import ExitStack
from operator import gt

from ._checks import as_dtype, as_real


class _Open(dict):
    """Weights open for change: setting an item writes into the array."""

    def __setitem__(self, name, value):
        if self[name] is not value:
            self[name][...] = value


class _Door:
    """The block of `Module.writable`; a plain class, since every update of a training loop goes through one."""

    def __init__(self, module):
        self._module = module

    def __enter__(self):
        module = self._module
        self._views = [array.view() for array in module._parameters.values()]
        self._holders = list(map(sys.getrefcount, module._parameters.values()))
        opened = _Open(zip(module._parameters, self._views, strict=True))
        self._inner = None
        if module._modules:
            with ExitStack() as stack:
                for prefix, inner in module._modules.items():
                    views = stack.enter_context(inner.writable())
                    opened.update({f"{prefix}.{name}": view for name, view in views.items()})
                self._inner = stack.pop_all()
        module._watched = True
        return opened

    def __exit__(self, *error):
        module = self._module
        module._version += 1
        for view in self._views:
            view.setflags(False)
        module._watched = any(map(gt, map(sys.getrefcount, module._parameters.values()), self._holders))
        if self._inner:
            self._inner.close()


class Module:
    """A thing with named weights.

    Parameters are numpy arrays under torch's names. They are read through `parameters` (read-only) and
    changed through one door, `writable` (and `load_state_dict`, which goes through it), which counts a
    new `version`: a layer's packed copies of older weights are never used, and a tape refuses to go
    back through weights that are no longer those it recorded.
    """

    def __init__(self, dtype="float32"):
        self.dtype = as_dtype(dtype)
        self._parameters = {}
        self._modules = {}
        self._version = 0
        self._watched = False           # somebody may write unseen: look at the values at every use
        self._seen = None

    @property
    def version(self):
        """A number that rises when the weights change, submodules included."""
        if self._watched:
            values = tuple(zlib.crc32(array) for array in self._parameters.values())
            if values != self._seen:
                self._seen = values
                self._version += 1
        if not self._modules:
            return self._version
        return self._version + sum(m.version for m in self._modules.values())

    @property
    def parameters(self):
        """Read-only live views of the weights, by name."""
        found = {}
        for name, array in self._parameters.items():
            view = array.view()
            view.flags.writeable = False
            found[name] = view
        for prefix, module in self._modules.items():
            found |= {f"{prefix}.{name}": view for name, view in module.parameters.items()}
        return found

    def writable(self):
        """Open the weights for change in place.

        Yields
        ------
        dict of ndarray
            Writable views, by name; read-only again when the block ends. Setting an item writes into it.
            A slice that outlives the block stays writable: the module then compares its weights at every
            use, which costs time but never runs on old ones.

        Examples
        --------
        >>> import rnncore as rc
        >>> layer = rc.GRU(2, 3, seed=0)
        >>> with layer.writable() as weights:
        ...     weights["bias_hh_l0"][:] = 0.5
        >>> float(layer.parameters["bias_hh_l0"][0])
        0.5
        """
        return _Door(self)

    def state_dict(self):
        """Copies of the weights, by torch's names.

        Returns
        -------
        dict of ndarray
        """
        return {name: array.copy() for name, array in self.parameters.items()}

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
        own = self.parameters
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
            value = as_real(value, f"state_dict[{name!r}]", array.dtype)
            if value.shape != array.shape:
                raise ValueError(f"state_dict[{name!r}]: got shape {value.shape}, expected {array.shape}")
            values[name] = value
        with self.writable() as weights:
            for name, value in values.items():
                weights[name][...] = value
