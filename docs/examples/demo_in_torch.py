"""The LSTM of `make demo`, trained in rnncore and in PyTorch to the same bits per character: how long does each take?

    python docs/examples/demo_in_torch.py [TEXT]

writes docs/demo_in_torch.md. Both begin with the same weights and see the same windows in the same order, with the same
optimiser. They take turns, a hundred updates each, and the same code looks at the bits per character of held-out text
after each turn; only the updates are timed. rnncore makes 1,500 updates, and the bits per character that it reaches, to
two decimals, are the goal of both.
"""

from __future__ import annotations

import argparse
import math
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
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


@dataclass
class Learner:
    """A model that learns: how to do an update and to judge it, and what was found every hundred updates."""

    name: str
    update: Callable[[], object]
    bits: Callable[[], float]
    history: list[tuple[int, float, float]] = field(default_factory=list)   # updates, bits per character, seconds

    def go_on(self) -> float:
        """Do the next updates; returns the bits per character."""
        updates, _, seconds = self.history[-1] if self.history else (0, 0.0, 0.0)
        start = time.perf_counter()
        for _ in range(EVERY):
            self.update()
        seconds += time.perf_counter() - start
        found = self.bits()
        self.history.append((updates + EVERY, found, seconds))
        print(f"{self.name}: {updates + EVERY:,} updates, {seconds:.1f} s: {found:.3f} bits per character", flush=True)
        return found

    def row(self, goal: float) -> list[str]:
        """The row of the table: when it had reached the goal."""
        updates, found, seconds = next(one for one in self.history if one[1] <= goal)
        return [self.name, f"{updates:,}", f"{found:.3f}", f"{seconds:.1f}", f"{1e3 * seconds / updates:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("text", nargs="?", help="a UTF-8 text (Python's documentation topics)")
    parser.add_argument("--updates", type=int, default=Budget.updates, help="of rnncore (%(default)s)")
    parser.add_argument("--threads", type=int, help="of both (one for each processor)")
    parser.add_argument("--out", default=DOCS / "demo_in_torch.md", help="the page to write (%(default)s)")
    options = parser.parse_args()
    if options.threads:
        rc.set_num_threads(options.threads)
    import torch

    corpus, budget = read_text(options.text), Budget()
    model, update, bits = in_rnncore(corpus, budget)
    judge, _, bits_of_judge = in_rnncore(corpus, budget)
    net, update_torch = in_torch(corpus, budget, rc.num_threads())
    net.load_state_dict({name: torch.from_numpy(value) for name, value in model.state_dict().items()})

    def bits_of_torch() -> float:
        judge.load_state_dict(net.state_dict())
        return bits_of_judge()

    ours = Learner(f"rnncore {rc.__version__}", update, bits)
    theirs = Learner(f"PyTorch {torch.__version__}", update_torch, bits_of_torch)
    while not ours.history or ours.history[-1][0] < options.updates:
        ours.go_on()
        theirs.go_on()
    goal = math.ceil(100 * min(found for _, found, _ in ours.history)) / 100
    while min(found for _, found, _ in theirs.history) > goal:
        theirs.go_on()
    rows = [ours.row(goal), theirs.row(goal)]
    ratio = float(rows[1][3]) / float(rows[0][3])
    slower, times = ("PyTorch", ratio) if ratio >= 1 else ("rnncore", 1 / ratio)
    first = textwrap.fill(
        f"`make demo` trains its cells on a text, here {corpus.name}, and its table shows the seconds that each took. "
        f"This is the LSTM of the demo, with {budget.hidden_size} units, trained by rnncore and by a training loop in "
        "PyTorch, from the same initial weights, on the same windows in the same order, with the same optimiser and "
        f"clipping. Both train until held-out text takes at most {goal:.2f} bits per character, which is what rnncore "
        f"reaches in {options.updates:,} updates. They take turns, {EVERY} updates each, after which the same code "
        "judges both; only the updates are timed.", 118)
    last = textwrap.fill(
        f"{slower} takes {times:.2f} times as long. Measured by `python docs/examples/demo_in_torch.py` on "
        f"{machine()}.",
        118)
    table = markdown(["", "updates", "bits per character", "seconds", "ms an update"], rows)
    title = "# The demo's LSTM, in rnncore and in PyTorch"
    text = "\n\n".join([title, "[Documentation](index.md)", first, table, last]) + "\n"
    Path(options.out).write_text(text, encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
