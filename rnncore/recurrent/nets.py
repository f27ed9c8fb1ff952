"""One layer and direction of a recorded pass of several nets: the arrays of all nets, and BPTT through them.

As `passes`, where every array has a leading axis of nets: one call of the engine computes all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncore import _engine

from .passes import LayerPass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rnncore._typing import Array

    from .ragged import Batches
    from .resets import Resets
    from .structure import Part, Shape, Structure

    NetsWeights = list[_engine.Weights] | _engine.Unpacked      # of one layer and direction
    Checkpoint = tuple[int, int, list[Array]]   # start, stop, and the states from which the pass ran these steps


class NetsSteps:
    """Consecutive recorded steps of one layer and direction of all nets; `_engine.backward_nets` reads them.

    Where the rows have unequal lengths, x and h hold the active rows of all steps of the pass, as (nets, R, 1, …), and
    slots and c those of these steps; states are in the order of the batches.

    Attributes
    ----------
    x, h : ndarray (nets, T, B, I), (nets, T, B, H)
    initial : list of ndarray (nets, n, B, H) or (nets, B, H)
    position : int
        The index along n; 0 if there is no such axis.
    slots, c : ndarray (nets, T, B, slots, H), (nets, T, B, H), or None
    batch : Batches or None
    reverse : bool
    resets : Resets or None
        Of the whole pass of all nets.
    first_step : int
        Which step of the whole pass the first of these is.
    """

    __slots__ = ("batch", "c", "first_step", "h", "initial", "position", "resets", "reverse", "slots", "x")

    def __init__(self, x: Array, h: Array, initial: list[Array], position: int, slots: Array | None, c: Array | None,
                 batch: Batches | None, reverse: bool, resets: Resets | None, first_step: int = 0) -> None:
        self.x, self.h, self.initial, self.position = x, h, initial, position
        self.slots, self.c, self.batch, self.reverse = slots, c, batch, reverse
        self.resets, self.first_step = resets, first_step

    @property
    def T(self) -> int:
        """The number of steps."""
        return self.x.shape[1] if self.batch is None else self.batch.steps


class NetsWalk:
    """The backward pass through some steps of all nets: see `passes.Walk`, whose arrays have an axis of nets here.

    Attributes
    ----------
    steps : NetsSteps
    carry : list of ndarray (nets, n, B, H)
    position : int
    grad_out, grad_x, delta, total_h, total_c : ndarray or None
    add_to_grad_x : bool
    sums : _engine.Sums or None
    """

    __slots__ = ("add_to_grad_x", "carry", "delta", "grad_out", "grad_x", "position", "steps", "sums", "total_c",
                 "total_h")

    def __init__(self, steps: NetsSteps, carry: list[Array], position: int, grad_out: Array | None,
                 grad_x: Array | None, add_to_grad_x: bool, found: list[Array | None],
                 sums: _engine.Sums | None) -> None:
        self.steps, self.carry, self.position = steps, carry, position
        self.grad_out, self.grad_x, self.add_to_grad_x, self.sums = grad_out, grad_x, add_to_grad_x, sums
        self.delta, self.total_h, self.total_c = found

    def within(self, start: int, stop: int, steps: NetsSteps) -> NetsWalk:
        """The part of this backward pass that goes through steps start .. stop."""
        arrays = [self.grad_out, self.grad_x, self.delta, self.total_h, self.total_c]
        if steps.batch is None:
            arrays = [None if array is None else array[:, start:stop] for array in arrays]
        return NetsWalk(steps, self.carry, self.position, arrays[0], arrays[1], self.add_to_grad_x, arrays[2:],
                        self.sums)


class NetsPass(NetsSteps):
    """One layer and direction of a recorded pass of all nets: all its steps; see `passes.LayerPass`."""

    __slots__ = ("checkpoints", "mask", "part", "structure")

    def __init__(self, structure: Structure, part: Part, x: Array, h: Array, initial: list[Array], slots: Array | None,
                 c: Array | None, batch: Batches | None, resets: Resets | None, mask: Array | None) -> None:
        super().__init__(x, h, initial, part.position, slots, c, batch, part.direction == 1, resets)
        self.structure, self.part, self.mask = structure, part, mask
        self.checkpoints: list[Checkpoint] | None = None

    def of_net(self, k: int) -> LayerPass:
        """The pass of one net; its arrays are views."""
        batch = None if self.batch is None else self.batch.of_net(k)

        def own(array: Array | None) -> Array | None:
            return None if array is None else array[k] if batch is None else array[k, :batch.N]

        found = LayerPass(self.structure, self.part, own(self.x), own(self.h),  # type: ignore[arg-type]
                          [state[k] for state in self.initial], own(self.slots), own(self.c), batch,
                          None if self.resets is None else self.resets.of_net(k),
                          None if self.mask is None else self.mask[k])
        if self.checkpoints is not None:
            found.checkpoints = [(start, stop, [state[k] for state in before])
                                 for start, stop, before in self.checkpoints]
        return found

    def forward(self, weights: NetsWeights, states: list[Array], checkpoint_every: int | None) -> None:
        """Run all steps; `states` (nets, n, B, H) are the initial states, and are overwritten with the final ones."""
        if checkpoint_every is None:
            _engine.forward_nets(weights, self.x, self.h, states, self.position, slots=self.slots, c_out=self.c,
                                 batch=self.batch, resets=self.resets, reverse=self.reverse)
            return
        self.checkpoints = []
        T = self.T
        starts = range(0, T, checkpoint_every)
        for start in reversed(starts) if self.reverse else starts:
            stop = min(T, start + checkpoint_every)
            before = [state[:, self.position].copy() for state in states]
            self.checkpoints.append((start, stop, before))
            steps = self._steps(start, stop, before, None, None)
            _engine.forward_nets(weights, steps.x, steps.h, states, self.position, batch=steps.batch,
                                 resets=self.resets, first_step=start, reverse=self.reverse)

    def recomputed(self, weights: NetsWeights) -> Iterator[tuple[int, int, NetsSteps]]:
        """Recompute slots and c from each checkpoint, from the end of the pass to its start; see `LayerPass`.

        The outputs are written again, with the same bits.
        """
        checkpoints = self.checkpoints or []
        sizes = [stop - start if self.batch is None else self.batch.between(start, stop).N
                 for start, stop, _ in checkpoints]
        nets, longest, B = len(self.x), max(sizes, default=0), self.x.shape[2]
        slots, c = _engine.carve("a tape", self.structure.dtype, self.structure.kept_shapes(longest, B), nets)
        for start, stop, before in reversed(checkpoints):
            n = longest if self.batch is not None else stop - start
            steps = self._steps(start, stop, before, *(None if a is None else a[:, :n] for a in (slots, c)))
            _engine.forward_nets(weights, steps.x, steps.h, [state.copy() for state in before], slots=steps.slots,
                                 c_out=steps.c, batch=steps.batch, resets=self.resets, first_step=start,
                                 reverse=self.reverse)
            yield start, stop, steps

    def walk_back(self, weights: NetsWeights, walk: NetsWalk) -> None:
        """BPTT over all steps at once, or, if the pass has checkpoints, from one checkpoint to the one before it."""
        if self.checkpoints is None:
            _engine.backward_nets(weights, walk)
        else:
            for start, stop, steps in self.recomputed(weights):
                _engine.backward_nets(weights, walk.within(start, stop, steps))
        if walk.sums is not None:
            walk.sums.finish()

    def _steps(self, start: int, stop: int, initial: list[Array], slots: Array | None, c: Array | None) -> NetsSteps:
        x, h, batch = self.x, self.h, self.batch
        if batch is None:
            x, h = x[:, start:stop], h[:, start:stop]
        else:
            batch = batch.between(start, stop)
        return NetsSteps(x, h, initial, 0, slots, c, batch, self.reverse, self.resets, start)


def record_nets(structure: Structure, weights: Sequence[NetsWeights], given: Array, initial: list[Array],
                states: list[Array], batch: Batches | None, resets: list[Resets | None],
                mask_of: Callable[[int, Shape], Array] | None, checkpoint_every: int | None
                ) -> tuple[list[NetsPass], Array]:
    """Run the stacks of layers of all nets and keep what the backward pass needs; see `passes.record_passes`.

    Returns
    -------
    passes : list of NetsPass
    output : ndarray (nets, T, B, directions·H), or (nets, R, 1, directions·H) in the order of the batches
    """
    nets = len(given)
    rows = given.shape[1:3] if batch is None else (batch.N, 1)
    shapes = (None, None) if checkpoint_every else structure.kept_shapes(*rows)
    out, *kept = _engine.carve("a tape", structure.dtype,
                               ((*rows, given.shape[3]), *shapes * len(structure.parts)), nets)
    if batch is None:
        out[...] = given                        # a copy, since the caller's array may change before backward
    else:
        _engine.gather(given, out, batch)
    passes: list[NetsPass] = []
    each, mask = iter(kept), None
    for part in structure.parts:
        if part.direction == 0:
            x = out
            if mask_of is not None and part.layer > 0:
                mask = mask_of(part.layer, (*given.shape[1:3], structure.features))
                x = x * (mask if batch is None else batch.gather(mask))
            out = _engine.room((nets, *rows, structure.features), structure.dtype)
        one = NetsPass(structure, part, x, structure.half(out, part), initial, next(each), next(each), batch,
                       resets[part.direction], mask)
        one.forward(weights[part.position], states, checkpoint_every)
        passes.append(one)
    return passes, out


def walk_nets(structure: Structure, weights: Sequence[NetsWeights], passes: list[NetsPass],
              grad_out: Array | None, carry: list[Array], wanted: Mapping[str, Array],
              found: list[Array | None] | None) -> Array:
    """BPTT, layer by layer from the top; returns the gradient of the input, (nets, T, B, I).

    The arguments are those of `backward.walk_back`, with an axis of nets; `wanted` and `found` are the arrays of a
    `backward.Wanted`.
    """
    batch, given = passes[0].batch, carry
    nets, *rows = passes[0].x.shape[:3]
    if batch is not None:
        grad_out, carry = None if grad_out is None else batch.gather(grad_out), list(map(batch.sorted, carry))
    for index in reversed(range(structure.num_layers)):
        layer = passes[index * structure.directions:(index + 1) * structure.directions]
        grad_x: Array = _engine.room((nets, *rows, layer[0].part.input_size), structure.dtype)
        for one in layer:
            part, sums = one.part, None
            if wanted:
                sums = _engine.Sums(weights[part.position][0], one, one.checkpoints is not None,
                                    **structure.for_engine(part, wanted), nets=nets)
            walk = NetsWalk(one, carry, part.position, None if grad_out is None else structure.half(grad_out, part),
                            grad_x, part.direction == 1,
                            [None] * 3 if found is None else found[3 * part.position:3 * part.position + 3], sums)
            one.walk_back(weights[part.position], walk)
        mask = layer[0].mask
        if mask is not None:
            grad_x *= mask if batch is None else batch.gather(mask)
        grad_out = grad_x
    if batch is None:
        return grad_x
    for array, ours in zip(given, carry, strict=True):
        array[...] = batch.in_given_order(ours)
    return batch.spread(grad_x)
