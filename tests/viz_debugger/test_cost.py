"""What the NaN breakpoint costs: at most a twentieth of a training step at H 128, B 16."""

import time

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz


def best(call, rounds):
    """The fastest of some calls: what the others took longer, other programs took."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.timing
@pytest.mark.parametrize("cell", [rc.LSTM, rc.GRU, rc.RNN])
def test_nan_breakpoint(rng, cell):
    layer = cell(128, 128, seed=0)
    x = rng.standard_normal((100, 16, 128)).astype("float32")
    grad = np.ones((100, 16, 128), "float32")
    tape = layer.record(x)
    grads = tape.backward(grad)
    debugger = viz.Debugger(viz.NaN())
    shares = []
    for _ in range(5):
        step = best(lambda: layer.record(x).backward(grad), 10)
        check = best(lambda: debugger.check(tape, grads, loss=1.0), 30)
        shares.append(check / step)
        if shares[-1] <= 0.05:
            return
    raise AssertionError(f"{100 * min(shares):.1f} % of a step")
