"""One layer and direction of a recorded pass: the arrays that its time loop wrote, and BPTT through them.

"Steps start .. stop" are those of ``range(start, stop)``, counted by input time in both directions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore import _engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rnncore._typing import Array

    from .lookup import Lookup
    from .ragged import Batch
    from .resets import Resets
    from .structure import Part, Shape, Structure

    Checkpoint = tuple[int, int, list[Array]]   # start, stop, and the states from which the pass ran these steps
    # What `_engine.record` returns: x (T, B, I); the output (T, B, directions·P) of every layer; the initial states, in
    # the order of the batch; the slots and c of every layer and direction, one after the other; and the initial and the
    # final states in the caller's order. For rows of unequal length, (N, 1, …) is in place of (T, B, …).
    WholePass = tuple[Array, list[Array], list[Array], list[Array | None], list[Array], list[Array]]


class RecordedSteps:
    """Consecutive recorded steps of one layer and direction, time-major; `_engine.backward` reads them.

    Where the rows have unequal lengths, the arrays hold only their active rows, as (N, 1, …) in place of (T, B, …), and
    the states are in the order of the batch: see `Batch`.

    Attributes
    ----------
    x : ndarray (T, B, I)
        The input, after dropout.
    h : ndarray (T, B, H)
        The hidden states, which are the output.
    initial : list of ndarray (n, B, H) or (B, H)
        For each state (h, or h and c) its value before the step of these that the pass ran first, which is the latest
        one if `reverse`.
    position : int
        The index along n that belongs to this layer and direction; 0 if `initial` has no such axis.
    slots : ndarray (T, B, slots, H) or None
        The values of the cell's gates, each in its slot (see `descriptions.Gate`). None if the cell has no gates, or if
        they are not kept.
    c : ndarray (T, B, H) or None
        The cell states. None if the cell has none, or if they are not kept.
    batch : Batch or None
        The rows; None if every row has all steps.
    reverse : bool
        Whether the pass ran from the last step to the first.
    resets : Resets or None
        Of the whole pass.
    first_step : int
        Which step of the whole pass the first of these is.
    """

    __slots__ = ("batch", "c", "first_step", "h", "initial", "position", "resets", "reverse", "slots", "x")

    def __init__(self, x: Array, h: Array, initial: list[Array], position: int, slots: Array | None, c: Array | None,
                 batch: Batch | None, reverse: bool, resets: Resets | None = None, first_step: int = 0) -> None:
        self.x, self.h, self.initial, self.position = x, h, initial, position
        self.slots, self.c, self.batch, self.reverse = slots, c, batch, reverse
        self.resets, self.first_step = resets, first_step

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.x) if self.batch is None else self.batch.steps


class Walk:
    """The backward pass through some steps: what `_engine.backward` reads, and the arrays that it writes.

    K cotangents are propagated at once, as R = K·B rows; row r belongs to row r % B of the batch. A gradient is not
    computed if the array for it is None.

    For rows of unequal length there are two forms. With `active_rows_alone` K is 1, and the arrays of the walk are like
    those of its steps: (N, 1, …), and `carry` in the order of the batch; `grad_out` and `grad_x` may also be (T, B, …)
    in the caller's order. Otherwise all are (T, R, …) in the caller's order; past a row's end cotangents are ignored,
    and gradients are zero.

    Attributes
    ----------
    weights : _engine.Weights
        With their transposes packed.
    steps : RecordedSteps
    carry : list of ndarray (n, R, H) or (R, H)
        Gradients of the states: on entry those after the last step, on return those before the first.
    position : int
        The index along n that belongs to this layer and direction; 0 if `carry` has no such axis.
    grad_out : ndarray (T, R, H) or None
        Cotangents on the outputs; only read. None means zeros.
    grad_x : ndarray (T, R, I) or None
        Gradients of the input.
    add_to_grad_x : bool
        Whether the gradients of the input are added to the values in `grad_x`, as the second direction of a layer needs
        it, or replace them.
    clears_grad_x : bool
        Whether zeros are written past the rows' ends of `grad_x`, which is (T, B, I) in the caller's order then.
    delta : ndarray (T, R, slots, H) or None
        Gradients of the pre-activations in all slots; one slot for a cell without gates.
    total_h, total_c : ndarray (T, R, H) or None
        Total derivatives with respect to the states, which include the effect through all later steps.
    sums : _engine.Sums or None
        The gradients of the weights and biases, for K = 1 only.
    active_rows_alone : bool
    """

    __slots__ = (
        "active_rows_alone",
        "add_to_grad_x",
        "carry",
        "clears_grad_x",
        "delta",
        "grad_out",
        "grad_x",
        "position",
        "steps",
        "sums",
        "total_c",
        "total_h",
        "weights",
    )

    delta: Array | None
    total_h: Array | None
    total_c: Array | None
    sums: _engine.Sums | None

    def __init__(self, weights: _engine.Weights, steps: RecordedSteps, carry: list[Array], position: int,
                 grad_out: Array | None, grad_x: Array | None, add_to_grad_x: bool = False,
                 active_rows_alone: bool = False) -> None:
        self.active_rows_alone = active_rows_alone
        self.weights, self.steps, self.carry, self.position = weights, steps, carry, position
        self.grad_out, self.grad_x, self.add_to_grad_x = grad_out, grad_x, add_to_grad_x
        self.delta = self.total_h = self.total_c = self.sums = None
        self.clears_grad_x = False

    def within(self, start: int, stop: int, steps: RecordedSteps) -> Walk:
        """The part of this backward pass that goes through steps start .. stop."""
        t0, t1, B = start, stop, self.steps.x.shape[1]
        if self.active_rows_alone and self.steps.batch is not None:
            start, stop = self.steps.batch.starts[[start, stop]].tolist()
            B = len(self.steps.batch.order)

        def given(array: Array | None) -> Array | None:
            by_step = array is not None and array.shape[1] == B         # for one row both are the same
            return _between(array, t0, t1) if by_step else _between(array, start, stop)

        walk = Walk(self.weights, steps, self.carry, self.position, given(self.grad_out), given(self.grad_x),
                    self.add_to_grad_x, self.active_rows_alone)
        walk.delta = _between(self.delta, start, stop)
        walk.total_h, walk.total_c = _between(self.total_h, start, stop), _between(self.total_c, start, stop)
        walk.sums, walk.clears_grad_x = self.sums, self.clears_grad_x
        return walk


class LayerPass(RecordedSteps):
    """One layer and direction of a recorded pass: all its steps.

    If the pass was recorded with checkpoints, `slots` and `c` are None, and are recomputed when they are needed.

    Attributes
    ----------
    structure : Structure
    part : Part
    mask : ndarray (T, B, I) or None
        The dropout mask by which the layer's input was multiplied to give `x`, for all steps of all rows in the
        caller's order.
    checkpoints : list of (start, stop, states) or None
        The steps start .. stop, and copies of the states from which the pass ran them, in the order in which it ran.
        None if the pass was recorded without checkpoints.
    lookup : Lookup or None
        Which rows of a table `x` is, if the pass looked up their products.
    """

    __slots__ = ("checkpoints", "lookup", "mask", "part", "structure")

    def __init__(self, structure: Structure, part: Part, x: Array, h: Array, initial: list[Array], slots: Array | None,
                 c: Array | None, batch: Batch | None, resets: Resets | None, mask: Array | None) -> None:
        super().__init__(x, h, initial, part.position, slots, c, batch, part.direction == 1, resets)
        self.structure, self.part, self.mask = structure, part, mask
        self.checkpoints: list[Checkpoint] | None = None
        self.lookup: Lookup | None = None

    def forward(self, weights: _engine.Weights, states: list[Array], checkpoint_every: int) -> None:
        """Run all steps, and keep a checkpoint before every group of `checkpoint_every` steps.

        `states` are the initial states, and are overwritten with the final ones.
        """
        self.checkpoints = []
        T = self.T
        starts = range(0, T, checkpoint_every)
        for start in reversed(starts) if self.reverse else starts:
            stop = min(T, start + checkpoint_every)
            before = [state.copy() for state in states]
            self.checkpoints.append((start, stop, before))
            _forward(weights, self._steps(start, stop, before, None, None), states, None, None)

    def recomputed(self, weights: _engine.Weights) -> Iterator[tuple[int, int, RecordedSteps]]:
        """Recompute slots and c from each checkpoint, from the end of the pass to its start.

        Yields (start, stop, steps) for each checkpoint. The arrays of slots and c are reused for the next one.
        """
        B, checkpoints = self.x.shape[1], self.checkpoints or []
        parts = [self._where(start, stop) for start, stop, _ in checkpoints]
        longest = max((part.stop - part.start for part in parts), default=0)
        *kept, h = _engine.carve("a tape", self.structure.dtype,
                                 (*self.structure.kept_shapes(longest, B), (longest, B, self.structure.output_size)))
        for (start, stop, before), part in zip(reversed(checkpoints), reversed(parts), strict=True):
            n = part.stop - part.start
            slots, c = _between(kept[0], 0, n), _between(kept[1], 0, n)
            steps = self._steps(start, stop, before, slots, c)
            again = RecordedSteps(steps.x, h[:n], before, 0, slots, c, steps.batch, steps.reverse, steps.resets, start)
            _forward(weights, again, [state.copy() for state in before], slots, c)
            yield start, stop, steps

    def window(self, start: int, stop: int) -> RecordedSteps:
        """The steps start .. stop of a pass that was recorded without checkpoints."""
        before, beyond = (stop, self.T) if self.reverse else (start - 1, -1)
        if before == beyond:
            initial = [state[self.position] for state in self.initial]
        else:
            initial = [self._state_after(before, self.h, self.initial[0])]
            if self.c is not None:
                initial.append(self._state_after(before, self.c, self.initial[1]))
        where = self._where(start, stop)
        return self._steps(start, stop, initial, _between(self.slots, where.start, where.stop),
                           _between(self.c, where.start, where.stop))

    def walk_back(self, walk: Walk) -> None:
        """BPTT over all steps at once, or, if the pass has checkpoints, from one checkpoint to the one before it.

        Either way `walk` must be for all steps.
        """
        if self.checkpoints is None:
            _engine.backward(walk)
        else:
            for start, stop, steps in self.recomputed(walk.weights):
                _engine.backward(walk.within(start, stop, steps))
        if walk.sums is not None:
            walk.sums.finish()

    def _steps(self, start: int, stop: int, initial: list[Array], slots: Array | None,
               c: Array | None) -> RecordedSteps:
        batch, where = None if self.batch is None else self.batch.between(start, stop), self._where(start, stop)
        return RecordedSteps(self.x[where], self.h[where], initial, 0, slots, c, batch, self.reverse,
                             self.resets, start)

    def _state_after(self, t: int, recorded: Array, initial: Array) -> Array:
        """A state (B, H) after step t, from the recorded values (T, B, H) and the initial states (n, B, H).

        The reverse direction begins at each row's own last step. A row that ends before step t has not begun there, so
        its state is still the initial one.
        """
        if self.batch is None:
            return np.ascontiguousarray(recorded[t])
        state: Array = initial[self.position].copy()
        active = recorded[self._where(t, t + 1)]
        state[:len(active)] = active[:, 0]
        return state

    def _where(self, start: int, stop: int) -> slice:
        """Where the steps start .. stop lie along the first axis of the arrays."""
        return slice(start, stop) if self.batch is None else slice(*self.batch.starts[[start, stop]].tolist())


def record_passes(
    structure: Structure,
    weights: list[_engine.Weights],
    given: Array,
    initial: list[Array],
    states: list[Array],
    batch: Batch | None,
    resets: list[Resets | None],
    mask_of: Callable[[int, Shape], Array] | None,
    checkpoint_every: int | None,
    lookup: Lookup | None = None,
) -> tuple[list[LayerPass], Array]:
    """Run a whole stack of layers and keep what the backward pass needs.

    Parameters
    ----------
    structure : Structure
    weights : list of Weights
    given : ndarray (T, B, I)
        The input, of which the pass keeps a copy; or (N, 1, I), the active rows of the batch alone.
    initial, states : list of ndarray (layers·directions, B, H)
        The initial states, which are kept, and a copy of them, which is overwritten with the final states; in the order
        of the batch.
    batch : Batch or None
        The rows; None if every row has all T steps.
    resets : list of Resets or None
        Of each direction.
    mask_of : callable or None
        Returns the dropout mask for the index of a layer and the shape of its input; None for no dropout.
    checkpoint_every : int or None
        The number of steps from one checkpoint to the next; None keeps everything instead.
    lookup : Lookup or None
        Which rows of a table `given` is, arranged for this batch; only without checkpoints.

    Returns
    -------
    passes : list of LayerPass
    output : ndarray (T, B, directions·H), or (N, 1, directions·H) where the rows have unequal lengths
    """
    steps_and_rows = given.shape[:2] if batch is None else (batch.steps, len(batch.lengths))
    active_rows_alone = given.shape[:2] != steps_and_rows
    shape = steps_and_rows if batch is None else (batch.N, 1)
    shapes = (None, None) if checkpoint_every else structure.kept_shapes(*shape)
    out, *kept = _engine.carve("a tape", structure.dtype,
                               ((*shape, given.shape[2]), *shapes * len(structure.parts)))
    if batch is None or active_rows_alone:
        out[...] = given                        # a copy, since the caller's array may change before backward
    else:
        _engine.gather(given, out, batch)
    passes: list[LayerPass] = []
    each, mask = iter(kept), None
    for part in structure.parts:
        position = part.position
        if part.direction == 0:
            x = out
            if mask_of is not None and part.layer > 0:
                mask = mask_of(part.layer, (*steps_and_rows, structure.features))
                x = x * (mask if batch is None else batch.gather(mask))
            room = (*shape, structure.features)
            if batch is None:
                out = _engine.room(room, structure.dtype)
            else:
                out = _engine.carve("a tape", structure.dtype, (room,))[0]
        layer_pass = LayerPass(structure, part, x, structure.half(out, part), initial, next(each), next(each), batch,
                               resets[part.direction], mask)
        if part.layer == 0:
            layer_pass.lookup = lookup
        if checkpoint_every is None:
            looked_up = None if layer_pass.lookup is None else layer_pass.lookup.products(weights[position])
            _engine.forward(weights[position], x, layer_pass.h, states, position, slots=layer_pass.slots,
                            c_out=layer_pass.c, batch=batch, resets=layer_pass.resets, reverse=layer_pass.reverse,
                            looked_up=looked_up)
        else:
            layer_pass.forward(weights[position], [state[position] for state in states], checkpoint_every)
        passes.append(layer_pass)
    return passes, out


def whole_passes(structure: Structure, recorded: WholePass, batch: Batch | None,
                 lookup: Lookup | None) -> list[LayerPass]:
    """The passes that `_engine.record` has run: with gates, without resets, dropout and checkpoints."""
    x, outs, initial, kept, _, _ = recorded
    passes = []
    for part in structure.parts:
        slots, c = kept[2 * part.position:2 * part.position + 2]
        below = x if part.layer == 0 else outs[part.layer - 1]
        passes.append(LayerPass(structure, part, below, structure.half(outs[part.layer], part), initial, slots, c,
                                batch, None, None))
        passes[-1].lookup = lookup if part.layer == 0 else None
    return passes


def _between(array: Array | None, start: int, stop: int) -> Array | None:
    return None if array is None else array[start:stop]


def _forward(weights: _engine.Weights, steps: RecordedSteps, states: list[Array], slots: Array | None,
             c: Array | None) -> None:
    _engine.forward(weights, steps.x, steps.h, states, slots=slots, c_out=c, batch=steps.batch, resets=steps.resets,
                    first_step=steps.first_step, reverse=steps.reverse)
