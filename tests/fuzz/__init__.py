"""A fuzzer over the public API and every file reader.

    subject, seed ─ Draw ─ one case ─ compared with a float64 twin, a closed form or a promise about bits

A case is a function of a subject's name and one integer, so one command repeats a failure. The
subjects are in these files:

layers       calls, records, backward, streams, cells and pullbacks against `tests/twin.py`
weights      every way to write weights, and the effects on tapes and other threads
training     linear layers, losses, optimisers and the training loop against plain numpy
measures     the debugger's numbers against `tests/viz_twin.py` and their definitions
models       probabilities that sum to 1, joints that are products of conditionals, loaded models that equal saved ones
data         texts, windows, padding and the memory tasks against their definitions
files        damaged and forged files: a correct result or a clear refusal, quickly and in little memory
arguments    wrong arguments: a result, or an error that names the argument

`case.py` has the tools of all subjects, `runner.py` runs cases in child processes so that a crash is a failure like
any other, `test_fuzz.py` is the short run with fixed seeds, and `python tests/fuzz` (``make fuzz``) the long one.
"""

from importlib import import_module

# The subjects of each module, with the number of fixed seeds in the short run.
ROOMS = {
    "layers": {"layers": 300, "bits": 300, "streams": 100, "cells": 60, "pullbacks": 150},
    "weights": {"weights": 300, "weights_from_threads": 10, "tapes_in_threads": 15, "attributes": 100},
    "training": {"linear": 120, "losses": 80, "models_to_train": 40, "optimisers": 60, "trainers": 40},
    "measures": {"measures": 60, "exponents": 20},
    "models": {"symbols": 60, "values": 60, "classifiers": 20},
    "data": {"texts": 80, "padding": 80, "memory_tasks": 40},
    "files": {"files": 700},
    "arguments": {"arguments": 1000},
}
SEEDS = {name: count for subjects in ROOMS.values() for name, count in subjects.items()}


def subject(name):
    """The function that runs a case of a subject."""
    room = next(room for room, subjects in ROOMS.items() if name in subjects)
    return getattr(import_module(f"fuzz.{room}"), name)
