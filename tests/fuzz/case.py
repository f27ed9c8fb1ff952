"""A case is a subject and a seed, which determine everything else."""

import resource
import zlib
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np

SEEN = defaultdict(dict)  # of this process: label -> {choice: how often it was drawn}


class Draw:
    """The random choices of one case; `told` lists them, for the report of a failure."""

    def __init__(self, name, seed, seen=SEEN):
        self.rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
        self.seed, self.seen = seed, seen
        self.told = []

    def tell(self, text):
        self.told.append(str(text))

    def one_of(self, label, choices):
        """One of some strings, numbers or None; the short run has to draw every one of them."""
        choices = list(choices)
        return self._chosen(label, choices, self.rng.integers(len(choices)))

    def pick(self, label, choices):
        """One of some values that differ from case to case."""
        choices = list(choices)
        chosen = choices[self.rng.integers(len(choices))]
        self.tell(f"{label}={chosen}")
        return chosen

    def in_turn(self, label, choices):
        """One of some values, each seed taking the next one."""
        choices = list(choices)
        return self._chosen(label, choices, self.seed % len(choices))

    def _chosen(self, label, choices, index):
        chosen, seen = choices[index], self.seen[label]
        for choice in choices:
            seen.setdefault(str(choice), 0)
        seen[str(chosen)] += 1
        self.tell(f"{label}={chosen}")
        return chosen

    def flag(self, label):
        return self.one_of(label, (False, True))

    def size(self, label, low, high):
        """A whole number from `low` to `high`."""
        n = int(self.rng.integers(low, high + 1))
        self.tell(f"{label}={n}")
        return n

    def normal(self, *shape, dtype="float64"):
        return self.rng.normal(size=shape).astype(dtype)


@cache
def limit_memory(room=2**30):
    """Limit this process to `room` bytes more than it uses at the first call."""
    if "libasan" in Path("/proc/self/maps").read_text():
        return  # the address sanitizer reserves terabytes of addresses for itself
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
