"""One layer and direction of a recorded pass: what its loop wrote, and how BPTT walks it, whole or in windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from rnncore import _engine

from .layout import past_end
from .structure import Part, Structure

Checkpoint = tuple[int, int, list]              # steps start .. stop, and the states before them


class RecordedSteps:
    """Some steps of one layer and direction as they were recorded, time-major; `_engine.backward` reads them.

    Attributes
    ----------
    x : ndarray (T, B, I)
    h : ndarray (T, B, H)
        The outputs.
    initial : list of ndarray (n, B, H) or (B, H)
        The states before the first of these steps.
    position : int
        Which of the n.
    gates : ndarray (T, B, slots, H) or None
        None: the cell has none, or they are not kept.
    c : ndarray (T, B, H) or None
    lengths : ndarray (B,) or None
        Counted from the first of these steps.
    reverse : bool
    """

    __slots__ = ("c", "gates", "h", "initial", "lengths", "position", "reverse", "x")

    def __init__(self, x: np.ndarray, h: np.ndarray, initial: list, position: int, gates, c, lengths, reverse: bool):
        self.x, self.h, self.initial, self.position = x, h, initial, position
        self.gates, self.c, self.lengths, self.reverse = gates, c, lengths, reverse


class Walk:
    """One way back through some steps: what `_engine.backward` reads, and the arrays that it writes.

    There are R = K·B rows of cotangents, row r for row r % B of the batch. An array that is None is not wanted.

    Attributes
    ----------
    weights : _engine.Weights
        With their transposes packed.
    steps : RecordedSteps
    carry : list of ndarray (n, R, H) or (R, H)
        Gradients on the states: in after the last step, out before the first.
    position : int
        Which of the n.
    grad_out : ndarray (T, R, H) or None
        Cotangents on the outputs, only read.
    grad_x : ndarray (T, R, I) or None
        Of the input; added to with `accumulate`.
    delta, total_h, total_c : ndarray (T, R, slots, H), (T, R, H) or None
        Of the slots' sums, and of the states.
    w_ih, w_hh, b_ih, b_hh : ndarray or None
        Of the parameters, where K is 1. They are added to, or overwritten without being read with `overwrite`.
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

    def __init__(self, weights: _engine.Weights, steps: RecordedSteps, carry: list, position: int,
                 grad_out: np.ndarray | None, grad_x: np.ndarray | None, accumulate: bool = False):
        self.weights, self.steps, self.carry, self.position = weights, steps, carry, position
        self.grad_out, self.grad_x, self.accumulate = grad_out, grad_x, accumulate
        self.delta: np.ndarray | None = None
        self.total_h: np.ndarray | None = None
        self.total_c: np.ndarray | None = None
        self.w_ih = self.w_hh = self.b_ih = self.b_hh = None
        self.overwrite = True

    def within(self, start: int, stop: int, steps: RecordedSteps) -> Walk:
        """The part of it through steps start .. stop."""
        walk = Walk(self.weights, steps, self.carry, self.position, _between(self.grad_out, start, stop),
                    _between(self.grad_x, start, stop), self.accumulate)
        walk.delta = _between(self.delta, start, stop)
        walk.total_h, walk.total_c = _between(self.total_h, start, stop), _between(self.total_c, start, stop)
        walk.w_ih, walk.w_hh, walk.b_ih, walk.b_hh = self.w_ih, self.w_hh, self.b_ih, self.b_hh
        walk.overwrite = self.overwrite
        return walk


