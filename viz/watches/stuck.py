"""The watch on gates that stay at one end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from rnncore._checks import as_size
from rnncore.recurrent.variants import SHARES

from .._tapes import as_parts, is_reverse, layer_of, part_of, valid_steps
from .moment import Hit, Moment, lead_up, where
from .watch import Action, Watch

if TYPE_CHECKING:
    from rnncore._typing import Array, Bools, Ints
    from rnncore.recurrent.tape import Tape

Side: TypeAlias = Literal["low", "high"]


class Stuck(Watch):
    """Fire at the step where a unit of a gate has been saturated for `steps` steps in a row.

    A sigmoid gate is stuck below `low` or above `high`, the output of a tanh beyond ±high, and a ReLU
    unit at exactly 0; values without a bounded nonlinearity never are. The count continues over
    updates that carry the state over, that is, where a tape starts from the state in which the
    previous one ended.

    Parameters
    ----------
    names : str, optional
        Pattern of the gates, or states, to watch; by default all gates between 0 and 1.
    steps : int, default 50
    low, high : float or None, default 0.01 and 0.99
        None switches a side off: a forget gate above 0.99 may be intended.
    units : int, default 1
        How many units of one row must be stuck at the same time.
    every, action
        As in `Watch`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> lstm = rc.init.forget_bias(rc.LSTM(2, 4, seed=0), -20.0)
    >>> hit = viz.Stuck("*.f", steps=10).look(lstm.record(np.zeros((30, 1, 2), "float32")))
    >>> hit.step
    9
    """

    def __init__(
        self,
        names: str | None = None,
        steps: int = 50,
        *,
        low: float | None = 0.01,
        high: float | None = 0.99,
        units: int = 1,
        every: int = 1,
        action: Action | None = None,
    ) -> None:
        super().__init__(every=every, action=action)
        self.names, self.steps, self.units = names, as_size(steps, "steps"), as_size(units, "units")
        self.low, self.high = low, high
        self._runs: dict[tuple[str, Side], Ints] = {}
        self._ended: tuple[Array, ...] | None = None

    def check(self, moment: Moment) -> Hit | None:
        tape = moment.tape
        if not tape.T:
            return None
        runs = self._runs if self._continues(tape) else {}
        self._runs, self._ended = {}, as_parts(tape.state)
        found: tuple[int, Hit] | None = None
        for name in self._watched(tape):
            for side, stuck in self._sides(tape, name).items():
                run = runs.get((name, side))
                if run is None:
                    run = np.zeros(tape[name].shape[1:], np.int64)
                self._runs[name, side], hit = self._count(run, name, side, stuck, moment)
                if hit and hit.step is not None and (found is None or hit.step < found[0]):
                    found = hit.step, hit
        return found and found[1]

    def _watched(self, tape: Tape) -> list[str]:
        if self.names is not None:
            return tape.names(self.names)
        return [name for name in tape.names() if part_of(name) in tape.cell.sigmoids]

    def _sides(self, tape: Tape, name: str) -> dict[Side, Callable[[Array], Bools]]:
        """{"low": array -> bools, "high": array -> bools}: where a value counts as stuck."""
        curve = tape.cell.curve_of(part_of(name))
        if curve not in (*SHARES, "tanh", "softsign", "relu"):
            return {}  # not the value of a bounded function
        if curve == "relu":
            return {"low": lambda a: a == 0}
        high = self.high
        floor = self.low if curve in SHARES else None if high is None else -high
        sides: dict[Side, Callable[[Array], Bools]] = {}
        if floor is not None:
            sides["low"] = lambda a: a < floor
        if high is not None:
            sides["high"] = lambda a: a > high
        return sides

    def _count(
        self, run: Ints, name: str, side: Side, stuck: Callable[[Array], Bools], moment: Moment
    ) -> tuple[Ints, Hit | None]:
        """Count through the tape: (run lengths at its end, the Hit where one reaches `steps`).

        Only units that may matter are counted: a run of n steps includes every n-th step, and a run
        that continues from the last tape or into the next includes the first or last step.
        """
        tape, reverse = moment.tape, is_reverse(name)
        hit: Hit | None = None
        a, lengths = tape[name], np.asarray(tape.lengths)
        some = stuck(a[0]) | stuck(a[np.maximum(lengths - 1, 0), np.arange(tape.B)])
        some |= stuck(a[self.steps - 1 :: self.steps]).any(0)
        rows, units = np.nonzero(some)
        at_end = np.where(lengths[:, None] == 0, run, 0)
        if not len(rows):
            return at_end, None
        count, values = run[rows, units], stuck(a[:, rows, units])
        inside = valid_steps(tape)[:, rows]
        for t in range(tape.T - 1, -1, -1) if reverse else range(tape.T):
            count = np.where(inside[t], (count + 1) * values[t], count)
            if hit is None and count.max() >= self.steps:
                long = np.zeros(run.shape, bool)
                long[rows, units] = count >= self.steps
                enough = np.flatnonzero(long.sum(1) >= self.units)
                if len(enough):
                    hit = self._hit(long, int(enough[0]), name, side, t, moment)
        at_end[rows, units] = count
        return at_end, hit

    def _hit(self, long: Bools, row: int, name: str, side: Side, t: int, moment: Moment) -> Hit:
        unit = int(np.argmax(long[row]))
        layer, gate = layer_of(name), part_of(name)
        value = float(moment.tape[name][t, row, unit])
        many = int(long[row].sum())
        sentence = (
            f"{where(moment.tape, name, t, row, unit)} has been stuck {side} for {self.steps} steps "
            f"(now {value:.4g}; {many} of {long.shape[1]} units of this row)"
        )
        before = lead_up(moment.tape[name], t, row, unit, is_reverse(name))
        return Hit(
            self.name, moment.update, name, sentence, layer, gate, t, row, unit, value, before
        )

    def _continues(self, tape: Tape) -> bool:
        """Whether the tape starts from the state in which the previous one ended."""
        return self._ended is not None and all(
            np.array_equal(a, b)
            for a, b in zip(self._ended, as_parts(tape.initial), strict=True)
        )
