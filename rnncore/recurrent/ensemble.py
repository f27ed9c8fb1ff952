"""Ensembles: many nets of one kind and shape, and their weights; all of them run, and are recorded, in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import WeakKeyDictionary, ref

import numpy as np

from rnncore import _engine
from rnncore._checks import as_flag, as_size
from rnncore._typing import Array, StateT
from rnncore.module import LOCK, Module, Packed

from .dropout import mask
from .ensemble_arguments import check_input, check_layers, check_lengths, check_reset, check_state
from .ensemble_tape import EnsembleTape
from .nets import record_nets
from .ragged import Batches
from .resets import by_direction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rnncore._typing import ArrayLike, StateLike

    from .base import RecurrentLayer
    from .layout import Layout
    from .nets import NetsPass, NetsWeights

Found = TypeVar("Found")
# Which ensemble owns the weights of a layer, so that no two do.
_OWNERS: WeakKeyDictionary[RecurrentLayer, ref[Ensemble]] = WeakKeyDictionary()


class PackedEnsemble(Packed):
    """The packed weights: for every layer and direction one `Weights` for each net, or `Unpacked` ones of all nets.

    Attributes
    ----------
    versions : list of int
        The version of each net's weights; `version` is their sum.
    kept : bool
        Whether the weights have been packed. Otherwise the threads of a pass pack them on their way, and a pass is
        worthless if they change meanwhile, so that the versions have to be compared after it.
    """

    def __init__(self, versions: list[int], weights: Sequence[NetsWeights], *, kept: bool = True) -> None:
        super().__init__(sum(versions))
        self.versions, self.weights, self.kept = versions, weights, kept
        self.has_transposes = False

    def serves_most_of(self, ensemble: Ensemble[Any]) -> bool:
        """Whether most nets still have the weights that have been packed."""
        same = sum(layer._version == before for layer, before in zip(ensemble.layers, self.versions, strict=True))
        return 2 * same > len(ensemble)


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
    _used: int | None = None        # the version of the weights of the last pass, see `packed_once`

    def __init__(self, layers: Iterable[RecurrentLayer[StateT]]) -> None:
        found = cast("tuple[RecurrentLayer[StateT], ...]", check_layers(layers))
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
                if name not in ("_stacked", "_owned", "_used")}

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

    def packed_once(self) -> PackedEnsemble:
        """The weights of the current version, for a pass that packs them on its way if those of most nets are new.

        In training every pass has new weights. A second pass with the same weights packs them for good.
        """
        packed, version = cast("PackedEnsemble | None", self._packed), self.version
        if version == self._used or (packed is not None and (packed.version == version or packed.serves_most_of(self))):
            return self.packed()
        self.__dict__["_used"] = version
        with LOCK:
            return self._where_they_lie()

    def _where_they_lie(self) -> PackedEnsemble:
        stacked = self._stack()
        return PackedEnsemble([layer._version for layer in self.layers], [
            _engine.Unpacked(self.cell.kernel, **self.structure.for_engine(part, stacked),
                             variant=self.structure.variant_for_engine(part)) for part in self.structure.parts],
            kept=False)

    def check_version(self, version: int) -> None:
        """Raise a RuntimeError if the weights of a net are no longer those of a recorded pass."""
        if version != self.version:
            raise RuntimeError("tape: the weights of a net changed since this pass was recorded; record it again")

    def packed_at(self, version: int, *, once: bool) -> PackedEnsemble:
        """The packed weights, with their transposes, for the backward pass of a pass that used this `version` of them.

        Those that are needed only `once` are packed on the way, unless they are packed already.

        Raises a RuntimeError if the weights of a net have changed since.
        """
        packed = cast("PackedEnsemble | None", self._packed)
        if packed is not None and packed.has_transposes and packed.version == version == self.version:
            return packed
        with LOCK:
            self.check_version(version)
            if once and (packed is None or packed.version != version):
                return self._where_they_lie()
            packed = self.packed()
            for weights, part in zip(packed.weights, self.structure.parts, strict=True):
                matrices = self.structure.matrices_for_engine(part, self._stacked)
                _engine.pack_nets_backward(cast("list[_engine.Weights]", weights), **matrices)
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
        structure = self.structure
        given, layout = check_input(x, len(self), structure, self.batch_first)
        nets, T, B = given.shape[:3]
        row_lengths = check_lengths(lengths, nets, T, B)
        initial = check_state(state, nets, structure, B)
        batch = None if row_lengths is None else Batches(row_lengths, T)
        resets = by_direction(check_reset(reset, nets, T, B, layout), batch, structure.directions)
        if batch is not None:
            initial = [batch.sorted(part) for part in initial]

        def run(weights: Sequence[NetsWeights]) -> tuple[Array, list[Array]]:
            out, states = given, [part.copy() for part in initial]
            for part in structure.parts:
                if part.direction == 0:
                    inputs = out
                    if part.layer == structure.num_layers - 1:
                        out = self._empty(T, B, layout, zeros=batch is not None)
                    else:
                        rows = (T, B) if batch is None else (batch.N, 1)
                        out = _engine.room((nets, *rows, structure.features), self.dtype)
                _engine.forward_nets(weights[part.position], inputs, structure.half(out, part), states, part.position,
                                     batch=batch, resets=resets[part.direction], reverse=part.direction == 1)
            return out, states

        _, (out, states) = self._run(self.packed_once(), run)
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
        given, layout = check_input(x, len(self), self.structure, self.batch_first)
        nets, T, B = given.shape[:3]
        row_lengths = check_lengths(lengths, nets, T, B)
        initial = check_state(state, nets, self.structure, B)
        batch = None if row_lengths is None else Batches(row_lengths, T)
        marks = check_reset(reset, nets, T, B, layout)
        resets = by_direction(marks, batch, self.structure.directions)
        start = initial if batch is None else [batch.sorted(part) for part in initial]
        numbers: list[int | None] = []

        def run(weights: Sequence[NetsWeights]) -> tuple[list[Array], list[NetsPass], Array]:
            states = [part.copy() for part in start]
            return states, *record_nets(self.structure, weights, given, start, states, batch, resets, mask_of,
                                        checkpoint_every)

        try:
            if train and self.structure.num_layers > 1:
                numbers.extend(layer.masks.next() if layer.dropout else None for layer in self.layers)
            mask_of = self._masks(numbers) if any(number is not None for number in numbers) else None
            packed, (states, passes, output) = self._run(
                self.packed() if checkpoint_every else self.packed_once(), run)
        except BaseException:                   # Ctrl-C among others
            for layer, number in zip(self.layers, numbers, strict=False):
                layer.masks.take_back(number)
            raise
        if batch is not None:
            states, output = [batch.in_given_order(part) for part in states], batch.spread(output)
        return EnsembleTape(self, packed, passes, row_lengths, marks, layout, initial, states, output)

    def _run(self, packed: PackedEnsemble, run: Callable[[Sequence[NetsWeights]], Found]
             ) -> tuple[PackedEnsemble, Found]:
        """What a pass gives, and the weights that it used: others if these changed while it packed them on its way."""
        found = run(packed.weights)
        if not packed.kept and packed.version != self.version:
            packed = self.packed()
            found = run(packed.weights)
        return packed, found

    def _masks(self, numbers: list[int | None]) -> Callable[[int, tuple[int, ...]], Array]:
        """The masks of all nets, (N, T, B, I), for the index of a layer and the shape (T, B, I) of its input."""

        def masks(index: int, shape: tuple[int, ...]) -> Array:
            return np.stack([np.ones(shape, self.dtype) if number is None else
                             mask(layer.masks.seed, number, index, shape, layer.dropout, self.dtype)
                             for layer, number in zip(self.layers, numbers, strict=True)])

        return masks

    def _empty(self, T: int, B: int, layout: Layout, *, zeros: bool) -> Array:
        """A new array (N, T, B, directions·H), C-contiguous once it is laid out as x."""
        new, features = np.zeros if zeros else _engine.room, self.structure.features
        if layout.batch_first:
            return new((len(self), B, T, features), self.dtype).swapaxes(1, 2)
        return new((len(self), T, B, features), self.dtype)
