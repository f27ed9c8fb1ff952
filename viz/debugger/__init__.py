"""Breakpoints on training: watches are asked about every update, and what they find is acted on.

    debugger = viz.Debugger(viz.NaN(), viz.Explode(1e3), viz.Stuck("*.o", 100), keep=3)
    Trainer(model, optimiser, batches, callbacks=[debugger]).fit(1000)

or, in a loop of one's own, between the backward pass and the optimiser's step:

    debugger.check(tape, grads, loss=loss)

The debugger reads buffers that training fills anyway. Nothing of it is in the engine: code that
does not call it does not pay for it.

    training step → Moment (tape, gradients, loss, weights) → watches → Hit → actions
                         ↳ the last few are kept, so that what came before can be opened
"""

from collections import deque

from rnncore._checks import as_size

from ..watches import Moment, NaN, Watch, When
from .actions import Breakpoint, act, check_action

__all__ = ["Breakpoint", "Debugger", "replay"]


class Debugger:
    """Ask watches about every update of training, keep the last few, and act when one fires.

    Parameters
    ----------
    *watches : Watch or callable
        `viz.NaN()`, `viz.Vanish()`, `viz.Explode()`, `viz.Stuck()`, `viz.Spike()`, or a function
        of a tape (see `viz.When`). Without any: `viz.NaN()`.
    action : str, callable or list, default "raise"
        "raise" a `Breakpoint`; "record" the kept updates in a run file; "open" a page of them in
        the browser; or a function of (hit, moments). A watch's own `action` comes first.
    keep : int, default 3
        How many updates to keep: tape, gradients and weights. Each holds the memory of its tape.
    folder : path, default "."
        Where "record" and "open" write.

    Attributes
    ----------
    hits : list of Hit
        What fired so far. A watch that holds on many updates in a row fires once, on the first.
    moments : deque of Moment
        The updates kept, oldest first.

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

    def __init__(self, *watches, action="raise", keep=3, folder="."):
        self.watches = [w if isinstance(w, Watch) else When(w) for w in watches] or [NaN()]
        self.action = check_action(action)
        for watch in self.watches:
            if watch.action is not None:
                check_action(watch.action)
        self.folder = folder
        self.hits = []
        self.moments = deque(maxlen=as_size(keep, "keep"))
        self._update = 0
        self._holding = set()

    def check(self, tape, grads=None, *, loss=None, update=None, output=None, module=None):
        """Look at one update, after its backward pass and before the optimiser's step.

        Parameters
        ----------
        tape : Tape
        grads : Gradients or dict, optional
            What `tape.backward` returned, or ∂L/∂W by name.
        loss : float, optional
        update : int, optional
            Its number; counted from 1 when left out.
        output, module : optional
            The prediction, and the model around the layer, which are then looked at too.

        Returns
        -------
        list of Hit
            What fired now.
        """
        self._update = self._update + 1 if update is None else update
        moment = Moment(tape, grads, loss, self._update, output, module).snapshot()
        self.moments.append(moment)
        fired = []
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

    def before_step(self, trainer, record, loss, grads):
        """What `Trainer` calls between the backward pass and the optimiser's step."""
        self.check(
            record.tape, grads, loss=loss, update=trainer.updates + 1, output=record.output,
            module=trainer.model,
        )  # fmt: skip

    def __call__(self, trainer):
        """After the step there is nothing left to say."""


def replay(trainer, checkpoint, update, *, keep=3):
    """Run training again from a checkpoint up to one update, and return the last few moments.

    Resuming has the bits of the run that wrote the checkpoint, so what happened at `update` happens
    again: the tapes of a spike can be had without having kept any.

    Parameters
    ----------
    trainer : Trainer
        Made as the one that wrote the checkpoint was: same model, optimiser and data.
    checkpoint : path
        Written at or before ``update - 1``.
    update : int
        The update to stop at, from 1; its backward pass is done, its optimiser step is not.
    keep : int, default 3
        How many updates before and with `update` to return.

    Returns
    -------
    list of Moment
        Oldest first; the last is `update`'s.
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
