"""Breakpoints on training: watches are checked at every update, and a hit triggers an action.

    debugger = viz.Debugger(viz.NaN(), viz.Explode(1e3), viz.Stuck("*.o", 100), keep=3)
    Trainer(model, optimiser, batches, callbacks=[debugger]).fit(1000)

or, in a training loop of your own, between the backward pass and the optimiser's step:

    debugger.check(tape, grads, loss=loss)

The debugger reads buffers that training fills anyway. No part of it is in the engine, so code that
does not call it has no overhead.

    training step → Moment (tape, gradients, loss, weights) → watches → Hit → actions
                         ↳ the last few are kept, so that the updates before a hit can be inspected
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from rnncore._checks import as_size

from .._norms import Grads
from ..watches import Hit, Moment, NaN, Watch, When
from ..watches.moment import HasWeights
from ..watches.watch import Action
from .actions import Breakpoint, act, check_action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rnncore._typing import Array, PathLike
    from rnncore.nn.record import SequenceRecord
    from rnncore.recurrent.tape import Tape
    from rnncore.train import Trainer

__all__ = ["Breakpoint", "Debugger", "replay"]


def __dir__() -> list[str]:
    return __all__


class Debugger:
    """Check watches at every update of training, keep the last few updates, and act when a watch fires.

    Parameters
    ----------
    *watches : Watch or callable
        `viz.NaN()`, `viz.Vanish()`, `viz.Explode()`, `viz.Stuck()`, `viz.Spike()`, or a function
        of a tape (see `viz.When`). By default `viz.NaN()` alone.
    action : str, callable or list, default "raise"
        "raise" raises a `Breakpoint`; "record" writes the kept updates to a run file; "open" writes
        a page about them and opens it in the browser; a function is called with (hit, moments). A
        watch's own `action` takes precedence.
    keep : int, default 3
        How many updates to keep: tape, gradients and weights. Each takes the memory of its tape.
    folder : path, default "."
        Where "record" and "open" write.

    Attributes
    ----------
    hits : list of Hit
        All hits so far. A watch whose condition holds for several updates in a row fires once, at the
        first of them.
    moments : deque of Moment
        The kept updates, oldest first.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> lstm = rc.LSTM(3, 4, seed=0)
    >>> debugger = viz.Debugger(viz.NaN(), lambda tape: tape["l0.h"].max() > 0.99)
    >>> x = np.zeros((5, 2, 3), "float32")
    >>> debugger.check(lstm.record(x))
    []
    >>> x[2] = np.inf
    >>> try:
    ...     debugger.check(lstm.record(x))
    ... except viz.Breakpoint as stop:
    ...     print(stop)
    update 2: input at step 2, row 0, unit 0 is inf (2 of 2 rows, 3 of 3 units); just before it: 0 0
    """

    def __init__(
        self,
        *watches: Watch | Callable[[Tape], bool | int | None],
        action: Action = "raise",
        keep: int = 3,
        folder: PathLike = ".",
    ) -> None:
        self.watches = [w if isinstance(w, Watch) else When(w) for w in watches] or [NaN()]
        self.action = check_action(action)
        for watch in self.watches:
            if watch.action is not None:
                check_action(watch.action)
        self.folder = folder
        self.hits: list[Hit] = []
        self.moments: deque[Moment] = deque(maxlen=as_size(keep, "keep"))
        self._update = 0
        self._holding: set[Watch] = set()

    def __repr__(self) -> str:
        watches = ", ".join(watch.name for watch in self.watches)
        return (
            f"<Debugger of {watches}: {self._update} updates, {len(self.hits)} hits, "
            f"{len(self.moments)} of {self.moments.maxlen} moments kept>"
        )

    def check(
        self,
        tape: Tape,
        grads: Grads | None = None,
        *,
        loss: float | None = None,
        update: int | None = None,
        output: Array | None = None,
        module: HasWeights | None = None,
    ) -> list[Hit]:
        """Check one update, after its backward pass and before the optimiser's step.

        Parameters
        ----------
        tape : Tape
        grads : Gradients or dict, optional
            What `tape.backward` returned, or ∂L/∂W by name.
        loss : float, optional
        update : int, optional
            The number of the update; by default they are counted from 1.
        output, module : optional
            The prediction, and the model around the layer, which are then checked as well.

        Returns
        -------
        list of Hit
            The hits of this update.
        """
        self._update = self._update + 1 if update is None else update
        moment = Moment(tape, grads, loss, self._update, output, module).snapshot()
        self.moments.append(moment)
        fired: list[tuple[Hit, Action]] = []
        for watch in self.watches:
            if (self._update - 1) % watch.every:
                continue
            hit = watch.check(moment)
            if hit is None:
                self._holding.discard(watch)
            elif watch not in self._holding:
                self._holding.add(watch)
                fired.append((hit, watch.action if watch.action is not None else self.action))
        self.hits += [hit for hit, _ in fired]
        for hit, action in sorted(fired, key=lambda f: f[1] == "raise"):
            act(action, hit, list(self.moments), self.folder)
        return [hit for hit, _ in fired]

    def before_step(
        self, trainer: Trainer, record: SequenceRecord, loss: float, grads: Mapping[str, Array]
    ) -> None:
        """Called by `Trainer` between the backward pass and the optimiser's step."""
        self.check(
            record.tape, grads, loss=loss, update=trainer.updates + 1, output=record.output,
            module=trainer.model,
        )  # fmt: skip

    def __call__(self, trainer: Trainer) -> None:
        """Called by `Trainer` after the step, when everything is checked already."""


def replay(
    trainer: Trainer, checkpoint: PathLike, update: int, *, keep: int = 3
) -> list[Moment]:
    """Run training again from a checkpoint up to one update, and return the last few moments.

    Resumed training has the same bits as the run that wrote the checkpoint, so what happened at
    `update` happens again: the tapes of a spike can be inspected without having been kept.

    Parameters
    ----------
    trainer : Trainer
        Made as the one that wrote the checkpoint: with the same model, optimiser and data.
    checkpoint : path
        Written at or before ``update - 1``.
    update : int
        The update to stop at, from 1; its backward pass is done, its optimiser step is not.
    keep : int, default 3
        How many updates to return, up to and including `update`.

    Returns
    -------
    list of Moment
        Oldest first; the last one is that of `update`.
    """
    trainer.resume(checkpoint)
    if update <= trainer.updates:
        raise ValueError(
            f"update: got {update}, expected more than {trainer.updates}, where {checkpoint} was "
            "written; take an earlier checkpoint"
        )
    stop = When(lambda tape: trainer.updates + 1 == update, name="replay")
    debugger = Debugger(stop, keep=keep)
    callbacks, trainer.callbacks = trainer.callbacks, [debugger]
    try:
        while True:
            trainer.update()
    except Breakpoint as reached:
        return reached.moments
    finally:
        trainer.callbacks = callbacks
