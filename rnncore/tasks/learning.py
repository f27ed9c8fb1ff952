"""Training on a task's fresh batches, and how the test loss falls."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from rnncore._checks import as_size
from rnncore._progress import progress_bar
from rnncore.data import LazyWindows
from rnncore.optim import Adam
from rnncore.train import Trainer
from rnncore.train.loop import summed_loss

END = 2**62  # batches of a stream are trained on up to here; this one is for tests


@dataclass
class Curve:
    """How a network learnt: loss on fresh batches, by updates and by seconds of training."""

    updates: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    reached: bool = False

    @property
    def best(self):
        """The lowest loss."""
        return min(self.losses, default=math.inf)


def learn(task, network, *, updates=None, seconds=None, goal=None, batch_size=32, lr=1e-3,
          max_norm=1.0, every=100, tested=512, progress=False):
    """Train on fresh batches of a task until a goal or the end of the budget.

    Parameters
    ----------
    task : Task
    network : SequenceModel
    updates, seconds : int, float, optional
        The budget; at least one of them. Seconds are of training, without the tests.
    goal : float, optional
        A test loss below it ends the training.
    batch_size : int
    lr, max_norm : float
        Of Adam, and of gradient clipping.
    every : int
        Updates between two tests.
    tested : int
        Sequences of a test, of a stream of their own, the same every time.
    progress : bool or callable
        Updated once a test.

    Returns
    -------
    Curve
    """
    if updates is None and seconds is None:
        raise ValueError("updates, seconds: got neither, expected a budget")
    if network.loss_name != task.loss_name:
        raise ValueError(f"network: got one with loss {network.loss_name!r}, expected {task.loss_name!r}; "
                         "task.network makes one")
    every, tested = as_size(every, "every"), as_size(tested, "tested")
    windows = LazyWindows(lambda number: task.batch(batch_size, number).window, range(END))
    trainer = Trainer(network, Adam(network, lr), windows, max_norm=max_norm or None, carry=False)
    test, curve, spent = [task.batch(tested, END).window], Curve(), 0.0
    with progress_bar(progress, updates or 0, repr(task)) as bar:
        while (updates is None or trainer.updates < updates) and (seconds is None or spent < seconds):
            start, begun = trainer.updates, time.perf_counter()
            end = start + every if updates is None else min(start + every, updates)
            while trainer.updates < end:
                trainer.update()
                if seconds is not None and spent + time.perf_counter() - begun >= seconds:
                    break
            spent += time.perf_counter() - begun
            total, count = summed_loss(network, test)
            curve.updates.append(trainer.updates)
            curve.seconds.append(spent)
            curve.losses.append(total / count)
            bar.update(trainer.updates - start, loss=f"{curve.losses[-1]:.4f}")
            if goal is not None and curve.losses[-1] < goal:
                curve.reached = True
                break
    return curve
