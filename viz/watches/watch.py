"""Watches: conditions that are checked at every update.

A watch is a small class whose `check(moment)` returns a `Hit` or None. It reads the tape's buffers
and keeps at most a few numbers from update to update. `When` makes a watch of any function of a tape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from rnncore._checks import as_size

from .._norms import Grads
from .moment import Hit, Moment, where

if TYPE_CHECKING:
    from rnncore._typing import Array
    from rnncore.recurrent.tape import Tape

OneAction: TypeAlias = Literal["raise", "record", "open"] | Callable[[Hit, list[Moment]], object]
Action: TypeAlias = OneAction | Sequence[OneAction]
"""What to do when a watch fires, see `Debugger`."""


class Watch:
    """A condition that is checked at every update; subclasses define `check`.

    Parameters
    ----------
    every : int, default 1
        Check every n-th update only.
    action : optional
        What to do when this watch fires, instead of the debugger's own `action`; see `Debugger`.
    """

    def __init__(self, *, every: int = 1, action: Action | None = None) -> None:
        self.every = as_size(every, "every")
        self.action = action

    def __repr__(self) -> str:
        settings = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        for name, default in (("every", 1), ("action", None)):
            if settings.get(name) == default:
                settings.pop(name, None)
        return f"<{self.name}{': ' * bool(settings)}{', '.join(f'{k} {v!r}' for k, v in settings.items())}>"

    @property
    def name(self) -> str:
        """The name that hits carry."""
        return type(self).__name__

    def check(self, moment: Moment) -> Hit | None:
        """The `Hit` of this moment, or None."""
        raise NotImplementedError(
            f"{self.name} has no check(moment); write one that returns a Hit or None"
        )

    def look(
        self,
        tape: Tape,
        grads: Grads | None = None,
        *,
        loss: float | None = None,
        update: int | None = None,
    ) -> Hit | None:
        """Check one tape by hand."""
        return self.check(Moment(tape, grads, loss, update))


class When(Watch):
    """Fire when a function of the tape returns True, or a step.

    Parameters
    ----------
    predicate : callable
        Takes the tape and returns False or None, or True, or the time step (an int), or a bool array
        (T,), (T, B) or (T, B, H) whose first True is the step.
    name : str, optional
        The name that hits carry; by default that of the function.
    every, action
        As in `Watch`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 4, seed=0).record(np.ones((20, 1, 2), "float32"))
    >>> viz.When(lambda tape: tape["l0.c"] > 10).look(tape) is None
    True
    """

    def __init__(
        self,
        predicate: Callable[[Tape], bool | int | np.bool_ | np.integer | Array | None],
        *,
        name: str | None = None,
        every: int = 1,
        action: Action | None = None,
    ) -> None:
        super().__init__(every=every, action=action)
        if not callable(predicate):
            raise TypeError(
                f"predicate: got {type(predicate).__name__}, expected a function of a tape"
            )
        self.predicate = predicate
        self._name = str(name or getattr(predicate, "__name__", "When"))

    def __repr__(self) -> str:
        return f"<When {self.name}>"

    @property
    def name(self) -> str:
        """The name that hits carry."""
        return self._name

    def check(self, moment: Moment) -> Hit | None:
        answer = self.predicate(moment.tape)
        if answer is None or answer is False or answer is np.False_:
            return None
        step: int | None = None
        row: int | None = None
        unit: int | None = None
        if isinstance(answer, np.ndarray) and answer.ndim:
            if not answer.any():
                return None
            place = [int(i) for i in np.argwhere(answer)[0]]
            step, row, unit = (*place, None, None)[:3]
        elif not isinstance(answer, (bool, np.bool_)):
            step = int(answer)
        at = f" at {where(moment.tape, '', step, row, unit).removeprefix(' at ')}" if step is not None else ""
        return Hit(
            self.name, moment.update, None, f"{self.name} holds{at}", step=step, row=row, unit=unit
        )
