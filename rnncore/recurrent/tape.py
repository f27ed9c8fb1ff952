"""The tape: the buffers of one recorded pass, by name.

Training and the debugger read the same buffers, so that nothing is copied and nothing is computed twice. A tape holds
one `LayerPass` for each layer and direction, with the arrays that the time loop wrote, and after `backward` also the
arrays that BPTT wrote. By name it returns views of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

import numpy as np

from rnncore import _engine
from rnncore._checks import as_flag, as_real, as_rows
from rnncore._typing import Array, GradStateT, InputT, StateT
from rnncore.module import LOCK

from .passes import Walk
from .pullback import Pullback, pullback

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from rnncore._typing import ArrayLike, Bools, Ints, StateLike

    from .base import RecurrentLayer
    from .descriptions import Description
    from .layout import Layout
    from .passes import LayerPass, RecordedSteps
    from .ragged import Batch

NO_GRADIENT = "no gradient yet; call tape.backward(grad_output) first"


@dataclass(repr=False)
class Gradients(Generic[GradStateT, InputT]):
    """The gradients that a backward pass returns; the arrays are not shared with anything else.

    Attributes
    ----------
    input : ndarray
        ∂L/∂x, laid out as x was. None where the input was tokens.
    state : ndarray or tuple
        ∂L/∂h0, or the pair (∂L/∂h0, ∂L/∂c0), laid out as the initial state. None where there is no state.
    parameters : dict of ndarray
        By the names of ``state_dict()``; empty if they were not requested.
    """

    input: InputT
    state: GradStateT
    parameters: dict[str, Array]

    def __repr__(self) -> str:
        named = [f"{name} {array.shape}" for name, array in self.parameters.items()]
        parameters = ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
        return (f"<Gradients: input {_shape(self.input)}; state {_shape(self.state)}; "
                f"parameters {parameters or 'not requested'}>")


class Named(Mapping[str, Array]):
    """A read-only mapping from names to arrays, each of which is obtained when it is accessed.

    Parameters
    ----------
    names : collection of str
    get : callable
        Returns the array for a name; the mapping makes it read-only.
    why_empty : str, optional
        If given, the mapping is empty, and accessing a name raises a KeyError with this explanation.
    """

    def __init__(self, names: Collection[str], get: Callable[[str], Array], why_empty: str | None = None) -> None:
        self._names, self._get, self._why_empty = names, get, why_empty

    def __repr__(self) -> str:
        return f"<arrays by name: {self._why_empty or _in_words(self._names)}>"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __getitem__(self, name: str) -> Array:
        if self._why_empty:
            raise KeyError(f"{name}: {self._why_empty}")
        if not isinstance(name, str):
            raise TypeError(f"name: got {name!r}, expected one of {', '.join(self._names)}")
        if name not in self._names:
            raise KeyError(f"name: got {name!r}, expected one of {', '.join(self._names)}")
        view = self._get(name)
        view.setflags(write=False)
        return view

    def __iter__(self) -> Iterator[str]:
        return iter(() if self._why_empty else self._names)

    def __len__(self) -> int:
        return 0 if self._why_empty else len(self._names)


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
    # - the gradients at every step, as from `_room_for_steps`, or None if the pass was recorded with checkpoints: they
    #   are then computed from the cotangents whenever `grad` is read.
    _last: tuple[int | None, tuple[Array | None, list[Array]] | None, list[Array] | None] | None = None

    def __init__(self, layer: RecurrentLayer[StateT], version: int, passes: list[LayerPass], reset: Bools | None,
                 layout: Layout, initial: list[Array], final: list[Array], recorded_output: Array) -> None:
        self._layer, self._cell, self._dtype = layer, layer.cell, layer.dtype
        self._passes, self._layout = passes, layout
        self._T: int = passes[0].T
        self._B: int = initial[0].shape[1]
        self._batch = passes[0].batch
        self._version = version
        self._reset = reset
        self._initial, self._final = initial, final         # of every state (layers·directions, B, H)
        self._spread: dict[str, Array] = {}                 # see `_padded`
        self._recorded_output = recorded_output

    def __repr__(self) -> str:
        sizes = f"T={self.T}, B={self.B}" + (", ragged" if self._batch is not None else "")
        grad = "gradients in .grad" if self._last else "no gradients yet"
        return f"<Tape of {self._layer!r}: {sizes}; {_in_words(self._where)}; {grad}>"

    # ---- what was recorded; none of it can be set -----------------------------------------------

    @property
    def layer(self) -> RecurrentLayer[StateT]:
        return self._layer

    @property
    def cell(self) -> Description:
        return self._cell

    @property
    def mode(self) -> str:
        return self._cell.mode

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

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
        return _locked(np.full(self.B, self.T) if self._batch is None else self._batch.lengths)

    @property
    def reset(self) -> Bools:
        return _locked(np.zeros((self.T, self.B), bool) if self._reset is None else self._reset)

    @cached_property
    def _where(self) -> dict[str, tuple[LayerPass, str]]:
        """For each name, such as "l0.f", the pass that holds the array, and the name without the layer, "f"."""
        return {f"{layer_pass.part.name}.{name}": (layer_pass, name)
                for layer_pass in self._passes for name in self._cell.names}

    @property
    def input(self) -> Array:
        return _locked(self._padded("x", self._passes[0].x))

    @property
    def output(self) -> Array:
        return _locked(self._layout.as_given(self._time_major_output))

    @property
    def _time_major_output(self) -> Array:
        output = self._recorded_output
        return output if output.shape[:2] == (self.T, self.B) else self._padded("output", output)

    @property
    def recorded_output(self) -> Array:
        """The output as the pass wrote it: (T, B, F), or (N, 1, F) where the input was that of the active rows alone.

        For code that hands it on without a copy. `backward` reads it, unless it is (T, B, F) for rows of unequal
        length; so nobody may change it.
        """
        return self._recorded_output

    @property
    def state(self) -> StateT:
        return cast("StateT", self._layout.states(map(_locked, self._final)))

    @property
    def initial(self) -> StateT:
        return cast("StateT", self._layout.states(map(_locked, self._initial)))

    @property
    def grad(self) -> Named:
        why = None if self._last else NO_GRADIENT
        # Created on each access: if the tape kept it, the two would refer to each other, and the memory of the tape
        # would not be freed at once.
        return Named(self._where, self._gradient, why)

    def _ipython_key_completions_(self) -> list[str]:
        return self.names()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_spread": {}}

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
        return steps.slots[:, :, self._cell.slots[short]]

    @property
    def nbytes(self) -> int:
        """The size of the arrays of the recorded pass in bytes, without gradients; shared memory counts once."""
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
        return self._gradients(grad_output, grad_state, parameters)

    @property
    def has_lookup(self) -> bool:
        """Whether the input is rows of a table whose products the pass looked up: see `backward_to_table`."""
        return self._passes[0].lookup is not None

    def backward_to_table(self, grad_output: ArrayLike | None, grad_state: StateLike) -> Gradients[StateT, Array]:
        """As `backward` for one cotangent, but ``input`` is the gradient of the table (V, I) that x is rows of.

        For models, which have the table; only where `has_lookup`.
        """
        assert self.has_lookup
        return self._gradients(grad_output, grad_state, True, to_table=True)

    def _gradients(self, grad_output: ArrayLike | None, grad_state: StateLike, parameters: bool | None,
                   to_table: bool = False) -> Gradients[StateT, Array]:
        weights = self.packed()
        grad_out, carry, many = self._check_cotangents(grad_output, grad_state)
        if parameters is None:
            parameters = many is None
        as_flag(parameters, "parameters")
        wanted = self._room_for_parameters() if parameters and many is None else {}
        grad_x, cotangents = self._backward(weights, grad_out, carry, many, wanted, to_table=to_table)
        assert grad_x is not None
        if to_table:
            return Gradients(grad_x, cast("StateT", self._layout.states(carry)), wanted)
        if many is not None:
            grad_x, carry = _many(grad_x, many, self.B), [_many(part, many, self.B) for part in carry]
        if parameters and many is not None:
            assert cotangents is not None
            wanted = self._parameters_one_by_one(weights, many, *cotangents)
        return Gradients(self._layout.as_given(grad_x), cast("StateT", self._layout.states(carry)), wanted)

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
        return self._backward(weights, grad_output, carry, None, wanted, grad_input, active_rows_alone)[0], wanted

    def _backward(self, weights: list[_engine.Weights], grad_out: Array | None, carry: list[Array], many: int | None,
                  wanted: Mapping[str, Array], grad_input: bool = True, active_rows_alone: bool = False,
                  to_table: bool = False) -> tuple[Array | None, tuple[Array | None, list[Array]] | None]:
        """Walk back, and keep what `grad` needs.

        Returns the gradient of the input, and copies of the cotangents, or None if they are not needed again.
        """
        self._last = None                               # until this backward pass is complete
        found = None if self._passes[0].checkpoints is not None else self._room_for_steps(carry[0].shape[1])
        cotangents = None
        if found is None or many is not None:           # needed again, by `_gradient` or `_parameters_one_by_one`
            cotangents = (None if grad_out is None else grad_out.copy()), [part.copy() for part in carry]
        grad_x = self._walk(weights, grad_out, carry, wanted, found, grad_input, active_rows_alone, to_table)
        self._last = many, cotangents, found
        return grad_x, cotangents

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

    def _active_rows(self, R: int) -> Batch | None:
        """The rows of unequal length whose steps alone a backward pass of R rows goes through; None: through all.

        Several cotangents go through all steps: see `Walk`.
        """
        return self._batch if R == self.B else None

    def _room_for_steps(self, R: int) -> list[Array]:
        """Uninitialised arrays for the gradients at every step, for R rows of cotangents.

        There are three arrays for each of `_passes`: for the pre-activations of the slots (T, R, slots, H), for h
        (T, R, H), and for c (T, R, H), or None if the cell has no c. For one cotangent on rows of unequal length they
        hold the active rows alone, (N, 1, …).
        """
        batch = self._active_rows(R)
        shapes = self.layer.structure.gradient_shapes(*((self.T, R) if batch is None else (batch.N, 1)))
        return _engine.carve("gradients", self.dtype, shapes * len(self._passes))

    def _walk(self, weights: list[_engine.Weights], grad_out: Array | None, carry: list[Array],
              wanted: Mapping[str, Array], found: list[Array] | None = None, grad_input: bool = True,
              active_rows_alone: bool = False, to_table: bool = False) -> Array | None:
        """BPTT, layer by layer from the top; returns the gradient of the input.

        Parameters
        ----------
        weights : list of Weights
            Of each layer and direction, with their transposes packed.
        grad_out : ndarray (T, R, directions·H) or None
            Cotangents on the output; None for zeros.
        carry : list of ndarray (layers·directions, R, H)
            For each state the cotangents on its final value, which are overwritten with those on its initial value.
        wanted : mapping of str to ndarray
            Arrays for the gradients of the parameters, such as from `_room_for_parameters`, which are filled in; empty
            if these are not wanted.
        found : list of ndarray, optional
            Arrays for the gradients at every step, from `_room_for_steps`, which are filled in.
        grad_input, active_rows_alone : bool
            As in `backward_on`.
        to_table : bool
            Whether the gradient of the table is wanted that the input is rows of, in the place of that of the input.

        Returns
        -------
        ndarray (T, R, I), or None if it is not wanted; or that of the table (V, I)
        """
        structure, given = self.layer.structure, carry
        R = carry[0].shape[1]
        batch = self._active_rows(R)
        if batch is not None:
            carry = list(map(batch.sorted, carry))
        grad_x: Array | None = None
        grad_table: Array | None = None
        for index in reversed(range(structure.num_layers)):
            passes = self._passes[index * structure.directions:(index + 1) * structure.directions]
            shape = (self.T, R) if batch is None else (batch.N, 1)
            features, clears = passes[0].part.input_size, False
            if index > 0:
                grad_x = _engine.carve("gradients", self.dtype, ((*shape, features),))[0]
            elif to_table or not grad_input:
                grad_x = None
            elif batch is None or active_rows_alone:
                grad_x = _engine.room((*shape, features), self.dtype)
            else:
                grad_x = batch.room(features, self.dtype)
                clears = not batch.mostly_padding
            for layer_pass in passes:
                part = layer_pass.part
                walk = Walk(weights[part.position], layer_pass, carry, part.position,
                            None if grad_out is None else structure.half(grad_out, part), grad_x,
                            part.direction == 1, active_rows_alone=batch is not None)
                walk.clears_grad_x = clears and part.direction == 0
                if found is not None:
                    walk.delta, walk.total_h, walk.total_c = _of_pass(found, layer_pass)
                lookup = layer_pass.lookup if to_table else None
                arrays = structure.for_engine(part, wanted) if wanted else {}
                if wanted:
                    walk.sums = _engine.Sums(weights[part.position], layer_pass, layer_pass.checkpoints is not None,
                                             **(arrays if lookup is None else arrays | {"w_ih": None}))
                layer_pass.walk_back(walk)
                if lookup is not None:
                    assert walk.delta is not None
                    of_table = lookup.backward(weights[part.position], walk.delta, arrays["w_ih"])
                    grad_table = of_table if grad_table is None else np.add(grad_table, of_table, out=grad_table)
            mask = passes[0].mask
            if mask is not None and grad_x is not None:
                if batch is not None:
                    grad_x *= batch.gather(mask)
                else:
                    _by_rows(grad_x, R // max(self.B, 1), self.B)[...] *= mask[:, None]
            grad_out = grad_x
        if batch is not None:
            for array, ours in zip(given, carry, strict=True):
                array[...] = batch.in_given_order(ours)
        return grad_table if to_table else grad_x

    def _room_for_parameters(self) -> dict[str, Array]:
        """Uninitialised arrays for the gradients of the parameters, in memory that was freed earlier, if any."""
        shapes = self.layer.structure.shapes
        arrays = _engine.carve("gradients of parameters", self.dtype, tuple(shapes.values()))
        steps = self.T * self.B if self._batch is None else self._batch.N
        if not steps:                       # without a step the engine does not write to them
            for array in arrays:
                array[...] = 0
        return dict(zip(shapes, arrays, strict=True))

    def _parameters_one_by_one(self, weights: list[_engine.Weights], many: int, grad_output: Array | None,
                               carry: list[Array]) -> dict[str, Array]:
        """The gradients of the parameters for each of K cotangents, (K, …), bit-identical to those of K calls."""
        found: dict[str, Array] = {
            name: np.zeros((many, *shape), self.dtype) for name, shape in self.layer.structure.shapes.items()}
        for k in range(many):
            rows = slice(k * self.B, (k + 1) * self.B)
            one = None if grad_output is None else grad_output[:, rows].copy()
            states = [part[:, rows].copy() for part in carry]           # `_walk` overwrites them
            self._walk(weights, one, states, {name: array[k] for name, array in found.items()})
        return found

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
            self._walk(weights, grad_output, [state.copy() for state in carry], {}, found)
        delta, total_h, total_c = _of_pass(found, layer_pass)
        array = total_h if short == "h" else total_c if short == "c" else delta[:, :, self._cell.slots[short]]
        batch = self._active_rows(self.B if many is None else many * self.B)
        if batch is not None:
            array = batch.spread(array)
        return array.view() if many is None else _many(array, many, self.B)

    # ---- shapes ---------------------------------------------------------------------------------

    def _check_cotangents(self, grad_output: ArrayLike | None, grad_state: StateLike
                          ) -> tuple[Array | None, list[Array], int | None]:
        """Check the cotangents of `backward`, and convert them to the form that `_walk` takes.

        Returns
        -------
        grad_out : ndarray (T, K·B, F) or None
        carry : list of ndarray (layers·directions, K·B, H)
            One for every state.
        many : int or None
            K, or None if the cotangents have no leading axis.
        """
        if grad_output is None and grad_state is None:
            raise ValueError("backward: got neither grad_output nor grad_state, expected at least one")
        leading: list[int | None] = []          # K, or None, for each array that is given
        grad_out = None
        if grad_output is not None:
            like = self._layout.as_given(self._time_major_output)
            grad_out = as_rows(grad_output, "grad_output", self.dtype)
            grad_out = _cotangent(grad_out, "grad_output", like.shape, leading)
        parts: list[Array | None] = [None] * len(self._final)
        if grad_state is not None:
            parts = self._check_grad_state(grad_state, leading)
        many = leading[0] if leading else None
        if leading.count(many) < len(leading):
            raise ValueError(f"grad_output, grad_state: got leading axes {set(leading)}, "
                             "expected the same K for all, or none")
        if grad_out is not None:
            grad_out = self._layout.time_major(grad_out)
            if many is not None:
                grad_out = np.ascontiguousarray(grad_out.swapaxes(0, 1)).reshape(
                    self.T, many * self.B, grad_out.shape[-1])
        return grad_out, [self._carry(part, like, many) for part, like in zip(parts, self._final, strict=True)], many

    def _check_grad_state(self, grad_state: StateLike, leading: list[int | None]) -> list[Array | None]:
        """For each state the cotangent on its final value, checked, or None if it was not given."""
        states = self._cell.states
        shapes = [self._layout.state_shape(part.shape) for part in self._final]
        if len(states) == 1:
            return [_cotangent(as_real(grad_state, "grad_state", self.dtype), "grad_state", shapes[0], leading)]
        if not isinstance(grad_state, tuple | list) or len(grad_state) != len(states):
            expected = ", ".join(f"grad_{state}" for state in states)
            raise ValueError(f"grad_state: got {type(grad_state).__name__}, expected the pair ({expected})")
        names = [f"grad_state[{place}] ({state})" for place, state in enumerate(states)]
        return [None if part is None else _cotangent(as_real(part, name, self.dtype), name, shape, leading)
                for part, name, shape in zip(grad_state, names, shapes, strict=True)]

    def _carry(self, given: Array | None, like: Array, many: int | None) -> Array:
        """A copy of a cotangent on the final state `like`, in the engine's form, (layers·directions, K·B, H)."""
        layers, B, H = like.shape
        K = 1 if many is None else many
        if given is None:
            return np.zeros((layers, K * B, H), self.dtype)
        return np.array(given.reshape(K, layers, B, H).swapaxes(0, 1), order="C").reshape(layers, K * B, H)


