"""The classic memory tasks: generated in batches from a seed, with known baselines.

=============== ===================================== ====================== ====================
task            input                                 target                 loss without memory
=============== ===================================== ====================== ====================
`Adding`        numbers, two of which are marked      their sum, at the end  1/6 (MSE)
`CopyMemory`    10 symbols, blanks, a go sign         the 10 symbols         10·ln 8 / (T + 20)
`TemporalOrder` two of A, B among distractors         which two, in order    ln 4
`DelayedXOR`    random bits                           XOR of two past bits   ln 2
`Dyck`          brackets of k kinds, a closing sign   the kind it closes     ln k
=============== ===================================== ====================== ====================

A task is a stream of batches: batch `n` of a seed is always the same, whatever was
drawn before it. Arrays are time first. ``mask`` is True at the steps whose target is part of the loss;
elsewhere the target is 0. `rnncore.train.Trainer` takes batches as they are, for example
``list(task.batches(32, 100))``.

    task = Adding(200)
    network = task.network("lstm", 64, seed=0)
    curve = learn(task, network, updates=2000)
"""

from rnncore.tasks.learning import Curve, learn
from rnncore.tasks.memory import Adding, Batch, CopyMemory, DelayedXOR, Dyck, Task, TemporalOrder

__all__ = ["Adding", "Batch", "CopyMemory", "Curve", "DelayedXOR", "Dyck", "Task", "TemporalOrder", "learn"]


def __dir__() -> list[str]:
    return sorted(__all__)
