"""The base class of the layers.

It holds the parameters, checks arguments, and calls the engine once for each layer of the stack and each direction.
"""

from __future__ import annotations

import warnings
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, cast

import numpy as np

from rnncore import _engine
from rnncore._checks import (
    as_flag,
    as_lengths,
    as_marks,
    as_probability,
    as_real,
    as_rows,
    as_seed,
    as_size,
    check_fits,
)
from rnncore._typing import Array, StateT
from rnncore.module import LOCK, Module, Packed

from . import descriptions
from .dropout import Masks, mask
from .layout import Layout
from .lookup import Lookup
from .passes import record_passes
from .ragged import Batch
from .resets import by_direction
from .stream import Stream
from .structure import Structure
from .tape import Tape
from .variants import DEFAULTS

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, Bools, DTypeLike, Seed, StateLike


# The arguments that all classes of layers have, except dtype and seed, with their defaults; None: there is no default.
SHARED: dict[str, Any] = {"input_size": None, "hidden_size": None, "num_layers": 1, "bias": True, "batch_first": False,
                          "dropout": 0.0, "bidirectional": False}


class PackedLayer(Packed):
    """The packed weights of every layer and direction, in the order of the states."""

    def __init__(self, version: int, structure: Structure, arrays: dict[str, Array]) -> None:
        super().__init__(version)
        cell = structure.cell
        self.weights = [_engine.Weights(cell.kernel, **structure.for_engine(part, arrays),
                                        variant=structure.variant_for_engine(part)) for part in structure.parts]
        self.has_transposes = False     # the backward pass needs them; they are packed when it first does

    def add_transposes(self, structure: Structure, arrays: dict[str, Array]) -> None:
        """Pack the transposes of the same weights."""
        for weights, part in zip(self.weights, structure.parts, strict=True):
            weights.pack_backward(**structure.matrices_for_engine(part, arrays))
        self.has_transposes = True


