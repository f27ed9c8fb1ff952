"""One layer and direction of a recorded pass: what its loop wrote, and how BPTT walks it in windows."""

import numpy as np

from rnncore import _engine

# of the arrays of a backward pass, those with a step's rows at its time
BY_STEP = {"grad_out", "grad_x", "delta", "total_h", "total_c"}


def suffix(layer, direction):
    """How torch ends a weight's name: _l0, _l0_reverse."""
    return f"_l{layer}" + ("_reverse" if direction else "")


def kept_shapes(layer, steps, rows):
    """What BPTT needs of some steps besides the outputs: gates and c, None where a cell has none."""
    info, H = layer._info, layer.hidden_size
    return ((steps, rows, info["slots"], H) if info["keep"] else None,
            (steps, rows, H) if info["states"] == 2 else None)


class Run:
    """One layer and direction of a recorded pass, in time-major arrays."""

    checkpoints = None                      # [(start, stop, h, c)], in the order of the pass

    def __init__(self, layer, index, direction, x, out, h0, c0, gates, c, lengths, mask):
        self.layer, self.index, self.direction = layer, index, direction
        self.position = index * layer.directions + direction        # among all, in the states and the packed weights
        self.x, self.out, self.h0, self.c0 = x, out, h0, c0
        self.gates, self.c = gates, c       # None: the cell has none, or only checkpoints are kept
        self.lengths = lengths
        self.mask = mask                    # dropout's, that x was multiplied by

    @property
    def name(self):
        """l0, l0.reverse, ..."""
        return f"l{self.index}" + (".reverse" if self.direction else "")

    def forward(self, weights, h, c, checkpoint_every):
        """Run, and keep the gates, or the state at every k-th step. h and c are left at the final state."""
        if checkpoint_every is None:
            self._step_through(weights, self.x, self.lengths, h, c, self.out, self.gates, self.c)
            return
        self.checkpoints = []
        T = self.x.shape[0]
        starts = range(0, T, checkpoint_every)
        for start in reversed(starts) if self.direction else starts:
            stop = min(T, start + checkpoint_every)
            self.checkpoints.append((start, stop, h.copy(), None if c is None else c.copy()))
            self._step_through(weights, self.x[start:stop], self._lengths_from(start), h, c,
                               self.out[start:stop], None, None)

    def _step_through(self, weights, x, lengths, h, c, out, gates, c_out):
        # without gates to keep, a cell is still recorded: RNN needs its outputs alone
        _engine.forward(weights, x, out, h, c, gates=gates, c_out=c_out, lengths=lengths,
                        reverse=self.direction == 1)

    def _lengths_from(self, start):
        return None if self.lengths is None else np.maximum(self.lengths - start, 0)

    def windows(self, weights):
        """(start, stop, h, c, gates, c_tape) of each checkpoint, from the end of the pass to its start."""
        B = self.x.shape[1]
        longest = max((stop - start for start, stop, *_ in self.checkpoints), default=0)
        gates, c_tape, out = _engine.carve(
            "a tape", self.layer.dtype, (*kept_shapes(self.layer, longest, B), (longest, B, self.layer.hidden_size)))
        for start, stop, h, c in reversed(self.checkpoints):
            n = stop - start
            part = None if gates is None else gates[:n], None if c_tape is None else c_tape[:n]
            self._step_through(weights, self.x[start:stop], self._lengths_from(start), h.copy(),
                               None if c is None else c.copy(), out[:n], *part)
            yield start, stop, h, c, *part

    def window(self, start, stop):
        """The same for any steps of a pass without checkpoints."""
        before, beyond = (stop, self.x.shape[0]) if self.direction else (start - 1, -1)
        h, c = self.h0, self.c0
        if before != beyond:
            h, c = self._state_at(before, self.out, self.h0), self._state_at(before, self.c, self.c0)
        gates, c_tape = (None if tape is None else tape[start:stop] for tape in (self.gates, self.c))
        return h, c, gates, c_tape

    def _state_at(self, t, tape, initial):
        """The state after step t, for a window's start; a reversed row that has not begun is in its initial state."""
        if tape is None:
            return None
        if self.direction and self.lengths is not None:
            return np.ascontiguousarray(np.where((self.lengths > t)[:, None], tape[t], initial))
        return np.ascontiguousarray(tape[t])

    def backward(self, weights, start, stop, state, dh, dc, arrays):
        """BPTT over some steps. `state` is what `windows` or `window` gave: (h0, c0, gates, c)."""
        h0, c0, gates, c = state
        x, h, lengths = self.x, self.out, self.lengths
        if stop - start < len(x):
            x, h, lengths = x[start:stop], h[start:stop], self._lengths_from(start)
        _engine.backward(weights, x=x, h=h, h0=h0, c0=c0, gates=gates, c=c, dh=dh, dc=dc, lengths=lengths,
                         reverse=self.direction == 1, **arrays)

    def backward_all(self, weights, dh, dc, arrays):
        """BPTT over all steps, each window with its own part of `arrays`."""
        if self.checkpoints is None:
            self.backward(weights, 0, len(self.x), (self.h0, self.c0, self.gates, self.c), dh, dc, arrays)
            return
        for start, stop, *state in self.windows(weights):
            part = {name: array if array is None or name not in BY_STEP else array[start:stop]
                    for name, array in arrays.items()}
            self.backward(weights, start, stop, state, dh, dc, part)
            arrays["fresh"] = False             # from the second window on they hold something
