"""The speed of rnncore compared with torch, ONNX Runtime and JAX: ``python -m benchmarks.peers``.

    __main__     the command
    parts        what is measured, in parts that each take some minutes
    run          one point: the loop that interleaves the libraries
    coordinator  one process per library and number of threads, controlled over a pipe
    worker       what runs in that process: it prepares a case and times calls
    with_*       what "one call" of a layer means for each library
    models/, ensembles/     the same for an update of a whole model, and for many nets at once
    matmul       the peak speed of the machine's matrix product, timed in the same rounds
    store        what was measured, kept point by point
    table        ratios, means and Markdown from the measured times
    sections     the paragraphs of each part
    page         the page, assembled from parts that were measured at different times

Each library has a process of its own, so that their thread pools do not interfere. Only one process
works at a time; the next one starts when the threads of the previous one are asleep.
"""

NAMES = ("rnncore", "torch", "torch_packed", "onnxruntime", "jax")


class Unsupported(Exception):
    """A library cannot do this case; the message states the reason, which the page shows."""
