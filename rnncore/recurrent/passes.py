"""One layer and direction of a recorded pass: what its time loop wrote, and BPTT through it, whole or in windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore import _engine

from .layout import past_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rnncore._typing import Array, Ints

    from .structure import Part, Shape, Structure

    Checkpoint = tuple[int, int, list[Array]]   # steps start .. stop, and the states before them


class RecordedSteps:
    """Consecutive recorded steps of one layer and direction, time-major; `_engine.backward` reads them.

    Attributes
    ----------
    x : ndarray (T, B, I)
    h : ndarray (T, B, H)
        The outputs.
    initial : list of ndarray (n, B, H) or (B, H)
        The states before the first of these steps.
    position : int
        The index along n that belongs to this layer and direction.
    gates : ndarray (T, B, slots, H) or None
        None if the cell has none, or if they are not kept.
    c : ndarray (T, B, H) or None
    lengths : ndarray (B,) or None
        Counted from the first of these steps.
    reverse : bool
    """

    __slots__ = ("c", "gates", "h", "initial", "lengths", "position", "reverse", "x")

    def __init__(self, x: Array, h: Array, initial: list[Array], position: int, gates: Array | None, c: Array | None,
                 lengths: Ints | None, reverse: bool) -> None:
        self.x, self.h, self.initial, self.position = x, h, initial, position
        self.gates, self.c, self.lengths, self.reverse = gates, c, lengths, reverse


class Walk:
    """The backward pass through some steps: what `_engine.backward` reads, and the arrays that it writes.

    There are R = K·B rows of cotangents; row r belongs to row r % B of the batch. What is None is not computed.

    Attributes
    ----------
    weights : _engine.Weights
        With their transposes packed.
    steps : RecordedSteps
    carry : list of ndarray (n, R, H) or (R, H)
        Gradients of the states: on entry those after the last step, on return those before the first.
    position : int
        The index along n that belongs to this layer and direction.
    grad_out : ndarray (T, R, H) or None
        Cotangents on the outputs; only read.
    grad_x : ndarray (T, R, I) or None
        Gradients of the input; added to if `accumulate`.
    delta, total_h, total_c : ndarray (T, R, slots, H), (T, R, H) or None
        Gradients of the pre-activations in all slots, and of the states.
    w_ih, w_hh, b_ih, b_hh : ndarray or None
        Gradients of the parameters, for K = 1 only. They are added to, or with `overwrite` written without being read.
    """

    __slots__ = (
        "accumulate",
        "b_hh",
        "b_ih",
        "carry",
        "delta",
        "grad_out",
        "grad_x",
        "overwrite",
        "position",
        "steps",
        "total_c",
        "total_h",
        "w_hh",
        "w_ih",
        "weights",
    )

    delta: Array | None
    total_h: Array | None
    total_c: Array | None
    w_ih: Array | None
    w_hh: Array | None
    b_ih: Array | None
    b_hh: Array | None

    def __init__(self, weights: _engine.Weights, steps: RecordedSteps, carry: list[Array], position: int,
                 grad_out: Array | None, grad_x: Array | None, accumulate: bool = False) -> None:
        self.weights, self.steps, self.carry, self.position = weights, steps, carry, position
        self.grad_out, self.grad_x, self.accumulate = grad_out, grad_x, accumulate
        self.delta = self.total_h = self.total_c = None
        self.w_ih = self.w_hh = self.b_ih = self.b_hh = None
        self.overwrite = True

    def within(self, start: int, stop: int, steps: RecordedSteps) -> Walk:
        """The part of this backward pass that goes through steps start .. stop."""
        walk = Walk(self.weights, steps, self.carry, self.position, _between(self.grad_out, start, stop),
                    _between(self.grad_x, start, stop), self.accumulate)
        walk.delta = _between(self.delta, start, stop)
        walk.total_h, walk.total_c = _between(self.total_h, start, stop), _between(self.total_c, start, stop)
        walk.w_ih, walk.w_hh, walk.b_ih, walk.b_hh = self.w_ih, self.w_hh, self.b_ih, self.b_hh
        walk.overwrite = self.overwrite
        return walk


class LayerPass(RecordedSteps):
    """One layer and direction of a recorded pass: all its steps, without gates and c if only checkpoints are kept.

    Attributes
    ----------
    structure : Structure
    part : Part
    mask : ndarray (T, B, I) or None
        The dropout mask that the input was multiplied by.
    checkpoints : list of (start, stop, states) or None
        In the order in which the pass runs.
    """

    __slots__ = ("checkpoints", "mask", "part", "structure")

    def __init__(self, structure: Structure, part: Part, x: Array, h: Array, initial: list[Array], gates: Array | None,
                 c: Array | None, lengths: Ints | None, mask: Array | None) -> None:
        super().__init__(x, h, initial, part.position, gates, c, lengths, part.direction == 1)
        self.structure, self.part, self.mask = structure, part, mask
        self.checkpoints: list[Checkpoint] | None = None

    def forward(self, weights: _engine.Weights, states: list[Array], checkpoint_every: int) -> None:
        """Run all steps, and keep the states before every k-th one. `states` are overwritten with the final states."""
        self.checkpoints = []
        T = len(self.x)
        starts = range(0, T, checkpoint_every)
        for start in reversed(starts) if self.reverse else starts:
            stop = min(T, start + checkpoint_every)
            before = [state.copy() for state in states]
            self.checkpoints.append((start, stop, before))
            _forward(weights, self._steps(start, stop, before, None, None), states, None, None)

    def recomputed(self, weights: _engine.Weights) -> Iterator[tuple[int, int, RecordedSteps]]:
        """Recompute gates and c, checkpoint by checkpoint, from the end of the pass to its start."""
        B, checkpoints = self.x.shape[1], self.checkpoints or []
        longest = max((stop - start for start, stop, _ in checkpoints), default=0)
        *kept, h = _engine.carve("a tape", self.structure.dtype,
                                 (*self.structure.kept_shapes(longest, B), (longest, B, self.structure.hidden_size)))
        for start, stop, before in reversed(checkpoints):
            gates, c = _between(kept[0], 0, stop - start), _between(kept[1], 0, stop - start)
            steps = self._steps(start, stop, before, gates, c)
            again = RecordedSteps(steps.x, h[:stop - start], before, 0, gates, c, steps.lengths, steps.reverse)
            _forward(weights, again, [state.copy() for state in before], gates, c)
            yield start, stop, steps

    def window(self, start: int, stop: int) -> RecordedSteps:
        """The steps start .. stop of a pass that was recorded without checkpoints."""
        before, beyond = (stop, len(self.x)) if self.reverse else (start - 1, -1)
        if before == beyond:
            initial = [state[self.position] for state in self.initial]
        else:
            initial = [self._state_after(before, self.h, 0)]
            if self.c is not None:
                initial.append(self._state_after(before, self.c, 1))
        return self._steps(start, stop, initial, _between(self.gates, start, stop), _between(self.c, start, stop))

    def walk_back(self, walk: Walk) -> None:
        """BPTT over all steps; under checkpoints window by window, each with its own part of the arrays."""
        if self.checkpoints is None:
            _engine.backward(walk)
            return
        for start, stop, steps in self.recomputed(walk.weights):
            _engine.backward(walk.within(start, stop, steps))
            walk.overwrite = False              # later windows add to the sums so far

    def _steps(self, start: int, stop: int, initial: list[Array], gates: Array | None,
               c: Array | None) -> RecordedSteps:
        lengths = None if self.lengths is None else np.maximum(self.lengths - start, 0)
        return RecordedSteps(self.x[start:stop], self.h[start:stop], initial, 0, gates, c, lengths, self.reverse)

    def _state_after(self, t: int, tape: Array, which: int) -> Array:
        """The state that a window starts from; a reversed row that has not begun at step t is in its initial state."""
        if self.reverse and self.lengths is not None:
            initial = self.initial[which][self.position]
            return np.ascontiguousarray(np.where((self.lengths > t)[:, None], tape[t], initial))
        return np.ascontiguousarray(tape[t])


def record_passes(
    structure: Structure,
    weights: list[_engine.Weights],
    given: Array,
    initial: list[Array],
    states: list[Array],
    lengths: Ints | None,
    mask_of: Callable[[int, Shape], Array] | None,
    checkpoint_every: int | None,
) -> tuple[list[LayerPass], Array]:
    """Run a whole stack of layers and keep what the backward pass needs.

    Parameters
    ----------
    structure : Structure
    weights : list of Weights
    given : ndarray (T, B, I)
        The input; the pass keeps a copy.
    initial, states : list of ndarray (layers·directions, B, H)
        The initial states, which are kept, and a copy of them, which is overwritten with the final states.
    lengths : ndarray (B,) or None
    mask_of : callable or None
        Returns the dropout mask for the index of a layer and the shape of its input; None drops nothing.
    checkpoint_every : int or None

    Returns
    -------
    passes : list of LayerPass
    output : ndarray (T, B, directions·H)
    """
    T, B = given.shape[:2]
    shapes = (None, None) if checkpoint_every else structure.kept_shapes(T, B)
    out, *kept = _engine.carve("a tape", structure.dtype, (given.shape, *shapes * len(structure.parts)))
    out[...] = given                            # a copy, since the caller's array may change before backward
    if lengths is not None:
        out[past_end(lengths, T)] = 0
    passes: list[LayerPass] = []
    each, mask = iter(kept), None
    for part in structure.parts:
        position = part.position
        if part.direction == 0:
            x = out
            if mask_of is not None and part.layer > 0:
                mask = mask_of(part.layer, x.shape)
                x = x * mask
            out = np.empty((T, B, structure.features), structure.dtype)
        layer_pass = LayerPass(structure, part, x, structure.half(out, part), initial, next(each), next(each), lengths,
                               mask)
        if checkpoint_every is None:
            _engine.forward(weights[position], x, layer_pass.h, states, position, slots=layer_pass.gates,
                            c_out=layer_pass.c, lengths=lengths, reverse=layer_pass.reverse)
        else:
            layer_pass.forward(weights[position], [state[position] for state in states], checkpoint_every)
        passes.append(layer_pass)
    return passes, out


def _between(array: Array | None, start: int, stop: int) -> Array | None:
    return None if array is None else array[start:stop]


def _forward(weights: _engine.Weights, steps: RecordedSteps, states: list[Array], gates: Array | None,
             c: Array | None) -> None:
    _engine.forward(weights, steps.x, steps.h, states, slots=gates, c_out=c, lengths=steps.lengths,
                    reverse=steps.reverse)
