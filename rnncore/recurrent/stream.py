"""Streams, which run a layer one step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, cast

import numpy as np

from rnncore import _engine
from rnncore._checks import as_array, as_rows
from rnncore._typing import Array, StateT

from .layout import Layout

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, StateLike

    from .base import RecurrentLayer


class Stream(Generic[StateT]):
    """Runs a layer step by step and holds its state; `RecurrentLayer.stream` creates one.

    Every copy and every pickle has a state of its own. A shallow copy uses the same layer; a deep copy and a pickle
    contain a copy of the layer.

    Attributes
    ----------
    state : ndarray or tuple
        A copy of the state after the last step, as a call of the layer returns it; may be set.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> gru = rc.GRU(3, 4, seed=0)
    >>> x = np.random.default_rng(0).standard_normal((5, 1, 3)).astype("float32")
    >>> s = gru.stream()
    >>> bool((np.stack([s.step(x_t) for x_t in x]) == gru(x)[0]).all())
    True
    """

    def __init__(self, layer: RecurrentLayer[StateT], batch_size: int) -> None:
        self._layer = layer
        self._batch = batch_size
        self._states: list[Array] = [
            np.zeros(layer.structure.state_shape(batch_size), layer.dtype) for _ in layer.cell.states]
        self._bind()

    def __repr__(self) -> str:
        return f"<Stream of {self._layer!r}: batch_size={self._batch}>"

    def _bind(self) -> None:
        """Prepare the engine to step with the layer's present weights; called again after they have changed."""
        packed = self._layer.packed()
        self._steps = _engine.Stepper(packed.weights, self._batch, *self._states)
        self._version = packed.version

    def __getstate__(self) -> dict[str, Any]:
        return {"_layer": self._layer, "_batch": self._batch, "_states": [part.copy() for part in self._states]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._states = [np.array(part, self._layer.dtype, order="C") for part in self._states]
        self._bind()

    def step(self, x_t: ArrayLike, out: Array | None = None) -> Array:
        """Run one step.

        Parameters
        ----------
        x_t : array_like, (B, I)
        out : ndarray, (B, H), of the layer's dtype, C-contiguous, optional
            The output is written into this array, and the call allocates nothing.

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

    def _explain(self, x_t: ArrayLike, out: object) -> None:
        """Run a step whose arrays the engine cannot use as they are: convert x, or raise an error that explains why."""
        layer = self._layer
        expected = (self._batch, layer.hidden_size)
        if not isinstance(out, np.ndarray) or out.shape != expected or out.dtype != layer.dtype \
                or not out.flags.c_contiguous or not out.flags.writeable:
            got = type(out).__name__
            if isinstance(out, np.ndarray):
                wrong = [word for word, fits in (("read-only", out.flags.writeable),
                                                 ("non-contiguous", out.flags.c_contiguous)) if not fits]
                got = " ".join([*wrong, f"{out.dtype} {out.shape}"])
            raise ValueError(f"out: got {got}, expected a writable C-contiguous {layer.dtype} array "
                             f"of shape {expected}")
        x = np.asarray(as_rows(x_t, "x_t", layer.dtype), order="C")
        if x.shape != (self._batch, layer.input_size):
            one_row = self._batch == 1 and x.shape == (layer.input_size,)
            raise ValueError(f"x_t: got shape {x.shape}, expected (B, I) = {(self._batch, layer.input_size)}; "
                             + ("x_t[None] has this shape" if one_row else
                                "open the stream with another batch_size, or pass a single step"))
        if not self._steps.run(x, out):
            raise ValueError(f"x_t, out: got arrays of {x.dtype} and {out.dtype}, expected native {layer.dtype}")

    @property
    def state(self) -> StateT:
        return cast("StateT", Layout().states(part.copy() for part in self._states))

    @state.setter
    def state(self, state: StateLike) -> None:
        for part, new in zip(self._states, self._layer.check_state(state, self._batch, Layout()), strict=True):
            part[...] = new

    def reset(self, rows: ArrayLike | None = None) -> None:
        """Set the state to zero.

        Parameters
        ----------
        rows : array_like of int or bool, optional
            Only these rows: their indices, each once, or a mask (B,). By default all rows.

        Raises
        ------
        IndexError, TypeError, ValueError
            A row does not exist or is named twice; `rows` are neither integers nor bool, or have the wrong shape.
        """
        where = slice(None) if rows is None else self._check_rows(rows)
        for part in self._states:
            part[:, where] = 0

    def _check_rows(self, rows: ArrayLike) -> Array:
        """The rows as an array of indices without duplicates, or as a mask (B,)."""
        given = as_array(rows, "rows")
        expected = f"indices of rows from 0 to {self._batch - 1}, or a mask of {self._batch} bool"
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
                             "pass bool values: np.array(rows, bool)")
        return given