def _cotangent(array: Array, name: str, shape: tuple[int, ...], leading: list[int | None]) -> Array:
    """Return the array after a check of its shape, which is `shape`, or (K, *shape) for K cotangents.

    K, or None if there is no leading axis, is appended to `leading`.
    """
    if array.shape == shape:
        leading.append(None)
    elif array.ndim == len(shape) + 1 and array.shape[1:] == shape:
        leading.append(array.shape[0])
    else:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}, or (K, *{shape}) for K cotangents")
    return array


def _of_pass(found: list[Array], layer_pass: LayerPass) -> list[Array]:
    """The three arrays of one layer and direction among those of `Tape._room_for_steps`."""
    return found[3 * layer_pass.position:3 * layer_pass.position + 3]


def _by_rows(array: Array, many: int, batch: int) -> Array:
    """A view of (T, K·B, …) as (T, K, B, …), with K = `many` and B = `batch`."""
    return array.reshape(array.shape[0], many, batch, *array.shape[2:])


def _many(array: Array, many: int, batch: int) -> Array:
    """A view of (T, K·B, …) as (K, T, B, …), with K = `many` and B = `batch`."""
    return _by_rows(array, many, batch).swapaxes(0, 1)


def _owner(array: Array) -> Any:
    """What the memory of an array belongs to: an array, or an allocation of the engine."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def _locked(array: Array) -> Array:
    """A read-only view."""
    view = array.view()
    view.setflags(write=False)
    return view


def _shape(value: Any) -> str:
    """The shape of an array, or of the arrays of a state, for messages."""
    if isinstance(value, tuple):
        return ", ".join(map(_shape, value))
    return "none" if value is None else str(value.shape)


def _in_words(names: Collection[str]) -> str:
    """Names of arrays, abbreviated: "h, c, i, f, g, o of l0, l1"."""
    parts: dict[str, list[str]] = {}
    for name in names:
        part, _, short = name.rpartition(".")
        parts.setdefault(part, []).append(short)
    shorts = ", ".join(next(iter(parts.values()), []))
    return shorts if set(parts) <= {""} else f"{shorts} of {', '.join(parts)}"
