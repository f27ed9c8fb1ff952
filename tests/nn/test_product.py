"""Products in blocks of rows equal one product, and their bits do not depend on the number of threads."""

import os
import time

import numpy as np
import pytest
from support import TOLERANCE, close, run_python

from rnncore.nn.product import ONE_THREAD, outer, rows_times

# (M, K, N): one block; blocks and a rest; more than 32 blocks; too wide for blocks.
SIZES = [(7, 5, 3), (100, 128, 103), (1000, 128, 103), (40, 600, 100), (0, 5, 3)]


@pytest.mark.parametrize("dtype", sorted(TOLERANCE))
@pytest.mark.parametrize(("M", "K", "N"), SIZES)
def test_blocks_do_not_change_the_product(rng, M, K, N, dtype):
    a, b, c = (rng.normal(size=s).astype(dtype) for s in ((M, K), (K, N), (M, N)))
    wide = [x.astype(np.float64) for x in (a, b, c)]
    for got, expected in (
        (rows_times(a, b), wide[0] @ wide[1]),
        (rows_times(a[::-1], b), wide[0][::-1] @ wide[1]),
        (outer(a, c), wide[0].T @ wide[2]),
    ):
        assert got.dtype == dtype
        close(got, expected, dtype)


def test_threads_do_not_change_the_bits():
    """In fresh interpreters: OpenBLAS reads its number of threads when numpy is imported."""
    code = (
        "import hashlib, numpy as np\n"
        "from rnncore.nn.product import outer, rows_times\n"
        "rng = np.random.default_rng(0)\n"
        "a, b, c = (rng.normal(size=s) for s in ((3000, 97), (97, 131), (3000, 131)))\n"
        "both = rows_times(a, b).tobytes() + outer(a, c).tobytes()\n"
        "print(hashlib.sha256(both).hexdigest())\n"
    )
    digests = {run_python(code, OPENBLAS_NUM_THREADS=str(n)).stdout for n in (1, 2)}
    assert len(digests) == 1


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs a second processor")
def test_products_do_not_wake_the_threads_of_blas(rng):
    """The CPU time of the whole process is at most 1.3 times that of this thread."""
    a, b, c = (rng.normal(size=s).astype("f4") for s in ((2048, 128), (128, 103), (2048, 103)))
    assert ONE_THREAD < 2048 * 128 * 103
    rows_times(a, b)
    time.sleep(0.3)  # what earlier products woke goes to sleep
    everyone, alone = time.process_time(), time.thread_time()
    for _ in range(50):
        rows_times(a, b)
        outer(a, c)
    everyone, alone = time.process_time() - everyone, time.thread_time() - alone
    assert everyone < 1.3 * alone
