"""Ensembles: many nets of one kind and shape, run, recorded and differentiated in one call."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Generic, cast
from weakref import WeakKeyDictionary, ref

import numpy as np

from rnncore import _engine
from rnncore._checks import as_array, as_flag, as_lengths, as_marks, as_real, as_rows, as_size
from rnncore._typing import Array, StateT
from rnncore.module import LOCK, Module, Packed

from .base import RecurrentLayer
from .dropout import mask
from .layout import Layout
from .nets import record_nets, walk_nets
from .ragged import Batches
from .resets import by_direction
from .tape import Gradients, Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rnncore._typing import ArrayLike, Bools, Ints, StateLike

    from .nets import NetsPass

# Which ensemble owns the weights of a layer, so that no two do.
_OWNERS: WeakKeyDictionary[RecurrentLayer, ref[Ensemble]] = WeakKeyDictionary()


class PackedEnsemble(Packed):
    """The packed weights: for every layer and direction one `Weights` for each net.

    Attributes
    ----------
    versions : list of int
        The version of each net's weights; `version` is their sum.
    """

    def __init__(self, versions: list[int], weights: list[list[_engine.Weights]]) -> None:
        super().__init__(sum(versions))
        self.versions, self.weights = versions, weights
        self.has_transposes = False


class Ensemble(Module, Generic[StateT]):
    """Many nets of one kind and shape, in one call: seeds, populations, sweeps.

    Threads divide the nets, and each net has the same bits as when it runs alone. The weights of all nets are in one
    array for each parameter, of which every net has its row, so that one update of an optimiser updates all nets.

    Parameters
    ----------
    layers : iterable of RNN, GRU or LSTM
        Of the same class, options and dtype. The ensemble takes over their weights: ``e.layers[k]`` is the layer
        itself, and what changes the one changes the other. A layer can belong to one ensemble only.

    Attributes
    ----------
    layers : tuple of RecurrentLayer
    cell, structure
        As of every layer.

    Notes
    -----
    ``state_dict()``, ``load_state_dict`` and ``writable`` name a parameter by the net's number and its own name, such
    as ``"3.weight_ih_l0"``. The gradients of `EnsembleTape.backward`, and the buffers of an optimiser, have the
    parameter's own name and an axis of nets: ``Adam(e).step(grads.parameters)`` updates all nets.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> e = rc.Ensemble([rc.LSTM(3, 4, seed=seed) for seed in range(8)])
    >>> x = np.random.default_rng(0).standard_normal((8, 5, 2, 3)).astype("float32")
    >>> y, (h, c) = e(x)
    >>> y.shape, h.shape
    ((8, 5, 2, 4), (8, 1, 2, 4))
    >>> bool((y[6] == e.layers[6](x[6])[0]).all())
    True
    >>> tape = e.record(x)
    >>> grads = tape.backward(tape.output)
    >>> grads.parameters["weight_hh_l0"].shape
    (8, 16, 4)
    >>> rc.optim.Adam(e, lr=0.01).step(grads.parameters)
    """

    _fixed = frozenset({"layers", "cell", "structure", "batch_first"})

    def __init__(self, layers: Iterable[RecurrentLayer[StateT]]) -> None:
        found = cast("tuple[RecurrentLayer[StateT], ...]", _checked(layers))
        first = found[0]
        super().__init__(first.dtype)
        self.layers = found
        self._modules = {str(k): layer for k, layer in enumerate(found)}
        self.cell, self.structure, self.batch_first = first.cell, first.structure, first.batch_first
        self._take_over()

    def _take_over(self) -> None:
        """Become the owner of the layers' weights."""
        self._owned: list[tuple[Module, dict[str, str]]] = [
            (layer, {f"{k}.{name}": name for name in self.structure.shapes}) for k, layer in enumerate(self.layers)]
        self._stacked: dict[str, Array] = {}
        with LOCK:
            for k, layer in enumerate(self.layers):
                owner = _OWNERS.get(layer)
                if owner is not None and owner() is not None:
                    raise ValueError(f"layers: got in place {k} a layer of another ensemble, expected layers that "
                                     "belong to none; copy.deepcopy(layer) is one, with weights of its own")
            for layer in self.layers:
                _OWNERS[layer] = ref(self)
            self._stack()

    def _stack(self) -> dict[str, Array]:
        """One array for each parameter, of which each layer has its row; called under LOCK.

        They are made anew where a layer has other arrays, as after a ``__setstate__``.
        """
        name, stacked = next(iter(self.structure.shapes)), self._stacked
        if stacked and all(layer._parameters[name].base is stacked[name] for layer in self.layers):
            return stacked
        for name in self.structure.shapes:
            stacked[name] = np.stack([layer._parameters[name] for layer in self.layers])
        for k, layer in enumerate(self.layers):
            layer._parameters.update({name: array[k] for name, array in stacked.items()})
        return stacked

    def __repr__(self) -> str:
        return f"<Ensemble of {len(self.layers)} × {self.layers[0]!r}>"

    def __len__(self) -> int:
        return len(self.layers)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items()
                if name not in ("_stacked", "_owned")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._take_over()

    # ---- weights --------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """A number that increases whenever the weights of a net change."""
        return sum([layer._version for layer in self.layers])

    def packed(self) -> PackedEnsemble:
        """The packed weights of the current version; those of a net that has not changed are kept."""
        packed = cast("PackedEnsemble | None", self._packed)
        if packed is None or packed.version != self.version:
            with LOCK:
                packed = cast("PackedEnsemble | None", self._packed)
                if packed is None or packed.version != self.version:
                    versions, stacked = [layer._version for layer in self.layers], self._stack()
                    before = [None] * len(versions) if packed is None else packed.versions
                    earlier = [[None if before[k] != version or packed is None else packed.weights[position][k]
                                for k, version in enumerate(versions)] for position in range(len(self.structure.parts))]
                    self.__dict__["_packed"] = packed = None        # frees its memory for the next pack
                    self.__dict__["_packed"] = packed = PackedEnsemble(versions, [
                        _engine.pack_nets(self.cell.kernel, weights, **self.structure.for_engine(part, stacked),
                                          variant=self.structure.variant_for_engine(part))
                        for weights, part in zip(earlier, self.structure.parts, strict=True)])
        return packed

    def packed_at(self, version: int) -> PackedEnsemble:
        """The packed weights, with their transposes, for the backward pass of a pass that used this `version` of them.

        Raises a RuntimeError if the weights of a net have changed since.
        """
        packed = cast("PackedEnsemble | None", self._packed)
        if packed is not None and packed.has_transposes and packed.version == version == self.version:
            return packed
        with LOCK:
            if version != self.version:
                raise RuntimeError("tape: the weights of a net changed since this pass was recorded; record it again")
            packed = self.packed()
            for weights, part in zip(packed.weights, self.structure.parts, strict=True):
                _engine.pack_nets_backward(weights, **self.structure.matrices_for_engine(part, self._stacked))
            packed.has_transposes = True
            return packed

    def owned(self) -> Iterator[tuple[Module, dict[str, str]]]:
        return iter(self._owned)                # made once, since every update of an optimiser asks

    def _updated(self) -> Mapping[str, Array]:
        with LOCK:
            return self._stack()

    def _from_working(self, working: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: np.stack([working[f"{k}.{name}"] for k in range(len(self))]) for name in self._stacked}

    def _into_working(self, arrays: Mapping[str, Array], working: Mapping[str, Array]) -> None:
        for name, stacked in arrays.items():
            for k, array in enumerate(stacked):
                working[f"{k}.{name}"][...] = array

    # ---- running --------------------------------------------------------------------------------

    def __call__(self, x: ArrayLike, state: StateLike = None, lengths: ArrayLike | None = None,
                 reset: ArrayLike | None = None) -> tuple[Array, StateT]:
        """Run a batch of sequences through every net; nothing is recorded, and no dropout is applied.

        Parameters
        ----------
        x : array_like, (N, T, B, I), or (T, B, I) for all nets; (N, B, T, I) or (B, T, I) with ``batch_first``
            One batch for each of the N nets. Real or integer values, which are converted to the dtype.
        state : array_like or tuple, optional
            Initial states: h of (N, layers·directions, B, H), or the pair (h, c) for LSTMs. Zeros by default.
        lengths : array_like of int, (N, B), or (B,) for all nets, optional
        reset : array_like of bool, (N, T, B), or (T, B) for all nets, laid out as x, optional
            As in a call of a layer.

        Returns
        -------
        y : ndarray, (N, T, B, directions·H), laid out as x
        state : ndarray or tuple
            h, or (h, c), each (N, layers·directions, B, H).

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type, shape or length; the message names it.
        """
        packed, structure = self.packed(), self.structure
        out, layout = self._check_input(x)
        nets, T, B = out.shape[:3]
        row_lengths = self._check_lengths(lengths, T, B)
        states = self._check_state(state, B)
        batch = None if row_lengths is None else Batches(row_lengths, T)
        resets = by_direction(self._check_reset(reset, T, B, layout), batch, structure.directions)
        if batch is not None:
            states = [batch.sorted(part) for part in states]
        for part in structure.parts:
            if part.direction == 0:
                inputs = out
                if part.layer == structure.num_layers - 1:
                    out = self._empty(T, B, layout, zeros=batch is not None)
                else:
                    rows = (T, B) if batch is None else (batch.N, 1)
                    out = _engine.room((nets, *rows, structure.features), self.dtype)
            _engine.forward_nets(packed.weights[part.position], inputs, structure.half(out, part), states,
                                 part.position, batch=batch, resets=resets[part.direction],
                                 reverse=part.direction == 1)
        if batch is not None:
            states = [batch.in_given_order(part) for part in states]
        return layout.as_given(out), cast("StateT", layout.states(states))

    def record(self, x: ArrayLike, state: StateLike = None, lengths: ArrayLike | None = None, *, train: bool = False,
               checkpoint_every: int | None = None, reset: ArrayLike | None = None) -> EnsembleTape[StateT]:
        """Run a batch of sequences through every net, and keep what the backward pass and the debugger need.

        Parameters
        ----------
        x, state, lengths, reset
            As in a call.
        train, checkpoint_every
            As in `RecurrentLayer.record`; every net drops by its own ``dropout`` and seed.

        Returns
        -------
        EnsembleTape
        """
        as_flag(train, "train")
        if checkpoint_every is not None:
            checkpoint_every = as_size(checkpoint_every, "checkpoint_every")
        packed = self.packed()
        given, layout = self._check_input(x)
        T, B = given.shape[1:3]
        row_lengths = self._check_lengths(lengths, T, B)
        initial = self._check_state(state, B)
        batch = None if row_lengths is None else Batches(row_lengths, T)
        marks = self._check_reset(reset, T, B, layout)
        resets = by_direction(marks, batch, self.structure.directions)
        start = initial if batch is None else [batch.sorted(part) for part in initial]
        states = [part.copy() for part in start]
        numbers: list[int | None] = []
        try:
            if train and self.structure.num_layers > 1:
                numbers.extend(layer.masks.next() if layer.dropout else None for layer in self.layers)
            mask_of = self._masks(numbers) if any(number is not None for number in numbers) else None
            passes, output = record_nets(self.structure, packed.weights, given, start, states, batch, resets,
                                         mask_of, checkpoint_every)
        except BaseException:                   # Ctrl-C among others
            for layer, number in zip(self.layers, numbers, strict=False):
                layer.masks.take_back(number)
            raise
        if batch is not None:
            states, output = [batch.in_given_order(part) for part in states], batch.spread(output)
        return EnsembleTape(self, packed, passes, row_lengths, marks, layout, initial, states, output)

    def _masks(self, numbers: list[int | None]) -> Callable[[int, tuple[int, ...]], Array]:
        """The masks of all nets, (N, T, B, I), for the index of a layer and the shape (T, B, I) of its input."""

        def masks(index: int, shape: tuple[int, ...]) -> Array:
            return np.stack([np.ones(shape, self.dtype) if number is None else
                             mask(layer.masks.seed, number, index, shape, layer.dropout, self.dtype)
                             for layer, number in zip(self.layers, numbers, strict=True)])

        return masks

    # ---- shapes ---------------------------------------------------------------------------------

    def _check_input(self, x: ArrayLike) -> tuple[Array, Layout]:
        """Check x; return it as (N, T, B, I) in the layers' dtype, and its layout."""
        given, layout, nets = as_rows(x, "x", self.dtype), Layout(self.batch_first), len(self)
        if given.ndim not in (3, 4) or given.shape[-1] != self.structure.input_size or (
                given.ndim == 4 and given.shape[0] != nets):
            raise ValueError(f"x: got shape {given.shape}, expected {self._axes}, or without N for the same input of "
                             f"all nets, with N = {nets} nets and I = input_size = {self.structure.input_size}")
        if given.ndim == 3:
            given = np.broadcast_to(given, (nets, *given.shape))
        return layout.time_major(given), layout

    @property
    def _axes(self) -> str:
        return "(N, B, T, I)" if self.batch_first else "(N, T, B, I)"

    def _check_lengths(self, lengths: ArrayLike | None, T: int, B: int) -> Ints | None:
        """The lengths (N, B), or None where every row is full."""
        if lengths is None:
            return None
        given, nets = as_array(lengths, "lengths"), len(self)
        if given.ndim == 2 and given.shape != (nets, B):
            raise ValueError(f"lengths: got shape {given.shape}, expected (N, B) = {(nets, B)}, or (B,) for all nets")
        found = as_lengths(given.reshape(-1), T, nets * B) if given.ndim == 2 else as_lengths(given, T, B)
        if found is None:
            return None
        return found.reshape(nets, B) if given.ndim == 2 else np.tile(found, (nets, 1))

    def _check_reset(self, reset: ArrayLike | None, T: int, B: int, layout: Layout) -> Bools | None:
        """The marks (N, T, B), a copy."""
        if reset is None:
            return None
        rows = (B, T) if layout.batch_first else (T, B)
        given: Any = reset if hasattr(reset, "detach") else as_array(reset, "reset")
        shared = given.ndim == 2
        axes = self._axes.replace(", I", "")
        if shared:
            axes = axes.replace("N, ", "")
        marks = as_marks(given, "reset", rows if shared else (len(self), *rows), axes)
        return np.array(np.broadcast_to(marks.swapaxes(-1, -2) if layout.batch_first else marks, (len(self), T, B)))

    def _check_state(self, state: StateLike, B: int, what: str = "state") -> list[Array]:
        """Check the states, or cotangents on them; return copies, each (N, layers·directions, B, H). None is zeros."""
        names = self.cell.initial if what == "state" else tuple(f"{what} ({name})" for name in self.cell.states)
        shapes = [(len(self), *shape) for shape in self.structure.state_shapes(B)]
        parts: Any = (state,) if len(names) == 1 or state is None else state
        if state is not None and len(names) > 1 and (not isinstance(state, tuple | list) or len(state) != len(names)):
            got = f"{len(state)} values" if isinstance(state, tuple | list) else type(state).__name__
            raise ValueError(f"{what}: got {got}, expected the pair ({', '.join(names)}), of shapes "
                             f"{' and '.join(map(str, shapes))}")
        found = []
        for name, part, shape in zip(names, parts if state is not None else [None] * len(names), shapes, strict=True):
            array = np.zeros(shape, self.dtype) if part is None else as_real(part, name, self.dtype)
            if array.shape != shape:
                raise ValueError(f"{name}: got shape {array.shape}, expected {shape}: (N, layers·directions, B, H)")
            found.append(array if part is None else np.array(array, order="C"))
        return found

    def _empty(self, T: int, B: int, layout: Layout, *, zeros: bool) -> Array:
        """A new array (N, T, B, directions·H), C-contiguous once it is laid out as x."""
        new, features = np.zeros if zeros else _engine.room, self.structure.features
        if layout.batch_first:
            return new((len(self), B, T, features), self.dtype).swapaxes(1, 2)
        return new((len(self), T, B, features), self.dtype)


