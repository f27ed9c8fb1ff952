"""One step at a time."""

import numpy as np

from . import _engine
from ._checks import as_rows


class Stream:
    """Runs a layer step by step and holds its state; `Recurrent.stream` makes one.

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
        shape = (layer.num_layers, batch_size, layer.hidden_size)
        self._h = np.zeros(shape, layer.dtype)
        self._c = np.zeros(shape, layer.dtype) if layer.mode == "LSTM" else None
        self._version = None
        self._bind()

    def _bind(self):
        """Bind the packed weights, anew after they changed."""
        layer = self._layer
        packs = [layer._packs(i, 0) for i in range(layer.num_layers)]
        self._steps = _engine.Steps(packs, self._h, self._c)
        self._version = layer.version

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
        if self._version != self._layer.version:
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
        return self._layer._state(self._h.copy(), None if self._c is None else self._c.copy(), True)

    @state.setter
    def state(self, state):
        h, c = self._layer._check_state(state, self._batch, True)
        self._h[...] = h
        if c is not None:
            self._c[...] = c

    def reset(self, rows=None):
        """Back to the zero state.

        Parameters
        ----------
        rows : array_like of int or bool, optional
            These rows only.
        """
        where = slice(None) if rows is None else np.asarray(rows)
        try:
            self._h[:, where] = 0
        except IndexError as error:
            raise IndexError(f"rows: got {rows!r}, expected rows of a batch of {self._batch}") from error
        if self._c is not None:
            self._c[:, where] = 0
