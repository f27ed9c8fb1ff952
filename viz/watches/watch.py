"""Watches: questions asked of every update.

A watch is one small class whose `check(moment)` returns a `Hit` or None. It reads the tape's
buffers and keeps, at most, a few numbers from update to update. `When` makes one of any function of
a tape.
"""

import numpy as np

from rnncore._checks import as_size

from .moment import Hit, Moment, where


class Watch:
    """A question asked of every update; subclasses answer it in `check`.

    Parameters
    ----------
    every : int, default 1
        Look at every n-th update only.
    action : optional
        As in `Debugger`; its own for this watch.
    """

    def __init__(self, *, every=1, action=None):
        self.every = as_size(every, "every")
        self.action = action

    @property
    def name(self):
        return type(self).__name__

    def check(self, moment):
        """The `Hit` of this moment, or None."""
        raise NotImplementedError(
            f"{self.name} has no check(moment); write one that returns a Hit or None"
        )

    def look(self, tape, grads=None, *, loss=None, update=None):
        """Ask about one tape by hand."""
        return self.check(Moment(tape, grads, loss, update))


class When(Watch):
    """Fire where a function of the tape says so.

    Parameters
    ----------
    predicate : callable
        Gets the tape, returns False or None, or True, or the time step (an int), or a bool array
        (T,), (T, B) or (T, B, H) whose first True is the step.
    name : str, optional
        How hits are called; the function's own name by default.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 4, seed=0).record(np.ones((20, 1, 2), "float32"))
    >>> viz.When(lambda tape: tape["l0.c"] > 10).look(tape) is None
    True
    """

    def __init__(self, predicate, *, name=None, **options):
        super().__init__(**options)
        if not callable(predicate):
            raise TypeError(
                f"predicate: got {type(predicate).__name__}, expected a function of a tape"
            )
        self.predicate = predicate
        self._name = name or getattr(predicate, "__name__", "When")

    @property
    def name(self):
        return self._name

    def check(self, moment):
        answer = self.predicate(moment.tape)
        if answer is None or answer is False or answer is np.False_:
            return None
        step = row = unit = None
        if isinstance(answer, np.ndarray) and answer.ndim:
            if not answer.any():
                return None
            step, row, unit = (*(int(i) for i in np.argwhere(answer)[0]), None, None)[:3]
        elif not isinstance(answer, (bool, np.bool_)):
            step = int(answer)
        at = f" at {where(moment.tape, '', step, row, unit).removeprefix(' at ')}" if step is not None else ""
        return Hit(
            self.name, moment.update, None, f"{self.name} holds{at}", step=step, row=row, unit=unit
        )
