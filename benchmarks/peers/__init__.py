"""rnncore beside torch, ONNX Runtime and JAX, in one run: ``python -m benchmarks.peers``.

    __main__     the command
    run          which points, in which order; the loop that interleaves
    coordinator  one process for each library and thread count, asked over a pipe
    worker       that process: prepares a case, times a few calls, says how long they took
    with_*       what "one call" means for each library
    matmul       the machine's matrix peak, timed in the same rounds
    table        ratios, means and Markdown from the measured numbers

Each library has a process of its own: their thread pools never meet, only one process is
asked at a time, and the next one starts when the threads of the last one are asleep.
"""

NAMES = ("rnncore", "torch", "onnxruntime", "jax")


class Unsupported(Exception):
    """A library cannot do this case; its text says why and ends up in the table."""
