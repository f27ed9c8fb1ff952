"""The tape: the buffers of one recorded pass, by name.

Training and the debugger read the same buffers, so that nothing is copied and nothing is computed twice. A tape holds
the arrays that the time loop wrote, and after `backward` also those that BPTT wrote; there is a `LayerPass` for each
layer and direction, which is made when it is first needed. By name it returns views of the arrays.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

import numpy as np

from rnncore import _engine
from rnncore._checks import as_flag
from rnncore._typing import Array, StateT
from rnncore.module import LOCK

from .backward import (
    Wanted,
    of_pass,
    parameters_one_by_one,
    room_for_parameters,
    room_for_steps,
    walk_back,
    walk_back_whole,
)
from .cotangents import check_cotangents, one_by_one
from .gradients import Gradients as Gradients  # the reference documents it under this module's name
from .named import Named, in_words, locked
from .passes import whole_passes
from .pullback import Pullback, pullback

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Bools, Ints, StateLike

    from .backward import OfInput
    from .base import RecurrentLayer
    from .descriptions import Description
    from .layout import Layout
    from .lookup import Lookup
    from .passes import LayerPass, RecordedSteps, WholePass
    from .ragged import Batch

NO_GRADIENT = "no gradient yet; call tape.backward(grad_output) first"


class Tape(Generic[StateT]):
    """One recorded pass: its states and gates by name, and its backward pass.

    ``tape["l0.h"]``, ``tape["l0.f"]``, ``tape["l1.reverse.c"]`` are (T, B, H), ordered by input time also in the
    reverse direction, and 0 past a row's end. The names of a layer are those of its cell's description: the states, and
    the gates' values after their nonlinearity (i f g o of an LSTM; r z n of a GRU, and hn, the recurrent part of its
    candidate). After `backward`, ``tape.grad`` has the same names: for a state it is the total derivative of the loss,
    through all later steps; for a gate it is the derivative with respect to its pre-activation.

    Attributes
    ----------
    layer : RecurrentLayer
    cell : Description
        The gates and states of a step, and their meaning.
    mode : str
        The name of its class of layers: "LSTM", "GRU", "RNN", …
    dtype : dtype
    layout : Layout
        The layout of the input and the output; the arrays by name are always time-major.
    T, B : int
        The number of steps, and the batch size.
    lengths : ndarray of int, (B,)
    reset : ndarray of bool, (T, B)
        The steps before which a row's state was set to zero.
    input : ndarray, (T, B, I)
    output, state, initial
        What the call would have returned, and the initial state.
    grad : mapping of str to ndarray
        The gradients of the last `backward`; empty before.
    """

    # What is kept of the last backward pass:
    # - K, or None if the cotangents had no leading axis;
    # - the cotangents on the output and on the final states, or None if they are not needed again;
    # - the gradients at every step, as from `room_for_steps`, or None if the pass was recorded with checkpoints: they
    #   are then computed from the cotangents whenever `grad` is read.
    _last: tuple[int | None, tuple[Array | None, list[Array]] | None, list[Array] | None] | None = None
    # What `_engine.record` returned, and the rows of a table that the input is; None for a pass that it did not record.
    _recorded: WholePass | None = None
    _lookup: Lookup | None = None

    def __init__(self, layer: RecurrentLayer[StateT], version: int, passes: list[LayerPass] | None, reset: Bools | None,
                 layout: Layout, initial: list[Array], final: list[Array], recorded_output: Array, *,
                 batch: Batch | None = None, recorded: WholePass | None = None, lookup: Lookup | None = None) -> None:
        """Either `passes` is given, or what `_engine.record` returned, with the batch and the lookup of that pass."""
        self._layer, self._version, self._layout, self._reset = layer, version, layout, reset
        self._recorded, self._lookup = recorded, lookup
        self._B: int = initial[0].shape[1]
        if passes is None:
            self._T, self._batch = len(recorded_output) if batch is None else batch.steps, batch
        else:
            self._passes, self._T, self._batch = passes, passes[0].T, passes[0].batch
        self._initial, self._final = initial, final         # of every state (layers·directions, B, H)
        self._spread: dict[str, Array] = {}                 # see `_padded`
        self._recorded_output = recorded_output

    def __repr__(self) -> str:
        sizes = f"T={self.T}, B={self.B}" + (", ragged" if self._batch is not None else "")
        grad = "gradients in .grad" if self._last else "no gradients yet"
        return f"<Tape of {self._layer!r}: {sizes}; {in_words(self._where)}; {grad}>"

    @cached_property
    def _passes(self) -> list[LayerPass]:
        """All layers and directions; what the engine recorded as a whole is divided when they are first needed."""
        assert self._recorded is not None
        return whole_passes(self._layer.structure, self._recorded, self._batch, self._lookup)

    # ---- what was recorded; none of it can be set -----------------------------------------------

    @property
    def layer(self) -> RecurrentLayer[StateT]:
        return self._layer

    @property
    def cell(self) -> Description:
        return self._layer.cell

    @property
    def mode(self) -> str:
        return self.cell.mode

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._layer.dtype

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def T(self) -> int:
        return self._T

    @property
    def B(self) -> int:
        return self._B

    @property
    def batch(self) -> Batch | None:
        """The order in which the pass took rows of unequal length; None if every row has all steps."""
        return self._batch

    @property
    def lengths(self) -> Ints:
        return locked(np.full(self.B, self.T) if self._batch is None else self._batch.lengths)

    @property
    def reset(self) -> Bools:
        return locked(np.zeros((self.T, self.B), bool) if self._reset is None else self._reset)

    @cached_property
    def _where(self) -> dict[str, tuple[LayerPass, str]]:
        """For each name, such as "l0.f", the pass that holds the array, and the name without the layer, "f"."""
        return {f"{layer_pass.part.name}.{name}": (layer_pass, name)
                for layer_pass in self._passes for name in self.cell.names}

    @property
    def input(self) -> Array:
        return locked(self._padded("x", self._passes[0].x))

    @property
    def output(self) -> Array:
        return locked(self._layout.as_given(self._time_major_output))

    @property
    def _time_major_output(self) -> Array:
        output = self._recorded_output          # of a net of an ensemble, it has been spread out
        if output.shape[:2] == (self.T, self.B):
            return output
        top = self._passes[-1]                  # in one direction, its h is the output
        return self._padded("output" if top.part.direction else f"{top.part.name}.h", output)

    @property
    def recorded_output(self) -> Array:
        """The output as the pass wrote it: (T, B, F), or (N, 1, F) where the rows have unequal lengths.

        For code that hands it on without a copy. `backward` reads it, so nobody may change it. The tapes of the nets of
        an ensemble have (T, B, F) in either case.
        """
        return self._recorded_output

    @property
    def state(self) -> StateT:
        return cast("StateT", self._layout.states(map(locked, self._final)))

    @property
    def initial(self) -> StateT:
        return cast("StateT", self._layout.states(map(locked, self._initial)))

    @property
    def grad(self) -> Named:
        why = None if self._last else NO_GRADIENT
        # Created on each access: if the tape kept it, the two would refer to each other, and the memory of the tape
        # would not be freed at once.
        return Named(self._where, self._gradient, why)

    def _ipython_key_completions_(self) -> list[str]:
        return self.names()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"_spread": {}}
        if self._recorded is not None:
            for derived in ("_passes", "_where"):       # views, which would be pickled as arrays of their own
                state.pop(derived, None)
        return state

    def names(self, pattern: str = "*") -> list[str]:
        """Names that match a shell pattern ("*.f", "l1.*"), in the order of the layers.

        Parameters
        ----------
        pattern : str

        Returns
        -------
        list of str
        """
        if not isinstance(pattern, str):
            raise TypeError(f"pattern: got {pattern!r}, expected a string such as '*.h'")
        return [name for name in self._where if fnmatchcase(name, pattern)]

    def __contains__(self, name: object) -> bool:
        return name in self._where

    def __getitem__(self, name: str) -> Array:
        return Named(self._where, self._value)[name]

    def _value(self, name: str) -> Array:
        layer_pass, short = self._where[name]
        if short == "h":
            return self._padded(name, layer_pass.h)
        if layer_pass.checkpoints is None:
            return self._padded(name, self._kept(layer_pass, short))
        parts = [self._kept(steps, short).copy()        # from the end of the pass, whose order is that of time or not
                 for *_, steps in layer_pass.recomputed(self.packed()[layer_pass.part.position])]
        empty = np.empty((0, layer_pass.h.shape[1], layer_pass.structure.hidden_size), self.dtype)
        whole: Array = np.concatenate([empty, *(parts if layer_pass.reverse else reversed(parts))])
        return whole if self._batch is None else self._batch.spread(whole)

    def _padded(self, name: str, array: Array) -> Array:
        """An array of the recorded pass as (T, B, H): a view, or, for rows of unequal length, an array of its own."""
        if self._batch is None:
            return array.view()
        if name not in self._spread:
            self._spread[name] = self._batch.spread(array)
        return self._spread[name].view()

    def _kept(self, steps: RecordedSteps, short: str) -> Array:
        """c, or a gate, at some steps that have not only checkpoints: (T, B, H)."""
        if short == "c":
            assert steps.c is not None
            return steps.c
        assert steps.slots is not None
        return steps.slots[:, :, self.cell.slots[short]]

    @property
    def nbytes(self) -> int:
        """The size of the arrays of the recorded pass in bytes, without gradients; shared memory counts once.

        Those that were put into the caller's order to be read are among them.
        """
        arrays: list[Array | None] = [self._recorded_output, *self._initial, *self._final, *self._spread.values()]
        for layer_pass in self._passes:
            arrays += [layer_pass.x, layer_pass.h, *layer_pass.initial, layer_pass.slots, layer_pass.c, layer_pass.mask]
            arrays += [state for *_, states in layer_pass.checkpoints or () for state in states]
            arrays += layer_pass.lookup or ()
        owners = {id(owner): owner for owner in [_owner(array) for array in arrays if array is not None]}
        return sum(owner.nbytes for owner in owners.values())

    @property
    def parameters(self) -> dict[str, Array]:
        """Copies of the weights with which the pass was computed, by name.

        Raises a RuntimeError if the layer's weights have changed since.
        """
        with LOCK:
            self.packed()
            return self.layer.parameters

    def packed(self) -> list[_engine.Weights]:
        """The packed weights for the backward pass, one `Weights` for each layer and direction.

        Raises a RuntimeError if the layer's weights have changed since the pass was recorded.
        """
        return self._layer.packed_at(self._version).weights

    # ---- backward -------------------------------------------------------------------------------

    def backward(self, grad_output: ArrayLike | None = None, grad_state: StateLike = None, *,
                 parameters: bool | None = None) -> Gradients[StateT, Array]:
        """Back-propagate through time, and fill in ``tape.grad``.

        If several threads call it at once, ``tape.grad`` holds the gradients of the call that ends last.

        Parameters
        ----------
        grad_output : array_like, optional
            ∂L/∂output, of the shape of ``tape.output``, or with a leading axis for K cotangents at once; then all
            results have this axis too. Values past a row's end are ignored, even NaN. Zeros by default.
        grad_state : array_like or tuple, optional
            ∂L/∂(final state), of the shape of ``tape.state``, with the same leading axis as `grad_output`, if any.
            Zeros by default.
        parameters : bool, optional
            Whether to compute the gradients of the weights. By default True, but False for K cotangents at once.

        Returns
        -------
        Gradients

        Raises
        ------
        RuntimeError
            The weights changed since the pass was recorded.
        ValueError
            Neither gradient is given, or one has the wrong shape.
        """
        weights = self.packed()
        # As one call of the engine; a later pass takes the way below, which first frees the gradients of the last one.
        if self._recorded is not None and self._last is None and (parameters is None or parameters is True):
            structure, layout = self._layer.structure, self._layout
            whole = _engine.backward_recorded(weights, self._recorded, self._batch, grad_output, grad_state,
                                              layout.batched, layout.batch_first, structure.engine_order,
                                              structure.shapes)
            if whole is not None:
                *gradients, found = whole
                self._last = None, None, found
                return Gradients(*gradients)
        grad_out, carry, many = self._check_cotangents(grad_output, grad_state)
        if parameters is None:
            parameters = many is None
        as_flag(parameters, "parameters")
        wanted = self._room_for_parameters() if parameters and many is None else {}
        grad_x, cotangents = self._backward(weights, grad_out, carry, many, wanted, "all steps")
        assert grad_x is not None
        if many is not None:
            grad_x, carry = one_by_one(grad_x, many, self.B), [one_by_one(part, many, self.B) for part in carry]
            if parameters:
                assert cotangents is not None
                wanted = parameters_one_by_one(self._passes, weights, many, *cotangents)
        return Gradients(self._layout.as_given(grad_x), cast("StateT", self._layout.states(carry)), wanted)

    @property
    def has_lookup(self) -> bool:
        """Whether the input is rows of a table whose products the pass looked up: see `backward_to_table`."""
        return (self._lookup if self._recorded is not None else self._passes[0].lookup) is not None

    def backward_to_table(self, grad_output: ArrayLike | None, grad_state: StateLike) -> Gradients[StateT, Array]:
        """As `backward` for one cotangent, but ``input`` is the gradient of the table (V, I) that x is rows of.

        For models, which have the table; only where `has_lookup`.
        """
        assert self.has_lookup
        weights = self.packed()
        grad_out, carry, many = self._check_cotangents(grad_output, grad_state)
        wanted = self._room_for_parameters()
        grad_table, _ = self._backward(weights, grad_out, carry, many, wanted, "table")
        assert grad_table is not None
        return Gradients(grad_table, cast("StateT", self._layout.states(carry)), wanted)

    def backward_on(self, grad_output: Array | None, carry: list[Array], *, grad_input: bool = True,
                    parameters: bool = True, active_rows_alone: bool = False) -> tuple[Array | None, dict[str, Array]]:
        """The same as `backward` for one cotangent, without its checks and for arrays of the form that the engine has.

        Parameters
        ----------
        grad_output : ndarray (T, B, directions·H) or None
            In the layer's dtype, contiguous along the last axis; it is only read.
        carry : list of ndarray (layers·directions, B, H)
            For each state a cotangent on its final value, which is overwritten with the gradient of its initial value.
        grad_input, parameters : bool
            Whether the gradients of the input, and those of the weights, are computed.
        active_rows_alone : bool
            Whether `grad_output` and the gradient of the input are (N, 1, …), where the rows have unequal lengths.

        Returns
        -------
        grad_x : ndarray (T, B, I), or None if it is not wanted
        parameters : dict of ndarray
            By name; empty if they are not wanted.
        """
        weights = self.packed()
        wanted = self._room_for_parameters() if parameters else {}
        of_input: OfInput | None = None if not grad_input else "active rows" if active_rows_alone else "all steps"
        return self._backward(weights, grad_output, carry, None, wanted, of_input)[0], wanted

    def _check_cotangents(self, grad_output: ArrayLike | None, grad_state: StateLike
                          ) -> tuple[Array | None, list[Array], int | None]:
        shape = self._layout.shape(self._T, self._B, self._recorded_output.shape[-1])
        return check_cotangents(grad_output, grad_state, shape, self._final, self.cell.states, self._layout)

    def _backward(self, weights: list[_engine.Weights], grad_out: Array | None, carry: list[Array], many: int | None,
                  parameters: dict[str, Array], of_input: OfInput | None
                  ) -> tuple[Array | None, tuple[Array | None, list[Array]] | None]:
        """Walk back, and keep what `grad` needs.

        Returns the gradient of the input, and copies of the cotangents, or None if they are not needed again.
        """
        self._last = None                               # until this backward pass is complete
        checkpoints = self._recorded is None and self._passes[0].checkpoints is not None
        found = None if checkpoints else self._room_for_steps(carry[0].shape[1])
        cotangents = None
        if found is None or many is not None:           # needed again, by `_gradient` or `parameters_one_by_one`
            cotangents = (None if grad_out is None else grad_out.copy()), [part.copy() for part in carry]
        wanted, structure = Wanted(parameters, found, of_input), self._layer.structure
        if self._recorded is None or many is not None:
            grad_x = walk_back(self._passes, weights, grad_out, carry, wanted)
        else:
            grad_x = walk_back_whole(structure, self._recorded, self._batch, self._lookup, weights, grad_out, carry,
                                     wanted)
        self._last = many, cotangents, found
        return grad_x, cotangents

    def _room_for_steps(self, R: int) -> list[Array]:
        return room_for_steps(self._layer.structure, self._T, R, self._active_rows(R))

    def _room_for_parameters(self) -> dict[str, Array]:
        return room_for_parameters(self._layer.structure, self._T * self._B if self._batch is None else self._batch.N)

    def _active_rows(self, R: int) -> Batch | None:
        """The rows of unequal length whose steps alone a walk of R rows goes through; None: through all steps."""
        return self._batch if self._B == R else None

    def pullback(self, v: ArrayLike | None = None, *, every: int = 1,
                 direction: Literal["forward", "reverse"] = "forward") -> Pullback:
        """Multiply a block of cotangents on the final state by the Jacobians of the steps, backward in time.

        Parameters
        ----------
        v : array_like, (K, B, S), optional
            Cotangents on the carry s = [h of every layer; for an LSTM, c of every layer], of size S. By default the
            identity, K = S.
        every : int
            The number of steps between two stops.
        direction : {"forward", "reverse"}
            The direction of a bidirectional layer; the outputs of the other direction count as constants.

        Returns
        -------
        Pullback
            An iterator that gives a `Carry` with the products so far, after every `every` steps and after the last one.
            Its arrays may be changed in place, and the walk continues with the changed values.
        """
        self.packed()                   # if the weights have changed, the error comes here, not at the first step
        return pullback(self, self._passes, v, every, direction)

    def _gradient(self, name: str) -> Array:
        """The gradient of the last `backward` for a name: (T, B, H), or (K, T, B, H)."""
        layer_pass, short = self._where[name]
        last = self._last
        if last is None:                    # another thread has begun a backward pass
            raise KeyError(f"{name}: {NO_GRADIENT}")
        many, cotangents, found = last
        if found is None:                   # recorded with checkpoints: recompute
            assert cotangents is not None
            weights, (grad_output, carry) = self.packed(), cotangents
            found = self._room_for_steps(carry[0].shape[1])
            walk_back(self._passes, weights, grad_output, [state.copy() for state in carry], Wanted({}, found))
        delta, total_h, total_c = of_pass(found, layer_pass)
        array = total_h if short == "h" else total_c if short == "c" else delta[:, :, self.cell.slots[short]]
        batch = self._active_rows(self.B if many is None else many * self.B)
        if batch is not None:
            array = batch.spread(array)
        return array.view() if many is None else one_by_one(array, many, self.B)


def _owner(array: Array) -> Any:
    """What the memory of an array belongs to: an array, or an allocation of the engine."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and hasattr(owner.base, "nbytes"):      # not a pickle's bytes
        owner = owner.base
    return owner
