"""The speed of rnncore compared with torch, ONNX Runtime and JAX: ``python -m benchmarks.peers``.

    __main__     the command
    run          the loop that interleaves the libraries
    coordinator  one process per library and number of threads, controlled over a pipe
    worker       what runs in that process: it prepares a case and times calls
    with_*       what "one call" means for each library
    matmul       the peak speed of the machine's matrix product, timed in the same rounds
    table        ratios, means and Markdown from the measured times

Each library has a process of its own, so that their thread pools do not interfere. Only one process
works at a time; the next one starts when the threads of the previous one are asleep.
"""

NAMES = ("rnncore", "torch", "torch_packed", "onnxruntime", "jax")


class Unsupported(Exception):
    """A library cannot do this case; the message states the reason, which the page shows."""
