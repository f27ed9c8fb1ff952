"""One layer and direction of a recorded pass: what its loop wrote, and how BPTT walks it, whole or in windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rnncore import _engine

from .structure import Part, Structure

Checkpoint = tuple[int, int, list]              # steps start .. stop, and the states before them


@dataclass(slots=True)
class Steps:
    """Some steps of one layer and direction as they were recorded, time-major.

    Attributes
    ----------
    x : ndarray (T, B, I)
    h : ndarray (T, B, H)
        The outputs.
    initial : list of ndarray (B, H)
        The states before the first of these steps.
    gates : ndarray (T, B, slots, H) or None
        None: the cell has none, or they are not kept.
    c : ndarray (T, B, H) or None
    lengths : ndarray (B,) or None
        Counted from the first of these steps.
    reverse : bool
    """

    x: np.ndarray
    h: np.ndarray
    initial: list
    gates: np.ndarray | None
    c: np.ndarray | None
    lengths: np.ndarray | None
    reverse: bool


@dataclass(slots=True)
class Walk:
    """One way back through some steps: `_engine.backward` reads it, and fills in what is given of its arrays.

    There are R = K·B rows of cotangents, row r for row r % B of the batch.

    Attributes
    ----------
    weights : _engine.Weights
        With their transposes packed.
    steps : Steps
    carry : list of ndarray (R, H)
        Gradients on the states: in after the last step, out before the first.
    grad_out : ndarray (T, R, H) or None
        Cotangents on the outputs.
    grad_x : ndarray (T, R, I) or None
        Of the input; added to with `accumulate`.
    delta, total_h, total_c : ndarray (T, R, slots, H), (T, R, H) or None
        Of the slots' sums, and of the states.
    w_ih, w_hh, b_ih, b_hh : ndarray or None
        Of the parameters, where K is 1. They are added to, or filled in where they are `fresh`.
    """

    weights: _engine.Weights
    steps: Steps
    carry: list
    grad_out: np.ndarray | None = None
    grad_x: np.ndarray | None = None
    accumulate: bool = False
    delta: np.ndarray | None = None
    total_h: np.ndarray | None = None
    total_c: np.ndarray | None = None
    w_ih: np.ndarray | None = None
    w_hh: np.ndarray | None = None
    b_ih: np.ndarray | None = None
    b_hh: np.ndarray | None = None
    fresh: bool = True

    def within(self, start: int, stop: int, steps: Steps) -> Walk:
        """The part of it through steps start .. stop."""
        def some(array):
            return None if array is None else array[start:stop]

        return replace(self, steps=steps, grad_out=some(self.grad_out), grad_x=some(self.grad_x),
                       delta=some(self.delta), total_h=some(self.total_h), total_c=some(self.total_c))


class Run:
    """One layer and direction of a recorded pass.

    Attributes
    ----------
    structure : Structure
    part : Part
    steps : Steps
        Of the whole pass; without gates and c where only checkpoints are kept.
    mask : ndarray (T, B, I) or None
        What dropout multiplied the input by.
    checkpoints : list of (start, stop, states) or None
        In the order of the pass.
    """

    __slots__ = ("checkpoints", "mask", "part", "steps", "structure")

    def __init__(self, structure: Structure, part: Part, steps: Steps, mask: np.ndarray | None):
        self.structure, self.part, self.steps, self.mask = structure, part, steps, mask
        self.checkpoints: list[Checkpoint] | None = None

    def forward(self, weights: _engine.Weights, states: list, checkpoint_every: int | None) -> None:
        """Run, and keep the gates, or the states at every k-th step. `states` are left at the final ones."""
        steps = self.steps
        if checkpoint_every is None:
            _forward(weights, steps, states, steps.gates, steps.c)
            return
        self.checkpoints = []
        T = len(steps.x)
        starts = range(0, T, checkpoint_every)
        for start in reversed(starts) if steps.reverse else starts:
            stop = min(T, start + checkpoint_every)
            before = [state.copy() for state in states]
            self.checkpoints.append((start, stop, before))
            _forward(weights, self._between(start, stop, before, None, None), states, None, None)

    def windows(self, weights: _engine.Weights) -> Iterator[tuple[int, int, Steps]]:
        """The steps of each checkpoint with gates and c, computed again, from the end of the pass to its start."""
        B = self.steps.x.shape[1]
        checkpoints = self.checkpoints or []
        longest = max((stop - start for start, stop, _ in checkpoints), default=0)
        *kept, h = _engine.carve("a tape", self.structure.dtype,
                                 (*self.structure.kept(longest, B), (longest, B, self.structure.hidden_size)))
        for start, stop, before in reversed(checkpoints):
            gates, c = (None if tape is None else tape[:stop - start] for tape in kept)
            steps = self._between(start, stop, before, gates, c)
            again = replace(steps, h=h[:stop - start])
            _forward(weights, again, [state.copy() for state in before], gates, c)
            yield start, stop, steps

    def window(self, start: int, stop: int) -> Steps:
        """Any steps of a pass without checkpoints."""
        steps = self.steps
        before, beyond = (stop, len(steps.x)) if steps.reverse else (start - 1, -1)
        initial = steps.initial
        if before != beyond:
            initial = [self._state_after(before, tape, first)
                       for tape, first in zip((steps.h, steps.c), initial, strict=False) if tape is not None]
        gates, c = (None if tape is None else tape[start:stop] for tape in (steps.gates, steps.c))
        return self._between(start, stop, initial, gates, c)

    def walk_back(self, walk: Walk) -> None:
        """BPTT over all steps, each window with its own part of the arrays."""
        if self.checkpoints is None:
            _engine.backward(walk)
            return
        for start, stop, steps in self.windows(walk.weights):
            _engine.backward(walk.within(start, stop, steps))
            walk.fresh = False                  # from the second window on the parameters' hold something

    def _between(self, start: int, stop: int, initial: list, gates, c) -> Steps:
        steps = self.steps
        lengths = None if steps.lengths is None else np.maximum(steps.lengths - start, 0)
        return Steps(steps.x[start:stop], steps.h[start:stop], initial, gates, c, lengths, steps.reverse)

    def _state_after(self, t: int, tape: np.ndarray, initial: np.ndarray) -> np.ndarray:
        """For a window's start; a reversed row that has not begun at step t is in its initial state."""
        if self.steps.reverse and self.steps.lengths is not None:
            return np.ascontiguousarray(np.where((self.steps.lengths > t)[:, None], tape[t], initial))
        return np.ascontiguousarray(tape[t])


