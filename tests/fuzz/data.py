"""Texts, windows, padding and the memory tasks, against their definitions."""

from itertools import pairwise

import numpy as np
from support import same_bits

from rnncore import data, tasks

LETTERS = "abcdeé\n\x00 \ud800😀"


def draw_text(draw, most=60):
    return "".join(draw.rng.choice(list(LETTERS), draw.size("letters", 1, most)))


def texts(draw):
    text = draw_text(draw).replace("\ud800", "")
    share = draw.one_of("held out", (0, 0.1, 0.5, 0.9))
    if not text:
        return
    corpus = data.Corpus(text, valid_fraction=share)
    assert corpus.vocabulary == "".join(sorted(set(text)))
    assert corpus.decode(corpus.train) + corpus.decode(corpus.valid) == text
    assert corpus.decode(corpus.encode(text)) == text
    assert len(corpus.valid) == len(text) - round(len(text) * (1 - share))
    tokens = draw.rng.integers(0, 9, draw.size("tokens", 2, 60))
    rows, steps, last = draw.size("rows", 1, 5), draw.size("steps", 1, 9), draw.flag("drop_last")
    length = (len(tokens) - 1) // rows
    windows = length // steps if last else -(-length // steps)
    if windows < 1:
        return
    found = data.batches(tokens, rows, steps, drop_last=last)
    assert len(found) == windows
    for i in range(windows):
        stop = min((i + 1) * steps, length)
        starts = np.arange(rows) * length
        t = np.arange(i * steps, stop)[:, None] + starts
        same_bits(found[i], (tokens[t], tokens[t + 1]), f"window {i}")
    same_bits(found[-1], found[windows - 1], "from the end")


def padding(draw):
    count, shape = draw.size("count", 1, 6), draw.rng.integers(1, 4, draw.size("axes", 0, 2)).tolist()
    sequences = [draw.normal(draw.size("length", 0, 5), *shape) for _ in range(count)]
    value, first = draw.one_of("value", (0, -1.5)), draw.flag("batch_first")
    x, lengths = data.pad(sequences, value, batch_first=first)
    assert lengths.tolist() == [len(s) for s in sequences]
    rows = x if first else x.swapaxes(0, 1)
    for row, s in zip(rows, sequences, strict=True):
        same_bits(row[: len(s)], s, "what was given")
        assert (row[len(s) :] == value).all()
    size, seed = draw.size("batch", 1, 4), draw.one_of("seed", (None, 0, 7))
    groups = data.buckets(lengths, size, seed=seed)
    assert sorted(np.concatenate(groups).tolist()) == list(range(count))
    assert sum(len(g) < size for g in groups) <= 1
    spans = sorted((lengths[g].min(), lengths[g].max()) for g in groups)
    assert all(a[1] <= b[0] for a, b in pairwise(spans)), "groups of like length"


def draw_task(draw):
    kind = draw.one_of("task", ("Adding", "CopyMemory", "TemporalOrder", "DelayedXOR", "Dyck"))
    seed = draw.size("seed", 0, 99)
    if kind == "DelayedXOR":
        delay = draw.size("delay", 0, 5)
        return tasks.DelayedXOR(delay + 2 + draw.size("more", 0, 9), delay, seed=seed)
    if kind == "Dyck":
        return tasks.Dyck(2 * draw.size("pairs", 1, 12), draw.size("kinds", 2, 4), draw.size("depth", 1, 5), seed=seed)
    least = {"Adding": 2, "CopyMemory": 1, "TemporalOrder": 10}[kind]
    return getattr(tasks, kind)(least + draw.size("more", 0, 20), seed=seed)


def memory_tasks(draw):
    """The target follows from the input by the task's definition, and a batch depends on its number alone."""
    task, size, number = draw_task(draw), draw.size("B", 1, 5), draw.size("number", 0, 3)
    x, target, mask = batch = task.batch(size, number)
    same_bits(tuple(batch), tuple(next(iter(task.batches(size, 2, number)))), "the same number again")
    T = task.steps
    assert mask.shape == (T, size)
    assert (target[~mask] == 0).all()
    for b in range(size):
        judge_answer(task, x[:, b], target[:, b], mask[:, b])


def judge_answer(task, x, target, mask):
    T, kind = task.steps, type(task).__name__
    if kind == "Adding":
        marked = np.flatnonzero(x[:, 1])
        assert len(marked) == 2
        assert marked[0] < T // 2 <= marked[1]
        assert np.isclose(target[-1, 0], x[marked, 0].sum())
    elif kind == "CopyMemory":
        go = int(np.flatnonzero(x == 9)[0])
        assert go == T - 11
        same_bits(target[go + 1 :], x[:10], "the symbols")
        assert mask.all()
    elif kind == "TemporalOrder":
        first, second = x[x < 2]
        assert target[-1] == 2 * first + second
    elif kind == "DelayedXOR":
        d = task.delay
        for t in np.flatnonzero(mask):
            assert target[t] == x[t - d] ^ x[t - d - 1]
        assert mask.sum() == T - d - 1
    else:
        stack = []
        for t in range(T):
            if x[t] == task.kinds:
                assert mask[t]
                assert target[t] == stack.pop()
            else:
                assert not mask[t]
                stack.append(x[t])
            assert len(stack) <= task.depth
        assert not stack