class RecurrentLayer(Module, Generic[StateT]):
    """The base class of `RNN`, `GRU`, `LSTM` and all other recurrent layers.

    Attributes
    ----------
    cell : Description
        The equations, and the names of the gates.
    structure : Structure
        The sizes of the stack of layers.
    masks : Masks
        The seed of the dropout masks, and the numbering of the passes that draw them.
    options : dict
        The arguments from which the layer was made, besides dtype and seed.
    """

    mode = ""
    own_options: ClassVar[dict[str, Any]] = {}      # arguments of this class alone that choose no cell: {name: default}
    _fixed = frozenset({"mode", "cell", "structure", "input_size", "hidden_size", "num_layers", "bias", "batch_first",
                        "bidirectional", "directions", "seed", "masks", *DEFAULTS})

    if TYPE_CHECKING:
        gate_clip: float | None
        activations: tuple[str | tuple[Any, ...], ...] | None

        def packed(self) -> PackedLayer: ...

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *,
                 dtype: DTypeLike = "float32", seed: Seed = None, **options: Any) -> None:
        super().__init__(dtype)
        own = {name: options.pop(name, default) for name, default in self.own_options.items()}
        self.cell = descriptions.find(self.mode, **options)
        variants = {name: DEFAULTS[name] for name in self.cell.variants}
        for name, value in (variants | dict(self.cell.options)).items():
            setattr(self, name, value)
        self.input_size = as_size(input_size, "input_size")
        self.hidden_size = as_size(hidden_size, "hidden_size")
        for name, value in own.items():
            own[name] = self._check_option(name, value)
            setattr(self, name, own[name])
        self.num_layers = as_size(num_layers, "num_layers")
        self.bias = as_flag(bias, "bias")
        self.batch_first = as_flag(batch_first, "batch_first")
        self.bidirectional = as_flag(bidirectional, "bidirectional")
        self.directions = 2 if self.bidirectional else 1
        if self.cell.variant is not None and len(self.cell.variant.activations) > self.directions:
            raise ValueError("activations: got those of two directions for a layer with one, expected "
                             "bidirectional=True, or those of one direction")
        self._set_dropout(dropout)
        self.seed = as_seed(seed)
        self.structure = Structure(self.cell, self.input_size, self.hidden_size, self.num_layers, self.bias,
                                   self.directions, self.dtype, own.get("proj_size", 0))
        self.masks = Masks(seed)
        self._initialise(np.random.Generator(np.random.PCG64(seed)))

    def _check_option(self, name: str, value: Any) -> Any:
        """The value of one of `own_options`, checked."""
        raise NotImplementedError(name)

    # ---- parameters -----------------------------------------------------------------------------

    def _initialise(self, rng: np.random.Generator) -> None:
        """Draw all weights and biases uniformly from ±1/√H, as torch does."""
        check_fits(self.structure.count_weights(), self.dtype, "weights", input_size=self.input_size,
                   hidden_size=self.hidden_size, num_layers=self.num_layers)
        bound = 1 / np.sqrt(self.hidden_size)
        for name, shape in self.structure.iter_shapes():
            self._parameters[name] = rng.uniform(-bound, bound, shape).astype(self.dtype)

    def _pack(self) -> PackedLayer:
        return PackedLayer(self._version, self.structure, self._parameters)

    def packed_at(self, version: int) -> PackedLayer:
        """The packed weights, with their transposes, for the backward pass of a pass that used this `version` of them.

        Raises a RuntimeError if the weights have changed since.
        """
        packed = cast("PackedLayer | None", self._packed)
        if packed is not None and packed.has_transposes and packed.version == version == self._version:
            return packed
        with LOCK:
            if version != self._version:
                raise RuntimeError("tape: the layer's weights changed since this pass was recorded; record it again")
            packed = self.packed()
            packed.add_transposes(self.structure, self._parameters)
            return packed

    def with_weights(self, arrays: list[Array], *, transposes: bool) -> Self:
        """A layer that differs from this one in its weights alone, for a model whose weights another library owns.

        Parameters
        ----------
        arrays : list of ndarray
            In the order of `state_dict`, contiguous, with its shapes and the layer's dtype, which are not checked. They
            are packed at once, and may change afterwards.
        transposes : bool
            Whether to pack what the backward pass needs, too.
        """
        structure, named = self.structure, dict(zip(self.structure.shapes, arrays, strict=True))
        other = object.__new__(type(self))
        packed = PackedLayer(self._version, structure, named)
        if transposes:
            packed.add_transposes(structure, named)
        given = packed, {name: named[name].copy() for name in self._unpacked_names}
        other.__dict__.update(self.__dict__, _packed=packed, _given=given)
        other.__dict__.pop("_parameters", None)             # which are made of what is given: see there
        return other

    def has_weights(self, arrays: list[Array], *, transposes: bool) -> bool:
        """Whether a layer that `with_weights` made has these weights, to the last bit; it takes their transposes."""
        structure, named, (packed, others) = self.structure, dict(
            zip(self.structure.shapes, arrays, strict=True)), self._given
        if packed.version != self._version or not _engine.same_bytes(
                list(others.values()), [named[name] for name in others]):
            return False
        for weights, part in zip(packed.weights, structure.parts, strict=True):
            if not weights.holds(**structure.matrices_for_engine(part, named)):
                return False
        if transposes and not packed.has_transposes:
            packed.add_transposes(structure, named)
        return True

    # Of a layer that `with_weights` made: its weights, and copies of those that are not packed as they are.
    _given: tuple[PackedLayer, dict[str, Array]]

    @cached_property
    def _parameters(self) -> dict[str, Array]:  # type: ignore[override]
        """The weights of a layer that `with_weights` made: they are unpacked where somebody asks for them."""
        structure, (packed, others) = self.structure, self._given
        found = {name: others[name].copy() if name in others else np.empty(shape, self.dtype)
                 for name, shape in structure.shapes.items()}
        for weights, part in zip(packed.weights, structure.parts, strict=True):
            weights.unpack(**structure.matrices_for_engine(part, found))
        return found

    @cached_property
    def _unpacked_names(self) -> tuple[str, ...]:
        """The names of the parameters that are no matrices, such as biases, of which the engine packs the sum."""
        names = {name: name for name in self.structure.shapes}
        matrices = {name for part in self.structure.parts
                    for name in self.structure.matrices_for_engine(part, names).values()}  # type: ignore[arg-type]
        return tuple(name for name in names if name not in matrices)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_given"}

    @property
    def dropout(self) -> float:
        """The probability that ``record(x, train=True)`` drops a value between two layers of the stack; may be set."""
        return self._dropout

    @dropout.setter
    def dropout(self, value: float) -> None:
        self._set_dropout(value)

    def _set_dropout(self, value: float) -> None:
        self._dropout = as_probability(value, "dropout")
        if self._dropout and self.num_layers == 1:
            warnings.warn(f"dropout: got {value!r} with num_layers=1, where it has no effect, since it acts between "
                          "layers; expected 0, or rnncore.nn.Dropout after the layer", stacklevel=4)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments besides dtype and seed: ``type(layer)(**layer.options)`` has the same cell and shapes.

        Those of `own_options` are left out at their defaults, so that the files of other layers stay as they were.
        """
        own = {name: getattr(self, name) for name, default in self.own_options.items()}
        return {name: getattr(self, name) for name in SHARED} | dict(self.cell.options) | {
            name: value for name, value in own.items() if value != self.own_options[name]}

    def __repr__(self) -> str:
        told = [f"{self.input_size}, {self.hidden_size}"]
        defaults = SHARED | dict(DEFAULTS) | dict(descriptions.first(self.mode).options) | self.own_options
        told += [f"{name}={value!r}" for name, value in list(self.options.items())[2:] if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(told)}, dtype={self.dtype.name!r})"

    # ---- running: a call, a recorded pass, a stream ---------------------------------------------

    def __call__(self, x: ArrayLike, state: StateLike = None, lengths: ArrayLike | None = None,
                 reset: ArrayLike | None = None) -> tuple[Array, StateT]:
        """Run a batch of sequences; nothing is recorded, and no dropout is applied.

        Parameters
        ----------
        x : array_like, (T, B, I), (B, T, I) with ``batch_first``, or (T, I) for one sequence
            Real or integer values, which are converted to the layer's dtype. Never written to.
        state : array_like or tuple, optional
            Initial state: h of (layers·directions, B, H), or the pair (h, c) for an LSTM. Zeros by default.
        lengths : array_like of int, (B,), optional
            The number of steps of each row, in any order; 0 is allowed. Outputs past a row's end are 0, and its final
            state is the one after its last step. The reverse direction begins at each row's own last step and ends at
            step 0.
        reset : array_like of bool, (T, B), (B, T) with ``batch_first``, or (T,) for one sequence, optional
            The steps before which a row's state is zero, such as the first steps of episodes or of documents that
            follow each other in one row. At step 0 it replaces the initial state. The reverse direction is cut in the
            same places, between steps t − 1 and t. Marks past a row's end have no effect.

        Returns
        -------
        y : ndarray, (T, B, directions·H), laid out as x
        state : ndarray or tuple
            h, or (h, c), each (layers·directions, B, H). Where an LSTM has projections, y and h are P wide, not H.

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type, shape or length; the message names it.
        """
        return self.call_on(self.packed(), x, state, lengths, reset)

    def call_on(self, packed: PackedLayer, x: ArrayLike, state: StateLike = None,
                lengths: ArrayLike | Batch | None = None, reset: ArrayLike | None = None,
                lookup: Lookup | None = None) -> tuple[Array, StateT]:
        """The same as a call, with packed weights that the caller took before.

        A model needs this: it takes the packed weights of all its parts at one moment, so that no change of the weights
        comes in between. If `lengths` is a `Batch`, x is (N, I) and holds its active rows alone, and so does y; `reset`
        is (T, B) then. Where x is rows of a table, `lookup` says which.
        """
        if reset is None and lookup is None:
            found = _engine.call(packed.weights, x, state, lengths, self.directions, self.batch_first)
            if found is not None:
                return found
        out, layout, batch, T, B = self._check_input(x, lengths)
        states, structure, padded = self.check_state(state, B, layout), self.structure, not isinstance(lengths, Batch)
        resets = by_direction(self._marks(reset, T, B, layout), batch, self.directions)
        lookup = None if lookup is None else lookup.arranged(layout, batch, structure.input_slots)
        if batch is not None and state is not None:
            states = [batch.sorted(part) for part in states]
        clears = False
        for part in structure.parts:
            if part.direction == 0:
                inputs = out
                if part.layer == self.num_layers - 1 and padded:
                    zeros = batch is not None and batch.mostly_padding
                    out = layout.empty(T, B, structure.features, self.dtype, zeros=zeros)
                    clears = batch is not None and not zeros
                else:
                    out = _engine.room((*((T, B) if batch is None else (batch.N, 1)), structure.features), self.dtype)
            weights = packed.weights[part.position]
            looked_up = None if lookup is None or part.layer > 0 else lookup.products(weights)
            _engine.forward(weights, inputs, structure.half(out, part), states, part.position, batch=batch,
                            resets=resets[part.direction], reverse=part.direction == 1, looked_up=looked_up,
                            clears=clears)
        if batch is not None:
            states = [batch.in_given_order(part) for part in states]
        return layout.as_given(out) if padded else out[:, 0], cast("StateT", layout.states(states))

    def record(self, x: ArrayLike, state: StateLike = None, lengths: ArrayLike | None = None, *, train: bool = False,
               checkpoint_every: int | None = None, reset: ArrayLike | None = None) -> Tape[StateT]:
        """Run a batch of sequences and keep what the backward pass and the debugger need, on a tape.

        Parameters
        ----------
        x, state, lengths, reset
            As in a call. No gradient crosses a reset. Without dropout the output is bit-identical to that of a call.
        train : bool
            Whether to apply ``dropout`` between the layers of the stack.
        checkpoint_every : int, optional
            If given, k: only the outputs and the states before every k-th step are kept, and the gates (and c) are
            recomputed, k steps at a time, when they are needed. Results are bit-identical and take less memory, but the
            backward pass includes another forward pass.

        Returns
        -------
        Tape

        Examples
        --------
        >>> import numpy as np, rnncore as rc
        >>> lstm = rc.LSTM(3, 4, seed=0)
        >>> tape = lstm.record(np.ones((5, 2, 3)))
        >>> tape["l0.f"].shape
        (5, 2, 4)
        >>> grads = tape.backward(np.ones_like(tape.output))
        >>> grads.parameters["weight_hh_l0"].shape
        (16, 4)
        """
        return self.record_on(self.packed(), x, state, lengths, train, checkpoint_every, reset)

    def record_on(self, packed: PackedLayer, x: ArrayLike, state: StateLike = None,
                  lengths: ArrayLike | Batch | None = None, train: bool = False, checkpoint_every: int | None = None,
                  reset: ArrayLike | None = None, masks: Masks | None = None,
                  lookup: Lookup | None = None) -> Tape[StateT]:
        """The same as `record`, with packed weights that the caller took before, and as `call_on` for a `Batch`.

        The dropout masks may be drawn from `masks`; by default they are drawn from those of the layer. Where x is rows
        of a table, `lookup` says which; a pass with checkpoints makes no use of it.
        """
        as_flag(train, "train")
        if checkpoint_every is not None:
            checkpoint_every = as_size(checkpoint_every, "checkpoint_every")
        dropped = train and self.dropout > 0 and self.num_layers > 1
        whole = reset is None and checkpoint_every is None and not dropped and not isinstance(lengths, Batch)
        plain, batch = Batch.of_plain(lengths, x, self.batch_first) if whole else (False, None)
        if plain and (tape := self._record_whole(packed, x, state, batch, lookup)) is not None:
            return tape
        given, layout, batch, T, B = self._check_input(x, lengths)
        if whole and not plain and (tape := self._record_whole(packed, x, state, batch, lookup)) is not None:
            return tape
        masks = self.masks if masks is None else masks
        states = self.check_state(state, B, layout)
        marks = self._marks(reset, T, B, layout)
        resets = by_direction(marks, batch, self.directions)
        if lookup is not None:
            lookup = None if checkpoint_every else lookup.arranged(layout, batch, self.structure.input_slots)
        initial = start = [part.copy() for part in states]
        if batch is not None and state is not None:
            start, states = [[batch.sorted(part) for part in parts] for parts in (initial, states)]
        mask_number = mask_of = None
        try:
            if dropped:
                mask_number = masks.next()
                mask_of = partial(mask, masks.seed, mask_number, share=self.dropout, dtype=self.dtype)
            passes, output = record_passes(self.structure, packed.weights, given, start, states, batch, resets,
                                           mask_of, checkpoint_every, lookup)
        except BaseException:                   # Ctrl-C among others
            masks.take_back(mask_number)
            raise
        if batch is not None:
            states = [batch.in_given_order(part) for part in states]
        return Tape(self, packed.version, passes, marks, layout, initial, states, output)

    def _record_whole(self, packed: PackedLayer, x: ArrayLike, state: StateLike, batch: Batch | None,
                      lookup: Lookup | None) -> Tape[StateT] | None:
        """`record_on` as one call of the engine; None if an argument has to be converted or refused."""
        if lookup is not None and isinstance(x, np.ndarray) and x.size:
            lookup = lookup.arranged(Layout.of(x, self.batch_first), batch, self.structure.input_slots)
        recorded = _engine.record(packed.weights, x, state, self.directions, self.batch_first, lookup, batch)
        if recorded is None:
            return None
        layout, (_, outs, _, _, initial, final) = Layout.of(cast("Array", x), self.batch_first), recorded
        return Tape(self, packed.version, None, None, layout, initial, final, outs[-1], batch=batch, recorded=recorded,
                    lookup=lookup)

    def stream(self, batch_size: int = 1) -> Stream[StateT]:
        """An object that runs the layer one step at a time, with buffers that are allocated once.

        Parameters
        ----------
        batch_size : int

        Returns
        -------
        Stream
        """
        if self.bidirectional:
            raise ValueError("stream: a bidirectional layer needs the whole sequence before its first output; "
                             "use bidirectional=False, or call the layer on a window")
        return Stream(self, as_size(batch_size, "batch_size"))

    # ---- shapes ---------------------------------------------------------------------------------

    def _check_input(self, x: ArrayLike,
                     lengths: ArrayLike | Batch | None) -> tuple[Array, Layout, Batch | None, int, int]:
        """Check x and the lengths of its rows.

        Returns
        -------
        x : ndarray (T, B, I), or (N, 1, I) where `lengths` is a `Batch`, in the layer's dtype
        layout : Layout
            That of x.
        batch : Batch or None
            The rows; None if every row has all steps.
        T, B : int
        """
        sequences = as_rows(x, "x", self.dtype)
        if isinstance(lengths, Batch):
            if sequences.shape != (lengths.N, self.input_size):
                raise ValueError(f"x: got shape {sequences.shape}, expected (N, I), with N = {lengths.N}, the sum of "
                                 f"the lengths, and I = input_size = {self.input_size}")
            return sequences[:, None], Layout(), lengths, lengths.steps, len(lengths.lengths)
        if sequences.ndim not in (2, 3) or sequences.shape[-1] != self.input_size:
            raise ValueError(f"x: got shape {sequences.shape}, expected {Layout(self.batch_first).axes}, or (T, I) for "
                             f"one sequence, with I = input_size = {self.input_size}")
        layout = Layout.of(sequences, self.batch_first)
        sequences = layout.time_major(sequences)
        T, B = sequences.shape[:2]
        row_lengths = as_lengths(lengths, T, B)
        return sequences, layout, None if row_lengths is None else Batch(row_lengths, T), T, B

    def _marks(self, reset: ArrayLike | None, steps: int, batch_size: int, layout: Layout) -> Bools | None:
        """Check a caller's resets; return a copy of them, (T, B)."""
        if reset is None:
            return None
        shape = (batch_size, steps) if layout.batch_first else (steps, batch_size)
        marks = as_marks(reset, "reset", shape if layout.batched else (steps,), layout.axes.replace(", I", ""))
        return np.array(marks[:, None] if not layout.batched else marks.T if layout.batch_first else marks)

    def check_state(self, state: StateLike, batch: int, layout: Layout) -> list[Array]:
        """Check a caller's state; return copies of its arrays, each (layers·directions, B, H). None means zeros."""
        names, shapes = self.cell.initial, self.structure.state_shapes(batch)
        if state is None:
            return [np.zeros(own, self.dtype) for own in shapes]
        if len(names) == 1:
            return [self._own(state, names[0], layout, shapes[0])]
        if not isinstance(state, tuple | list) or len(state) != len(names):
            got = f"{len(state)} values" if isinstance(state, tuple | list) else type(state).__name__
            expected = [str(layout.state_shape(own)) for own in shapes]
            told = f"each of shape {expected[0]}" if len({*expected}) == 1 else f"of shapes {' and '.join(expected)}"
            raise ValueError(f"state: got {got}, expected the pair ({', '.join(names)}), {told}")
        found = []
        for place, part in enumerate(state):
            found.append(self._own(part, names[place], layout, shapes[place]))
        return found

    def _own(self, part: object, name: str, layout: Layout, shape: tuple[int, ...]) -> Array:
        """A copy of one array of a state in `shape`, after a check that the caller's has this shape in its layout."""
        if part is None:
            return np.zeros(shape, self.dtype)
        array = as_real(part, name, self.dtype)
        expected = layout.state_shape(shape)
        if array.shape != expected:
            width = "P" if shape[-1] == self.structure.proj_size else "H"
            raise ValueError(f"{name}: got shape {array.shape}, expected {expected}: (layers·directions, "
                             f"{'B, ' if len(expected) == 3 else ''}{width}), also with batch_first")
        return array.copy().reshape(shape)
