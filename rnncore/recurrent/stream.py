"""One step at a time."""

import numpy as np

from rnncore import _engine
from rnncore._checks import as_array, as_rows

from .layout import Layout


class Stream:
    """Runs a layer step by step and holds its state; `RecurrentLayer.stream` makes one.

    A copy, deep or not, and a pickle hold a state of their own. A copy steps through the same layer; a deep copy and a
    pickle take the layer along.

    Attributes
    ----------
    state : ndarray or tuple
        The state after the last step, as the layer's call returns it (a copy); settable.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> gru = rc.GRU(3, 4, seed=0)
    >>> x = np.random.default_rng(0).standard_normal((5, 1, 3)).astype("float32")
    >>> s = gru.stream()
    >>> bool((np.stack([s.step(x_t) for x_t in x]) == gru(x)[0]).all())
    True
    """

    def __init__(self, layer, batch_size):
        self._layer = layer
        self._batch = batch_size
        self._states = [np.zeros(layer.structure.state_shape(batch_size), layer.dtype) for _ in layer.cell.states]
        self._bind()

    def _bind(self):
        """Bind the packed weights, anew after they changed."""
        packed = self._layer.packed()
        self._steps = _engine.StepLoop(packed.weights, self._batch, *self._states)
        self._version = packed.version

    def __getstate__(self):
        return {"_layer": self._layer, "_batch": self._batch, "_states": [part.copy() for part in self._states]}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._states = [np.array(part, self._layer.dtype, order="C") for part in self._states]
        self._bind()

    def step(self, x_t, out=None):
        """One step.

        Parameters
        ----------
        x_t : array_like, (B, I)
        out : ndarray, (B, H), of the layer's dtype, C-contiguous, optional
            The output is written here, and the call allocates nothing.

        Returns
        -------
        ndarray, (B, H)
        """
        if self._version != self._layer._version:
            self._bind()
        if out is None:
            out = np.empty((self._batch, self._layer.hidden_size), self._layer.dtype)
        if not self._steps.run(x_t, out):
            self._explain(x_t, out)
        return out

    def _explain(self, x_t, out):
        """The arrays were not what the engine takes as they are: convert x, or say what is wrong."""
        layer = self._layer
        expected = (self._batch, layer.hidden_size)
        if not isinstance(out, np.ndarray) or out.shape != expected or out.dtype != layer.dtype \
                or not out.flags.c_contiguous or not out.flags.writeable:
            got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
            raise ValueError(f"out: got {got}, expected a writable C-contiguous {layer.dtype} array "
                             f"of shape {expected}")
        x_t = np.asarray(as_rows(x_t, "x_t", layer.dtype), order="C")
        if x_t.shape != (self._batch, layer.input_size):
            raise ValueError(f"x_t: got shape {x_t.shape}, expected (B, I) = {(self._batch, layer.input_size)}; "
                             "open the stream with another batch_size, or give it one step")
        if not self._steps.run(x_t, out):
            raise ValueError(f"x_t, out: got arrays of {x_t.dtype} and {out.dtype}, expected native {layer.dtype}")

    @property
    def state(self):
        return Layout().states(part.copy() for part in self._states)

    @state.setter
    def state(self, state):
        for part, new in zip(self._states, self._layer.check_state(state, self._batch, Layout()), strict=True):
            part[...] = new

    def reset(self, rows=None):
        """Back to the zero state.

        Parameters
        ----------
        rows : array_like of int or bool, optional
            These rows only: their numbers, each once, or a mask of (B,).

        Raises
        ------
        IndexError, TypeError, ValueError
            A row that there is not, or that is named twice; another kind of values or mask.
        """
        where = slice(None) if rows is None else self._check_rows(rows)
        for part in self._states:
            part[:, where] = 0

    def _check_rows(self, rows):
        given = as_array(rows, "rows")
        expected = f"numbers of rows from 0 to {self._batch - 1}, or a mask of {self._batch} bool"
        if given.size == 0 and given.ndim == 1 and given.dtype.kind in "iufb":  # np.asarray([]) is float
            return np.empty(0, int)
        if given.dtype.kind == "b":
            if given.shape != (self._batch,):
                raise ValueError(f"rows: got bool of shape {given.shape}, expected {expected}")
            return given
        if given.dtype.kind not in "iu" or given.ndim > 1:
            raise TypeError(f"rows: got {given.dtype} of shape {given.shape}, expected {expected}")
        given = np.atleast_1d(given)
        outside = given[(given < -self._batch) | (given >= self._batch)]
        if outside.size:
            raise IndexError(f"rows: got {outside[0]}, expected {expected}")
        named, times = np.unique(given % self._batch, return_counts=True)
        if (times > 1).any():
            raise ValueError(f"rows: got row {named[times > 1][0]} more than once, expected {expected}; for a mask, "
                             "give bool values: np.array(rows, bool)")
        return given
