"""Streams, which run a layer some steps at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, cast

import numpy as np

from rnncore import _engine
from rnncore._checks import as_array, as_rows, check_fits
from rnncore._typing import Array, StateT

from .layout import Layout

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, StateLike

    from .base import RecurrentLayer


class Stream(_engine.Steps, Generic[StateT]):
    """Runs a layer step by step, or block by block, and holds its state; `RecurrentLayer.stream` creates one.

    However a sequence is divided into steps and blocks, its outputs are bit-identical to those of one call. Every copy
    and every pickle has a state of its own. A shallow copy uses the same layer; a deep copy and a pickle contain a copy
    of the layer.

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
    >>> s.reset()
    >>> bool((np.concatenate([s.block(x[:2]), s.block(x[2:])]) == gru(x)[0]).all())
    True
    """

    def __init__(self, layer: RecurrentLayer[StateT], batch_size: int) -> None:
        self._layer = layer
        self._batch = batch_size
        shapes = layer.structure.state_shapes(batch_size)
        check_fits(sum(map(math.prod, shapes)), layer.dtype, "states", batch_size=batch_size,
                   hidden_size=layer.hidden_size)
        self._states: list[Array] = [np.zeros(shape, layer.dtype) for shape in shapes]
        self._bind()

    def __repr__(self) -> str:
        return f"<Stream of {self._layer!r}: batch_size={self._batch}>"

    def _bind(self) -> None:
        """Prepare the engine to step with the layer's present weights; called again after they have changed."""
        packed = self._layer.packed()
        self._use(_engine.Stepper(packed.weights, self._batch, *self._states), self._layer, packed.version)

    def __getstate__(self) -> dict[str, Any]:
        return {"_layer": self._layer, "_batch": self._batch, "_states": [part.copy() for part in self._states]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._states = [np.array(part, part.dtype.newbyteorder("="), order="C") for part in self._states]
        if self._steps is not None:     # that of a new object may have no weights yet, if its layer has this stream
            self._bind()

    def _with_output(self, x: ArrayLike) -> tuple[Array, Array]:
        """x as an array, and an uninitialised array for the output of its block."""
        rows = as_rows(x, "x", self._layer.dtype)
        return rows, np.empty((*rows.shape[:1], self._batch, self._layer.structure.output_size), self._layer.dtype)

    def _convert(self, x: ArrayLike, out: object, name: str, steps: tuple[Any, ...]) -> None:
        """Run a step or a block whose arrays the engine cannot use as they are.

        It converts x, or raises an error that explains why it cannot. `steps` is () for a step, and (N,) for a block.
        """
        layer = self._layer
        rows = np.array(as_rows(x, name, layer.dtype), order="C")
        if rows.ndim != len(steps) + 2 or rows.shape[-2:] != (self._batch, layer.input_size):
            axes, sizes = "(B, I)", f"({self._batch}, {layer.input_size})"
            if steps:
                axes, sizes = "(N, B, I)", f"(N, {self._batch}, {layer.input_size})"
            one_row = self._batch == 1 and rows.ndim == len(steps) + 1 and rows.shape[-1] == layer.input_size
            raise ValueError(f"{name}: got shape {rows.shape}, expected {axes} = {sizes}; "
                             + (f"{name}[{':, ' * len(steps)}None] has this shape" if one_row else
                                "open the stream with another batch_size, or pass "
                                + ("several steps" if steps else "a single step")))
        check_out(out, (*rows.shape[:-1], layer.structure.output_size), layer.dtype)
        if not (self._steps.block if steps else self._steps.step)(rows, out):
            raise ValueError(f"{name}, out: got arrays of {rows.dtype} and {out!r:.60}, expected native and aligned "
                             f"{layer.dtype}")

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


def check_out(out: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse an array for results that cannot be written as it is."""
    if isinstance(out, np.ndarray) and out.shape == shape and out.dtype == dtype and out.flags.carray:
        return
    got = type(out).__name__
    if isinstance(out, np.ndarray):
        wrong = [word for word, fits in (("read-only", out.flags.writeable),
                                         ("non-contiguous", out.flags.c_contiguous),
                                         ("unaligned", out.flags.aligned)) if not fits]
        got = " ".join([*wrong, f"{out.dtype} {out.shape}"])
    raise ValueError(f"out: got {got}, expected a writable C-contiguous {dtype} array of shape {shape}")