class LayerPass(RecordedSteps):
    """One layer and direction of a recorded pass: all its steps, without gates and c where only checkpoints are kept.

    Attributes
    ----------
    structure : Structure
    part : Part
    mask : ndarray (T, B, I) or None
        What dropout multiplied the input by.
    checkpoints : list of (start, stop, states) or None
        In the order of the pass.
    """

    __slots__ = ("checkpoints", "mask", "part", "structure")

    def __init__(self, structure: Structure, part: Part, x: np.ndarray, h: np.ndarray, initial: list, gates, c,
                 lengths: np.ndarray | None, mask: np.ndarray | None):
        self.structure, self.part, self.mask = structure, part, mask
        self.x, self.h, self.initial, self.position = x, h, initial, part.position
        self.gates, self.c, self.lengths, self.reverse = gates, c, lengths, part.direction == 1
        self.checkpoints: list[Checkpoint] | None = None

    def forward(self, weights: _engine.Weights, states: list, checkpoint_every: int) -> None:
        """Run, and keep the states at every k-th step. `states` are left at the final ones."""
        self.checkpoints = []
        T = len(self.x)
        starts = range(0, T, checkpoint_every)
        for start in reversed(starts) if self.reverse else starts:
            stop = min(T, start + checkpoint_every)
            before = [state.copy() for state in states]
            self.checkpoints.append((start, stop, before))
            _forward(weights, self._steps(start, stop, before, None, None), states, None, None)

    def recomputed(self, weights: _engine.Weights) -> Iterator[tuple[int, int, RecordedSteps]]:
        """The steps of each checkpoint with gates and c, computed again, from the end of the pass to its start."""
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
        """Any steps of a pass without checkpoints."""
        before, beyond = (stop, len(self.x)) if self.reverse else (start - 1, -1)
        if before == beyond:
            initial = [state[self.position] for state in self.initial]
        else:
            initial = [self._state_after(before, self.h, 0)]
            if self.c is not None:
                initial.append(self._state_after(before, self.c, 1))
        return self._steps(start, stop, initial, _between(self.gates, start, stop), _between(self.c, start, stop))

    def walk_back(self, walk: Walk) -> None:
        """BPTT over all steps, each window with its own part of the arrays."""
        if self.checkpoints is None:
            _engine.backward(walk)
            return
        for start, stop, steps in self.recomputed(walk.weights):
            _engine.backward(walk.within(start, stop, steps))
            walk.overwrite = False              # from the second window on they hold the sums so far

    def _steps(self, start: int, stop: int, initial: list, gates, c) -> RecordedSteps:
        lengths = None if self.lengths is None else np.maximum(self.lengths - start, 0)
        return RecordedSteps(self.x[start:stop], self.h[start:stop], initial, 0, gates, c, lengths, self.reverse)

    def _state_after(self, t: int, tape: np.ndarray, which: int) -> np.ndarray:
        """For a window's start; a reversed row that has not begun at step t is in its initial state."""
        if self.reverse and self.lengths is not None:
            initial = self.initial[which][self.position]
            return np.ascontiguousarray(np.where((self.lengths > t)[:, None], tape[t], initial))
        return np.ascontiguousarray(tape[t])


def record_passes(
    structure: Structure,
    weights: list[_engine.Weights],
    given: np.ndarray,
    initial: list,
    states: list,
    lengths: np.ndarray | None,
    mask_of: Callable[[int, tuple], np.ndarray] | None,
    checkpoint_every: int | None,
) -> tuple[list[LayerPass], np.ndarray]:
    """Run a whole stack of layers and keep what the way back needs.

    Parameters
    ----------
    structure : Structure
    weights : list of Weights
    given : ndarray (T, B, I)
        The input; the pass keeps a copy.
    initial, states : list of ndarray (layers·directions, B, H)
        The initial states, kept; and a copy of them, which is left at the final ones.
    lengths : ndarray (B,) or None
    mask_of : callable or None
        From the number of a layer and the shape of its input to dropout's mask; None: nothing is dropped.
    checkpoint_every : int or None

    Returns
    -------
    passes : list of LayerPass
    output : ndarray (T, B, directions·H)
    """
    T, B = given.shape[:2]
    shapes = (None, None) if checkpoint_every else structure.kept_shapes(T, B)
    out, *kept = _engine.carve("a tape", structure.dtype, (given.shape, *shapes * len(structure.parts)))
    out[...] = given                            # the tape's own: the caller's may change before backward
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
            _engine.forward(weights[position], x, layer_pass.h, states, position, gates=layer_pass.gates,
                            c_out=layer_pass.c, lengths=lengths, reverse=layer_pass.reverse)
        else:
            layer_pass.forward(weights[position], [state[position] for state in states], checkpoint_every)
        passes.append(layer_pass)
    return passes, out


def _between(array: np.ndarray | None, start: int, stop: int) -> np.ndarray | None:
    return None if array is None else array[start:stop]


def _forward(weights: _engine.Weights, steps: RecordedSteps, states: list, gates, c) -> None:
    _engine.forward(weights, steps.x, steps.h, states, gates=gates, c_out=c, lengths=steps.lengths,
                    reverse=steps.reverse)