class EnsembleTape(Generic[StateT]):
    """One recorded pass of an `Ensemble`, and its backward pass; ``tape[k]`` is the `Tape` of net k.

    The tapes of single nets are views of the same arrays, for the debugger and for whatever takes a tape. After
    `backward` each has its gradients.

    Attributes
    ----------
    ensemble : Ensemble
    T, B : int
    lengths : ndarray of int, (N, B)
    reset : ndarray of bool, (N, T, B)
    output, state, initial
        What the call would have returned, and the initial states.
    """

    # What is kept of the last backward pass, as by `Tape`, with an axis of nets: the cotangents, or the gradients.
    _last: tuple[tuple[Array | None, list[Array]] | None, list[Array | None] | None] | None = None

    def __init__(self, ensemble: Ensemble[StateT], packed: PackedEnsemble, passes: list[NetsPass], lengths: Ints | None,
                 reset: Bools | None, layout: Layout, initial: list[Array], final: list[Array], output: Array) -> None:
        self.ensemble, self._passes, self._layout = ensemble, passes, layout
        self._lengths, self._reset = lengths, reset
        self._version, self._versions = packed.version, packed.versions
        self._initial, self._final, self._time_major_output = initial, final, output
        self.T, self.B = output.shape[1:3]
        self._tapes: dict[int, Tape[StateT]] = {}

    def __repr__(self) -> str:
        sizes = f"T={self.T}, B={self.B}" + (", ragged" if self._lengths is not None else "")
        grad = "gradients in tape[k].grad" if self._last else "no gradients yet"
        return f"<EnsembleTape of {self.ensemble!r}: {sizes}; tape[k] is that of net k; {grad}>"

    def __len__(self) -> int:
        return len(self.ensemble)

    def __getitem__(self, k: int) -> Tape[StateT]:
        if not hasattr(k, "__index__"):
            raise TypeError(f"tape: got {k!r}, expected the number of a net, as in tape[0]; a tape of one net has "
                            "arrays by name, as in tape[0]['l0.h']")
        index = operator.index(k)
        if not -len(self) <= index < len(self):
            raise IndexError(f"tape: got net {index}, expected a number from 0 to {len(self) - 1}")
        index %= len(self)
        if index not in self._tapes:
            self._tapes[index] = tape = Tape(
                self.ensemble.layers[index], self._versions[index], [one.of_net(index) for one in self._passes],
                None if self._reset is None else self._reset[index], self._layout,
                [part[index] for part in self._initial], [part[index] for part in self._final],
                self._time_major_output[index])
            self._give_gradients(index, tape)
        return self._tapes[index]

    def __iter__(self) -> Iterator[Tape[StateT]]:
        return (self[k] for k in range(len(self)))

    @property
    def lengths(self) -> Ints:
        found = np.full((len(self), self.B), self.T) if self._lengths is None else self._lengths.view()
        found.setflags(write=False)
        return found

    @property
    def reset(self) -> Bools:
        return _locked(np.zeros((len(self), self.T, self.B), bool) if self._reset is None else self._reset)

    @property
    def output(self) -> Array:
        return _locked(self._layout.as_given(self._time_major_output))

    @property
    def state(self) -> StateT:
        return cast("StateT", self._layout.states(map(_locked, self._final)))

    @property
    def initial(self) -> StateT:
        return cast("StateT", self._layout.states(map(_locked, self._initial)))

    def backward(self, grad_output: ArrayLike | None = None, grad_state: StateLike = None, *,
                 parameters: bool = True) -> Gradients[StateT, Array]:
        """Back-propagate through time in all nets, and fill in the gradients of their tapes.

        Parameters
        ----------
        grad_output : array_like, optional
            ∂L/∂output, of the shape of ``tape.output``. Values past a row's end are ignored. Zeros by default.
        grad_state : array_like or tuple, optional
            ∂L/∂(final state), of the shape of ``tape.state``. Zeros by default.
        parameters : bool
            Whether to compute the gradients of the weights.

        Returns
        -------
        Gradients
            ``input`` is (N, T, B, I), or (N, B, T, I) with ``batch_first``, also where all nets had the same input;
            ``state`` is (N, layers·directions, B, H), or a pair of them; each of ``parameters`` is (N, …).

        Raises
        ------
        RuntimeError
            The weights of a net changed since the pass was recorded.
        ValueError
            Neither gradient is given, or one has the wrong shape.
        """
        ensemble, structure = self.ensemble, self.ensemble.structure
        weights = ensemble.packed_at(self._version).weights
        if grad_output is None and grad_state is None:
            raise ValueError("backward: got neither grad_output nor grad_state, expected at least one")
        grad_out = None
        if grad_output is not None:
            grad_out = as_rows(grad_output, "grad_output", ensemble.dtype)
            if grad_out.shape != self.output.shape:
                raise ValueError(f"grad_output: got shape {grad_out.shape}, expected {self.output.shape}")
            grad_out = self._layout.time_major(grad_out)
        carry = ensemble._check_state(grad_state, self.B, "grad_state")
        wanted = self._room_for_parameters() if as_flag(parameters, "parameters") else {}
        self._last = None                               # until this backward pass is complete
        found = cotangents = None
        if self._passes[0].checkpoints is None:
            found = self._room_for_steps()
        else:                                           # needed again, by the tapes of single nets
            cotangents = None if grad_out is None else grad_out.copy(), [part.copy() for part in carry]
        grad_x = walk_nets(structure, weights, self._passes, grad_out, carry, wanted, found)
        self._last = cotangents, found
        for k, tape in self._tapes.items():
            self._give_gradients(k, tape)
        return Gradients(self._layout.as_given(grad_x), cast("StateT", self._layout.states(carry)), wanted)

    def _give_gradients(self, k: int, tape: Tape[StateT]) -> None:
        """Let the tape of net k have the gradients of the last backward pass."""
        if self._last is None:
            return
        cotangents, found = self._last
        batch = self._passes[0].batch
        own = slice(None) if batch is None else slice(int(batch.starts[k, -1]))
        tape._last = (
            None,
            None if cotangents is None else (None if cotangents[0] is None else cotangents[0][k],
                                             [part[k] for part in cotangents[1]]),
            None if found is None else cast("list[Array]", [None if a is None else a[k, own] for a in found]))

    def _room_for_steps(self) -> list[Array | None]:
        """Uninitialised arrays for the gradients at every step: see `Tape._room_for_steps`."""
        batch, nets = self._passes[0].batch, len(self)
        rows = (self.T, self.B) if batch is None else (batch.N, 1)
        structure = self.ensemble.structure
        return _engine.carve("gradients", structure.dtype, structure.gradient_shapes(*rows) * len(self._passes), nets)

    def _room_for_parameters(self) -> dict[str, Array]:
        """Uninitialised arrays (N, …) for the gradients of the parameters; those of nets without a step are zero."""
        structure, batch = self.ensemble.structure, self._passes[0].batch
        arrays: list[Array] = _engine.carve("gradients of parameters", structure.dtype,
                                            tuple(structure.shapes.values()), len(self))
        idle: Any = slice(None) if batch is None and not self.T * self.B else (
            None if batch is None else np.flatnonzero(batch.starts[:, -1] == 0))
        if idle is not None:
            for array in arrays:
                array[idle] = 0
        return dict(zip(structure.shapes, arrays, strict=True))


