"""One recorded pass of an ensemble: the tapes of its nets, which share their arrays, and BPTT through all of them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Generic, cast

import numpy as np

from rnncore import _engine
from rnncore._checks import as_flag, as_rows
from rnncore._typing import Array, StateT

from .ensemble_arguments import check_state
from .gradients import Gradients
from .named import locked
from .nets import walk_nets
from .tape import Tape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rnncore._typing import ArrayLike, Bools, Ints, StateLike

    from .ensemble import Ensemble, PackedEnsemble
    from .layout import Layout
    from .nets import NetsPass


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
        return locked(np.full((len(self), self.B), self.T) if self._lengths is None else self._lengths)

    @property
    def reset(self) -> Bools:
        return locked(np.zeros((len(self), self.T, self.B), bool) if self._reset is None else self._reset)

    @property
    def output(self) -> Array:
        return locked(self._layout.as_given(self._time_major_output))

    @property
    def state(self) -> StateT:
        return cast("StateT", self._layout.states(map(locked, self._final)))

    @property
    def initial(self) -> StateT:
        return cast("StateT", self._layout.states(map(locked, self._initial)))

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
            The weights of a net changed since the pass was recorded, or meanwhile.
        ValueError
            Neither gradient is given, or one has the wrong shape.
        """
        ensemble, structure = self.ensemble, self.ensemble.structure
        packed = ensemble.packed_at(self._version, once=self._passes[0].checkpoints is None)
        if grad_output is None and grad_state is None:
            raise ValueError("backward: got neither grad_output nor grad_state, expected at least one")
        grad_out = None
        if grad_output is not None:
            grad_out = as_rows(grad_output, "grad_output", ensemble.dtype)
            if grad_out.shape != self.output.shape:
                raise ValueError(f"grad_output: got shape {grad_out.shape}, expected {self.output.shape}")
            grad_out = self._layout.time_major(grad_out)
        carry = check_state(grad_state, len(self), structure, self.B, "grad_state")
        wanted = self._room_for_parameters() if as_flag(parameters, "parameters") else {}
        self._last = None                               # until this backward pass is complete
        for tape in self._tapes.values():
            tape._last = None
        found = cotangents = None
        if self._passes[0].checkpoints is None:
            found = self._room_for_steps()
        else:                                           # needed again, by the tapes of single nets
            cotangents = None if grad_out is None else grad_out.copy(), [part.copy() for part in carry]
        grad_x = walk_nets(structure, packed.weights, self._passes, grad_out, carry, wanted, found)
        if not packed.kept:
            ensemble.check_version(self._version)       # another thread may have changed them meanwhile
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
        """Uninitialised arrays for the gradients at every step: see `backward.room_for_steps`."""
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
