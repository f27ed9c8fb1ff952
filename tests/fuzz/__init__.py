"""A fuzzer over the public API and every file reader.

    subject, seed ─ Draw ─ one case ─ compared with a float64 twin, a closed form or a promise about bits

A case is a function of a subject's name and one integer, so every failure is repeated by one command. The
subjects stand in one file per room of the package:

layers       calls, records, backward, streams, cells and pullbacks against `tests/twin.py`
weights      every way to write weights, and what tapes and threads may then do
training     linear layers, losses, optimisers and the training loop against plain numpy
measures     the debugger's numbers against `tests/viz_twin.py` and their definitions
models       probabilities that sum to 1, joints that are products of conditionals, files that come back equal
data         texts, windows, padding and the memory tasks against their definitions
files        damaged and forged files: a right answer or a clear refusal, quickly and in little memory
arguments    wrong arguments: an error that names one of them

`case.py` is what a subject needs, `runner.py` runs cases in child processes so that a crash is a failure like any
other, `test_fuzz.py` is the short run with fixed seeds, and `python tests/fuzz` (``make fuzz``) the long one.
"""

from importlib import import_module

ROOMS = ("layers", "weights", "training", "measures", "models", "data", "files")


def subjects():
    """{name: Subject} of all rooms."""
    from fuzz.case import SUBJECTS

    for room in ROOMS:
        import_module(f"fuzz.{room}")
    return SUBJECTS
