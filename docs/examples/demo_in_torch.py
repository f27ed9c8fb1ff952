"""The LSTM of `make demo`, trained in rnncore and in PyTorch to the same bits per character: how long does each take?

    python docs/examples/demo_in_torch.py [TEXT]

writes docs/demo_in_torch.md. Both begin with the same weights and see the same windows in the same order, with the same
optimiser. Training is over when the bits per character of held-out text, which are looked at after every hundred
updates and by the same code, are as low as those that rnncore has after 1,500 updates, to two decimals. What is timed
is the updates alone.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

from measured import DOCS, machine, markdown

import rnncore as rc
from rnncore.command.all_cells.training import Budget
from rnncore.command.options import read_text
from rnncore.data import Corpus, batches
from rnncore.nn import SequenceModel, sequence_model
from rnncore.optim import Adam
from rnncore.train import Trainer

EVERY = 100     # updates between two looks at the held-out text


def in_rnncore(corpus: Corpus, budget: Budget) -> tuple[SequenceModel, Callable[[], object], Callable[[], float]]:
    """The model, a function that does one update, and one that returns the bits per character of held-out text."""
    model = sequence_model("lstm", len(corpus.vocabulary), hidden_size=budget.hidden_size,
                           embedding_size=budget.embedding_size, seed=budget.seed)
    rows = min(budget.batch_size, len(corpus.valid) - 1)
    trainer = Trainer(model, Adam(model, budget.lr), batches(corpus.train, budget.batch_size, budget.window),
                      valid=batches(corpus.valid, rows, budget.window, drop_last=False), max_norm=budget.max_norm)
    return model, trainer.update, trainer.evaluate


def in_torch(corpus: Corpus, budget: Budget, threads: int) -> tuple[Any, Callable[[], object]]:
    """The module, whose parameters have the names of those of rnncore's model, and a function that does one update."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    symbols = len(corpus.vocabulary)
    net = nn.ModuleDict({
        "embedding": nn.Embedding(symbols, budget.embedding_size),
        "layer": nn.LSTM(budget.embedding_size, budget.hidden_size),
        "head": nn.Linear(budget.hidden_size, symbols),
    })
    adam = torch.optim.Adam(net.parameters(), budget.lr, fused=True)
    windows = [(torch.tensor(x, dtype=torch.long), torch.tensor(targets, dtype=torch.long))
               for x, targets in batches(corpus.train, budget.batch_size, budget.window)]
    position, state = 0, None

    def update() -> object:
        nonlocal position, state
        x, targets = windows[position]
        adam.zero_grad()
        y, (h, c) = net["layer"](net["embedding"](x), state if position else None)
        loss = nn.functional.cross_entropy(net["head"](y).flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), budget.max_norm)
        adam.step()
        position, state = (position + 1) % len(windows), (h.detach(), c.detach())
        return loss.item()

    return net, update


def train(update: Callable[[], object], bits: Callable[[], float], enough: Callable[[int, float], bool]
          ) -> tuple[int, float, float]:
    """Updates, bits per character, and seconds of the updates, when it is enough."""
    updates, seconds = 0, 0.0
    while True:
        start = time.perf_counter()
        for _ in range(EVERY):
            update()
        seconds += time.perf_counter() - start
        updates += EVERY
        found = bits()
        print(f"  {updates:,} updates, {seconds:.1f} s: {found:.3f} bits per character", flush=True)
        if enough(updates, found):
            return updates, found, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("text", nargs="?", help="a UTF-8 text (Python's documentation topics)")
    parser.add_argument("--updates", type=int, default=Budget.updates, help="of rnncore (%(default)s)")
    parser.add_argument("--out", default=DOCS / "demo_in_torch.md", help="the page to write (%(default)s)")
    options = parser.parse_args()
    corpus, budget = read_text(options.text), Budget()
    model, update, bits = in_rnncore(corpus, budget)
    first = model.state_dict()
    print("rnncore", flush=True)
    ours = train(update, bits, lambda updates, _: updates >= options.updates)
    goal = math.ceil(100 * ours[1]) / 100

    import torch

    net, update = in_torch(corpus, budget, rc.num_threads())
    net.load_state_dict({name: torch.from_numpy(value) for name, value in first.items()})

    def bits_of_torch() -> float:
        model.load_state_dict(net.state_dict())
        return bits()

    print(f"torch, until {goal:.2f}", flush=True)
    theirs = train(update, bits_of_torch, lambda updates, found: found <= goal or updates >= 2 * options.updates)
    rows = [[name, f"{updates:,}", f"{found:.3f}", f"{seconds:.1f}", f"{1e3 * seconds / updates:.2f}"]
            for name, (updates, found, seconds) in
            ((f"rnncore {rc.__version__}", ours), (f"PyTorch {torch.__version__}", theirs))]
    ratio = theirs[2] / ours[2]
    slower, times = ("PyTorch", ratio) if ratio >= 1 else ("rnncore", 1 / ratio)
    with open(options.out, "w", encoding="utf-8") as file:
        file.write(f"""# The demo's LSTM, in rnncore and in PyTorch

[Documentation](index.md)

`make demo` trains its cells on a text, here {corpus.name}, and its table shows the seconds that each took. This is the
LSTM of the demo, with {budget.hidden_size} units, trained once by rnncore and once by a training loop in PyTorch, from
the same initial weights, on the same windows in the same order, with the same optimiser and clipping. rnncore makes
{ours[0]:,} updates. PyTorch trains until the held-out text takes at most {goal:.2f} bits per character, too; the same
code judges both after every {EVERY} updates, and only the updates are timed.

{markdown(["", "updates", "bits per character", "seconds", "ms an update"], rows)}

{slower} takes {times:.2f} times as long. Measured by `python docs/examples/demo_in_torch.py` on {machine()}.
""")
    print(options.out)


if __name__ == "__main__":
    main()
