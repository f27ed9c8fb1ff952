"""Measures that walk back through time do so with one thread of numpy's BLAS, and leave its number as it was."""

import threading

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz

threadpoolctl = pytest.importorskip("threadpoolctl")


def blas_threads():
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def three_threads():
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        if set(blas_threads()) != {3}:
            pytest.skip("this BLAS has no setting of its threads")
        yield


@pytest.fixture
def tape(rng):
    return rc.LSTM(2, 5, seed=0).record(rng.standard_normal((8, 2, 2)))


@pytest.mark.parametrize(
    "measure",
    [
        viz.jacobian_norms,
        viz.singular_values,
        lambda tape: viz.lyapunov_spectrum(tape.layer, tape.input),
        lambda tape: viz.memory_curve(tape.layer, steps=50),
    ],
    ids=["jacobian_norms", "singular_values", "lyapunov_spectrum", "memory_curve"],
)
def test_a_measure_uses_one_blas_thread_and_restores_the_number(measure, tape, monkeypatch):
    used = []
    for name in ("svd", "qr", "solve"):
        own = getattr(np.linalg, name)
        monkeypatch.setattr(np.linalg, name, lambda *a, own=own, **k: used.append(blas_threads()) or own(*a, **k))
    measure(tape)
    assert used
    assert {n for found in used for n in found} == {1}
    assert set(blas_threads()) == {3}


def test_the_number_is_restored_after_an_error(tape):
    with pytest.raises(ValueError, match="direction"):
        viz.jacobian_norms(tape, direction="backward")
    assert set(blas_threads()) == {3}


def test_the_number_is_restored_when_the_last_of_several_measures_ends(tape):
    workers = [threading.Thread(target=lambda: [viz.jacobian_norms(tape) for _ in range(20)]) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(blas_threads()) == {3}
