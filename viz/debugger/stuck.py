"""The watch on gates that stay at one end."""

import numpy as np

from .moment import Hit, lead_up, valid, where
from .watches import Watch


class Stuck(Watch):
    """Fire at the step where a unit of a gate has been saturated for `steps` steps in a row.

    A sigmoid gate is stuck below `low` or above `high`; a tanh (g, n, h, hn left out) beyond ±high;
    a ReLU unit at exactly 0. A run goes on over updates whose state is carried over: where the tape
    starts with the very state the last one ended in.

    Parameters
    ----------
    names : str, default "*.[iforz]"
        Pattern of the gates to watch.
    steps : int, default 50
    low, high : float or None, default 0.01 and 0.99
        None switches a side off: a forget gate above 0.99 may be meant.
    units : int, default 1
        How many units of one row must be stuck at once.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> lstm = rc.init.forget_bias(rc.LSTM(2, 4, seed=0), -20.0)
    >>> hit = viz.Stuck("*.f", steps=10).look(lstm.record(np.zeros((30, 1, 2), "float32")))
    >>> hit.step
    9
    """

    def __init__(self, names="*.[iforz]", steps=50, *, low=0.01, high=0.99, units=1, **options):
        super().__init__(**options)
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps: got {steps!r}, expected a whole number of time steps from 1")
        self.names, self.steps, self.low, self.high, self.units = names, steps, low, high, units
        self._runs, self._ended = {}, None

    def check(self, moment):
        tape = moment.tape
        runs = self._runs if self._continues(tape) else {}
        self._runs, self._ended = {}, tape.state
        found = None
        for name in tape.names(self.names):
            for side, low_side in (("low", True), ("high", False)):
                stuck = self._stuck(tape, name, low_side)
                if stuck is not None:
                    run, hit = self._run(runs.get((name, side)), stuck, name, side, moment)
                    self._runs[name, side] = run
                    if hit and (found is None or hit.step < found.step):
                        found = hit
        return found

    def _stuck(self, tape, name, low_side):
        """(T, B, H) bool, or None where this side does not exist."""
        gate, a = name.rpartition(".")[2], tape[name]
        curve = "sigmoid" if gate in "iforz" else "tanh"
        if tape.mode == "RNN":
            curve = tape.layer.nonlinearity
        if gate in ("c", "hn"):
            return None  # not the value of a bounded function
        if curve == "relu":
            return a == 0 if low_side else None
        if low_side:
            floor = self.low if curve == "sigmoid" else None if self.high is None else -self.high
            return None if floor is None else a < floor
        return None if self.high is None else a > self.high

    def _run(self, run, stuck, name, side, moment):
        """Count on through the tape: (runs at its end, the Hit where one reaches the length)."""
        tape, hit = moment.tape, None
        run = np.zeros(stuck.shape[1:], np.int64) if run is None else run
        reverse = ".reverse." in name
        if (
            tape.T
            and (tape.lengths == tape.T).all()
            and (run + stuck.sum(0)).max(initial=0) < self.steps
        ):
            last = ~stuck if reverse else ~stuck[::-1]  # too short: only runs at the end count
            return np.where(last.any(0), last.argmax(0), run + tape.T), None
        inside = valid(tape)[..., None]
        order = range(tape.T - 1, -1, -1) if reverse else range(tape.T)
        for t in order:
            run = np.where(inside[t], (run + 1) * stuck[t], run)
            if hit is None and run.max(initial=0) >= self.steps:
                long = run >= self.steps
                rows = np.flatnonzero(long.sum(1) >= self.units)
                if len(rows):
                    hit = self._hit(long, int(rows[0]), name, side, t, moment)
        return run, hit

    def _hit(self, long, row, name, side, t, moment):
        unit = int(np.argmax(long[row]))
        layer, _, gate = name.rpartition(".")
        value = float(moment.tape[name][t, row, unit])
        many = int(long[row].sum())
        sentence = (
            f"{where(name, t, row, unit)} has been stuck {side} for {self.steps} steps "
            f"(now {value:.4g}; {many} of {long.shape[1]} units of this row)"
        )
        before = lead_up(moment.tape[name], t, row, unit, ".reverse." in name)
        return Hit(
            self.name, moment.update, name, sentence, layer, gate, t, row, unit, value, before
        )

    def _continues(self, tape):
        """Whether the tape starts with the very state the last one ended in."""
        last, first = (s if isinstance(s, tuple) else (s,) for s in (self._ended, tape.initial))
        return self._ended is not None and all(
            np.array_equal(a, b) for a, b in zip(last, first, strict=True)
        )