def _checked(layers: Any) -> tuple[RecurrentLayer, ...]:
    """The layers of an ensemble, all of one kind and shape."""
    expected = "expected layers of one class, with the same options and dtype"
    found = tuple(layers) if hasattr(layers, "__iter__") else ()
    if not found:
        got = "none" if hasattr(layers, "__iter__") else type(layers).__name__
        raise ValueError(f"layers: got {got}, {expected}, as in "
                         "Ensemble([LSTM(3, 8, seed=seed) for seed in range(10)])")
    for k, layer in enumerate(found):
        if not isinstance(layer, RecurrentLayer):
            raise TypeError(f"layers: got a {type(layer).__name__} in place {k}, {expected}; of a SequenceModel, take "
                            "model.layer")
        if any(layer is other for other in found[:k]):
            raise ValueError(f"layers: got the same layer in place {k} as before, {expected}, each once; "
                             "copy.deepcopy(layer) has weights of its own")
        first = found[0]
        if (layer.cell, layer.dtype, layer.options) != (first.cell, first.dtype, first.options):
            raise ValueError(f"layers: got {layer!r} in place {k} after {first!r}, {expected}")
    return found


def _locked(array: Array) -> Array:
    """A read-only view."""
    view = array.view()
    view.setflags(write=False)
    return view
