"""Copy memory: ten symbols, T blank steps, the ten symbols again. How long can T be?

    python docs/examples/copy_memory.py

writes docs/copy_memory.md with the table and docs/img/copy_memory.png with learning curves.
A cell's budget is split in two. In the first half every T starts from new weights and T
doubles whenever the loss falls below a tenth of the baseline. In the second half the weights
are kept while T grows from 1 by a half each time.
"""

import argparse

from measured import DOCS, draw, machine, markdown, network

from rnncore.tasks import CopyMemory, learn

SHARE = 0.1  # of the baseline
KEPT_FOR = 200  # steps of chrono initialisation where T grows
RATES = {"tanh RNN": 1e-3, "GRU": 1e-2, "LSTM": 4e-3, "LSTM, chrono": 4e-3}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="budget a cell (%(default)s)")
    parser.add_argument("--first", type=int, default=10, help="T that all show (%(default)s)")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    anew, kept, rows = {}, {}, []
    for label, rate in RATES.items():
        def climb(delay, grow, keep, label=label, rate=rate):
            """What is learnt in half the budget: [(seconds so far, T)], and the first curve."""
            left, model, learnt, first = options.seconds / 2, None, [], None
            while left > 0:
                task = CopyMemory(delay, seed=options.seed)
                if model is None or not keep:
                    steps = KEPT_FOR if keep else 2 * delay + 1
                    model = network(task, label, options.hidden, options.seed, steps)
                curve = learn(task, model, seconds=left, goal=SHARE * task.baseline,
                              batch_size=options.batch, lr=rate, every=25, tested=128)
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

        doubled, curve = climb(options.first, lambda t: 2 * t, keep=False)
        grown, _ = climb(1, lambda t: t + max(1, t // 2), keep=True)
        anew[label] = curve.seconds, curve.losses
        kept[label] = [s for s, _ in grown], [t for _, t in grown]
        told = f"{curve.seconds[-1]:.0f} s" if curve.reached else f"no ({curve.best:.3f} nats)"
        rows.append([label, rate, doubled[-1][1] if doubled else f"< {options.first}", told,
                     grown[-1][1] if grown else "none"])
    task = CopyMemory(options.first)
    draw(DOCS / "img" / "copy_memory.png", [
        (f"Copy memory, T = {task.delay}, from new weights", "nats a step on 128 fresh sequences",
         anew, {"without memory": task.baseline, "a tenth": SHARE * task.baseline}),
        ("Longest T learnt, weights kept as T grows", "T, steps", kept, {})])
    heads = ["cell", "learning rate", "longest T, new weights each", f"time to T = {options.first}",
             "longest T, weights kept as T grows"]
    (DOCS / "copy_memory.md").write_text(f"""# Copy memory

Ten of eight symbols are shown, then T − 1 blanks and a sign; then the ten symbols are asked.
Blanks and a guess cost 10·ln 8/(T + 20) nats a step. A T counts as learnt when the loss on 128
fresh sequences falls below a tenth of that. Every cell had {options.seconds:.0f} s in all: half
of it for T = {options.first}, {2 * options.first}, {4 * options.first}, … each from new weights,
half for T growing from 1 by a half each time with the weights kept.

{markdown(heads, rows)}

{options.hidden} units, batches of {options.batch}, Adam, gradients clipped to norm 1. Chrono
initialisation spreads the forget gates over 1 … 2T steps ({KEPT_FOR} where the weights are kept).
Measured by `python docs/examples/copy_memory.py` on {machine()}.

![Loss against seconds of training](img/copy_memory.png)
""")
    print(f"{DOCS / 'copy_memory.md'}")


if __name__ == "__main__":
    main()
