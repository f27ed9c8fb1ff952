"""Wherever viz takes a whole number, one of numpy's is accepted, and anything else is refused by name."""

import numpy as np
import pytest
from support import make

from rnncore import viz

LAYER = make("gru", 2, 3)
X = np.ones((6, 1, 2), "float32")
TAPE = LAYER.record(X)
TAKES = {
    "watch every": ("every", lambda n: viz.NaN(every=n)),
    "steps of a stuck gate": ("steps", lambda n: viz.Stuck(steps=n)),
    "kept updates": ("keep", lambda n: viz.Debugger(keep=n)),
    "recorded updates": ("every", lambda n: viz.Recorder(every=n)),
    "recorded steps": ("steps", lambda n: viz.Recorder(steps=n)),
    "measured updates": ("measure_every", lambda n: viz.Recorder(measure_every=n)),
    "recorded rows": ("rows", lambda n: viz.Recorder(every=1, rows=n).record(TAPE)),
    "recorded units": ("units", lambda n: viz.Recorder(every=1, units=n).record(TAPE)),
    "singular values": ("n", lambda n: viz.singular_values(TAPE, n)),
    "lags of singular values": ("every", lambda n: viz.singular_values(TAPE, every=n)),
    "points of a quadrature": ("points", lambda n: viz.integrated_gradients(
        LAYER, X, np.ones((6, 1, 3)), points=n)),
    "exponents": ("n", lambda n: viz.lyapunov_spectrum(LAYER, X, n=n)),
    "steps that warm up": ("warmup", lambda n: viz.lyapunov_spectrum(LAYER, X, n)),
    "lags": ("lags", lambda n: viz.memory_curve(LAYER, n, steps=10)),
    "steps to learn from": ("steps", lambda n: viz.memory_curve(make("gru", 2, 1), 1, steps=n)),
    "steps to wash out": ("washout", lambda n: viz.memory_curve(LAYER, 2, steps=10, washout=n)),
}  # fmt: skip


@pytest.mark.parametrize("what", TAKES)
def test_whole_numbers_of_numpy_are_taken_and_others_refused_by_name(what):
    name, take = TAKES[what]
    take(np.int64(2))
    expected = "expected (a whole number >= [01]|whole numbers under)"
    for bad in (True, 2.5, -20):
        with pytest.raises(ValueError, match=rf"^{name}: got .*, {expected}"):
            take(bad)


def test_a_flag_is_refused_as_a_number_of_bytes():
    with pytest.raises(ValueError, match="limit: got True, expected a number of bytes"):
        viz.Recorder(limit=True)
    viz.Recorder(limit=np.int64(10_000))
