"""Copy memory: over how many blank steps T does a cell learn to reproduce ten symbols?

    python docs/examples/copy_memory.py

writes docs/copy_memory.md with the table and docs/img/copy_memory.png with learning curves.
The budget of a cell has two halves. In the first half every T starts with new weights, and T is
doubled whenever the loss falls below a tenth of the baseline. In the second half the weights are
kept, and T grows from 1 by a half each time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from measured import DOCS, draw, machine, markdown, network

from rnncore.nn import SequenceModel
from rnncore.tasks import CopyMemory, Curve, learn

SHARE = 0.1  # of the baseline
KEPT_FOR = 200  # longest time scale of chrono initialisation where the weights are kept
RATES = {"tanh RNN": 1e-3, "GRU": 1e-2, "LSTM": 4e-3, "LSTM, chrono": 4e-3}


def climb(
    options: argparse.Namespace, label: str, delay: int, grow: Callable[[int], int], *, keep: bool
) -> tuple[list[tuple[float, int]], Curve]:
    """Train with growing T for half the budget: [(seconds so far, T learnt)], and the first learning curve."""
    left = options.seconds / 2
    model: SequenceModel | None = None
    learnt: list[tuple[float, int]] = []
    first: Curve | None = None
    while first is None or left > 0:
        task = CopyMemory(delay, seed=options.seed)
        if model is None or not keep:
            steps = KEPT_FOR if keep else 2 * delay + 1
            model = network(task, label, options.hidden, options.seed, steps)
        curve = learn(task, model, seconds=left, goal=SHARE * task.baseline,
                      batch_size=options.batch, lr=RATES[label], every=25, tested=128)
        first = first or curve
        left -= curve.seconds[-1]
        print(f"{label}: T = {delay}, {curve.updates[-1]} updates, "
              f"{curve.best / task.baseline:.3f} of the baseline, {left:.0f} s left",
              flush=True)
        if not curve.reached:
            break
        learnt.append((options.seconds / 2 - left, delay))
        delay = grow(delay)
    return learnt, first


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="budget per cell (%(default)s)")
    parser.add_argument("--first", type=int, default=10, help="the first T of every cell (%(default)s)")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    anew: dict[str, tuple[list[float], list[float]]] = {}
    kept: dict[str, tuple[list[float], list[float]]] = {}
    rows: list[list[object]] = []
    for label, rate in RATES.items():
        doubled, curve = climb(options, label, options.first, lambda t: 2 * t, keep=False)
        grown, _ = climb(options, label, 1, lambda t: t + max(1, t // 2), keep=True)
        anew[label] = curve.seconds, curve.losses
        kept[label] = [s for s, _ in grown], [t for _, t in grown]
        told = f"{curve.seconds[-1]:.0f} s" if curve.reached else f"no ({curve.best:.3f} nats)"
        rows.append([label, rate, doubled[-1][1] if doubled else f"< {options.first}", told,
                     grown[-1][1] if grown else "none"])
    task = CopyMemory(options.first)
    draw(DOCS / "img" / "copy_memory.png", [
        (f"Copy memory, T = {task.delay}, from new weights", "nats per step on 128 new sequences",
         anew, {"without memory": task.baseline, "a tenth of it": SHARE * task.baseline}),
        ("Longest T learnt, weights kept as T grows", "T, steps", kept, {})])
    heads = ["cell", "learning rate", "longest T, new weights for each T", f"time to T = {options.first}",
             "longest T, weights kept as T grows"]
    (DOCS / "copy_memory.md").write_text(f"""# Copy memory

[Documentation](index.md)

The network is shown ten symbols out of eight kinds, then T − 1 blank steps and a signal; after the signal it has
to reproduce the ten symbols in order. A network without memory that predicts the blanks and guesses the symbols has
a loss of 10·ln 8/(T + 20) nats per step. A delay T counts as learnt when the loss on 128 new sequences falls below a
tenth of that. Every cell was trained for {options.seconds:.0f} s in all. In one half of that time it had to learn
T = {options.first}, {2 * options.first}, {4 * options.first}, … in turn, each time
starting with new weights. In the other half it kept its weights while T grew, from 1 by a half each time that it was
learnt.

{markdown(heads, rows)}

All networks have {options.hidden} units and are trained with Adam on batches of {options.batch}, with
gradients clipped to norm 1. Chrono initialisation sets the forget gates to time scales from 1 to 2T steps
(to {KEPT_FOR} where the weights are kept). Measured by `python docs/examples/copy_memory.py` on {machine()}.

![Loss against seconds of training](img/copy_memory.png)
""")
    print(f"{DOCS / 'copy_memory.md'}")


if __name__ == "__main__":
    main()
