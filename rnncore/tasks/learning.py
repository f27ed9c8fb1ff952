"""Training on a task's fresh batches, with a curve of the test loss."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rnncore._checks import as_number, as_size
from rnncore._progress import progress_bar
from rnncore.data import LazyWindows
from rnncore.optim import Adam
from rnncore.train import Trainer
from rnncore.train.loop import summed_loss

if TYPE_CHECKING:
    from rnncore._typing import Progress
    from rnncore.nn import SequenceModel
    from rnncore.tasks.memory import Task

END = 2**62  # training uses the batches before this one; this one is for tests


@dataclass
class Curve:
    """A network's loss on test sequences during training, by updates and by seconds of training.

    Attributes
    ----------
    updates, seconds, losses : list
        One entry per test; seconds are those of training, without the tests.
    reached : bool
        Whether the goal was reached.
    """

    updates: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    reached: bool = False

    @property
    def best(self) -> float:
        """The lowest loss."""
        return min(self.losses, default=math.inf)

    def __repr__(self) -> str:
        updates = self.updates[-1] if self.updates else 0
        return f"Curve({len(self.losses)} tests in {updates:,} updates, best={self.best:.4g}, reached={self.reached})"


def learn(
    task: Task,
    network: SequenceModel,
    *,
    updates: int | None = None,
    seconds: float | None = None,
    goal: float | None = None,
    batch_size: int = 32,
    lr: float = 1e-3,
    max_norm: float = 1.0,
    every: int = 100,
    tested: int = 512,
    progress: Progress = False,
) -> Curve:
    """Train on fresh batches of a task until a goal is reached or the budget is used up.

    Parameters
    ----------
    task : Task
    network : SequenceModel
    updates, seconds : int, float, optional
        The budget; at least one of them. Seconds are those of training, without the tests.
    goal : float, optional
        Training ends when the test loss falls below it.
    batch_size : int
    lr : float
        Adam's learning rate.
    max_norm : float
        Gradients are clipped to this joint norm; 0 does not clip.
    every : int
        Updates between two tests, at least 1.
    tested : int
        Number of test sequences. They are the same in every test and not part of the training data.
    progress : bool or callable
        Updated once per test.

    Returns
    -------
    Curve
    """
    if updates is None and seconds is None:
        raise ValueError("updates, seconds: got neither, expected a budget")
    if network.loss_name != task.loss_name:
        raise ValueError(f"network: got one with loss {network.loss_name!r}, expected {task.loss_name!r}; "
                         "task.network makes a suitable one")
    every, tested = as_size(every, "every"), as_size(tested, "tested")
    updates = None if updates is None else as_size(updates, "updates", least=0)
    seconds = None if seconds is None else as_number(seconds, "seconds", least=0, finite=updates is None)
    windows = LazyWindows(lambda number: task.batch(batch_size, number), range(END))
    trainer = Trainer(network, Adam(network, lr), windows, max_norm=max_norm or None)
    test, curve, spent = [task.batch(tested, END)], Curve(), 0.0
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