def record_runs(
    structure: Structure,
    weights: list[_engine.Weights],
    given: np.ndarray,
    states: list,
    lengths: np.ndarray | None,
    mask_of: Callable[[int, tuple], np.ndarray | None],
    checkpoint_every: int | None,
) -> tuple[list[Run], np.ndarray]:
    """Run a whole stack of layers and keep what the way back needs.

    Parameters
    ----------
    structure : Structure
    weights : list of Weights
    given : ndarray (T, B, I)
        The input; the pass keeps a copy.
    states : list of ndarray (layers·directions, B, H)
        The initial states; they are left at the final ones.
    lengths : ndarray (B,) or None
    mask_of : callable
        From the number of a layer and the shape of its input to dropout's mask, or None.
    checkpoint_every : int or None

    Returns
    -------
    runs : list of Run
    output : ndarray (T, B, directions·H)
    """
    T, B = given.shape[:2]
    start = [state.copy() for state in states]
    shapes = (None, None) if checkpoint_every else structure.kept(T, B)
    x, *kept = _engine.carve("a tape", structure.dtype, (given.shape, *shapes * len(structure.parts)))
    x[...] = given                              # the tape's own: the caller's may change before backward
    if lengths is not None:
        x[past_end(lengths, T)] = 0
    runs: list[Run] = []
    out, mask = x, None
    for part, gates, c in zip(structure.parts, kept[::2], kept[1::2], strict=True):
        if part.direction == 0:
            x, mask = out, mask_of(part.index, out.shape)
            if mask is not None:
                x = x * mask
            out = structure.empty_output(T, B)
        steps = Steps(x, structure.half(out, part), [state[part.position] for state in start], gates, c, lengths,
                      part.direction == 1)
        run = Run(structure, part, steps, mask)
        run.forward(weights[part.position], [state[part.position] for state in states], checkpoint_every)
        runs.append(run)
    return runs, out


def past_end(lengths: np.ndarray, steps: int) -> np.ndarray:
    """(T, B) mask of what lies past each row's end."""
    return np.arange(steps)[:, None] >= lengths


def _forward(weights: _engine.Weights, steps: Steps, states: list, gates, c) -> None:
    _engine.forward(weights, steps.x, steps.h, *states, gates=gates, c_out=c, lengths=steps.lengths,
                    reverse=steps.reverse)
